#include "chain.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>

#include "packing.hpp"

namespace tenpass::clc {
namespace {

// An output of at most so many bytes is written whole before the next block reads it; blocks with larger ones are
// computed depth first, a few rows of each at a time, so that what lies between them stays in the second cache.
constexpr std::size_t kWholeBytes = 1024 * 1024;
// A tile holds the rows that are computed at once: few where several blocks share the cache, more where a block has it
// alone, and many where its weights are so large that they should be read seldom. Measured on a Zen 3 with 512 KiB of
// second cache; flat within a factor of 1.5.
constexpr std::size_t kSharedTileBytes = 20 * 1024;
constexpr std::size_t kTileBytes = 96 * 1024;
constexpr std::size_t kLargeTileBytes = 256 * 1024;
constexpr std::size_t kLargeWeightsBytes = 1024 * 1024;
// The parts of the first segment, from which it is seen how many threads there are.
constexpr int kMostThreads = 16;

int output_size(int in_size, int stride) { return (in_size - 1) / stride + 1; }  // 3x3, padding 1

int divide_up(int value, int by) { return (value + by - 1) / by; }

void require(bool holds, std::size_t block, const std::string& what) {
  if (!holds) throw std::invalid_argument("block " + std::to_string(block) + ": " + what);
}

void check(const std::vector<Block>& blocks) {
  if (blocks.empty()) throw std::invalid_argument("a chain has at least one block");
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    require(block.in > 0 && block.middle > 0 && block.out > 0, i, "channels must be positive");
    require(block.stride > 0, i, "the stride must be positive");
    require(block.groups_3x3 > 0 && block.in % block.groups_3x3 == 0 && block.middle % block.groups_3x3 == 0, i,
            "the groups of the 3x3 convolution must divide its channels");
    if (block.groups_1x1 == 0) {
      require(i == 0 && block.groups_3x3 == 1 && block.out == block.middle, i,
              "only the first block can be a 3x3 convolution alone, and in one group");
    } else {
      require(block.groups_1x1 > 0 && block.middle % block.groups_1x1 == 0 && block.out % block.groups_1x1 == 0, i,
              "the groups of the 1x1 convolution must divide its channels");
    }
    require(i == 0 || block.in == blocks[i - 1].out, i, "its input is not the output of the block before it");
  }
}

// Rows of activations, [block][1 + width + 1][receptive field][V] each, the last `capacity` of them.
class Rows {
 public:
  Rows(const Layout& layout, int height, int width, int capacity, Memory& memory)
      : pixel_(static_cast<std::size_t>(layout.receptive_field) * layout.width),
        block_(pixel_ * (width + 2)),
        row_(block_ * layout.blocks),
        height_(height),
        capacity_(std::min(height, capacity)),
        floats_(memory.floats(row_ * (capacity_ + 1))) {}  // the one more is the row of zeros outside the image

  float* row(int index) { return floats_.data + row_ * (index % capacity_); }
  const float* row_or_zeros(int index) {
    return index < 0 || index >= height_ ? floats_.data + row_ * capacity_ : row(index);
  }
  std::size_t pixel_floats() const { return pixel_; }
  std::size_t block_floats() const { return block_; }

 private:
  std::size_t pixel_, block_, row_;
  int height_, capacity_;
  Floats floats_;
};

// What one thread needs at one time, for all segments after each other: so a tile stays in the cache.
struct Scratch {
  Scratch(std::size_t tile_floats, std::size_t lines_floats)
      : tile(memory.floats(tile_floats)), lines(memory.floats(lines_floats)) {}

  Memory memory;
  Floats tile;
  Floats lines;  // of the image; what lies between them stays zero
  std::vector<const float*> inputs;
  std::vector<float*> outputs;
};

// As many of them as there are threads at once; the one that was used last is given out first.
class Scratches {
 public:
  void wants(std::size_t tile_floats, std::size_t lines_floats) {
    tile_floats_ = std::max(tile_floats_, tile_floats);
    lines_floats_ = std::max(lines_floats_, lines_floats);
  }

  std::unique_ptr<Scratch> take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Scratch> scratch = std::move(idle_.back());
        idle_.pop_back();
        return scratch;
      }
    }
    return std::make_unique<Scratch>(tile_floats_, lines_floats_);
  }

  void give_back(std::unique_ptr<Scratch> scratch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

 private:
  std::size_t tile_floats_ = 0, lines_floats_ = 0;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

// One image in (channels, height, width).
struct Image {
  const float* data;
  int channels, height, width;
};

// A block for images of one size.
struct SizedBlock {
  const PackedBlock* packed;
  std::vector<Run> runs;
  std::vector<Panel> panels;
  int in_height, in_width;
  int height, width;  // of the output
  int step = 1;       // rows computed at once, at the most
  Floats following{};  // what is read when all rows are done

  SizedBlock(const PackedBlock& block, int in_height_, int in_width_)
      : packed(&block),
        runs(block.runs),
        panels(block.panels),
        in_height(in_height_),
        in_width(in_width_),
        height(output_size(in_height, block.stride)),
        width(output_size(in_width, block.stride)) {
    if (block.of_image) {
      constexpr auto most = static_cast<std::size_t>(std::numeric_limits<int>::max());
      if (lines_floats() > most) throw std::invalid_argument("the image is too wide");
      for (Run& run : runs) run.begin = run.begin / kLinePitch * line_floats() + run.begin % kLinePitch;
    }
    const Layout& layout = block.output;
    const std::size_t pixel = static_cast<std::size_t>(layout.receptive_field) * layout.width;
    for (std::size_t i = 0; i < panels.size(); ++i) {
      panels[i].runs = runs.data() + block.first_run[i];
      for (std::size_t j = 0; j < 2; ++j) {
        const std::size_t vector = 2 * i + j;
        panels[i].offsets[j] = vector / layout.receptive_field * pixel * (width + 2) +
                               vector % layout.receptive_field * layout.width;
      }
    }
  }
  SizedBlock(SizedBlock&&) = default;  // a copy's panels would point to the original's runs

  // A line of the image with a zero before it, and as many behind as a kernel may read.
  int line_floats() const { return 1 + in_width + kLinePitch; }

  std::size_t output_bytes() const { return sizeof(float) * packed->out * height * width; }
  std::size_t lines_floats() const {
    return packed->of_image ? static_cast<std::size_t>(packed->in) * kTapsInLine * line_floats() : 0;
  }
  std::size_t tile_row_floats() const { return packed->tile_stride * width; }

  // The rows of input that so many rows of output from `first` need: up to, but not including.
  int inputs_until(int first, int rows) const {
    return std::min(in_height, (first + rows - 1) * packed->stride + 2);
  }
  int inputs_from(int first) const { return std::max(0, first * packed->stride - 1); }
};

void filter(const SizedBlock& block, Rows& input, int first, int rows, Scratch& scratch, const Kernels& kernels) {
  const PackedBlock& packed = *block.packed;
  scratch.inputs.clear();
  for (int row = first; row < first + rows; ++row) {
    for (int dy = -1; dy <= 1; ++dy) scratch.inputs.push_back(input.row_or_zeros(row * packed.stride + dy));
  }
  FilterCall call{};
  call.rows = scratch.inputs.data();
  call.output_rows = rows;
  call.output_width = block.width;
  call.stride = packed.stride;
  call.receptive_field = packed.receptive_field;
  call.fields = packed.fields;
  call.blocks = packed.group_vectors;
  call.block_stride = input.block_floats();
  call.weights = packed.filter_weights.data;
  call.bias = packed.filter_bias.data;
  call.relu = packed.relu_between;
  call.tile = scratch.tile.data;
  call.tile_stride = packed.tile_stride;
  call.field_stride = static_cast<std::size_t>(packed.group_vectors) * kernels.width;
  kernels.filter(call);
}

// The lines of the image that one row of output needs, into the tile.
void gather_lines(const SizedBlock& block, const Image& image, int row, Scratch& scratch) {
  float* to = scratch.lines.data + 1;
  for (int channel = 0; channel < image.channels; ++channel) {
    for (int dy = -1; dy <= 1; ++dy, to += block.line_floats()) {
      const int y = row * block.packed->stride + dy;
      if (y < 0 || y >= image.height) {
        std::fill_n(to, image.width, 0.0f);
      } else {
        std::copy_n(image.data + (static_cast<std::size_t>(channel) * image.height + y) * image.width, image.width, to);
      }
    }
  }
}

void pointwise(const SizedBlock& block, Rows& output, int first, int rows, Scratch& scratch, const Kernels& kernels) {
  scratch.outputs.clear();
  for (int row = first; row < first + rows; ++row) {
    float* pixel = output.row(row) + output.pixel_floats();
    for (int x = 0; x < block.width; ++x, pixel += output.pixel_floats()) scratch.outputs.push_back(pixel);
  }
  PointwiseCall call{};
  if (block.packed->of_image) {
    call.tile = scratch.lines.data;
    call.tile_stride = block.packed->stride;
  } else {
    call.tile = scratch.tile.data;
    call.tile_stride = block.packed->tile_stride;
  }
  call.pixels = rows * block.width;
  call.outputs = scratch.outputs.data();
  call.panels = block.panels.data();
  call.panel_count = static_cast<int>(block.panels.size());
  call.relu = block.packed->relu;
  call.following = block.following.data;
  call.following_floats = block.following.size;
  kernels.pointwise(call);
}

// Successive blocks, computed depth first: a row of one is computed when a row of the next needs it.
class Segment {
 public:
  // Where the rows come from, where they go to, and of which image.
  struct Ends {
    const Image* image;  // for a first block that is dense
    Rows* input;         // for one that is not
    Rows* output;
  };

  Segment(std::vector<SizedBlock> blocks, Scratches& scratches, const Kernels& kernels)
      : blocks_(std::move(blocks)), scratches_(scratches), kernels_(kernels) {
    const std::size_t weights_bytes = blocks_.front().packed->pointwise_weights.size * sizeof(float);
    const std::size_t alone = weights_bytes < kLargeWeightsBytes ? kTileBytes : kLargeTileBytes;
    const std::size_t tile_bytes = blocks_.size() > 1 ? kSharedTileBytes : alone;
    for (SizedBlock& block : blocks_) {
      const std::size_t rows = tile_bytes / (block.tile_row_floats() * sizeof(float));
      block.step = block.packed->of_image ? 1 : std::clamp(static_cast<int>(rows), 1, block.height);
      scratches_.wants(block.packed->of_image ? 0 : block.tile_row_floats() * block.step, block.lines_floats());
    }
  }

  const SizedBlock& last() const { return blocks_.back(); }

  // Computes all rows of the last block, in at least so many parts, and returns how many threads seem to have done so:
  // how often a part was begun that did not go on where another one had ended.
  int run(const Ends& ends, int least_parts, const ParallelFor& parallel_for) {
    const int height = last().height;
    const int parts = std::min(height, std::max(least_parts, divide_up(height, last().step)));
    ++runs_;
    begun_ = 0;
    parallel_for(parts, [&](std::size_t part) {
      const int first = static_cast<int>(height * part / parts);
      std::unique_ptr<Walk> walk = begin(first);
      std::unique_ptr<Scratch> scratch = scratches_.take();
      advance(*walk, blocks_.size() - 1, static_cast<int>(height * (part + 1) / parts), ends, *scratch);
      scratches_.give_back(std::move(scratch));
      const std::lock_guard<std::mutex> lock(mutex_);
      idle_.push_back(std::move(walk));
    });
    return begun_;
  }

 private:
  // How far one thread has come: rows [0, next[i]) of block i have been computed, the last of them are in rows[i].
  struct Walk {
    std::size_t run = 0;
    std::vector<int> next;
    Memory memory;
    std::vector<Rows> rows;  // of all blocks but the last
  };

  // A walk that stands before row `first` of the last block. One that has just come there goes on and computes no
  // row twice; so parts that one thread takes in order cost nothing, however many they are.
  std::unique_ptr<Walk> begin(int first) {
    std::unique_ptr<Walk> walk;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      auto found = std::find_if(idle_.begin(), idle_.end(), [&](const std::unique_ptr<Walk>& candidate) {
        return candidate->run == runs_ && candidate->next.back() == first;
      });
      const bool goes_on = found != idle_.end();
      if (!goes_on && !idle_.empty()) found = idle_.begin();
      if (found != idle_.end()) {
        walk = std::move(*found);
        idle_.erase(found);
      }
      if (goes_on) return walk;
      ++begun_;
    }
    if (!walk) walk = make_walk();
    walk->run = runs_;
    walk->next.back() = first;
    for (std::size_t i = blocks_.size() - 1; i > 0; --i) {
      walk->next[i - 1] = blocks_[i].inputs_from(walk->next[i]);
    }
    return walk;
  }

  std::unique_ptr<Walk> make_walk() const {
    auto walk = std::make_unique<Walk>();
    walk->next.resize(blocks_.size());
    for (std::size_t i = 0; i + 1 < blocks_.size(); ++i) {
      const SizedBlock& block = blocks_[i];
      const SizedBlock& reader = blocks_[i + 1];
      const int capacity = (reader.step - 1) * reader.packed->stride + 3 + block.step - 1;
      walk->rows.emplace_back(block.packed->output, block.height, block.width, capacity, walk->memory);
    }
    return walk;
  }

  void advance(Walk& walk, std::size_t index, int until, const Ends& ends, Scratch& scratch) {
    const SizedBlock& block = blocks_[index];
    int& next = walk.next[index];
    while (next < until) {
      const bool is_last = index + 1 == blocks_.size();  // only there do parts end
      const int rows = std::min(block.step, (is_last ? until : block.height) - next);
      if (index > 0) advance(walk, index - 1, block.inputs_until(next, rows), ends, scratch);
      if (block.packed->of_image) {
        gather_lines(block, *ends.image, next, scratch);
      } else {
        filter(block, index > 0 ? walk.rows[index - 1] : *ends.input, next, rows, scratch, kernels_);
      }
      Rows& output = is_last ? *ends.output : walk.rows[index];
      pointwise(block, output, next, rows, scratch, kernels_);
      next += rows;
    }
  }

  std::vector<SizedBlock> blocks_;
  Scratches& scratches_;
  const Kernels& kernels_;
  std::size_t runs_ = 0;
  std::mutex mutex_;  // of all below
  int begun_ = 0;
  std::vector<std::unique_ptr<Walk>> idle_;
};

// All that a chain needs for one image of a size at a time.
class Workspace {
 public:
  Workspace(const std::vector<PackedBlock>& blocks, bool averaged, const PackedBlock* linear,
            const Layout& input_layout, int height, int width, const Kernels& kernels)
      : kernels_(kernels), height_(height), width_(width), averaged_(averaged), input_layout_(input_layout) {
    if (!blocks.front().of_image) input_ = std::make_unique<Rows>(input_layout, height, width, height, memory_);
    std::vector<SizedBlock> together;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      together.emplace_back(blocks[i], height, width);
      height = together.back().height;
      width = together.back().width;
      if (together.back().output_bytes() > kWholeBytes && i + 1 < blocks.size()) continue;
      if (linear != nullptr && i + 1 == blocks.size()) together.back().following = linear->pointwise_weights;
      outputs_.push_back(output_for(blocks[i].output, height, width));
      segments_.push_back(std::make_unique<Segment>(std::move(together), scratches_, kernels));
      together.clear();
    }
    if (linear != nullptr) {
      linear_ = std::make_unique<SizedBlock>(*linear, 1, 1);
      averages_ = memory_.floats(linear->tile_stride);
      linear_output_ = std::make_unique<Rows>(linear->output, 1, 1, 1, memory_);
    }
  }

  bool is_for(int height, int width) const { return height == height_ && width == width_; }

  void run(const Image& image, float* output, const ParallelFor& parallel_for) {
    Rows* input = input_.get();
    if (input != nullptr) read(image, parallel_for);
    int threads = kMostThreads;  // not known yet
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      const int begun = segments_[i]->run({&image, input, outputs_[i].get()}, threads, parallel_for);
      threads = std::min(threads, begun);
      input = outputs_[i].get();
    }
    write(linear_ ? averages_.data : output, parallel_for);
    if (linear_) apply_linear(output, parallel_for);
  }

 private:
  // From (channels, height, width).
  void read(const Image& image, const ParallelFor& parallel_for) {
    parallel_for(image.height, [&](std::size_t y) {
      float* const row = input_->row(static_cast<int>(y));
      for (int channel = 0; channel < image.channels; ++channel) {
        const float* const from = image.data + (static_cast<std::size_t>(channel) * image.height + y) * image.width;
        float* const to = row + place(input_layout_, *input_, channel);
        for (int x = 0; x < image.width; ++x) to[x * input_->pixel_floats()] = from[x];
      }
    });
  }

  // To (channels, height, width), or (channels, 1, 1) where it is averaged.
  void write(float* output, const ParallelFor& parallel_for) {
    const SizedBlock& last = segments_.back()->last();
    Rows& rows = *outputs_.back();
    const Layout& layout = last.packed->output;
    const std::size_t area = static_cast<std::size_t>(last.height) * last.width;
    parallel_for(divide_up(layout.channels, layout.width), [&](std::size_t part) {
      const int from = static_cast<int>(part) * layout.width;
      for (int channel = from; channel < std::min(from + layout.width, layout.channels); ++channel) {
        const std::size_t offset = place(layout, rows, channel);
        float* const to = output + channel * (averaged_ ? 1 : area);
        float sum = 0;
        for (int y = 0; y < last.height; ++y) {
          const float* const row = rows.row(y) + offset;
          for (int x = 0; x < last.width; ++x) {
            const float value = row[x * rows.pixel_floats()];
            if (averaged_) {
              sum += value;
            } else {
              to[y * last.width + x] = value;
            }
          }
        }
        if (averaged_) *to = sum / static_cast<float>(area);
      }
    });
  }

  // From the averages to (out, 1, 1).
  void apply_linear(float* output, const ParallelFor& parallel_for) {
    float* const pixel = linear_output_->row(0) + linear_output_->pixel_floats();
    const std::size_t panels = linear_->panels.size();
    const std::size_t parts = std::min<std::size_t>(panels, kMostThreads);
    parallel_for(parts, [&](std::size_t part) {
      const std::size_t first = panels * part / parts;
      PointwiseCall call{};
      call.tile = averages_.data;
      call.tile_stride = linear_->packed->tile_stride;
      call.pixels = 1;
      call.outputs = &pixel;
      call.panels = linear_->panels.data() + first;
      call.panel_count = static_cast<int>(panels * (part + 1) / parts - first);
      kernels_.pointwise(call);
    });
    const Layout& layout = linear_->packed->output;
    for (int channel = 0; channel < layout.channels; ++channel) {
      output[channel] = linear_output_->row(0)[place(layout, *linear_output_, channel)];
    }
  }

  // Of a row's first pixel in a channel, from the row's first float.
  static std::size_t place(const Layout& layout, const Rows& rows, int channel) {
    const int group = channel / layout.receptive_field;
    const int sub = channel % layout.receptive_field;
    return group / layout.width * rows.block_floats() + rows.pixel_floats() +
           static_cast<std::size_t>(sub) * layout.width + group % layout.width;
  }

  // Rows for the next segment's output. Segments whose outputs are alike share two by turns: what is written anew all
  // the time stays in the cache.
  std::shared_ptr<Rows> output_for(const Layout& layout, int height, int width) {
    const std::size_t count = outputs_.size();
    const auto alike = [&](std::size_t index) {
      const SizedBlock& other = segments_[index]->last();
      return other.packed->output == layout && other.height == height && other.width == width;
    };
    if (count >= 2 && alike(count - 1) && alike(count - 2)) return outputs_[count - 2];
    return std::make_shared<Rows>(layout, height, width, height, memory_);
  }

  const Kernels& kernels_;
  int height_, width_;
  bool averaged_;
  Layout input_layout_;
  Memory memory_;
  Scratches scratches_;
  std::unique_ptr<SizedBlock> linear_;  // if there is one
  Floats averages_{};
  std::unique_ptr<Rows> linear_output_;
  std::unique_ptr<Rows> input_;  // not for a chain that begins with the image
  std::vector<std::unique_ptr<Segment>> segments_;
  std::vector<std::shared_ptr<Rows>> outputs_;  // of each segment
};

int receptive_field_of(const Block& block) { return block.groups_1x1 == 0 ? 1 : block.in / block.groups_3x3; }

}  // namespace

class Chain::Impl {
 public:
  Impl(const std::vector<Block>& blocks, bool averaged, const Kernels& kernels, const Linear& linear)
      : kernels_(kernels),
        averaged_(averaged),
        input_layout_(blocks.front().in, receptive_field_of(blocks.front()), kernels.width) {
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const int next = i + 1 < blocks.size() ? receptive_field_of(blocks[i + 1]) : 1;
      blocks_.emplace_back(blocks[i], next, kernels, memory_);
    }
    if (linear.out > 0) {
      linear_ = std::make_unique<PackedBlock>(linear, blocks_.back().out, kernels, memory_);
    }
  }

  const std::vector<PackedBlock>& blocks() const { return blocks_; }

  int out_size(int in_size) const {
    for (const PackedBlock& block : blocks_) in_size = output_size(in_size, block.stride);
    return averaged_ ? 1 : in_size;
  }

  int out_channels() const { return linear_ ? linear_->out : blocks_.back().out; }

  void run(const float* input, int batch, int height, int width, float* output, const ParallelFor& parallel_for) {
    std::unique_ptr<Workspace> workspace = take(height, width);
    const std::size_t in_floats = static_cast<std::size_t>(blocks_.front().in) * height * width;
    const std::size_t out_floats = static_cast<std::size_t>(out_channels()) * out_size(height) * out_size(width);
    for (int image = 0; image < batch; ++image) {
      workspace->run({input + image * in_floats, blocks_.front().in, height, width}, output + image * out_floats,
                     parallel_for);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_ = std::move(workspace);  // the last one is kept: images tend to be of one size
  }

 private:
  std::unique_ptr<Workspace> take(int height, int width) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (idle_ && idle_->is_for(height, width)) return std::move(idle_);
    }
    return std::make_unique<Workspace>(blocks_, averaged_, linear_.get(), input_layout_, height, width, kernels_);
  }

  const Kernels& kernels_;
  bool averaged_;
  Layout input_layout_;
  Memory memory_;
  std::vector<PackedBlock> blocks_;
  std::unique_ptr<PackedBlock> linear_;
  std::mutex mutex_;
  std::unique_ptr<Workspace> idle_;
};

Chain::Chain(const std::vector<Block>& blocks, bool averaged, const Kernels& kernels, const Linear& linear) {
  check(blocks);
  if (linear.out < 0 || (linear.out > 0 && !averaged)) {
    throw std::invalid_argument("a linear layer has outputs, and comes after the average");
  }
  impl_ = std::make_unique<Impl>(blocks, averaged, kernels, linear);
}

Chain::~Chain() = default;

int Chain::in_channels() const { return impl_->blocks().front().in; }
int Chain::out_channels() const { return impl_->out_channels(); }
int Chain::out_size(int in_size) const { return impl_->out_size(in_size); }

void Chain::run(const float* input, int batch, int height, int width, float* output,
                const ParallelFor& parallel_for) const {
  impl_->run(input, batch, height, width, output, parallel_for);
}

}  // namespace tenpass::clc
