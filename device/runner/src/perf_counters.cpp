#include "perf_counters.hpp"

#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace tenpass {
namespace {

constexpr std::uint64_t kL1dMisses = PERF_COUNT_HW_CACHE_L1D | (PERF_COUNT_HW_CACHE_OP_READ << 8) |
                                     (PERF_COUNT_HW_CACHE_RESULT_MISS << 16);

// Each counter is read by itself, though they are one group: kernels before 4.13 refuse PERF_FORMAT_GROUP for
// counters that threads inherit (perf_event_open(2), "inherit"; commit ba5213ae6b88), and phones have such kernels.
// As a group they still count at the same times, and their leader starts and stops them all.
Descriptor open_event(const PerfEvent& event, int leader, bool user_space_only) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = event.type;
  attributes.config = event.config;
  attributes.disabled = leader < 0 ? 1 : 0;
  attributes.inherit = 1;
  attributes.exclude_kernel = user_space_only ? 1 : 0;
  attributes.exclude_hv = user_space_only ? 1 : 0;
  attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  constexpr int kThisThread = 0, kAnyCpu = -1;
  return Descriptor(static_cast<int>(
      syscall(SYS_perf_event_open, &attributes, kThisThread, kAnyCpu, leader, PERF_FLAG_FD_CLOEXEC)));
}

bool is_forbidden(int error) { return error == EACCES || error == EPERM; }

std::string explained(const char* name, int error) {
  const std::string what = std::string("cannot count ") + name + ": " + std::strerror(error);
  if (error == ENOENT || error == ENODEV || error == EOPNOTSUPP) {
    return what + " (the kernel knows no counters of this CPU; virtual machines often have none)";
  }
  if (!is_forbidden(error)) return what;
  std::ifstream file("/proc/sys/kernel/perf_event_paranoid");
  std::string paranoid;
  file >> paranoid;
  return what + "; kernel.perf_event_paranoid is " + (paranoid.empty() ? "not readable" : paranoid) +
         ", 2 or less allows it (on Android: adb shell setprop security.perf_harden 0)";
}

}  // namespace

const std::vector<PerfEvent>& cpu_events() {
  static const std::vector<PerfEvent> events{
      {"instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
      {"cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
      {"cache_references", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES},
      {"cache_misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
      {"l1d_misses", PERF_TYPE_HW_CACHE, kL1dMisses},
  };
  return events;
}

PerfCounters::PerfCounters(const std::vector<PerfEvent>& events) {
  bool user_space_only = false;
  for (const auto& event : events) {
    const int leader = counters_.empty() ? -1 : counters_.front().descriptor.number();
    Descriptor descriptor = open_event(event, leader, user_space_only);
    if (!descriptor.is_open() && is_forbidden(errno) && !user_space_only) {
      user_space_only = true;
      descriptor = open_event(event, leader, user_space_only);
    }
    if (descriptor.is_open()) {
      counters_.push_back({event.name, std::move(descriptor), {}});
    } else if (!error_) {
      error_ = explained(event.name, errno);
    }
  }
  if (!counters_.empty()) error_.reset();
}

void PerfCounters::start() {
  if (!counters_.empty()) ioctl(counters_.front().descriptor.number(), PERF_EVENT_IOC_ENABLE, 0);
}

void PerfCounters::stop() {
  if (!counters_.empty()) ioctl(counters_.front().descriptor.number(), PERF_EVENT_IOC_DISABLE, 0);
}

// Differences, not resets: PERF_EVENT_IOC_RESET leaves the times as they are.
std::optional<Counts> PerfCounters::counts() {
  Counts counts;
  for (auto& counter : counters_) {
    Reading now{};
    if (read(counter.descriptor.number(), &now, sizeof(now)) != static_cast<ssize_t>(sizeof(now))) return std::nullopt;
    if (&counter == &counters_.front()) {
      counts.enabled_ns = static_cast<std::int64_t>(now.enabled_ns - counter.before.enabled_ns);
      counts.running_ns = static_cast<std::int64_t>(now.running_ns - counter.before.running_ns);
    }
    counts.values.emplace_back(counter.name, static_cast<std::int64_t>(now.value - counter.before.value));
    counter.before = now;
  }
  if (counters_.empty()) return std::nullopt;
  return counts;
}

}  // namespace tenpass
