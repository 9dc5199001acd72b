#include "time_of_day.hpp"

#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "failure.hpp"
#include "marks.h"
#include "system.hpp"

namespace tenpass {
namespace {

constexpr std::int64_t kGoesOn = -1;
std::atomic<std::int64_t> stopped_at_ns{kGoesOn};

constexpr std::int64_t kMostReadings = 1 << 20;  // of a thousand nodes, some hundred passes

struct Readings {
  System& system;
  std::int64_t epoch_ns;
  std::atomic<std::int64_t> next{0};
  std::unique_ptr<std::int64_t[]> ns{new std::int64_t[kMostReadings]};  // memory is got when it is written to

  std::int64_t read() {
    const std::int64_t number = next++;
    tenpass_mark_point();
    if (number < kMostReadings) ns[static_cast<std::size_t>(number)] = system.now_ns();
    return number;
  }
};
std::unique_ptr<Readings> held;
std::atomic<Readings*> numbered{nullptr};

std::int64_t real_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::int64_t time_of_day_ns() {
  if (Readings* const readings = numbered) return readings->epoch_ns + readings->read() * 1000;
  const std::int64_t stopped_ns = stopped_at_ns;
  return stopped_ns == kGoesOn ? real_ns() : stopped_ns;
}

}  // namespace

// A whole number of days, so that it is the same in each run.
void stop_time_of_day() { stopped_at_ns = std::int64_t{20'000} * 24 * 3600 * 1'000'000'000; }

void resume_time_of_day() {
  numbered = nullptr;
  stopped_at_ns = kGoesOn;
}

void number_readings(System& system, std::int64_t epoch_ns) {
  numbered = nullptr;
  held.reset(new Readings{system, epoch_ns});
  numbered = held.get();
}

std::int64_t read_numbered() { return held->read(); }

std::int64_t reading_ns(std::int64_t number) {
  if (number < 0 || number >= held->next) throw Failure(Status::run_failed, "the runtime tells of times that it did not read");
  if (number < kMostReadings) return held->ns[static_cast<std::size_t>(number)];
  throw Failure(Status::run_failed, "the clock was read more than " + std::to_string(kMostReadings) +
                                        " times; ask for fewer --profile-passes");
}

}  // namespace tenpass

// In place of libstdc++'s, for every library in the process: a program's own definition comes first (ld.so(8)). ONNX
// Runtime asks it twice a pass and divides what lies between in 64 bits, which on 32-bit ARM is a loop whose length
// depends on the value: 300 instructions more or less, of a network that needs 36,000. Its profiler asks it where nodes
// begin and end.
std::chrono::system_clock::time_point std::chrono::system_clock::now() noexcept {
  return time_point(std::chrono::nanoseconds(tenpass::time_of_day_ns()));
}
