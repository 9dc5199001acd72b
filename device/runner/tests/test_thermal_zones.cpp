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

  ThermalZones zones(const std::vector<ThermalZone>& wanted) {
    return ThermalZones(folder.path(""), wanted, [this] { return clock_ns += read_ns; });
  }
};

}  // namespace

TEST_CASE_FIXTURE(Sysfs, "the hottest of the wanted zones counts, each in its unit") {
  zone(0, "41500\n");
  zone(1, "43\n");
  zone(2, "432\n");
  zone(3, "99000\n");
  zone(4, "-5000\n");
  CHECK(zones({{0, 1}, {1, 1000}, {2, 100}, {4, 1}}).hottest_millicelsius() == 43'200);
  CHECK(zones({{4, 1}}).hottest_millicelsius() == -5'000);
  CHECK_FALSE(zones({}).hottest_millicelsius());
}

TEST_CASE_FIXTURE(Sysfs, "each reading is new") {
  zone(0, "41500\n");
  const auto opened = zones({{0, 1}});
  zone(0, "42000\n");
  CHECK(opened.hottest_millicelsius() == 42'000);
}

TEST_CASE_FIXTURE(Sysfs, "what is too large to tell is left out") {
  for (const std::string text : {"2147483647", "9999999999", "-9999999999", "99999999999999999999999"}) {
    CAPTURE(text);
    zone(0, text + "\n");
    zone(1, "38\n");
    CHECK(zones({{0, 100}, {1, 1000}}).hottest_millicelsius() == 38'000);
  }
}

TEST_CASE_FIXTURE(Sysfs, "zones that say nothing are left out, and those that are not there") {
  zone(0, "");
  zone(1, "hot\n");
  std::filesystem::create_directory(folder.path("thermal_zone2"));
  const auto opened = zones({{0, 1}, {1, 1}, {2, 1}, {3, 1}});
  CHECK(opened.count() == 0);
  CHECK_FALSE(opened.hottest_millicelsius());
}

TEST_CASE_FIXTURE(Sysfs, "a zone that takes long to read is not kept") {
  zone(0, "41500\n");
  read_ns = kMaxThermalReadNs + 1;
  CHECK(zones({{0, 1}}).count() == 0);
}

TEST_CASE_FIXTURE(Sysfs, "all zones together keep within the limit, the first ones first") {
  std::vector<ThermalZone> wanted;
  for (int number = 11; number >= 0; --number) {
    zone(number, std::to_string(40'000 + number));
    wanted.push_back({number, 1});
  }
  read_ns = kMaxThermalReadNs / 11;
  const auto kept = zones(wanted);
  CHECK(kept.count() == 11);
  CHECK(kept.hottest_millicelsius() == 40'011);
}

}  // namespace tenpass::test
