// Channel local convolutions as they are defined, in plain loops, and random chains of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "chain.hpp"

namespace tenpass::test {

// The same values on each machine: the standard library's distributions are not.
class Random {
 public:
  explicit Random(std::uint32_t seed) : bits_(seed) {}

  int between(int least, int most) { return least + static_cast<int>(bits_() % (most - least + 1U)); }
  bool chance(int percent) { return between(1, 100) <= percent; }
  float value() { return static_cast<float>(between(-1'000'000, 1'000'000)) / 1e6F; }  // of [-1, 1]
  template <typename Value>
  Value of(const std::vector<Value>& values) {
    return values[between(0, static_cast<int>(values.size()) - 1)];
  }
  int divisor(int of_number) {
    std::vector<int> divisors;
    for (int i = 1; i <= of_number; ++i) {
      if (of_number % i == 0) divisors.push_back(i);
    }
    return of(divisors);
  }
  std::vector<float> values(std::size_t count) {
    std::vector<float> made(count);
    for (float& each : made) each = value();
    return made;
  }

 private:
  std::mt19937 bits_;
};

// A block with weights of its own.
struct OwnedBlock {
  clc::Block shape;
  std::vector<float> weights_3x3, bias_3x3, weights_1x1, bias_1x1;

  bool of_image() const { return shape.groups_1x1 == 0; }
  clc::Block block() const {
    clc::Block whole = shape;
    whole.weights_3x3 = weights_3x3.data();
    whole.bias_3x3 = bias_3x3.data();
    if (!of_image()) {
      whole.weights_1x1 = weights_1x1.data();
      whole.bias_1x1 = bias_1x1.data();
    }
    return whole;
  }
};

// (out, inputs) weights so large that what comes out is as large as what goes in. `zeros` percent of them are pruned
// one by one, and as many of the outputs and of the inputs as a whole.
inline std::vector<float> random_weights(Random& random, int out, int inputs, int taps, int zeros) {
  std::vector<float> weights = random.values(static_cast<std::size_t>(out) * inputs * taps);
  const float scale = std::sqrt(3.0F / static_cast<float>(inputs * taps));
  for (float& each : weights) each *= scale;
  if (zeros == 0) return weights;
  std::vector<bool> without(inputs);
  for (int i = 0; i < inputs; ++i) without[i] = random.chance(zeros);
  float* weight = weights.data();
  for (int o = 0; o < out; ++o) {
    const bool all = random.chance(zeros);
    for (int i = 0; i < inputs; ++i) {
      for (int tap = 0; tap < taps; ++tap, ++weight) {
        if (all || without[i] || random.chance(zeros)) *weight = 0;
      }
    }
  }
  return weights;
}

inline OwnedBlock with_weights(const clc::Block& shape, Random& random, int zeros = 0) {
  OwnedBlock made;
  made.shape = shape;
  made.weights_3x3 = random_weights(random, shape.middle, shape.in / shape.groups_3x3, 9, zeros);
  made.bias_3x3 = random.values(shape.middle);
  if (!made.of_image()) {
    made.weights_1x1 = random_weights(random, shape.out, shape.middle / shape.groups_1x1, 1, zeros);
    made.bias_1x1 = random.values(shape.out);
  }
  return made;
}

struct OwnedChain {
  std::vector<OwnedBlock> blocks;
  bool averaged = false;

  std::vector<clc::Block> all() const {
    std::vector<clc::Block> list;
    for (const OwnedBlock& each : blocks) list.push_back(each.block());
    return list;
  }
};

// A 3x3 convolution of an image.
inline clc::Block image_block(int in, int out, int stride) {
  clc::Block block;
  block.in = in;
  block.middle = block.out = out;
  block.groups_1x1 = 0;
  block.stride = stride;
  return block;
}

// A block with groups of `receptive_field` inputs and `fields` outputs of the 3x3 convolution.
inline clc::Block local_block(int groups_3x3, int receptive_field, int fields, int groups_1x1, int out, int stride) {
  clc::Block block;
  block.in = groups_3x3 * receptive_field;
  block.middle = groups_3x3 * fields;
  block.out = out;
  block.groups_3x3 = groups_3x3;
  block.groups_1x1 = groups_1x1;
  block.stride = stride;
  return block;
}

// (channels, height, width)
struct Planes {
  int channels, height, width;
  std::vector<double> values;

  Planes(int channels_, int height_, int width_)
      : channels(channels_),
        height(height_),
        width(width_),
        values(static_cast<std::size_t>(channels) * height * width) {}

  double* plane(int channel) { return values.data() + static_cast<std::size_t>(channel) * height * width; }
  const double* plane(int channel) const { return const_cast<Planes*>(this)->plane(channel); }
};

// A grouped convolution with kernels of `size` by `size` taps, and as much padding as keeps the image's size.
inline Planes convolved(const Planes& in, const std::vector<float>& weights, const std::vector<float>& bias, int groups,
                        int size, int stride) {
  const int padding = size / 2;
  const int group_in = in.channels / groups;
  const int out_channels = static_cast<int>(bias.size());
  const int group_out = out_channels / groups;
  Planes out(out_channels, (in.height - 1) / stride + 1, (in.width - 1) / stride + 1);
  for (int channel = 0; channel < out.channels; ++channel) {
    double* to = out.plane(channel);
    for (int y = 0; y < out.height; ++y) {
      for (int x = 0; x < out.width; ++x, ++to) {
        *to = bias[channel];
        for (int k = 0; k < group_in; ++k) {
          const double* const from = in.plane(channel / group_out * group_in + k);
          const float* const taps = weights.data() + (static_cast<std::size_t>(channel) * group_in + k) * size * size;
          for (int dy = 0; dy < size; ++dy) {
            const int in_y = y * stride + dy - padding;
            if (in_y < 0 || in_y >= in.height) continue;
            for (int dx = 0; dx < size; ++dx) {
              const int in_x = x * stride + dx - padding;
              if (in_x < 0 || in_x >= in.width) continue;
              *to += taps[dy * size + dx] * from[in_y * in.width + in_x];
            }
          }
        }
      }
    }
  }
  return out;
}

// Channel j of group i becomes channel j * groups + i.
inline Planes interlaced(const Planes& in, int groups) {
  Planes out(in.channels, in.height, in.width);
  const int size = in.channels / groups;
  for (int i = 0; i < groups; ++i) {
    for (int j = 0; j < size; ++j) {
      const double* const from = in.plane(i * size + j);
      std::copy(from, from + in.height * in.width, out.plane(j * groups + i));
    }
  }
  return out;
}

struct Expected {
  std::vector<double> output;  // (batch, channels, height, width)
  double largest = 0;          // magnitude of all that comes up on the way: what rounding errors are to be measured by
};

inline Expected expected(const OwnedChain& chain, const std::vector<float>& input, int batch, int height, int width) {
  Expected result;
  const auto note = [&](Planes& planes, bool relu) {
    for (double& value : planes.values) {
      result.largest = std::max(result.largest, std::abs(value));
      if (relu) value = std::max(value, 0.0);
    }
  };
  const int in_channels = chain.blocks.front().shape.in;
  for (int image = 0; image < batch; ++image) {
    Planes planes(in_channels, height, width);
    std::copy_n(input.begin() + static_cast<std::ptrdiff_t>(image * planes.values.size()), planes.values.size(),
                planes.values.begin());
    for (const OwnedBlock& block : chain.blocks) {
      const clc::Block& shape = block.shape;
      planes = convolved(planes, block.weights_3x3, block.bias_3x3, shape.groups_3x3, 3, shape.stride);
      if (!block.of_image()) {
        note(planes, shape.relu_between);
        if (shape.interlaced) planes = interlaced(planes, shape.groups_3x3);
        planes = convolved(planes, block.weights_1x1, block.bias_1x1, shape.groups_1x1, 1, 1);
      }
      note(planes, shape.relu);
    }
    if (chain.averaged) {
      Planes means(planes.channels, 1, 1);
      for (int channel = 0; channel < planes.channels; ++channel) {
        const int area = planes.height * planes.width;
        for (int i = 0; i < area; ++i) means.values[channel] += planes.plane(channel)[i] / area;
      }
      planes = means;
    }
    result.output.insert(result.output.end(), planes.values.begin(), planes.values.end());
  }
  return result;
}

}  // namespace tenpass::test
