// A core as a table: what each kind of instruction takes, and the core's own figures. ../cores/ has one file a core.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

#include "../arm/instruction.hpp"

namespace tenpass {

constexpr unsigned kinds = static_cast<unsigned>(arm::Kind::unknown) + 1;

// What an instruction keeps busy. `issue` is the way into all of them: nothing else starts meanwhile. There is an `alu`
// for each slot, and of `fp`, which has vectors too, one for 64 bits or two (set fp_pipes).
enum class Pipe : std::uint8_t { issue, alu, multiply, divide, memory, fp, fp_upper };
constexpr unsigned pipes = 7;

struct Timing {
  Pipe pipe = Pipe::issue;
  std::uint8_t cycles = 1;  // how long the pipe is busy, ...
  float per_unit = 0;       // ... and that much longer for each unit
  std::uint8_t latency = 1;                      // until what it writes can be read
  std::uint8_t late = 0;                         // how much later than the others late_reads are read
  bool first = false, second = false;            // may start in one cycle with a `second` behind it, or as one
  bool alone_if_wide = false;                    // ... but for those of more than one unit

  unsigned busy(unsigned units) const { return cycles + static_cast<unsigned>(std::ceil(per_unit * static_cast<float>(units))); }
  bool may_be_first(unsigned units) const { return first && !(alone_if_wide && units > 1); }
  bool may_be_second(unsigned units) const { return second && !(alone_if_wide && units > 1); }
};

struct Core {
  std::array<Timing, kinds> timings;
  std::map<std::string, double> figures;

  double figure(const std::string& name) const {
    const auto found = figures.find(name);
    if (found == figures.end()) throw std::invalid_argument("the core's table has no line: set " + name);
    return found->second;
  }
  unsigned count(const std::string& name) const { return static_cast<unsigned>(figure(name)); }
  const Timing& of(arm::Kind kind) const { return timings[static_cast<unsigned>(kind)]; }
};

namespace core_table {

inline Pipe pipe_called(const std::string& name) {
  const char* const names[pipes] = {"issue", "alu", "multiply", "divide", "memory", "fp", "fp_upper"};
  for (unsigned index = 0; index < pipes; ++index)
    if (name == names[index]) return static_cast<Pipe>(index);
  throw std::invalid_argument("there is no pipe " + name);
}

inline unsigned kind_called(const std::string& name) {
  for (unsigned index = 0; index < kinds; ++index)
    if (name == arm::name_of(static_cast<arm::Kind>(index))) return index;
  throw std::invalid_argument("there is no kind of instruction " + name);
}

// A line of the table: "set NAME NUMBER", or "KIND PIPE CYCLES+PER_UNIT LATENCY LATE PAIRS".
inline void read_line(Core& core, std::array<bool, kinds>& known, const std::string& text) {
  std::istringstream words(text);
  std::string name, pipe, pairs;
  words >> name;
  if (name == "set") {
    double value = 0;
    words >> name >> value;
    if (!words) throw std::invalid_argument("set NAME NUMBER is expected");
    core.figures[name] = value;
    return;
  }
  unsigned cycles = 0, latency = 0, late = 0;
  float per_unit = 0;
  char plus = 0;
  words >> pipe >> cycles >> plus >> per_unit >> latency >> late >> pairs;
  if (!words || plus != '+' || (pairs != "-" && pairs.find_first_not_of("FSfs") != std::string::npos))
    throw std::invalid_argument("KIND PIPE CYCLES+PER_UNIT LATENCY LATE PAIRS is expected");
  const unsigned kind = kind_called(name);
  Timing& timing = core.timings[kind];
  timing.pipe = pipe_called(pipe);
  timing.cycles = static_cast<std::uint8_t>(cycles);
  timing.per_unit = per_unit;
  timing.latency = static_cast<std::uint8_t>(latency);
  timing.late = static_cast<std::uint8_t>(late);
  timing.first = pairs.find_first_of("Ff") != std::string::npos;
  timing.second = pairs.find_first_of("Ss") != std::string::npos;
  timing.alone_if_wide = pairs.find_first_of("fs") != std::string::npos;
  known[kind] = true;
}

}  // namespace core_table

// Throws std::invalid_argument with the line for what is no table, and for a kind that has no line.
inline Core read_core(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::invalid_argument("cannot read the core's table " + path);
  Core core;
  std::array<bool, kinds> known{};
  std::string line;
  for (unsigned number = 1; std::getline(file, line); ++number) {
    const std::string text = line.substr(0, line.find('#'));
    if (text.find_first_not_of(" \t") == std::string::npos) continue;
    try {
      core_table::read_line(core, known, text);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(path + ":" + std::to_string(number) + ": " + error.what());
    }
  }
  for (unsigned kind = 0; kind < kinds; ++kind)
    if (!known[kind])
      throw std::invalid_argument(path + " has no line for " + arm::name_of(static_cast<arm::Kind>(kind)));
  return core;
}

}  // namespace tenpass
