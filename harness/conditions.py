"""How warm a device may be when a case starts, and the wait until it is no warmer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from device.call import Device
from device.records import DeviceState

#: A choice: a phone cools by a few tenths of a degree in it, and asking it costs a fraction of a second of work.
POLL_INTERVAL_S = 5.0

#: Names of thermal zones that are in or at the CPU: of Linux's drivers (cpu_thermal, soc-thermal, x86_pkg_temp,
#: coretemp, k10temp's Tctl), Qualcomm's (cpu-0-0-usr, cpuss-1, tsens_tz_sensor4), MediaTek's (mtktscpu, soc_max),
#: Samsung's and Google's (BIG, MID, LITTLE), and what Android calls a CPU or SoC (`AP (HAL, cpu)`).
_AT_THE_CPU = re.compile(
    r"cpu|tsens|x86_pkg_temp|coretemp|k10temp|tctl|cluster|(?<![a-z])(soc|big|mid|little)(?![a-z])", re.IGNORECASE
)


@dataclass(frozen=True)
class Limits:
    """What a run asks of its conditions; None: nothing.

    A case waits at most `cool_timeout_s` for the device to cool to `max_start_celsius`. With `strict`, doubts about the
    conditions (harness.doubts) fail the run.
    """

    max_start_celsius: float | None
    max_celsius: float | None
    cool_timeout_s: float
    strict: bool


def hottest(state: DeviceState) -> tuple[str, float] | None:
    """The zone that counts and its temperature: the hottest at the CPU where there is one, else of all zones, else the
    battery; None: the device does not tell."""
    zones = state.temperatures_celsius
    counting = {name: celsius for name, celsius in zones.items() if _AT_THE_CPU.search(name)} or zones
    if counting:
        return max(counting.items(), key=lambda zone: zone[1])
    return None if state.battery_celsius is None else ("battery", state.battery_celsius)


def wait_until_cool(
    device: Device,
    limits: Limits,
    on_state: Callable[[DeviceState, float], None],
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> DeviceState:
    """The device's state once it is no warmer than `limits.max_start_celsius`.

    Or once there is no more to wait for: the time is up, or it tells no temperature (harness.doubts names both).
    `on_state` hears of each state and of the seconds waited until then. Raises what `device.state` raises.
    """
    began = now()
    while True:
        state = device.state()
        waited_s = now() - began
        on_state(state, waited_s)
        found = hottest(state)
        left_s = limits.cool_timeout_s - waited_s
        if limits.max_start_celsius is None or found is None or found[1] <= limits.max_start_celsius or left_s <= 0:
            return state
        sleep(min(POLL_INTERVAL_S, left_s))
