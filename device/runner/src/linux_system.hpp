#pragma once

#include "system.hpp"

namespace tenpass {

class LinuxSystem final : public System {
 public:
  std::int64_t now_ns() override;
  void sleep_ms(int milliseconds) override;
  std::optional<int> current_cpu() override;
  std::optional<std::int64_t> clock_khz(int cpu) override;
  std::int64_t peak_rss_bytes() override;
  void pin_to(std::uint64_t cpu_mask) override;
  void end_after(unsigned seconds) override;
};

}  // namespace tenpass
