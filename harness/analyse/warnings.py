"""Why a time may be worth less than it looks: warnings about one record, from all that it holds.

Pure functions. What was seen is said with its numbers, and what to do about it; a clean record has none.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from device.board.accuracy import accuracy
from device.cores import Cluster, as_ranges, cluster_of, clusters, cpu_mask, cpus_of
from device.errors import DeviceError
from device.records import DeviceState, Measurement
from device.thermal import hottest
from harness.analyse import preemption, statistics
from harness.analyse.statistics import Spread
from harness.record.plan import Limits
from harness.record.record import Record
from harness.record.units import milliseconds, percent

#: A choice: a CPU below this part of the clock that it had or could have is slow; readings of one clock differ by less.
FULL_CLOCK_SHARE = 0.95

#: pyperf's `check` warns of a benchmark from this coefficient of variation on.
UNSTABLE_CV = 0.10

#: A choice: rounds that differ by less than this are alike, however steady each of them is.
ROUNDS_DIFFER_LEAST = 0.02

#: A choice: a load average above this share of the cores is other programs' work. Phones that do nothing show a third
#: to a half, for Linux counts what waits in the kernel, too.
BUSY_SHARE = 0.75

#: A choice: passes that wait so much of their time for a CPU are not the network's.
KEPT_WAITING_SHARE = 0.10

#: A choice: Android offers power saving at 15 to 20 %, and phones limit the current that a low battery must give.
LOW_BATTERY_PERCENT = 20

#: Android's thermal status (android.os.PowerManager, THERMAL_STATUS_...): from light on the device throttles; from
#: moderate on noticeably.
THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
THROTTLES_FROM, THROTTLES_NOTICEABLY_FROM = 1, 2

#: Governors that keep clocks low (Linux, Documentation/admin-guide/pm/cpufreq.rst). On x86, intel_pstate's ordinary
#: governor is called powersave (intel_pstate.rst): there the name says nothing.
SAVING_GOVERNORS = frozenset({"powersave"})

#: A choice: home screens by their names (nexuslauncher, com.miui.home, com.sonymobile.home, com.android.systemui).
HOME_SCREEN = re.compile(r"launcher|systemui|googlequicksearchbox|(^|\.)home($|\.)", re.IGNORECASE)

_MACHINES_64_BIT = ("aarch64", "armv8l")  # armv8l: what a 64-bit kernel tells 32-bit programs
MACHINES_X86 = ("x86_64", "i386", "i586", "i686")

_MOST_RUNS = 4  # a choice: so many passes, or runs of them, fit into a table's cell


@dataclass(frozen=True)
class CaseWarning:
    """Why a figure is to be trusted less: `kind` is one of KINDS, `message` says what was seen, and what to do.

    `samples` are the indices of the timed passes concerned; none: the whole case is.
    """

    kind: str
    message: str
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of warning: its words in a table, what to do, and whether it fails a run with --strict.

    Strict are those that a better moment, a cooler or quieter device or other options can avoid. What belongs to the
    device or was asked for (emulation, 32-bit code) is not, nor is what leaves the times alone (counters), nor single
    outliers, which chance alone makes in one case of eight, and preempted passes, of which any system has some.
    """

    words: str
    advice: str
    strict: bool


KINDS: dict[str, Kind] = {
    "emulated": Kind("emulated", "compare it with times of the same emulator alone", strict=False),
    "estimated": Kind("estimated", "compare it with estimates for the same chip alone", strict=False),
    "throttled": Kind("throttled", "let the device cool before each case (--max-start-celsius)", strict=True),
    "low_clock": Kind(
        "low clock",
        "see whether the device is hot, saves power, or is kept from its full clock by its maker",
        strict=False,
    ),
    "hot_start": Kind("hot start", "let it cool for longer, in a cooler place and off its charger", strict=True),
    "too_hot": Kind("too hot", "let it cool before each case (--max-start-celsius), or make fewer passes", strict=True),
    "temperature_unknown": Kind(
        "temperature unknown", "watch the times for a drift instead, and run without the limit", strict=True
    ),
    "migrated": Kind("migrated", "pin the run to one kind of core (--cpus big)", strict=True),
    "affinity_lost": Kind(
        "affinity lost", "see whether the system takes CPUs away when it is hot or its screen is off", strict=True
    ),
    "crowded": Kind(
        "more threads than CPUs", "allow as many CPUs as there are threads (--cpus), or fewer --threads", strict=True
    ),
    "drifting": Kind("drifting", "warm up for longer (--warmup), or let the device cool first", strict=True),
    "bimodal": Kind("two modes", "see what these passes share: CPU, clock, or another program's work", strict=True),
    "unstable": Kind("unstable", "repeat it on a device that does nothing else, with more passes", strict=True),
    "outliers": Kind("outliers", "trust the median more than the mean", strict=False),
    "preempted": Kind(
        "preempted",
        "end other programs, or trust the least times: tenpass compare leaves out what others took",
        strict=False,
    ),
    "kept_waiting": Kind(
        "kept waiting for CPUs", "end other programs, or wait until they are done, and measure it again", strict=True
    ),
    "busy": Kind("busy", "end other programs, or wait until they are done", strict=True),
    "power_save": Kind("power save", "switch power saving off", strict=True),
    "low_battery": Kind("low battery", "charge the device first", strict=True),
    "app_in_front": Kind("app in front", "go to the home screen, or switch the screen off", strict=True),
    "governor": Kind("governor", "set the one that the device has by default, or performance", strict=True),
    "output_constant": Kind("output constant", "give inputs that make a difference (--input)", strict=True),
    "unverified": Kind(
        "output unverified", "see by other means that the network computes what it should", strict=False
    ),
    "32-bit": Kind("32-bit", "measure 64-bit code, too (--abi arm64-v8a)", strict=False),
    "no_simd": Kind("no NEON", "do not take it for what this processor can do", strict=False),
    "scaled_counters": Kind("counts scaled", "take the counts for estimates", strict=False),
    "rounds_differ": Kind(
        "processes differ", "trust the interval over the rounds, and measure more of them (--rounds)", strict=False
    ),
    "rounds_failed": Kind("rounds failed", "see why below, and go on with --resume", strict=False),
}


def warnings_of(record: Record, limits: Limits) -> tuple[CaseWarning, ...]:
    """All warnings about the record, in the order of KINDS; where nothing was measured (yet), about its conditions."""
    found = [one for check in CONDITIONS for one in check(record, limits)]
    if record.measurement is not None:
        found += [one for check in CHECKS for one in check(record, record.measurement, limits)]
    order = list(KINDS)
    return tuple(sorted(found, key=lambda one: order.index(one.kind)))


def warnings_of_rounds(records: Sequence[Record], spread: Spread | None) -> tuple[CaseWarning, ...]:
    """Warnings about all rounds of a case together, which no single record has."""
    found = []
    failed = sum(record.status != "ok" for record in records)
    if failed:
        found.append(made("rounds_failed", f"{failed} of {len(records)} rounds failed; figures are of the others"))
    between = spread.between if spread is not None else None
    if spread is not None and between is not None and between >= max(spread.within, ROUNDS_DIFFER_LEAST):
        seen = f"from process to process times differ by {percent(between)}, within one by {percent(spread.within)}"
        found.append(made("rounds_differ", seen))
    return tuple(found)


def failing(warnings: Iterable[CaseWarning]) -> tuple[CaseWarning, ...]:
    """Those that fail a run with --strict."""
    return tuple(one for one in warnings if KINDS[one.kind].strict)


def summary(warnings: Iterable[CaseWarning]) -> str:
    """The warnings for a table's cell, each kind once: `throttled (passes 7-10); hot start`. Passes count from 1."""
    samples: dict[str, set[int] | None] = {}
    for one in warnings:
        known = samples.setdefault(one.kind, set())
        samples[one.kind] = known | set(one.samples) if known is not None and one.samples else None
    return "; ".join(KINDS[kind].words + (f" ({_passes(some)})" if some else "") for kind, some in samples.items())


def _passes(samples: Iterable[int]) -> str:
    """Passes as people count them, from 1: `pass 3`, `passes 2, 7-10`."""
    runs = as_ranges(index + 1 for index in samples).split(",")
    plural = len(runs) > 1 or "-" in runs[0]
    shown = [*runs[:_MOST_RUNS], *(["..."] if len(runs) > _MOST_RUNS else [])]
    return f"pass{'es' if plural else ''} {', '.join(shown)}"


def made(kind: str, seen: str, samples: Sequence[int] = ()) -> CaseWarning:
    """A warning of this kind: what was seen, and the kind's advice."""
    return CaseWarning(kind, f"{seen}; {KINDS[kind].advice}", tuple(samples))


def _ghz(khz: int) -> str:
    return f"{khz / 1e6:.2f} GHz"


def _emulated(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    machine = next((one for one in (measured.machine, record.device.machine) if one in MACHINES_X86), None)
    if (chip := record.device.chip) is not None:
        yield made("estimated", f"the time is what a model of its core says of {chip}, not measured; {accuracy(chip)}")
    elif record.device.clock == "instructions":
        yield made(
            "emulated",
            "the time is modelled, 1 ns for each instruction: it knows nothing of caches, pipelines or several cores",
        )
    elif record.device.clock == "emulated":
        yield made("emulated", "the time is that of an emulator without a clock of its own, and means nothing")
    elif measured.abi.startswith("arm") and machine:
        yield made(
            "emulated", f"ARM code was translated by a machine that is {machine}: the time is not that of an ARM core"
        )


def _throttled(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    """Clocks that fell: below what an earlier pass of this case, a warm-up pass too, had on the same cluster.

    A governor that raises the clock in the first passes is not taken for it, for nothing was higher before them.
    """
    among = clusters(record.device)
    highest: dict[object, int] = {}
    slow: dict[int, tuple[int, int]] = {}  # index of the timed pass -> its clock, and the highest before it
    for index, sample in enumerate((*measured.warmup, *measured.samples), start=-len(measured.warmup)):
        if sample.khz is None or sample.cpu is None:
            continue
        place = cluster_of(sample.cpu, among) or sample.cpu
        before = highest.get(place, 0)
        if index >= 0 and sample.khz < FULL_CLOCK_SHARE * before:
            slow[index] = (sample.khz, before)
        highest[place] = max(before, sample.khz)
    if slow:
        lowest, before = min(slow.values(), key=lambda clocks: clocks[0] / clocks[1])
        seen = f"the clock fell from {_ghz(before)} to {_ghz(lowest)} in {_passes(slow)}"
        yield made("throttled", seen, _some(list(slow), measured))


def _low_clock(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    """A clock that never came near the core's highest. Not asked of PCs, whose highest is for moments."""
    if record.device.machine in MACHINES_X86:
        return
    for cluster in clusters(record.device):
        passes = (*measured.warmup, *measured.samples)
        reached = max((one.khz for one in passes if one.khz is not None and one.cpu in cluster.cpus), default=None)
        here = [index for index, sample in enumerate(measured.samples) if sample.cpu in cluster.cpus]
        if here and reached is not None and cluster.max_khz and reached < FULL_CLOCK_SHARE * cluster.max_khz:
            seen = f"the clock of {cluster} was at most {_ghz(reached)} of the {_ghz(cluster.max_khz)} that it can have"
            yield made("low_clock", seen, _some(here, measured))


def _some(samples: Sequence[int], measured: Measurement) -> Sequence[int]:
    """The samples, or none where they are all: then the whole case is concerned."""
    return samples if len(samples) < len(measured.samples) else ()


def _hot_start(record: Record, limits: Limits) -> Iterator[CaseWarning]:
    state = record.before
    if state is None:
        return
    found = hottest(state)
    if limits.max_start_celsius is not None:
        if found is not None and found[1] > limits.max_start_celsius:
            limit = f"above the limit of {limits.max_start_celsius:g} °C"
            yield made("hot_start", f"it started at {_celsius(found)}{_charging(state)}, {limit}")
    elif state.thermal_status is not None and state.thermal_status >= THROTTLES_FROM:
        yield made(
            "hot_start", f"it started with Android's thermal status {_status(state.thermal_status)}{_charging(state)}"
        )


def _too_hot(record: Record, measured: Measurement, limits: Limits) -> Iterator[CaseWarning]:
    seen: list[str] = []
    limit, state = limits.max_celsius, record.after
    hot = {
        index: sample.celsius
        for index, sample in enumerate(measured.samples)
        if limit is not None and sample.celsius is not None and sample.celsius > limit
    }
    if hot:
        seen.append(f"{_passes(hot)} ended at up to {max(hot.values()):.1f} °C")
    found = hottest(state) if state is not None else None
    if limit is not None and found is not None and found[1] > limit:
        seen.append(f"it ended at {_celsius(found)}")
    if seen:
        seen[-1] += f", above the limit of {limit:g} °C"
    if state is not None and state.thermal_status is not None and state.thermal_status >= THROTTLES_NOTICEABLY_FROM:
        seen.append(f"it ended with Android's thermal status {_status(state.thermal_status)}")
    if seen:
        charging = _charging(state) if state is not None else ""
        yield made("too_hot", " and ".join(seen) + charging, _some(list(hot), measured))


def _temperature_unknown(record: Record, limits: Limits) -> Iterator[CaseWarning]:
    def tells(state: DeviceState | None) -> bool:
        return state is not None and hottest(state) is not None

    unknown = []
    if limits.max_start_celsius is not None and record.before is not None and not tells(record.before):
        unknown.append("at the start")
    if limits.max_celsius is not None and record.measurement is not None:
        during = any(sample.celsius is not None for sample in record.measurement.samples)
        if not during and not tells(record.after):
            unknown.append("afterwards")
    if unknown:
        yield made(
            "temperature_unknown", f"there is a limit, but the device tells no temperature {' and '.join(unknown)}"
        )


def _celsius(zone: tuple[str, float]) -> str:
    return f"{zone[1]:.1f} °C ({zone[0]})"


def _charging(state: DeviceState) -> str:
    return " while it charged" if state.charging else ""


def _status(status: int) -> str:
    return f"{status} ({THERMAL_STATUS[status] if 0 <= status < len(THERMAL_STATUS) else 'unknown'})"


def _migrated(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    among = clusters(record.device)
    places: dict[int, Cluster] = {}
    for index, sample in enumerate(measured.samples):
        cluster = cluster_of(sample.cpu, among) if sample.cpu is not None else None
        if cluster is not None:
            places[index] = cluster
    counted = Counter(places.values()).most_common()
    if len(counted) > 1:
        home = counted[0][0]
        away = [index for index, cluster in places.items() if cluster != home]
        others = ", ".join(str(cluster) for cluster, _ in counted[1:])
        yield made("migrated", f"{_passes(away)} ended on {others}, the others on {home}", away)


def _affinity_lost(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    asked = whole = 0
    if record.case.cpus is not None:
        with contextlib.suppress(ValueError, DeviceError):  # CPUs that are not there: the runner has refused them
            whole = cpu_mask(record.case.cpus, record.device)
            asked = cpu_mask(record.case.cpus, record.device, record.before.online_cpus if record.before else None)
    if not asked:
        return
    if asked != whole:
        off, on = as_ranges(cpus_of(whole & ~asked)), as_ranges(cpus_of(asked))
        yield made("affinity_lost", f"some of --cpus {record.case.cpus} were switched off ({off}): it ran on {on}")
    wanted = f"CPUs {as_ranges(cpus_of(asked))} were asked for"
    outside = [index for index, sample in enumerate(measured.samples) if _is_outside(sample.cpu, asked)]
    if measured.cpu_mask and measured.cpu_mask != asked:  # a mask of 0: CPUs above those that the runner tells
        given = as_ranges(cpus_of(measured.cpu_mask))
        seen = f"{wanted}, the kernel let the run have {given}"
        seen += f"; {_passes(outside)} ended elsewhere" if outside else ""
        yield made("affinity_lost", seen, _some(outside, measured))
    elif outside:
        yield made("affinity_lost", f"{wanted}, {_passes(outside)} ended elsewhere", _some(outside, measured))


def _crowded(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    cpus = cpus_of(measured.cpu_mask)
    if cpus and len(cpus) < record.case.threads:
        where = f"CPUs {as_ranges(cpus)}" if len(cpus) > 1 else f"CPU {cpus[0]}"
        yield made("crowded", f"{record.case.threads} threads shared {where}")


def _is_outside(cpu: int | None, mask: int) -> bool:
    return cpu is not None and not mask >> cpu & 1


def _statistical(_: Record, measured: Measurement, __: Limits) -> Iterator[CaseWarning]:
    if not measured.samples:
        return
    ns = [sample.ns for sample in measured.samples]
    far, cv = statistics.outliers(ns), statistics.coefficient_of_variation(ns)
    change, slower = statistics.trend(ns), statistics.slower_mode(ns)
    if change is not None:
        word = "longer" if change > 0 else "shorter"
        yield made("drifting", f"the last third of the passes took {abs(change):.1%} {word} than the first")
    if slower:
        yield made("bimodal", f"times fall into two groups, and {_passes(slower)} are the slower one", slower)
    if cv is not None and cv >= UNSTABLE_CV:
        yield made("unstable", f"the standard deviation is {cv:.0%} of the mean")
    if far and not slower:  # of two groups, the smaller one lies outside
        middle_ns = median(ns)
        far_ns = max(abs(ns[index] - middle_ns) for index in far)
        seen = f"up to {milliseconds(far_ns, 3)} ms off the median of {milliseconds(middle_ns)} ms: {_passes(far)}"
        yield made("outliers", seen, far)


def _preempted(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    passes, waited = measured.samples, preemption.waited(record)
    if preemption.is_told([record]):
        found = preemption.preempted(passes)
        shares = {index: preemption.share(passes[index]) for index in found}
        seen = "others had the CPU for"
    else:
        shares = {index: share for index, share in enumerate(waited) if share > preemption.PREEMPTED_SHARE}
        seen = "threads waited for a CPU that others had, for"
    if waited and median(waited) >= KEPT_WAITING_SHARE:
        long = f"for {median(waited):.0%} of the median pass its threads waited for a CPU that others had"
        yield made("kept_waiting", long)
    elif shares:
        seen += f" up to {max(shares.values()):.0%} of the time: {_passes(shares)}"
        yield made("preempted", seen, _some(list(shares), measured))


def _busy(record: Record, _: Limits) -> Iterator[CaseWarning]:
    """Boards are left out: time there does not pass for what else the host does.

    The average is over a minute, so that the run's own last case is still in it, and is left out of account.
    """
    load = record.before.load_average if record.before is not None else None
    cores = len(record.device.cores)
    if load is None or not cores or record.device.clock != "wall":
        return
    own = record.case.threads if record.order > 0 else 0
    if load - own > BUSY_SHARE * cores:
        ours = f", {own} of them this run's own at most" if own else ""
        yield made("busy", f"the load average was {load:g} on {cores} cores before the start{ours}")


def _power(record: Record, _: Limits) -> Iterator[CaseWarning]:
    states = [state for state in (record.before, record.after) if state is not None]
    if any(state.power_save for state in states):
        yield made("power_save", "Android's power saving was on")
    percent = min((state.battery_percent for state in states if state.battery_percent is not None), default=None)
    if percent is not None and percent < LOW_BATTERY_PERCENT:
        yield made("low_battery", f"the battery was at {percent} %, below {LOW_BATTERY_PERCENT} %")


def _app_in_front(record: Record, _: Limits) -> Iterator[CaseWarning]:
    for state in (record.before, record.after):
        app = state.foreground_app if state is not None and state.screen_on else None
        if app and not HOME_SCREEN.search(app):
            yield made("app_in_front", f"{app} was in front, with the screen on")
            return


def _governor(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    before, after = (state.governors if state is not None else () for state in (record.before, record.after))
    used = {sample.cpu for sample in measured.samples if sample.cpu is not None} or set(range(len(before)))
    saving = {cpu for cpu in used if cpu < len(before) and before[cpu] in SAVING_GOVERNORS}
    if saving and record.device.machine not in MACHINES_X86:
        yield made("governor", f"CPUs {as_ranges(saving)} were run by the governor {before[min(saving)]}")
    changed = [
        cpu
        for cpu in sorted(used)
        if cpu < min(len(before), len(after)) and None not in (before[cpu], after[cpu]) and before[cpu] != after[cpu]
    ]
    if changed:
        first = changed[0]
        yield made("governor", f"the governor of CPU {first} changed from {before[first]} to {after[first]} meanwhile")


def _instruction_set(record: Record, measured: Measurement, _: Limits) -> Iterator[CaseWarning]:
    if measured.abi != "armeabi-v7a":
        return
    machine = next((one for one in (measured.machine, record.device.machine) if one in _MACHINES_64_BIT), None)
    if machine or record.device.abi == "arm64-v8a":
        yield made("32-bit", f"32-bit code ({measured.abi}) ran on a 64-bit machine ({machine or record.device.abi})")
    lacking = []
    if "neon" not in measured.cpu_features:
        lacking.append("the CPU says that it has no NEON")
    if record.bundle is not None and "neon" not in record.bundle.simd:
        lacking.append("the runtime's library has no code for NEON")
    if lacking:
        yield made("no_simd", " and ".join(lacking))


def _output_constant(record: Record, _measured: Measurement, __: Limits) -> Iterator[CaseWarning]:
    if record.check is not None and record.check.passed and record.check.spread == 0:
        yield made("output_constant", "no output varies by more than rounding does, so that its check proves little")


def _unverified(record: Record, _measured: Measurement, __: Limits) -> Iterator[CaseWarning]:
    if record.check is not None:
        yield from (made("unverified", sentence) for sentence in dict.fromkeys(record.check.unverified.values()))


def _scaled_counters(_: Record, measured: Measurement, __: Limits) -> Iterator[CaseWarning]:
    shares = {
        index: sample.counters.share
        for index, sample in enumerate(measured.samples)
        if sample.counters is not None and sample.counters.share < 1
    }
    if shares:
        yield made(
            "scaled_counters",
            f"the CPU's counters were on for {min(shares.values()):.0%} of the time at least, and are scaled",
            _some(list(shares), measured),
        )


#: What can be told before anything is measured.
CONDITIONS: tuple[Callable[[Record, Limits], Iterator[CaseWarning]], ...] = (
    _hot_start,
    _temperature_unknown,
    _busy,
    _power,
    _app_in_front,
)

#: What a measurement tells.
CHECKS: tuple[Callable[[Record, Measurement, Limits], Iterator[CaseWarning]], ...] = (
    _emulated,
    _throttled,
    _low_clock,
    _too_hot,
    _migrated,
    _affinity_lost,
    _crowded,
    _statistical,
    _preempted,
    _governor,
    _output_constant,
    _unverified,
    _instruction_set,
    _scaled_counters,
)
