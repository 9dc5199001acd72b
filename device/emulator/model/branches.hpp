// Whether a core foresees where control goes: a table of two-bit counters by address and history, the targets of indirect
// branches, and a stack of return addresses, which is taken to be always right.
#pragma once

#include <cstdint>
#include <vector>

#include "core.hpp"

namespace tenpass {

class Branches {
 public:
  explicit Branches(const Core& core)
      : history_bits_(core.count("branch_history_bits")),
        counters_(core.count("branch_counters"), 1),
        targets_(core.count("branch_targets")),
        cost_(core.count("branch_miss_cycles")) {
    if ((counters_.size() & (counters_.size() - 1)) != 0 || targets_.empty())
      throw std::invalid_argument("branch_counters must be a power of two, and branch_targets not zero");
  }

  // A branch at `address` went to `target`; `taken`: not to what follows it. How many cycles that costs.
  unsigned went(arm::Branch branch, std::uint64_t address, std::uint64_t target, bool taken) {
    if (branch == arm::Branch::conditional) return conditional(address, taken);
    if (branch == arm::Branch::indirect || branch == arm::Branch::indirect_call) return indirect(address, target);
    return 0;
  }

  void clear() {
    std::fill(counters_.begin(), counters_.end(), std::uint8_t{1});
    std::fill(targets_.begin(), targets_.end(), Target{});
    history_ = 0;
  }

 private:
  struct Target {
    std::uint64_t from = 0, to = 0;
  };

  unsigned conditional(std::uint64_t address, bool taken) {
    std::uint8_t& counter = counters_[(address >> 1 ^ history_) & (counters_.size() - 1)];
    const bool foreseen = (counter >= 2) == taken;
    if (taken && counter < 3) ++counter;
    if (!taken && counter > 0) --counter;
    history_ = (history_ << 1 | (taken ? 1 : 0)) & ((std::uint64_t{1} << history_bits_) - 1);
    return foreseen ? 0 : cost_;
  }

  unsigned indirect(std::uint64_t address, std::uint64_t to) {
    Target& known = targets_[(address >> 1) % targets_.size()];
    const bool foreseen = known.from == address && known.to == to;
    known = {address, to};
    return foreseen ? 0 : cost_;
  }

  unsigned history_bits_;
  std::vector<std::uint8_t> counters_;
  std::vector<Target> targets_;
  unsigned cost_;
  std::uint64_t history_ = 0;
};

}  // namespace tenpass
