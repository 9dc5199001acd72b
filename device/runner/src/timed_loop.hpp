#pragma once

#include "engine.hpp"
#include "events.hpp"
#include "system.hpp"

namespace tenpass {

// The one loop that times, for every engine. Each pass is reported after its clock has stopped.
void timed_loop(const char* phase, int passes, Engine& engine, System& system, Events& events);

}  // namespace tenpass
