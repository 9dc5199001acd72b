// Compiled once for each instruction set, with TENPASS_CLC_KERNELS naming the table that it defines. Nothing but
// simd.hpp is used here: an inline function of a library, compiled for AVX-512, could end up being called elsewhere.
#include "kernels.hpp"

#include "simd.hpp"

namespace tenpass::clc {
namespace {

// Sizes known to the compiler, or (kAny) only at run time.
constexpr int kAny = 0;

// What the compiler must not do: gather the loads of all taps before the first multiply-add, or compute the addresses
// of all inputs from one base before the first load (it runs out of registers), or load an input once for each use.
#define TENPASS_NO_HOISTING asm volatile("" ::: "memory")
#define TENPASS_OWN_BASE(pointer) asm("" : "+r"(pointer))
#if defined(__arm__)  // where loads have no room for an offset, but can move their pointer on
#define TENPASS_OWN_STEP(pointer) TENPASS_OWN_BASE(pointer)
#else
#define TENPASS_OWN_STEP(pointer)
#endif
#if defined(__x86_64__) && !defined(TENPASS_CLC_WIDTH)
#define TENPASS_OWN_REGISTER(vector) asm("" : "+v"(vector))
#else
#define TENPASS_OWN_REGISTER(vector)
#endif

// What filter_pixels needs to know of one block of groups in one row.
struct FilterRow {
  const float* rows[3];
  const float* weights;
  const float* bias;
  float* tile;
  std::size_t tile_stride, field_stride;
  int receptive_field, stride;
  bool relu;
};

// What one tap contributes; gives the weights behind it. `step` is from a pixel's input to the next one's.
template <int kPixels, int kFields, int kReceptiveField>
TENPASS_INLINE const float* add_tap(Vector (&sum)[kPixels][kFields], const float* weights, const float* input,
                                    int receptive_field, std::size_t step) {
#if defined(__arm__)
  if constexpr (kReceptiveField != kAny) {
    // With the weights of all its channels at hand a pixel's inputs are read in the order in which they lie, and loads
    // move the pointer on.
    Vector weight[kReceptiveField][kFields];
#pragma GCC unroll 16
    for (int k = 0; k < kReceptiveField; ++k) {
#pragma GCC unroll 16
      for (int j = 0; j < kFields; ++j, weights += kWidth) {
        TENPASS_OWN_STEP(weights);
        weight[k][j] = load(weights);
      }
    }
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 16
      for (int k = 0; k < kReceptiveField; ++k, input += kWidth) {
        TENPASS_OWN_STEP(input);
        const Vector value = load(input);
#pragma GCC unroll 16
        for (int j = 0; j < kFields; ++j) sum[p][j] = multiply_add(sum[p][j], weight[k][j], value);
      }
      input += step - kReceptiveField * kWidth;
    }
    TENPASS_NO_HOISTING;
    return weights;
  }
#endif
#pragma GCC unroll 2
  for (int k = 0; k < receptive_field; ++k) {
    Vector weight[kFields];
#pragma GCC unroll 16
    for (int j = 0; j < kFields; ++j) weight[j] = load(weights + j * kWidth);
    weights += kFields * kWidth;
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
      Vector value = load(input + p * step + k * kWidth);
      TENPASS_OWN_REGISTER(value);
#pragma GCC unroll 16
      for (int j = 0; j < kFields; ++j) sum[p][j] = multiply_add(sum[p][j], weight[j], value);
    }
    TENPASS_NO_HOISTING;
  }
  return weights;
}

// `kFields` fields for `tiles` times `kPixels` pixels, from pixel `first` on.
template <int kPixels, int kFields, int kReceptiveField, int kStride>
__attribute__((noinline)) void filter_pixels(const FilterRow& call, int first, int tiles) {
  const int receptive_field = kReceptiveField == kAny ? call.receptive_field : kReceptiveField;
  const int stride = kStride == kAny ? call.stride : kStride;
  const std::size_t pixel = static_cast<std::size_t>(receptive_field) * kWidth;  // floats to the next one of input
  const std::size_t tile_stride = call.tile_stride;
  const std::size_t field_stride = call.field_stride;
  const bool relu = call.relu;
  std::size_t from = first * stride * pixel;
  float* tile = call.tile + first * tile_stride;
  for (; tiles > 0; --tiles, from += kPixels * stride * pixel, tile += kPixels * tile_stride) {
    const float* weights = call.weights;
    Vector sum[kPixels][kFields];
#pragma GCC unroll 16
    for (int j = 0; j < kFields; ++j) {
      const Vector start = load(call.bias + j * kWidth);
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; ++p) sum[p][j] = start;
    }
#pragma GCC unroll 3
    for (int dy = 0; dy < 3; ++dy) {
      const float* row = call.rows[dy] + from;
      TENPASS_OWN_BASE(row);
#pragma GCC unroll 3
      for (int dx = 0; dx < 3; ++dx) {
        weights = add_tap<kPixels, kFields, kReceptiveField>(sum, weights, row + dx * pixel, receptive_field,
                                                             stride * pixel);
      }
    }
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 16
      for (int j = 0; j < kFields; ++j) {
        store(tile + p * tile_stride + j * field_stride, relu ? positive(sum[p][j]) : sum[p][j]);
      }
    }
  }
}

// Splits `count` into parts of at most `most`, as equal as can be (a short last part would waste the registers), and
// calls `work` with the first, the size and the number of those of one size.
template <typename Work>
TENPASS_INLINE void in_parts(int count, int most, const Work& work) {
  const int parts = (count + most - 1) / most;
  const int size = count / parts;
  const int larger = count % parts;
  if (larger > 0) work(0, size + 1, larger);
  work(larger * (size + 1), size, parts - larger);
}

using FilterPixels = void (*)(const FilterRow&, int, int);

template <int kFields, int kReceptiveField, int kStride>
FilterPixels filter_of(int pixels) {
  switch (pixels) {
    case 1: return filter_pixels<1, kFields, kReceptiveField, kStride>;
    case 2: return filter_pixels<2, kFields, kReceptiveField, kStride>;
    case 3: return filter_pixels<3, kFields, kReceptiveField, kStride>;
    case 4: return filter_pixels<4, kFields, kReceptiveField, kStride>;
    case 5: return filter_pixels<5, kFields, kReceptiveField, kStride>;
#if !defined(__arm__)
    case 6: return filter_pixels<6, kFields, kReceptiveField, kStride>;
    case 7: return filter_pixels<7, kFields, kReceptiveField, kStride>;
    case 8: return filter_pixels<8, kFields, kReceptiveField, kStride>;
#endif
    default: __builtin_unreachable();
  }
}

// One block of groups in one row.
template <int kFields, int kReceptiveField, int kStride>
void filter_row(const FilterCall& call, int row, int block) {
  const std::size_t pixel = static_cast<std::size_t>(call.receptive_field) * kWidth;
  FilterRow part{};
  for (int dy = 0; dy < 3; ++dy) part.rows[dy] = call.rows[3 * row + dy] + block * call.block_stride;
  part.tile_stride = call.tile_stride;
  part.field_stride = call.field_stride;
  part.receptive_field = call.receptive_field;
  part.stride = call.stride;
  part.relu = call.relu;
  for (int field = 0; field < call.fields; field += kFields) {
    const std::size_t vector = static_cast<std::size_t>(block) * call.fields + field;
    part.weights = call.weights + vector * 9 * pixel;
    part.bias = call.bias + vector * kWidth;
    part.tile = call.tile + row * call.output_width * call.tile_stride + field * call.field_stride +
                static_cast<std::size_t>(block) * kWidth;
    in_parts(call.output_width, kFilterPixels, [&](int first, int pixels, int tiles) {
      filter_of<kFields, kReceptiveField, kStride>(pixels)(part, first, tiles);
    });
  }
}

template <int kFields, int kReceptiveField, int kStride>
void filter_rows(const FilterCall& call) {
  // Row after row, though each reads all weights again: so all memory is read in the order in which it lies.
  for (int row = 0; row < call.output_rows; ++row) {
    for (int block = 0; block < call.blocks; ++block) filter_row<kFields, kReceptiveField, kStride>(call, row, block);
  }
}

void filter(const FilterCall& call) {
  const bool pairs = call.fields % 2 == 0;
  if (pairs && call.receptive_field == 2 && call.stride == 1) return filter_rows<2, 2, 1>(call);
  if (pairs && call.receptive_field == 2 && call.stride == 2) return filter_rows<2, 2, 2>(call);
  if (pairs) return filter_rows<2, kAny, kAny>(call);
  if (call.receptive_field == 1 && call.stride == 1) return filter_rows<1, 1, 1>(call);
  if (call.receptive_field == 1 && call.stride == 2) return filter_rows<1, 1, 2>(call);
  filter_rows<1, kAny, kAny>(call);
}

// Adds to each pixel's two sums what one step, kInputs of its inputs, contributes.
template <int kPixels>
struct Step {
  Vector weight[kInputs][2];

  // Moves `weights` on.
  TENPASS_INLINE explicit Step(const float*& weights) {
#pragma GCC unroll 16
    for (int k = 0; k < kInputs; ++k) {
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j, weights += kWidth) {
        TENPASS_OWN_STEP(weights);
        weight[k][j] = load(weights);
      }
    }
  }

  template <int kLane>
  TENPASS_INLINE void add_lane(Vector (&sum)[2], Inputs inputs) const {
    sum[0] = multiply_add_lane<kLane>(sum[0], weight[kLane][0], inputs);
    sum[1] = multiply_add_lane<kLane>(sum[1], weight[kLane][1], inputs);
  }

  TENPASS_INLINE void add(Vector (&sum)[2], Inputs inputs) const {
    add_lane<0>(sum, inputs);
    if constexpr (kInputs > 1) add_lane<1>(sum, inputs);
    if constexpr (kInputs > 2) {
      add_lane<2>(sum, inputs);
      add_lane<3>(sum, inputs);
    }
  }
};

#if defined(__ARM_NEON)

// One run of inputs; gives the weights behind it.
template <int kPixels>
TENPASS_INLINE const float* add_run(Vector (&sum)[kPixels][2], const float* weights, const float* input, int length,
                                    std::size_t tile_stride, const float*&) {
  // A pointer for each pixel, which a load moves on by itself: an address to be computed is one instruction more.
  const float* pixel[kPixels];
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p) pixel[p] = input + p * tile_stride;
  for (int steps = length / (kInputs * kUnrolled); steps != 0; --steps) {
#pragma GCC unroll 4
    for (int unrolled = 0; unrolled < kUnrolled; ++unrolled) {
      const Step<kPixels> step(weights);
      // Each pixel's inputs are loaded while the one before is at work: an in-order core would wait for them.
      Inputs inputs = load_inputs(pixel[0]);
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; ++p) {
        const Inputs following = load_inputs(pixel[p + 1 < kPixels ? p + 1 : p]);
        pixel[p] += kInputs;
        TENPASS_OWN_BASE(pixel[p]);
        step.add(sum[p], inputs);
        inputs = following;
      }
    }
  }
  return weights;
}

#else

constexpr int kCacheLineFloats = 16;

template <int kPixels>
TENPASS_INLINE const float* add_run(Vector (&sum)[kPixels][2], const float* weights, const float* input, int length,
                                    std::size_t tile_stride, const float*& ask) {
  const float* const end = input + length;
#pragma GCC unroll 4
  for (; input != end; input += kInputs) {
    // A step's weights are two lines with AVX-512, one and less with the others.
#pragma GCC unroll 2
    for (int line = 0; line < 2 * kInputs * kWidth; line += kCacheLineFloats) __builtin_prefetch(ask + line, 0, 2);
    ask += 2 * kInputs * kWidth;
    const Step<kPixels> step(weights);
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) step.add(sum[p], load_inputs(input + p * tile_stride));
  }
  return weights;
}

#endif

// What to ask the memory for while a panel is at work, which would else have to be waited for: the next panel's weights
// with its first tile of pixels, a part of what follows all panels with some of the others.
struct Asked {
  const float* next_panel;
  const float* following;
  int parts;
  std::size_t part_floats;
  int tile = 0;

  TENPASS_INLINE const float* with_next_tile() {
    const int part = tile++ - 1;
    return part >= 0 && part < parts ? following + part * part_floats : next_panel;
  }
};

// One panel for `tiles` times `kPixels` pixels.
template <int kPixels>
__attribute__((noinline)) void pointwise_pixels(const Panel& panel, const float* tile, std::size_t tile_stride,
                                                float* const* outputs, int tiles, bool relu,
                                                [[maybe_unused]] Asked& asked) {
  const std::size_t offsets[] = {panel.offsets[0], panel.offsets[1]};
  for (; tiles > 0; --tiles, tile += kPixels * tile_stride, outputs += kPixels) {
    const float* weights = panel.weights;
#if defined(__x86_64__)
    const float* ask = asked.with_next_tile();
#else
    const float* ask = nullptr;  // an instruction for each step is too much where one at a time is executed
#endif
    Vector sum[kPixels][2];
#pragma GCC unroll 16
    for (int j = 0; j < 2; ++j) {
      const Vector start = load(panel.bias + j * kWidth);
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; ++p) sum[p][j] = start;
    }
    for (int run = 0; run < panel.run_count; ++run) {
      const Run& part = panel.runs[run];
      weights = add_run<kPixels>(sum, weights, tile + part.begin, part.length, tile_stride, ask);
    }
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
      float* const output = outputs[p];
#pragma GCC unroll 16
      for (int j = 0; j < 2; ++j) store(output + offsets[j], relu ? positive(sum[p][j]) : sum[p][j]);
    }
  }
}

using PointwisePixels = void (*)(const Panel&, const float*, std::size_t, float* const*, int, bool, Asked&);

PointwisePixels pointwise_of(int pixels) {
  switch (pixels) {
    case 1: return pointwise_pixels<1>;
    case 2: return pointwise_pixels<2>;
    case 3: return pointwise_pixels<3>;
    case 4: return pointwise_pixels<4>;
    case 5: return pointwise_pixels<5>;
#if !defined(__arm__)
    case 6: return pointwise_pixels<6>;
    case 7: return pointwise_pixels<7>;
    case 8: return pointwise_pixels<8>;
    case 9: return pointwise_pixels<9>;
    case 10: return pointwise_pixels<10>;
    case 11: return pointwise_pixels<11>;
    case 12: return pointwise_pixels<12>;
    case 13: return pointwise_pixels<13>;
    case 14: return pointwise_pixels<14>;
#endif
    default: __builtin_unreachable();
  }
}

void pointwise(const PointwiseCall& call) {
  // A panel's weights stay in the first cache while all pixels of the tile pass by.
  for (int i = 0; i < call.panel_count; ++i) {
    const Panel& panel = call.panels[i];
    const std::size_t floats = static_cast<std::size_t>(panel.inputs) * 2 * kWidth;
    Asked asked{panel.weights + floats, nullptr, 0, floats};
    if (call.following != nullptr && floats > 0) {
      const int all = static_cast<int>((call.following_floats + floats - 1) / floats);
      const int before = all * i / call.panel_count;
      asked.following = call.following + before * floats;
      asked.parts = all * (i + 1) / call.panel_count - before;
    }
    in_parts(call.pixels, kTilePixels, [&](int first, int pixels, int tiles) {
      pointwise_of(pixels)(panel, call.tile + first * call.tile_stride, call.tile_stride, call.outputs + first, tiles,
                           call.relu, asked);
    });
  }
}

}  // namespace

extern const Kernels TENPASS_CLC_KERNELS;
const Kernels TENPASS_CLC_KERNELS = {kName, kWidth, kInputs * kUnrolled, filter, pointwise};

}  // namespace tenpass::clc
