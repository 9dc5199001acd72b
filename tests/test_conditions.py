"""Waiting for a device to cool: as long as needed, never longer than allowed, and by the temperature that counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from synthetic import STATE

from device.records import DeviceState
from harness.conditions import POLL_INTERVAL_S, Limits, hottest, wait_until_cool

LIMITS = Limits(max_start_celsius=40.0, max_celsius=None, cool_timeout_s=60.0, strict=False)


class Cooling:
    """A device whose CPU has these temperatures in turn, and the last for ever; time passes in `sleep`."""

    def __init__(self, *celsius: float | None) -> None:
        self.celsius = list(celsius)
        self.seconds = 0.0
        self.slept: list[float] = []
        self.heard: list[tuple[float | None, float]] = []

    def state(self) -> DeviceState:
        celsius = self.celsius.pop(0) if len(self.celsius) > 1 else self.celsius[0]
        return replace(STATE, temperatures_celsius={} if celsius is None else {"cpu_thermal (0)": celsius})

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    def hear(self, state: DeviceState, waited_s: float) -> None:
        self.heard.append((state.temperatures_celsius.get("cpu_thermal (0)"), waited_s))

    def wait(self, limits: Limits) -> DeviceState:
        return wait_until_cool(self, limits, self.hear, sleep=self.sleep, now=lambda: self.seconds)


def test_a_warm_device_is_asked_again_until_it_is_cool() -> None:
    device = Cooling(55.0, 44.0, 40.0, 39.0)
    state = device.wait(LIMITS)
    assert state.temperatures_celsius == {"cpu_thermal (0)": 40.0}
    assert device.heard == [(55.0, 0.0), (44.0, POLL_INTERVAL_S), (40.0, 2 * POLL_INTERVAL_S)]


def test_a_cool_device_does_not_wait() -> None:
    device = Cooling(30.0)
    device.wait(LIMITS)
    assert device.slept == []


def test_without_a_limit_nothing_waits() -> None:
    device = Cooling(90.0)
    state = device.wait(replace(LIMITS, max_start_celsius=None))
    assert (device.slept, state.temperatures_celsius) == ([], {"cpu_thermal (0)": 90.0})


def test_a_device_that_stays_hot_is_not_waited_for_longer_than_allowed() -> None:
    device = Cooling(90.0)
    state = device.wait(replace(LIMITS, cool_timeout_s=12.0))
    assert state.temperatures_celsius == {"cpu_thermal (0)": 90.0}
    assert device.seconds == 12.0


def test_a_device_that_tells_no_temperature_is_not_waited_for() -> None:
    device = Cooling(None)
    device.wait(LIMITS)
    assert device.slept == []


@given(
    st.lists(st.none() | st.floats(-40, 150), min_size=1, max_size=30),
    st.floats(0, 100),
    st.none() | st.floats(0, 100),
)
def test_waiting_always_ends_in_time(celsius: list[float | None], timeout_s: float, limit: float | None) -> None:
    device = Cooling(*celsius)
    device.wait(replace(LIMITS, cool_timeout_s=timeout_s, max_start_celsius=limit))
    assert device.seconds <= timeout_s + 1e-6


@pytest.mark.parametrize(
    ("zones", "name"),
    [
        ({"battery (0)": 50.0, "mtktscpu (1)": 41.0}, "mtktscpu (1)"),
        ({"xo-therm (0)": 50.0, "cpu-1-2-usr (7)": 41.0, "cpuss-0 (8)": 42.0}, "cpuss-0 (8)"),
        ({"gpuss-0 (0)": 50.0, "tsens_tz_sensor4 (1)": 41.0}, "tsens_tz_sensor4 (1)"),
        ({"G3D (0)": 50.0, "BIG (1)": 41.0, "LITTLE (2)": 40.0}, "BIG (1)"),
        ({"pa-therm (0)": 50.0, "soc_thermal (1)": 41.0}, "soc_thermal (1)"),
        ({"acpitz (0)": 50.0, "x86_pkg_temp (1)": 41.0}, "x86_pkg_temp (1)"),
        ({"skin (HAL, skin)": 50.0, "AP (HAL, cpu)": 41.0, "BAT (HAL, battery)": 31.0}, "AP (HAL, cpu)"),
        ({"acpitz (0)": 28.0, "wifi (1)": 41.0}, "wifi (1)"),
        ({"social (0)": 50.0, "bigger (1)": 51.0, "middle (2)": 52.0, "soc (3)": 30.0}, "soc (3)"),
    ],
)
def test_the_cpus_own_zones_count_where_there_are_any(zones: dict[str, float], name: str) -> None:
    assert hottest(replace(STATE, temperatures_celsius=zones)) == (name, zones[name])


def test_without_zones_the_battery_counts() -> None:
    assert hottest(replace(STATE, battery_celsius=33.5)) == ("battery", 33.5)


def test_without_any_temperature_nothing_is_told() -> None:
    assert hottest(STATE) is None


def test_limits_are_stored_as_they_are() -> None:
    adapter = TypeAdapter(Limits)
    assert adapter.validate_json(adapter.dump_json(LIMITS)) == LIMITS
