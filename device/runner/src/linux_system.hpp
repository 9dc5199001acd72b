#pragma once

#include <memory>

#include "perf_counters.hpp"
#include "system.hpp"
#include "thermal_zones.hpp"
#include "waits.hpp"

namespace tenpass {

class LinuxSystem final : public System {
 public:
  // `sysfs` is where that is mounted.
  explicit LinuxSystem(std::string sysfs = "/sys");

  std::int64_t now_ns() override;
  std::optional<std::int64_t> cpu_ns() override;
  std::optional<std::int64_t> wait_ns() override;
  void sleep_ms(int milliseconds) override;
  void be_repeatable() override;
  void begin_passes() override;
  void first_pass_ended() override;
  void end_passes() override;
  std::optional<int> current_cpu() override;
  std::optional<std::int64_t> clock_khz(int cpu) override;
  void watch_zones(const std::vector<ThermalZone>& zones) override;
  std::optional<int> hottest_millicelsius() override;
  std::int64_t peak_rss_bytes() override;
  std::string machine() override;
  std::vector<std::string> cpu_features() override;
  void pin_to(std::uint64_t cpu_mask) override;
  std::uint64_t cpu_mask() override;
  std::optional<std::string> open_counters() override;
  void start_counters() override;
  void stop_counters() override;
  std::optional<Counts> counts() override;
  void end_after(unsigned seconds) override;

 private:
  bool is_switched_off(int cpu) const;

  std::string sysfs_;
  ThermalZones thermal_zones_;
  Waits waits_;
  bool repeatable_ = false;
  std::int64_t tick_ns_ = 0;  // the kernel's; 0: nothing goes by it
  std::optional<std::int64_t> peak_before_reserve_;
  std::unique_ptr<PerfCounters> counters_;  // none until they are opened
};

}  // namespace tenpass
