// A32 (DDI 0487, F4.1 "A32 instruction set encoding").
#include "instruction.hpp"

namespace tenpass::arm {
namespace {

Registers core(unsigned number) { return number == 15 ? Registers{} : Registers{std::uint64_t{1} << number, 0}; }
const Registers the_flags{std::uint64_t{1} << flags, 0};

unsigned rn(std::uint32_t bits) { return field(bits, 19, 16); }
unsigned rd(std::uint32_t bits) { return field(bits, 15, 12); }
unsigned rs(std::uint32_t bits) { return field(bits, 11, 8); }
unsigned rm(std::uint32_t bits) { return field(bits, 3, 0); }

Instruction plain(Kind kind, Registers writes, Registers reads) {
  Instruction made;
  made.kind = kind;
  made.writes = writes;
  made.reads = reads;
  return made;
}

Instruction data_processing(std::uint32_t bits) {
  const unsigned operation = field(bits, 24, 21);
  const bool tests = operation >= 8 && operation <= 11, moves = operation == 13 || operation == 15;
  Instruction made;
  if (!moves) made.reads |= core(rn(bits));
  if (!tests) made.writes |= core(rd(bits));
  if (bit(bits, 20)) made.writes |= the_flags;
  if (operation >= 5 && operation <= 7) made.reads |= the_flags;
  made.kind = Kind::alu_immediate;
  if (!bit(bits, 25)) {
    made.reads |= core(rm(bits));
    if (bit(bits, 4)) made.reads |= core(rs(bits));
    made.kind = field(bits, 11, 4) == 0 ? Kind::alu : Kind::alu_shifted;
  }
  if (!tests && rd(bits) == 15) {
    made.kind = Kind::branch_indirect;
    made.branch = Branch::indirect;
  }
  return made;
}

Instruction multiply(std::uint32_t bits) {
  const unsigned d = rn(bits), a = rd(bits);
  const Registers factors = core(rm(bits)) | core(rs(bits));
  Instruction made = plain(Kind::multiply, core(d), factors);
  switch (field(bits, 23, 21)) {
    case 0: break;
    case 1: case 3:
      made.kind = Kind::multiply_add;
      made.late_reads = core(a);
      break;
    default:
      made.kind = Kind::multiply_long;
      made.writes |= core(a);
      if (field(bits, 23, 21) == 2 || bit(bits, 21)) made.late_reads = core(a) | core(d);
  }
  if (bit(bits, 20)) made.writes |= the_flags;
  return made;
}

// SMLABB and the like: `bits` 22 to 21 say which.
Instruction multiply_halves(std::uint32_t bits) {
  const unsigned operation = field(bits, 22, 21);
  Instruction made = plain(Kind::multiply, core(rn(bits)), core(rm(bits)) | core(rs(bits)));
  if (operation == 0 || (operation == 1 && !bit(bits, 5)) || operation == 2) {
    made.kind = Kind::multiply_add;
    made.late_reads = core(rd(bits));
    if (operation == 2) {
      made.late_reads |= core(rn(bits));
      made.writes |= core(rd(bits));
    }
  }
  return made;
}

Instruction miscellaneous(std::uint32_t bits) {
  switch (field(bits, 7, 4)) {
    case 1:
      if (field(bits, 22, 21) == 3) return plain(Kind::bitfield, core(rd(bits)), core(rm(bits)));  // CLZ
      [[fallthrough]];
    case 2: case 3: {  // BX, BXJ, BLX
      Instruction made = plain(Kind::branch_indirect, {}, core(rm(bits)));
      made.branch = field(bits, 7, 4) == 3 ? Branch::indirect_call : rm(bits) == 14 ? Branch::back : Branch::indirect;
      if (made.branch == Branch::indirect_call) made.writes = core(14);
      return made;
    }
    case 5: return plain(Kind::alu_shifted, core(rd(bits)), core(rn(bits)) | core(rm(bits)));  // QADD, QSUB
    default:
      if (field(bits, 7, 4) == 0 && !bit(bits, 21)) return plain(Kind::system, core(rd(bits)), {});  // MRS
      return plain(Kind::system, the_flags, core(rm(bits)));
  }
}

void address(Instruction& made, std::uint32_t bits, bool by_register, std::int32_t offset) {
  const bool before = bit(bits, 24), up = bit(bits, 23);
  made.base = static_cast<std::uint8_t>(rn(bits));
  made.reads |= core(rn(bits));
  made.has_offset = !by_register;
  if (by_register) made.reads |= core(rm(bits));
  if (before) made.offset = up ? offset : -offset;
  made.indexed_after = !before;
  if (!before || bit(bits, 21)) made.moves = core(rn(bits));
}

Instruction load_or_store(bool loads, Registers data) {
  Instruction made;
  made.kind = loads ? Kind::load : Kind::store;
  made.access = loads ? Access::load : Access::store;
  (loads ? made.writes : made.late_reads) |= data;
  return made;
}

// LDRH, LDRD and the like.
Instruction extra_load_or_store(std::uint32_t bits) {
  const unsigned which = field(bits, 6, 5);
  const bool twice = !bit(bits, 20) && which >= 2, loads = bit(bits, 20) || which == 2;
  Registers data = core(rd(bits));
  if (twice) data |= core(rd(bits) + 1);
  Instruction made = load_or_store(loads, data);
  if (twice) made.kind = loads ? Kind::load_multiple : Kind::store_multiple;
  address(made, bits, !bit(bits, 22), static_cast<std::int32_t>(field(bits, 11, 8) << 4 | field(bits, 3, 0)));
  return made;
}

Instruction load_or_store_word(std::uint32_t bits) {
  const bool loads = bit(bits, 20);
  Instruction made = load_or_store(loads, core(rd(bits)));
  address(made, bits, bit(bits, 25), static_cast<std::int32_t>(field(bits, 11, 0)));
  if (loads && rd(bits) == 15) made.branch = Branch::indirect;
  return made;
}

Instruction media(std::uint32_t bits) {
  const unsigned operation = field(bits, 24, 20);
  if (operation < 8) return plain(Kind::alu_shifted, core(rd(bits)), core(rn(bits)) | core(rm(bits)));
  if (operation < 16) {
    const bool saturates = (operation & 2) && field(bits, 6, 5) != 3 && bit(bits, 5) == 0;
    const bool reverses = (operation & 3) == 3 && field(bits, 6, 4) != 7;
    Registers from = core(rm(bits));
    const bool picks = field(bits, 7, 4) == 0xb;  // SEL, REV
    if (!saturates && !reverses && !(picks && operation != 8)) from |= core(rn(bits));
    Instruction made = plain(Kind::bitfield, core(rd(bits)), from);
    if (operation == 8 && picks) made.reads |= the_flags;
    return made;
  }
  const unsigned d = rn(bits), a = rd(bits);
  const Registers factors = core(rm(bits)) | core(rs(bits));
  switch (operation) {
    case 0x11: case 0x13: return plain(Kind::divide, core(d), factors);
    case 0x14: {  // SMLALD
      Instruction made = plain(Kind::multiply_long, core(d) | core(a), factors);
      made.late_reads = core(d) | core(a);
      return made;
    }
    case 0x10: case 0x15: case 0x18: {
      Instruction made = plain(a == 15 ? Kind::multiply : Kind::multiply_add, core(d), factors);
      made.late_reads = core(a);
      return made;
    }
    case 0x1c: case 0x1d: return plain(Kind::bitfield, core(rd(bits)), core(rd(bits)) | core(rm(bits)));  // BFI, BFC
    case 0x1f: if (field(bits, 7, 4) == 0xf) return plain(Kind::system, {}, {}); [[fallthrough]];
    default: return plain(Kind::bitfield, core(rd(bits)), core(rm(bits)));
  }
}

Instruction load_or_store_multiple(std::uint32_t bits) {
  const bool loads = bit(bits, 20);
  const std::uint32_t list = field(bits, 15, 0);
  Instruction made = load_or_store(loads, {list & 0x7fff, 0});
  made.kind = loads ? Kind::load_multiple : Kind::store_multiple;
  made.units = static_cast<std::uint8_t>((__builtin_popcount(list) + 1) / 2);
  made.base = static_cast<std::uint8_t>(rn(bits));
  made.reads |= core(rn(bits));
  made.has_offset = false;
  if (bit(bits, 21)) made.moves = core(rn(bits));
  if (loads && list >> 15) made.branch = Branch::back;
  return made;
}

Instruction exclusive(std::uint32_t bits) {
  const bool loads = bit(bits, 20);
  Instruction made = load_or_store(loads, core(loads ? rd(bits) : rm(bits)));
  made.kind = Kind::exclusive;
  made.base = static_cast<std::uint8_t>(rn(bits));
  made.reads |= core(rn(bits));
  const bool twice = field(bits, 22, 21) == 1, orders = !bit(bits, 9);  // LDREXD; LDA and STL have no status
  if (twice) (loads ? made.writes : made.late_reads) |= core((loads ? rd(bits) : rm(bits)) + 1);
  if (!loads && !orders) made.writes |= core(rd(bits));
  if (!loads && orders && bit(bits, 8)) made.writes |= core(rd(bits));
  return made;
}

Instruction branch(std::uint32_t bits) {
  Instruction made = plain(Kind::branch, {}, {});
  made.branch = bit(bits, 24) ? Branch::call : bits >> 28 == 14 ? Branch::always : Branch::conditional;
  if (bit(bits, 24)) made.writes = core(14);
  return made;
}

Instruction unconditional(std::uint32_t bits) {
  if (field(bits, 27, 25) == 1) return decode_simd_data(bits);
  if (field(bits, 27, 24) == 4 && !bit(bits, 20)) return decode_simd_structures(bits);
  if (field(bits, 27, 26) == 1 && bit(bits, 24) && field(bits, 21, 20) == 1 && rd(bits) == 15) {  // PLD, PLDW
    Instruction made = plain(Kind::prefetch, {}, {});
    made.access = Access::prefetch;
    address(made, bits & ~(1u << 21), bit(bits, 25), static_cast<std::int32_t>(field(bits, 11, 0)));
    return made;
  }
  if (field(bits, 27, 25) == 5) {  // BLX
    Instruction made = plain(Kind::branch, core(14), {});
    made.branch = Branch::call;
    return made;
  }
  return plain(Kind::system, {}, {});
}

Instruction conditional(std::uint32_t bits) {
  switch (field(bits, 27, 25)) {
    case 0:
      if (bit(bits, 7) && bit(bits, 4)) {
        if (field(bits, 6, 5) != 0) return extra_load_or_store(bits);
        return bit(bits, 24) ? exclusive(bits) : multiply(bits);
      }
      if (field(bits, 24, 23) == 2 && !bit(bits, 20)) return bit(bits, 7) ? multiply_halves(bits) : miscellaneous(bits);
      return data_processing(bits);
    case 1:
      if (field(bits, 24, 20) == 0x10) return plain(Kind::alu_immediate, core(rd(bits)), {});  // MOVW
      if (field(bits, 24, 20) == 0x14) return plain(Kind::alu_immediate, core(rd(bits)), core(rd(bits)));  // MOVT
      if (field(bits, 24, 23) == 2 && !bit(bits, 20))  // MSR, hints
        return field(bits, 22, 16) == 0x20 ? plain(Kind::nop, {}, {}) : plain(Kind::system, the_flags, {});
      return data_processing(bits);
    case 2: return load_or_store_word(bits);
    case 3: return bit(bits, 4) ? media(bits) : load_or_store_word(bits);
    case 4: return load_or_store_multiple(bits);
    case 5: return branch(bits);
    default:
      if (field(bits, 27, 24) != 15 && field(bits, 11, 9) == 5) return decode_floating_point(bits);
      return plain(Kind::system, {}, {});
  }
}

}  // namespace

Instruction decode_a32(std::uint32_t bits) {
  const unsigned condition = bits >> 28;
  if (condition == 15) return unconditional(bits);
  Instruction made = conditional(bits);
  if (condition < 14) {
    made.predicated = true;
    made.reads |= the_flags;
  }
  return made;
}

const char* name_of(Kind kind) {
  static const char* const names[] = {
#define TENPASS_KIND(name) #name,
      TENPASS_KINDS(TENPASS_KIND)
#undef TENPASS_KIND
  };
  return names[static_cast<unsigned>(kind)];
}

}  // namespace tenpass::arm
