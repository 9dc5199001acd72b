"""Table 6 of the paper, measured again: a row for each device and case, made from its records. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from device.records import Pass
from export.artifact import IGC
from harness.analyse import groups, warnings
from harness.analyse.statistics import Ratio, Spread, Summary, ratio, spread, summarise
from harness.analyse.warnings import CaseWarning
from harness.record.plan import Limits
from harness.record.record import Record
from harness.record.runtimes import is_papers
from harness.record.titles import model_title, network_spec
from models import registry
from models.spec import ModelSpec

#: The network that all others are compared with, here as in the paper (section 5.3).
BASELINE = "mobilenet"


#: A choice: so many devices have a column each, and a table of their own.
MOST_SIDE_BY_SIDE = 6


@dataclass(frozen=True)
class Row:
    """One case as the table shows it, all its rounds together. None: not there, or not to be had.

    Figures are of the rounds that ended well. `ratio` is this row's median over MobileNet's in fp32 on the same device,
    runtime, provider and threads; `fp32_ratio` is this row's over the same network's in fp32; `paper_relative` is the
    ratio of the paper's own times. The paper's figures stand beside the rows of the
    runtime that it ran where there are any, else beside all; and it ran grouped convolutions, in fp32.
    `limits` are what the run asked of its conditions.
    """

    records: tuple[Record, ...]
    spec: ModelSpec | None
    summary: Summary | None
    spread: Spread | None
    ratio: Ratio | None
    fp32_ratio: Ratio | None
    paper_ms: float | None
    paper_relative: float | None
    limits: Limits

    @property
    def record(self) -> Record:
        """The first round that ended well, else the first: what all rounds share, and a reason for what is missing."""
        return next((record for record in self.records if record.status == "ok"), self.records[0])

    @property
    def memory_range_ns(self) -> tuple[float, float] | None:
        """Of an estimate, the lowest and the highest median over the settings of its chip's memory; None: one."""
        chip = self.record.device.chip
        passes = [it.counters for it in groups.timed_passes(groups.measured(self.records)) if it.counters]
        cycles = [(one.counts["cycles"], *one.other_cycles) for one in passes if one.other_cycles]
        if chip is None or not cycles or len(cycles) < len(passes):
            return None
        medians_ns = [median(map(chip.ns, of_setting)) for of_setting in zip(*cycles, strict=True)]
        return min(medians_ns), max(medians_ns)

    @property
    def relative(self) -> float | None:
        return self.ratio.value if self.ratio else None

    @property
    def fp32_deviation(self) -> float | None:
        """The largest of all rounds: the difference from the same network's output in fp32, over that one's spread."""
        told = [record.check.fp32_relative for record in self.records if record.check is not None]
        return max((relative for relative in told if relative is not None), default=None)

    @property
    def warnings(self) -> tuple[CaseWarning, ...]:
        """Of all rounds together, one of a kind; passes are named only where there is a single round."""
        of_records = [warnings.warnings_of(record, self.limits) for record in self.records]
        if len(of_records) == 1:
            return of_records[0]
        by_kind: dict[str, list[CaseWarning]] = {}
        for one in chain.from_iterable(of_records):
            by_kind.setdefault(one.kind, []).append(one)
        rounds = len(self.records)
        found = [
            CaseWarning(kind, f"in {len(of_kind)} of {rounds} rounds, first: {of_kind[0].message}")
            for kind, of_kind in by_kind.items()
        ]
        return (*found, *warnings.warnings_of_rounds(self.records, self.spread))

    @property
    def title(self) -> str:
        return model_title(self.record)


def table_rows(records: Sequence[Record], limits: Limits) -> list[Row]:
    """A row a device and case, in the order in which their first records stand.

    Relative times are made only within one clock, device, runtime, provider and thread count, never on a meaningless
    clock, and only from cases that passed their output check.
    """
    baselines = _beside(groups.comparable(records), is_baseline)
    in_fp32 = _beside(groups.across_precisions(records), lambda record: record.case.precision == "fp32")
    measured = {record.case.runtime for record in records}
    with_paper = {name for name in measured if is_papers(name)} or measured
    return [
        _row(
            tuple(rounds),
            baselines[_key(rounds[0])],
            in_fp32[_key(rounds[0])],
            limits,
            beside_paper=rounds[0].case.runtime in with_paper,
        )
        for rounds in groups.by_case(records)
    ]


def is_baseline(record: Record) -> bool:
    """Whether it is the network that others are compared with, on the runtime's own kernels, in fp32."""
    case = record.case
    is_own = record.artifact is not None and record.artifact.source is not None
    return (case.model, case.igc, case.precision) == (BASELINE, None, "fp32") and not is_own


#: Timed passes by the round that they were made in.
_Rounds = dict[int, tuple[Pass, ...]]


def _key(record: Record) -> tuple[object, ...]:
    return (record.device.serial, *record.device.timed_by, record.id)


def _beside(
    groups_: Sequence[Sequence[Record]], is_wanted: Callable[[Record], bool]
) -> dict[tuple[object, ...], _Rounds]:
    """For each record, by its key, the samples of the records of its group that are wanted."""
    return {
        _key(record): samples
        for group in groups_
        for samples in [_samples([one for one in group if is_wanted(one)])]
        for record in group
    }


def _samples(rounds: Sequence[Record]) -> _Rounds:
    found = {one.round: one.measurement.samples for one in groups.measured(rounds) if one.measurement}
    return {number: samples for number, samples in found.items() if samples}


def _row(rounds: tuple[Record, ...], baseline: _Rounds, in_fp32: _Rounds, limits: Limits, *, beside_paper: bool) -> Row:
    first, samples = rounds[0], _samples(rounds)
    spec = network_spec(first)
    paper_ms = _paper_ms(spec) if beside_paper and is_as_in_paper(first) else None
    paper_baseline_ms = _paper_ms(registry.get(BASELINE))
    return Row(
        records=rounds,
        spec=spec,
        summary=summarise(*samples.values()) if samples else None,
        spread=spread(list(samples.values())) if samples else None,
        ratio=_ratio(first, samples, baseline),
        fp32_ratio=_ratio(first, samples, in_fp32),
        paper_ms=paper_ms,
        paper_relative=paper_ms / paper_baseline_ms if paper_ms and paper_baseline_ms else None,
        limits=limits,
    )


def over(row: Row, base: Row) -> Ratio | None:
    """A row's time over another's; None where no round has both, or times mean nothing."""
    return _ratio(base.record, _samples(row.records), _samples(base.records))


def _ratio(first: Record, samples: _Rounds, base: _Rounds) -> Ratio | None:
    if first.device.clock == "emulated":
        return None
    try:
        return ratio(samples, base)
    except ValueError:
        return None


def is_as_in_paper(record: Record) -> bool:
    """Whether a network is computed as the paper did: in fp32, convolutions that are interlaced as grouped ones."""
    return record.case.igc in (None, IGC[0]) and record.case.precision == "fp32"


def is_of_table6(row: Row) -> bool:
    """Whether the paper's Table 6 has the network, in whatever way it is computed here."""
    return _paper_ms(row.spec) is not None


def _paper_ms(spec: ModelSpec | None) -> float | None:
    return spec.paper.speed_ms if spec and spec.paper else None


def by_device(table: Sequence[Row]) -> list[list[Row]]:
    """The rows of each device and clock, in the order in which the first ones stand."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in table:
        found.setdefault((row.record.device.serial, *row.record.device.timed_by), []).append(row)
    return list(found.values())


def onnx_bytes(record: Record) -> int:
    """The size of the case's ONNX file: in fp32 what was exported, in another precision what that was turned into.

    Raises ValueError for a record without an artifact.
    """
    if (artifact := record.artifact) is None:
        raise ValueError(f"{record.id} has no artifact")
    is_made = record.case.precision != "fp32" and record.case.format == "onnx"
    return artifact.size_bytes if is_made else artifact.onnx_size_bytes
