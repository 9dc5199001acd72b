// What the runner asks of the operating system; the tests have one of their own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "thermal_zones.hpp"

namespace tenpass {

// What was counted between start_counters and stop_counters, of all threads. The counters were on for `running_ns` of
// `enabled_ns`, and the values are as read.
struct Counts {
  std::int64_t enabled_ns = 0;
  std::int64_t running_ns = 0;
  std::vector<std::pair<const char*, std::int64_t>> values;  // by their names on the wire
};

class System {
 public:
  System() = default;
  System(const System&) = delete;
  System& operator=(const System&) = delete;
  virtual ~System() = default;

  virtual std::int64_t now_ns() = 0;                 // CLOCK_MONOTONIC
  virtual std::optional<std::int64_t> cpu_ns() = 0;  // what all threads of this process have had of the CPUs so far

  // How long all threads of this process together have waited so far for a CPU that others had; nothing where the kernel
  // does not tell.
  virtual std::optional<std::int64_t> wait_ns() = 0;

  virtual void sleep_ms(int milliseconds) = 0;

  // For a device whose clock counts instructions, before the runtime is loaded: keeps out of passes, as far as the system
  // allows it, what is not the network's and differs from run to run. `sleep_ms` then ends just after a timer tick.
  virtual void be_repeatable() = 0;

  // Where passes begin, where the first of them is over, and where the last is: nothing happens there unless passes are to
  // be repeatable. The memory that is set aside for the rest of them does not count in peak_rss_bytes().
  virtual void begin_passes() = 0;
  virtual void first_pass_ended() = 0;
  virtual void end_passes() = 0;

  virtual std::optional<int> current_cpu() = 0;
  virtual std::optional<std::int64_t> clock_khz(int cpu) = 0;

  // The zones that count from now on; until then none does.
  virtual void watch_zones(const std::vector<ThermalZone>& zones) = 0;
  virtual std::optional<int> hottest_millicelsius() = 0;

  virtual std::int64_t peak_rss_bytes() = 0;
  virtual std::string machine() = 0;                    // uname -m
  virtual std::vector<std::string> cpu_features() = 0;  // by their names on the wire

  // Pins this process and the threads it will make (bit n is CPU n), to those of the CPUs that are not switched off.
  // Throws Failure(affinity) where there is none, or one cannot be had for another reason.
  virtual void pin_to(std::uint64_t cpu_mask) = 0;
  virtual std::uint64_t cpu_mask() = 0;  // where this process may run, of the CPUs below 64

  // Counts this thread, and those that it makes from then on. Why it cannot, if it cannot. Until then, and where it
  // cannot, the three that follow do nothing.
  virtual std::optional<std::string> open_counters() = 0;
  virtual void start_counters() = 0;  // allocates nothing, as the next
  virtual void stop_counters() = 0;
  virtual std::optional<Counts> counts() = 0;

  // Ends this process after that time, whatever it is doing then.
  virtual void end_after(unsigned seconds) = 0;
};

}  // namespace tenpass
