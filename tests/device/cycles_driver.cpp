// Lets a test drive the machine of device/emulator/ without an emulator:
//     cycles_driver decode            "a32|t32|a64 BITS SIZE_BYTES" a line on stdin; on stdout kind, units, and the
//                                     registers that are read, read late, written and moved, each as core/vector
//     cycles_driver CORE.core CHIP    CHIP: L2_BYTES DRAM_CYCLES LINE_CYCLES STORE_LINE_CYCLES. "ENCODING ROUNDS START
//                                     STRIDE BYTES WRAP BITS..." a line on stdin: a loop of these instructions, each of
//                                     whose accesses is to BYTES, STRIDE after the one before, from START again after WRAP;
//                                     on stdout the cycles by what they go to, of ROUNDS rounds after as many others
#include <iostream>
#include <sstream>
#include <string>

#include "model/machine.hpp"

using namespace tenpass;

Encoding encoding_called(const std::string& name) {
  return name == "a64" ? Encoding::a64 : name == "a32" ? Encoding::a32 : Encoding::t32;
}

void show(const arm::Registers& set) { std::cout << ' ' << std::hex << set.core << '/' << set.vector << std::dec; }

int decode() {
  std::string name, bits;
  unsigned size = 0;
  while (std::cin >> name >> bits >> size) {
    const auto one = arm::decode(encoding_called(name), static_cast<std::uint32_t>(std::stoul(bits, nullptr, 16)), size);
    std::cout << arm::name_of(one.kind) << ' ' << unsigned{one.units};
    for (const arm::Registers& set : {one.reads, one.late_reads, one.writes, one.moves}) show(set);
    std::cout << '\n';
  }
  return 0;
}

struct Loop {
  std::uint64_t rounds = 0, start = 0, stride = 0, bytes = 0, wrap = 0;
  Code code;
};

Loop loop_from(const std::string& line) {
  std::istringstream words(line);
  std::string encoding, bits;
  Loop loop;
  words >> encoding >> loop.rounds >> loop.start >> loop.stride >> loop.bytes >> loop.wrap;
  loop.code.start = loop.code.end = 0x10000;
  while (words >> bits) {
    const unsigned size = bits.size() > 4 ? 4 : 2;
    loop.code.instructions.push_back(
        arm::decode(encoding_called(encoding), static_cast<std::uint32_t>(std::stoul(bits, nullptr, 16)), size));
    loop.code.end += size;
  }
  return loop;
}

void pass(Machine& machine, Loop& loop, std::vector<AccessPoint>& points) {
  std::uint64_t offset = 0;
  for (std::uint64_t round = 0; round < loop.rounds; ++round) {
    machine.enter(loop.code);
    for (AccessPoint& point : points) {
      machine.access(point, loop.start + offset, loop.start + offset + loop.bytes - 1);
      offset = loop.wrap ? (offset + loop.stride) % loop.wrap : offset + loop.stride;
    }
  }
}

int main(int count, char** arguments) {
  if (std::string(arguments[1]) == "decode") return decode();
  try {
    const Core core = read_core(arguments[1]);
    Chip chip;
    const std::uint64_t line = core.count("fp_pipes") == 2 ? 64 : 32;
    chip.l1i = {32768, 2, line};
    chip.l1d = {32768, 4, 64};
    chip.l2 = {count > 2 ? std::stoull(arguments[2]) : 262144, 8, 64};
    chip.dram_cycles = count > 3 ? std::stod(arguments[3]) : 200;
    chip.line_cycles = count > 4 ? std::stod(arguments[4]) : 40;
    chip.write_line_cycles = chip.store_line_cycles = count > 5 ? std::stod(arguments[5]) : 25;
    chip.l2_cycles = count > 6 ? static_cast<unsigned>(std::stoul(arguments[6])) : 14;
    chip.l2_line_cycles = 4;
    std::string text;
    while (std::getline(std::cin, text)) {
      Loop loop = loop_from(text);
      std::vector<AccessPoint> points = access_points(loop.code.instructions);
      Machine machine(core, chip);
      machine.clear();
      pass(machine, loop, points);
      machine.begin();
      pass(machine, loop, points);
      machine.leave();
      for (unsigned loss = 0; loss < losses; ++loss) std::cout << machine.cycles()[loss] << ' ';
      std::cout << '\n';
    }
  } catch (const std::invalid_argument& error) {
    std::cout << error.what() << '\n';
    return 1;
  }
  return 0;
}
