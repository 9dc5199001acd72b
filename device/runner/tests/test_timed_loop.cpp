#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "fakes.hpp"
#include "timed_loop.hpp"

namespace {
std::atomic<std::size_t> allocation_count{0};  // other tests have threads
}

std::size_t allocations() { return allocation_count; }

// Out of line: where GCC sees through only one of the two, it warns that they do not fit together.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocation_count;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace tenpass::test {

struct Bench {
  Log log = new_log();
  FakeEngine engine{log};
  FakeSystem system{log};
  LoggedOutput out{log};
  Events events{out};
};

TEST_CASE_FIXTURE(Bench, "nothing but the run stands between two clock reads, and the event follows them") {
  timed_loop("timed", 3, 0, engine, system, events);
  const Log one_pass{"prepare", "wait",   "cpu_ns", "start", "now", "run",     "now",
                     "stop",    "cpu_ns", "wait",   "cpu",   "khz", "celsius", "counts", "event"};
  Log expected;
  for (int pass = 0; pass < 3; ++pass) expected.insert(expected.end(), one_pass.begin(), one_pass.end());
  CHECK(log == expected);
}

TEST_CASE_FIXTURE(Bench, "what is left of the last report is waited for outside the clock") {
  timed_loop("timed", 2, 50, engine, system, events);
  const Log one_pass{"sleep", "prepare", "wait", "cpu_ns", "start", "now",     "run",    "now",
                     "stop",  "cpu_ns",  "wait", "cpu",    "khz",   "celsius", "counts", "event"};
  Log expected;
  for (int pass = 0; pass < 2; ++pass) expected.insert(expected.end(), one_pass.begin(), one_pass.end());
  CHECK(log == expected);
}

TEST_CASE_FIXTURE(Bench, "nothing is allocated between two clock reads") {
  system.counted = Counts{5, 5, {{"instructions", 7}}};
  timed_loop("timed", 5, 0, engine, system, events);
  const auto& counts = system.allocations_at_clock;
  REQUIRE(counts.size() == 10);
  CHECK(counts.back() > counts.front());  // the count works: writing the events does allocate
  for (std::size_t start = 0; start < counts.size(); start += 2) CHECK(counts[start + 1] == counts[start]);
}

TEST_CASE_FIXTURE(Bench, "a pass is reported with its time, that of the CPU, its CPU, that CPU's clock and how hot it is") {
  timed_loop("warmup", 2, 0, engine, system, events);
  CHECK(out.text() ==
        R"({"event":"pass","phase":"warmup","index":0,"ns":1014,"cpu_ns":900,"wait_ns":40,"cpu":2,"khz":1300000,)"
        R"("millicelsius":41500,"counters":null})"
        "\n"
        R"({"event":"pass","phase":"warmup","index":1,"ns":1028,"cpu_ns":900,"wait_ns":40,"cpu":2,"khz":1300000,)"
        R"("millicelsius":41500,"counters":null})"
        "\n");
}

TEST_CASE_FIXTURE(Bench, "a pass is reported with what was counted, as it was read") {
  system.counted = Counts{1000, 500, {{"instructions", 7'000'000'000}, {"cycles", 3}}};
  timed_loop("timed", 1, 0, engine, system, events);
  CHECK(out.text().find(R"("counters":{"enabled_ns":1000,"running_ns":500,)"
                        R"("counts":{"instructions":7000000000,"cycles":3}}})") != std::string::npos);
}

TEST_CASE_FIXTURE(Bench, "what the system cannot tell is null, and no CPU has no clock") {
  system.khz.reset();
  system.millicelsius.reset();
  system.cpu_clock_ns.reset();
  system.waited_ns.reset();
  timed_loop("timed", 1, 0, engine, system, events);
  system.cpu.reset();
  timed_loop("timed", 1, 0, engine, system, events);
  CHECK(out.text().find(R"("cpu_ns":null,"wait_ns":null,"cpu":2,"khz":null,"millicelsius":null,"counters":null})") != std::string::npos);
  CHECK(out.text().find(R"("cpu":null,"khz":null,"millicelsius":null,"counters":null})") != std::string::npos);
}

TEST_CASE_FIXTURE(Bench, "threads that ended in a pass have taken their waiting along, which is not told then") {
  system.wait_step_ns = -1;
  timed_loop("timed", 1, 0, engine, system, events);
  CHECK(out.text().find(R"("wait_ns":null)") != std::string::npos);
}

TEST_CASE_FIXTURE(Bench, "as many passes warm up as are asked for, and nobody looks whether they settled") {
  const WarmUp done = warm_up(2, 0, 0, engine, system, events);
  CHECK(done.passes == 2);
  CHECK_FALSE(done.settled);
  CHECK(engine.runs == 2);
}

TEST_CASE_FIXTURE(Bench, "passes warm up until two in a row differ by a thousandth at most") {
  system.pass_ns = {1'200'000, 1'002'000, 1'000'999, 5};
  const WarmUp done = warm_up(1, 3, 0, engine, system, events);
  CHECK(done.passes == 3);
  CHECK(done.settled == true);
}

TEST_CASE_FIXTURE(Bench, "passes that have not settled by then were still all that were allowed") {
  system.pass_ns = {1'200'000, 1'100'000, 1'000'000, 1'001'001};
  const WarmUp done = warm_up(1, 3, 0, engine, system, events);
  CHECK(done.passes == 4);
  CHECK(done.settled == false);
}

TEST_CASE_FIXTURE(Bench, "passes that were asked for are made, however early they settle") {
  system.pass_ns = {1'000'000, 1'000'000, 1'000'000, 1'000'000};
  const WarmUp done = warm_up(3, 3, 0, engine, system, events);
  CHECK(done.passes == 3);
  CHECK(done.settled == true);
}

TEST_CASE_FIXTURE(Bench, "one pass alone has not settled") {
  system.pass_ns = {1'000'000};
  const WarmUp done = warm_up(0, 1, 0, engine, system, events);
  CHECK(done.passes == 1);
  CHECK(done.settled == false);
}

TEST_CASE_FIXTURE(Bench, "the system hears of the first pass to warm up, and of no other") {
  warm_up(3, 0, 0, engine, system, events);
  CHECK(std::count(log.begin(), log.end(), "first") == 1);
  CHECK(std::find(log.begin(), log.end(), "first") - std::find(log.begin(), log.end(), "event") == 1);
}

TEST_CASE_FIXTURE(Bench, "passes that are held back are written when they have taken a quarter of a second together") {
  system.pass_ns = {100'000'000, 149'999'999, 1, 249'999'999};
  events.hold_passes();
  timed_loop("timed", 2, 0, engine, system, events);
  CHECK(out.text().empty());
  timed_loop("timed", 2, 0, engine, system, events);
  CHECK(std::count(log.begin(), log.end(), "event") == 1);  // three lines in one go
  const std::string written = out.text();
  CHECK(std::count(written.begin(), written.end(), '\n') == 3);
  events.loaded(1);
  const std::string all = out.text();
  CHECK(std::count(all.begin(), all.end(), '\n') == 5);
  CHECK(all.rfind("loaded") > all.rfind("timed"));
}

TEST_CASE_FIXTURE(Bench, "no passes, no clock reads") {
  timed_loop("warmup", 0, 0, engine, system, events);
  CHECK(log.empty());
}

}  // namespace tenpass::test
