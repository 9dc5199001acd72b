// A64 (DDI 0487, C4.1 "A64 instruction set encoding").
#include "instruction.hpp"

namespace tenpass::arm {
namespace {

// X0 to X30; 31 is the zero register, or where `stack` says so the stack pointer.
Registers core(unsigned number) { return number == 31 ? Registers{} : Registers{std::uint64_t{1} << number, 0}; }
Registers core_or_stack(unsigned number) { return {std::uint64_t{1} << number, 0}; }
Registers vectors(unsigned first, unsigned count = 1) {
  Registers set;
  for (unsigned index = 0; index < count; ++index) set.vector |= std::uint64_t{1} << ((first + index) & 31);
  return set;
}
const Registers the_flags{std::uint64_t{1} << flags, 0};

unsigned rd(std::uint32_t bits) { return field(bits, 4, 0); }
unsigned rn(std::uint32_t bits) { return field(bits, 9, 5); }
unsigned rm(std::uint32_t bits) { return field(bits, 20, 16); }
unsigned ra(std::uint32_t bits) { return field(bits, 14, 10); }

std::int32_t signed_field(std::uint32_t bits, unsigned high, unsigned low) {
  const unsigned width = high - low + 1;
  return static_cast<std::int32_t>(field(bits, high, low) << (32 - width)) >> (32 - width);
}

Instruction plain(Kind kind, Registers writes, Registers reads, unsigned units = 1) {
  Instruction made;
  made.kind = kind;
  made.writes = writes;
  made.reads = reads;
  made.units = static_cast<std::uint8_t>(units);
  return made;
}

Instruction with_accumulator(Instruction made) {
  made.late_reads |= made.writes;
  return made;
}

Instruction immediate(std::uint32_t bits) {
  switch (field(bits, 25, 23)) {
    case 0: case 1: return plain(Kind::alu_immediate, core(rd(bits)), {});  // ADR
    case 2: case 3: {
      const bool sets = bit(bits, 29);
      return plain(Kind::alu_immediate, sets ? core(rd(bits)) | the_flags : core_or_stack(rd(bits)), core_or_stack(rn(bits)));
    }
    case 4: {
      const bool sets = field(bits, 30, 29) == 3;
      return plain(Kind::alu_immediate, sets ? core(rd(bits)) | the_flags : core_or_stack(rd(bits)), core(rn(bits)));
    }
    case 5: return plain(Kind::alu_immediate, core(rd(bits)), field(bits, 30, 29) == 3 ? core(rd(bits)) : Registers{});
    case 6: {
      const Registers kept = field(bits, 30, 29) == 1 ? core(rd(bits)) : Registers{};
      return plain(Kind::bitfield, core(rd(bits)), core(rn(bits)) | kept);
    }
    default: return plain(Kind::bitfield, core(rd(bits)), core(rn(bits)) | core(rm(bits)));
  }
}

Instruction branching(Kind kind, Branch branch, Registers reads, Registers writes = {}) {
  Instruction made = plain(kind, writes, reads);
  made.branch = branch;
  return made;
}

Instruction branch_or_system(std::uint32_t bits) {
  if (field(bits, 30, 26) == 5)
    return branching(Kind::branch, bit(bits, 31) ? Branch::call : Branch::always, {}, bit(bits, 31) ? core(30) : Registers{});
  if (field(bits, 31, 25) == 0x2a) return branching(Kind::branch, Branch::conditional, the_flags);
  if (field(bits, 30, 25) == 0x1a || field(bits, 30, 25) == 0x1b)
    return branching(Kind::branch, Branch::conditional, core(rd(bits)));
  if (field(bits, 31, 25) == 0x6b) {
    const unsigned operation = field(bits, 24, 21);
    const Branch branch = operation == 1 ? Branch::indirect_call : operation == 2 ? Branch::back : Branch::indirect;
    return branching(Kind::branch_indirect, branch, core(rn(bits)), operation == 1 ? core(30) : Registers{});
  }
  if ((bits & 0xfffff01f) == 0xd503201f) return plain(Kind::nop, {}, {});
  if (field(bits, 31, 22) == 0x354) return plain(Kind::system, bit(bits, 21) ? core(rd(bits)) : Registers{},
                                                 bit(bits, 21) ? Registers{} : core(rd(bits)));
  return plain(Kind::system, {}, {});
}

// --- loads and stores ---------------------------------------------------------------------------------

Instruction accessing(Kind kind, bool loads, Registers data, std::uint32_t bits) {
  Instruction made;
  made.kind = kind;
  made.access = loads ? Access::load : Access::store;
  (loads ? made.writes : made.late_reads) |= data;
  made.base = static_cast<std::uint8_t>(rn(bits));
  made.reads |= core_or_stack(rn(bits));
  return made;
}

Instruction structures(std::uint32_t bits) {
  const bool loads = bit(bits, 22), single = bit(bits, 24);
  const unsigned width = bit(bits, 30) ? 2 : 1;
  unsigned count = 1, units = 1;
  Kind kind = loads ? Kind::simd_load : Kind::simd_store;
  bool keeps = false;
  if (!single) {
    const unsigned operation = field(bits, 15, 12);
    count = operation == 0 || operation == 2 ? 4 : operation == 4 || operation == 6 ? 3 : operation == 7 ? 1 : 2;
    if (operation == 0 || operation == 4 || operation == 8)
      kind = loads ? Kind::simd_load_interleaved : Kind::simd_store_interleaved;
    units = count * width;
  } else {
    count = field(bits, 13, 13) * 2 + field(bits, 21, 21) + 1;
    const bool replicates = field(bits, 15, 14) == 3;
    kind = loads ? Kind::simd_load_lane : Kind::simd_store_lane;
    keeps = loads && !replicates;
    units = count;
  }
  Instruction made = accessing(kind, loads, vectors(rd(bits), count), bits);
  made.units = static_cast<std::uint8_t>(units);
  if (keeps) made.late_reads |= vectors(rd(bits), count);
  if (bit(bits, 23)) {
    made.moves = core_or_stack(rn(bits));
    made.indexed_after = true;
    made.reads |= core(rm(bits));
  }
  return made;
}

Instruction exclusive(std::uint32_t bits) {
  const bool loads = bit(bits, 22), orders = bit(bits, 23), pair = bit(bits, 21);
  Registers data = core(rd(bits));
  if (pair && !orders) data |= core(ra(bits));
  Instruction made = accessing(Kind::exclusive, loads, data, bits);
  if (orders && pair) {  // CAS
    made.late_reads = data;
    made.writes |= core(rm(bits));
    made.reads |= core(rm(bits));
  } else if (!loads && !orders) {
    made.writes |= core(rm(bits));
  }
  return made;
}

Instruction literal(std::uint32_t bits) {
  const bool vector = bit(bits, 26);
  if (!vector && field(bits, 31, 30) == 3) return plain(Kind::nop, {}, {});  // PRFM
  Instruction made;
  made.kind = vector ? Kind::fp_load : Kind::load;
  made.access = Access::load;
  made.writes = vector ? vectors(rd(bits)) : core(rd(bits));
  made.units = vector && field(bits, 31, 30) == 2 ? 2 : 1;
  made.has_offset = false;
  return made;
}

Instruction pair(std::uint32_t bits) {
  const bool vector = bit(bits, 26), loads = bit(bits, 22);
  const unsigned size = field(bits, 31, 30);
  const Registers data = vector ? vectors(rd(bits)) | vectors(ra(bits)) : core(rd(bits)) | core(ra(bits));
  const Kind kind = vector ? (loads ? Kind::simd_load : Kind::simd_store) : (loads ? Kind::load_multiple : Kind::store_multiple);
  Instruction made = accessing(kind, loads, data, bits);
  made.units = static_cast<std::uint8_t>(vector ? (size == 2 ? 4 : 2) : 2);
  const unsigned bytes = vector ? 4u << size : size == 2 ? 8 : 4;
  const bool before = bit(bits, 24), moves = bit(bits, 23);
  if (before) made.offset = signed_field(bits, 21, 15) * static_cast<std::int32_t>(bytes);
  made.indexed_after = !before && moves;
  if (!before && !moves) made.offset = signed_field(bits, 21, 15) * static_cast<std::int32_t>(bytes);  // LDNP, STNP
  if (moves) made.moves = core_or_stack(rn(bits));
  return made;
}

// LDADD, SWP and the like.
Instruction atomic(std::uint32_t bits) {
  Instruction made = accessing(Kind::exclusive, true, core(rd(bits)), bits);
  made.late_reads = core(rm(bits));
  return made;
}

Instruction single(std::uint32_t bits) {
  const bool vector = bit(bits, 26), unsigned_offset = bit(bits, 24);
  const unsigned size = field(bits, 31, 30), operation = field(bits, 23, 22), form = field(bits, 11, 10);
  if (!unsigned_offset && bit(bits, 21) && form == 0) return atomic(bits);
  const bool prefetches = !vector && size == 3 && operation == 2;
  const bool loads = vector ? (operation & 1) != 0 : operation != 0;
  const unsigned shift = vector && (operation & 2) ? 4 : size;
  Instruction made;
  if (prefetches) {
    made = plain(Kind::prefetch, {}, core_or_stack(rn(bits)));
    made.access = field(bits, 4, 3) == 1 ? Access::none : Access::prefetch;  // PLI
    made.base = static_cast<std::uint8_t>(rn(bits));
  } else if (vector) {
    made = accessing(loads ? Kind::fp_load : Kind::fp_store, loads, vectors(rd(bits)), bits);
    made.units = shift == 4 ? 2 : 1;
  } else {
    made = accessing(loads ? Kind::load : Kind::store, loads, core(rd(bits)), bits);
  }
  if (unsigned_offset) {
    made.offset = static_cast<std::int32_t>(field(bits, 21, 10) << shift);
  } else if (bit(bits, 21)) {
    made.reads |= core(rm(bits));
    made.has_offset = false;
  } else {
    made.indexed_after = form == 1;
    if (form != 1) made.offset = signed_field(bits, 20, 12);
    if (form == 1 || form == 3) made.moves = core_or_stack(rn(bits));
  }
  return made;
}

Instruction load_or_store(std::uint32_t bits) {
  switch (field(bits, 29, 28)) {
    case 0:
      if (bit(bits, 26)) return structures(bits);
      return exclusive(bits);
    case 1:
      if (!bit(bits, 24)) return literal(bits);
      return plain(Kind::system, {}, {});  // LDAPUR, memory tags
    case 2: return pair(bits);
    default: return single(bits);
  }
}

// --- arithmetic on registers --------------------------------------------------------------------------

Instruction registers(std::uint32_t bits) {
  const Registers d = core(rd(bits)), n = core(rn(bits)), m = core(rm(bits));
  if (!bit(bits, 28)) {
    const bool shifts = field(bits, 15, 10) != 0;
    if (!bit(bits, 24)) {
      const bool sets = field(bits, 30, 29) == 3;
      return plain(shifts ? Kind::alu_shifted : Kind::alu, sets ? d | the_flags : d, n | m);
    }
    const bool extends = bit(bits, 21), sets = bit(bits, 29);
    const Registers to = sets ? d | the_flags : extends ? core_or_stack(rd(bits)) : d;
    return plain(shifts || extends ? Kind::alu_shifted : Kind::alu, to, (extends ? core_or_stack(rn(bits)) : n) | m);
  }
  if (bit(bits, 24)) {
    const unsigned operation = field(bits, 23, 21);
    const bool adds = ra(bits) != 31 && operation != 2 && operation != 6;
    const Kind kind = operation != 0 ? Kind::multiply_long : adds ? Kind::multiply_add : Kind::multiply;
    Instruction made = plain(kind, d, n | m);
    if (adds) made.late_reads = core(ra(bits));
    return made;
  }
  switch (field(bits, 24, 21)) {
    case 0: return plain(Kind::alu, bit(bits, 29) ? d | the_flags : d, n | m | the_flags);  // ADC, SBC
    case 2:
      return plain(bit(bits, 11) ? Kind::alu_immediate : Kind::alu, the_flags, n | (bit(bits, 11) ? Registers{} : m) | the_flags);
    case 4: return plain(Kind::alu, d, n | m | the_flags);  // CSEL
    default:
      if (bit(bits, 30)) return plain(Kind::bitfield, d, n);
      if (field(bits, 15, 11) == 1) return plain(Kind::divide, d, n | m);
      return plain(Kind::alu_shifted, d, n | m);
  }
}

// --- floating point and Advanced SIMD -----------------------------------------------------------------

Kind one_of(bool is_double, Kind single, Kind twice) { return is_double ? twice : single; }

Instruction scalar(std::uint32_t bits) {
  const bool wide = field(bits, 23, 22) == 1;
  const Registers d = vectors(rd(bits)), n = vectors(rn(bits)), m = vectors(rm(bits));
  if (bit(bits, 24)) {  // FMADD
    Instruction made = plain(one_of(wide, Kind::fp_multiply_add, Kind::fp_multiply_add_double), d, n | m);
    made.late_reads = vectors(ra(bits));
    return made;
  }
  const unsigned form = field(bits, 11, 10);
  if (!bit(bits, 21) || (form == 0 && field(bits, 15, 12) == 0)) {  // between integers or fixed point, and floating point
    const unsigned operation = field(bits, 18, 16);
    const bool from_core = operation == 2 || operation == 3 || operation == 7;
    return from_core ? plain(Kind::from_core, d, core(rn(bits))) : plain(Kind::to_core, core(rd(bits)), n);
  }
  if (form == 1) return plain(Kind::fp_compare, the_flags, n | m | the_flags);
  if (form == 3) return plain(Kind::fp_move, d, n | m | the_flags);  // FCSEL
  if (form == 2) {
    switch (field(bits, 15, 12)) {
      case 0: case 8: return plain(one_of(wide, Kind::fp_multiply, Kind::fp_multiply_double), d, n | m);
      case 1: return plain(one_of(wide, Kind::fp_divide, Kind::fp_divide_double), d, n | m);
      default: return plain(one_of(wide, Kind::fp_add, Kind::fp_add_double), d, n | m);
    }
  }
  if (bit(bits, 12)) return plain(Kind::fp_move, d, {});  // FMOV of a number
  if (bit(bits, 13)) return plain(Kind::fp_compare, the_flags, bit(bits, 3) ? n : n | m);
  const unsigned operation = field(bits, 20, 15);
  if (operation < 3) return plain(Kind::fp_move, d, n);
  if (operation == 3) return plain(one_of(wide, Kind::fp_root, Kind::fp_root_double), d, n);
  return plain(Kind::fp_convert, d, n);
}

Instruction three_same(std::uint32_t bits, unsigned width) {
  const unsigned operation = field(bits, 15, 11);
  const bool u = bit(bits, 29);
  const Registers d = vectors(rd(bits)), from = vectors(rn(bits)) | vectors(rm(bits));
  switch (operation) {
    case 0x03: {
      const Instruction made = plain(Kind::simd_add, d, from, width);
      return u && field(bits, 23, 22) != 0 ? with_accumulator(made) : made;  // BSL, BIT, BIF
    }
    case 0x08: case 0x09: case 0x0a: case 0x0b: return plain(Kind::simd_shift, d, from, width);
    case 0x0f: return with_accumulator(plain(Kind::simd_add, d, from, width));
    case 0x12: return with_accumulator(plain(Kind::simd_multiply_add, d, from, width));
    case 0x13: case 0x16: return plain(Kind::simd_multiply, d, from, width);
    case 0x19: return with_accumulator(plain(Kind::simd_fp_multiply_add, d, from, width));
    case 0x18: case 0x1a: case 0x1c: case 0x1d: case 0x1e: return plain(Kind::simd_fp_add, d, from, width);
    case 0x1b: return plain(Kind::simd_fp_multiply, d, from, width);
    case 0x1f: return plain(u ? Kind::simd_fp_divide : Kind::simd_fp_estimate, d, from, width);
    default: return plain(Kind::simd_add, d, from, width);
  }
}

Instruction three_different(std::uint32_t bits) {
  const unsigned operation = field(bits, 15, 12);
  const Registers d = vectors(rd(bits)), from = vectors(rn(bits)) | vectors(rm(bits));
  switch (operation) {
    case 0x4: case 0x6: {
      const Instruction made = plain(Kind::simd_narrow, d, from);
      return bit(bits, 30) ? with_accumulator(made) : made;  // the lower half stays
    }
    case 0x5: return with_accumulator(plain(Kind::simd_add, d, from, 2));
    case 0x8: case 0x9: case 0xa: case 0xb: return with_accumulator(plain(Kind::simd_multiply_add, d, from, 2));
    case 0xc: case 0xd: case 0xe: return plain(Kind::simd_multiply, d, from, 2);
    default: return plain(Kind::simd_add, d, from, 2);
  }
}

Instruction by_element(std::uint32_t bits, unsigned width) {
  const unsigned operation = field(bits, 15, 12), size = field(bits, 23, 22);
  const bool u = bit(bits, 29);
  const unsigned m = size == 1 || (size == 0 && (operation & 3) == 1) ? field(bits, 19, 16) : rm(bits);
  const Registers d = vectors(rd(bits)), from = vectors(rn(bits)) | vectors(m);
  switch (operation) {
    case 0x1: case 0x5:
      return with_accumulator(plain(Kind::simd_fp_multiply_add, d, from, width));  // FMLA, FMLS; FCMLA
    case 0x9: return plain(Kind::simd_fp_multiply, d, from, width);
    case 0x8: case 0xc: case 0xd:
      if (u && operation == 0xd) return with_accumulator(plain(Kind::simd_multiply_add, d, from, width));  // SQRDMLAH
      return plain(Kind::simd_multiply, d, from, width);
    case 0xa: case 0xb: return plain(Kind::simd_multiply, d, from, 2);
    case 0x2: case 0x3: case 0x6: case 0x7: return with_accumulator(plain(Kind::simd_multiply_add, d, from, 2));
    default: return with_accumulator(plain(Kind::simd_multiply_add, d, from, width));
  }
}

Instruction two_misc(std::uint32_t bits, unsigned width) {
  const unsigned operation = field(bits, 16, 12);
  const bool upper_size = bit(bits, 23), u = bit(bits, 29);
  const Registers d = vectors(rd(bits)), n = vectors(rn(bits));
  switch (operation) {
    case 0x00: case 0x01: return plain(Kind::simd_permute, d, n, width);
    case 0x03: return with_accumulator(plain(Kind::simd_add, d, n, width));
    case 0x06: return with_accumulator(plain(Kind::simd_add_pairs, d, n, width));  // SADALP
    case 0x0c: case 0x0d: case 0x0e: case 0x0f:
      return plain(upper_size ? Kind::simd_fp_add : Kind::simd_add, d, n, width);
    case 0x12: case 0x14: {
      const Instruction made = plain(Kind::simd_narrow, d, n);
      return bit(bits, 30) && !bit(bits, 28) ? with_accumulator(made) : made;
    }
    case 0x13: return plain(Kind::simd_shift, d, n, 2);
    case 0x16: {
      const Instruction made = plain(Kind::simd_fp_convert, d, n, 2);
      return bit(bits, 30) && !bit(bits, 28) ? with_accumulator(made) : made;
    }
    case 0x17: return plain(Kind::simd_fp_convert, d, n, 2);
    case 0x18: case 0x19: case 0x1a: case 0x1b: return plain(Kind::simd_fp_convert, d, n, width);
    case 0x1c: return plain(upper_size ? Kind::simd_fp_estimate : Kind::simd_fp_convert, d, n, width);
    case 0x1d: return plain(upper_size ? Kind::simd_fp_estimate : Kind::simd_fp_convert, d, n, width);
    case 0x1f: return plain(u ? Kind::simd_fp_divide : Kind::simd_fp_estimate, d, n, width);  // FSQRT
    default: return plain(Kind::simd_add, d, n, width);
  }
}

Instruction copy(std::uint32_t bits, unsigned width) {
  const unsigned operation = field(bits, 14, 11);
  const Registers d = vectors(rd(bits)), n = vectors(rn(bits));
  if (bit(bits, 29)) return with_accumulator(plain(Kind::simd_permute, d, n, width));  // INS of an element
  switch (operation) {
    case 0x0: return plain(Kind::simd_permute, d, n, width);  // DUP
    case 0x1: return plain(Kind::from_core, d, core(rn(bits)), width);
    case 0x3: return with_accumulator(plain(Kind::from_core, d, core(rn(bits))));
    default: return plain(Kind::to_core, core(rd(bits)), n);  // SMOV, UMOV
  }
}

Instruction shift_by_immediate(std::uint32_t bits, unsigned width) {
  const unsigned operation = field(bits, 15, 11);
  const Registers d = vectors(rd(bits)), n = vectors(rn(bits));
  const bool scalar = bit(bits, 28);
  if (field(bits, 22, 19) == 0 && !scalar) {  // MOVI, MVNI, ORR, BIC, FMOV of a number
    const unsigned mode = field(bits, 15, 12);
    const Instruction made = plain(Kind::simd_move, d, {}, width);
    return mode < 12 && (mode & 1) ? with_accumulator(made) : made;
  }
  switch (operation) {
    case 0x02: case 0x06: case 0x08: return with_accumulator(plain(Kind::simd_shift, d, n, width));
    case 0x0a: {
      const Instruction made = plain(Kind::simd_shift, d, n, width);
      return bit(bits, 29) ? with_accumulator(made) : made;  // SLI
    }
    case 0x10: case 0x11: case 0x12: case 0x13: {
      const Instruction made = plain(Kind::simd_narrow, d, n);
      return bit(bits, 30) && !scalar ? with_accumulator(made) : made;
    }
    case 0x14: return plain(Kind::simd_shift, d, n, 2);
    case 0x1c: case 0x1f: return plain(Kind::simd_fp_convert, d, n, width);
    default: return plain(Kind::simd_shift, d, n, width);
  }
}

Instruction vector(std::uint32_t bits) {
  const bool is_scalar = bit(bits, 28);  // one element of a vector register
  const unsigned width = is_scalar ? 1 : bit(bits, 30) ? 2 : 1;
  const Registers d = vectors(rd(bits)), n = vectors(rn(bits)), m = vectors(rm(bits));
  if (bit(bits, 24)) return bit(bits, 10) && !bit(bits, 23) ? shift_by_immediate(bits, width) : by_element(bits, width);
  if (bit(bits, 21)) {
    if (bit(bits, 10)) return three_same(bits, width);
    if (!bit(bits, 11)) return three_different(bits);
    if (field(bits, 20, 17) == 0 || field(bits, 20, 17) == 12) return two_misc(bits, width);  // 12: half precision
    if (field(bits, 20, 17) == 8) {  // across lanes, and pairs
      const unsigned operation = field(bits, 16, 12);
      const bool fp = operation == 0x0c || operation == 0x0f || (is_scalar && operation == 0x0d);
      return plain(fp ? Kind::simd_fp_add : Kind::simd_add, d, n, is_scalar ? 1 : width);
    }
    return plain(Kind::system, {}, {});  // AES, SHA
  }
  if (bit(bits, 15)) return with_accumulator(plain(Kind::simd_multiply_add, d, n | m, width));  // SDOT and the like
  if (bit(bits, 10)) return field(bits, 23, 21) == 0 ? copy(bits, width) : three_same(bits | 0x0000c000, width);  // half precision
  if (bit(bits, 29)) return plain(Kind::simd_permute, d, n | m, width);  // EXT
  if (bit(bits, 11)) return plain(Kind::simd_permute, d, n | m, width);  // ZIP, UZP, TRN
  const unsigned tables = field(bits, 14, 13) + 1;
  const Instruction made = plain(Kind::simd_lookup, d, vectors(rn(bits), tables) | m, tables);
  return bit(bits, 12) ? with_accumulator(made) : made;  // TBX
}

}  // namespace

Instruction decode_a64(std::uint32_t bits) {
  switch (field(bits, 28, 25)) {
    case 8: case 9: return immediate(bits);
    case 10: case 11: return branch_or_system(bits);
    case 4: case 6: case 12: case 14: return load_or_store(bits);
    case 5: case 13: return registers(bits);
    case 7: case 15:
      if (!bit(bits, 28) || field(bits, 31, 30) == 1) return vector(bits);
      return scalar(bits);
    default: return plain(Kind::system, {}, {});
  }
}

}  // namespace tenpass::arm
