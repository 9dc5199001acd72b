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

// The thermal zones in a folder such as /sys/class/thermal (kernel documentation, driver-api/thermal/sysfs-api), looked
// at once: those that can be read, the lower numbers first, as long as all fit into kMaxThermalReadNs by `now_ns`.
class ThermalZones {
 public:
  ThermalZones(const std::string& folder, const std::function<std::int64_t()>& now_ns);

  // The hottest zone's thousandths of a degree Celsius, of those that are plausible; nothing if there is none.
  std::optional<int> hottest_millicelsius() const;

  std::size_t count() const { return zones_.size(); }

 private:
  std::vector<Descriptor> zones_;
};

}  // namespace tenpass
