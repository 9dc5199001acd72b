// A simulated memory hierarchy of one core: L1I and L1D, and a unified L2 below both. README.md says what it leaves out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace tenpass {

// A set-associative cache with true LRU replacement. It holds no data, only which lines are there.
class Cache {
 public:
  // Throws std::invalid_argument for what is no cache.
  Cache(const std::string& name, std::uint64_t size_bytes, std::uint64_t ways, std::uint64_t line_bytes)
      : ways_(ways), line_shift_(shift_of(line_bytes)) {
    const bool whole = ways > 0 && line_bytes > 0 && size_bytes % (ways * line_bytes) == 0;
    const std::uint64_t sets = whole ? size_bytes / (ways * line_bytes) : 0;
    if (sets == 0 || shift_of(line_bytes) == no_shift || shift_of(sets) == no_shift)
      throw std::invalid_argument(name + ": the sets and the bytes of a line must be powers of two, not " +
                                  std::to_string(size_bytes) + " bytes, " + std::to_string(ways) + " ways, lines of " +
                                  std::to_string(line_bytes) + " bytes");
    set_mask_ = sets - 1;
    lines_.assign(sets * ways, nothing);
  }

  unsigned line_shift() const { return line_shift_; }

  // The line (an address >> line_shift()) is there afterwards, as the youngest of its set. Whether it was before.
  bool access(std::uint64_t line) {
    std::uint64_t* const set = &lines_[(line & set_mask_) * ways_];  // youngest first
    if (set[0] == line) return true;
    for (std::uint64_t way = 1; way < ways_; ++way) {
      if (set[way] != line) continue;
      std::rotate(set, set + way, set + way + 1);
      return true;
    }
    std::copy_backward(set, set + ways_ - 1, set + ways_);
    set[0] = line;
    return false;
  }

  void clear() { std::fill(lines_.begin(), lines_.end(), nothing); }

 private:
  static constexpr std::uint64_t nothing = ~std::uint64_t{0};
  static constexpr unsigned no_shift = 64;

  static unsigned shift_of(std::uint64_t power) {
    for (unsigned shift = 0; shift < no_shift; ++shift)
      if (power == std::uint64_t{1} << shift) return shift;
    return no_shift;
  }

  std::uint64_t ways_;
  unsigned line_shift_;
  std::uint64_t set_mask_ = 0;
  std::vector<std::uint64_t> lines_;
};

struct Misses {
  std::uint64_t l1i = 0, l1d = 0, l2 = 0;
};

class Hierarchy {
 public:
  Hierarchy(Cache l1i, Cache l1d, Cache l2) : l1i_(std::move(l1i)), l1d_(std::move(l1d)), l2_(std::move(l2)) {
    if (l2_.line_shift() < l1i_.line_shift() || l2_.line_shift() < l1d_.line_shift())
      throw std::invalid_argument("l2: its lines must not be shorter than those of l1i and l1d");
  }

  // The bytes from first to last, both included, are fetched as instructions.
  void fetch(std::uint64_t first, std::uint64_t last) {
    each_line(l1i_, first, last, last_fetched_, misses.l1i);
  }

  // The bytes from first to last, both included, are loaded or stored.
  void access(std::uint64_t first, std::uint64_t last) { each_line(l1d_, first, last, last_accessed_, misses.l1d); }

  void clear() {
    for (Cache* cache : {&l1i_, &l1d_, &l2_}) cache->clear();
    last_fetched_ = last_accessed_ = nothing;
  }

  Misses misses;

 private:
  static constexpr std::uint64_t nothing = ~std::uint64_t{0};

  // `latest` is the line that was used last in this cache: it is there, and the youngest of its set already.
  void each_line(Cache& cache, std::uint64_t first, std::uint64_t last, std::uint64_t& latest, std::uint64_t& missed) {
    std::uint64_t line = first >> cache.line_shift();
    const std::uint64_t end = last >> cache.line_shift();
    if (line == latest && line == end) return;
    for (; line <= end; ++line) {
      if (cache.access(line)) continue;
      ++missed;
      if (!l2_.access(line << cache.line_shift() >> l2_.line_shift())) ++misses.l2;
    }
    latest = end;
  }

  Cache l1i_, l1d_, l2_;
  std::uint64_t last_fetched_ = nothing, last_accessed_ = nothing;
};

}  // namespace tenpass
