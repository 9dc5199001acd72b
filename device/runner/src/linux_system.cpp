#include "linux_system.hpp"

#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <utility>

#include "cpu_features.hpp"
#include "failure.hpp"
#include "time_of_day.hpp"

namespace tenpass {
namespace {

constexpr int kMaskBits = 64;

// A choice: by then the kernel is done with the tick and with what it puts off until after it.
constexpr std::int64_t kAfterTick_ns = 300'000;
constexpr int kTopPadBytes = 64 << 20;  // a choice: the heap grows seldom

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::string hex(std::uint64_t mask) {
  std::ostringstream text;
  text << "0x" << std::hex << mask;
  return text.str();
}

}  // namespace

LinuxSystem::LinuxSystem(std::string sysfs) : sysfs_(std::move(sysfs)) {}

std::int64_t LinuxSystem::now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return nanoseconds(now);
}

std::optional<std::int64_t> LinuxSystem::cpu_ns() {
  timespec used{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0) return std::nullopt;
  return nanoseconds(used);
}

// Asking costs as many instructions as there are threads: not where passes are to be repeatable.
std::optional<std::int64_t> LinuxSystem::wait_ns() { return repeatable_ ? std::nullopt : waits_.all_ns(); }

void LinuxSystem::sleep_ms(int milliseconds) {
  timespec left{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
  // Awake, for an emulator's clock that counts instructions goes by the host's while the CPU sleeps: sleeping until then
  // would end late on a busy host.
  while (tick_ns_ > 0 && now_ns() % tick_ns_ >= kAfterTick_ns) {
  }
  while (tick_ns_ > 0 && now_ns() % tick_ns_ < kAfterTick_ns) {
  }
}

void LinuxSystem::be_repeatable() {
  repeatable_ = true;
  // Memory that is given back to the kernel is got again by page faults, whose work depends on what the kernel has at
  // hand: all stays in the one heap.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  mallopt(M_TOP_PAD, kTopPadBytes);
  mallopt(M_ARENA_MAX, 1);
  // adbd, woken by the host, and the kernel's own threads wait for the next sleep. In turns, for threads may spin for one
  // another. It is granted to root alone: no matter if not.
  sched_param lowest{};
  lowest.sched_priority = sched_get_priority_min(SCHED_RR);
  sched_setscheduler(0, SCHED_RR, &lowest);
  // A tick costs some thousand instructions, so a short pass must have as many as the last. Linux's come at whole
  // multiples of their length on this clock (Linux 6.1, kernel/time/tick-common.c: tick_setup_device).
  timespec tick{};
  if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0) tick_ns_ = nanoseconds(tick);
}

void LinuxSystem::begin_passes() {
  if (!repeatable_) return;
  stop_time_of_day();
}

// The heap still grows in the passes that follow, some times over, where pieces of it have been cut too small: where ONNX
// Runtime has a plan from the second pass on, by as much as all activations take. So that this faults no page in: as
// much again as the process has had at most, as far as half of the free memory goes.
void LinuxSystem::first_pass_ended() {
  if (!repeatable_) return;
  peak_before_reserve_ = peak_rss_bytes();
  const std::int64_t free_bytes = std::int64_t{sysconf(_SC_AVPHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  const auto bytes = static_cast<std::size_t>(std::min(*peak_before_reserve_, free_bytes / 2));
  if (void* const reserve = std::malloc(bytes)) {
    explicit_bzero(reserve, bytes);
    std::free(reserve);
  }
}

void LinuxSystem::end_passes() {
  if (repeatable_) resume_time_of_day();
}

std::optional<int> LinuxSystem::current_cpu() {
  const int cpu = sched_getcpu();
  if (cpu < 0) return std::nullopt;
  return cpu;
}

std::optional<std::int64_t> LinuxSystem::clock_khz(int cpu) {
  std::ifstream file(sysfs_ + "/devices/system/cpu/cpu" + std::to_string(cpu) + "/cpufreq/scaling_cur_freq");
  std::int64_t khz = 0;
  if (!(file >> khz) || khz <= 0) return std::nullopt;
  return khz;
}

void LinuxSystem::watch_zones(const std::vector<ThermalZone>& zones) {
  thermal_zones_ = ThermalZones(sysfs_ + "/class/thermal", zones, [this] { return now_ns(); });
}

std::optional<int> LinuxSystem::hottest_millicelsius() { return thermal_zones_.hottest_millicelsius(); }

std::int64_t LinuxSystem::peak_rss_bytes() {
  if (peak_before_reserve_) return *peak_before_reserve_;
  // Not ru_maxrss first: it survives exec, so after a vfork it holds the peak of the program that started us.
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::int64_t kib = 0;
    std::string key;
    if (std::istringstream fields(line); fields >> key >> kib && key == "VmHWM:") return kib * 1024;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

std::string LinuxSystem::machine() {
  utsname names{};
  uname(&names);
  return names.machine;
}

std::vector<std::string> LinuxSystem::cpu_features() { return tenpass::cpu_features(); }

std::uint64_t LinuxSystem::cpu_mask() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::uint64_t mask = 0;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return mask;
  for (int cpu = 0; cpu < kMaskBits; ++cpu) {
    if (CPU_ISSET(cpu, &set)) mask |= std::uint64_t{1} << cpu;
  }
  return mask;
}

void LinuxSystem::pin_to(std::uint64_t mask) {
  const std::uint64_t before = cpu_mask();
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu = 0; cpu < kMaskBits; ++cpu) {
    if ((mask >> cpu) & 1) CPU_SET(cpu, &set);
  }
  const std::string may = "; this process may use " + hex(before);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    throw Failure(Status::affinity, "cannot run on CPUs " + hex(mask) + ": " + std::strerror(errno) + may);
  }
  // The kernel drops CPUs that cannot be had without a word. One that it has just switched off may come back, and the
  // host is told of it; any other was never there, or is not for us.
  const std::uint64_t now = cpu_mask();
  for (int cpu = 0; cpu < kMaskBits; ++cpu) {
    if (((mask & ~now) >> cpu & 1) && !is_switched_off(cpu)) {
      throw Failure(Status::affinity, "asked for CPUs " + hex(mask) + ", was given " + hex(now) + " of them" + may);
    }
  }
}

bool LinuxSystem::is_switched_off(int cpu) const {
  std::ifstream file(sysfs_ + "/devices/system/cpu/cpu" + std::to_string(cpu) + "/online");
  int online = 1;
  return file >> online && online == 0;
}

std::optional<std::string> LinuxSystem::open_counters() {
  counters_ = std::make_unique<PerfCounters>(cpu_events());
  return counters_->error();
}

void LinuxSystem::start_counters() {
  if (counters_) counters_->start();
}

void LinuxSystem::stop_counters() {
  if (counters_) counters_->stop();
}

std::optional<Counts> LinuxSystem::counts() { return counters_ ? counters_->counts() : std::nullopt; }

void LinuxSystem::end_after(unsigned seconds) {
  // Whoever started us may have left the signal ignored or blocked.
  std::signal(SIGALRM, SIG_DFL);
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  sigprocmask(SIG_UNBLOCK, &alarm_only, nullptr);
  alarm(seconds);
}

}  // namespace tenpass
