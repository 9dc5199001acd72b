#include <doctest/doctest.h>
#include <sched.h>
#include <time.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "failure.hpp"
#include "linux_system.hpp"
#include "temporary_folder.hpp"

namespace tenpass::test {
namespace {

// Gives the test's process its CPUs back.
class KeepAffinity {
 public:
  KeepAffinity() { sched_getaffinity(0, sizeof(before_), &before_); }
  ~KeepAffinity() { sched_setaffinity(0, sizeof(before_), &before_); }
  KeepAffinity(const KeepAffinity&) = delete;
  KeepAffinity& operator=(const KeepAffinity&) = delete;

 private:
  cpu_set_t before_{};
};

}  // namespace

TEST_CASE("the clock never goes back") {
  LinuxSystem system;
  const auto first = system.now_ns();
  CHECK(first > 0);
  CHECK(system.now_ns() >= first);
}

TEST_CASE("CPU time is that of all threads, and sleeping takes next to none of it") {
  constexpr std::int64_t work_ns = 2'000'000;
  LinuxSystem system;
  const auto first_ns = system.cpu_ns().value();
  std::thread other([] {
    timespec used{};
    while (used.tv_sec == 0 && used.tv_nsec < work_ns) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  });
  other.join();
  const auto worked_ns = system.cpu_ns().value();
  CHECK(worked_ns - first_ns >= work_ns);
  system.sleep_ms(100);
  CHECK(system.cpu_ns().value() - worked_ns < 100'000'000);
}

TEST_CASE("the time of day stands still in passes that are to be repeatable, and in no others") {
  const auto now = [] { return std::chrono::system_clock::now(); };
  const auto near = [](std::chrono::system_clock::time_point one, std::time_t other) {
    return std::abs(std::chrono::system_clock::to_time_t(one) - other) <= 60;
  };
  LinuxSystem system;
  system.begin_passes();
  CHECK(near(now(), std::time(nullptr)));
  system.be_repeatable();
  CHECK(near(now(), std::time(nullptr)));
  system.begin_passes();
  const auto stopped = now();
  system.sleep_ms(1);
  CHECK(now() == stopped);
  CHECK_FALSE(near(stopped, std::time(nullptr)));
  system.end_passes();
  CHECK(near(now(), std::time(nullptr)));
}

TEST_CASE("memory that is set aside for repeatable passes is none of the network's") {
  LinuxSystem system;
  system.be_repeatable();
  system.begin_passes();
  constexpr std::size_t bytes = 32 << 20;
  std::vector<char> touched(bytes, 'x');
  const auto before = system.peak_rss_bytes();
  system.first_pass_ended();
  const auto reserved = system.peak_rss_bytes();
  CHECK(reserved >= before);
  CHECK(reserved - before < static_cast<std::int64_t>(bytes));  // as much again was set aside
  system.end_passes();
}

TEST_CASE("a process pinned to the CPU it is on stays there") {
  const KeepAffinity keep;
  LinuxSystem system;
  const int cpu = system.current_cpu().value();
  REQUIRE(cpu < 64);
  system.pin_to(std::uint64_t{1} << cpu);
  CHECK(system.current_cpu() == cpu);
}

TEST_CASE("a mask of CPUs that are not there is refused, also if the kernel takes a part of it") {
  const KeepAffinity keep;
  LinuxSystem system;
  const std::uint64_t absent = std::uint64_t{1} << 63;
  const int cpu = system.current_cpu().value();
  CHECK_THROWS_AS(system.pin_to(absent), Failure);
  CHECK_THROWS_AS(system.pin_to(absent | std::uint64_t{1} << cpu), Failure);
}

TEST_CASE("of a mask, what is switched off is no failure, unless nothing is left of it") {
  const KeepAffinity keep;
  const TemporaryFolder sysfs;
  std::filesystem::create_directories(sysfs.path("devices/system/cpu/cpu63"));
  sysfs.with_text("devices/system/cpu/cpu63/online", "0\n");
  LinuxSystem system(sysfs.path(""));
  const std::uint64_t off = std::uint64_t{1} << 63, one = std::uint64_t{1} << system.current_cpu().value();
  system.pin_to(off | one);
  CHECK(system.cpu_mask() == one);
  CHECK_THROWS_AS(system.pin_to(off), Failure);
  CHECK_THROWS_AS(system.pin_to(off | one | std::uint64_t{1} << 62), Failure);
}

TEST_CASE("what its threads wait is not asked where passes are to be repeatable") {
  LinuxSystem system;
  system.be_repeatable();
  CHECK_FALSE(system.wait_ns());
}

TEST_CASE("the mask tells where the process may run") {
  const KeepAffinity keep;
  LinuxSystem system;
  const std::uint64_t one = std::uint64_t{1} << system.current_cpu().value();
  CHECK((system.cpu_mask() & one) == one);
  system.pin_to(one);
  CHECK(system.cpu_mask() == one);
}

TEST_CASE("a CPU that is not there has no clock") { CHECK_FALSE(LinuxSystem().clock_khz(99999)); }

TEST_CASE("clocks and temperatures are sysfs's") {
  const TemporaryFolder sysfs;
  for (const std::string folder : {"devices/system/cpu/cpu3/cpufreq", "class/thermal/thermal_zone0"}) {
    std::filesystem::create_directories(sysfs.path(folder));
  }
  sysfs.with_text("devices/system/cpu/cpu3/cpufreq/scaling_cur_freq", "1300000\n");
  sysfs.with_text("class/thermal/thermal_zone0/temp", "41500\n");
  LinuxSystem system(sysfs.path(""));
  CHECK(system.clock_khz(3) == 1'300'000);
  CHECK_FALSE(system.hottest_millicelsius());
  system.watch_zones({{0, 1}});
  CHECK(system.hottest_millicelsius() == 41'500);
}

TEST_CASE("the machine and its features have names of the protocol") {
  LinuxSystem system;
  CHECK_FALSE(system.machine().empty());
  const std::set<std::string> known{"neon", "dotprod", "fp16", "i8mm", "bf16", "sve", "avx2", "avx512f"};
  for (const auto& feature : system.cpu_features()) {
    CAPTURE(feature);
    CHECK(known.count(feature) == 1);
  }
}

TEST_CASE("counters that were never opened do nothing") {
  LinuxSystem system;
  system.start_counters();
  system.stop_counters();
  CHECK_FALSE(system.counts());
}

TEST_CASE("counters are there once they are opened, or it is said why not") {
  LinuxSystem system;
  const auto error = system.open_counters();
  system.start_counters();
  system.stop_counters();
  CHECK(system.counts().has_value() == !error);
}

TEST_CASE("peak memory grows with what is touched") {
  LinuxSystem system;
  const auto before = system.peak_rss_bytes();
  CHECK(before > 0);
  const auto bytes = static_cast<std::size_t>(before) + 50'000'000;  // more than all that there was at a time before
  std::vector<char> memory(bytes, 1);
  CHECK(memory[bytes / 2] == 1);
  CHECK(system.peak_rss_bytes() >= static_cast<std::int64_t>(bytes));
}

}  // namespace tenpass::test
