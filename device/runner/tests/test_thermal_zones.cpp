#include <doctest/doctest.h>

#include <filesystem>

#include "temporary_folder.hpp"
#include "thermal_zones.hpp"

namespace tenpass::test {
namespace {

// A /sys/class/thermal, and a clock that takes `read_ns` for each reading.
struct Sysfs {
  TemporaryFolder folder;
  std::int64_t clock_ns = 0, read_ns = 10'000;

  void zone(int number, const std::string& temperature) const {
    const std::string path = folder.path("thermal_zone" + std::to_string(number));
    std::filesystem::create_directory(path);
    std::ofstream(path + "/temp") << temperature;
  }

  ThermalZones zones() {
    return ThermalZones(folder.path(""), [this] { return clock_ns += read_ns; });
  }
};

}  // namespace

TEST_CASE_FIXTURE(Sysfs, "the hottest zone counts") {
  zone(0, "41500\n");
  zone(1, "43250\n");
  zone(2, "-5000\n");
  CHECK(zones().hottest_millicelsius() == 43'250);
}

TEST_CASE_FIXTURE(Sysfs, "each reading is new") {
  zone(0, "41500\n");
  const auto opened = zones();
  zone(0, "42000\n");
  CHECK(opened.hottest_millicelsius() == 42'000);
}

TEST_CASE_FIXTURE(Sysfs, "whole degrees are told from thousandths") {
  zone(0, "42\n");
  CHECK(zones().hottest_millicelsius() == 42'000);
}

TEST_CASE_FIXTURE(Sysfs, "what no chip can have is not believed") {
  zone(0, "-274000\n");
  zone(1, "2147483647\n");
  zone(2, "150001\n");
  zone(3, "199\n");
  CHECK_FALSE(zones().hottest_millicelsius());
  zone(4, "38000\n");
  CHECK(zones().hottest_millicelsius() == 38'000);
}

TEST_CASE_FIXTURE(Sysfs, "zones that say nothing are left out, and a folder that is not there has none") {
  zone(0, "");
  zone(1, "hot\n");
  std::filesystem::create_directory(folder.path("thermal_zone2"));
  std::filesystem::create_directory(folder.path("cooling_device0"));
  CHECK(zones().count() == 0);
  CHECK_FALSE(zones().hottest_millicelsius());
  CHECK(ThermalZones(folder.path("none"), [] { return std::int64_t{0}; }).count() == 0);
}

TEST_CASE_FIXTURE(Sysfs, "a zone that takes long to read is not kept") {
  zone(0, "41500\n");
  read_ns = kMaxThermalReadNs + 1;
  CHECK(zones().count() == 0);
}

TEST_CASE_FIXTURE(Sysfs, "all zones together keep within the limit, the lower numbers first") {
  for (int number = 0; number < 12; ++number) zone(number, std::to_string(40'000 + number));
  read_ns = kMaxThermalReadNs / 11;
  const auto kept = zones();
  CHECK(kept.count() == 11);
  CHECK(kept.hottest_millicelsius() == 40'010);
}

}  // namespace tenpass::test
