// A runtime that computes nothing: harness/study/selfcheck.py measures with it what the harness itself adds to a time.
//
// A model is a text file of one line. What a pass does, and what the output tells of each pass so far, in nanoseconds, as
// float32 (exact up to 16 ms) of shape (1, passes), warm-up included:
//   nothing            no more than look at the clock twice; by how much these differ
//   spin_ns 5000000    keep the CPU busy for that time; by how much it took longer, as measured inside the pass
//   sleep_ns 20000000  give the CPU away for that time; likewise
//   clock_resolution   ask for it; the answer of clock_getres(2)
//   clock_step         look at the clock many times; the smallest step that it made
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>

#include "engine.hpp"
#include "failure.hpp"

namespace tenpass {
namespace {

constexpr std::size_t kMaxPasses = 65'536;
constexpr std::int64_t kMaxNominalNs = 60'000'000'000;
constexpr int kClockSteps = 1000;

std::int64_t as_ns(const timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return as_ns(now);
}

// What a pass does that began at `start_ns`, given its nominal time; returns what the output tells of it.
using Work = std::int64_t (*)(std::int64_t start_ns, std::int64_t nominal_ns);

std::int64_t spin(std::int64_t start_ns, std::int64_t nominal_ns) {
  std::int64_t spent_ns = 0;
  do {
    spent_ns = now_ns() - start_ns;
  } while (spent_ns < nominal_ns);
  return spent_ns - nominal_ns;
}

std::int64_t sleep(std::int64_t start_ns, std::int64_t nominal_ns) {
  const std::int64_t stop_ns = start_ns + nominal_ns;
  const timespec stop{static_cast<time_t>(stop_ns / 1'000'000'000), static_cast<long>(stop_ns % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &stop, nullptr) == EINTR) {
  }
  return now_ns() - stop_ns;
}

std::int64_t clock_resolution(std::int64_t, std::int64_t) {
  timespec resolution{};
  clock_getres(CLOCK_MONOTONIC, &resolution);
  return as_ns(resolution);
}

std::int64_t clock_step(std::int64_t, std::int64_t) {
  std::int64_t smallest_ns = kMaxNominalNs, last_ns = now_ns();
  for (int steps = 0; steps < kClockSteps;) {
    const std::int64_t time_ns = now_ns();
    if (time_ns == last_ns) continue;
    smallest_ns = std::min(smallest_ns, time_ns - last_ns);
    last_ns = time_ns;
    ++steps;
  }
  return smallest_ns;
}

struct Kind {
  const char* name;
  Work work;
  bool has_time;
};

constexpr Kind kKinds[] = {
    {"nothing", spin, false},  // for no time
    {"spin_ns", spin, true},
    {"sleep_ns", sleep, true},
    {"clock_resolution", clock_resolution, false},
    {"clock_step", clock_step, false},
};

class Null final : public Engine {
 public:
  std::string name() const override { return "null"; }
  std::string version() const override { return "1"; }
  std::vector<std::string> providers() const override { return {"CPU"}; }

  void load(const std::vector<std::string>& model_files, int /*threads*/, const std::string& provider) override {
    require_cpu(provider, "the null runtime");
    if (model_files.size() != 1) {
      throw Failure(Status::usage, "the null runtime takes one --model, not " + std::to_string(model_files.size()));
    }
    std::ifstream file(model_files.front());
    std::string name, more;
    file >> name;
    const auto is_named = [&](const Kind& kind) { return name == kind.name; };
    const auto kind = std::find_if(std::begin(kKinds), std::end(kKinds), is_named);
    const bool known = kind != std::end(kKinds);
    if (known && kind->has_time) file >> nominal_ns_;
    if (!known || !file || nominal_ns_ < 0 || nominal_ns_ > kMaxNominalNs || file >> more) {
      throw Failure(Status::bad_model, "'" + model_files.front() + "' is no model of the null runtime");
    }
    work_ = kind->work;
    told_ns_.resize(kMaxPasses);  // now, so that no pass has to
  }

  void set_inputs(const std::vector<Tensor>& inputs) override { the_one_float32(inputs, "the null runtime"); }

  // What a pass tells is written down in the next one, once that has begun: before and after, all is the harness's.
  void run() override {
    const std::int64_t start_ns = now_ns();
    write_down();
    last_ns_ = work_(start_ns, nominal_ns_);
  }

  std::vector<OutputView> outputs() override {
    write_down();
    const Shape shape{1, static_cast<std::int64_t>(passes_)};
    return {{ElementType::float32, shape, told_ns_.data(), passes_ * sizeof(float)}};
  }

 private:
  void write_down() {
    if (!last_ns_) return;
    if (passes_ == told_ns_.size()) {
      throw Failure(Status::run_failed, "the null runtime makes at most " + std::to_string(kMaxPasses) + " passes");
    }
    told_ns_[passes_++] = static_cast<float>(*last_ns_);
    last_ns_.reset();
  }

  Work work_ = nullptr;
  std::int64_t nominal_ns_ = 0;
  std::optional<std::int64_t> last_ns_;
  std::vector<float> told_ns_;
  std::size_t passes_ = 0;
};

}  // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Null>(); }

}  // namespace tenpass
