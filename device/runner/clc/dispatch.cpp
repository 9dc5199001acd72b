// Which kernels this machine can run, and which of them are the best.
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.hpp"

namespace tenpass::clc {

#if defined(__x86_64__)
extern const Kernels kernels_avx512, kernels_avx2, kernels_sse2;
#elif defined(__aarch64__) || defined(__arm__)
extern const Kernels kernels_neon;
#endif

namespace {

// The best first.
std::vector<const Kernels*> available() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) found.push_back(&kernels_avx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&kernels_avx2);
  found.push_back(&kernels_sse2);
#else
  found.push_back(&kernels_neon);  // all that ONNX Runtime runs on has it
#endif
  return found;
}

}  // namespace

const Kernels& kernels() {
  const std::vector<const Kernels*> found = available();
  const char* const wanted = std::getenv("TENPASS_CLC_ISA");
  if (wanted == nullptr || *wanted == '\0') return *found.front();
  std::string names;
  for (const Kernels* const candidate : found) {
    if (std::string(candidate->name) == wanted) return *candidate;
    names += (names.empty() ? "" : ", ") + std::string(candidate->name);
  }
  throw std::runtime_error("TENPASS_CLC_ISA is '" + std::string(wanted) + "'; this machine has " + names);
}

}  // namespace tenpass::clc
