"""Two runs held against each other: may they be compared at all, and what became of each case. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from device.records import Counters, CountName, DeviceInfo, Pass
from export import fingerprint
from harness.analyse import groups, preemption, slower, statistics, warnings
from harness.analyse.slower import EXACT_FACTOR, FACTOR, Difference, Outcome
from harness.record import journal
from harness.record import plan as plans
from harness.record.differences import device_differences
from harness.record.plan import Limits, Plan
from harness.record.record import MeasuredArtifact, Record

#: What a figure is: the time of a pass, or what an emulator counted in it. Of an estimate, cycles: a time is what they
#: are at the chip's clock.
TIME: Final = "time_ns"
INSTRUCTIONS: Final = "instructions"
CYCLES: Final = "cycles"
_COUNTED: tuple[CountName, ...] = (CYCLES, INSTRUCTIONS)

#: A choice: a network of 200 nodes with one more took fewer cycles, by less than this: its memory lay otherwise.
LAYOUT_FACTOR = 1.01

_MOST_NAMED = 4  # a choice: so many are named in one line


@dataclass(frozen=True)
class Run:
    """A run as it lies in its folder; `records` has one for each round and case that was measured or failed."""

    folder: Path
    plan: Plan
    records: tuple[Record, ...]

    @property
    def title(self) -> str:
        return f"{self.folder} (commit {self.plan.commit or 'unknown'}, {self.plan.utc})"


@dataclass(frozen=True)
class ComparedCase:
    """One case on one device in both runs: the records of its rounds, in their order.

    `figure` is what was compared, TIME, INSTRUCTIONS or CYCLES; `difference` is None where nothing could be.
    `regression`: it was well in the first run and is slower, failed or missing in the second.
    """

    base: tuple[Record, ...]
    new: tuple[Record, ...]
    outcome: Outcome
    regression: bool
    reason: str
    figure: str = TIME
    difference: Difference | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the figure itself decides."""
        return self.figure != TIME or self.record.device.is_exact

    @property
    def record(self) -> Record:
        """The newest that ended well, else the first: what all share."""
        both = (*self.new, *self.base)
        return next((record for record in both if record.status == "ok"), both[0])


@dataclass(frozen=True)
class Comparison:
    """`refusals` say why the runs may not be compared: there are no cases then. `remarks` say what else differs."""

    base: Run
    new: Run
    refusals: tuple[str, ...]
    remarks: tuple[str, ...]
    cases: tuple[ComparedCase, ...]
    factor: float
    exact_factor: float

    def warnings(self, case: ComparedCase) -> tuple[str, str]:
        """About the case in the first and in the second run: each kind once, in words; empty where there are none."""
        return _warnings(case.base, self.base.plan.limits), _warnings(case.new, self.new.plan.limits)

    @property
    def regressions(self) -> tuple[ComparedCase, ...]:
        return tuple(case for case in self.cases if case.regression)


def read(folder: Path) -> Run:
    """Raises UsageError for what is not a run's folder."""
    return Run(folder, plans.read(folder), tuple(journal.read(folder)))


def compare(
    base: Run,
    new: Run,
    *,
    factor: float = FACTOR,
    exact_factor: float = EXACT_FACTOR,
    other_models: bool = False,
) -> Comparison:
    """`other_models`: networks may have changed, as when one was rewritten; by rounding alone they always may."""
    pairs = _pairs(base.records, new.records)
    changed = _changed_networks(pairs)
    rounded = [one for one in changed if one.is_rounding]
    other = [one.id for one in changed if not one.is_rounding]
    refusals = _refusals(base, new, pairs, [] if other_models else other)
    if refusals:
        return Comparison(base, new, tuple(refusals), (), (), factor, exact_factor)
    return Comparison(
        base,
        new,
        refusals=(),
        remarks=tuple(dict.fromkeys(_remarks(pairs, other, rounded))),
        cases=tuple(compare_case(then, now, factor, exact_factor) for then, now in pairs),
        factor=factor,
        exact_factor=exact_factor,
    )


#: The records of one case on one device in both runs; none where it is not in that run.
_Pair = tuple[tuple[Record, ...], tuple[Record, ...]]


def _pairs(base: Iterable[Record], new: Iterable[Record]) -> list[_Pair]:
    """In the order of the first run, and behind them what is in the second alone."""
    then, now = by_case(base), by_case(new)
    return [(then.get(key, ()), now.get(key, ())) for key in {**then, **now}]


def by_case(records: Iterable[Record]) -> dict[tuple[str, str], tuple[Record, ...]]:
    """The rounds of each case, in their order, by the device's serial and the case's id."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record.device.serial, record.id), []).append(record)
    return {key: tuple(sorted(rounds, key=lambda record: record.round)) for key, rounds in found.items()}


# --- may they be compared? ----------------------------------------------------------------------------


def _refusals(base: Run, new: Run, pairs: Sequence[_Pair], other_networks: Sequence[str]) -> list[str]:
    """Why they may not be, a line each."""
    then, now = _devices(base), _devices(new)
    common = [serial for serial in then if serial in now]
    if not common:
        return [f"other device: {_named(then)} then, {_named(now)} now; compare runs of one device"]
    found = [line for serial in common for line in device_differences(then[serial], now[serial])]
    if not any(both[0] and both[1] for both in pairs):
        ids = [_named(record.id for record in run.records) for run in (base, new)]
        found.append(f"no case in common: {ids[0]} then, {ids[1]} now; measure the same --models and --runtime")
    if other_networks:
        found.append(f"other model files in {_named(other_networks)}; --allow-other-models compares them all the same")
    return found


def _devices(run: Run) -> dict[str, DeviceInfo]:
    """By serial: those that the records are from, and those that the plan knows."""
    known = {info.serial: info for info in run.plan.device_infos.values()}
    return known | {record.device.serial: record.device for record in run.records}


@dataclass(frozen=True)
class ChangedNetwork:
    """A case whose model files have other bytes. `difference` is how far their weights are apart, each tensor's as a
    part of itself; None where they differ in more than weights, or that cannot be known."""

    id: str
    difference: float | None
    rounding: float  # the largest difference that rounding makes

    @property
    def is_rounding(self) -> bool:
        """Without a difference in their weights, it is something else that makes the files differ."""
        return self.difference is not None and 0 < self.difference <= self.rounding


def _changed_networks(pairs: Sequence[_Pair]) -> list[ChangedNetwork]:
    """What never got as far as files is not among them."""
    return [
        changed for then, now in pairs if networks(then) and networks(now) and (changed := changed_network(then, now))
    ]


def changed_network(then: Sequence[Record], now: Sequence[Record]) -> ChangedNetwork | None:
    """How the model files of these rounds of one case differ, the most that any two do; None where they are the same.

    The bytes depend on the machine where a kernel of the CPU's had a part in a weight (`export.fingerprint`).
    """
    if networks(then) == networks(now):
        return None
    found = [
        _difference(one.artifact, other.artifact)
        for one in then
        for other in now
        if one.artifact and other.artifact and one.artifact.sha256 != other.artifact.sha256
    ]
    known = [difference for difference in found if difference is not None]
    artifact = then[0].artifact
    stored_in = artifact.numbers.weights if artifact and artifact.numbers else then[0].case.precision
    rounding = fingerprint.ROUNDING.get(stored_in, fingerprint.ROUNDING["fp32"])
    return ChangedNetwork(then[0].id, max(known) if len(known) == len(found) else None, rounding)


def _difference(one: MeasuredArtifact, other: MeasuredArtifact) -> float | None:
    if (one.format, one.op_counts) != (other.format, other.op_counts):
        return None  # of Caffe2's nets, the fingerprint is that of the ONNX file they were made from
    return fingerprint.difference(one.fingerprint, other.fingerprint)


def networks(rounds: Sequence[Record]) -> frozenset[tuple[str, ...]]:
    """The sha256 of the model files that these rounds ran."""
    return frozenset(record.artifact.sha256 for record in rounds if record.artifact is not None)


def _named(names: Iterable[str]) -> str:
    different = list(dict.fromkeys(names))
    more = [f"and {len(different) - _MOST_NAMED} more"] if len(different) > _MOST_NAMED else []
    return ", ".join([*different[:_MOST_NAMED], *more]) or "none"


def _remarks(pairs: Sequence[_Pair], other_networks: Sequence[str], rounded: Sequence[ChangedNetwork]) -> Iterator[str]:
    """What differs and may be compared all the same: as a rule, what the comparison is about."""
    if rounded:
        most = max(rounded, key=lambda one: one.difference or 0.0)
        yield (
            f"model files that differ in rounding alone in {_named(one.id for one in rounded)}: their weights by "
            f"{most.difference:.1g} of themselves at most ({most.rounding:g} is allowed), as on another machine"
        )
    if other_networks:
        yield f"other model files in {_named(other_networks)} (--allow-other-models)"
    for then, now in ((groups.measured(then), groups.measured(now)) for then, now in pairs):
        if not then or not now:
            continue
        versions = [runtime_version(rounds[0]) for rounds in (then, now)]
        if versions[0] != versions[1]:
            yield f"other runtime: {versions[0]} then, {versions[1]} now"
        elif then[0].bundle != now[0].bundle:
            yield f"another build of the runner with {versions[0]}"
        for what in ("passes", "warmup"):
            counts = [getattr(rounds[0].case, what) for rounds in (then, now)]
            counts = ["until they settled" if count is None else count for count in counts]
            if counts[0] != counts[1]:
                yield f"{what}: {counts[0]} then, {counts[1]} now"
        if len(then) != len(now):
            yield f"rounds that ended well: {len(then)} then, {len(now)} now, in {now[0].id}"


def runtime_version(record: Record) -> str:
    """The runtime and its version, as the runner said; without it where nothing was measured."""
    version = record.measurement.runtime_version if record.measurement else ""
    return f"{record.case.runtime} {version}".strip()


# --- what became of a case ----------------------------------------------------------------------------


def compare_case(
    base: Sequence[Record], new: Sequence[Record], factor: float = FACTOR, exact_factor: float = EXACT_FACTOR
) -> ComparedCase:
    """One case on one device, in all its rounds of both runs; no records: the case is not in that run."""
    base, new = tuple(base), tuple(new)
    then, now = groups.measured(base), groups.measured(new)
    if without := _not_compared(base, new):
        outcome, reason = without
        is_worse = bool(then) and outcome in ("failed", "missing")
        return ComparedCase(base, new, outcome, is_worse, reason)
    counts = {name: (_counts(then, name), _counts(now, name)) for name in _COUNTED}
    decided = {
        name: slower.by_figure(*both, factor=exact_factor, takes_turns=_takes_turns(now))
        for name, both in counts.items()
        if all(both)
    }
    figure: str = next(iter(decided), TIME)
    executed = decided.get(INSTRUCTIONS)
    if figure == CYCLES and _may_be_layout(decided[CYCLES]) and executed is not None and executed.outcome == "slower":
        figure = INSTRUCTIONS
    found = decided[figure] if figure in decided else _by_time(then, now, factor, exact_factor)
    return ComparedCase(base, new, found.outcome, found.outcome == "slower", found.reason, figure, found)


def _may_be_layout(cycles: Difference) -> bool:
    """Whether so small a difference may come of where memory lies, whatever is executed."""
    return cycles.outcome != "slower" and 1 / LAYOUT_FACTOR < cycles.ratio < LAYOUT_FACTOR


def _not_compared(base: Sequence[Record], new: Sequence[Record]) -> tuple[Outcome, str] | None:
    """The outcome, and why, where there are no figures to compare; None where there are."""
    then, now = groups.measured(base), groups.measured(new)
    if not base or not new:
        return "missing", "it is not in NEW" if base else "it is not in BASE"
    if not now or (_wrong(new) and not _wrong(base)):
        return "failed", _why_failed(_wrong(new) or new)
    if not then:
        return "failed", f"in BASE alone: {_why_failed(base)}"
    if now[0].device.clock == "emulated":
        return "cant_tell", "times of an emulator without a clock of its own mean nothing"
    return None


def _by_time(then: Sequence[Record], now: Sequence[Record], factor: float, exact_factor: float) -> Difference:
    base, new = ([groups.timed_passes([record]) for record in rounds] for rounds in (then, now))
    if now[0].device.is_exact:
        before, after = (list(chain(*_times(passes))) for passes in (base, new))
        return slower.by_figure(before, after, exact_factor, takes_turns=_takes_turns(now))
    times = preemption.without if preemption.is_told([*then, *now]) else _times
    return slower.by_rounds(times(base), times(new), factor)


def _takes_turns(rounds: Sequence[Record]) -> bool:
    return rounds[0].case.threads > 1


def _times(rounds: Sequence[Sequence[Pass]]) -> list[list[int]]:
    return [[one.ns for one in of_round] for of_round in rounds]


def _counts(rounds: Sequence[Record], name: CountName) -> list[int]:
    """Of each timed pass, as an emulator counted them; none unless it counted all."""
    passes = groups.timed_passes(rounds)
    found = [count for one in passes if (count := _exact_count(one.counters, name)) is not None]
    return found if len(found) == len(passes) else []


def _exact_count(counters: Counters | None, name: CountName) -> int | None:
    return counters.counts.get(name) if counters is not None and counters.source == "emulator" else None


def _wrong(rounds: Sequence[Record]) -> list[Record]:
    """Rounds whose output was found wrong: one is too many, however well the others went."""
    return [record for record in rounds if record.status == "output_wrong"]


def _why_failed(rounds: Sequence[Record]) -> str:
    first = rounds[0]
    return f"{first.status}: {first.error}" if first.error else first.status


def _warnings(rounds: Sequence[Record], limits: Limits) -> str:
    """Passes are not named: those of several rounds would be mixed up."""
    if not rounds:
        return ""
    of_records = [replace(one, samples=()) for record in rounds for one in warnings.warnings_of(record, limits)]
    measured = [one.measurement.samples for one in groups.measured(rounds) if one.measurement]
    spread = statistics.spread(measured) if len(measured) > 1 else None
    return warnings.summary([*of_records, *warnings.warnings_of_rounds(rounds, spread)])
