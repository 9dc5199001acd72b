#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "chain.hpp"
#include "clc_reference.hpp"
#include "kernels.hpp"
#include "memory.hpp"

namespace tenpass::clc {
#if defined(TENPASS_CLC_HAS_WIDE)
extern const Kernels kernels_wide;  // the code for AVX-512, for a machine that lacks it
#endif
}  // namespace tenpass::clc

namespace tenpass::test {
namespace {

using clc::Chain;
using clc::Kernels;
using clc::ParallelFor;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Rounding errors, by the largest value on the way: what is wrong at all is wrong by far more.
constexpr double kTolerance = 1e-5;

// TENPASS_CLC_ISA, and what it was again afterwards.
class WithIsa {
 public:
  explicit WithIsa(const std::string& name) {
    const char* const before = getenv(kVariable);
    was_set_ = before != nullptr;
    if (was_set_) before_ = before;
    setenv(kVariable, name.c_str(), 1);
  }
  ~WithIsa() {
    if (was_set_) {
      setenv(kVariable, before_.c_str(), 1);
    } else {
      unsetenv(kVariable);
    }
  }
  WithIsa(const WithIsa&) = delete;
  WithIsa& operator=(const WithIsa&) = delete;

 private:
  static constexpr const char* kVariable = "TENPASS_CLC_ISA";
  bool was_set_ = false;
  std::string before_;
};

const std::vector<std::string> kNames = {"avx512", "avx2", "sse2", "neon-aarch64", "neon-armv7"};

// All that this machine can run.
std::vector<const Kernels*> find_tables() {
  std::vector<const Kernels*> found;
  for (const std::string& name : kNames) {
    const WithIsa isa(name);
    try {
      found.push_back(&clc::kernels());
    } catch (const std::runtime_error&) {
    }
  }
#if defined(TENPASS_CLC_HAS_WIDE)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&clc::kernels_wide);
#endif
  return found;
}

const std::vector<const Kernels*>& tables() {
  static const std::vector<const Kernels*> found = find_tables();
  return found;
}

void in_order(std::size_t parts, const std::function<void(std::size_t)>& work) {
  for (std::size_t part = 0; part < parts; ++part) work(part);
}

void reversed(std::size_t parts, const std::function<void(std::size_t)>& work) {
  while (parts > 0) work(--parts);
}

void shuffled(std::size_t parts, const std::function<void(std::size_t)>& work) {
  std::vector<std::size_t> order(parts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Random random(static_cast<std::uint32_t>(parts));
  for (std::size_t i = parts; i > 1; --i) std::swap(order[i - 1], order[random.between(0, static_cast<int>(i) - 1)]);
  for (const std::size_t part : order) work(part);
}

template <typename Work>
void on_threads(int count, const Work& work) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < count; ++thread) threads.emplace_back([&work, thread] { work(thread); });
  for (std::thread& thread : threads) thread.join();
}

// Each thread takes the next part when it has done one.
ParallelFor one_by_one(int count) {
  return [count](std::size_t parts, const std::function<void(std::size_t)>& work) {
    std::atomic<std::size_t> next{0};
    on_threads(count, [&](int) {
      for (std::size_t part = next++; part < parts; part = next++) work(part);
    });
  };
}

// Each thread has successive parts, as with ONNX Runtime.
ParallelFor in_batches(int count) {
  return [count](std::size_t parts, const std::function<void(std::size_t)>& work) {
    on_threads(count, [&](int thread) {
      for (std::size_t part = parts * thread / count; part < parts * (thread + 1) / count; ++part) work(part);
    });
  };
}

struct Way {
  std::string name;
  ParallelFor parallel_for;
};

const std::vector<Way>& ways() {
  static const std::vector<Way> all = {
      {"in order", in_order},
      {"reversed", reversed},
      {"shuffled", shuffled},
      {"two threads, one by one", one_by_one(2)},
      {"four threads, one by one", one_by_one(4)},
      {"two threads in batches", in_batches(2)},
      {"four threads in batches", in_batches(4)},
  };
  return all;
}

std::size_t output_floats(const Chain& chain, int batch, int height, int width) {
  return static_cast<std::size_t>(batch) * chain.out_channels() * chain.out_size(height) * chain.out_size(width);
}

// What a chain makes of images, in memory that held NaNs before.
std::vector<float> output_of(const Chain& chain, const std::vector<float>& input, int batch, int height, int width,
                             const ParallelFor& parallel_for = in_order) {
  std::vector<float> output(output_floats(chain, batch, height, width), kNaN);
  chain.run(input.data(), batch, height, width, output.data(), parallel_for);
  return output;
}

bool same_bytes(const std::vector<float>& left, const std::vector<float>& right) {
  return left.size() == right.size() && std::memcmp(left.data(), right.data(), left.size() * sizeof(float)) == 0;
}

std::vector<float> random_input(const OwnedChain& chain, Random& random, int batch, int height, int width) {
  return random.values(static_cast<std::size_t>(batch) * chain.blocks.front().shape.in * height * width);
}

std::string described(const OwnedChain& chain, int batch, int height, int width) {
  std::ostringstream text;
  text << batch << " x " << height << " x " << width;
  for (const OwnedBlock& each : chain.blocks) {
    const clc::Block& block = each.shape;
    text << "; " << block.in << " -> " << block.middle << " -> " << block.out << ", g1 " << block.groups_3x3 << ", g2 "
         << block.groups_1x1 << ", stride " << block.stride << (block.interlaced ? ", interlaced" : "")
         << (block.relu_between ? ", ReLU between" : "") << (block.relu ? ", ReLU" : "");
  }
  if (chain.averaged) text << "; averaged";
  return text.str();
}

// How many values are further from what they ought to be than rounding explains.
std::size_t wrong_values(const std::vector<float>& output, const Expected& wanted) {
  if (output.size() != wanted.output.size()) return std::max(output.size(), wanted.output.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < output.size(); ++i) {
    if (!(std::abs(output[i] - wanted.output[i]) <= kTolerance * wanted.largest)) ++wrong;  // NaN is wrong, too
  }
  return wrong;
}

// Compares all kernels with the definition.
void check_chain(const OwnedChain& owned, Random& random, int batch, int height, int width) {
  INFO(described(owned, batch, height, width));
  const std::vector<float> input = random_input(owned, random, batch, height, width);
  const Expected wanted = expected(owned, input, batch, height, width);
  for (const Kernels* const kernels : tables()) {
    CAPTURE(kernels->name);
    const Chain chain(owned.all(), owned.averaged, *kernels);
    CHECK(wrong_values(output_of(chain, input, batch, height, width), wanted) == 0);
  }
}

OwnedChain chain_of(const std::vector<clc::Block>& shapes, Random& random, int zeros = 0) {
  OwnedChain chain;
  for (const clc::Block& shape : shapes) chain.blocks.push_back(with_weights(shape, random, zeros));
  return chain;
}

OwnedChain random_chain(Random& random) {
  const int count = random.between(1, 4);
  std::vector<clc::Block> shapes;
  int channels = 0;
  if (random.chance(40)) {
    shapes.push_back(image_block(random.between(1, 4), random.between(1, 40), random.of<int>({1, 2, 2, 3})));
    channels = shapes.back().out;
  }
  while (static_cast<int>(shapes.size()) < count) {
    const int receptive_field = random.of<int>({1, 1, 2, 2, 2, 3, 4, 8});
    const int groups = shapes.empty() ? random.between(1, 64 / receptive_field) : random.divisor(channels);
    if (shapes.empty()) channels = groups * receptive_field;
    const int fields = random.between(1, std::max(1, std::min(4, 80 / groups)));
    const int groups_1x1 = random.divisor(groups * fields);
    const int out = groups_1x1 * random.between(1, std::max(1, 48 / groups_1x1));
    shapes.push_back(
        local_block(groups, channels / groups, fields, groups_1x1, out, random.of<int>({1, 1, 1, 2, 2, 3})));
    channels = out;
  }
  for (clc::Block& shape : shapes) {
    shape.interlaced = random.chance(70);
    shape.relu_between = random.chance(50);
    shape.relu = random.chance(70);
  }
  OwnedChain chain = chain_of(shapes, random, random.of<int>({0, 0, 0, 30, 70, 100}));
  chain.averaged = random.chance(30);
  return chain;
}

// Chains whose blocks' outputs are too large to be written whole, so that they are computed depth first.
struct Large {
  std::string name;
  OwnedChain chain;
  int height, width;
  std::size_t segments;  // of blocks that are computed depth first, or one by one

  std::vector<float> input() const {
    Random random(7);
    return random_input(chain, random, 1, height, width);
  }
};

const std::vector<Large>& large_chains() {
  static const std::vector<Large> all = [] {
    Random random(1);
    std::vector<Large> made;
    // As clcNet begins, at half its size.
    made.push_back({"a network's first blocks",
                    chain_of({image_block(3, 32, 1), local_block(16, 2, 2, 2, 64, 1), local_block(64, 1, 1, 8, 128, 2),
                              local_block(64, 2, 2, 16, 64, 2), local_block(32, 2, 2, 4, 48, 1)},
                             random),
                    112, 112, 2});
    // Of primes, with a stride that does not divide them and an odd number of vectors.
    made.push_back({"odd sizes",
                    chain_of({local_block(32, 2, 2, 2, 62, 1), local_block(62, 1, 1, 2, 72, 1),
                              local_block(24, 3, 1, 3, 51, 3), local_block(17, 3, 3, 3, 30, 2)},
                             random),
                    67, 79, 2});
    // Rows so short that many are computed at once: other numbers of them in each block.
    made.push_back({"short rows",
                    chain_of({local_block(16, 2, 1, 2, 32, 1), local_block(32, 1, 3, 8, 40, 1),
                              local_block(10, 4, 1, 1, 100, 2), local_block(50, 2, 2, 10, 90, 3)},
                             random),
                    2503, 5, 1});
    for (Large& each : made) {
      for (std::size_t i = 0; i < each.chain.blocks.size(); ++i) {
        each.chain.blocks[i].shape.relu_between = i % 2 == 1;
        each.chain.blocks[i].shape.interlaced = i != 2;
      }
    }
    return made;
  }();
  return all;
}

std::vector<clc::Block> two_good_blocks() {
  static const std::vector<float> zeros(10'000);
  std::vector<clc::Block> blocks = {image_block(3, 8, 2), local_block(4, 2, 2, 2, 6, 1)};
  for (clc::Block& block : blocks) block.weights_3x3 = block.bias_3x3 = zeros.data();
  blocks[1].weights_1x1 = blocks[1].bias_1x1 = zeros.data();
  return blocks;
}

// What a chain says of the two good blocks when `spoil` has changed them.
template <typename Spoil>
std::string refusal(const Spoil& spoil) {
  std::vector<clc::Block> blocks = two_good_blocks();
  spoil(blocks);
  try {
    const Chain chain(blocks, false, *tables().front());
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "not refused";
}

// A kernel that counts the rows that it computes.
std::atomic<std::size_t> filtered_rows{0};

void counting_filter(const clc::FilterCall& call) {
  filtered_rows += call.output_rows;
  tables().front()->filter(call);
}

}  // namespace

// --- what is computed ---------------------------------------------------------------------------------

TEST_CASE("a chain computes what its definition says") {
  for (int seed = 1; seed <= (kSanitized ? 150 : 500); ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const OwnedChain chain = random_chain(random);
    const int most = random.of<int>({3, 8, 20});
    check_chain(chain, random, random.between(1, 2), random.between(1, most), random.between(1, most));
  }
}

TEST_CASE("a linear layer is applied to the averages, for any number of channels and outputs, on any threads") {
  Random random(7);
  for (int turn = 0; turn < (kSanitized ? 10 : 40); ++turn) {
    OwnedChain owned = chain_of({local_block(random.between(1, 20), 2, 2, 1, random.between(1, 70), 1)}, random);
    owned.averaged = true;
    const int channels = owned.blocks.back().shape.out;
    clc::Linear linear;
    linear.out = random.between(1, 70);
    const std::vector<float> weights = random.values(static_cast<std::size_t>(linear.out) * channels);
    const std::vector<float> bias = random.values(linear.out);
    linear.weights = weights.data();
    linear.bias = bias.data();
    const int batch = random.between(1, 2), height = random.between(1, 9), width = random.between(1, 9);
    const std::vector<float> input = random_input(owned, random, batch, height, width);
    const Expected averages = expected(owned, input, batch, height, width);
    Expected wanted{{}, averages.largest * channels};
    for (int image = 0; image < batch; ++image) {
      for (int out = 0; out < linear.out; ++out) {
        double sum = bias[out];
        for (int channel = 0; channel < channels; ++channel) {
          sum += double{weights[out * channels + channel]} * averages.output[image * channels + channel];
        }
        wanted.output.push_back(sum);
      }
    }
    for (const Kernels* const kernels : tables()) {
      CAPTURE(kernels->name);
      const Chain chain(owned.all(), true, *kernels, linear);
      CHECK(chain.out_channels() == linear.out);
      const std::vector<float> output = output_of(chain, input, batch, height, width);
      CHECK(wrong_values(output, wanted) == 0);
      CHECK(same_bytes(output, output_of(chain, input, batch, height, width, in_batches(3))));
    }
  }
}

TEST_CASE("a linear layer without averages, or with fewer than no outputs, is refused") {
  clc::Linear linear;
  linear.out = 3;
  CHECK_THROWS_AS(Chain(two_good_blocks(), false, *tables().front(), linear), std::invalid_argument);
  linear.out = -1;
  CHECK_THROWS_AS(Chain(two_good_blocks(), true, *tables().front(), linear), std::invalid_argument);
}

TEST_CASE("a block ends where its image ends, for each width, height and stride") {
  Random random(2);
  for (int stride = 1; stride <= 3; ++stride) {
    const OwnedChain pairs = chain_of({local_block(5, 2, 2, 2, 6, stride)}, random);
    const OwnedChain depthwise = chain_of({local_block(6, 1, 1, 2, 4, stride)}, random);
    const OwnedChain two = chain_of({local_block(2, 3, 3, 1, 3, stride), local_block(3, 1, 2, 2, 4, stride)}, random);
    for (int size = 1; size <= (kSanitized ? 20 : 40); ++size) {
      check_chain(pairs, random, 1, 2, size);
      check_chain(pairs, random, 1, size, 1);
      check_chain(depthwise, random, 1, 3, size);
      check_chain(depthwise, random, 2, size, 2);
      check_chain(two, random, 1, size, size % 7 + 1);
    }
  }
}

TEST_CASE("an image of one to four channels is convolved up to its edges") {
  Random random(3);
  for (int channels = 1; channels <= 4; ++channels) {
    for (int stride = 1; stride <= 3; ++stride) {
      const OwnedChain alone = chain_of({image_block(channels, 7, stride)}, random);
      const OwnedChain first = chain_of({image_block(channels, 10, stride), local_block(5, 2, 1, 1, 3, 1)}, random);
      for (int size = 1; size <= (kSanitized ? 18 : 32); ++size) {
        check_chain(alone, random, 1, 1 + size % 3, size);
        if (size <= 8) check_chain(alone, random, 2, size, 1 + size % 5);
        if (size % 4 == 1) check_chain(first, random, 1, 4, size);
      }
    }
  }
}

TEST_CASE("any number of groups and of channels in them finds its lanes") {
  Random random(4);
  for (const int receptive_field : {1, 2, 3, 4, 8}) {
    for (int groups = 1; groups <= 36; ++groups) {
      const int fields = groups % 4 + 1;
      OwnedChain chain = chain_of({local_block(2, 2, 1, 1, groups * receptive_field, 1),
                                   local_block(groups, receptive_field, fields, 1, 5, groups % 3 + 1)},
                                  random);
      chain.blocks[1].shape.interlaced = groups % 5 != 0;
      check_chain(chain, random, 1, 3, 4);
    }
  }
}

TEST_CASE("any number of outputs and of groups of them finds its lanes") {
  Random random(5);
  for (int groups = 1; groups <= 24; ++groups) {
    for (const int group_out : {1, 2, 3, 5, 7}) {
      OwnedChain chain = chain_of({local_block(4, 2, groups, groups, groups * group_out, 1)}, random);
      chain.blocks[0].shape.interlaced = group_out != 3;
      check_chain(chain, random, 1, 2, 3);
    }
  }
}

TEST_CASE("where all weights are zero the biases are left") {
  Random random(6);
  check_chain(chain_of({local_block(6, 2, 2, 2, 34, 1)}, random, 100), random, 1, 5, 4);
  check_chain(chain_of({image_block(3, 17, 2), local_block(17, 1, 1, 1, 9, 1)}, random, 100), random, 1, 5, 4);
}

TEST_CASE("blocks with outputs of one size, which share memory by turns, do not disturb each other") {
  Random random(8);
  for (const int count : {3, 4, 7}) {
    std::vector<clc::Block> shapes;
    for (int i = 0; i < count; ++i) shapes.push_back(local_block(9, 2, 2, 3, 18, 1));
    const OwnedChain chain = chain_of(shapes, random);
    check_chain(chain, random, 2, 9, 7);
    check_chain(chain, random, 1, 180, 9);  // in several tiles: rows are written before the last ones are read
  }
}

TEST_CASE("blocks that are computed depth first compute what their definition says") {
  for (const Large& large : large_chains()) {
    CAPTURE(large.name);
    const std::vector<float> input = large.input();
    const Expected wanted = expected(large.chain, input, 1, large.height, large.width);
    for (const Kernels* const kernels : tables()) {
      CAPTURE(kernels->name);
      const Chain chain(large.chain.all(), false, *kernels);
      CHECK(wrong_values(output_of(chain, input, 1, large.height, large.width), wanted) == 0);
    }
  }
}

TEST_CASE("a chain says what it takes and gives") {
  Random random(9);
  OwnedChain owned = chain_of({image_block(3, 8, 2), local_block(4, 2, 2, 2, 6, 3)}, random);
  const Chain chain(owned.all(), false, *tables().front());
  CHECK(chain.in_channels() == 3);
  CHECK(chain.out_channels() == 6);
  CHECK(chain.out_size(1) == 1);
  CHECK(chain.out_size(6) == 1);
  CHECK(chain.out_size(7) == 2);
  CHECK(chain.out_size(224) == 38);
  const Chain averaged(owned.all(), true, *tables().front());
  CHECK(averaged.out_size(224) == 1);
}

// --- threads and memory -------------------------------------------------------------------------------

TEST_CASE("the large chains are computed depth first, in several parts") {
  for (const Large& large : large_chains()) {
    CAPTURE(large.name);
    const Chain chain(large.chain.all(), false, *tables().front());
    std::vector<std::size_t> parts;
    output_of(chain, large.input(), 1, large.height, large.width,
              [&](std::size_t count, const std::function<void(std::size_t)>& work) {
                parts.push_back(count);
                in_order(count, work);
              });
    const bool is_read = !large.chain.blocks.front().of_image();
    REQUIRE(parts.size() == is_read + large.segments + 1);  // the input is read first, the output written last
    CHECK(parts[is_read] >= 16);
  }
}

TEST_CASE("who computes which part in which order changes no bit of the output") {
  for (const Large& large : large_chains()) {
    CAPTURE(large.name);
    const std::vector<float> input = large.input();
    for (const Kernels* const kernels : tables()) {
      CAPTURE(kernels->name);
      const Chain chain(large.chain.all(), false, *kernels);
      const std::vector<float> wanted = output_of(chain, input, 1, large.height, large.width);
      for (const Way& way : ways()) {
        CAPTURE(way.name);
        CHECK(same_bytes(output_of(chain, input, 1, large.height, large.width, way.parallel_for), wanted));
      }
    }
  }
}

TEST_CASE("random chains are the same in all ways to compute their parts") {
  for (int seed = 1001; seed <= (kSanitized ? 1020 : 1060); ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const OwnedChain owned = random_chain(random);
    const int height = random.between(1, 40);
    const int width = random.between(1, 12);
    INFO(described(owned, 2, height, width));
    const std::vector<float> input = random_input(owned, random, 2, height, width);
    const Chain chain(owned.all(), owned.averaged, *tables()[seed % tables().size()]);
    const std::vector<float> wanted = output_of(chain, input, 2, height, width);
    for (const Way& way : ways()) {
      CAPTURE(way.name);
      CHECK(same_bytes(output_of(chain, input, 2, height, width, way.parallel_for), wanted));
    }
  }
}

TEST_CASE("no part goes on where one of an earlier image ended") {
  Random random(12);
  const ParallelFor later_half_first = [](std::size_t parts, const std::function<void(std::size_t)>& work) {
    for (std::size_t part = parts / 2; part < parts; ++part) work(part);
    for (std::size_t part = 0; part < parts / 2; ++part) work(part);
  };
  for (const Large& large : large_chains()) {
    CAPTURE(large.name);
    const std::vector<float> two_images = random_input(large.chain, random, 2, large.height, large.width);
    const Chain chain(large.chain.all(), false, *tables().front());
    CHECK(same_bytes(output_of(chain, two_images, 2, large.height, large.width, later_half_first),
                     output_of(chain, two_images, 2, large.height, large.width)));
  }
}

TEST_CASE("a thread that takes the parts in order computes no row twice") {
  Kernels counting = *tables().front();
  counting.filter = counting_filter;
  const Large& large = large_chains().back();
  OwnedChain first_two = large.chain;
  first_two.blocks.resize(2);  // of stride 1: every row is needed
  const Chain chain(first_two.all(), false, counting);
  filtered_rows = 0;
  output_of(chain, large.input(), 1, large.height, large.width);
  CHECK(filtered_rows == 2U * large.height);
  filtered_rows = 0;
  output_of(chain, large.input(), 1, large.height, large.width, reversed);
  CHECK(filtered_rows > 2U * large.height);  // the count works: here each part begins anew
}

TEST_CASE("several threads may call one chain at once, with images of their own sizes") {
  Random random(10);
  const Large& large = large_chains().front();
  struct Images {
    int batch, height, width;
    std::vector<float> input, wanted;
  };
  for (const Kernels* const kernels : tables()) {
    CAPTURE(kernels->name);
    std::vector<Images> images = {{1, 40, 33, {}, {}}, {2, 40, 33, {}, {}}, {1, 23, 51, {}, {}}};
    const Chain chain(large.chain.all(), false, *kernels);
    for (Images& each : images) {
      each.input = random_input(large.chain, random, each.batch, each.height, each.width);
      each.wanted = output_of(chain, each.input, each.batch, each.height, each.width);
    }
    std::atomic<int> different{0};
    on_threads(static_cast<int>(images.size()), [&](int thread) {
      const Images& mine = images[thread];
      for (int i = 0; i < 4; ++i) {
        const ParallelFor& parallel_for = i % 2 == 0 ? ParallelFor(in_order) : in_batches(2);
        const auto output = output_of(chain, mine.input, mine.batch, mine.height, mine.width, parallel_for);
        if (!same_bytes(output, mine.wanted)) ++different;
      }
    });
    CHECK(different == 0);
  }
}

TEST_CASE("images of several sizes in turn are each as if they were the first") {
  Random random(11);
  const OwnedChain owned = chain_of({image_block(3, 20, 2), local_block(10, 2, 2, 4, 24, 1),
                                     local_block(24, 1, 1, 2, 18, 2)},
                                    random);
  for (const Kernels* const kernels : tables()) {
    CAPTURE(kernels->name);
    const Chain chain(owned.all(), false, *kernels);
    for (const auto& [height, width] : std::vector<std::pair<int, int>>{
             {16, 16}, {1, 1}, {16, 16}, {31, 5}, {5, 31}, {5, 31}, {1, 40}, {40, 1}, {16, 16}}) {
      CAPTURE(height);
      CAPTURE(width);
      const std::vector<float> input = random_input(owned, random, 1, height, width);
      const Chain fresh(owned.all(), false, *kernels);
      CHECK(same_bytes(output_of(chain, input, 1, height, width), output_of(fresh, input, 1, height, width)));
    }
  }
}

TEST_CASE("nothing of an image is left in the next one's output") {
  for (int seed = 2001; seed <= (kSanitized ? 2030 : 2100); ++seed) {
    CAPTURE(seed);
    Random random(seed);
    OwnedChain owned = random_chain(random);
    for (OwnedBlock& block : owned.blocks) block.shape.relu_between = block.shape.relu = false;  // they hide NaNs
    const int height = random.between(1, 9);
    const int width = random.between(1, 9);
    INFO(described(owned, 1, height, width));
    const std::vector<float> input = random_input(owned, random, 1, height, width);
    for (const Kernels* const kernels : tables()) {
      CAPTURE(kernels->name);
      const Chain chain(owned.all(), owned.averaged, *kernels);
      const std::vector<float> wanted = output_of(chain, input, 1, height, width);
      output_of(chain, std::vector<float>(input.size(), kNaN), 1, height, width);
      CHECK(same_bytes(output_of(chain, input, 1, height, width), wanted));
    }
  }
}

TEST_CASE("no images, no work") {
  const Chain chain(two_good_blocks(), false, *tables().front());
  std::size_t calls = 0;
  chain.run(nullptr, 0, 5, 5, nullptr, [&](std::size_t, const std::function<void(std::size_t)>&) { ++calls; });
  CHECK(calls == 0);
}

TEST_CASE("memory begins on a cache line, is zero at first, and belongs to one user") {
  const std::vector<std::size_t> counts = {0, 1, 15, 16, 17, 1000, 524'287, 524'288, 524'289, 3, 1'500'000, 1};
  for (int round = 0; round < 3; ++round) {  // the later ones get what the first has left dirty
    clc::Memory memory;
    std::vector<clc::Floats> all;
    for (const std::size_t count : counts) {
      CAPTURE(count);
      const clc::Floats floats = memory.floats(count);
      CHECK(floats.size == count);
      CHECK(reinterpret_cast<std::uintptr_t>(floats.data) % 64 == 0);
      CHECK(std::all_of(floats.data, floats.data + count, [](float value) { return value == 0; }));
      std::fill_n(floats.data, count, static_cast<float>(all.size() + 1));
      all.push_back(floats);
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto mine = static_cast<float>(i + 1);
      CHECK(std::all_of(all[i].data, all[i].data + all[i].size, [&](float value) { return value == mine; }));
    }
  }
}

TEST_CASE("memory goes on after a wish that cannot be granted") {
  if (kSanitized) return;  // the sanitizer ends the program there
  clc::Memory memory;
  memory.floats(1);
  CHECK_THROWS_AS(memory.floats(std::numeric_limits<std::size_t>::max() / 8), std::bad_alloc);
  const clc::Floats floats = memory.floats(16);
  REQUIRE(floats.data != nullptr);
  CHECK(std::all_of(floats.data, floats.data + floats.size, [](float value) { return value == 0; }));
}

// --- what is refused ----------------------------------------------------------------------------------

TEST_CASE("a chain without blocks is refused") {
  CHECK(refusal([](auto& blocks) { blocks.clear(); }) == "a chain has at least one block");
}

TEST_CASE("blocks that do not fit themselves or each other are refused, and the block is named") {
  using Blocks = std::vector<clc::Block>;
  CHECK(refusal([](Blocks&) {}) == "not refused");

  for (int clc::Block::*const channels : {&clc::Block::in, &clc::Block::middle, &clc::Block::out}) {
    for (const int count : {0, -4}) {
      CHECK(refusal([&](Blocks& blocks) { blocks[1].*channels = count; }) == "block 1: channels must be positive");
    }
  }
  for (const int stride : {0, -1}) {
    CHECK(refusal([&](Blocks& blocks) { blocks[0].stride = stride; }) == "block 0: the stride must be positive");
  }
  const std::string groups_3x3 = "block 1: the groups of the 3x3 convolution must divide its channels";
  for (const int groups : {0, -2, 3, 16}) {  // 8 channels in, 8 between
    CHECK(refusal([&](Blocks& blocks) { blocks[1].groups_3x3 = groups; }) == groups_3x3);
  }
  CHECK(refusal([](Blocks& blocks) { blocks[1].middle = 6; }) == groups_3x3);

  const std::string groups_1x1 = "block 1: the groups of the 1x1 convolution must divide its channels";
  for (const int groups : {-2, 3, 4, 16}) {  // 8 channels between, 6 out
    CHECK(refusal([&](Blocks& blocks) { blocks[1].groups_1x1 = groups; }) == groups_1x1);
  }

  const std::string alone = ": only the first block can be a 3x3 convolution alone, and in one group";
  CHECK(refusal([](Blocks& blocks) {
          blocks[1].groups_1x1 = 0;
          blocks[1].groups_3x3 = 1;
          blocks[1].out = blocks[1].middle;
        }) == "block 1" + alone);
  CHECK(refusal([](Blocks& blocks) { blocks[0].out = 4; }) == "block 0" + alone);
  CHECK(refusal([](Blocks& blocks) {
          blocks[0].in = 4;
          blocks[0].groups_3x3 = 2;
        }) == "block 0" + alone);

  CHECK(refusal([](Blocks& blocks) { blocks[1].in = 16; }) ==
        "block 1: its input is not the output of the block before it");
}

TEST_CASE("kernels that are not known or not to be had are refused, and those that are, are named") {
  const std::string best = [] {
    const WithIsa isa("");  // as if it were not set
    return std::string(clc::kernels().name);
  }();
  CHECK(best == tables().front()->name);
  const WithIsa isa("mmx");
  std::string message;
  try {
    clc::kernels();
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  CHECK(message.find("TENPASS_CLC_ISA is 'mmx'; this machine has " + best) == 0);
}

TEST_CASE("kernels are found by their names") {
  std::size_t found = 0;
  for (const std::string& name : kNames) {
    const WithIsa isa(name);
    try {
      CHECK(clc::kernels().name == name);
      ++found;
    } catch (const std::runtime_error& error) {
      CHECK(std::string(error.what()).find("'" + name + "'; this machine has ") != std::string::npos);
    }
  }
  CHECK(found > 0);
}

}  // namespace tenpass::test
