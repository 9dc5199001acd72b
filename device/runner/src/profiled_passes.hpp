// Passes in which the time of each node is told: how they are made, and what becomes of the nodes' times.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "marks.h"
#include "time_of_day.hpp"

namespace tenpass {

// While there is one, readings of the time of day are numbered (time_of_day.hpp), in place of what it was.
class ProfiledPasses {
 public:
  explicit ProfiledPasses(System& system, std::int64_t epoch_ns = 0) { number_readings(system, epoch_ns); }
  ProfiledPasses(const ProfiledPasses&) = delete;
  ProfiledPasses& operator=(const ProfiledPasses&) = delete;
  ~ProfiledPasses() { resume_time_of_day(); }

  // Makes a pass, which is what `work` does. It lies between marks, as the timed ones.
  template <typename Work>
  void make(Work&& work) {
    tenpass_mark_begin();
    first_.push_back(read());
    std::forward<Work>(work)();
    const std::int64_t last = read();
    tenpass_mark_end();
    total_ns_ += reading_ns(last) - reading_ns(first_.back());
  }

  // The number of a reading of the clock, now.
  std::int64_t read() { return read_numbered(); }

  // A node ran in a pass between these two readings: in the one that is being made, if no other is named.
  void add(NodeTime& node, std::int64_t from, std::int64_t to) const { add(node, first_.size() - 1, from, to); }
  void add(NodeTime& node, std::size_t pass, std::int64_t from, std::int64_t to) const {
    node.total_ns += reading_ns(to) - reading_ns(from);
    node.spans.push_back({static_cast<std::int64_t>(pass), from - first_[pass], to - first_[pass]});
  }

  std::int64_t total_ns() const { return total_ns_; }

 private:
  std::vector<std::int64_t> first_;  // reading of each pass
  std::int64_t total_ns_ = 0;
};

}  // namespace tenpass
