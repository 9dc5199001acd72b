#include "waits.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

namespace tenpass {
namespace {

constexpr const char* kThreads = "/proc/self/task";

// The time that the thread has run, the time that it has waited while it could have run, and how often it has run
// (kernel documentation, scheduler/sched-stats). A kernel that does not count them has zeros.
std::optional<std::int64_t> wait_ns(const Descriptor& thread) {
  std::array<char, 96> text{};
  std::int64_t run_ns = 0, wait_ns = 0;
  if (pread(thread.number(), text.data(), text.size() - 1, 0) <= 0 ||
      std::sscanf(text.data(), "%" SCNd64 " %" SCNd64, &run_ns, &wait_ns) != 2 || run_ns == 0) {
    return std::nullopt;
  }
  return wait_ns;
}

}  // namespace

std::optional<std::int64_t> Waits::all_ns() {
  struct stat folder {};
  if (stat(kThreads, &folder) != 0) return std::nullopt;
  if (folder.st_nlink != links_) {
    find_threads();
    links_ = folder.st_nlink;
  }
  std::optional<std::int64_t> all_ns;
  for (const auto& thread : threads_) {
    if (const auto ns = wait_ns(thread)) all_ns = all_ns.value_or(0) + *ns;
  }
  return all_ns;
}

void Waits::find_threads() {
  threads_.clear();
  std::error_code none;  // what cannot be read has no threads
  for (std::filesystem::directory_iterator entry(kThreads, none), end; !none && entry != end; entry.increment(none)) {
    Descriptor file(open((entry->path() / "schedstat").c_str(), O_RDONLY | O_CLOEXEC));
    if (file.is_open()) threads_.push_back(std::move(file));
  }
}

}  // namespace tenpass
