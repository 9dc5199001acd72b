// The runner's end of the wire: one JSON object a line (PROTOCOL.md, "Events, in order").
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

#include "engine.hpp"
#include "failure.hpp"

namespace tenpass {

struct Pass {
  const char* phase;  // "warmup" or "timed"
  int index;
  std::int64_t ns;
  std::optional<int> cpu;
  std::optional<std::int64_t> khz;
};

// Every line is flushed. All throw Failure(unwritable) if it cannot be, but for error(), the last resort.
class Events {
 public:
  explicit Events(std::ostream& out) : out_(out) {}

  void hello(const Engine& engine);
  void loaded(std::int64_t load_ns);
  void pass(const Pass& pass);
  void output(const OutputView& output);
  void end(int warmup, int passes, std::int64_t peak_rss_bytes);
  void error(const Failure& failure);

 private:
  std::ostream& out_;
};

}  // namespace tenpass
