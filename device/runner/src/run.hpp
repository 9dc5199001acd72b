#pragma once

#include <functional>
#include <memory>
#include <ostream>

#include "engine.hpp"
#include "system.hpp"

namespace tenpass {

using MakeEngine = std::function<std::unique_ptr<Engine>()>;

// The whole program: reads the arguments, measures, reports on `out`. The exit status is the result.
int run(int argc, const char* const* argv, const MakeEngine& make_engine, System& system, std::ostream& out);

}  // namespace tenpass
