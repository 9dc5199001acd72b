// Loaded into the boards' adbd, which is Debian's and starts /bin/sh: a phone's starts /system/bin/sh.
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <unistd.h>

extern "C" int execle(const char* path, const char* first, ...) noexcept {
  constexpr const char* kShell = "/system/bin/sh";
  const bool is_shell = std::strcmp(path, "/bin/sh") == 0;
  std::vector<char*> argv;
  va_list rest;
  va_start(rest, first);
  for (const char* word = is_shell ? kShell : first; word != nullptr; word = va_arg(rest, const char*)) {
    argv.push_back(const_cast<char*>(word));
  }
  argv.push_back(nullptr);
  char* const* environment = va_arg(rest, char* const*);
  va_end(rest);
  return execve(is_shell ? kShell : path, argv.data(), environment);
}

namespace {
// Its children have an environment of their own.
[[gnu::constructor]] void leave_no_trace() { unsetenv("LD_PRELOAD"); }
}  // namespace
