// A runtime that computes nothing: harness/selfcheck.py measures with it what the harness itself adds to a time.
//
// A model is a text file of one line: "nothing", "spin_ns 5000000" (keep the CPU busy for that time) or "sleep_ns
// 20000000" (give it away). A pass does that and looks at the clock itself; the output tells by how much each pass so
// far, warm-up included, was longer than its nominal time, in nanoseconds, of shape (1, passes). Float32 holds up to
// 16 ms of that exactly.
#include <time.h>

#include <cerrno>
#include <fstream>

#include "engine.hpp"
#include "failure.hpp"

namespace tenpass {
namespace {

constexpr std::size_t kMaxPasses = 65'536;
constexpr std::int64_t kMaxNominalNs = 60'000'000'000;

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void sleep_until(std::int64_t time_ns) {
  const timespec time{static_cast<time_t>(time_ns / 1'000'000'000), static_cast<long>(time_ns % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == EINTR) {
  }
}

class Null final : public Engine {
 public:
  std::string name() const override { return "null"; }
  std::string version() const override { return "1"; }
  std::vector<std::string> providers() const override { return {"CPU"}; }

  void load(const std::vector<std::string>& model_files, int /*threads*/) override {
    if (model_files.size() != 1) {
      throw Failure(Status::usage, "the null runtime takes one --model, not " + std::to_string(model_files.size()));
    }
    std::ifstream file(model_files.front());
    file >> what_;
    const bool has_time = what_ == "spin_ns" || what_ == "sleep_ns";
    if (has_time) file >> nominal_ns_;
    std::string more;
    if (!(has_time || what_ == "nothing") || !file || nominal_ns_ < 0 || nominal_ns_ > kMaxNominalNs ||
        file >> more) {
      throw Failure(Status::bad_model,
                    "'" + model_files.front() + "' says neither nothing, nor spin_ns N, nor sleep_ns N");
    }
    excess_ns_.resize(kMaxPasses);  // now, so that no pass has to
  }

  void set_input(const Shape& /*shape*/, const std::vector<float>& /*values*/) override {}

  void run() override {
    if (passes_ == excess_ns_.size()) {
      throw Failure(Status::run_failed, "the null runtime makes " + std::to_string(kMaxPasses) + " passes");
    }
    const std::int64_t start_ns = now_ns();
    std::int64_t stop_ns = start_ns;
    if (what_ == "sleep_ns") sleep_until(start_ns + nominal_ns_);
    do {
      stop_ns = now_ns();
    } while (stop_ns - start_ns < nominal_ns_);
    excess_ns_[passes_++] = static_cast<float>(stop_ns - start_ns - nominal_ns_);
  }

  OutputView output() override {
    return {{1, static_cast<std::int64_t>(passes_)}, excess_ns_.data(), passes_ * sizeof(float)};
  }

 private:
  std::string what_;
  std::int64_t nominal_ns_ = 0;
  std::vector<float> excess_ns_;
  std::size_t passes_ = 0;
};

}  // namespace

std::unique_ptr<Engine> make_engine() { return std::make_unique<Null>(); }

}  // namespace tenpass
