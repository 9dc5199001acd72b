// When the instructions of a stretch of code start on an in-order core, by which registers and which pipes they wait for;
// as if every load hit. Where a stretch starts matters: what the code before it left unfinished is its `Backlog`.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "core.hpp"

namespace tenpass {

// Each register's place in a Backlog: bits of Registers::core, then those of Registers::vector.
constexpr unsigned core_places = 34, places = core_places + 48;

// How many cycles after the latest start everything is free that is not yet. `open`: another may start beside the latest.
struct Backlog {
  std::array<std::uint8_t, places> registers{};
  std::array<std::uint8_t, pipes> busy{};
  bool open = false;

  std::string key() const {
    std::string text(reinterpret_cast<const char*>(registers.data()), registers.size());
    text.append(reinterpret_cast<const char*>(busy.data()), busy.size());
    text.push_back(open ? 1 : 0);
    return text;
  }
};

// Where an access of a stretch is in time: its own start, and the first that needs what it loads, or loads something else
// into the same register; in cycles after the stretch's start.
struct AccessTimes {
  static constexpr std::uint32_t not_here = ~std::uint32_t{0};
  std::uint32_t start = 0, use = not_here;
};

// What a stretch takes after a certain backlog.
struct Schedule {
  std::uint32_t cycles = 0;
  std::uint32_t backlog = 0;  // that it leaves, as a number of Backlogs
  std::vector<AccessTimes> accesses;  // by the instruction's place among those that access memory
  std::array<std::uint32_t, places> needed{};  // when each register is first read or written to; `not_here`: it is not
};

template <typename Function>
void each_place(const arm::Registers& set, Function function) {
  for (std::uint64_t rest = set.core; rest != 0; rest &= rest - 1) function(static_cast<unsigned>(__builtin_ctzll(rest)));
  for (std::uint64_t rest = set.vector; rest != 0; rest &= rest - 1)
    function(core_places + static_cast<unsigned>(__builtin_ctzll(rest)));
}

// Backlogs by number, so that they can be compared at once. Number 0 is none at all.
class Backlogs {
 public:
  Backlogs() { number_of(Backlog{}); }

  std::uint32_t number_of(const Backlog& backlog) {
    const auto [place, is_new] = numbers_.try_emplace(backlog.key(), static_cast<std::uint32_t>(all_.size()));
    if (is_new) all_.push_back(backlog);
    return place->second;
  }
  const Backlog& operator[](std::uint32_t number) const { return all_[number]; }

 private:
  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::vector<Backlog> all_;
};

class Scoreboard {
 public:
  Scoreboard(const Core& core, const Backlog& before) : core_(core), two_fp_pipes_(core.count("fp_pipes") == 2), vector_loads_wait_(core.count("vector_loads_wait") != 0) {
    // The latest start is cycle 0; nothing of the past is later than what is left of it.
    std::copy(before.registers.begin(), before.registers.end(), ready_.begin());
    std::copy(before.busy.begin(), before.busy.end(), free_.begin());
    open_ = before.open;
    loaded_by_.fill(none);
    needed_.fill(AccessTimes::not_here);
  }

  void start(const arm::Instruction& instruction) {
    const Timing& timing = core_.of(instruction.kind);
    const std::uint32_t from = earliest(instruction, timing);
    const bool beside = open_ && timing.may_be_second(instruction.units) && from <= latest_ && free_[0] <= latest_ + 1;
    const std::uint32_t at = beside ? latest_ : std::max({from, latest_ + 1, free_[0]});
    open_ = !beside && timing.may_be_first(instruction.units);
    latest_ = at;
    note_uses(instruction.reads, at);
    note_uses(instruction.late_reads, at + timing.late);
    note_uses(instruction.writes | instruction.moves, at);  // nothing overtakes a load that is still on its way
    const std::uint32_t busy = occupy(instruction.units, timing, at);
    finish(instruction, timing, at, busy);
  }

  Schedule schedule(Backlogs& backlogs) const {
    Schedule made;
    made.cycles = latest_;
    made.accesses = accesses_;
    made.needed = needed_;
    Backlog after;
    const std::uint32_t next = open_ ? 0 : 1;  // after so many cycles another may start
    for (unsigned place = 0; place < places; ++place) after.registers[place] = left(ready_[place], next);
    for (unsigned pipe = 0; pipe < pipes; ++pipe) after.busy[pipe] = left(free_[pipe], next);
    after.open = open_;
    made.backlog = backlogs.number_of(after);
    return made;
  }

 private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  static constexpr unsigned fp = static_cast<unsigned>(Pipe::fp), fp_upper = static_cast<unsigned>(Pipe::fp_upper);

  // The earliest cycle by what it reads and by its pipe.
  std::uint32_t earliest(const arm::Instruction& instruction, const Timing& timing) const {
    std::uint32_t from = 0;  // everyone waits for the issue
    if (timing.pipe == Pipe::fp) {
      const std::uint32_t one = free_[fp], other = two_fp_pipes_ ? free_[fp_upper] : one;
      from = instruction.units > 1 ? std::max(one, other) : std::min(one, other);
    } else if (timing.pipe != Pipe::issue) {
      from = free_[static_cast<unsigned>(timing.pipe)];
    }
    each_place(instruction.reads, [&](unsigned place) { from = std::max(from, ready_[place]); });
    each_place(instruction.late_reads, [&](unsigned place) {
      if (ready_[place] > timing.late) from = std::max(from, ready_[place] - timing.late);
    });
    return from;
  }

  // The pipe is busy from `at` on, for as many cycles as are returned.
  std::uint32_t occupy(unsigned units, const Timing& timing, std::uint32_t at) {
    if (timing.pipe != Pipe::fp || !two_fp_pipes_) {
      const std::uint32_t busy = timing.busy(units);
      if (timing.pipe != Pipe::alu) free_[static_cast<unsigned>(timing.pipe)] = at + busy;
      return busy;
    }
    const std::uint32_t busy = timing.busy(units > 1 ? (units + 1) / 2 : units);
    if (units > 1)
      free_[fp] = free_[fp_upper] = at + busy;
    else
      (free_[fp] <= free_[fp_upper] ? free_[fp] : free_[fp_upper]) = at + busy;
    return busy;
  }

  void note_uses(const arm::Registers& set, std::uint32_t at) {
    each_place(set, [&](unsigned place) {
      needed_[place] = std::min(needed_[place], at);
      if (loaded_by_[place] == none) return;
      AccessTimes& times = accesses_[loaded_by_[place]];
      times.use = std::min(times.use, at);
      loaded_by_[place] = none;
    });
  }

  void finish(const arm::Instruction& instruction, const Timing& timing, std::uint32_t at, std::uint32_t busy) {
    const bool loads = instruction.access == arm::Access::load;
    // Of several registers that are loaded the last one comes when the pipe is free again.
    const std::uint32_t last = loads && busy > 0 ? busy - 1 : 0;
    const std::uint32_t done = at + timing.latency + last;
    each_place(instruction.writes, [&](unsigned place) {
      ready_[place] = done;
      loaded_by_[place] = loads ? static_cast<std::uint32_t>(accesses_.size()) : none;
    });
    each_place(instruction.moves, [&](unsigned place) {
      ready_[place] = at + 1;
    });
    if (instruction.access == arm::Access::load || instruction.access == arm::Access::store)
      accesses_.push_back({at, loads && vector_loads_wait_ && instruction.writes.vector != 0 ? at : AccessTimes::not_here});
  }

  std::uint8_t left(std::uint32_t until, std::uint32_t least) const {
    const std::uint32_t cycles = until > latest_ ? until - latest_ : 0;
    return static_cast<std::uint8_t>(cycles <= least ? 0 : std::min<std::uint32_t>(cycles, 255));
  }

  const Core& core_;
  bool two_fp_pipes_, vector_loads_wait_;
  std::array<std::uint32_t, places> ready_{};
  std::array<std::uint32_t, pipes> free_{};
  std::array<std::uint32_t, places> loaded_by_{}, needed_{};
  std::vector<AccessTimes> accesses_;
  std::uint32_t latest_ = 0;
  bool open_ = false;
};

}  // namespace tenpass
