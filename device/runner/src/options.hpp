// The command line (PROTOCOL.md, "Call").
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "engine.hpp"
#include "thermal_zones.hpp"

namespace tenpass {

// What --provider may be; what a runtime really has, its engine says.
inline const std::vector<std::string> kProviders{"cpu", "xnnpack", "nnapi"};

struct Input {
  std::string path;
  ElementType type;
  Shape shape;
};

struct Options {
  std::vector<std::string> models;
  std::vector<Input> inputs;  // in the order of the model's
  std::string output;
  std::string provider = "cpu";
  int threads = 1;
  std::optional<std::uint64_t> cpu_mask;
  std::vector<ThermalZone> zones;
  int warmup = 1;
  int more_warmup = 0;
  int passes = 10;
  int settle_ms = 0;
  bool repeatable = false;
  bool counters = false;
  int profile_passes = 0;
  unsigned deadline_seconds = 0;  // 0: none
};

// Nothing if --help was asked for and has been printed. Throws Failure(usage).
std::optional<Options> parse_options(int argc, const char* const* argv, std::ostream& help);

}  // namespace tenpass
