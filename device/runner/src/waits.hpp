// How long this process's threads wait for a CPU that others have.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "descriptor.hpp"

namespace tenpass {

class Waits {
 public:
  // Of all threads there are now, together, since they began; nothing where the kernel does not tell.
  std::optional<std::int64_t> all_ns();

 private:
  void find_threads();

  std::vector<Descriptor> threads_;
  std::uint64_t links_ = 0;  // of the folder of all threads when they were found: it has one for each, and two more
};

}  // namespace tenpass
