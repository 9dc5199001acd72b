"""Which of a device's temperatures count, and what the numbers of its kernel's thermal zones mean.

The one rule for all: the probe reads by it, and the runner is told which zones to read, and in which unit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from device.records import DeviceState

#: Names of thermal zones that are in or at the CPU: of Linux's drivers (cpu_thermal, soc-thermal, bigcore0-thermal,
#: x86_pkg_temp, coretemp, k10temp's Tctl), Qualcomm's (cpu-0-0-usr, cpuss-1, tsens_tz_sensor4), MediaTek's (mtktscpu,
#: soc_max), Samsung's and Google's (BIG, MID, LITTLE; MNGS, APOLLO, ATLAS; exynos-therm), Unisoc's (cputop-thmzone; its
#: cores by Arm's names for them before they were named: ank0-thmzone, prometheus6-tzone0), and what Android calls a CPU
#: or SoC (`AP (HAL, cpu)`).
_AT_THE_CPU = re.compile(
    r"cpu|tsens|x86_pkg_temp|coretemp|k10temp|tctl|cluster|exynos|bigcore|littlecore|mngs|apollo|atlas|prometheus"
    r"|(?<![a-z])(soc|big|mid|little|ank)(?![a-z])",
    re.IGNORECASE,
)

#: What is registered as thermal zones and is none, by a word of its type: volts, amperes and limits of Qualcomm's
#: battery current limiter (drivers/thermal/qcom/bcl_pmic5.c) and Google's (ocp_cpu1, vdroop1, smpl_gm, batoilo),
#: Pixel's battery_cycle and pca94xx-mains, and Qualcomm's averages (gpu-skin-avg-step), which are also of sensors that
#: are not connected.
_NO_TEMPERATURE = re.compile(
    r"(?<![a-z])(ibatt?|vbatt?|vph|bcl|ocp|vdroop|smpl|batoilo|cycle|mains|current|voltage|avg)(?![a-z])", re.IGNORECASE
)

#: Types that are a battery's charge in percent on some devices (bcl_soc.c: soc) and a temperature on others: only a
#: number that is no part of a hundred or a thousand is one.
_MAY_BE_CHARGE = re.compile(r"(batt?(ery)?[-_ ]?)?(socd?|bms|capacity|level|percent)", re.IGNORECASE)

#: Thousandths of a degree that a unit is on some kernel -> the least number that is then a temperature of a device at
#: work. A choice: 10 degrees, so that the three can be told apart; thousandths, which most kernels have, from 1.25 on.
_LEAST = {1000: 10, 100: 100, 1: 1250}

#: A choice: readings below speak half as much for their unit: 135 is more often a broken 135 than 13.5 degrees.
_ROOM_CELSIUS = 15

#: Temperatures outside are no temperatures: sensors that are not connected tell -274, -127, -40 or 125 degrees. A
#: choice: no phone works below the one, and what is rated for the other has been switched off before.
COLDEST_CELSIUS, HOTTEST_CELSIUS = -40.0, 125.0

#: Of sensors that are off, or whose bits are all ones.
_NO_READINGS = (0, 0xFF, 0xFFFF)

#: A choice: a zone at the CPU that has told the very same so many times is stuck, where another has risen or fallen by
#: the one meanwhile, or where it is above all others there by the other, as parts of one chip are only while they work.
_STUCK_READINGS, _STUCK_WHILE_CELSIUS, _FAR_CELSIUS = 3, 5.0, 20.0


def is_plausible(celsius: float) -> bool:
    """Whether a device can be so warm. 0 is what says nothing."""
    return COLDEST_CELSIUS < celsius < HOTTEST_CELSIUS and celsius != 0


def is_temperature(name: str) -> bool:
    """Whether what Android calls so, without saying of which kind it is, is a temperature."""
    return not _NO_TEMPERATURE.search(name) and not _MAY_BE_CHARGE.fullmatch(name)


def hottest(state: DeviceState) -> tuple[str, float] | None:
    """The zone that counts and its temperature: the hottest at the CPU where there is one, else of all zones, else the
    battery; None: the device does not tell."""
    zones = state.temperatures_celsius
    counting = {name: zones[name] for name in _counting(zones)}
    if counting:
        return max(counting.items(), key=lambda zone: zone[1])
    return None if state.battery_celsius is None else ("battery", state.battery_celsius)


def _counting(names: Mapping[str, object]) -> list[str]:
    return [name for name in names if _AT_THE_CPU.search(name)] or list(names)


class ThermalZones:
    """A device's thermal zones, and what it has told of them so far: what one number leaves open, others may settle.

    `watched` are the kernel's zones that counted last, as the runner takes them: their numbers, and the thousandths of
    a degree that a unit is.
    """

    def __init__(self) -> None:
        self.watched: tuple[tuple[int, int], ...] = ()
        self._units: dict[str, Counter[int]] = {}  # of zones of one driver -> what speaks for a unit
        self._told: dict[str, tuple[float, float, int]] = {}  # zone -> its least and highest temperature, how often

    def read(self, kernel: Mapping[int, tuple[str, int]], android: Mapping[str, float]) -> dict[str, float]:
        """The temperatures in degrees Celsius that are believed, by name.

        `kernel` are types and numbers as they stand in the files, by the zones' numbers; they are named
        `type (number)`. `android` are those that it tells itself, in degrees.
        """
        zones = {index: zone for index, zone in kernel.items() if not _NO_TEMPERATURE.search(zone[0])}
        for kind, number in zones.values():
            fitting = _fitting(kind, number)
            if len(fitting) == 1:
                weight = 2 if number * fitting[0] >= 1000 * _ROOM_CELSIUS else 1
                self._units.setdefault(_driver(kind), Counter())[fitting[0]] += weight
        units = {index: self._unit(kind) for index, (kind, _) in zones.items()}
        names = {index: f"{kind} ({index})" for index, (kind, _) in zones.items()}
        found = {names[index]: _celsius(*zone, units[index]) for index, zone in zones.items()}
        told = {name: celsius for name, celsius in (found | dict(android)).items() if celsius is not None}
        stuck = self._stuck(told)
        believed = {name: celsius for name, celsius in told.items() if name not in stuck}
        # A sensor that is off while its core sleeps is looked at in passes all the same.
        known = {
            index: unit
            for index, unit in units.items()
            if unit is not None and (names[index] in believed or zones[index][1] <= 0)
        }
        counting = _counting({**believed, **{names[index]: None for index in known}})
        self.watched = tuple((index, unit) for index, unit in sorted(known.items()) if names[index] in counting)
        return believed

    def _unit(self, kind: str) -> int | None:
        """The unit of the driver that a zone of this type has; None where it cannot be told."""
        first, second = ([*self._units.get(_driver(kind), Counter()).most_common(2), (0, 0), (0, 0)])[:2]
        return first[0] if first[1] > second[1] else None

    def _stuck(self, told: Mapping[str, float]) -> set[str]:
        for name, celsius in told.items():
            least, most, times = self._told.get(name, (celsius, celsius, 0))
            self._told[name] = (min(least, celsius), max(most, celsius), times + 1)
        at_the_cpu = {name: celsius for name, celsius in told.items() if _AT_THE_CPU.search(name)}
        moved = any(most - least >= _STUCK_WHILE_CELSIUS for least, most, _ in self._told.values())
        return {name for name in at_the_cpu if self._never_moved(name) and (moved or _is_far_above(name, at_the_cpu))}

    def _never_moved(self, name: str) -> bool:
        least, most, times = self._told[name]
        return least == most and times >= _STUCK_READINGS


def _is_far_above(name: str, zones: Mapping[str, float]) -> bool:
    others = [celsius for other, celsius in zones.items() if other != name]
    return bool(others) and zones[name] - max(others) >= _FAR_CELSIUS


def _driver(kind: str) -> str:
    """What zones of one driver have in common: their types without the numbers."""
    return re.sub(r"\d+", "", kind)


def _fitting(kind: str, number: int) -> list[int]:
    """The units in which the number would be the temperature of a device at work."""
    if number in _NO_READINGS:
        return []
    if number < 0:
        return [1] if 1000 * COLDEST_CELSIUS < number <= -_LEAST[1] else []
    units = (1,) if _MAY_BE_CHARGE.fullmatch(kind) else tuple(_LEAST)
    return [unit for unit in units if _LEAST[unit] <= number and number * unit < 1000 * HOTTEST_CELSIUS]


def _celsius(kind: str, number: int, unit: int | None) -> float | None:
    """None: it is no temperature, or it cannot be told."""
    fitting = _fitting(kind, number)
    if unit is None or number in _NO_READINGS or (fitting and unit not in fitting):
        return None
    celsius = number * unit / 1000
    return celsius if is_plausible(celsius) and abs(celsius) >= 1 else None
