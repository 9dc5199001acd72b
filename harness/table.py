"""Table 6 of the paper, measured again: rows from records, then Markdown, CSV and LaTeX from the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.records import Clock
from export.artifact import IGC
from harness import render
from harness.records import Record
from harness.render import NOTHING
from harness.statistics import Summary, summarise
from models import registry
from models.spec import ModelError, ModelSpec

if TYPE_CHECKING:
    import pandas as pd

#: The network that all others are compared with, here as in the paper (section 5.3).
BASELINE = "mobilenet"

#: What a time on each kind of clock is: printed in every row, so that no one takes it for something else.
MEANING_OF_TIME: dict[Clock, str] = {
    "wall": "hardware",
    "instructions": "modelled (1 instruction = 1 ns)",
    "emulated": "meaningless (emulated)",
}


@dataclass(frozen=True)
class Row:
    """One case as the table shows it. None: not there, or not to be had.

    `relative` is this row's mean divided by MobileNet's on the same device, runtime and threads;
    `paper_relative` is the same of the paper's own times. The paper ran Caffe2: its figures stand beside the Caffe2
    rows where there are any, else beside all; and it ran grouped convolutions.
    """

    record: Record
    spec: ModelSpec | None
    summary: Summary | None
    relative: float | None
    paper_ms: float | None
    paper_relative: float | None

    @property
    def title(self) -> str:
        name = self.spec.title if self.spec else self.record.case.model
        return f"{name}, {self.record.case.igc}" if self.record.case.igc else name


def rows(records: Sequence[Record]) -> list[Row]:
    """A row a record, in the records' order.

    Relative times are made only within one clock, device, runtime and thread count, never on a meaningless clock,
    and only from cases that passed their output check.
    """
    summaries = [
        summarise(record.measurement.samples) if record.measurement and record.status == "ok" else None
        for record in records
    ]
    baselines = {
        _comparable(record): summary.mean_ns
        for record, summary in zip(records, summaries, strict=True)
        if summary is not None and record.case.model == BASELINE and record.case.igc is None
    }
    paper_baseline_ms = _paper_ms(_spec(BASELINE))
    with_paper = {"caffe2"} & {record.case.runtime for record in records} or {record.case.runtime for record in records}
    made = []
    for record, summary in zip(records, summaries, strict=True):
        spec = _spec(record.case.model)
        baseline_ns = baselines.get(_comparable(record)) if record.device.clock != "emulated" else None
        is_papers = record.case.runtime in with_paper and record.case.igc in (None, IGC[0])
        paper_ms = _paper_ms(spec) if is_papers else None
        made.append(
            Row(
                record=record,
                spec=spec,
                summary=summary,
                relative=summary.mean_ns / baseline_ns if summary and baseline_ns else None,
                paper_ms=paper_ms,
                paper_relative=paper_ms / paper_baseline_ms if paper_ms and paper_baseline_ms else None,
            )
        )
    return made


def _comparable(record: Record) -> tuple[object, ...]:
    """Cases with the same key may be compared by their times."""
    case = record.case
    return (record.device.serial, record.device.clock, case.runtime, case.format, case.threads, case.cpus, case.abi)


def _spec(model: str) -> ModelSpec | None:
    try:
        return registry.get(model)
    except ModelError:  # a record of a network that has since left the registry is still a record
        return None


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
    mean = f"Mean of {passes.pop()} (ms)" if len(passes) == 1 else "Mean (ms)"
    return pd.DataFrame([_shown(row, mean) for row in table])


def _shown(row: Row, mean: str) -> dict[str, str]:
    record, artifact, summary = row.record, row.record.artifact, row.summary
    return {
        "Model": row.title,
        "Runtime": _runtime(record),
        "Mult-Adds": f"{artifact.mult_adds / 1e6:.0f}M" if artifact else NOTHING,
        "Params": f"{artifact.params / 1e6:.2f}M" if artifact else NOTHING,
        "ONNX size": f"{artifact.onnx_size_bytes / 1e6:.1f} MB" if artifact else NOTHING,
        "Caffe2 nets": f"{artifact.size_bytes / 1e6:.1f} MB" if artifact and _is_caffe2(record) else NOTHING,
        mean: milliseconds(summary.mean_ns) if summary else record.status,
        "Median (ms)": milliseconds(summary.median_ns) if summary else NOTHING,
        "Spread (MAD, ms)": f"{summary.mad_ns / 1e6:.3f}" if summary else NOTHING,
        "Relative to MobileNet": f"{row.relative:.3f}" if row.relative is not None else NOTHING,
        "Paper (ms)": f"{row.paper_ms:.0f}" if row.paper_ms is not None else NOTHING,
        "Paper, relative": f"{row.paper_relative:.3f}" if row.paper_relative is not None else NOTHING,
        "Output check": _check(record),
        "Time is": MEANING_OF_TIME[record.device.clock],
    }


def _runtime(record: Record) -> str:
    version = record.measurement.runtime_version if record.measurement else ""
    engine = ""
    if record.case.format == "caffe2-depthwise":
        applies = record.artifact is not None and "Conv:DEPTHWISE_3x3" in record.artifact.op_counts
        engine = ", DEPTHWISE_3x3" + ("" if applies else " (applies nowhere)")
    threads = f", {record.case.threads} threads" if record.case.threads > 1 else ""
    return f"{record.case.runtime} {version}".strip() + engine + threads


def _is_caffe2(record: Record) -> bool:
    return record.case.runtime == "caffe2"


def _check(record: Record) -> str:
    if record.check is None:
        return NOTHING
    verdict = "ok" if record.check.passed else "WRONG"
    return verdict if record.check.relative is None else f"{verdict} ({record.check.relative:.0e})"


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
        "runtime_version": record.measurement.runtime_version if record.measurement else None,
        "threads": record.case.threads,
        "device": record.device.serial,
        "clock": record.device.clock,
        "status": record.status,
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
        "relative_to_mobilenet": row.relative,
        "paper_ms": row.paper_ms,
        "paper_relative_to_mobilenet": row.paper_relative,
        "max_abs_error": record.check.max_abs_error if record.check else None,
        "output_spread": record.check.spread if record.check else None,
        "peak_rss_bytes": record.measurement.peak_rss_bytes if record.measurement else None,
        "outside_passes_ns": record.outside_passes_ns,
        "error": record.error,
    }


def markdown(table: Sequence[Row]) -> str:
    frame = shown(table)
    right = {"Mult-Adds", "Params", "ONNX size", "Caffe2 nets"}
    return render.markdown(frame, {*right, *(name for name in frame.columns if "ms" in name or "elative" in name)})


def for_terminal(table: Sequence[Row]) -> str:
    """The columns that a terminal has room for; the reports have them all."""
    names = ["Model", "Runtime", "Mult-Adds", "Relative to MobileNet", "Paper (ms)", "Paper, relative"]
    if not table:
        return "nothing was measured"
    frame = shown(table)
    mean = next(name for name in frame.columns if name.startswith("Mean"))
    frame = frame[[*names[:3], mean, *names[3:], "Output check", "Time is"]]
    return str(frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True))


def csv(table: Sequence[Row]) -> str:
    return str(plain(table).to_csv(index=False, lineterminator="\n"))


def latex(table: Sequence[Row]) -> str:
    """A booktabs table for a paper: `\\usepackage{booktabs}`."""
    meanings = ", ".join(sorted({MEANING_OF_TIME[row.record.device.clock] for row in table}))
    return render.latex(shown(table), f"Actual inference speed. Time is {meanings}.", "tab:speed")
