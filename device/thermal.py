"""Which of a device's temperatures counts."""

from __future__ import annotations

import re

from device.records import DeviceState

#: Names of thermal zones that are in or at the CPU: of Linux's drivers (cpu_thermal, soc-thermal, x86_pkg_temp,
#: coretemp, k10temp's Tctl), Qualcomm's (cpu-0-0-usr, cpuss-1, tsens_tz_sensor4), MediaTek's (mtktscpu, soc_max),
#: Samsung's and Google's (BIG, MID, LITTLE), and what Android calls a CPU or SoC (`AP (HAL, cpu)`).
_AT_THE_CPU = re.compile(
    r"cpu|tsens|x86_pkg_temp|coretemp|k10temp|tctl|cluster|(?<![a-z])(soc|big|mid|little)(?![a-z])", re.IGNORECASE
)


def hottest(state: DeviceState) -> tuple[str, float] | None:
    """The zone that counts and its temperature: the hottest at the CPU where there is one, else of all zones, else the
    battery; None: the device does not tell."""
    zones = state.temperatures_celsius
    counting = {name: celsius for name, celsius in zones.items() if _AT_THE_CPU.search(name)} or zones
    if counting:
        return max(counting.items(), key=lambda zone: zone[1])
    return None if state.battery_celsius is None else ("battery", state.battery_celsius)
