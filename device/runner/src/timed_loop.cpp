#include "timed_loop.hpp"

#include "marks.hpp"

namespace tenpass {

void timed_loop(const char* phase, int passes, int settle_ms, Engine& engine, System& system, Events& events) {
  for (int index = 0; index < passes; ++index) {
    if (settle_ms > 0) system.sleep_ms(settle_ms);
    engine.prepare_run();
    // Asks the kernel, which now_ns() need not: outside both the counters and the clock.
    const auto cpu_start_ns = system.cpu_ns();
    system.start_counters();
    const std::int64_t start_ns = system.now_ns();
    mark_pass_begin();
    engine.run();  // alone between the two clock reads, but for the marks, an instruction each
    mark_pass_end();
    const std::int64_t stop_ns = system.now_ns();
    system.stop_counters();
    const auto cpu_stop_ns = system.cpu_ns();

    const std::optional<int> cpu = system.current_cpu();
    const auto khz = cpu ? system.clock_khz(*cpu) : std::nullopt;
    const auto millicelsius = system.hottest_millicelsius();
    const auto cpu_ns =
        cpu_start_ns && cpu_stop_ns ? std::optional(*cpu_stop_ns - *cpu_start_ns) : std::nullopt;
    events.pass({phase, index, stop_ns - start_ns, cpu_ns, cpu, khz, millicelsius, system.counts()});
  }
}

}  // namespace tenpass
