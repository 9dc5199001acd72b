// A plugin for QEMU that counts what a runner executes between the marks of ../runner/src/marks.h: instructions, SIMD
// instructions, and the misses of simulated caches. README.md says what exactly is counted, and why it repeats.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "arm_instructions.hpp"
#include "cache.hpp"
#include "model/machine.hpp"
#include "qemu_plugin.hpp"

extern "C" {
TENPASS_PLUGIN_EXPORT int qemu_plugin_version = TENPASS_PLUGIN_API;  // QEMU refuses one that it does not support
TENPASS_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv);
}

namespace tenpass {
namespace {

// Instructions of a runner that are executed one after the other, none of them a mark: a translation block, or its part
// before or after a mark.
struct Stretch {
  struct Instruction {
    std::uint64_t address;
    bool simd;
  };
  std::vector<Instruction> instructions;
  std::uint64_t simd = 0;  // how many of them
  std::uint64_t end = 0;   // the address behind the last one
  Code code;                        // for the machine that times it
  std::vector<AccessPoint> points;  // likewise; callbacks point to them

  std::uint64_t start() const { return instructions.front().address; }
};

// A block that is not a runner's: how many instructions it has, and whether it is where an exception leads that an
// instruction took, to be executed again.
struct OtherBlock {
  std::uint64_t instructions = 0;
  bool is_vector_of_aborts = false;
  Code code;                        // for the machine that times it
  std::vector<AccessPoint> points;  // likewise
};

constexpr std::uintptr_t page_bytes = 4096;

// The one core's. QEMU calls a plugin in the core's thread.
struct State {
  bool wide = false;  // a 64-bit guest
  std::string out;
  std::optional<Hierarchy> caches;   // where it counts alone
  std::optional<Machine> machine;    // where it times, too
  // ... and one for the kernel's code: where its data lies differs from boot to boot, which is not to move the runner's.
  std::optional<Machine> others_machine;

  // Whose code is whose, decided when it is translated.
  bool kernel_is_up = false;
  bool armed = false;                                // `out` is there
  std::unordered_set<std::uintptr_t> system_pages;   // of this machine's memory
  std::unordered_map<std::uint64_t, Encoding> encodings;  // by page: of the latest block without doubt; A64: there was none
  std::deque<Stretch> stretches;                     // QEMU's callbacks point to them: they stay
  std::deque<OtherBlock> other_blocks;               // likewise

  // The pass that is being counted.
  bool between_marks = false;
  std::uint64_t instructions = 0, simd = 0, others = 0;
  std::string points;  // of marks.h, as JSON: the cycles up to each
  const Stretch* latest = nullptr;
  bool away = false;     // others have been executing since `latest`
  bool aborted = false;  // ... and an exception that an instruction of it took led there
};
State state;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "count: %s\n", what.c_str());
  std::exit(1);
}

// --- what is executed ---------------------------------------------------------------------------------

// After an abort the kernel lets the instruction be executed again: it and those behind it in `latest` were counted, but
// not executed.
void take_back_from(std::uint64_t address) {
  const auto& counted = state.latest->instructions;
  for (auto last = counted.rbegin(); last != counted.rend() && last->address >= address; ++last) {
    --state.instructions;
    state.simd -= last->simd;
  }
}

void note_stretch(const Stretch& stretch) {
  if (state.away) {
    const bool resumed = state.latest && state.latest->start() <= stretch.start() && stretch.start() < state.latest->end;
    if (state.aborted && resumed) take_back_from(stretch.start());
    state.away = false;
  }
  state.latest = &stretch;
  state.instructions += stretch.instructions.size();
  state.simd += stretch.simd;
}

void on_stretch(unsigned, void* userdata) {
  if (!state.between_marks) return;
  const Stretch& stretch = *static_cast<const Stretch*>(userdata);
  note_stretch(stretch);
  state.caches->fetch(stretch.start(), stretch.end - 1);
}

void on_timed_stretch(unsigned, void* userdata) {
  if (!state.between_marks) return;
  Stretch& stretch = *static_cast<Stretch*>(userdata);
  note_stretch(stretch);
  state.machine->enter(stretch.code);
}

void on_timed_access(unsigned, qemu_plugin_meminfo_t info, std::uint64_t address, void* userdata) {
  if (!state.between_marks) return;
  AccessPoint& point = *static_cast<AccessPoint*>(userdata);
  if (point.bytes == 0) point.bytes = std::uint64_t{1} << qemu_plugin_mem_size_shift(info);
  state.machine->access(point, address, address + point.bytes - 1);
}

void on_others_access(unsigned, qemu_plugin_meminfo_t info, std::uint64_t address, void* userdata) {
  if (!state.between_marks) return;
  const std::uint64_t last = address + (std::uint64_t{1} << qemu_plugin_mem_size_shift(info)) - 1;
  state.others_machine->access(*static_cast<AccessPoint*>(userdata), address, last);
}

void on_access(unsigned, qemu_plugin_meminfo_t info, std::uint64_t address, void*) {
  if (!state.between_marks) return;
  state.caches->access(address, address + (std::uint64_t{1} << qemu_plugin_mem_size_shift(info)) - 1);
}

void note_other(const OtherBlock& block) {
  if (!state.away) {
    state.away = true;
    state.aborted = block.is_vector_of_aborts;
  }
  state.others += block.instructions;
}

void on_other(unsigned, void* userdata) {
  if (state.between_marks) note_other(*static_cast<const OtherBlock*>(userdata));
}

void on_timed_other(unsigned, void* userdata) {
  if (!state.between_marks) return;
  OtherBlock& block = *static_cast<OtherBlock*>(userdata);
  if (!state.away) state.others_machine->find_caches_empty();
  note_other(block);
  state.others_machine->enter(block.code);
}

void on_begin(unsigned, void*) {
  struct stat status {};
  if (stat(state.out.c_str(), &status) != 0) return;
  if (state.machine) {
    for (Machine* machine : {&*state.machine, &*state.others_machine}) {
      if (status.st_size == 0) machine->clear();
      machine->begin();
    }
  } else {
    if (status.st_size == 0) state.caches->clear();
    state.caches->misses = {};
  }
  state.instructions = state.simd = state.others = 0;
  state.points.clear();
  state.latest = nullptr;
  state.away = false;
  state.between_marks = true;
}

// "1,2,3": the cycles so far, by what they went to.
Cycles cycles_of(unsigned loss) { return state.machine->cycles()[loss] + state.others_machine->cycles()[loss]; }

std::string cycles_so_far() {
  std::string text;
  for (unsigned loss = 0; loss < losses; ++loss) text += (loss ? "," : "") + std::to_string(cycles_of(loss));
  return text;
}

void on_point(unsigned, void*) {
  if (!state.between_marks || !state.machine) return;
  state.points += (state.points.empty() ? "[" : ",[") + cycles_so_far() + "]";
}

void on_end(unsigned, void*) {
  if (!state.between_marks) return;
  state.between_marks = false;
  std::string cycles;
  Misses misses;
  if (state.machine) {
    state.machine->leave();
    state.others_machine->leave();
    misses = {state.machine->misses().l1i, state.machine->misses().l1d, state.machine->misses().l2};
    cycles = ",\"cycles\":{";
    for (unsigned loss = 0; loss < losses; ++loss)
      cycles += (loss ? ",\"" : "\"") + std::string(loss_names[loss]) + "\":" + std::to_string(cycles_of(loss));
    cycles += "}";
    if (!state.points.empty()) cycles += ",\"points\":[" + state.points + "]";
  } else {
    misses = state.caches->misses;
  }
  const int file = open(state.out.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  const int written = dprintf(file,
                              "{\"instructions\":%" PRIu64 ",\"simd_instructions\":%" PRIu64 ",\"l1i_misses\":%" PRIu64
                              ",\"l1d_misses\":%" PRIu64 ",\"l2_misses\":%" PRIu64 ",\"other_instructions\":%" PRIu64
                              "%s}\n",
                              state.instructions, state.simd, misses.l1i, misses.l1d, misses.l2, state.others, cycles.c_str());
  if (written < 0) die("cannot write to " + state.out + ": " + std::strerror(errno));
  close(file);
}

// --- what is translated -------------------------------------------------------------------------------

// Where Linux's user space ends: on 32-bit Arm below the kernel's modules, 16 MiB below PAGE_OFFSET (arch/arm/Kconfig,
// VMSPLIT_3G; Documentation/arch/arm/memory.rst), on 64-bit Arm at half of all addresses (arch/arm64/memory.rst).
bool is_kernels(std::uint64_t address) {
  return address >= (state.wide ? std::uint64_t{1} << 63 : std::uint64_t{0xbf000000});
}

// Whether an exception vector is for what an instruction of user space took, and is executed again after. Arm ARM:
// AArch32 (G1.12.3) undefined instruction, prefetch abort and data abort; AArch64 (D1.3.1.5) any synchronous exception
// from a lower Exception level: SVC among them, which does not return into the stretch that it ends.
bool is_vector_of_aborts(std::uint64_t address) {
  if (state.wide) return (address & 0x7ff) == 0x400;
  const std::uint64_t vector = address & 0x1f;
  return vector == 0x04 || vector == 0x0c || vector == 0x10;
}

// Whether code in user space is a runner's. What was executed there before there was a runner is the system's: init, the
// shell, adbd, and the vDSO, which is the kernel's. Their pages stay where they are for as long as the board is up. What
// has low addresses before there is a kernel at high ones is the kernel's loader, whose pages are used again.
bool is_runners(const qemu_plugin_insn* instruction) {
  const std::uintptr_t page = reinterpret_cast<std::uintptr_t>(qemu_plugin_insn_haddr(instruction)) / page_bytes;
  state.armed = state.armed || access(state.out.c_str(), F_OK) == 0;
  if (state.armed) return state.system_pages.count(page) == 0;
  if (state.kernel_is_up) state.system_pages.insert(page);
  return false;
}

// An instruction's bytes as a little-endian number.
std::uint32_t bytes_of(const qemu_plugin_insn* instruction) {
  unsigned char bytes[4] = {};
#if TENPASS_PLUGIN_API < 3
  std::memcpy(bytes, qemu_plugin_insn_data(instruction), qemu_plugin_insn_size(instruction));
#else
  qemu_plugin_insn_data(instruction, bytes, sizeof bytes);
#endif
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
}

// Its bits as the manual draws them.
std::uint32_t bits_of(const qemu_plugin_insn* instruction, Encoding encoding) {
  const std::uint32_t bytes = bytes_of(instruction);
  const bool two_halfwords = encoding == Encoding::t32 && qemu_plugin_insn_size(instruction) == 4;
  return two_halfwords ? bytes << 16 | bytes >> 16 : bytes;
}

// How a block is encoded. The plugin interface does not tell, but 32-bit T32 instructions begin with a halfword of 0xe800
// or more (Arm ARM, F3.1), and A32's have all the same size and alignment. Where both are possible, a block is taken to be
// as the code beside it; where nothing is known of that, to be A32 if all of it has A32's condition "always" or none.
Encoding encoding_of(const qemu_plugin_tb* block) {
  if (state.wide) return Encoding::a64;
  const std::uint64_t page = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(block, 0)) / page_bytes;
  Encoding& beside = state.encodings.try_emplace(page, Encoding::a64).first->second;
  bool may_be_a32 = true;
  for (std::size_t index = 0; index < qemu_plugin_tb_n_insns(block); ++index) {
    const qemu_plugin_insn* const instruction = qemu_plugin_tb_get_insn(block, index);
    if (qemu_plugin_insn_size(instruction) == 2 || qemu_plugin_insn_vaddr(instruction) % 4 != 0) return beside = Encoding::t32;
    const std::uint32_t bytes = bytes_of(instruction);
    if ((bytes & 0xffff) < 0xe800) return beside = Encoding::a32;
    may_be_a32 = may_be_a32 && bytes >> 28 >= 0xe;
  }
  if (beside != Encoding::a64) return beside;
  return may_be_a32 ? Encoding::a32 : Encoding::t32;
}

// What a block has that is timed: its code, whose accesses the machine is to hear of.
struct Timed {
  Code* code;
  std::vector<AccessPoint>* points;
  std::vector<qemu_plugin_insn*> accessing;  // in order

  void add(qemu_plugin_insn* instruction, Encoding encoding) {
    const std::uint64_t address = qemu_plugin_insn_vaddr(instruction);
    const std::size_t size = qemu_plugin_insn_size(instruction);
    if (code->instructions.empty()) code->start = address;
    code->end = address + size;
    code->instructions.push_back(arm::decode(encoding, bits_of(instruction, encoding), static_cast<unsigned>(size)));
    const arm::Access access = code->instructions.back().access;
    if (access == arm::Access::load || access == arm::Access::store) accessing.push_back(instruction);
  }

  // Now that the code is whole, and stays where it is: callbacks point to its points.
  void listen() {
    *points = access_points(code->instructions);
    for (std::size_t place = 0; place < accessing.size(); ++place)
      qemu_plugin_register_vcpu_mem_cb(accessing[place], code->is_others ? on_others_access : on_timed_access,
                                       QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, &(*points)[place]);
  }
};

void instrument_runners(const qemu_plugin_tb* block) {
  const Encoding encoding = encoding_of(block);
  Stretch* stretch = nullptr;
  std::vector<Timed> timed;  // each stretch, in order
  for (std::size_t index = 0; index < qemu_plugin_tb_n_insns(block); ++index) {
    qemu_plugin_insn* const instruction = qemu_plugin_tb_get_insn(block, index);
    const Mark mark = mark_of(encoding, bits_of(instruction, encoding));
    if (mark != Mark::none) {
      const auto on_mark = mark == Mark::pass_begin ? on_begin : mark == Mark::pass_end ? on_end : on_point;
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_mark, QEMU_PLUGIN_CB_NO_REGS, nullptr);
      stretch = nullptr;
      continue;
    }
    if (stretch == nullptr) {
      stretch = &state.stretches.emplace_back();
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, state.machine ? on_timed_stretch : on_stretch,
                                             QEMU_PLUGIN_CB_NO_REGS, stretch);
      timed.push_back({&stretch->code, &stretch->points, {}});
    }
    const std::uint64_t address = qemu_plugin_insn_vaddr(instruction);
    const bool simd = is_simd(encoding, bits_of(instruction, encoding));
    stretch->instructions.push_back({address, simd});
    stretch->simd += simd;
    stretch->end = address + qemu_plugin_insn_size(instruction);
    if (state.machine)
      timed.back().add(instruction, encoding);
    else
      qemu_plugin_register_vcpu_mem_cb(instruction, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, nullptr);
  }
  if (state.machine)
    for (Timed& one : timed) one.listen();
}

void instrument_others(const qemu_plugin_tb* block, bool leads_to_kernel) {
  qemu_plugin_insn* const first = qemu_plugin_tb_get_insn(block, 0);
  OtherBlock& other = state.other_blocks.emplace_back();
  other.instructions = qemu_plugin_tb_n_insns(block);
  other.is_vector_of_aborts = leads_to_kernel;
  qemu_plugin_register_vcpu_insn_exec_cb(first, state.machine ? on_timed_other : on_other, QEMU_PLUGIN_CB_NO_REGS, &other);
  if (!state.machine) return;
  const Encoding encoding = encoding_of(block);
  Timed timed{&other.code, &other.points, {}};
  other.code.is_others = true;
  for (std::size_t index = 0; index < other.instructions; ++index) timed.add(qemu_plugin_tb_get_insn(block, index), encoding);
  timed.listen();
}

void on_translation(qemu_plugin_id_t, qemu_plugin_tb* block) {
  qemu_plugin_insn* const first = qemu_plugin_tb_get_insn(block, 0);
  const std::uint64_t address = qemu_plugin_insn_vaddr(first);
  const bool kernels = is_kernels(address);
  state.kernel_is_up = state.kernel_is_up || kernels;
  if (!kernels && is_runners(first)) return instrument_runners(block);
  instrument_others(block, kernels && is_vector_of_aborts(address));
}

// --- how it is set up ---------------------------------------------------------------------------------

using Arguments = std::map<std::string, std::string>;

const std::string& argument(const Arguments& arguments, const std::string& name) {
  const auto found = arguments.find(name);
  if (found == arguments.end()) throw std::invalid_argument("the argument " + name + "=... is missing");
  return found->second;
}

// From "SIZE_BYTES:WAYS:LINE_BYTES:POLICY".
CacheSize size_of(const Arguments& arguments, const std::string& name) {
  const std::string& value = argument(arguments, name);
  CacheSize size;
  int read = 0;
  std::sscanf(value.c_str(), "%" SCNu64 ":%" SCNu64 ":%" SCNu64 ":%n", &size.bytes, &size.ways, &size.line_bytes, &read);
  const std::string policy = read == 0 ? "" : value.substr(static_cast<std::size_t>(read));
  if (policy != "lru" && policy != "random")
    throw std::invalid_argument(name + "=" + value + ": SIZE_BYTES:WAYS:LINE_BYTES:lru, or :random, is expected");
  size.random = policy == "random";
  return size;
}

Cache cache(const Arguments& arguments, const std::string& name) {
  const CacheSize size = size_of(arguments, name);
  return Cache(name, size.bytes, size.ways, size.line_bytes);
}

double number(const Arguments& arguments, const std::string& name) {
  const std::string& value = argument(arguments, name);
  char* end = nullptr;
  const double read = std::strtod(value.c_str(), &end);
  if (value.empty() || *end != '\0' || !(read > 0)) throw std::invalid_argument(name + "=" + value + ": a number is expected");
  return read;
}

void set_up(const qemu_info_t& info, const Arguments& arguments) {
  const std::string target = info.target_name;
  if (target != "arm" && target != "aarch64") throw std::invalid_argument("arm and aarch64 are known, not " + target);
  if (!info.system_emulation || info.system.max_vcpus != 1)
    throw std::invalid_argument("a whole system with one core is needed");
  state.wide = target == "aarch64";
  state.out = argument(arguments, "out");
  if (arguments.count("core") == 0) {
    state.caches.emplace(cache(arguments, "l1i"), cache(arguments, "l1d"), cache(arguments, "l2"));
    return;
  }
  Chip chip;
  chip.l1i = size_of(arguments, "l1i");
  chip.l1d = size_of(arguments, "l1d");
  chip.l2 = size_of(arguments, "l2");
  const double ghz = number(arguments, "clock_mhz") / 1000;
  chip.dram_cycles = number(arguments, "dram_ns") * ghz;
  chip.line_cycles = number(arguments, "line_ns") * ghz;
  chip.write_line_cycles = number(arguments, "write_line_ns") * ghz;
  chip.store_line_cycles = number(arguments, "store_line_ns") * ghz;
  chip.l2_cycles = static_cast<unsigned>(number(arguments, "l2_cycles"));
  chip.l2_line_cycles = static_cast<unsigned>(number(arguments, "l2_line_cycles"));
  state.machine.emplace(read_core(argument(arguments, "core")), chip);
  state.others_machine.emplace(read_core(argument(arguments, "core")), chip);
}

}  // namespace
}  // namespace tenpass

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  tenpass::Arguments arguments;
  for (int index = 0; index < argc; ++index) {
    const std::string text = argv[index];
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) arguments[text.substr(0, equals)] = text.substr(equals + 1);
  }
  try {
    tenpass::set_up(*info, arguments);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "count: %s\n", error.what());
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, tenpass::on_translation);
  return 0;
}
