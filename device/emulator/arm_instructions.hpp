// What count.cpp must know of Arm's encodings (Arm Architecture Reference Manual for A-profile, DDI 0487: C4 "A64
// Instruction Set Encoding", F3 "T32 Instruction Set Encoding", F4 "A32 Instruction Set Encoding").
#pragma once

#include <cstdint>

namespace tenpass {

enum class Encoding { a32, t32, a64 };

enum class Mark { none, pass_begin, pass_end, point };

// An instruction's bits as the manual draws them: of a 32-bit T32 instruction the first halfword is the upper one.
// 16-bit T32 instructions are zero-extended: none of what is asked here is one.

// The no-ops of ../runner/src/marks.h.
inline Mark mark_of(Encoding encoding, std::uint32_t bits) {
  const std::uint32_t begin = encoding == Encoding::a64   ? 0xd5032e1f   // hint #0x70
                              : encoding == Encoding::a32 ? 0xe320f070   // the unallocated hint 0x70
                                                          : 0xf3af8070;  // likewise
  const std::uint32_t step = encoding == Encoding::a64 ? 1u << 5 : 1u;
  if (bits == begin) return Mark::pass_begin;
  if (bits == begin + step) return Mark::pass_end;
  if (bits == begin + 2 * step) return Mark::point;
  return Mark::none;
}

// Whether it is one of the encodings that are Advanced SIMD's alone: data processing on vectors, and loads and stores of
// elements and structures. What Advanced SIMD shares with scalar floating point (VFP) is not: VLDR, VLDM and VMOV of
// the coprocessor space in A32 and T32; scalar arithmetic and LDR, LDP, STR, STP of a SIMD&FP register in A64.
inline bool is_simd(Encoding encoding, std::uint32_t bits) {
  switch (encoding) {
    case Encoding::a32:
      return (bits & 0xfe000000) == 0xf2000000      // F4.1.18 Advanced SIMD data-processing
             || (bits & 0xff100000) == 0xf4000000;  // Advanced SIMD element or structure load/store
    case Encoding::t32:
      return (bits & 0xef000000) == 0xef000000      // Advanced SIMD data-processing
             || (bits & 0xff100000) == 0xf9000000;  // Advanced SIMD element or structure load/store
    case Encoding::a64:
      return (bits & 0x9e000000) == 0x0e000000      // Advanced SIMD data processing but for the scalar groups
             || (bits & 0xbe000000) == 0x0c000000;  // Advanced SIMD load/store of multiple and of single structures
  }
  return false;
}

}  // namespace tenpass
