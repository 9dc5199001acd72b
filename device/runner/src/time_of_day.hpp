#pragma once

#include <cstdint>

namespace tenpass {

class System;

// What std::chrono::system_clock says in this process, to the runtime's library, too: it stands still, or goes on. The
// clock that passes are timed with is another.
void stop_time_of_day();
void resume_time_of_day();

// Or its readings are numbered: each is told a microsecond more than the one before, the first `epoch_ns`, and what the
// clock of `system` said then is kept. Each is a point of marks.h, which an emulator knows by the same number. So times
// that a library writes down say which reading they were, and both clock and emulator say what lay between two.
// `resume_time_of_day` ends it; what was kept stays until the next time.
void number_readings(System& system, std::int64_t epoch_ns);

// A reading by the runner itself: its number.
std::int64_t read_numbered();

// When a reading was. Throws Failure(run_failed) for one that was not kept, because there were too many.
std::int64_t reading_ns(std::int64_t number);

}  // namespace tenpass
