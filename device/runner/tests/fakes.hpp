// An engine and a system that do as they are told and keep a log of what was asked of them, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine.hpp"
#include "failure.hpp"
#include "system.hpp"

// How often operator new was called in this program (test_timed_loop.cpp replaces it).
std::size_t allocations();

namespace tenpass::test {

using Log = std::vector<std::string>;

inline Log new_log() {
  Log log;
  log.reserve(1000);  // so that writing it down allocates nothing (the entries are short)
  return log;
}

class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(Log& log) : log_(log) {}

  std::string name() const override { return "fake"; }
  std::string version() const override { return "1.2.3"; }
  std::vector<std::string> providers() const override { return {"FakeProvider"}; }
  void load(const std::vector<std::string>& files, int threads, const std::string& provider) override {
    log_.push_back("load");
    model_files = files;
    used_threads = threads;
    used_provider = provider;
    if (on_load) on_load();
  }
  void set_inputs(const std::vector<Tensor>& inputs) override {
    log_.push_back("set_inputs");
    if (on_set_inputs) on_set_inputs();
    tensors = inputs;
  }
  void prepare_run() override { log_.push_back("prepare"); }
  void run() override {
    log_.push_back("run");
    ++runs;
    if (runs == fail_in_run) throw std::runtime_error("no more\nmemory");
  }
  std::vector<OutputView> outputs() override {
    std::vector<OutputView> views;
    for (const auto* made : {&tensors, &more_outputs}) {
      for (const auto& tensor : *made) {
        views.push_back({tensor.type, tensor.shape, tensor.bytes.data(), tensor.bytes.size()});
      }
    }
    return views;
  }

  Profile profile(int passes, System& system, const std::string& folder) override {
    log_.push_back("profile");
    if (fail_in_profile) throw std::runtime_error("no profile");
    profiled_passes = passes;
    profile_folder = folder;
    return {system.now_ns(), nodes};
  }

  std::function<void()> on_load, on_set_inputs;
  int fail_in_run = 0;
  bool fail_in_profile = false;
  int profiled_passes = 0;
  std::string profile_folder;
  std::vector<NodeTime> nodes{{"conv1", "Conv", 170, "FakeProvider"}, {"fc", "Gemm", 80}};
  int runs = 0;
  int used_threads = 0;
  std::vector<std::string> model_files;
  std::string used_provider;
  std::vector<Tensor> tensors;  // the inputs, which are the first outputs, too
  std::vector<Tensor> more_outputs;

 private:
  Log& log_;
};

class FakeSystem final : public System {
 public:
  explicit FakeSystem(Log& log) : log_(log) {}

  std::int64_t now_ns() override {
    log_.push_back("now");
    allocations_at_clock.push_back(allocations());
    const std::size_t reading = allocations_at_clock.size();
    if (reading % 2 == 0 && reading / 2 <= pass_ns.size()) return clock_ns += pass_ns[reading / 2 - 1];
    return clock_ns += 1000 + 7 * static_cast<std::int64_t>(reading);
  }
  std::optional<std::int64_t> cpu_ns() override {
    log_.push_back("cpu_ns");
    if (cpu_clock_ns) *cpu_clock_ns += 900;
    return cpu_clock_ns;
  }
  std::optional<std::int64_t> wait_ns() override {
    log_.push_back("wait");
    if (waited_ns) *waited_ns += wait_step_ns;
    return waited_ns;
  }
  void sleep_ms(int) override { log_.push_back("sleep"); }
  void be_repeatable() override { log_.push_back("repeatable"); }
  void begin_passes() override { log_.push_back("begin"); }
  void first_pass_ended() override { log_.push_back("first"); }
  void end_passes() override { log_.push_back("end"); }
  std::optional<int> current_cpu() override {
    log_.push_back("cpu");
    return cpu;
  }
  std::optional<std::int64_t> clock_khz(int) override {
    log_.push_back("khz");
    return khz;
  }
  void watch_zones(const std::vector<ThermalZone>& wanted) override { zones = wanted; }
  std::optional<int> hottest_millicelsius() override {
    log_.push_back("celsius");
    return millicelsius;
  }
  std::int64_t peak_rss_bytes() override { return 4096; }
  std::string machine() override { return "armv7l"; }
  std::vector<std::string> cpu_features() override { return {"neon"}; }
  void pin_to(std::uint64_t mask) override {
    log_.push_back("pin");
    if (refuse_mask) throw Failure(Status::affinity, "no such CPUs");
    pinned_to = mask;
  }
  std::uint64_t cpu_mask() override {
    log_.push_back("mask");
    return pinned_to.value_or(0xF);
  }
  std::optional<std::string> open_counters() override {
    log_.push_back("open_counters");
    return counters_error;
  }
  void start_counters() override { log_.push_back("start"); }
  void stop_counters() override { log_.push_back("stop"); }
  std::optional<Counts> counts() override {
    log_.push_back("counts");
    return counted;
  }
  void end_after(unsigned seconds) override { deadline_seconds = seconds; }

  std::int64_t clock_ns = 0;
  std::vector<std::int64_t> pass_ns;  // what the first passes take, where every other reading of the clock ends one
  std::optional<std::int64_t> cpu_clock_ns = 0;
  std::optional<std::int64_t> waited_ns = 0;
  std::int64_t wait_step_ns = 40;
  std::vector<ThermalZone> zones;
  std::vector<std::size_t> allocations_at_clock = [] {
    std::vector<std::size_t> counts;
    counts.reserve(1000);
    return counts;
  }();
  std::optional<int> cpu = 2;
  std::optional<std::int64_t> khz = 1'300'000;
  std::optional<int> millicelsius = 41'500;
  std::optional<Counts> counted;
  std::optional<std::string> counters_error;
  bool refuse_mask = false;
  std::optional<std::uint64_t> pinned_to;
  unsigned deadline_seconds = 0;

 private:
  Log& log_;
};

// A stdout that notes in the log when a line has gone out.
class LoggedOutput final : public std::ostream {
 public:
  explicit LoggedOutput(Log& log) : std::ostream(&buffer_), buffer_(log, on_line) {}
  std::string text() const { return buffer_.str(); }

  std::function<void()> on_line;

 private:
  class Buffer final : public std::stringbuf {
   public:
    Buffer(Log& log, const std::function<void()>& on_line) : log_(log), on_line_(on_line) {}

   protected:
    int sync() override {
      log_.push_back("event");
      if (on_line_) on_line_();
      return 0;
    }

   private:
    Log& log_;
    const std::function<void()>& on_line_;
  };
  Buffer buffer_;
};

}  // namespace tenpass::test
