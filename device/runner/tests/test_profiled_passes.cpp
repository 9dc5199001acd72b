#include <doctest/doctest.h>

#include <chrono>

#include "fakes.hpp"
#include "profiled_passes.hpp"

namespace tenpass::test {
namespace {

std::int64_t time_of_day_ns() {
  return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

struct Bench {
  Log log = new_log();
  FakeSystem system{log};
};

}  // namespace

TEST_CASE_FIXTURE(Bench, "a node's time is what the clock said, by the numbers that a library was told instead") {
  constexpr std::int64_t epoch_ns = 1'700'000'000'123'456'789;
  ProfiledPasses made(system, epoch_ns);
  NodeTime node{"conv1", "Conv", 0};
  time_of_day_ns();  // number 0, outside
  for (int pass = 0; pass < 2; ++pass) {
    std::int64_t from = 0, to = 0;
    made.make([&] {
      from = (time_of_day_ns() - epoch_ns) / 1000;
      to = (time_of_day_ns() - epoch_ns) / 1000;
    });
    CHECK(from == 2 + 4 * pass);  // the pass begins and ends with a reading, too
    CHECK(to == from + 1);
    made.add(node, from, to);
  }
  // What lies before a reading of FakeSystem's clock, counted from 1, is 1000 + 7 times its number.
  CHECK(node.total_ns == 2000 + 7 * (4 + 8));
  CHECK(made.total_ns() == 6000 + 7 * (3 + 4 + 5) + 7 * (7 + 8 + 9));
  REQUIRE(node.spans.size() == 2);
  for (std::int64_t pass = 0; pass < 2; ++pass) {
    const Span& span = node.spans[static_cast<std::size_t>(pass)];
    CHECK((span.pass == pass && span.from == 1 && span.to == 2));
  }
}

TEST_CASE_FIXTURE(Bench, "afterwards the time of day goes on") {
  { const ProfiledPasses made(system, 5); }
  const std::int64_t now_ns = time_of_day_ns();
  CHECK(now_ns > std::int64_t{1'000'000'000} * 1'000'000'000);
}

TEST_CASE_FIXTURE(Bench, "a reading that never was is no time") {
  ProfiledPasses made(system);
  NodeTime node{"conv1", "Conv", 0};
  made.make([] {});
  CHECK_THROWS_AS(made.add(node, 0, 2), Failure);
  CHECK_THROWS_AS(made.add(node, -1, 1), Failure);
}

}  // namespace tenpass::test
