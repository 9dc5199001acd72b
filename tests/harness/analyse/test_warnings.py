"""Warnings: each bad condition is caught, named and said in words; a figure that nothing is wrong with has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import BOARD, CHIP, record

from device.board.accuracy import accuracy
from device.records import Clock, Core, Counters, DeviceInfo, DeviceState, Kind, Measurement, Pass
from harness.analyse import warnings
from harness.analyse.statistics import Spread
from harness.analyse.warnings import CaseWarning, warnings_of
from harness.record.plan import Limits
from harness.record.record import OutputCheck, Record

NO_LIMITS = Limits(max_start_celsius=None, max_celsius=None, cool_timeout_s=300, strict=False)
LIMITS = replace(NO_LIMITS, max_start_celsius=40.0, max_celsius=80.0)

PHONE = DeviceInfo(
    serial="ABC",
    kind="phone",
    clock="wall",
    model="Phone",
    soc="soc",
    abi="arm64-v8a",
    cores=tuple(
        Core(index, *kind)
        for index, kind in enumerate([("Cortex-A55", 1_800_000)] * 4 + [("Cortex-A76", 2_200_000)] * 4)
    ),
    ram_bytes=4_000_000_000,
    os="Android 14",
    machine="aarch64",
)

COOL = DeviceState(
    temperatures_celsius={"cpu-0-0 (0)": 31.0, "battery (1)": 29.0},
    clocks_khz=(600_000,) * 8,
    governors=("schedutil",) * 8,
    battery_percent=90,
    battery_celsius=29.0,
    charging=True,
    load_average=2.5,
    free_ram_bytes=2_000_000_000,
    thermal_status=0,
    power_save=False,
    screen_on=True,
    foreground_app="com.google.android.apps.nexuslauncher",
)

STEADY_MS = (50.0, 50.2, 50.1, 49.9, 50.0, 50.1, 49.8, 50.2, 50.0, 50.1)
FULL_KHZ = 2_200_000


def measured(**changes: Any) -> Record:
    """A clean record on PHONE, but for changes to its measurement."""
    base = record("mobilenet", STEADY_MS, on=PHONE)
    passes = tuple(Pass(sample.ns, 4, FULL_KHZ, 50.0) for sample in base.measurement.samples)
    clean = replace(base.measurement, warmup=passes[:1], samples=passes, cpu_mask=0xFF)
    return replace(base, before=COOL, after=COOL, measurement=replace(clean, **changes))


def with_samples(*, of: Record | None = None, **columns: Sequence[Any]) -> Record:
    """A clean record (or `of`), but that its passes have these: `ns`, `khz`, `cpu`, `celsius` or `counters`."""
    one = of or measured()
    rows = zip(*columns.values(), strict=True)
    samples = [
        replace(sample, **dict(zip(columns, row, strict=True)))
        for sample, row in zip(one.measurement.samples, rows, strict=True)
    ]
    return replace(one, measurement=replace(one.measurement, samples=tuple(samples)))


def milliseconds(*times: float) -> list[int]:
    return [round(ms * 1e6) for ms in times]


def before(**changes: Any) -> Record:
    return replace(measured(), before=replace(COOL, **changes))


def after(**changes: Any) -> Record:
    return replace(measured(), after=replace(COOL, **changes))


def on(device: DeviceInfo, one: Record | None = None) -> Record:
    return replace(one or measured(), device=device)


def pinned(cpus: str | None, one: Record) -> Record:
    return replace(one, case=replace(one.case, cpus=cpus))


def on_threads(threads: int, one: Record) -> Record:
    return replace(one, case=replace(one.case, threads=threads))


def kinds(one: Record, limits: Limits = LIMITS) -> list[str]:
    return [one.kind for one in warnings_of(one, limits)]


def only(one: Record, limits: Limits = LIMITS) -> CaseWarning:
    (warning,) = warnings_of(one, limits)
    return warning


def counters(share: float) -> Counters:
    return Counters("perf", 1000, round(1000 * share), {"instructions": 5})


ARMV7 = {"abi": "armeabi-v7a", "cpu_features": ("neon",), "machine": "armv7l"}
PHONE_32 = replace(PHONE, abi="armeabi-v7a", machine="armv7l")
HOT = {"temperatures_celsius": {"cpu-0-0 (0)": 41.5, "skin (HAL, skin)": 33.0}}
SAVING = ("schedutil",) * 4 + ("powersave",) * 4
SLOW_LATE_KHZ = [FULL_KHZ] * 6 + [1_500_000, 1_400_000, 1_500_000, 1_500_000]

#: One bad condition each -> the warning's kind, and a part of what it says.
BAD: dict[str, tuple[Record, str, str]] = {
    "clocks that fall": (with_samples(khz=SLOW_LATE_KHZ), "throttled", "from 2.20 GHz to 1.40 GHz in passes 7-10"),
    "a clock that fell after the warm-up": (
        with_samples(khz=[2_000_000] * 10),
        "throttled",
        "from 2.20 GHz to 2.00 GHz in passes 1-10",
    ),
    "a start above the limit": (
        before(**HOT),
        "hot_start",
        "41.5 °C (cpu-0-0 (0)) while it charged, above the limit of 40",
    ),
    "a pass above the limit": (
        with_samples(celsius=[50.0] * 8 + [81.25, 80.5]),
        "too_hot",
        "passes 9-10 ended at up to 81.2 °C, above the limit of 80 °C",
    ),
    "an end above the limit": (
        after(temperatures_celsius={"cpu (0)": 85.0}, charging=False),
        "too_hot",
        "it ended at 85.0 °C (cpu (0)), above the limit of 80 °C; let it cool",
    ),
    "an end at a moderate thermal status": (after(thermal_status=2), "too_hot", "thermal status 2 (moderate)"),
    "no temperature at the start": (
        before(temperatures_celsius={}, battery_celsius=None),
        "temperature_unknown",
        "no temperature at the start",
    ),
    "passes on other cores": (
        with_samples(cpu=[4, 4, 0, 5, 4, 4, 4, 1, 4, 4], khz=[None] * 10),
        "migrated",
        "passes 3, 8 ended on little (CPUs 0-3), the others on big (CPUs 4-7)",
    ),
    "a mask that the kernel narrowed": (
        pinned("big", measured(cpu_mask=0x30)),
        "affinity_lost",
        "CPUs 4-7 were asked for, the kernel let the run have 4-5",
    ),
    "passes outside the mask": (
        pinned("4-5", with_samples(of=measured(cpu_mask=0x30), cpu=[4] * 9 + [6])),
        "affinity_lost",
        "CPUs 4-5 were asked for, pass 10 ended elsewhere",
    ),
    "CPUs that were switched off": (
        pinned("big", replace(measured(cpu_mask=0x30), before=replace(COOL, online_cpus=(0, 1, 2, 3, 4, 5)))),
        "affinity_lost",
        "some of --cpus big were switched off (6-7): it ran on 4-5",
    ),
    "CPUs that went away": (
        pinned("all", replace(measured(cpu_mask=0x7F), before=replace(COOL, online_cpus=tuple(range(8))))),
        "affinity_lost",
        "CPUs 0-7 were asked for, the kernel let the run have 0-6",
    ),
    "more threads than CPUs": (on_threads(4, measured(cpu_mask=0x80)), "crowded", "4 threads shared CPU 7;"),
    "more threads than a few CPUs": (on_threads(4, measured(cpu_mask=0xC1)), "crowded", "4 threads shared CPUs 0,6-7;"),
    "threads that waited for a CPU now and then": (
        on_threads(2, with_samples(wait_ns=[*milliseconds(0, 0, 0.9, 0, 5, 0, 0, 0.01, 2, 0)])),
        "preempted",
        "threads waited for a CPU that others had, for up to 10% of the time: passes 5, 9",
    ),
    "threads that waited for a CPU for long": (
        on_threads(2, with_samples(wait_ns=[5_100_000] * 10)),
        "kept_waiting",
        "for 10% of the median pass its threads waited for a CPU that others had;",
    ),
    "times that grow": (
        with_samples(ns=[round(50e6 * (1 + 0.01 * index)) for index in range(10)]),
        "drifting",
        "% longer than the first",
    ),
    "two groups of times": (
        with_samples(ns=milliseconds(50, 53, 50.1, 53.1, 50.2, 53.2, 50, 50.1, 53, 50.2)),
        "bimodal",
        "passes 2, 4, 6, 9 are the slower one",
    ),
    "times that differ": (
        with_samples(ns=milliseconds(50, 65, 58, 45, 70, 52, 61, 48, 66, 55)),
        "unstable",
        "standard deviation is 15% of the mean",
    ),
    "one slow pass": (
        with_samples(ns=milliseconds(50, 50.1, 50.2, 58, 50, 50.1, 49.9, 50, 50.1, 49.9)),
        "outliers",
        "7.95 ms off the median of 50.05 ms: pass 4",
    ),
    "passes that others took the CPU from": (
        with_samples(cpu_ns=[*milliseconds(50, 50.2, 50.1, 49.9, 50), *milliseconds(45, 49.8, 25.1, 50, 50.1)]),
        "preempted",
        "others had the CPU for up to 50% of the time: passes 6, 8",
    ),
    "other programs": (before(load_average=6.5), "busy", "load average was 6.5 on 8 cores before the start;"),
    "power saving": (before(power_save=True), "power_save", "power saving was on"),
    "power saving that came on": (after(power_save=True), "power_save", "power saving was on"),
    "a low battery": (after(battery_percent=19), "low_battery", "at 19 %, below 20 %"),
    "an app in front": (before(foreground_app="com.example.game"), "app_in_front", "com.example.game was in front"),
    "a saving governor": (
        replace(measured(), before=replace(COOL, governors=SAVING), after=replace(COOL, governors=SAVING)),
        "governor",
        "CPUs 4 were run by the governor powersave",
    ),
    "a governor that changed": (
        after(governors=("schedutil",) * 4 + ("performance",) * 4),
        "governor",
        "CPU 4 changed from schedutil to performance",
    ),
    "32-bit code on a 64-bit phone": (measured(**ARMV7), "32-bit", "ran on a 64-bit machine (aarch64)"),
    "32-bit code on a 64-bit kernel": (
        on(PHONE_32, measured(**{**ARMV7, "machine": "armv8l"})),
        "32-bit",
        "ran on a 64-bit machine (armv8l)",
    ),
    "modelled time": (on(replace(PHONE, clock="instructions", kind="board")), "emulated", "modelled, 1 ns for each"),
    "estimated time": (
        on(replace(PHONE, clock="estimated", kind="board", chip=CHIP)),
        "estimated",
        f"what a model of its core says of MT6580 at 1.3 GHz, not measured; {accuracy(CHIP)}",
    ),
    "meaningless time": (on(replace(PHONE, clock="emulated", kind="board")), "emulated", "means nothing"),
    "translated code": (
        on(replace(PHONE, abi="x86_64", machine="x86_64")),
        "emulated",
        "translated by a machine that is x86_64",
    ),
    "a CPU without NEON": (
        on(PHONE_32, measured(**{**ARMV7, "cpu_features": ()})),
        "no_simd",
        "the CPU says that it has no NEON",
    ),
    "a library without NEON": (
        on(PHONE_32, replace(measured(**ARMV7), bundle=replace(measured().bundle, simd=()))),
        "no_simd",
        "library has no code for NEON",
    ),
    "counters that were shared out": (
        with_samples(counters=[counters(1.0)] * 8 + [counters(0.5)] * 2),
        "scaled_counters",
        "on for 50% of the time at least",
    ),
    "outputs that say nothing": (
        replace(measured(), check=OutputCheck(0.0, 0.0, 0.0, 1e-3, None)),
        "output_constant",
        "no output varies by more than rounding does",
    ),
    "random outputs": (
        replace(
            measured(),
            check=OutputCheck(None, None, None, 1e-3, None, unverified=dict.fromkeys("yz", "Bernoulli draws")),
        ),
        "unverified",
        "Bernoulli draws; see by other means",
    ),
    "indices that differ where scores are nearly the same": (
        replace(measured(), check=OutputCheck(1e-5, 10.0, 1e-6, 1e-3, None, unverified={"ids": "output 'ids' hangs"})),
        "unverified",
        "output 'ids' hangs",
    ),
    "a clock far from the highest": (
        with_samples(of=measured(warmup=()), khz=[1_700_000] * 10),
        "low_clock",
        "big (CPUs 4-7) was at most 1.70 GHz of the 2.20 GHz",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_condition_is_named_and_said(name: str) -> None:
    bad, kind, said = BAD[name]
    warning = only(bad)
    assert warning.kind == kind
    assert said in warning.message
    assert warning.message.endswith(f"; {warnings.KINDS[kind].advice}")
    assert "\n" not in warning.message


def test_every_kind_of_warning_has_its_bad_condition() -> None:
    assert {kind for _, kind, _ in BAD.values()} | {"hot_start", "rounds_differ", "rounds_failed"} == set(
        warnings.KINDS
    )


def test_a_clean_record_has_no_warnings() -> None:
    assert warnings_of(measured(), LIMITS) == ()
    assert warnings_of(measured(), NO_LIMITS) == ()
    assert warnings_of(pinned("big", measured(cpu_mask=0xF0)), LIMITS) == ()


def test_a_modelled_boards_clean_record_is_warned_of_for_its_emulation_alone() -> None:
    assert kinds(record("mobilenet", [500.0, 500.2, 499.8], on=BOARD), NO_LIMITS) == ["emulated"]


def test_of_what_was_not_measured_the_conditions_are_warned_of_alone() -> None:
    failed = replace(before(**HOT, power_save=True), measurement=None, status="crashed")
    assert kinds(failed, LIMITS) == ["hot_start", "power_save"]


def test_rounds_that_differ_more_than_passes_do_are_told_apart_from_noisy_passes() -> None:
    rounds = (measured(), measured())
    assert warnings.warnings_of_rounds(rounds, Spread(within=0.004, between=0.003)) == ()
    assert warnings.warnings_of_rounds(rounds, Spread(within=0.05, between=0.04)) == ()
    (warning,) = warnings.warnings_of_rounds(rounds, Spread(within=0.004, between=0.06))
    assert (warning.kind, "6.0%" in warning.message) == ("rounds_differ", True)


def test_rounds_that_failed_are_counted() -> None:
    (warning,) = warnings.warnings_of_rounds((measured(), replace(measured(), status="crashed")), None)
    assert (warning.kind, "1 of 2 rounds" in warning.message) == ("rounds_failed", True)


def test_a_device_that_tells_nothing_is_not_warned_of_without_limits() -> None:
    silent = with_samples(khz=[None] * 10, cpu=[None] * 10, celsius=[None] * 10)
    assert warnings_of(replace(silent, before=None, after=None), NO_LIMITS) == ()
    unknown = DeviceState({}, (), (), None, None, None, None, None)
    assert warnings_of(replace(silent, before=unknown, after=unknown), NO_LIMITS) == ()


def test_a_governor_that_ramps_up_is_not_throttling() -> None:
    slow_warmup = measured(warmup=(Pass(90_000_000, 4, 600_000),))
    assert kinds(with_samples(of=slow_warmup, khz=[1_000_000, 1_600_000, *[FULL_KHZ] * 8])) == []


def test_a_clock_that_wavers_a_little_is_not_throttling() -> None:
    assert kinds(with_samples(khz=[FULL_KHZ, 2_100_000] * 5)) == []


def test_clocks_of_two_clusters_are_not_compared() -> None:
    moved = with_samples(cpu=[4, 4, 0, *[4] * 7], khz=[FULL_KHZ, FULL_KHZ, 1_800_000, *[FULL_KHZ] * 7])
    assert kinds(moved) == ["migrated"]


def test_throttling_names_its_passes() -> None:
    assert only(BAD["clocks that fall"][0]).samples == (6, 7, 8, 9)


def test_a_pcs_clock_need_not_be_its_highest() -> None:
    pc = replace(PHONE, kind="host", abi="x86_64", machine="x86_64")
    slower = with_samples(of=measured(warmup=(), abi="x86_64", machine="x86_64"), khz=[1_700_000] * 10)
    assert kinds(on(pc, slower)) == []


def test_a_pcs_powersave_is_its_ordinary_governor() -> None:
    pc = replace(PHONE, kind="host", abi="x86_64", machine="x86_64")
    ordinary = replace(COOL, governors=("powersave",) * 8)
    one = replace(measured(abi="x86_64", machine="x86_64"), before=ordinary, after=ordinary)
    assert kinds(on(pc, one)) == []


def test_a_governor_of_cores_that_were_not_used_is_no_warning() -> None:
    assert kinds(before(governors=SAVING[::-1])) == []


def test_without_a_limit_androids_thermal_status_tells_a_hot_start() -> None:
    warm = before(thermal_status=1)
    assert "thermal status 1 (light) while it charged" in only(warm, NO_LIMITS).message
    assert kinds(warm, LIMITS) == []


def test_heat_below_the_limits_is_no_warning() -> None:
    assert kinds(before(**HOT), replace(LIMITS, max_start_celsius=41.5)) == []
    assert kinds(before(**HOT), NO_LIMITS) == []
    assert kinds(after(temperatures_celsius={"cpu (0)": 99.0}), NO_LIMITS) == []


def test_an_unknown_temperature_is_told_once_for_both_limits() -> None:
    unknown = DeviceState({}, (), (), None, None, None, None, None)
    silent = replace(with_samples(celsius=[None] * 10), before=unknown, after=unknown)
    assert "no temperature at the start and afterwards" in only(silent).message
    assert kinds(silent, replace(LIMITS, max_start_celsius=None)) == ["temperature_unknown"]


def test_temperatures_of_the_passes_are_enough_for_the_limit_on_them() -> None:
    assert kinds(replace(measured(), after=None), LIMITS) == []


def test_the_runs_own_last_case_does_not_make_the_device_busy() -> None:
    loaded = before(load_average=6.5)
    assert kinds(loaded) == ["busy"]
    assert kinds(replace(loaded, order=1)) == []
    assert "1 of them this run's own at most" in only(replace(before(load_average=7.5), order=1)).message


def test_the_load_of_a_board_is_no_warning() -> None:
    assert "busy" not in kinds(on(replace(PHONE, kind="board", clock="instructions"), before(load_average=50.0)))


@pytest.mark.parametrize(
    "app",
    [
        "com.sec.android.app.launcher",
        "com.miui.home",
        "com.sonymobile.home",
        "com.huawei.android.launcher",
        "com.android.systemui",
        "com.google.android.googlequicksearchbox",
    ],
)
def test_a_home_screen_is_not_an_app_in_front(app: str) -> None:
    assert kinds(before(foreground_app=app)) == []


@pytest.mark.parametrize("screen_on", [False, None])
def test_an_app_behind_a_dark_screen_is_not_in_front(screen_on: bool | None) -> None:
    assert kinds(before(foreground_app="com.example.game", screen_on=screen_on)) == []


def test_an_app_may_be_called_like_a_home() -> None:
    assert kinds(before(foreground_app="com.example.smarthome")) == ["app_in_front"]


def test_charging_alone_is_no_warning() -> None:
    assert kinds(before(charging=True)) == []


def test_without_the_cores_nothing_is_said_of_moves_and_masks() -> None:
    unknown = replace(PHONE, cores=())
    moved = pinned("big", with_samples(cpu=[0, 4] * 5, khz=[None] * 10))
    assert kinds(on(unknown, moved)) == []


def test_several_warnings_come_in_the_order_of_the_table() -> None:
    bad = with_samples(of=before(power_save=True, load_average=7.0, **HOT), khz=SLOW_LATE_KHZ)
    assert kinds(bad) == ["throttled", "hot_start", "busy", "power_save"]


def test_a_cells_words_are_short_and_count_passes_from_one() -> None:
    bad = with_samples(of=before(**HOT), khz=SLOW_LATE_KHZ)
    assert warnings.summary(warnings_of(bad, LIMITS)) == "throttled (passes 7-10); hot start"


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ((), "outliers"),
        ((2,), "outliers (pass 3)"),
        ((0, 1), "outliers (passes 1-2)"),
        ((0, 4, 6, 7), "outliers (passes 1, 5, 7-8)"),
        (range(0, 20, 2), "outliers (passes 1, 3, 5, 7, ...)"),
    ],
)
def test_passes_are_named_as_people_count_them(samples: Sequence[int], words: str) -> None:
    assert warnings.summary([CaseWarning("outliers", "", tuple(samples))]) == words


def test_a_cell_names_each_kind_once() -> None:
    twice = [
        CaseWarning("governor", "one"),
        CaseWarning("outliers", "", (1,)),
        CaseWarning("governor", "two"),
        CaseWarning("outliers", "", (0,)),
    ]
    assert warnings.summary(twice) == "governor; outliers (passes 1-2)"
    assert warnings.summary([CaseWarning("outliers", "", (1,)), CaseWarning("outliers", "")]) == "outliers"
    assert warnings.summary([]) == ""


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("wait_ms", [5.1, 45, 200])
def test_passes_that_waited_for_a_cpu_for_long_are_told(threads: int, wait_ms: float) -> None:
    """As two threads beside another session's work: 300 ms in place of 8, steady, at a low load average."""
    steady = on_threads(threads, with_samples(wait_ns=milliseconds(*[wait_ms] * 10)))
    found = only(steady)
    assert found.kind == "kept_waiting"
    assert f"for {min(wait_ms / 50, 1):.0%} of the median pass its threads waited for a CPU" in found.message


@pytest.mark.parametrize(
    "one",
    [
        with_samples(wait_ns=[None] * 10),
        with_samples(wait_ns=[900_000] * 10),
        with_samples(wait_ns=[45_000_000] * 9 + [None]),
        on(replace(PHONE, clock="emulated", kind="board"), with_samples(wait_ns=[45_000_000] * 10)),
        on_threads(4, with_samples(of=measured(cpu_mask=0x3), wait_ns=[45_000_000] * 10)),  # for one another
    ],
)
def test_waiting_is_not_others_work_where_it_is_short_unknown_or_its_own(one: Record) -> None:
    assert not {"preempted", "kept_waiting"} & set(kinds(one))


@pytest.mark.parametrize(
    ("kind", "fails"),
    [
        *((kind, True) for kind in ("throttled", "hot_start", "too_hot", "temperature_unknown", "migrated")),
        *(
            (kind, True)
            for kind in (
                "affinity_lost",
                "crowded",
                "kept_waiting",
                "busy",
                "power_save",
                "low_battery",
                "app_in_front",
                "governor",
            )
        ),
        *((kind, True) for kind in ("drifting", "bimodal", "unstable")),
        *((kind, False) for kind in ("emulated", "outliers", "preempted", "low_clock", "32-bit", "no_simd")),
        ("scaled_counters", False),
    ],
)
def test_strict_fails_what_another_moment_could_mend(kind: str, fails: bool) -> None:
    warning = CaseWarning(kind, "")
    assert warnings.failing([warning]) == ((warning,) if fails else ())


_counts = st.none() | st.integers(0, 2**40)
_celsius = st.none() | st.floats(-40, 150)
_passes = st.builds(
    Pass,
    ns=st.integers(0, 2**62),
    cpu=st.none() | st.integers(0, 100),
    khz=_counts,
    celsius=_celsius,
    counters=st.none() | st.builds(Counters, enabled_ns=st.integers(0, 9), running_ns=st.integers(0, 9)),
)
_states = st.builds(
    DeviceState,
    temperatures_celsius=st.dictionaries(st.sampled_from(["cpu (0)", "skin", "battery (1)"]), st.floats(-40, 150)),
    governors=st.lists(st.none() | st.sampled_from(["powersave", "schedutil"]), max_size=9).map(tuple),
    battery_percent=st.none() | st.integers(-1, 101),
    load_average=st.none() | st.floats(0, 1000),
    thermal_status=st.none() | st.integers(-1, 9),
)
_devices = st.builds(
    DeviceInfo,
    kind=st.sampled_from(Kind.__args__),
    clock=st.sampled_from(Clock.__args__),
    cores=st.lists(
        st.builds(
            Core,
            index=st.integers(0, 9),
            part=st.sampled_from([None, "Cortex-A55", "Cortex-A76"]),
            max_khz=st.sampled_from([None, 0, 1_800_000, 2_200_000]),
        ),
        max_size=9,
    ).map(tuple),
)
_measurements = st.builds(
    Measurement,
    abi=st.sampled_from(["armeabi-v7a", "arm64-v8a", "x86_64"]),
    warmup=st.lists(_passes, max_size=2).map(tuple),
    samples=st.lists(_passes, max_size=12).map(tuple),
    cpu_mask=st.integers(0, 2**64 - 1),
    profile=st.none(),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.none() | _measurements,
    st.none() | _states,
    st.none() | _states,
    _devices,
    st.none() | st.sampled_from(["big", "mid", "all", "0-3", "0xf0", "nonsense"]),
    st.builds(Limits, max_start_celsius=_celsius, max_celsius=_celsius),
)
def test_whatever_a_record_leaves_out_its_warnings_can_be_told(
    measurement: Measurement | None,
    state_before: DeviceState | None,
    state_after: DeviceState | None,
    device: DeviceInfo,
    cpus: str | None,
    limits: Limits,
) -> None:
    one = replace(measured(), measurement=measurement, before=state_before, after=state_after, device=device)
    found = warnings_of(replace(pinned(cpus, one), bundle=None), limits)
    assert all(one.kind in warnings.KINDS and one.message for one in found)
    assert all(0 <= index < len(measurement.samples) for one in found for index in one.samples)
    warnings.summary(found)
