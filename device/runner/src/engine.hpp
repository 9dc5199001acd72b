// The one seam for runtimes. Each binary links exactly one file of engines/, which defines make_engine().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "failure.hpp"
#include "system.hpp"
#include "tensor.hpp"

namespace tenpass {

// A stretch of a profiled pass, between two of the readings of the clock in it, whose first is number 0.
struct Span {
  std::int64_t pass, from, to;
};

// The time of one node of the network, over all passes of a profile, and the execution provider that ran it, where the
// runtime says so. `spans` are what that time is made of.
struct NodeTime {
  std::string name;
  std::string op;
  std::int64_t total_ns;
  std::optional<std::string> provider = std::nullopt;
  std::vector<Span> spans = {};
};

struct Profile {
  std::int64_t total_ns;  // of the passes whole
  std::vector<NodeTime> nodes;  // in the order in which they run
};

// The operator type of a node that is a convolution: one by another costs many times as much a multiply-add.
inline std::string convolution(const std::string& op, std::int64_t height, std::int64_t width, bool is_grouped = false) {
  return op + " " + std::to_string(height) + "x" + std::to_string(width) + (is_grouped ? " grouped" : "");
}

// Called in the order written here. An engine may throw a Failure of a status of its choice; any other
// exception becomes the failure of the phase it came from: bad_model in load, bad_input in set_inputs,
// run_failed after that.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  virtual std::string name() const = 0;
  virtual std::string version() const = 0;
  virtual std::vector<std::string> providers() const = 0;

  // `provider` is one of kProviders (options.hpp); what it cannot run, the CPU's does.
  // Throws Failure(usage) if the runtime takes another number of files, Failure(no_provider) if it lacks the provider.
  virtual void load(const std::vector<std::string>& model_files, int threads, const std::string& provider) = 0;

  // Binds the inputs once, for every run that follows; they come in the order of the model's.
  // Throws Failure(bad_input) if their number, types or shapes are not the model's.
  virtual void set_inputs(const std::vector<Tensor>& inputs) = 0;

  // Before each run, outside the clock: gives back what the last one left and the next one cannot use.
  virtual void prepare_run() {}

  // One pass through the network, and nothing else: this is what is timed.
  virtual void run() = 0;

  // All of the last run's, in the order of the model's.
  virtual std::vector<OutputView> outputs() = 0;

  // So many more passes, timed node by node; the engine is of no other use afterwards. `folder` is for what has to be
  // written down meanwhile, and is as it was when this returns.
  virtual Profile profile(int /*passes*/, System& /*system*/, const std::string& /*folder*/) {
    throw Failure(Status::usage, name() + " does not tell the time of a node; leave --profile-passes out");
  }
};

// For a runtime that has no execution providers: throws Failure(no_provider) unless it is the CPU that is asked for.
inline void require_cpu(const std::string& provider, const std::string& runtime) {
  if (provider == "cpu") return;
  throw Failure(Status::no_provider, runtime + " has no execution provider " + provider + ", only the CPU");
}

// For a runtime whose networks have one input: it, if it is alone and of float32. Throws Failure(bad_input).
inline const Tensor& the_one_float32(const std::vector<Tensor>& inputs, const std::string& runtime) {
  if (inputs.size() != 1) {
    throw Failure(Status::bad_input, runtime + " takes one --input, not " + std::to_string(inputs.size()));
  }
  if (inputs.front().type != ElementType::float32) {
    throw Failure(Status::bad_input, runtime + " takes an input of float32, not of " + type_name(inputs.front().type));
  }
  return inputs.front();
}

// Loads the runtime's library. Throws Failure(runtime_missing) if that cannot be done.
std::unique_ptr<Engine> make_engine();

}  // namespace tenpass
