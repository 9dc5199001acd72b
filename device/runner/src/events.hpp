// The runner's end of the wire: one JSON object a line (PROTOCOL.md, "Events, in order").
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "engine.hpp"
#include "failure.hpp"
#include "system.hpp"

namespace tenpass {

constexpr std::size_t kMaxNodes = 65'536;  // that the host takes of a profile
constexpr std::size_t kMaxOutputs = 256;  // that it takes, and of so many dimensions
constexpr std::size_t kMaxOutputRank = 16;

// What the system says of itself, and why it does not count, if it was asked to.
struct Machine {
  std::string name;
  std::vector<std::string> cpu_features;
  std::optional<std::string> counters_error;
};

struct Pass {
  const char* phase;  // "warmup" or "timed"
  int index;
  std::int64_t ns;
  std::optional<std::int64_t> cpu_ns;
  std::optional<std::int64_t> wait_ns;
  std::optional<int> cpu;
  std::optional<std::int64_t> khz;
  std::optional<int> millicelsius;
  std::optional<Counts> counts;
};

// Every line is flushed, but for passes that are held back. All throw Failure(unwritable) if it cannot be, but for error(), the last resort.
class Events {
 public:
  explicit Events(std::ostream& out) : out_(out) {}

  void hello(const Engine& engine, const Machine& machine);
  void loaded(std::int64_t load_ns);
  // From here on passes are written when they have taken a quarter of a second together, and before any other event:
  // whoever carries them to the host would do so on the next pass's time.
  void hold_passes();
  void pass(const Pass& pass);
  void output(const std::vector<OutputView>& outputs);
  // With all its nodes and, if they are wanted, their spans.
  void profile(int passes, const Profile& profile, bool with_spans);
  void end(int warmup, std::optional<bool> settled, int passes, std::int64_t peak_rss_bytes, std::uint64_t cpu_mask);
  void error(const Failure& failure);

 private:
  void write(const nlohmann::ordered_json& event);
  void write_passes();

  std::ostream& out_;
  std::int64_t hold_ns_ = 0;
  std::int64_t held_ns_ = 0;
  std::vector<Pass> held_;
};

}  // namespace tenpass
