// Memory for weights and activations.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <vector>

namespace tenpass::clc {

// Floats that belong to a Memory.
struct Floats {
  float* data = nullptr;
  std::size_t size = 0;
};

// Hands out floats that begin on a cache line and are zero at first, and takes all back at its own end. They lie close
// together on huge pages where the system has them: else pages that fall into one set of the second cache by chance
// cost several percent of the time, other ones in each process.
class Memory {
 public:
  Floats floats(std::size_t count);

 private:
  struct Free {
    void operator()(float* chunk) const { std::free(chunk); }
  };
  std::vector<std::unique_ptr<float[], Free>> chunks_;
  float* next_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace tenpass::clc
