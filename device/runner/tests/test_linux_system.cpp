#include <doctest/doctest.h>
#include <sched.h>

#include <vector>

#include "failure.hpp"
#include "linux_system.hpp"

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

TEST_CASE("a CPU that is not there has no clock") { CHECK_FALSE(LinuxSystem().clock_khz(99999)); }

TEST_CASE("peak memory grows with what is touched") {
  LinuxSystem system;
  const auto before = system.peak_rss_bytes();
  CHECK(before > 0);
  constexpr std::size_t kBytes = 200'000'000;  // more than anything before it in this program
  std::vector<char> memory(kBytes, 1);
  CHECK(memory[kBytes / 2] == 1);
  CHECK(system.peak_rss_bytes() >= static_cast<std::int64_t>(kBytes));
  CHECK(system.peak_rss_bytes() > before);
}

}  // namespace tenpass::test
