// A core with its memory, as a machine that is told which stretches of code are executed and what they access, and says
// how many cycles that takes on the real one. README.md has the method and its sources.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "branches.hpp"
#include "memory.hpp"
#include "scoreboard.hpp"

namespace tenpass {

// Instructions that are executed one after the other.
struct Code {
  std::vector<arm::Instruction> instructions;
  std::uint64_t start = 0, end = 0;  // where it lies, and the address behind it
  bool is_others = false;  // not the program's that is timed: the kernel's, as a rule

  // The address and the kind of the branch that ends it, if one does.
  arm::Branch ends_in() const { return instructions.empty() ? arm::Branch::none : instructions.back().branch; }

  // What it takes, by the backlog before it.
  std::unordered_map<std::uint32_t, std::unique_ptr<Schedule>> schedules;
  std::uint32_t latest_backlog = ~std::uint32_t{0};
  const Schedule* latest = nullptr;
};

// One instruction's access, as the machine is told of it. `prefetches` are what PLD instructions before it ask for, as
// seen from its address: an emulator does not tell of these.
struct AccessPoint {
  std::uint64_t bytes = 0;        // that it accesses at once, once it has
  std::uint64_t executed_in = 0;  // which execution
  std::uint32_t place = 0;        // among those of its Code that access memory
  bool writes = false;
  std::uint8_t tlb_entry = 0;     // where its page was
  arm::Registers loaded;
  std::vector<std::int32_t> prefetches;
};

// The points of a stretch, in order. A PLD belongs to the next access by its base register.
inline std::vector<AccessPoint> access_points(const std::vector<arm::Instruction>& instructions) {
  std::vector<AccessPoint> points;
  std::multimap<unsigned, std::int32_t> asked;  // by base
  for (const arm::Instruction& one : instructions) {
    if (one.access == arm::Access::prefetch && one.has_offset) asked.emplace(one.base, one.offset);
    if (one.access != arm::Access::load && one.access != arm::Access::store) continue;
    AccessPoint point;
    point.place = static_cast<std::uint32_t>(points.size());
    point.writes = one.access == arm::Access::store;
    point.loaded = one.writes;
    if (one.has_offset || one.indexed_after) {
      const auto [from, to] = asked.equal_range(one.base);
      for (auto each = from; each != to; ++each)
        point.prefetches.push_back(each->second - (one.indexed_after ? 0 : one.offset));
      asked.erase(from, to);
    }
    points.push_back(point);
  }
  return points;
}

class Machine {
 public:
  Machine(const Core& core, const Chip& chip) : core_(core), memory_(core, chip), branches_(core), unaligned_load_cycles_(core.count("unaligned_load_cycles")) {}

  // A stretch begins. What came before it has ended.
  void enter(Code& code) {
    settle_all();
    ++executions_;
    is_others_ = code.is_others;
    if (latest_ != nullptr) lose(Loss::branches, branches_.went(latest_->ends_in(), latest_->end, code.start, code.start != latest_->end));
    lose(Loss::fetch, memory_.fetch(code.start, code.end - 1, now()));
    if (code.latest_backlog != backlog_) plan(code);
    start_ = now();
    schedule_ = code.latest;
    backlog_ = schedule_->backlog;
    latest_ = &code;
    if (!waiting_.empty()) carry_over();
    lose(Loss::pipeline, schedule_->cycles);
  }

  // The stretch that was entered last accesses the bytes from first to last, at one of its points.
  void access(AccessPoint& point, std::uint64_t first, std::uint64_t last) {
    const bool crosses = !point.writes && (first & 7) + std::min<std::uint64_t>(last - first, 7) > 7;
    if (waiting_.empty() && !crosses && point.prefetches.empty() &&
        (point.writes ? memory_.goes_on(first, last) : memory_.is_at_hand(first, last, point.tlb_entry)))
      return;  // the most of them
    const AccessTimes& times = schedule_->accesses[point.place];
    if (!waiting_.empty()) settle(times.start);
    const Cycles translated = memory_.translate(first, start_ + times.start, point.tlb_entry);
    if (translated != 0) delay(Loss::tlb, translated);
    if (point.executed_in != executions_) {
      point.executed_in = executions_;
      if (crosses) delay(Loss::pipeline, unaligned_load_cycles_);
      for (const std::int32_t offset : point.prefetches) {
        const Memory::Load load = memory_.prefetch(first + static_cast<std::uint64_t>(std::int64_t{offset}), start_ + times.start);
        if (load.held_up != 0) delay(load.held_up_by, load.held_up);
      }
    }
    if (point.writes) {
      const Cycles held_up = memory_.store(first, last, start_ + times.start);
      if (held_up != 0) delay(Loss::stores, held_up);
      return;
    }
    const Memory::Load load = memory_.load(first, last, start_ + times.start);
    if (load.held_up != 0) delay(load.held_up_by, load.held_up);
    if (load.arrival.at > start_ + times.start) waiting_.push_back({load.arrival, times.use, point.loaded});
  }

  // Something else is executed that this machine is not told of: nothing is left to wait for.
  void leave() {
    settle_all();
    waiting_.clear();
    backlog_ = 0;
    latest_ = nullptr;
    is_others_ = false;
  }

  // Something else has had the core, and left nothing of this one's in L1 and the TLBs.
  void find_caches_empty() {
    leave();
    memory_.forget();
  }

  // From here on, cycles count.
  void begin() {
    leave();
    cycles_ = {};
    memory_.misses = {};
  }

  void clear() {
    leave();
    memory_.clear();
    branches_.clear();
    end_ = 0;
    cycles_ = {};
  }

  const std::array<Cycles, losses>& cycles() const { return cycles_; }
  const MissCounts& misses() const { return memory_.misses; }

 private:
  struct Waiting {
    Arrival arrival;
    std::uint32_t use;  // after the stretch's start
    arm::Registers registers;
  };

  Cycles now() const { return end_; }

  void lose(Loss loss, Cycles cycles) {
    cycles_[static_cast<unsigned>(is_others_ ? Loss::kernel : loss)] += cycles;
    end_ += cycles;
  }

  // ... in the middle of the stretch: all that follows starts later.
  void delay(Loss loss, Cycles cycles) {
    lose(loss, cycles);
    start_ += cycles;
  }

  // Who waits for what comes too late, until this many cycles after the stretch's start.
  void settle(std::uint32_t until) {
    std::stable_sort(waiting_.begin(), waiting_.end(), [](const Waiting& one, const Waiting& other) { return one.use < other.use; });
    std::size_t kept = 0;
    for (Waiting& one : waiting_) {
      if (one.use > until) {
        waiting_[kept++] = one;
        continue;
      }
      const Cycles used = start_ + one.use;
      if (one.arrival.at > used) delay(one.arrival.loss, one.arrival.at - used);
    }
    waiting_.resize(kept);
  }

  void settle_all() {
    if (!waiting_.empty()) settle(AccessTimes::not_here - 1);
  }

  // What the stretch before has loaded and not used may be used in this one.
  void carry_over() {
    std::size_t kept = 0;
    for (Waiting& one : waiting_) {
      if (one.arrival.at <= start_) continue;
      one.use = AccessTimes::not_here;
      each_place(one.registers, [&](unsigned place) { one.use = std::min(one.use, schedule_->needed[place]); });
      waiting_[kept++] = one;
    }
    waiting_.resize(kept);
  }

  void plan(Code& code) {
    std::unique_ptr<Schedule>& known = code.schedules[backlog_];
    if (!known) {
      Scoreboard scoreboard(core_, backlogs_[backlog_]);
      for (const arm::Instruction& one : code.instructions) scoreboard.start(one);
      known = std::make_unique<Schedule>(scoreboard.schedule(backlogs_));
    }
    code.latest_backlog = backlog_;
    code.latest = known.get();
  }

  Core core_;
  Memory memory_;
  Branches branches_;
  Cycles unaligned_load_cycles_;  // a load that crosses a multiple of 8 bytes takes so many more
  Backlogs backlogs_;
  std::uint32_t backlog_ = 0;
  const Code* latest_ = nullptr;
  const Schedule* schedule_ = nullptr;
  std::vector<Waiting> waiting_;
  Cycles start_ = 0, end_ = 0;
  std::uint64_t executions_ = 0;
  bool is_others_ = false;
  std::array<Cycles, losses> cycles_{};
};

}  // namespace tenpass
