"""Table 6 of the paper, measured again: rows from records, then Markdown, CSV and LaTeX from the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.records import Clock, Pass
from export.artifact import IGC
from harness import doubts, groups, render
from harness.records import Doubt, Record
from harness.render import NOTHING
from harness.statistics import Ratio, Spread, Summary, ratio, spread, summarise
from harness.titles import case_runtime_title, model_title, network_spec, runtime_title
from models import registry
from models.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

#: The network that all others are compared with, here as in the paper (section 5.3).
BASELINE = "mobilenet"

#: Columns of the table; the last two are there where anything was computed in another precision.
RELATIVE, RELATIVE_TO_FP32, DEVIATION = "Relative to MobileNet", "Relative to fp32", "Deviation from fp32"

_WITHIN, _BETWEEN = "Spread within a process", "between processes"

#: Columns that a run of a user's own models would fill with dashes.
_LEFT_OUT_IF_EMPTY = frozenset({"Caffe2 nets", RELATIVE, "Paper (ms)", "Paper, relative"})

OVERVIEW_MEANS = (
    "Mean in ms, and in brackets the time relative to MobileNet on the same device. Each device has a column of its "
    "own: times may be compared down a column, never across devices or clocks."
)

#: A choice: so many devices have a column each, and a table of their own.
MOST_SIDE_BY_SIDE = 6

#: What a time on each kind of clock is: printed in every row, so that no one takes it for something else.
MEANING_OF_TIME: dict[Clock, str] = {
    "wall": "hardware",
    "instructions": "modelled (1 instruction = 1 ns)",
    "emulated": "meaningless (emulated)",
}


@dataclass(frozen=True)
class Row:
    """One case as the table shows it, all its rounds together. None: not there, or not to be had.

    Figures are of the rounds that ended well. `ratio` is this row's median divided by MobileNet's in fp32 in the same
    round, on the same device, runtime, provider and threads; `fp32_ratio` is this row's over the same network's in
    fp32; `paper_relative` is the ratio of the paper's own times. The paper ran Caffe2: its figures stand beside the
    Caffe2 rows where there are any, else beside all; and it ran grouped convolutions, in fp32.
    """

    records: tuple[Record, ...]
    spec: ModelSpec | None
    summary: Summary | None
    spread: Spread | None
    ratio: Ratio | None
    fp32_ratio: Ratio | None
    paper_ms: float | None
    paper_relative: float | None

    @property
    def record(self) -> Record:
        """The first round that ended well, else the first: what all rounds share, and a reason for what is missing."""
        return next((record for record in self.records if record.status == "ok"), self.records[0])

    @property
    def relative(self) -> float | None:
        return self.ratio.value if self.ratio else None

    @property
    def fp32_deviation(self) -> float | None:
        """The largest of all rounds: the difference from the same network's output in fp32, over that one's spread."""
        told = [record.check.fp32_relative for record in self.records if record.check is not None]
        return max((relative for relative in told if relative is not None), default=None)

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Of all rounds together, one of a kind; passes are named only where there is a single round."""
        if len(self.records) == 1:
            return self.record.warnings
        by_kind: dict[str, list[Doubt]] = {}
        for record in self.records:
            for doubt in record.warnings:
                by_kind.setdefault(doubt.kind, []).append(doubt)
        rounds = len(self.records)
        found = [
            Doubt(kind, f"in {len(of_kind)} of {rounds} rounds, first: {of_kind[0].message}")
            for kind, of_kind in by_kind.items()
        ]
        return (*found, *doubts.of_rounds(self.records, self.spread))

    @property
    def title(self) -> str:
        return model_title(self.record)


def rows(records: Sequence[Record]) -> list[Row]:
    """A row a device and case, in the order in which their first records stand.

    Relative times are made only within one clock, device, runtime, provider and thread count, never on a meaningless
    clock, and only from cases that passed their output check.
    """
    baselines = _beside(groups.comparable(records), is_baseline)
    in_fp32 = _beside(groups.across_precisions(records), lambda record: record.case.precision == "fp32")
    with_paper = {"caffe2"} & {record.case.runtime for record in records} or {record.case.runtime for record in records}
    return [
        _row(
            tuple(rounds),
            baselines[_key(rounds[0])],
            in_fp32[_key(rounds[0])],
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


def _key(record: Record) -> tuple[str, Clock, str]:
    return (record.device.serial, record.device.clock, record.id)


def _beside(
    groups_: Sequence[Sequence[Record]], is_wanted: Callable[[Record], bool]
) -> dict[tuple[str, Clock, str], _Rounds]:
    """For each record, by its key, the samples of the records of its group that are wanted."""
    return {
        _key(record): samples
        for group in groups_
        for samples in [_samples([one for one in group if is_wanted(one)])]
        for record in group
    }


def _samples(rounds: Sequence[Record]) -> _Rounds:
    return {one.round: one.measurement.samples for one in rounds if one.measurement and one.status == "ok"}


def _row(rounds: tuple[Record, ...], baseline: _Rounds, in_fp32: _Rounds, *, beside_paper: bool) -> Row:
    first, samples = rounds[0], _samples(rounds)
    spec = network_spec(first)
    as_in_paper = beside_paper and first.case.igc in (None, IGC[0]) and first.case.precision == "fp32"
    paper_ms = _paper_ms(spec) if as_in_paper else None
    paper_baseline_ms = _paper_ms(registry.get(BASELINE))
    return Row(
        records=rounds,
        spec=spec,
        summary=summarise([one for of_round in samples.values() for one in of_round]) if samples else None,
        spread=spread(list(samples.values())) if samples else None,
        ratio=_ratio(first, samples, baseline),
        fp32_ratio=_ratio(first, samples, in_fp32),
        paper_ms=paper_ms,
        paper_relative=paper_ms / paper_baseline_ms if paper_ms and paper_baseline_ms else None,
    )


def _ratio(first: Record, samples: _Rounds, base: _Rounds) -> Ratio | None:
    """None where no round has both, or where times mean nothing."""
    of_both = samples.keys() & base.keys()
    if not of_both or first.device.clock == "emulated":
        return None
    return ratio(samples, base)


def _paper_ms(spec: ModelSpec | None) -> float | None:
    return spec.paper.speed_ms if spec and spec.paper else None


def milliseconds(ns: float) -> str:
    """Four significant digits and more for long times: 5.312, 53.12, 531.2, 5312.4."""
    ms = ns / 1e6
    return f"{ms:.3f}" if ms < 10 else f"{ms:.2f}" if ms < 100 else f"{ms:.1f}"  # noqa: PLR2004


def shown(table: Sequence[Row]) -> pd.DataFrame:
    """The table as people read it: text, rounded as the paper rounds."""
    import pandas as pd

    passes = {row.record.case.passes for row in table}
    rounds = max((len(row.records) for row in table), default=1)
    mean = f"Mean of {passes.pop()} (ms)" if len(passes) == 1 else "Mean (ms)"
    mean = mean if rounds == 1 else mean.replace(" (ms)", f", {rounds} rounds (ms)")
    several = len(by_device(table)) > 1
    frame = pd.DataFrame([_shown(row, mean, rounds, with_device=several) for row in table])
    is_empty = {name for name in frame.columns if name in _LEFT_OUT_IF_EMPTY and (frame[name] == NOTHING).all()}
    if all(row.record.case.precision == "fp32" for row in table):
        is_empty |= {RELATIVE_TO_FP32, DEVIATION}
    return frame.drop(columns=[name for name in frame.columns if name in is_empty])


def by_device(table: Sequence[Row]) -> list[list[Row]]:
    """The rows of each device and clock, in the order in which the first ones stand."""
    found: dict[tuple[str, Clock], list[Row]] = {}
    for row in table:
        found.setdefault((row.record.device.serial, row.record.device.clock), []).append(row)
    return list(found.values())


def overview(table: Sequence[Row]) -> pd.DataFrame:
    """A row a case, a column a device, as people read it: the mean in ms, and in brackets the time over MobileNet's."""
    import pandas as pd

    cases: dict[str, dict[str, str]] = {}
    for rows_ in by_device(table):
        device = rows_[0].record.device
        for row in rows_:
            case = cases.setdefault(row.record.id, {"Model": row.title, "Runtime": case_runtime_title(row.record)})
            relative = "" if row.relative is None else f" ({row.relative:.3f})"
            mean = milliseconds(row.summary.mean_ns) if row.summary else row.record.status
            case[f"{device.serial}: {MEANING_OF_TIME[device.clock]}"] = mean + relative
    return pd.DataFrame(list(cases.values())).fillna(NOTHING)


def _shown(row: Row, mean: str, rounds: int, *, with_device: bool) -> dict[str, str]:
    record, artifact, summary = row.record, row.record.artifact, row.summary
    return {
        **({"Device": record.device.serial} if with_device else {}),
        "Model": row.title,
        "Runtime": runtime_title(record),
        "Mult-Adds": f"{artifact.mult_adds / 1e6:.0f}M" if artifact and artifact.mult_adds is not None else NOTHING,
        "Params": f"{artifact.params / 1e6:.2f}M" if artifact else NOTHING,
        "ONNX size": f"{onnx_bytes(record) / 1e6:.1f} MB" if artifact else NOTHING,
        "Caffe2 nets": f"{artifact.size_bytes / 1e6:.1f} MB" if artifact and _is_caffe2(record) else NOTHING,
        mean: milliseconds(summary.mean_ns) if summary else record.status,
        "Median (ms)": milliseconds(summary.median_ns) if summary else NOTHING,
        **(_one_process(row) if rounds == 1 else _several_processes(row)),
        RELATIVE: shown_ratio(row.ratio, is_base=is_baseline(record)),
        RELATIVE_TO_FP32: shown_ratio(row.fp32_ratio, is_base=record.case.precision == "fp32"),
        DEVIATION: f"{row.fp32_deviation:.1e}" if row.fp32_deviation is not None else NOTHING,
        "Paper (ms)": f"{row.paper_ms:.0f}" if row.paper_ms is not None else NOTHING,
        "Paper, relative": f"{row.paper_relative:.3f}" if row.paper_relative is not None else NOTHING,
        "Output check": _check(row),
        "Warnings": doubts.summary(row.doubts) or NOTHING,
        "Time is": MEANING_OF_TIME[record.device.clock],
    }


def onnx_bytes(record: Record) -> int:
    """The size of the case's ONNX file: in fp32 what was exported, in another precision what that was turned into.

    Raises ValueError for a record without an artifact.
    """
    if (artifact := record.artifact) is None:
        raise ValueError(f"{record.id} has no artifact")
    is_made = record.case.precision != "fp32" and record.case.format == "onnx"
    return artifact.size_bytes if is_made else artifact.onnx_size_bytes


def _one_process(row: Row) -> dict[str, str]:
    return {"Spread (MAD, ms)": f"{row.summary.mad_ns / 1e6:.3f}" if row.summary else NOTHING}


def _several_processes(row: Row) -> dict[str, str]:
    """How much passes differ within one process, and how much one process differs from the next."""
    within, between = (row.spread.within, row.spread.between) if row.spread else (None, None)
    return {
        _WITHIN: NOTHING if within is None else f"{within:.2%}",
        _BETWEEN: NOTHING if between is None else f"{between:.2%}",
    }


def shown_ratio(ratio: Ratio | None, *, is_base: bool = False) -> str:
    """The ratio with its interval, where it has one: 0.706 [0.701, 0.711]; what is divided by itself needs none."""
    if ratio is None:
        return NOTHING
    if ratio.low is None or ratio.high is None or is_base:
        return f"{ratio.value:.3f}"
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def _is_caffe2(record: Record) -> bool:
    return record.case.runtime == "caffe2"


def _check(row: Row) -> str:
    checks = [record.check for record in row.records if record.check is not None]
    if not checks:
        return NOTHING
    verdict = "ok" if all(check.passed for check in checks) else "WRONG"
    deviations = [check.relative for check in checks if check.relative is not None]
    return f"{verdict} ({max(deviations):.0e})" if deviations else verdict


def warnings(table: Sequence[Row]) -> list[str]:
    """A line for each doubt, in words; what holds for all rows in the same words is said once."""
    said: dict[str, list[str]] = {}
    several = len(by_device(table)) > 1
    for row in table:
        where = f" on {row.record.device.serial}" if several else ""
        for doubt in row.doubts:
            said.setdefault(doubt.message, []).append(f"{row.title}, {runtime_title(row.record)}{where}")
    return [
        f"warning: {'all cases' if 1 < len(table) == len(who) else '; '.join(who)}: {message}"
        for message, who in said.items()
    ]


def plain(table: Sequence[Row]) -> pd.DataFrame:
    """The table as programs read it: one column a quantity, unrounded, units in the names."""
    import pandas as pd

    return pd.DataFrame([_plain(row) for row in table])


def _plain(row: Row) -> dict[str, object]:
    record, artifact, summary = row.record, row.record.artifact, row.summary
    return {
        "model": record.case.model,
        "runtime": record.case.runtime,
        "format": record.case.format,
        "igc": record.case.igc,
        "precision": record.case.precision,
        "provider": record.case.provider,
        "runtime_version": record.measurement.runtime_version if record.measurement else None,
        "threads": record.case.threads,
        "device": record.device.serial,
        "clock": record.device.clock,
        "status": record.status,
        "rounds": len(row.records),
        "rounds_ok": sum(one.status == "ok" for one in row.records),
        "cpus": record.case.cpus,
        "abi": record.measurement.abi if record.measurement else None,
        "mult_adds": artifact.mult_adds if artifact else None,
        "params": artifact.params if artifact else None,
        "onnx_size_bytes": artifact.onnx_size_bytes if artifact else None,
        "pushed_model_bytes": artifact.size_bytes if artifact else None,
        "passes": summary.count if summary else None,
        "mean_ns": summary.mean_ns if summary else None,
        "median_ns": summary.median_ns if summary else None,
        "mad_ns": summary.mad_ns if summary else None,
        "min_ns": summary.min_ns if summary else None,
        "max_ns": summary.max_ns if summary else None,
        "cv": summary.cv if summary else None,
        "median_low_ns": summary.interval_ns[0] if summary and summary.interval_ns else None,
        "median_high_ns": summary.interval_ns[1] if summary and summary.interval_ns else None,
        "outliers": len(summary.outliers) if summary else None,
        "spread_within": row.spread.within if row.spread else None,
        "spread_between": row.spread.between if row.spread else None,
        "relative_to_mobilenet": row.relative,
        "relative_low": row.ratio.low if row.ratio else None,
        "relative_high": row.ratio.high if row.ratio else None,
        "relative_to_fp32": row.fp32_ratio.value if row.fp32_ratio else None,
        "relative_to_fp32_low": row.fp32_ratio.low if row.fp32_ratio else None,
        "relative_to_fp32_high": row.fp32_ratio.high if row.fp32_ratio else None,
        "deviation_from_fp32": row.fp32_deviation,
        "warnings": " ".join(doubt.kind for doubt in row.doubts) or None,
        "paper_ms": row.paper_ms,
        "paper_relative_to_mobilenet": row.paper_relative,
        "max_abs_error": record.check.max_abs_error if record.check else None,
        "output_spread": record.check.spread if record.check else None,
        "peak_rss_bytes": record.measurement.peak_rss_bytes if record.measurement else None,
        "outside_passes_ns": record.outside_passes_ns,
        "error": record.error,
    }


def markdown(table: Sequence[Row]) -> str:
    """The table; of a few devices, a case a row and a device a column first, and then a table for each device."""
    of_devices = by_device(table)
    if not 1 < len(of_devices) <= MOST_SIDE_BY_SIDE:
        return _markdown(table)  # of more devices it names each row's
    frame = overview(table)
    parts = [OVERVIEW_MEANS, render.markdown(frame, set(frame.columns[2:]))]
    for rows_ in of_devices:
        parts += [f"### {render.plain(rows_[0].record.device.serial)}", _markdown(rows_)]
    return "\n".join(f"{part}\n" if not part.endswith("\n") else part for part in parts)


def _markdown(table: Sequence[Row]) -> str:
    frame = shown(table)
    return render.markdown(frame, right_aligned(frame))


def right_aligned(frame: pd.DataFrame) -> set[str]:
    """The columns of `shown` that hold figures."""
    figures = {"Mult-Adds", "Params", "ONNX size", "Caffe2 nets", DEVIATION, _WITHIN, _BETWEEN}
    return {name for name in frame.columns if name in figures or "ms" in name or "elative" in name}


def for_terminal(table: Sequence[Row]) -> str:
    """The columns that a terminal has room for; the reports have them all."""
    if not table:
        return "nothing was measured"
    frame = shown(table)
    mean = next(name for name in frame.columns if name.startswith("Mean"))
    figures = ["Mult-Adds", mean, RELATIVE, RELATIVE_TO_FP32, DEVIATION, "Paper (ms)", "Paper, relative"]
    wanted = ["Device", "Model", "Runtime", *figures, "Output check", "Warnings", "Time is"]
    frame = frame[[name for name in wanted if name in frame.columns]]
    return str(frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True))


def csv(table: Sequence[Row]) -> str:
    return str(plain(table).to_csv(index=False, lineterminator="\n"))


def latex(table: Sequence[Row]) -> str:
    """A booktabs table for a paper: `\\usepackage{booktabs}`."""
    meanings = ", ".join(sorted({MEANING_OF_TIME[row.record.device.clock] for row in table}))
    return render.latex(shown(table), f"Actual inference speed. Time is {meanings}.", "tab:speed")
