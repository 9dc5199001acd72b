"""What the numbers of thermal zones mean, as phones and boards have them, and that what can't be told is unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.thermal import COLDEST_CELSIUS, HOTTEST_CELSIUS, ThermalZones, is_plausible

#: Type and number of each zone, as they stood on the device -> what is believed of them.
DEVICES = {
    # tenths, with PMICs in thousandths and thermistors in whole degrees, one of them not connected
    "Qualcomm MSM8953": (
        [
            ("bms", 25000),
            ("pa_therm1", -40),
            ("tsens_tz_sensor5", 309),
            ("tsens_tz_sensor7", 313),
            ("xo_therm", 31),
            ("pm8953_tz", 32636),
            ("case_therm", 7),
        ],
        [25.0, None, 30.9, 31.3, 31.0, 32.636, None],
    ),
    # whole degrees; the last sensor is broken, and its 135 would be 13.5 in tenths
    "Qualcomm MSM8960": (
        [("tsens_tz_sensor0", 45), ("tsens_tz_sensor4", 135), ("pm8921_tz", 37123)],
        [45.0, None, 37.123],
    ),
    # charge in percent, volts and amperes beside temperatures; cores that sleep
    "Qualcomm SM8150": (
        [
            ("cpu-0-0-usr", 45500),
            ("cpu-1-0-usr", -274000),
            ("cpu-1-1-usr", 0),
            ("soc", 95),
            ("pm8150b-ibat-lvl0", 455),
            ("pm8150b-vbat-lvl0", 4100),
            ("pm8150b-bcl-lvl0", 30000),
            ("xo-therm-adc", 33000),
        ],
        [45.5, None, None, None, None, None, None, 33.0],
    ),
    "MediaTek": (
        [("mtktscpu", 41500), ("mtktsbattery", -127000), ("mtktspa", 2147483647), ("mtktswmt", -275000)],
        [41.5, None, None, None],
    ),
    "Samsung Exynos": ([("BIG", 45000), ("LITTLE", 43000), ("G3D", 40000), ("ISP", 39000)], [45.0, 43.0, 40.0, 39.0]),
    "Google Tensor": (
        [("BIG", 42000), ("soc", 1), ("ocp_cpu1", 6900), ("battery_cycle", 123), ("gnss_tcxo_therm", 31950)],
        [42.0, None, None, None, 31.95],
    ),
    "NVIDIA Jetson": ([("CPU-therm", 35500), ("PMIC-Die", 100000)], [35.5, 100.0]),
    "Raspberry Pi": ([("cpu-thermal", 48312)], [48.312]),
    "outdoors": ([("cpu-thermal", -12000), ("cpu0", 1500)], [-12.0, 1.5]),
}


def read(zones: list[tuple[str, int]], known: ThermalZones | None = None) -> list[float | None]:
    found = (known or ThermalZones()).read(dict(enumerate(zones)), {})
    return [found.get(f"{kind} ({index})") for index, (kind, _) in enumerate(zones)]


@pytest.mark.parametrize("device", DEVICES)
def test_a_devices_zones_are_read_in_its_own_units(device: str) -> None:
    zones, expected = DEVICES[device]
    assert read(zones) == expected


@pytest.mark.parametrize("celsius", [15, 28.5, 45.5, 99.5, 124])
def test_whole_degrees_tenths_and_thousandths_are_told_apart(celsius: float) -> None:
    assert read([("cpu-thermal", round(celsius * 1000))]) == [celsius]
    assert read([("cpu-thermal", round(celsius * 10))]) == [celsius]
    assert read([("cpu-thermal", round(celsius))]) == [
        round(celsius) if round(celsius) < 100 else None
    ]  # or 12.4, in tenths


@pytest.mark.parametrize(
    "number",
    [
        *(0, 1, 7, -1, -40, -274, 105, 255, 65535, 125000, 127000, 150000, 2**31 - 1),
        *(-40000, -99900, -127000, -273000, -273150, -274000),
    ],
)
def test_what_no_device_can_have_or_two_units_could_mean_is_unknown(number: int) -> None:
    assert read([("cpu-thermal", number)]) == [None]


@pytest.mark.parametrize("kind", ["soc", "SOC", "socd", "bms", "battery_soc", "battery-capacity", "batt_level"])
@pytest.mark.parametrize("charge", [0, 5, 15, 50, 95, 100, 455, 870, 1000])
def test_a_charge_is_no_temperature(kind: str, charge: int) -> None:
    assert read([(kind, charge)]) == [None]
    assert read([(kind, 45500)]) == [45.5]


@pytest.mark.parametrize(("before", "number", "celsius"), [(45, 105, 105.0), (455, 105, 10.5), (45500, 900, None)])
def test_what_one_number_leaves_open_others_of_the_driver_settle(before: int, number: int, celsius: float) -> None:
    known = ThermalZones()
    read([("cpu0-thermal", before)], known)
    assert read([("cpu0-thermal", number)], known) == [celsius]  # the same zone later
    assert read([("cpu0-thermal", before), ("cpu7-thermal", number)])[1] == celsius  # another one now


def test_a_zone_whose_numbers_fit_no_one_unit_is_unknown_until_one_prevails() -> None:
    known = ThermalZones()
    assert read([("cpu", 45)], known) == [45.0]
    assert read([("cpu", 45500)], known) == [None]
    assert read([("cpu", 46000)], known) == [46.0]
    assert read([("cpu", 46)], known) == [None]


def test_a_zone_that_never_moves_while_others_do_is_stuck_and_comes_back_when_it_moves() -> None:
    known = ThermalZones()
    for celsius in (70, 60, 50):
        last = read([("cpu-0", celsius * 1000), ("cpu-1", 95000), ("battery", 30000)], known)
    assert last == [50.0, None, 30.0]
    assert known.watched == ((0, 1),)
    assert read([("cpu-0", 50000), ("cpu-1", 94000), ("battery", 30000)], known) == [50.0, 94.0, 30.0]


def test_a_zone_that_never_moves_far_above_all_others_is_stuck() -> None:
    """Also while the others rest, so that no case waits for it."""
    known = ThermalZones()
    found = [read([("cpu-0", 35000 + tick), ("cpu-1", 95000), ("cpu-2", 36000)], known) for tick in range(4)]
    assert [one[1] for one in found] == [95.0, 95.0, None, None]
    assert [one[2] for one in found] == [36.0] * 4


def test_a_device_at_rest_has_no_stuck_zone() -> None:
    known = ThermalZones()
    for celsius in (40, 41, 42, 43, 44, 44, 44):
        last = read([("cpu-0", celsius * 1000), ("cpu-1", 43000)], known)
    assert last == [44.0, 43.0]


def test_the_runner_watches_the_zones_that_count_and_those_whose_core_sleeps() -> None:
    zones = ThermalZones()
    read([("battery", 33), ("tsens_tz_sensor0", 455), ("tsens_tz_sensor1", 0), ("tsens_tz_sensor2", 1300)], zones)
    assert zones.watched == ((1, 100), (2, 100))
    read([("battery", 33), ("skin", 30500)], other := ThermalZones())
    assert other.watched == ((0, 1000), (1, 1))


def test_where_android_alone_tells_of_the_cpu_the_runner_watches_nothing() -> None:
    zones = ThermalZones()
    assert zones.read({0: ("skin", 30500)}, {"AP (HAL, cpu)": 50.0}) == {"skin (0)": 30.5, "AP (HAL, cpu)": 50.0}
    assert zones.watched == ()


@given(st.lists(st.tuples(st.sampled_from(["cpu0", "cpu1", "soc", "bms", "skin"]), st.integers(-(2**40), 2**40))))
def test_whatever_stands_there_what_is_believed_is_plausible(zones: list[tuple[str, int]]) -> None:
    for celsius in ThermalZones().read(dict(enumerate(zones)), {}).values():
        assert is_plausible(celsius)
        assert COLDEST_CELSIUS < celsius < HOTTEST_CELSIUS
