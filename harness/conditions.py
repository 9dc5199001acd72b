"""How warm a device may be when a case starts, and the wait until it is no warmer."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Sequence
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

    max_start_celsius: float | None = None
    max_celsius: float | None = None
    cool_timeout_s: float = 600.0
    strict: bool = False


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


def shown(state: DeviceState) -> dict[str, str]:
    """The state as people read it, by the columns of a table; what the device cannot tell has none."""
    found = hottest(state)
    battery = [
        None if state.battery_percent is None else f"{state.battery_percent} %",
        None if state.battery_celsius is None else f"{state.battery_celsius:.1f} °C",
        {True: "charging", False: "not charging", None: None}[state.charging],
        "power saving" if state.power_save else None,
    ]
    clocks = [None if khz is None else f"{khz / 1000:.0f}" for khz in state.clocks_khz]
    screen = {True: "on", False: "off", None: None}[state.screen_on]
    cells = {
        "Hottest zone": None if found is None else f"{found[1]:.1f} °C, {found[0]}",
        "Thermal status": None if state.thermal_status is None else str(state.thermal_status),
        "Clocks (MHz)": _runs(clocks),
        "Governor": _runs(state.governors),
        "Battery": ", ".join(part for part in battery if part),
        "Screen, app in front": ", ".join(part for part in (screen, state.foreground_app) if part),
        "Load": None if state.load_average is None else f"{state.load_average:.2f}",
        "Free memory": None if state.free_ram_bytes is None else f"{state.free_ram_bytes / 2**20:.0f} MiB",
    }
    return {name: text for name, text in cells.items() if text}


def _runs(of_cpus: Sequence[str | None]) -> str:
    """What holds for each CPU, those in a row that are alike said once: "4 x 1800, 4 x 2300"; nothing for nothing."""
    if not any(of_cpus):
        return ""
    runs = [(text or "unknown", len(list(group))) for text, group in itertools.groupby(of_cpus)]
    return ", ".join(text if count == 1 else f"{count} x {text}" for text, count in runs)
