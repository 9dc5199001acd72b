// When data is there: caches, their prefetchers, store buffer, TLBs and memory of one core, on a timeline in cycles.
//
// Addresses are virtual, and tell lines and pages apart. Where a line lies in a cache is the matter of its physical
// address, which differs from boot to boot: pages are put at places drawn from a seed, the same in each boot.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "core.hpp"

namespace tenpass {

using Cycles = std::uint64_t;

// What time is lost to.
enum class Loss : std::uint8_t { pipeline, dram, l2, stores, tlb, branches, fetch, kernel };
constexpr unsigned losses = 8;
constexpr const char* loss_names[losses] = {"pipeline", "dram", "l2", "stores", "tlb", "branches", "fetch", "kernel"};

struct CacheSize {
  std::uint64_t bytes = 0, ways = 0, line_bytes = 0;
  bool random = false;  // which line of a full set gives way; else the one that was not used for longest
};

// What a chip adds to its core. Times are in cycles of the core, at its clock.
struct Chip {
  CacheSize l1i, l1d, l2;
  double dram_cycles = 0;        // from a miss of L2 until its line is there, by itself
  double line_cycles = 0;        // how long a line that is read keeps the memory busy
  double write_line_cycles = 0;  // how long a line that is written keeps it busy
  double store_line_cycles = 0;  // how long at least from one line that is stored as a whole to the next
  unsigned l2_cycles = 0;        // from a miss of L1 until its line has come from L2, by itself
  unsigned l2_line_cycles = 0;   // how long a line keeps L2 busy
  std::uint64_t seed = 1;        // of physical pages
};

constexpr unsigned page_shift = 12;

// Which lines are where: sets of `ways`, the youngest first.
class Lines {
 public:
  Lines(const std::string& name, const CacheSize& size) : ways_(size.ways), random_(size.random) {
    const std::uint64_t sets = size.ways * size.line_bytes > 0 ? size.bytes / (size.ways * size.line_bytes) : 0;
    if (sets == 0 || (sets & (sets - 1)) != 0 || sets * size.ways * size.line_bytes != size.bytes)
      throw std::invalid_argument(name + ": its sets must be a power of two");
    set_mask_ = sets - 1;
    lines_.assign(sets * size.ways, nothing);
  }

  // `evicted`: what had to go, a line's number twice, and one more if it was written to; `nothing` where there was none.
  struct Found {
    bool hit;
    std::uint64_t evicted;

    bool is_dirty() const { return evicted != nothing && (evicted & 1); }
  };
  static constexpr std::uint64_t nothing = ~std::uint64_t{0};

  // The line is there afterwards, as the youngest of the set that `place` is of.
  Found touch(std::uint64_t line, std::uint64_t place, bool writes) {
    std::uint64_t* const set = &lines_[(place & set_mask_) * ways_];
    const std::uint64_t dirty = writes ? 1 : 0;
    if (set[0] >> 1 == line) {
      set[0] |= dirty;
      return {true, nothing};
    }
    for (std::uint64_t way = 1; way < ways_; ++way) {
      if (set[way] >> 1 != line) continue;
      const std::uint64_t one = set[way] | dirty;
      std::copy_backward(set, set + way, set + way + 1);
      set[0] = one;
      return {true, nothing};
    }
    std::uint64_t* const goes = set + (random_ && set[ways_ - 1] != nothing ? drawn() : ways_ - 1);
    const std::uint64_t gone = *goes;
    std::copy_backward(set, goes, goes + 1);
    set[0] = line << 1 | dirty;
    return {false, gone};
  }

  // Whether it is there; where it is, it is the youngest afterwards, if that matters.
  bool refresh(std::uint64_t line, std::uint64_t place) {
    std::uint64_t* const set = &lines_[(place & set_mask_) * ways_];
    if (set[0] >> 1 == line) return true;
    for (std::uint64_t way = 1; way < ways_; ++way) {
      if (set[way] >> 1 != line) continue;
      if (!random_) std::rotate(set, set + way, set + way + 1);
      return true;
    }
    return false;
  }

  // Writes to it, if it is there, as `refresh` does.
  bool write(std::uint64_t line, std::uint64_t place) {
    std::uint64_t* const set = &lines_[(place & set_mask_) * ways_];
    for (std::uint64_t way = 0; way < ways_; ++way) {
      if (set[way] >> 1 != line) continue;
      set[way] |= 1;
      if (!random_) std::rotate(set, set + way, set + way + 1);
      return true;
    }
    return false;
  }

  bool has(std::uint64_t line, std::uint64_t place) const {
    const std::uint64_t* const set = &lines_[(place & set_mask_) * ways_];
    return std::any_of(set, set + ways_, [line](std::uint64_t one) { return one >> 1 == line; });
  }

  void clear() {
    std::fill(lines_.begin(), lines_.end(), nothing);
    state_ = 1;
  }

 private:
  // One of the ways, from a generator that begins alike in each boot (xorshift, Marsaglia 2003).
  std::uint64_t drawn() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 32) % ways_;
  }

  std::uint64_t ways_, set_mask_ = 0, state_ = 1;
  bool random_;
  std::vector<std::uint64_t> lines_;  // line << 1 | written to
};

// When something is there, and what it would be lost to if that is too late.
struct Arrival {
  Cycles at = 0;
  Loss loss = Loss::l2;
};

struct MissCounts {
  std::uint64_t l1i = 0, l1d = 0, l2 = 0;
};

class Memory {
 public:
  Memory(const Core& core, const Chip& chip)
      : chip_(chip),
        line_shift_(shift_of(chip.l1d.line_bytes)),
        fetch_shift_(shift_of(chip.l1i.line_bytes)),
        outstanding_prefetches_(static_cast<std::ptrdiff_t>(core.count("outstanding_prefetches"))),
        merged_shift_(shift_of(core.count("merged_store_bytes"))),
        streaming_after_(core.count("streaming_after_lines")),
        prefetch_after_(core.count("prefetch_after_misses")),
        prefetch_ahead_(core.count("prefetch_lines_ahead")),
        prefetch_reach_(core.count("prefetch_stride_lines")),
        micro_tlb_cycles_(core.count("micro_tlb_miss_cycles")),
        tlb_miss_cycles_(core.count("tlb_miss_cycles")),
        descriptors_a_line_(static_cast<unsigned>(chip.l1d.line_bytes) / core.count("page_descriptor_bytes")),
        l1i_("l1i", chip.l1i),
        l1d_("l1d", chip.l1d),
        l2_("l2", chip.l2),
        loading_(core.count("outstanding_loads")),
        filling_(core.count("outstanding_stores")),
        streaming_(core.count("streamed_lines")),
        streams_(core.count("prefetch_streams")),
        micro_tlb_entries_(core.count("micro_tlb_entries")),
        tlb_("tlb", {core.count("tlb_entries") * std::uint64_t{8}, core.count("tlb_ways"), 8}) {
    known_.fill(Lines::nothing);
    micro_tlb_.fill(Lines::nothing);
    if (micro_tlb_entries_ == 0 || micro_tlb_entries_ > micro_tlb_.size())
      throw std::invalid_argument("micro_tlb_entries must be 1 to " + std::to_string(micro_tlb_.size()));
    if (chip.l1d.line_bytes != chip.l2.line_bytes || chip.l1i.line_bytes > chip.l2.line_bytes)
      throw std::invalid_argument("l1d and l2 must have lines of one size, and l1i none that are longer");
  }

  // Whether a load waits for nothing, as far as can be told at once.
  bool is_at_hand(std::uint64_t first, std::uint64_t last, std::uint8_t entry) const {
    const std::uint64_t line = first >> line_shift_;
    return last >> line_shift_ == line && known_[line % known_lines] == line && micro_tlb_[entry] == first >> page_shift;
  }

  // Whether a store goes to the line that was stored to last; then that is done.
  bool goes_on(std::uint64_t first, std::uint64_t last) {
    const std::uint64_t line = first >> line_shift_;
    if (line != stored_ || last >> line_shift_ != line) return false;
    merge(first >> merged_shift_, last - first + 1);
    return true;
  }

  // When what is loaded is there, where that is not at once; and how long everything is held up before it can be sent for,
  // because as many loads as the core can have are still waiting.
  struct Load {
    Arrival arrival;
    Cycles held_up = 0;
    Loss held_up_by = Loss::l2;

    void is_there(const Arrival& line) {
      if (line.at > arrival.at) arrival = line;
    }
  };

  Load load(std::uint64_t first, std::uint64_t last, Cycles now) {
    Load load;
    const std::uint64_t end = last >> line_shift_;
    for (std::uint64_t line = first >> line_shift_; line <= end; ++line)
      if (known_[line % known_lines] != line) load_line(line, now, load);
    return load;
  }

  // How many cycles a store that starts at `now` holds everything up.
  Cycles store(std::uint64_t first, std::uint64_t last, Cycles now) {
    Cycles held_up = 0;
    const std::uint64_t end = last >> line_shift_;
    for (std::uint64_t line = first >> line_shift_; line <= end; ++line) {
      const std::uint64_t from = std::max(first, line << line_shift_);
      const std::uint64_t to = std::min(last, ((line + 1) << line_shift_) - 1);
      held_up += store_line(line, from, to - from + 1, now + held_up);
    }
    return held_up;
  }

  // A PLD: a load that nobody waits for.
  Load prefetch(std::uint64_t address, Cycles now) {
    Load load;
    const std::uint64_t line = address >> line_shift_;
    if (l1d_.has(line, place(line)))
      follow(line, now);
    else
      send_for_load(line, now, load);
    return load;
  }

  // How long the core waits for the instructions from first to last.
  Cycles fetch(std::uint64_t first, std::uint64_t last, Cycles now) {
    Cycles waited = 0;
    for (std::uint64_t line = first >> fetch_shift_; line <= last >> fetch_shift_; ++line) {
      if (line == latest_fetched_) continue;
      latest_fetched_ = line;
      if (l1i_.touch(line, line, false).hit) continue;
      ++misses.l1i;
      const std::uint64_t wide = line << fetch_shift_ >> line_shift_;
      waited += from_l2(wide, now + waited).at - now - waited;
      into_l2(wide, false, now + waited);
      l1i_.touch(line + 1, line + 1, false);  // the next one is fetched along with it
    }
    return waited;
  }

  // How long the core waits for where a page is. `entry`: where it was found last by the one who asks.
  Cycles translate(std::uint64_t address, Cycles now, std::uint8_t& entry) {
    const std::uint64_t page = address >> page_shift;
    if (micro_tlb_[entry] == page) return 0;
    const auto end = micro_tlb_.begin() + micro_tlb_entries_, found = std::find(micro_tlb_.begin(), end, page);
    if (found != end) {
      entry = static_cast<std::uint8_t>(found - micro_tlb_.begin());
      return 0;
    }
    entry = oldest_entry_;
    oldest_entry_ = static_cast<std::uint8_t>((oldest_entry_ + 1u) % micro_tlb_entries_);
    micro_tlb_[entry] = page;
    if (tlb_.touch(page, page, false).hit) return micro_tlb_cycles_;
    return walk(page, now + micro_tlb_cycles_ + tlb_miss_cycles_) - now;
  }

  // Whatever was in L1 and the TLBs is there no longer.
  void forget() {
    for (Lines* lines : {&l1i_, &l1d_, &tlb_}) lines->clear();
    micro_tlb_.fill(Lines::nothing);
    known_.fill(Lines::nothing);
    latest_fetched_ = Lines::nothing;
  }

  void clear() {
    for (Lines* lines : {&l1i_, &l1d_, &l2_, &tlb_}) lines->clear();
    micro_tlb_.fill(Lines::nothing);
    oldest_entry_ = 0;
    std::fill(streams_.begin(), streams_.end(), Stream{});
    known_.fill(Lines::nothing);
    latest_fetched_ = stored_ = Lines::nothing;
    coming_.clear();
    std::fill(loading_.begin(), loading_.end(), Coming{});
    for (auto* busy_until : {&filling_, &streaming_}) std::fill(busy_until->begin(), busy_until->end(), 0);
    stored_bytes_ = block_bytes_ = full_lines_ = stored_block_ = 0;
    stored_in_order_ = false;
    dram_free_ = l2_free_ = stored_free_ = latest_arrival_ = 0;
  }

  MissCounts misses;

 private:
  struct Stream {
    std::uint64_t line = Lines::nothing;
    std::int64_t stride = 0;
    unsigned misses = 0;
    std::uint64_t next = 0;  // the next one to prefetch
    std::uint64_t used = 0;
  };
  struct Coming {
    std::uint64_t line = Lines::nothing;
    Arrival arrival;
    bool prefetched = false;
  };

  static unsigned shift_of(std::uint64_t power) {
    unsigned shift = 0;
    while (shift < 63 && std::uint64_t{1} << shift != power) ++shift;
    if (shift == 63) throw std::invalid_argument("lines must have a power of two of bytes");
    return shift;
  }

  // A line's number by its physical address.
  std::uint64_t place(std::uint64_t line) {
    const unsigned shift = page_shift - line_shift_;
    const std::uint64_t page = line >> shift;
    if (page != placed_page_) {
      placed_page_ = page;
      std::uint64_t mixed = (page + chip_.seed) * 0x9e3779b97f4a7c15;
      mixed ^= mixed >> 29;
      mixed *= 0xbf58476d1ce4e5b9;
      placed_ = (mixed >> 40) << shift;
    }
    return placed_ | (line & ((std::uint64_t{1} << shift) - 1));
  }

  Cycles dram(Cycles now, double busy) {
    const Cycles start = std::max<Cycles>(now, dram_free_);
    dram_free_ = start + rounded(busy);
    return start;
  }

  // A line from L2, or from behind it, past L2.
  Arrival from_l2(std::uint64_t line, Cycles now) {
    const Cycles start = std::max(now, l2_free_);
    l2_free_ = start + chip_.l2_line_cycles;
    if (l2_.refresh(line, place(line))) return {start + chip_.l2_cycles, Loss::l2};
    ++misses.l2;
    return {dram(start, chip_.line_cycles) + rounded(chip_.dram_cycles), Loss::dram};
  }

  // L2 gets what L1D gives up, whether it was written to or not, and instructions; nothing else. What L2 gives up in turn
  // keeps the memory busy if it was written to.
  void into_l2(std::uint64_t line, bool dirty, Cycles now) {
    if (l2_.touch(line, place(line), dirty).is_dirty()) dram(now, chip_.write_line_cycles);
  }

  void give_up(const Lines::Found& found, Cycles now) {
    if (found.evicted == Lines::nothing) return;
    std::uint64_t& known = known_[(found.evicted >> 1) % known_lines];
    if (known == found.evicted >> 1) known = Lines::nothing;
    l2_free_ = std::max(now, l2_free_) + chip_.l2_line_cycles;
    into_l2(found.evicted >> 1, found.is_dirty(), now);
  }

  // When a page's descriptor has been read. Those of the tables above it are in a cache of their own.
  Cycles walk(std::uint64_t page, Cycles now) {
    const std::uint64_t line = std::uint64_t{1} << 57 | page / descriptors_a_line_;
    if (l1d_.refresh(line, place(line))) return now;
    forget_arrived(now);
    return send_for(line, now).at;
  }

  void forget_arrived(Cycles now) {
    coming_.erase(std::remove_if(coming_.begin(), coming_.end(), [now](const Coming& one) { return one.arrival.at <= now; }),
                  coming_.end());
  }

  // A place for a load that misses: the one that has waited for this line, or one whose line has come.
  Coming& place_for(std::uint64_t line, Cycles& now, Load& load) {
    Coming* first = &loading_[0];
    for (Coming& one : loading_) {
      if (one.line == line) return one;
      if (one.arrival.at < first->arrival.at) first = &one;
    }
    if (first->arrival.at > now) {
      load.held_up += first->arrival.at - now;
      load.held_up_by = first->arrival.loss;
      now = first->arrival.at;
    }
    return *first;
  }

  Arrival send_for(std::uint64_t line, Cycles now) {
    const Arrival arrival = from_l2(line, now);
    give_up(l1d_.touch(line, place(line), false), now);
    coming_.push_back({line, arrival});
    latest_arrival_ = std::max(latest_arrival_, arrival.at);
    return arrival;
  }

  void load_line(std::uint64_t line, Cycles now, Load& load) {
    if (l1d_.refresh(line, place(line))) {
      const Arrival arrival = arrival_of(line, now);
      load.is_there(arrival);
      follow(line, now);
      if (arrival.at == 0 && chip_.l1d.random) known_[line % known_lines] = line;
    } else {
      ++misses.l1d;
      send_for_load(line, now, load);
    }
  }

  void send_for_load(std::uint64_t line, Cycles now, Load& load) {
    Coming& place = place_for(line, now, load);
    forget_arrived(now);
    place = {line, send_for(line, now), false};
    load.is_there(place.arrival);
    train(line, now);
  }

  Arrival arrival_of(std::uint64_t line, Cycles now) const {
    if (latest_arrival_ <= now) return {};
    for (const Coming& one : coming_)
      if (one.line == line && one.arrival.at > now) return one.arrival;
    return {};
  }

  // A miss: it may be the next of a stream, or one of a new one.
  void train(std::uint64_t line, Cycles now) {
    if (streams_.empty()) return;
    Stream* oldest = &streams_[0];
    for (Stream& stream : streams_) {
      const std::int64_t stride = static_cast<std::int64_t>(line - stream.line);
      const bool is_near = stream.line != Lines::nothing && stride != 0 && std::abs(stride) <= static_cast<std::int64_t>(prefetch_reach_);
      if (is_near) {
        stream.misses = stride == stream.stride ? stream.misses + 1 : 2;
        stream.stride = stride;
        stream.line = line;
        stream.used = ++uses_;
        stream.next = line + static_cast<std::uint64_t>(stride);
        if (stream.misses >= prefetch_after_) run_ahead(stream, line, now);
        return;
      }
      if (stream.used < oldest->used) oldest = &stream;
    }
    *oldest = Stream{line, 0, 1, 0, ++uses_};
  }

  // A line that was prefetched is used: its stream goes on.
  void follow(std::uint64_t line, Cycles now) {
    for (Stream& stream : streams_) {
      if (stream.misses < prefetch_after_ || stream.line + static_cast<std::uint64_t>(stream.stride) != line) continue;
      stream.line = line;
      stream.used = ++uses_;
      run_ahead(stream, line, now);
      return;
    }
  }

  void run_ahead(Stream& stream, std::uint64_t line, Cycles now) {
    const unsigned shift = page_shift - line_shift_;
    for (;;) {
      const std::int64_t ahead = (static_cast<std::int64_t>(stream.next - line)) / stream.stride;
      if (ahead > static_cast<std::int64_t>(prefetch_ahead_) || stream.next >> shift != line >> shift) return;
      forget_arrived(now);
      if (!l1d_.has(stream.next, place(stream.next))) {
        if (std::count_if(coming_.begin(), coming_.end(), [](const Coming& one) { return one.prefetched; }) >= outstanding_prefetches_) return;
        send_for(stream.next, now);
        coming_.back().prefetched = true;
      }
      stream.next += static_cast<std::uint64_t>(stream.stride);
    }
  }

  void merge(std::uint64_t block, std::uint64_t bytes) {
    if (block != stored_block_) stored_in_order_ = stored_in_order_ && block == stored_block_ + 1 && block_bytes_ >> merged_shift_ != 0;
    block_bytes_ = block == stored_block_ ? block_bytes_ + bytes : bytes;
    stored_block_ = block;
    stored_bytes_ += bytes;
  }

  // Stores are merged into blocks before they are written. Lines that are written to block by block from their beginning on,
  // one line beside the other, are written whole after some of them, and not read before.
  Cycles store_line(std::uint64_t line, std::uint64_t first, std::uint64_t bytes, Cycles now) {
    const std::uint64_t block = first >> merged_shift_;
    if (line == stored_) {
      merge(block, bytes);
      return 0;
    }
    const bool was_whole = stored_in_order_ && stored_bytes_ >= std::uint64_t{1} << line_shift_;
    full_lines_ = was_whole && line + 1 - stored_ <= 2 ? full_lines_ + 1 : 0;
    stored_ = line;
    stored_block_ = block;
    stored_bytes_ = block_bytes_ = bytes;
    stored_in_order_ = block == line << line_shift_ >> merged_shift_;
    if (l1d_.write(line, place(line))) return 0;
    if (full_lines_ >= streaming_after_) {
      const Cycles start = now + wait_for_one_of(streaming_, now);
      const Cycles begun = std::max(dram(start, chip_.write_line_cycles), stored_free_);
      stored_free_ = begun + rounded(chip_.store_line_cycles);
      *std::min_element(streaming_.begin(), streaming_.end()) = stored_free_;
      return start - now;
    }
    ++misses.l1d;
    const Cycles start = now + wait_for_one_of(filling_, now);
    *std::min_element(filling_.begin(), filling_.end()) = from_l2(line, start).at;
    give_up(l1d_.touch(line, place(line), true), start);
    return start - now;
  }

  static Cycles wait_for_one_of(const std::vector<Cycles>& busy_until, Cycles now) {
    const Cycles first = *std::min_element(busy_until.begin(), busy_until.end());
    return first > now ? first - now : 0;
  }

  static Cycles rounded(double cycles) { return static_cast<Cycles>(cycles + 0.5); }

  Chip chip_;
  unsigned line_shift_, fetch_shift_;
  unsigned merged_shift_, streaming_after_, prefetch_after_, prefetch_ahead_,
      prefetch_reach_, micro_tlb_cycles_, tlb_miss_cycles_, descriptors_a_line_;
  std::ptrdiff_t outstanding_prefetches_;
  Lines l1i_, l1d_, l2_;
  std::vector<Coming> loading_;
  std::vector<Stream> streams_;
  std::array<std::uint64_t, 32> micro_tlb_;
  unsigned micro_tlb_entries_;
  std::uint8_t oldest_entry_ = 0;
  Lines tlb_;
  std::vector<Coming> coming_;
  std::vector<Cycles> filling_, streaming_;  // until when: what stores wait for, by line
  std::uint64_t uses_ = 0;
  Cycles dram_free_ = 0, l2_free_ = 0, stored_free_ = 0, latest_arrival_ = 0;
  std::uint64_t latest_fetched_ = Lines::nothing;
  // Some of the lines that are in L1D and wait for nothing, so that it need not be searched. Not where their order matters.
  static constexpr std::uint64_t known_lines = 128;
  std::array<std::uint64_t, known_lines> known_;
  std::uint64_t stored_ = Lines::nothing, stored_bytes_ = 0, stored_block_ = 0, block_bytes_ = 0, full_lines_ = 0;
  bool stored_in_order_ = false;
  std::uint64_t placed_page_ = Lines::nothing, placed_ = 0;
};

}  // namespace tenpass
