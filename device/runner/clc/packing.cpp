#include "packing.hpp"

#include <algorithm>

namespace tenpass::clc {
namespace {

constexpr int kCacheLineFloats = 16;

int divide_up(int value, int by) { return (value + by - 1) / by; }

}  // namespace

Layout::Layout(int channels_, int receptive_field_, int width_)
    : channels(channels_), receptive_field(receptive_field_), width(width_) {
  blocks = divide_up(divide_up(channels, receptive_field), width);
  if (vectors() % 2 != 0) ++blocks;
}

int Layout::channel(int vector, int lane) const {
  const int block = vector / receptive_field;
  const int sub_vector = vector % receptive_field;
  return (block * width + lane) * receptive_field + sub_vector;
}

PackedBlock::PackedBlock(const Block& block, int next_receptive_field, const Kernels& kernels, Memory& memory)
    : of_image(block.groups_1x1 == 0),
      in(block.in),
      out(of_image ? block.middle : block.out),
      stride(block.stride),
      relu_between(block.relu_between),
      relu(block.relu),
      output(out, next_receptive_field, kernels.width) {
  if (of_image) {
    const int lines = block.in * 3;
    pack_pointwise(lines * kLinePitch, block.bias_3x3, kernels.run_multiple, memory, [&](int channel, int position) {
      const int line = position / kLinePitch;
      const int dx = position % kLinePitch;
      return dx < kTapsInLine ? block.weights_3x3[(channel * lines + line) * kTapsInLine + dx] : 0.0f;
    });
    return;
  }
  pack_filter(block, memory);

  // A position in a pixel of the tile is field * field_stride + group: the channel of the 3x3 convolution that lies
  // there, and where the interlacing, if there is one, puts it.
  const int field_stride = group_vectors * kernels.width;
  const int group_inputs = block.middle / block.groups_1x1;
  const int group_outputs = block.out / block.groups_1x1;
  std::vector<int> middle_of(fields * field_stride, -1);  // a position's channel among the inputs of the 1x1
  for (int position = 0; position < fields * field_stride; ++position) {
    const int field = position / field_stride;
    const int group = position % field_stride;
    if (group >= block.groups_3x3) continue;
    middle_of[position] = block.interlaced ? field * block.groups_3x3 + group : group * fields + field;
  }
  pack_pointwise(fields * field_stride, block.bias_1x1, kernels.run_multiple, memory, [&](int channel, int position) {
    const int from = middle_of[position] - channel / group_outputs * group_inputs;
    if (middle_of[position] < 0 || from < 0 || from >= group_inputs) return 0.0f;
    return block.weights_1x1[static_cast<std::size_t>(channel) * group_inputs + from];
  });
}

PackedBlock::PackedBlock(const Linear& linear, int channels, const Kernels& kernels, Memory& memory)
    : of_image(false),
      in(channels),
      out(linear.out),
      stride(1),
      relu_between(false),
      relu(false),
      output(linear.out, 1, kernels.width) {
  pack_pointwise(channels, linear.bias, kernels.run_multiple, memory, [&](int channel, int position) {
    return linear.weights[static_cast<std::size_t>(channel) * channels + position];
  });
}

void PackedBlock::pack_filter(const Block& block, Memory& memory) {
  const int width = output.width;
  receptive_field = block.in / block.groups_3x3;
  fields = block.middle / block.groups_3x3;
  group_vectors = divide_up(block.groups_3x3, width);
  const int at_once = fields % 2 == 0 ? 2 : 1;  // as the kernel reads them: pairs of fields where that is possible

  filter_weights = memory.floats(static_cast<std::size_t>(group_vectors) * fields * 9 * receptive_field * width);
  filter_bias = memory.floats(static_cast<std::size_t>(group_vectors) * fields * width);
  float* weights = filter_weights.data;
  float* bias = filter_bias.data;
  for (int vector = 0; vector < group_vectors; ++vector) {
    const int first_group = vector * width;
    const int lanes = std::min(width, block.groups_3x3 - first_group);
    for (int first = 0; first < fields; first += at_once) {
      for (int tap = 0; tap < 9; ++tap) {
        for (int k = 0; k < receptive_field; ++k) {
          for (int field = first; field < first + at_once; ++field, weights += width) {
            for (int lane = 0; lane < lanes; ++lane) {
              const std::size_t channel = static_cast<std::size_t>(first_group + lane) * fields + field;
              weights[lane] = block.weights_3x3[(channel * receptive_field + k) * 9 + tap];
            }
          }
        }
      }
      for (int field = first; field < first + at_once; ++field, bias += width) {
        for (int lane = 0; lane < lanes; ++lane) bias[lane] = block.bias_3x3[(first_group + lane) * fields + field];
      }
    }
  }
}

// `weight(channel, position)` is what the channel multiplies that position of the tile with, 0 where there is no
// connection: only runs of positions that some lane of a panel is connected with are packed and multiplied.
template <typename Weight>
void PackedBlock::pack_pointwise(int positions, const float* bias, int run_multiple, Memory& memory,
                                 const Weight& weight) {
  // An odd number of cache lines: pixels that are multiplied at once must not fall into one set of the cache.
  tile_stride = (divide_up(positions, kCacheLineFloats) | 1) * kCacheLineFloats;

  const int panel_count = output.vectors() / 2;
  const int lanes = 2 * output.width;
  const auto channel_of = [&](int panel, int lane) {
    return output.channel(2 * panel + lane / output.width, lane % output.width);
  };
  const auto connected = [&](int panel, int from) {
    for (int lane = 0; lane < lanes; ++lane) {
      const int channel = channel_of(panel, lane);
      if (channel >= out) continue;
      for (int position = from; position < std::min(from + run_multiple, positions); ++position) {
        if (weight(channel, position) != 0) return true;
      }
    }
    return false;
  };

  std::size_t inputs = 0;  // of all panels
  for (int panel = 0; panel < panel_count; ++panel) {
    first_run.push_back(static_cast<int>(runs.size()));
    bool in_run = false;
    for (int position = 0; position < positions; position += run_multiple) {
      const bool wanted = connected(panel, position);
      if (wanted && !in_run) runs.push_back({position, 0});
      if (wanted) runs.back().length += run_multiple;
      if (wanted) inputs += run_multiple;
      in_run = wanted;
    }
  }
  first_run.push_back(static_cast<int>(runs.size()));

  pointwise_weights = memory.floats(inputs * lanes);
  pointwise_bias = memory.floats(static_cast<std::size_t>(panel_count) * lanes);
  float* packed = pointwise_weights.data;
  for (int panel = 0; panel < panel_count; ++panel) {
    float* const panel_bias = pointwise_bias.data + static_cast<std::size_t>(panel) * lanes;
    panels.push_back({nullptr, first_run[panel + 1] - first_run[panel], 0, packed, panel_bias, {}});
    for (int lane = 0; lane < lanes; ++lane) {
      const int channel = channel_of(panel, lane);
      if (channel < out) panel_bias[lane] = bias[channel];
    }
    for (int run = first_run[panel]; run < first_run[panel + 1]; ++run) {
      const Run& part = runs[run];
      panels.back().inputs += part.length;
      for (int position = part.begin; position < part.begin + part.length; ++position, packed += lanes) {
        for (int lane = 0; lane < lanes; ++lane) {
          const int channel = channel_of(panel, lane);
          if (channel < out && position < positions) packed[lane] = weight(channel, position);
        }
      }
    }
  }
}

}  // namespace tenpass::clc
