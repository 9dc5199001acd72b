#include "memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace tenpass::clc {
namespace {

constexpr std::size_t kCacheLineFloats = 16;
constexpr std::size_t kPageFloats = 2 * 1024 * 1024 / sizeof(float);  // a huge one

// The address sanitizer knows of chunks alone: a gap that must not be touched shows it where what is handed out ends.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kGapFloats = 4 * kCacheLineFloats;
#else
constexpr std::size_t kGapFloats = 0;
#endif

std::size_t round_up(std::size_t value, std::size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

Floats Memory::floats(std::size_t count) {
  const std::size_t size = round_up(std::max<std::size_t>(count, 1), kCacheLineFloats) + kGapFloats;
  if (size > left_) {
    const std::size_t chunk = round_up(size, kPageFloats);
    const std::size_t bytes = chunk * sizeof(float);
    auto* const made = static_cast<float*>(std::aligned_alloc(kPageFloats * sizeof(float), bytes));
    if (made == nullptr) throw std::bad_alloc();
    chunks_.emplace_back(made);
    next_ = made;
    madvise(next_, bytes, MADV_HUGEPAGE);  // a wish: without huge pages all works alike
    left_ = chunk;
  }
  const Floats taken{next_, count};
  std::fill_n(next_, size, 0.0f);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(next_ + count, (size - count) * sizeof(float));
#endif
  next_ += size;
  left_ -= size;
  return taken;
}

}  // namespace tenpass::clc
