// A vector of floats on each instruction set, and what the kernels need of it. Which set a file is compiled for is
// said by the compiler's own macros, so that one source serves all of them.
#pragma once

#include <cstddef>

#if defined(__ARM_NEON)
#include <arm_neon.h>
#elif defined(__x86_64__)
#include <immintrin.h>
#endif

// Everything here is local to the file that includes it: the same names are compiled for several instruction sets.
namespace tenpass::clc {
namespace {

#define TENPASS_INLINE inline __attribute__((always_inline))

#if defined(__ARM_NEON)

using Vector = float32x4_t;
constexpr int kWidth = 4;

TENPASS_INLINE Vector load(const float* from) { return vld1q_f32(from); }
TENPASS_INLINE void store(float* to, Vector value) { vst1q_f32(to, value); }
TENPASS_INLINE Vector positive(Vector value) { return vmaxq_f32(value, vdupq_n_f32(0)); }

#if defined(__aarch64__)

constexpr const char* kName = "neon-aarch64";
constexpr int kTilePixels = 11;    // 22 accumulators, 8 vectors of weights, 1 of inputs: 31 of 32 registers
constexpr int kFilterPixels = 8;   // 16 accumulators
using Inputs = float32x4_t;        // successive inputs of one pixel, multiplied lane by lane
constexpr int kInputs = 4;
constexpr int kUnrolled = 1;       // steps of kInputs between two branches

TENPASS_INLINE Vector multiply_add(Vector sum, Vector a, Vector b) { return vfmaq_f32(sum, a, b); }
TENPASS_INLINE Inputs load_inputs(const float* from) { return vld1q_f32(from); }
template <int kLane>
TENPASS_INLINE Vector multiply_add_lane(Vector sum, Vector weights, Inputs inputs) {
  return vfmaq_laneq_f32(sum, weights, inputs, kLane);
}

#else

constexpr const char* kName = "neon-armv7";
constexpr int kTilePixels = 5;     // 10 accumulators, 4 vectors of weights, half a vector of inputs: 15 of 16 registers
constexpr int kFilterPixels = 5;   // 10 accumulators, 4 vectors of weights, 1 of inputs
using Inputs = float32x2_t;
constexpr int kInputs = 2;
constexpr int kUnrolled = 2;

TENPASS_INLINE Vector multiply_add(Vector sum, Vector a, Vector b) { return vmlaq_f32(sum, a, b); }
TENPASS_INLINE Inputs load_inputs(const float* from) { return vld1_f32(from); }
template <int kLane>
TENPASS_INLINE Vector multiply_add_lane(Vector sum, Vector weights, Inputs inputs) {
  return vmlaq_lane_f32(sum, weights, inputs, kLane);
}

#endif

#elif defined(__x86_64__)

#if defined(TENPASS_CLC_WIDTH)  // for tests: the code of a wider set on a machine that lacks it
constexpr const char* kName = "wide";
constexpr int kWidth = TENPASS_CLC_WIDTH;
constexpr int kTilePixels = 14;
constexpr int kFilterPixels = 8;
#elif defined(__AVX512F__)
constexpr const char* kName = "avx512";
constexpr int kWidth = 16;
constexpr int kTilePixels = 14;    // 28 accumulators, 2 vectors of weights, 1 of inputs: 31 of 32 registers
constexpr int kFilterPixels = 8;
#elif defined(__AVX2__)
constexpr const char* kName = "avx2";
constexpr int kWidth = 8;
constexpr int kTilePixels = 6;     // 12 accumulators, 2 vectors of weights, 1 of inputs: 15 of 16 registers
constexpr int kFilterPixels = 6;
#else
constexpr const char* kName = "sse2";
constexpr int kWidth = 4;
constexpr int kTilePixels = 6;
constexpr int kFilterPixels = 6;
#endif

typedef float Vector __attribute__((vector_size(kWidth * sizeof(float))));
typedef float UnalignedVector __attribute__((vector_size(kWidth * sizeof(float)), aligned(sizeof(float)), may_alias));
using Inputs = float;  // one input, broadcast
constexpr int kInputs = 1;
constexpr int kUnrolled = 1;

TENPASS_INLINE Vector load(const float* from) { return *reinterpret_cast<const UnalignedVector*>(from); }
TENPASS_INLINE void store(float* to, Vector value) { *reinterpret_cast<UnalignedVector*>(to) = value; }
TENPASS_INLINE Vector positive(Vector value) {
#if defined(TENPASS_CLC_WIDTH)
  return value > 0 ? value : Vector{};
#elif defined(__AVX512F__)
  return _mm512_max_ps(value, Vector{});
#elif defined(__AVX2__)
  return _mm256_max_ps(value, Vector{});
#else
  return _mm_max_ps(value, Vector{});
#endif
}
TENPASS_INLINE Vector multiply_add(Vector sum, Vector a, Vector b) { return sum + a * b; }
TENPASS_INLINE Inputs load_inputs(const float* from) { return *from; }
template <int>
TENPASS_INLINE Vector multiply_add_lane(Vector sum, Vector weights, Inputs input) {
  return sum + weights * input;
}

#else
#error "no vectors are written for this architecture"
#endif

}  // namespace
}  // namespace tenpass::clc
