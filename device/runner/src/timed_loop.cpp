#include "timed_loop.hpp"

#include "marks.hpp"

namespace tenpass {

void timed_loop(const char* phase, int passes, int settle_ms, Engine& engine, System& system, Events& events) {
  for (int index = 0; index < passes; ++index) {
    if (settle_ms > 0) system.sleep_ms(settle_ms);
    const std::int64_t start_ns = system.now_ns();
    mark_pass_begin();
    engine.run();  // alone between the two clock reads, but for the marks, an instruction each
    mark_pass_end();
    const std::int64_t stop_ns = system.now_ns();

    const std::optional<int> cpu = system.current_cpu();
    const auto khz = cpu ? system.clock_khz(*cpu) : std::nullopt;
    events.pass({phase, index, stop_ns - start_ns, cpu, khz});
  }
}

}  // namespace tenpass
