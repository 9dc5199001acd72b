#pragma once

#include <optional>

#include "engine.hpp"
#include "events.hpp"
#include "system.hpp"

namespace tenpass {

// What became of warming up: how many passes it took, and whether their times had settled; nothing where nobody looked.
struct WarmUp {
  int passes;
  std::optional<bool> settled;
};

// `passes`, and at most `most_more` until two in a row have taken the same time but for a thousandth.
WarmUp warm_up(int passes, int most_more, int settle_ms, Engine& engine, System& system, Events& events);

// The one loop that times, for every engine. Each pass is reported after its clock has stopped; before each, the
// process sleeps for `settle_ms`, so that on a single core nothing is left to do of the report of the last.
void timed_loop(const char* phase, int passes, int settle_ms, Engine& engine, System& system, Events& events);

}  // namespace tenpass
