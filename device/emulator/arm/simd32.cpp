// Advanced SIMD and floating point of A32 and T32 (DDI 0487, F4.1.18 to F4.1.20; F6 has each instruction).
#include "instruction.hpp"

namespace tenpass::arm {
namespace {

// D registers: `count` from the first, `step` apart, modulo 32. The lower 16 are two S registers each.
Registers doubles(unsigned first, unsigned count = 1, unsigned step = 1) {
  Registers set;
  for (unsigned index = 0; index < count; ++index) {
    const unsigned number = (first + index * step) & 31;
    set.vector |= number < 16 ? std::uint64_t{3} << 2 * number : std::uint64_t{1} << (16 + number);
  }
  return set;
}
Registers singles(unsigned first, unsigned count = 1) {
  Registers set;
  for (unsigned index = 0; index < count; ++index) set.vector |= std::uint64_t{1} << ((first + index) & 31);
  return set;
}
Registers core(unsigned number) { return number == 15 ? Registers{} : Registers{std::uint64_t{1} << number, 0}; }

// The three fields of vector registers, as numbers of D registers.
unsigned vd(std::uint32_t bits) { return field(bits, 15, 12) | field(bits, 22, 22) << 4; }
unsigned vn(std::uint32_t bits) { return field(bits, 19, 16) | field(bits, 7, 7) << 4; }
unsigned vm(std::uint32_t bits) { return field(bits, 3, 0) | field(bits, 5, 5) << 4; }


Instruction simd(Kind kind, unsigned width, Registers writes, Registers reads) {
  Instruction made;
  made.kind = kind;
  made.units = static_cast<std::uint8_t>(width);
  made.writes = writes;
  made.reads = reads;
  return made;
}

Instruction with_accumulator(Instruction made) {
  made.late_reads |= made.writes;
  return made;
}

Kind three_same_kind(std::uint32_t bits, bool* accumulates) {
  const unsigned operation = field(bits, 11, 8);
  const bool low = bit(bits, 4), u = bit(bits, 24);
  switch (operation) {
    case 0x1:
      *accumulates = low && u && field(bits, 21, 20) != 0;  // VBSL, VBIT, VBIF
      return Kind::simd_add;
    case 0x4: case 0x5: return Kind::simd_shift;
    case 0x7: *accumulates = low; return Kind::simd_add;  // VABA
    case 0x9:
      *accumulates = !low;
      return low ? Kind::simd_multiply : Kind::simd_multiply_add;
    case 0xb: return low ? Kind::simd_add : Kind::simd_multiply;  // VPADD; VQDMULH
    case 0xc: *accumulates = low; return Kind::simd_fp_multiply_add;  // VFMA, VFMS
    case 0xd:
      if (!low) return Kind::simd_fp_add;
      *accumulates = !u;
      return u ? Kind::simd_fp_multiply : Kind::simd_fp_multiply_add;
    case 0xe: return Kind::simd_fp_add;  // comparisons
    case 0xf: return low && !u ? Kind::simd_fp_estimate : Kind::simd_fp_add;  // VRECPS, VRSQRTS; VMAX, VMIN
    default: return Kind::simd_add;
  }
}

Instruction three_same(std::uint32_t bits) {
  const unsigned width = bit(bits, 6) ? 2 : 1;
  bool accumulates = false;
  const Kind kind = three_same_kind(bits, &accumulates);
  Instruction made = simd(kind, width, doubles(vd(bits), width), doubles(vn(bits), width) | doubles(vm(bits), width));
  return accumulates ? with_accumulator(made) : made;
}

// VADDL to VMULL: long, wide and narrow.
Instruction three_different(std::uint32_t bits) {
  const unsigned operation = field(bits, 11, 8);
  const bool narrow = operation == 0x4 || operation == 0x6;
  const bool wide = operation == 0x1 || operation == 0x3;
  const Registers to = doubles(vd(bits), narrow ? 1 : 2);
  const Registers from = doubles(vn(bits), narrow || wide ? 2 : 1) | doubles(vm(bits), narrow ? 2 : 1);
  switch (operation) {
    case 0x4: case 0x6: return simd(Kind::simd_narrow, 1, to, from);
    case 0x5: return with_accumulator(simd(Kind::simd_add, 2, to, from));  // VABAL
    case 0x8: case 0x9: case 0xa: case 0xb: return with_accumulator(simd(Kind::simd_multiply_add, 2, to, from));
    case 0xc: case 0xd: case 0xe: return simd(Kind::simd_multiply, 2, to, from);
    default: return simd(Kind::simd_add, 2, to, from);
  }
}

// VMLA to VQRDMULH by a scalar.
Instruction by_scalar(std::uint32_t bits) {
  const unsigned operation = field(bits, 11, 8);
  const bool is_long = operation == 0x2 || operation == 0x3 || operation == 0x6 || operation == 0x7 || operation == 0xa ||
                       operation == 0xb;
  const unsigned width = is_long || bit(bits, 24) ? 2 : 1;
  const unsigned scalar = field(bits, 21, 20) == 1 ? field(bits, 2, 0) : field(bits, 3, 0);
  const Registers to = doubles(vd(bits), width);
  const Registers from = doubles(vn(bits), is_long ? 1 : width) | doubles(scalar);
  switch (operation) {
    case 0x1: case 0x5: return with_accumulator(simd(Kind::simd_fp_multiply_add, width, to, from));
    case 0x9: return simd(Kind::simd_fp_multiply, width, to, from);
    case 0x8: case 0xa: case 0xb: case 0xc: case 0xd: return simd(Kind::simd_multiply, width, to, from);
    default: return with_accumulator(simd(Kind::simd_multiply_add, width, to, from));
  }
}

Instruction two_misc(std::uint32_t bits) {
  const unsigned group = field(bits, 17, 16), operation = field(bits, 10, 7), width = bit(bits, 6) ? 2 : 1;
  const Registers d = doubles(vd(bits), width), m = doubles(vm(bits), width);
  if (group == 0) {
    const bool accumulates = (operation & 0xe) == 0xc;  // VPADAL
    const Kind kind = operation < 3 ? Kind::simd_permute : accumulates ? Kind::simd_add_pairs : Kind::simd_add;
    const Instruction made = simd(kind, width, d, m);
    return accumulates ? with_accumulator(made) : made;
  }
  if (group == 1) return simd(bit(bits, 10) ? Kind::simd_fp_add : Kind::simd_add, width, d, m);
  if (group == 2) {
    if (operation < 4) return simd(Kind::simd_permute, width, d | m, d | m);  // VSWP, VTRN, VUZP, VZIP
    if (operation < 6) return simd(Kind::simd_narrow, 1, doubles(vd(bits)), doubles(vm(bits), 2));
    if (operation == 6) return simd(Kind::simd_shift, 2, doubles(vd(bits), 2), doubles(vm(bits)));  // VSHLL
    if (operation == 0xc) return simd(Kind::simd_fp_convert, 2, doubles(vd(bits)), doubles(vm(bits), 2));
    if (operation == 0xe) return simd(Kind::simd_fp_convert, 2, doubles(vd(bits), 2), doubles(vm(bits)));
    return simd(Kind::simd_fp_convert, width, d, m);  // VRINT
  }
  const bool estimates = (operation & 0xc) == 0x8;
  return simd(estimates ? Kind::simd_fp_estimate : Kind::simd_fp_convert, width, d, m);
}

Instruction by_immediate(std::uint32_t bits) {
  const unsigned operation = field(bits, 11, 8), width = bit(bits, 6) ? 2 : 1;
  const Registers d = doubles(vd(bits), width), m = doubles(vm(bits), width);
  if (field(bits, 21, 19) == 0 && !bit(bits, 7)) {  // VMOV, VMVN, VORR, VBIC of a number
    const bool combines = operation < 0xc && (operation & 1);
    const Instruction made = simd(Kind::simd_move, width, d, {});
    return combines ? with_accumulator(made) : made;
  }
  switch (operation) {
    case 0x1: case 0x3: case 0x4: return with_accumulator(simd(Kind::simd_shift, width, d, m));  // VSRA, VRSRA, VSRI
    case 0x5:
      return bit(bits, 24) ? with_accumulator(simd(Kind::simd_shift, width, d, m)) : simd(Kind::simd_shift, width, d, m);
    case 0x8: case 0x9: return simd(Kind::simd_narrow, 1, doubles(vd(bits)), doubles(vm(bits), 2));
    case 0xa: return simd(Kind::simd_shift, 2, doubles(vd(bits), 2), doubles(vm(bits)));  // VSHLL, VMOVL
    case 0xe: case 0xf: return simd(Kind::simd_fp_convert, width, d, m);
    default: return simd(Kind::simd_shift, width, d, m);
  }
}

}  // namespace

Instruction decode_simd_data(std::uint32_t bits) {
  if (!bit(bits, 23)) return three_same(bits);
  if (bit(bits, 4)) return by_immediate(bits);
  if (field(bits, 21, 20) != 3) return bit(bits, 6) ? by_scalar(bits) : three_different(bits);
  const unsigned width = bit(bits, 6) ? 2 : 1;
  if (!bit(bits, 24))  // VEXT
    return simd(Kind::simd_permute, width, doubles(vd(bits), width), doubles(vn(bits), width) | doubles(vm(bits), width));
  if (!bit(bits, 11)) return two_misc(bits);
  if (!bit(bits, 10)) {  // VTBL, VTBX
    const Registers table = doubles(vn(bits), field(bits, 9, 8) + 1) | doubles(vm(bits));
    Instruction made = simd(Kind::simd_lookup, field(bits, 9, 8) + 1, doubles(vd(bits)), table);
    return bit(bits, 6) ? with_accumulator(made) : made;
  }
  return simd(Kind::simd_permute, width, doubles(vd(bits), width), doubles(vm(bits)));  // VDUP of a scalar
}

Instruction decode_simd_structures(std::uint32_t bits) {
  const bool loads = bit(bits, 21), single = bit(bits, 23);
  const unsigned n = field(bits, 19, 16), m = field(bits, 3, 0), type = field(bits, 11, 8);
  unsigned count = 1, step = 1;
  Kind kind = loads ? Kind::simd_load : Kind::simd_store;
  bool keeps = false;  // what is in the registers beside the lane
  if (!single) {
    constexpr unsigned counts[] = {4, 4, 4, 4, 3, 3, 3, 1, 2, 2, 2, 1, 1, 1, 1, 1};
    count = counts[type];
    step = type == 1 || type == 5 || type == 9 ? 2 : 1;
    if (type == 0 || type == 1 || type == 3 || type == 4 || type == 5 || type == 8 || type == 9)
      kind = loads ? Kind::simd_load_interleaved : Kind::simd_store_interleaved;
  } else if (field(bits, 11, 10) == 3) {  // to all lanes
    const bool more = bit(bits, 5);
    count = field(bits, 9, 8) + 1;
    if (count == 1) count = more ? 2 : 1; else step = more ? 2 : 1;
    kind = count > 2 || field(bits, 9, 8) != 0 ? Kind::simd_load_interleaved : Kind::simd_load_lane;
  } else {
    count = field(bits, 9, 8) + 1;
    const unsigned size = field(bits, 11, 10);
    step = (size == 1 && bit(bits, 5)) || (size == 2 && bit(bits, 6)) ? 2 : 1;
    kind = loads ? Kind::simd_load_lane : Kind::simd_store_lane;
    keeps = loads;
  }
  Instruction made;
  made.kind = kind;
  made.units = static_cast<std::uint8_t>(count);
  made.access = loads ? Access::load : Access::store;
  made.base = static_cast<std::uint8_t>(n);
  made.reads = core(n);
  const Registers data = doubles(vd(bits), count, step);
  (loads ? made.writes : made.late_reads) |= data;
  if (keeps) made.late_reads |= data;
  if (m != 15) {
    made.moves = core(n);
    made.indexed_after = true;
    if (m != 13) made.reads |= core(m);
  }
  return made;
}

namespace {

// A D register, whose highest bit is apart, or an S register, whose lowest bit is.
Registers fp_register(std::uint32_t bits, unsigned high, unsigned extra, bool is_double) {
  const unsigned four = field(bits, high, high - 3), one = field(bits, extra, extra);
  return is_double ? doubles(four | one << 4) : singles(four << 1 | one);
}

Instruction fp_load_or_store(std::uint32_t bits) {
  const bool loads = bit(bits, 20), is_double = bit(bits, 8), single = bit(bits, 24) && !bit(bits, 21);
  const unsigned n = field(bits, 19, 16), words = field(bits, 7, 0);
  Instruction made;
  made.access = loads ? Access::load : Access::store;
  made.base = static_cast<std::uint8_t>(n);
  made.reads = core(n);
  Registers data;
  if (single) {
    made.kind = loads ? Kind::fp_load : Kind::fp_store;
    made.offset = static_cast<std::int32_t>(4 * words) * (bit(bits, 23) ? 1 : -1);
    data = fp_register(bits, 15, 22, is_double);
  } else {
    made.kind = loads ? Kind::simd_load : Kind::simd_store;
    const unsigned count = is_double ? words / 2 : (words + 1) / 2;
    made.units = static_cast<std::uint8_t>(count == 0 ? 1 : count);
    data = is_double ? doubles(vd(bits), count) : singles(field(bits, 15, 12) << 1 | field(bits, 22, 22), words);
    if (!bit(bits, 23)) made.offset = -static_cast<std::int32_t>(4 * words);
    if (bit(bits, 21)) {
      made.moves = core(n);
      made.indexed_after = bit(bits, 23);
    }
  }
  (loads ? made.writes : made.late_reads) |= data;
  return made;
}

Instruction fp_arithmetic(std::uint32_t bits) {
  const bool wide = bit(bits, 8);
  const unsigned operation = (field(bits, 23, 23) << 2) | field(bits, 21, 20);
  const Registers d = fp_register(bits, 15, 22, wide), n = fp_register(bits, 19, 7, wide), m = fp_register(bits, 3, 5, wide);
  Instruction made;
  made.writes = d;
  made.reads = n | m;
  // A single register is half of a D register: the other half stays.
  const auto one_of = [wide](Kind single, Kind twice) { return wide ? twice : single; };
  switch (operation) {
    case 0: case 1: case 5: case 6:  // VMLA, VMLS; VNMLA, VNMLS; VFNMA, VFNMS; VFMA, VFMS
      made.kind = one_of(Kind::fp_multiply_add, Kind::fp_multiply_add_double);
      return with_accumulator(made);
    case 2: made.kind = one_of(Kind::fp_multiply, Kind::fp_multiply_double); return made;
    case 3: made.kind = one_of(Kind::fp_add, Kind::fp_add_double); return made;
    case 4: made.kind = one_of(Kind::fp_divide, Kind::fp_divide_double); return made;
    default: break;
  }
  made.reads = m;
  const unsigned which = field(bits, 19, 16), more = field(bits, 7, 6);
  if (!bit(bits, 6)) {  // VMOV of a number
    made.kind = Kind::fp_move;
    made.reads = {};
    return made;
  }
  switch (which) {
    case 0: made.kind = Kind::fp_move; return made;  // VMOV, VABS
    case 1: made.kind = more == 1 ? Kind::fp_move : one_of(Kind::fp_root, Kind::fp_root_double); return made;
    case 4: case 5:
      made.kind = Kind::fp_compare;
      made.reads = which == 4 ? d | m : d;
      made.writes = {std::uint64_t{1} << fp_flags, 0};
      return made;
    case 7:
      made.kind = Kind::fp_convert;
      if (more == 3) made.writes = fp_register(bits, 15, 22, !wide);  // between single and double
      return made;
    case 8:
      made.kind = Kind::fp_convert;
      made.reads = fp_register(bits, 3, 5, false);
      return made;
    case 0xa: case 0xb: case 0xe: case 0xf:  // fixed point, in place
      made.kind = Kind::fp_convert;
      made.reads = d;
      return made;
    case 0xc: case 0xd:
      made.kind = Kind::fp_convert;
      made.writes = fp_register(bits, 15, 22, false);
      return made;
    default:
      made.kind = Kind::fp_convert;
      return made;
  }
}

Instruction fp_transfer(std::uint32_t bits) {
  const bool to_core = bit(bits, 20);
  const unsigned t = field(bits, 15, 12);
  Instruction made;
  made.kind = to_core ? Kind::to_core : Kind::from_core;
  const bool is_word = !bit(bits, 8);
  if (is_word && field(bits, 23, 21) == 7) {  // VMRS, VMSR
    const Registers status{std::uint64_t{1} << fp_flags, 0};
    if (!to_core) {
      made.reads = core(t);
      made.writes = status;
    } else {
      made.reads = status;
      made.writes = t == 15 ? Registers{std::uint64_t{1} << flags, 0} : core(t);
    }
    return made;
  }
  const Registers vector = is_word ? singles(field(bits, 19, 16) << 1 | field(bits, 7, 7)) : doubles(vn(bits), 1);
  if (!is_word && !to_core && bit(bits, 23)) {  // VDUP
    made.units = bit(bits, 21) ? 2 : 1;
    made.writes = doubles(vn(bits), made.units);
    made.reads = core(t);
    return made;
  }
  (to_core ? made.reads : made.writes) |= vector;
  (to_core ? made.writes : made.reads) |= core(t);
  return made;
}

}  // namespace

Instruction decode_floating_point(std::uint32_t bits) {
  if (field(bits, 27, 25) == 6) {
    if (field(bits, 24, 21) == 2) {  // VMOV between two core registers and one or two of these
      const bool to_core = bit(bits, 20);
      Instruction made;
      made.kind = to_core ? Kind::to_core : Kind::from_core;
      made.units = 2;
      const Registers pair = core(field(bits, 15, 12)) | core(field(bits, 19, 16));
      const unsigned single = field(bits, 3, 0) << 1 | field(bits, 5, 5);
      const Registers vector = bit(bits, 8) ? doubles(vm(bits)) : singles(single, 2);
      (to_core ? made.reads : made.writes) |= vector;
      (to_core ? made.writes : made.reads) |= pair;
      return made;
    }
    return fp_load_or_store(bits);
  }
  return bit(bits, 4) ? fp_transfer(bits) : fp_arithmetic(bits);
}

}  // namespace tenpass::arm
