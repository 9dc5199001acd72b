// What an instruction does that a core's timing hangs on: its kind, how much it moves, and which registers it reads and
// writes. Decoded from the encodings of the Arm Architecture Reference Manual for A-profile (DDI 0487: C4 "A64 Instruction
// Set Encoding", F3 "T32 ...", F4 "A32 ..."). How long a kind takes is the core's matter (../cores/).
#pragma once

#include <cstdint>

#include "../arm_instructions.hpp"

namespace tenpass::arm {

// The kinds that the tables of ../cores/ have rows for, by these names.
#define TENPASS_KINDS(KIND)                                                                                         \
  KIND(nop) KIND(alu) KIND(alu_immediate) KIND(alu_shifted) KIND(bitfield) KIND(multiply) KIND(multiply_add)        \
  KIND(multiply_long) KIND(divide) KIND(branch) KIND(branch_indirect) KIND(load) KIND(load_multiple) KIND(store)    \
  KIND(store_multiple) KIND(exclusive) KIND(prefetch) KIND(system) KIND(fp_move) KIND(fp_add) KIND(fp_add_double)   \
  KIND(fp_multiply) KIND(fp_multiply_double) KIND(fp_multiply_add) KIND(fp_multiply_add_double) KIND(fp_divide)     \
  KIND(fp_divide_double) KIND(fp_root) KIND(fp_root_double) KIND(fp_convert) KIND(fp_compare) KIND(to_core)         \
  KIND(from_core) KIND(fp_load) KIND(fp_store) KIND(simd_load) KIND(simd_load_lane) KIND(simd_load_interleaved)     \
  KIND(simd_store) KIND(simd_store_lane) KIND(simd_store_interleaved) KIND(simd_fp_add) KIND(simd_fp_multiply)      \
  KIND(simd_fp_multiply_add) KIND(simd_fp_convert) KIND(simd_fp_estimate) KIND(simd_fp_divide) KIND(simd_add)       \
  KIND(simd_add_pairs)   KIND(simd_multiply) KIND(simd_multiply_add) KIND(simd_shift) KIND(simd_permute) KIND(simd_move) KIND(simd_narrow) \
  KIND(simd_lookup) KIND(unknown)

enum class Kind : std::uint8_t {
#define TENPASS_KIND(name) name,
  TENPASS_KINDS(TENPASS_KIND)
#undef TENPASS_KIND
};

// A set of registers. `core`: bit 0 to 30 R0 to R14 (A32, T32) or X0 to X30, bit 31 SP of A64, bit 32 the flags, bit 33
// those of floating point. `vector`: S0 to S31, which are D0 to D15 as well, and then D16 to D31 (A32, T32); or V0 to V31.
struct Registers {
  std::uint64_t core = 0, vector = 0;

  bool any() const { return core != 0 || vector != 0; }
  Registers operator|(const Registers& other) const { return {core | other.core, vector | other.vector}; }
  Registers operator&(const Registers& other) const { return {core & other.core, vector & other.vector}; }
  Registers& operator|=(const Registers& other) { return *this = *this | other; }
  Registers without(const Registers& other) const { return {core & ~other.core, vector & ~other.vector}; }
};

constexpr unsigned stack_pointer = 31, flags = 32, fp_flags = 33;  // bits of Registers::core

enum class Access : std::uint8_t { none, load, store, prefetch };

// How control goes on. `conditional` branches may fall through.
enum class Branch : std::uint8_t { none, conditional, always, call, indirect, indirect_call, back };

struct Instruction {
  Kind kind = Kind::unknown;
  Branch branch = Branch::none;
  Access access = Access::none;
  std::uint8_t units = 1;  // the 64-bit parts that are moved by a load or store of several, or worked on as a vector
  bool predicated = false;  // executed, or not, by the flags (A32, and T32 in an IT block)
  bool indexed_after = false;  // the access is at the base alone, which moves afterwards
  std::uint8_t base = 0;  // of an access: a bit of Registers::core
  std::int32_t offset = 0;  // of an access: added to the base, where it is a number
  bool has_offset = true;  // ... and not a register
  Registers reads;         // needed when it starts
  Registers late_reads;    // needed later: the accumulator of a multiply-add, what a store stores
  Registers writes;        // there once it is done
  Registers moves;         // the base that is written back: there at once
};

Instruction decode_a32(std::uint32_t bits);
Instruction decode_t32(std::uint32_t bits, bool is_wide);  // `is_wide`: 32 bits, the first halfword above
Instruction decode_a64(std::uint32_t bits);

inline Instruction decode(Encoding encoding, std::uint32_t bits, unsigned size_bytes) {
  switch (encoding) {
    case Encoding::a32: return decode_a32(bits);
    case Encoding::t32: return decode_t32(bits, size_bytes == 4);
    case Encoding::a64: return decode_a64(bits);
  }
  return {};
}

const char* name_of(Kind kind);

// --- for the decoders ---------------------------------------------------------------------------------

constexpr std::uint32_t field(std::uint32_t bits, unsigned high, unsigned low) {
  return bits >> low & ((2u << (high - low)) - 1);
}
constexpr bool bit(std::uint32_t bits, unsigned place) { return bits >> place & 1; }

// Shared by A32 and T32: the bits as A32 draws them, with any condition.
Instruction decode_simd_data(std::uint32_t bits);      // F4.1.18 Advanced SIMD data-processing, 1111001U...
Instruction decode_simd_structures(std::uint32_t bits);  // Advanced SIMD element or structure load/store, 11110100...
Instruction decode_floating_point(std::uint32_t bits);  // coprocessors 10 and 11: loads, stores, arithmetic, moves

}  // namespace tenpass::arm
