// How hot it is, from those sensors that say so in no time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "descriptor.hpp"

namespace tenpass {

// All readings of a pass together may take this long; a choice: a CPU does not cool in it, a sensor on a slow bus takes
// tens of milliseconds.
constexpr std::int64_t kMaxThermalReadNs = 200'000;

// A zone to look at, by its number, and what one of its number is in thousandths of a degree: vendors' kernels have whole
// degrees, tenths and thousandths. Which zones these are, and what their numbers mean, the host knows (device/thermal.py).
struct ThermalZone {
  int number;
  int millicelsius;
};

// Those of the wanted zones in a folder such as /sys/class/thermal (kernel documentation, driver-api/thermal/sysfs-api)
// that can be read, the first ones first, as long as all fit into kMaxThermalReadNs by `now_ns`.
class ThermalZones {
 public:
  ThermalZones() = default;
  ThermalZones(const std::string& folder, const std::vector<ThermalZone>& wanted,
               const std::function<std::int64_t()>& now_ns);

  // The hottest zone's thousandths of a degree Celsius, as it is read; nothing if none can be.
  std::optional<int> hottest_millicelsius() const;

  std::size_t count() const { return zones_.size(); }

 private:
  struct Open {
    Descriptor file;
    int millicelsius;
  };
  std::vector<Open> zones_;
};

}  // namespace tenpass
