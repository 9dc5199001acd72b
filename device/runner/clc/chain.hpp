// A chain of channel local convolution blocks (clcNet paper, section 3.2), computed without writing what lies between
// the 3x3 and the 1x1 convolution of a block to memory, and without ever moving a channel.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "kernels.hpp"

namespace tenpass::clc {

// One block: 3x3 convolution (padding 1), interlacing, 1x1 convolution. With `groups_1x1` 0 there is no 1x1
// convolution: a 3x3 convolution alone, in one group, which only the first block of a chain can be.
//
// BatchNorms are folded into weights and biases before they come here. All weights are in PyTorch's and ONNX's order:
// `weights_3x3` (middle, in / groups_3x3, 3, 3), `bias_3x3` (middle), `weights_1x1` (out, middle / groups_1x1),
// `bias_1x1` (out).
struct Block {
  int in = 0;          // M
  int middle = 0;      // L
  int out = 0;         // N
  int groups_3x3 = 1;  // g1
  int groups_1x1 = 1;  // g2
  int stride = 1;      // of the 3x3 convolution
  bool interlaced = true;
  bool relu_between = false;
  bool relu = true;
  const float* weights_3x3 = nullptr;
  const float* bias_3x3 = nullptr;
  const float* weights_1x1 = nullptr;
  const float* bias_1x1 = nullptr;
};

// A fully connected layer on the averages of a chain's channels: `weights` (out, channels), `bias` (out).
struct Linear {
  int out = 0;  // 0: there is none
  const float* weights = nullptr;
  const float* bias = nullptr;
};

// Calls its second argument with 0, 1, ... first argument - 1, in any order, on any threads; returns when all is done.
using ParallelFor = std::function<void(std::size_t, const std::function<void(std::size_t)>&)>;

class Chain {
 public:
  // Packs the weights, which need not outlive the call. With `averaged` the output is each channel's mean over the
  // image, and with `linear` what that makes of them. Throws std::invalid_argument for blocks that do not fit
  // themselves or each other, naming the block.
  Chain(const std::vector<Block>& blocks, bool averaged, const Kernels& kernels, const Linear& linear = {});
  ~Chain();
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  int in_channels() const;
  int out_channels() const;
  // Height (or width) of the output for an input's.
  int out_size(int in_size) const;

  // `input` (batch, in_channels, height, width) to `output` (batch, out_channels, out_size(height), out_size(width)).
  // May be called by several threads at once. Working memory is kept for the next call.
  void run(const float* input, int batch, int height, int width, float* output, const ParallelFor& parallel_for) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenpass::clc
