#include "cpu_features.hpp"

#if defined(__arm__) || defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace tenpass {

#if defined(__x86_64__)

std::vector<std::string> cpu_features() {
  std::vector<std::string> features;
  if (__builtin_cpu_supports("avx2")) features.emplace_back("avx2");
  if (__builtin_cpu_supports("avx512f")) features.emplace_back("avx512f");
  return features;
}

#else

namespace {

struct Feature {
  const char* name;
  unsigned long entry;  // of the auxiliary vector
  unsigned bit;
};

// The numbers, as the headers of older kernels lack the newer ones.
#if defined(__arm__)
constexpr Feature kFeatures[] = {  // Linux, arch/arm/include/uapi/asm/hwcap.h
    {"neon", AT_HWCAP, 12},        // HWCAP_NEON
    {"dotprod", AT_HWCAP, 24},     // HWCAP_ASIMDDP
    {"fp16", AT_HWCAP, 23},        // HWCAP_ASIMDHP
    {"i8mm", AT_HWCAP, 27},        // HWCAP_I8MM
    {"bf16", AT_HWCAP, 26},        // HWCAP_ASIMDBF16
};
#else
constexpr Feature kFeatures[] = {  // Linux, arch/arm64/include/uapi/asm/hwcap.h
    {"neon", AT_HWCAP, 1},         // HWCAP_ASIMD
    {"dotprod", AT_HWCAP, 20},     // HWCAP_ASIMDDP
    {"fp16", AT_HWCAP, 10},        // HWCAP_ASIMDHP
    {"i8mm", AT_HWCAP2, 13},       // HWCAP2_I8MM
    {"bf16", AT_HWCAP2, 14},       // HWCAP2_BF16
    {"sve", AT_HWCAP, 22},         // HWCAP_SVE
};
#endif

}  // namespace

std::vector<std::string> cpu_features() {
  std::vector<std::string> features;
  for (const auto& feature : kFeatures) {
    if ((getauxval(feature.entry) >> feature.bit) & 1) features.emplace_back(feature.name);
  }
  return features;
}

#endif

}  // namespace tenpass
