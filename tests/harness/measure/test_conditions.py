"""Waiting for a device to cool: as long as needed, never longer than allowed, and by the temperature that counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_adb import serving
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from synthetic import BOARD, STATE

from device.adb.device import AdbDevice
from device.adb.server import Server
from device.records import DeviceState
from device.thermal import hottest
from harness.measure.conditions import POLL_INTERVAL_S, wait_until_cool
from harness.record.plan import Limits

LIMITS = Limits(max_start_celsius=40.0, max_celsius=None, cool_timeout_s=60.0, strict=False)


class Cooling:
    """A device whose CPU has these temperatures in turn, and the last for ever; time passes in `sleep`."""

    def __init__(self, *celsius: float | None) -> None:
        self.celsius = list(celsius)
        self.seconds = 0.0
        self.slept: list[float] = []
        self.heard: list[tuple[float | None, float]] = []
        self.info = BOARD

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


#: What a phone's own tools say. Its kernel shows no thermal zones, as many do to a shell; what Android reads at the CPU
#: is in a file, so that it can change.
TOOLS = {
    "grep": """
case "$*" in
  *thermal_zone*) printf '%s\\n' /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor:sched_pixel \\
    /sys/devices/system/cpu/present:0-1 '/proc/loadavg:0.40 0.30 0.20 1/900 77' ;;
  *) PATH=${PATH#*:}; exec grep "$@" ;;
esac
""",
    "getprop": """
case "$1" in
  ro.product.model) echo "Pixel 7" ;;
  ro.product.cpu.abi) echo arm64-v8a ;;
  ro.soc.model) echo GS201 ;;
  ro.build.version.release) echo 14 ;;
esac
""",
    "settings": '[ "$*" = "get global low_power" ] && echo 0\n',
    "dumpsys": """
case "$*" in
  battery) printf '%s\\n' 'Current Battery Service state:' '  AC powered: false' '  USB powered: true' \\
    '  status: 2' '  present: true' '  level: 64' '  scale: 100' '  temperature: 285' ;;
  thermalservice) printf '%s\\n' 'IsStatusOverride: false' 'Thermal Status: 1' 'Cached temperatures:' \\
    '	Temperature{mValue=99.0, mType=0, mName=BIG, mStatus=0}' 'HAL Ready: true' 'HAL connection:' \\
    '	ThermalHAL AIDL 1  connected: yes' 'Current temperatures from HAL:' \\
    "	Temperature{mValue=$(cat "$CELSIUS"), mType=0, mName=BIG, mStatus=0}" \\
    '	Temperature{mValue=29.5, mType=3, mName=VIRTUAL-SKIN, mStatus=1}' 'Current cooling devices from HAL:' ;;
  power) printf '%s\\n' 'POWER MANAGER (dumpsys power)' '  mWakefulness=Dozing' 'Display Power: state=OFF' ;;
  'activity activities') printf '%s\\n' 'ACTIVITY MANAGER ACTIVITIES (dumpsys activity activities)' \\
    '    topResumedActivity=ActivityRecord{1f u0 com.example.game/.Main t9}' ;;
esac
""",
}


class Tools:
    """The tools of a phone behind a fake adb server; they come before this machine's own."""

    def __init__(self, folder: Path, celsius: Path) -> None:
        self._folder, self._celsius = folder, celsius
        self.warm_to(30.0)
        for name, script in TOOLS.items():
            self.add(name, script)

    def add(self, name: str, script: str) -> None:
        tool = self._folder / name
        tool.write_text(f"#!/bin/sh\n{script}")
        tool.chmod(0o755)

    def warm_to(self, celsius: float) -> None:
        self._celsius.write_text(str(celsius))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder, celsius = tmp_path / "bin", tmp_path / "celsius"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("CELSIUS", str(celsius))
    return Tools(folder, celsius)


@pytest.fixture
def phone(tmp_path: Path, tools: Tools) -> Iterator[AdbDevice]:
    with serving(tmp_path / "device", {"ABC123": "device"}) as fake:
        yield AdbDevice("ABC123", server=Server(fake.port))


def test_a_phone_tells_its_conditions_over_adb(phone: AdbDevice) -> None:
    state = phone.state()
    assert (phone.info.model, phone.info.abi) == ("Pixel 7", "arm64-v8a")
    assert state.temperatures_celsius == {"BIG (HAL, cpu)": 30.0, "VIRTUAL-SKIN (HAL, skin)": 29.5}
    assert (state.governors, state.load_average) == (("sched_pixel", None), 0.4)
    assert (state.thermal_status, state.battery_percent, state.battery_celsius, state.charging) == (1, 64, 28.5, True)
    assert (state.power_save, state.screen_on, state.foreground_app) == (False, False, "com.example.game")


def test_a_phone_is_waited_for_over_adb(phone: AdbDevice, tools: Tools) -> None:
    tools.warm_to(48.5)
    state = wait_until_cool(phone, LIMITS, lambda *_: None, sleep=lambda _: tools.warm_to(39.5))
    assert hottest(state) == ("BIG (HAL, cpu)", 39.5)


@pytest.mark.parametrize(("unit", "kind"), [(1000, "cpu-0-0-usr"), (10, "tsens_tz_sensor1"), (1, "tsens_tz_sensor1")])
def test_a_phone_is_waited_for_by_its_kernels_zones_in_their_own_unit(
    phone: AdbDevice, tools: Tools, unit: int, kind: str
) -> None:
    """Beside them are a charge in percent, a sensor that is not connected, and one that has stuck."""

    def warm_to(celsius: int) -> None:
        zones = {kind: celsius * unit, "soc": 95, "tsens_tz_sensor0": -274 * unit, f"{kind[:-1]}9": 90 * unit}
        lines = [
            f"/sys/class/thermal/thermal_zone{index}/{file}:{text}"
            for index, zone in enumerate(zones.items())
            for file, text in zip(("type", "temp"), zone, strict=True)
        ]
        tools.add("grep", "cat <<'END'\n" + "\n".join(lines) + "\nEND\n")

    tools.add("dumpsys", "")
    falling = iter([70, 60, 48, 41, 40, 39])
    warm_to(72)
    state = wait_until_cool(phone, LIMITS, lambda *_: None, sleep=lambda _: warm_to(next(falling)))
    assert hottest(state) == (f"{kind} (0)", 40.0)
    assert phone.zones.watched[0] == (0, 1000 // unit)


def test_a_service_of_the_phones_that_hangs_is_given_up(phone: AdbDevice, tools: Tools) -> None:
    tools.add("timeout", 'shift; case "$*" in *thermalservice*) exit 124 ;; esac; exec "$@"\n')
    state = phone.state()
    assert (state.thermal_status, state.battery_percent) == (None, 64)


def test_a_phone_whose_services_do_not_answer_tells_less(phone: AdbDevice, tools: Tools) -> None:
    tools.add("dumpsys", 'echo "Can\'t find service: $*"; exit 1\n')
    tools.add("settings", "exit 1\n")
    state = phone.state()
    assert (state.thermal_status, state.screen_on, state.power_save, state.foreground_app) == (None, None, None, None)
    assert (state.battery_percent, state.charging, state.load_average) == (None, None, 0.4)
