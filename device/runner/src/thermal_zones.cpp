#include "thermal_zones.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <limits>
#include <system_error>
#include <utility>

namespace tenpass {
namespace {

// What the zone says now. Reading at offset 0 asks the sensor anew (kernel documentation, filesystems/sysfs).
std::optional<std::int64_t> read_number(const Descriptor& zone) {
  std::array<char, 32> text{};
  const ssize_t bytes = pread(zone.number(), text.data(), text.size(), 0);
  std::int64_t number = 0;
  if (bytes <= 0 || std::from_chars(text.data(), text.data() + bytes, number).ec != std::errc()) return std::nullopt;
  return number;
}

}  // namespace

ThermalZones::ThermalZones(const std::string& folder, const std::vector<ThermalZone>& wanted,
                           const std::function<std::int64_t()>& now_ns) {
  std::int64_t all_ns = 0;
  for (const auto& [number, millicelsius] : wanted) {
    const std::string path = folder + "/thermal_zone" + std::to_string(number) + "/temp";
    Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open() || !read_number(file)) continue;
    const std::int64_t start_ns = now_ns();  // of a second reading: the first may be the one that wakes the sensor
    if (!read_number(file)) continue;
    const std::int64_t spent_ns = now_ns() - start_ns;
    if (all_ns + spent_ns > kMaxThermalReadNs) continue;
    all_ns += spent_ns;
    zones_.push_back({std::move(file), millicelsius});
  }
}

std::optional<int> ThermalZones::hottest_millicelsius() const {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  std::optional<int> hottest;
  for (const auto& zone : zones_) {
    const auto number = read_number(zone.file);
    if (!number || *number < -kMost / zone.millicelsius || *number > kMost / zone.millicelsius) continue;
    const int millicelsius = static_cast<int>(*number) * zone.millicelsius;
    if (!hottest || millicelsius > *hottest) hottest = millicelsius;
  }
  return hottest;
}

}  // namespace tenpass
