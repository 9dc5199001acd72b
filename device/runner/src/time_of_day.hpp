#pragma once

namespace tenpass {

// What std::chrono::system_clock says in this process, to the runtime's library, too: it stands still, or goes on. The
// clock that passes are timed with is another.
void stop_time_of_day();
void resume_time_of_day();

}  // namespace tenpass
