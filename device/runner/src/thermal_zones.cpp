#include "thermal_zones.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

namespace tenpass {
namespace {

constexpr int kWholeDegreesBelow = 200;  // the kernel gives thousandths, some vendors' kernels whole degrees
constexpr int kColdestMillicelsius = -40'000, kHottestMillicelsius = 150'000;  // a choice: wider than any chip's rating

// The paths of the zones' temperatures, by number.
std::vector<std::string> temperature_files(const std::string& folder) {
  constexpr std::string_view kPrefix = "thermal_zone";
  std::vector<std::pair<int, std::string>> found;
  std::error_code none;  // a folder that is not there holds no zones
  for (std::filesystem::directory_iterator entry(folder, none), end; !none && entry != end; entry.increment(none)) {
    const std::string name = entry->path().filename().string();
    if (name.rfind(kPrefix, 0) == 0) {
      found.emplace_back(std::atoi(name.c_str() + kPrefix.size()), (entry->path() / "temp").string());
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> paths;
  for (auto& [number, path] : found) paths.push_back(std::move(path));
  return paths;
}

// What the zone says now. Reading at offset 0 asks the sensor anew (kernel documentation, filesystems/sysfs).
std::optional<int> read_number(const Descriptor& zone) {
  std::array<char, 32> text{};
  const ssize_t bytes = pread(zone.number(), text.data(), text.size(), 0);
  int number = 0;
  if (bytes <= 0 || std::from_chars(text.data(), text.data() + bytes, number).ec != std::errc()) return std::nullopt;
  return number;
}

}  // namespace

ThermalZones::ThermalZones(const std::string& folder, const std::function<std::int64_t()>& now_ns) {
  std::int64_t all_ns = 0;
  for (const auto& path : temperature_files(folder)) {
    Descriptor zone(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!zone.is_open() || !read_number(zone)) continue;
    const std::int64_t start_ns = now_ns();  // of a second reading: the first may be the one that wakes the sensor
    if (!read_number(zone)) continue;
    const std::int64_t spent_ns = now_ns() - start_ns;
    if (all_ns + spent_ns > kMaxThermalReadNs) continue;
    all_ns += spent_ns;
    zones_.push_back(std::move(zone));
  }
}

std::optional<int> ThermalZones::hottest_millicelsius() const {
  std::optional<int> hottest;
  for (const auto& zone : zones_) {
    const auto number = read_number(zone);
    if (!number) continue;
    const int millicelsius = std::abs(*number) < kWholeDegreesBelow ? *number * 1000 : *number;
    if (millicelsius < kColdestMillicelsius || millicelsius > kHottestMillicelsius) continue;
    if (!hottest || millicelsius > *hottest) hottest = millicelsius;
  }
  return hottest;
}

}  // namespace tenpass
