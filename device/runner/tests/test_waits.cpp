#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "waits.hpp"

namespace tenpass::test {
namespace {

// A thread on the CPU that this one is on now, busy until it is to end.
class Busy {
 public:
  explicit Busy(int cpu)
      : thread_([this, cpu] {
          cpu_set_t one;
          CPU_ZERO(&one);
          CPU_SET(cpu, &one);
          pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
          started = true;
          while (!ended) {
          }
        }) {}
  ~Busy() {
    ended = true;
    thread_.join();
  }

  std::atomic<bool> started{false}, ended{false};

 private:
  std::thread thread_;
};

}  // namespace

TEST_CASE("threads that share a CPU wait for it, and that counts whichever of them it is") {
  Waits waits;
  const auto before_ns = waits.all_ns();
  if (!before_ns) return;  // this kernel does not tell
  const int cpu = sched_getcpu();
  const Busy one(cpu), other(cpu);
  while (!one.started || !other.started) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto after_ns = waits.all_ns();
  REQUIRE(after_ns);
  CHECK(*after_ns - *before_ns > 50'000'000);
}

TEST_CASE("a thread that has ended is no longer counted") {
  Waits waits;
  if (!waits.all_ns()) return;
  { const Busy one(sched_getcpu()); }
  CHECK(waits.all_ns());
}

}  // namespace tenpass::test
