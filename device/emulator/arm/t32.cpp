// T32 (DDI 0487, F3.1 "T32 instruction set encoding"). What an IT block makes conditional is decoded as if it were not.
#include "instruction.hpp"

namespace tenpass::arm {
namespace {

Registers core(unsigned number) { return number == 15 ? Registers{} : Registers{std::uint64_t{1} << number, 0}; }
const Registers the_flags{std::uint64_t{1} << flags, 0};

Instruction plain(Kind kind, Registers writes, Registers reads) {
  Instruction made;
  made.kind = kind;
  made.writes = writes;
  made.reads = reads;
  return made;
}

Instruction branching(Kind kind, Branch branch, Registers reads = {}) {
  Instruction made = plain(kind, {}, reads);
  made.branch = branch;
  if (branch == Branch::call || branch == Branch::indirect_call) made.writes = core(14);
  if (branch == Branch::conditional) made.reads |= the_flags;
  return made;
}

Instruction accessing(bool loads, Registers data, unsigned base) {
  Instruction made;
  made.kind = loads ? Kind::load : Kind::store;
  made.access = loads ? Access::load : Access::store;
  (loads ? made.writes : made.late_reads) |= data;
  made.base = static_cast<std::uint8_t>(base);
  made.reads |= core(base);
  return made;
}

Instruction several(bool loads, std::uint32_t list, unsigned base, bool moves) {
  Instruction made = accessing(loads, {list & 0x7fff, 0}, base);
  made.kind = loads ? Kind::load_multiple : Kind::store_multiple;
  made.units = static_cast<std::uint8_t>((__builtin_popcount(list) + 1) / 2);
  made.has_offset = false;
  if (moves) made.moves = core(base);
  if (loads && list >> 15 & 1) made.branch = Branch::back;
  return made;
}

// --- 16 bits ------------------------------------------------------------------------------------------

Instruction narrow_arithmetic(std::uint32_t bits) {
  const Registers d = core(field(bits, 2, 0)), m = core(field(bits, 5, 3));
  switch (field(bits, 9, 6)) {
    case 0x2: case 0x3: case 0x4: case 0x7: return plain(Kind::alu_shifted, d | the_flags, d | m);
    case 0x5: case 0x6: return plain(Kind::alu, d | the_flags, d | m | the_flags);
    case 0x8: case 0xa: case 0xb: return plain(Kind::alu, the_flags, d | m);
    case 0x9: return plain(Kind::alu_immediate, d | the_flags, m);  // RSBS by 0
    case 0xd: return plain(Kind::multiply, d | the_flags, d | m);
    case 0xf: return plain(Kind::alu, d | the_flags, m);
    default: return plain(Kind::alu, d | the_flags, d | m);
  }
}

Instruction narrow_special(std::uint32_t bits) {
  const unsigned d = field(bits, 2, 0) | field(bits, 7, 7) << 3, m = field(bits, 6, 3);
  switch (field(bits, 9, 8)) {
    case 0: return d == 15 ? branching(Kind::branch_indirect, Branch::indirect, core(m))
                           : plain(Kind::alu, core(d), core(d) | core(m));
    case 1: return plain(Kind::alu, the_flags, core(d) | core(m));
    case 2: return d == 15 ? branching(Kind::branch_indirect, m == 14 ? Branch::back : Branch::indirect, core(m))
                           : plain(Kind::alu, core(d), core(m));
    default:
      if (bit(bits, 7)) return branching(Kind::branch_indirect, Branch::indirect_call, core(m));
      return branching(Kind::branch_indirect, m == 14 ? Branch::back : Branch::indirect, core(m));
  }
}

Instruction narrow_miscellaneous(std::uint32_t bits) {
  if (field(bits, 11, 8) == 0) return plain(Kind::alu_immediate, core(13), core(13));
  if (!bit(bits, 10) && bit(bits, 8)) {  // CBZ, CBNZ
    Instruction made = branching(Kind::branch, Branch::conditional, core(field(bits, 2, 0)));
    made.reads = core(field(bits, 2, 0));
    return made;
  }
  if (field(bits, 10, 9) == 2) {  // PUSH, POP
    const bool loads = bit(bits, 11);
    const std::uint32_t extra = bit(bits, 8) ? (loads ? 1u << 15 : 1u << 14) : 0;
    return several(loads, field(bits, 7, 0) | extra, 13, true);
  }
  if (field(bits, 11, 8) == 0x2 || field(bits, 11, 8) == 0xa)
    return plain(Kind::bitfield, core(field(bits, 2, 0)), core(field(bits, 5, 3)));
  if (field(bits, 11, 8) == 0xf) return plain(Kind::nop, {}, {});  // IT, hints
  return plain(Kind::system, {}, {});
}

Instruction narrow_access(std::uint32_t bits) {
  const unsigned t = field(bits, 2, 0), n = field(bits, 5, 3), number = field(bits, 10, 6);
  switch (field(bits, 15, 12)) {
    case 5: {
      const bool loads = field(bits, 11, 9) >= 3;
      Instruction made = accessing(loads, core(t), n);
      made.reads |= core(field(bits, 8, 6));
      made.has_offset = false;
      return made;
    }
    case 9: {
      Instruction made = accessing(bit(bits, 11), core(field(bits, 10, 8)), 13);
      made.offset = static_cast<std::int32_t>(4 * field(bits, 7, 0));
      return made;
    }
    default: {
      Instruction made = accessing(bit(bits, 11), core(t), n);
      const unsigned size = field(bits, 15, 12) == 6 ? 4 : field(bits, 15, 12) == 7 ? 1 : 2;
      made.offset = static_cast<std::int32_t>(size * number);
      return made;
    }
  }
}

Instruction narrow(std::uint32_t bits) {
  const Registers d = core(field(bits, 2, 0)), n = core(field(bits, 5, 3)), upper = core(field(bits, 10, 8));
  switch (field(bits, 15, 12)) {
    case 0: case 1:
      if (field(bits, 15, 11) == 3) {  // ADDS, SUBS
        const Registers more = bit(bits, 10) ? Registers{} : core(field(bits, 8, 6));
        return plain(bit(bits, 10) ? Kind::alu_immediate : Kind::alu, d | the_flags, n | more);
      }
      return plain(field(bits, 12, 6) == 0 ? Kind::alu : Kind::alu_shifted, d | the_flags, n);
    case 2: case 3:
      if (field(bits, 12, 11) == 0) return plain(Kind::alu_immediate, upper | the_flags, {});
      if (field(bits, 12, 11) == 1) return plain(Kind::alu_immediate, the_flags, upper);
      return plain(Kind::alu_immediate, upper | the_flags, upper);
    case 4:
      if (bit(bits, 11)) {
        Instruction made = accessing(true, upper, 15);
        made.offset = static_cast<std::int32_t>(4 * field(bits, 7, 0));
        return made;
      }
      return bit(bits, 10) ? narrow_special(bits) : narrow_arithmetic(bits);
    case 5: case 6: case 7: case 8: case 9: return narrow_access(bits);
    case 10: return plain(Kind::alu_immediate, upper, bit(bits, 11) ? core(13) : Registers{});
    case 11: return narrow_miscellaneous(bits);
    case 12: {
      const std::uint32_t list = field(bits, 7, 0);
      const unsigned base = field(bits, 10, 8);
      return several(bit(bits, 11), list, base, !bit(bits, 11) || !(list >> base & 1));
    }
    case 13:
      if (field(bits, 11, 8) >= 14) return plain(Kind::system, {}, {});
      return branching(Kind::branch, Branch::conditional);
    default: return branching(Kind::branch, Branch::always);
  }
}

// --- 32 bits ------------------------------------------------------------------------------------------

unsigned rn(std::uint32_t bits) { return field(bits, 19, 16); }
unsigned rt(std::uint32_t bits) { return field(bits, 15, 12); }
unsigned rd(std::uint32_t bits) { return field(bits, 11, 8); }
unsigned rm(std::uint32_t bits) { return field(bits, 3, 0); }

void index(Instruction& made, std::uint32_t bits, std::int32_t offset) {
  const bool before = bit(bits, 24), up = bit(bits, 23);
  if (before) made.offset = up ? offset : -offset;
  made.indexed_after = !before;
  if (bit(bits, 21)) made.moves = core(rn(bits));
}

Instruction dual_or_exclusive(std::uint32_t bits) {
  const bool loads = bit(bits, 20);
  if (bit(bits, 24) || bit(bits, 21)) {
    Instruction made = accessing(loads, core(rt(bits)) | core(rd(bits)), rn(bits));
    made.kind = loads ? Kind::load_multiple : Kind::store_multiple;
    index(made, bits, static_cast<std::int32_t>(4 * field(bits, 7, 0)));
    return made;
  }
  if (bit(bits, 23) && loads && field(bits, 7, 5) == 0) {  // TBB, TBH
    Instruction made = accessing(true, {}, rn(bits));
    made.reads |= core(rm(bits));
    made.has_offset = false;
    made.branch = Branch::indirect;
    return made;
  }
  Instruction made = accessing(loads, core(rt(bits)), rn(bits));
  made.kind = Kind::exclusive;
  if (bit(bits, 23)) {
    if (field(bits, 5, 4) == 3) (loads ? made.writes : made.late_reads) |= core(rd(bits));
    if (!loads && bit(bits, 6)) made.writes |= core(rm(bits));
  } else if (!loads) {
    made.writes |= core(rd(bits));
  }
  return made;
}

// The operations of data processing: which compare, which move.
Instruction arithmetic(std::uint32_t bits, Kind kind, Registers second) {
  const unsigned operation = field(bits, 24, 21), d = rd(bits), n = rn(bits);
  const bool sets = bit(bits, 20);
  const bool tests = d == 15 && sets && (operation == 0 || operation == 4 || operation == 8 || operation == 13);
  const bool moves = n == 15 && (operation == 2 || operation == 3);
  Instruction made = plain(kind, {}, second);
  if (!moves) made.reads |= core(n);
  if (!tests) made.writes |= core(d);
  if (sets) made.writes |= the_flags;
  if (operation == 10 || operation == 11) made.reads |= the_flags;
  return made;
}

Instruction shifted_register(std::uint32_t bits) {
  if (field(bits, 24, 21) == 6) return plain(Kind::bitfield, core(rd(bits)), core(rn(bits)) | core(rm(bits)));  // PKH
  const bool shifts = field(bits, 14, 12) != 0 || field(bits, 7, 4) != 0;
  Instruction made = arithmetic(bits, shifts ? Kind::alu_shifted : Kind::alu, core(rm(bits)));
  if (field(bits, 24, 21) == 2 && rn(bits) == 15 && field(bits, 5, 4) == 3 && shifts && field(bits, 14, 12) == 0 &&
      field(bits, 7, 6) == 0)
    made.reads |= the_flags;  // RRX
  return made;
}

Instruction plain_immediate(std::uint32_t bits) {
  const Registers d = core(rd(bits)), n = core(rn(bits));
  switch (field(bits, 24, 20)) {
    case 0x00: case 0x0a: return plain(Kind::alu_immediate, d, n);
    case 0x04: return plain(Kind::alu_immediate, d, {});
    case 0x0c: return plain(Kind::alu_immediate, d, d);
    case 0x16: return plain(Kind::bitfield, d, d | n);
    default: return plain(Kind::bitfield, d, n);
  }
}

Instruction branch_or_system(std::uint32_t bits) {
  if (bit(bits, 14)) return branching(Kind::branch, Branch::call);
  if (bit(bits, 12)) return branching(Kind::branch, Branch::always);
  if (field(bits, 25, 23) != 7) return branching(Kind::branch, Branch::conditional);
  if (field(bits, 26, 20) == 0x3a && field(bits, 10, 8) == 0) return plain(Kind::nop, {}, {});
  if (field(bits, 26, 20) == 0x3e) return plain(Kind::system, core(rd(bits)), {});  // MRS
  if (field(bits, 26, 20) == 0x38) return plain(Kind::system, the_flags, core(rn(bits)));
  return plain(Kind::system, {}, {});
}

Instruction single(std::uint32_t bits) {
  const bool loads = bit(bits, 20);
  const unsigned size = field(bits, 22, 21);
  const bool literal = rn(bits) == 15;
  if (loads && rt(bits) == 15 && size != 2) {  // PLD, PLDW, PLI
    Instruction made = plain(Kind::prefetch, {}, core(rn(bits)));
    made.access = bit(bits, 24) ? Access::none : Access::prefetch;
    made.base = static_cast<std::uint8_t>(rn(bits));
    if (bit(bits, 23) || literal) {
      made.offset = static_cast<std::int32_t>(field(bits, 11, 0));
    } else if (bit(bits, 11)) {
      made.offset = -static_cast<std::int32_t>(field(bits, 7, 0));
    } else {
      made.reads |= core(rm(bits));
      made.has_offset = false;
    }
    return made;
  }
  Instruction made = accessing(loads, core(rt(bits)), rn(bits));
  if (loads && rt(bits) == 15) made.branch = Branch::indirect;
  if (bit(bits, 23) || literal) {
    made.offset = static_cast<std::int32_t>(field(bits, 11, 0));
  } else if (bit(bits, 11)) {
    const bool before = bit(bits, 10), up = bit(bits, 9);
    if (before) made.offset = static_cast<std::int32_t>(field(bits, 7, 0)) * (up ? 1 : -1);
    made.indexed_after = !before;
    if (bit(bits, 8)) made.moves = core(rn(bits));
    if (loads && rt(bits) == 15 && rn(bits) == 13) made.branch = Branch::back;
  } else {
    made.reads |= core(rm(bits));
    made.has_offset = false;
  }
  return made;
}

Instruction by_register(std::uint32_t bits) {
  const Registers d = core(rd(bits)), n = core(rn(bits)), m = core(rm(bits));
  if (!bit(bits, 23) && field(bits, 7, 4) == 0)  // LSL, LSR, ASR, ROR
    return plain(Kind::alu_shifted, bit(bits, 20) ? d | the_flags : d, n | m);
  if (!bit(bits, 23) && bit(bits, 7)) return plain(Kind::bitfield, d, n | m);  // SXTAH ... UXTB: n is 15 without an addend
  if (bit(bits, 23) && field(bits, 7, 6) == 2) {  // QADD ..., REV, SEL, CLZ
    const unsigned which = field(bits, 22, 20);
    if (which == 0) return plain(Kind::alu_shifted, d, n | m);
    if (which == 2) return plain(Kind::bitfield, d, n | m | the_flags);
    return plain(Kind::bitfield, d, m);
  }
  return plain(Kind::alu_shifted, d, n | m);
}

Instruction multiply(std::uint32_t bits) {
  const unsigned a = rt(bits);
  Instruction made = plain(a == 15 ? Kind::multiply : Kind::multiply_add, core(rd(bits)), core(rn(bits)) | core(rm(bits)));
  made.late_reads = core(a);
  return made;
}

Instruction multiply_long(std::uint32_t bits) {
  const unsigned operation = field(bits, 22, 20);
  const Registers factors = core(rn(bits)) | core(rm(bits));
  if (operation == 1 || operation == 3) return plain(Kind::divide, core(rd(bits)), factors);
  Instruction made = plain(Kind::multiply_long, core(rd(bits)) | core(rt(bits)), factors);
  if (operation >= 4) made.late_reads = made.writes;
  return made;
}

}  // namespace

Instruction decode_t32(std::uint32_t bits, bool is_wide) {
  if (!is_wide) return narrow(bits);
  if ((bits & 0xef000000) == 0xef000000)
    return decode_simd_data(0xf2000000 | (bits & 0x00ffffff) | (bit(bits, 28) ? 1u << 24 : 0));
  if ((bits & 0xff100000) == 0xf9000000) return decode_simd_structures(0xf4000000 | (bits & 0x00ffffff));
  if (field(bits, 31, 26) == 0x3b || field(bits, 31, 26) == 0x3f) {
    if (field(bits, 11, 9) == 5 && field(bits, 31, 26) == 0x3b) return decode_floating_point(bits);
    return plain(Kind::system, {}, {});
  }
  switch (field(bits, 28, 27)) {
    case 1:
      if (field(bits, 26, 25) == 1) return shifted_register(bits);
      if (bit(bits, 22)) return dual_or_exclusive(bits);
      return several(bit(bits, 20), field(bits, 15, 0), rn(bits), bit(bits, 21));
    case 2:
      if (bit(bits, 15)) return branch_or_system(bits);
      return bit(bits, 25) ? plain_immediate(bits) : arithmetic(bits, Kind::alu_immediate, {});
    default:
      if (field(bits, 26, 25) == 0) return single(bits);
      if (!bit(bits, 24)) return by_register(bits);
      return bit(bits, 23) ? multiply_long(bits) : multiply(bits);
  }
}

}  // namespace tenpass::arm
