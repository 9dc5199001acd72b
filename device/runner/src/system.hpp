// What the runner asks of the operating system; the tests have one of their own.
#pragma once

#include <cstdint>
#include <optional>

namespace tenpass {

class System {
 public:
  System() = default;
  System(const System&) = delete;
  System& operator=(const System&) = delete;
  virtual ~System() = default;

  virtual std::int64_t now_ns() = 0;  // CLOCK_MONOTONIC

  virtual void sleep_ms(int milliseconds) = 0;

  virtual std::optional<int> current_cpu() = 0;
  virtual std::optional<std::int64_t> clock_khz(int cpu) = 0;
  virtual std::int64_t peak_rss_bytes() = 0;

  // Pins this process and the threads it will make (bit n is CPU n). Throws Failure(affinity).
  virtual void pin_to(std::uint64_t cpu_mask) = 0;

  // Ends this process after that time, whatever it is doing then.
  virtual void end_after(unsigned seconds) = 0;
};

}  // namespace tenpass
