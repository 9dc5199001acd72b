// A block's weights in the order in which the kernels read them.
#pragma once

#include <cstddef>
#include <vector>

#include "chain.hpp"
#include "memory.hpp"

namespace tenpass::clc {

// Where a channel lies in a pixel's blocks of [receptive_field][V] floats (see kernels.hpp).
struct Layout {
  int channels = 0;
  int receptive_field = 1;  // of the convolution that reads it
  int width = 1;            // V
  int blocks = 0;           // the vectors of all blocks are an even number: panels have two

  Layout() = default;
  Layout(int channels, int receptive_field, int width);

  bool operator==(const Layout& other) const {
    return channels == other.channels && receptive_field == other.receptive_field && width == other.width;
  }

  int vectors() const { return blocks * receptive_field; }
  // The channel in `lane` of vector `vector`; at least `channels` for a lane that holds none.
  int channel(int vector, int lane) const;
};

// A 3x3 convolution of an image is a 1x1 one over its lines, three of each channel. The runs of its panels name a tap
// as line * kLinePitch + dx, for lines may lie anywhere.
constexpr int kLinePitch = 8;
constexpr int kTapsInLine = 3;

struct PackedBlock {
  PackedBlock(const Block& block, int next_receptive_field, const Kernels& kernels, Memory& memory);
  // For one pixel, whose tile holds the channels in their order.
  PackedBlock(const Linear& linear, int channels, const Kernels& kernels, Memory& memory);

  bool of_image;  // there is no 3x3 part: see kLinePitch
  int in, out;
  int stride;
  bool relu_between, relu;

  // the 3x3 part
  int receptive_field = 1, fields = 1;
  int group_vectors = 0;
  Floats filter_weights, filter_bias;

  // the 1x1 part
  std::size_t tile_stride = 0;  // floats from a pixel of the tile to the next
  std::vector<Run> runs;        // of all panels
  std::vector<Panel> panels;    // without runs and offsets, which depend on the image's size
  std::vector<int> first_run;   // of each panel, and how many there are in all
  Floats pointwise_weights, pointwise_bias;

  Layout output;  // of a pixel of output

 private:
  void pack_filter(const Block& block, Memory& memory);
  template <typename Weight>
  void pack_pointwise(int positions, const float* bias, int run_multiple, Memory& memory, const Weight& weight);
};

}  // namespace tenpass::clc
