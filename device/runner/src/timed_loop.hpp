#pragma once

#include "engine.hpp"
#include "events.hpp"
#include "system.hpp"

namespace tenpass {

// The one loop that times, for every engine. Each pass is reported after its clock has stopped; before each, the
// process sleeps for `settle_ms`, so that on a single core nothing is left to do of the report of the last.
void timed_loop(const char* phase, int passes, int settle_ms, Engine& engine, System& system, Events& events);

}  // namespace tenpass
