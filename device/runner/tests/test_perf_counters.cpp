// The kernel's own counters stand in for a CPU's: every kernel with perf_event_open(2) has them.
#include <doctest/doctest.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "perf_counters.hpp"

// How often operator new was called in this program (test_timed_loop.cpp replaces it).
std::size_t allocations();

namespace tenpass::test {
namespace {

const PerfEvent kPageFaults{"page_faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS};
const PerfEvent kNoSuchEvent{"none", PERF_TYPE_SOFTWARE, 1'000'000};
constexpr std::size_t kPages = 1000;

// Makes that many page faults, and a few more. Of memory of its own: what malloc gives may have been used before.
void touch_pages() {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* const memory = mmap(nullptr, kPages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  madvise(memory, kPages * page, MADV_NOHUGEPAGE);
  for (std::size_t index = 0; index < kPages; ++index) static_cast<volatile char*>(memory)[index * page] = 1;
  munmap(memory, kPages * page);
}

// False, with a word, where the kernel of this machine forbids even its own counters.
bool available(const PerfCounters& counters) {
  if (counters.error()) MESSAGE("not tried: " << *counters.error());
  return !counters.error();
}

}  // namespace

TEST_CASE("what happens between start and stop is counted, and nothing else is") {
  PerfCounters counters({kPageFaults});
  if (!available(counters)) return;
  touch_pages();
  counters.start();
  counters.stop();
  const auto idle = counters.counts().value();
  counters.start();
  touch_pages();
  counters.stop();
  touch_pages();
  const auto busy = counters.counts().value();
  REQUIRE(busy.values.size() == 1);
  CHECK(std::string(busy.values[0].first) == "page_faults");
  CHECK(idle.values[0].second < static_cast<std::int64_t>(kPages / 2));
  CHECK(busy.values[0].second >= static_cast<std::int64_t>(kPages));
  CHECK(busy.values[0].second < static_cast<std::int64_t>(2 * kPages));
  CHECK(busy.enabled_ns > 0);
  CHECK(busy.running_ns == busy.enabled_ns);
}

TEST_CASE("threads that are made later are counted, also those that have ended") {
  PerfCounters counters({kPageFaults});
  if (!available(counters)) return;
  for (int pass = 0; pass < 3; ++pass) {
    counters.start();
    std::thread(touch_pages).join();
    counters.stop();
    CHECK(counters.counts().value().values[0].second >= static_cast<std::int64_t>(kPages));
  }
}

TEST_CASE("starting and stopping allocates nothing") {
  PerfCounters counters({kPageFaults});
  const std::size_t before = allocations();
  counters.start();
  counters.stop();
  CHECK(allocations() == before);
}

TEST_CASE("an event that cannot be had is left out, the others count") {
  PerfCounters counters({kNoSuchEvent, kPageFaults, kNoSuchEvent});
  if (!available(counters)) return;
  counters.start();
  touch_pages();
  counters.stop();
  const auto counted = counters.counts().value();
  REQUIRE(counted.values.size() == 1);
  CHECK(std::string(counted.values[0].first) == "page_faults");
}

TEST_CASE("where none can be had, that is said with the system's reason, and all else does nothing") {
  PerfCounters counters({kNoSuchEvent});
  REQUIRE(counters.error());
  CHECK(counters.error()->find("cannot count none: ") == 0);
  counters.start();
  counters.stop();
  CHECK_FALSE(counters.counts());
}

TEST_CASE("a CPU's counters are there, or it is said why not") {
  PerfCounters counters(cpu_events());
  counters.start();
  touch_pages();
  counters.stop();
  const auto counted = counters.counts();
  CHECK(counted.has_value() == !counters.error());
  if (counted && counted->running_ns > 0) CHECK(counted->values[0].second > 0);
}

}  // namespace tenpass::test
