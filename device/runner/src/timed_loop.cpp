#include "timed_loop.hpp"

#include <cstdlib>

#include "marks.h"

namespace tenpass {
namespace {

// Nothing where one is unknown, or a thread has ended in between and taken its share along.
std::optional<std::int64_t> difference(const std::optional<std::int64_t>& start, const std::optional<std::int64_t>& stop) {
  if (!start || !stop || *stop < *start) return std::nullopt;
  return *stop - *start;
}

// Its time in nanoseconds.
std::int64_t timed_pass(const char* phase, int index, int settle_ms, Engine& engine, System& system, Events& events) {
  if (settle_ms > 0) system.sleep_ms(settle_ms);
  engine.prepare_run();
  // Asks the kernel, which now_ns() need not: outside both the counters and the clock.
  const auto wait_start_ns = system.wait_ns();
  const auto cpu_start_ns = system.cpu_ns();
  system.start_counters();
  const std::int64_t start_ns = system.now_ns();
  tenpass_mark_begin();
  engine.run();  // alone between the two clock reads, but for the marks, an instruction each
  tenpass_mark_end();
  const std::int64_t stop_ns = system.now_ns();
  system.stop_counters();
  const auto cpu_stop_ns = system.cpu_ns();
  const auto wait_stop_ns = system.wait_ns();

  const std::optional<int> cpu = system.current_cpu();
  const auto khz = cpu ? system.clock_khz(*cpu) : std::nullopt;
  const auto millicelsius = system.hottest_millicelsius();
  const auto cpu_ns = difference(cpu_start_ns, cpu_stop_ns), wait_ns = difference(wait_start_ns, wait_stop_ns);
  events.pass({phase, index, stop_ns - start_ns, cpu_ns, wait_ns, cpu, khz, millicelsius, system.counts()});
  return stop_ns - start_ns;
}

bool have_settled(std::int64_t before_ns, std::int64_t last_ns) {
  return std::abs(last_ns - before_ns) <= before_ns / 1000;
}

}  // namespace

WarmUp warm_up(int passes, int most_more, int settle_ms, Engine& engine, System& system, Events& events) {
  WarmUp done{0, most_more > 0 ? std::optional(false) : std::nullopt};
  std::optional<std::int64_t> before_ns;
  while (done.passes < passes + most_more && !(done.passes >= passes && done.settled.value_or(true))) {
    const std::int64_t ns = timed_pass("warmup", done.passes, settle_ms, engine, system, events);
    if (++done.passes == 1) system.first_pass_ended();
    if (done.settled) done.settled = before_ns && have_settled(*before_ns, ns);
    before_ns = ns;
  }
  return done;
}

void timed_loop(const char* phase, int passes, int settle_ms, Engine& engine, System& system, Events& events) {
  for (int index = 0; index < passes; ++index) timed_pass(phase, index, settle_ms, engine, system, events);
}

}  // namespace tenpass
