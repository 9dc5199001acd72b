// The one seam for runtimes. Each binary links exactly one file of engines/, which defines make_engine().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "failure.hpp"
#include "system.hpp"

namespace tenpass {

using Shape = std::vector<std::int64_t>;

// An output tensor, float32 in C order, where the engine keeps it; valid until the next run.
struct OutputView {
  Shape shape;
  const void* data;
  std::size_t bytes;
};

// The time of one node of the network, over all passes of a profile.
struct NodeTime {
  std::string name;
  std::string op;
  std::int64_t total_ns;
};

struct Profile {
  std::int64_t total_ns;  // of the passes whole
  std::vector<NodeTime> nodes;  // in the order in which they run
};

// Called in the order written here. An engine may throw a Failure of a status of its choice; any other
// exception becomes the failure of the phase it came from: bad_model in load, bad_input in set_input,
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

  // Throws Failure(usage) if the runtime takes another number of files.
  virtual void load(const std::vector<std::string>& model_files, int threads) = 0;

  // Binds the input once, for every run that follows.
  virtual void set_input(const Shape& shape, const std::vector<float>& values) = 0;

  // One pass through the network, and nothing else: this is what is timed.
  virtual void run() = 0;

  virtual OutputView output() = 0;

  // So many more passes, timed node by node; the engine is of no other use afterwards. `folder` is for what has to be
  // written down meanwhile, and is as it was when this returns.
  virtual Profile profile(int /*passes*/, System& /*system*/, const std::string& /*folder*/) {
    throw Failure(Status::usage, name() + " does not tell the time of a node; leave --profile-passes out");
  }
};

// Loads the runtime's library. Throws Failure(runtime_missing) if that cannot be done.
std::unique_ptr<Engine> make_engine();

}  // namespace tenpass
