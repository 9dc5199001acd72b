#include "time_of_day.hpp"

#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>

namespace tenpass {
namespace {

constexpr std::int64_t kGoesOn = -1;
std::atomic<std::int64_t> stopped_at_ns{kGoesOn};

std::int64_t real_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

// A whole number of days, so that it is the same in each run.
void stop_time_of_day() { stopped_at_ns = std::int64_t{20'000} * 24 * 3600 * 1'000'000'000; }

void resume_time_of_day() { stopped_at_ns = kGoesOn; }

}  // namespace tenpass

// In place of libstdc++'s, for every library in the process: a program's own definition comes first (ld.so(8)). ONNX
// Runtime asks it twice a pass and divides what lies between in 64 bits, which on 32-bit ARM is a loop whose length
// depends on the value: 300 instructions more or less, of a network that needs 36,000.
std::chrono::system_clock::time_point std::chrono::system_clock::now() noexcept {
  const std::int64_t stopped_ns = tenpass::stopped_at_ns;
  return time_point(std::chrono::nanoseconds(stopped_ns == tenpass::kGoesOn ? tenpass::real_ns() : stopped_ns));
}
