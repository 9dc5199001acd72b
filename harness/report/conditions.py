"""The state of a device as people read it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from device.records import DeviceState
from device.thermal import hottest
from toolchain.figures import significant


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
        "Clocks (MHz)": runs(clocks),
        "Governor": runs(state.governors),
        "Battery": ", ".join(part for part in battery if part),
        "Screen, app in front": ", ".join(part for part in (screen, state.foreground_app) if part),
        "Load": None if state.load_average is None else f"{state.load_average:.2f}",
        "Free memory": None if state.free_ram_bytes is None else f"{significant(state.free_ram_bytes / 2**20)} MiB",
    }
    return {name: text for name, text in cells.items() if text}


def runs(of_cpus: Sequence[str | None]) -> str:
    """What holds for each CPU, those in a row that are alike said once: "4 x 1800, 4 x 2300"; nothing for nothing."""
    if not any(of_cpus):
        return ""
    runs = [(text or "unknown", len(list(group))) for text, group in itertools.groupby(of_cpus)]
    return ", ".join(text if count == 1 else f"{count} x {text}" for text, count in runs)
