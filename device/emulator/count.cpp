// A plugin for QEMU that counts what a runner executes between the marks of ../runner/src/marks.hpp: instructions, SIMD
// instructions, and the misses of simulated caches. README.md says what exactly is counted, and why it repeats.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arm_instructions.hpp"
#include "cache.hpp"
#include "qemu_plugin.hpp"

extern "C" TENPASS_PLUGIN_EXPORT int qemu_plugin_version = TENPASS_PLUGIN_API;

namespace tenpass {
namespace {

// Instructions that are executed one after the other, none of them a mark: a translation block, or its part before or
// after a mark.
struct Stretch {
  struct Instruction {
    std::uint64_t address;
    bool simd;
  };
  std::vector<Instruction> instructions;
  std::uint64_t end = 0;  // the address behind the last one
  unsigned simd = 0;
};

// The state of the one core. QEMU calls a plugin in the core's thread.
struct Counting {
  bool wide = false;  // a 64-bit guest
  std::string out;
  std::optional<Hierarchy> caches;

  bool armed = false;  // `out` is there: what is translated from now on may be a runner's code
  std::set<std::pair<std::uintptr_t, std::uint64_t>> system_pages;  // (page of this machine's memory, guest's page)
  std::deque<Stretch> stretches;  // where QEMU's callbacks point to: for good

  bool between_marks = false;
  std::uint64_t instructions = 0, simd = 0, others = 0;
  const Stretch* latest = nullptr;  // the runner's
  bool away = false;                // the kernel, or another process, has been executing since
  bool aborted = false;             // ... because an instruction of `latest` did not complete
};
Counting state;

constexpr std::uint64_t page_bytes = 4096;

// --- what is executed ---------------------------------------------------------------------------------

// An aborted instruction is executed again once the kernel has done what it lacked: whatever of `latest` comes from
// there on was counted but not executed.
void take_back_what_was_aborted(const Stretch& resumed) {
  const std::uint64_t address = resumed.instructions.front().address;
  for (auto last = state.latest->instructions.rbegin();
       last != state.latest->instructions.rend() && last->address >= address; ++last) {
    --state.instructions;
    state.simd -= last->simd;
  }
}

void on_stretch(unsigned, void* userdata) {
  if (!state.between_marks) return;
  const Stretch& stretch = *static_cast<const Stretch*>(userdata);
  if (state.away) {
    const std::uint64_t address = stretch.instructions.front().address;
    if (state.aborted && state.latest->instructions.front().address <= address && address < state.latest->end)
      take_back_what_was_aborted(stretch);
    state.away = state.aborted = false;
  }
  state.latest = &stretch;
  state.instructions += stretch.instructions.size();
  state.simd += stretch.simd;
  state.caches->fetch(stretch.instructions.front().address, stretch.end - 1);
}

void on_access(unsigned, qemu_plugin_meminfo_t info, std::uint64_t address, void*) {
  if (!state.between_marks) return;
  state.caches->access(address, address + (std::uint64_t{1} << qemu_plugin_mem_size_shift(info)) - 1);
}

// A block of the kernel, or of another process: how many instructions, and the low bits of its address.
constexpr unsigned address_shift = 16;
constexpr std::uintptr_t low_bits = 0x7ff;

// Whether a block at this address, the kernel's first after the runner's, is where a synchronous exception leads that an
// instruction is executed again after. Arm ARM, G1.11 (AArch32: undefined instruction, prefetch abort, data abort) and
// D1.3 (AArch64: synchronous, from a lower Exception level; SVC among them, which ends its stretch and does not return
// into it).
bool leads_from_an_abort(std::uintptr_t address) {
  if (state.wide) return address == 0x400;
  const std::uintptr_t vector = address & 0x1f;
  return vector == 0x04 || vector == 0x0c || vector == 0x10;
}

void on_other(unsigned, void* userdata) {
  if (!state.between_marks) return;
  const auto block = reinterpret_cast<std::uintptr_t>(userdata);
  if (!state.away) {
    state.away = true;
    state.aborted = state.latest != nullptr && leads_from_an_abort(block >> address_shift);
  }
  state.others += block & ((1u << address_shift) - 1);
}

void on_begin(unsigned, void*) {
  struct stat status{};
  if (stat(state.out.c_str(), &status) != 0) return;
  if (status.st_size == 0) state.caches->clear();
  state.caches->misses = {};
  state.instructions = state.simd = state.others = 0;
  state.latest = nullptr;
  state.away = state.aborted = false;
  state.between_marks = true;
}

void on_end(unsigned, void*) {
  if (!state.between_marks) return;
  state.between_marks = false;
  const int file = open(state.out.c_str(), O_WRONLY | O_APPEND);
  const Misses& misses = state.caches->misses;
  const int written = dprintf(file,
                              "{\"instructions\":%" PRIu64 ",\"simd_instructions\":%" PRIu64 ",\"l1i_misses\":%" PRIu64
                              ",\"l1d_misses\":%" PRIu64 ",\"l2_misses\":%" PRIu64 ",\"other_instructions\":%" PRIu64
                              "}\n",
                              state.instructions, state.simd, misses.l1i, misses.l1d, misses.l2, state.others);
  if (written < 0) std::fprintf(stderr, "count: cannot write to %s: %s\n", state.out.c_str(), std::strerror(errno));
  close(file);
}

// --- what is translated -------------------------------------------------------------------------------

bool is_kernels(std::uint64_t address) {
  return state.wide ? address >> 63 : address >= 0xbf000000;
}

std::uint32_t raw_bits(const qemu_plugin_insn* instruction) {
  unsigned char bytes[4] = {};
#if TENPASS_PLUGIN_API < 3
  std::memcpy(bytes, qemu_plugin_insn_data(instruction), qemu_plugin_insn_size(instruction));
#else
  qemu_plugin_insn_data(instruction, bytes, sizeof bytes);
#endif
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
}

// How a block of a 32-bit guest is encoded; nothing where its bits don't tell. No halfword of less than 0xe800 begins a
// 32-bit T32 instruction.
std::optional<Encoding> encoding_of(const qemu_plugin_tb* block) {
  if (state.wide) return Encoding::a64;
  for (std::size_t index = 0; index < qemu_plugin_tb_n_insns(block); ++index) {
    const qemu_plugin_insn* const instruction = qemu_plugin_tb_get_insn(block, index);
    if (qemu_plugin_insn_size(instruction) == 2 || qemu_plugin_insn_vaddr(instruction) % 4 != 0) return Encoding::t32;
    if ((raw_bits(instruction) & 0xffff) < 0xe800) return Encoding::a32;
  }
  return std::nullopt;
}

bool vector_text(const qemu_plugin_insn* in) {
  char* text = qemu_plugin_insn_disas(in);
  bool v = text && text[0] == 'v';
  std::free(text);
  return v;
}

std::uint32_t bits_of(const qemu_plugin_insn* in, Encoding e) {
  const std::uint32_t raw = raw_bits(in);
  return e == Encoding::t32 && qemu_plugin_insn_size(in) == 4 ? raw << 16 | raw >> 16 : raw;
}

void on_translation(qemu_plugin_id_t, qemu_plugin_tb* block) {
  const std::size_t count = qemu_plugin_tb_n_insns(block);
  qemu_plugin_insn* const first = qemu_plugin_tb_get_insn(block, 0);
  const std::uint64_t start = qemu_plugin_insn_vaddr(first);
  bool kernel = is_kernels(start), other = kernel;
  if (!kernel) {
    const auto page = std::make_pair(reinterpret_cast<std::uintptr_t>(qemu_plugin_insn_haddr(first)) / page_bytes,
                                     start / page_bytes);
    if (!state.armed) state.armed = access(state.out.c_str(), F_OK) == 0;
    if (!state.armed) state.system_pages.insert(page);
    other = state.system_pages.count(page) > 0;
  }
  if (other) {
    const std::uintptr_t address = kernel ? start & low_bits : low_bits;
    qemu_plugin_register_vcpu_insn_exec_cb(first, on_other, QEMU_PLUGIN_CB_NO_REGS,
                                           reinterpret_cast<void*>(count | address << address_shift));
    return;
  }
  const std::optional<Encoding> known = encoding_of(block);
  const Encoding encoding = known.value_or(Encoding::t32);
  Stretch* stretch = nullptr;
  for (std::size_t index = 0; index < count; ++index) {
    qemu_plugin_insn* const instruction = qemu_plugin_tb_get_insn(block, index);
    const std::uint32_t bits = bits_of(instruction, encoding);
    const Mark mark = mark_of(encoding, bits);
    if (mark != Mark::none) {
      stretch = nullptr;
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, mark == Mark::pass_begin ? on_begin : on_end,
                                             QEMU_PLUGIN_CB_NO_REGS, nullptr);
      continue;
    }
    if (stretch == nullptr) {
      stretch = &state.stretches.emplace_back();
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_stretch, QEMU_PLUGIN_CB_NO_REGS, stretch);
    }
    const bool simd = known ? is_simd(encoding, bits) : (is_simd(Encoding::t32, bits) || is_simd(Encoding::a32, raw_bits(instruction))) && vector_text(instruction);
    if (getenv("COUNT_DEBUG") && !known) {
     bool t=is_simd(Encoding::t32, bits), a=is_simd(Encoding::a32, raw_bits(instruction));
     if ((t||a)) fprintf(stderr, "ambig t%d a%d %08x %s\n", t, a, bits, qemu_plugin_insn_disas(instruction));
    }
    const std::uint64_t address = qemu_plugin_insn_vaddr(instruction);
    stretch->instructions.push_back({address, simd});
    stretch->simd += simd;
    stretch->end = address + qemu_plugin_insn_size(instruction);
    qemu_plugin_register_vcpu_mem_cb(instruction, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, nullptr);
  }
}

Cache cache_from(const std::map<std::string, std::string>& a, const std::string& name) {
  std::uint64_t size = 0, ways = 0, line = 0;
  char policy[8] = {};
  auto f = a.find(name);
  if (f == a.end() || std::sscanf(f->second.c_str(), "%" SCNu64 ":%" SCNu64 ":%" SCNu64 ":%7s", &size, &ways, &line, policy) != 4 || std::string(policy) != "lru")
    throw std::invalid_argument(name + "=SIZE_BYTES:WAYS:LINE_BYTES:lru is needed");
  return Cache(name, size, ways, line);
}

}  // namespace
}  // namespace tenpass

extern "C" TENPASS_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                                         char** argv) {
  using namespace tenpass;
  try {
    std::map<std::string, std::string> args;
    for (int i = 0; i < argc; ++i) {
      std::string a = argv[i];
      auto e = a.find('=');
      args[a.substr(0, e)] = e == std::string::npos ? "" : a.substr(e + 1);
    }
    state.wide = std::string(info->target_name) == "aarch64";
    state.out = args["out"];
    state.caches.emplace(cache_from(args, "l1i"), cache_from(args, "l1d"), cache_from(args, "l2"));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "count: %s\n", e.what());
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  return 0;
}
