// The CPU's counters, by perf_event_open(2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "descriptor.hpp"
#include "system.hpp"

namespace tenpass {

// One thing to count: its name on the wire, and perf_event_attr's type and config for it.
struct PerfEvent {
  const char* name;
  std::uint32_t type;
  std::uint64_t config;
};

// Those of PROTOCOL.md, the more important first: a CPU that cannot count them all at once counts the first.
const std::vector<PerfEvent>& cpu_events();

// One group of counters for this thread and all that it makes from now on; those that cannot be had are left out.
class PerfCounters {
 public:
  explicit PerfCounters(const std::vector<PerfEvent>& events);

  // Why there is no counter at all, and what helps; nothing where there is one.
  const std::optional<std::string>& error() const { return error_; }

  // Neither allocates nor does more than one system call.
  void start();
  void stop();

  // What was counted since the last call, to be made while they are stopped; nothing if the kernel does not tell.
  std::optional<Counts> counts();

 private:
  struct Reading {  // as the kernel writes it (perf_event_open(2), "Reading results")
    std::uint64_t value, enabled_ns, running_ns;
  };
  struct Counter {
    const char* name;
    Descriptor descriptor;
    Reading before;
  };

  std::vector<Counter> counters_;  // the first leads the group
  std::optional<std::string> error_;
};

}  // namespace tenpass
