"""Table 6 of the paper, measured again: rows from records, then Markdown, CSV and LaTeX from the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.analyse.rows import MOST_SIDE_BY_SIDE, Row, by_device, is_baseline, onnx_bytes
from harness.analyse.statistics import shown_ratio
from harness.analyse.warnings import summary as summary_of_warnings
from harness.record.titles import MEANING_OF_TIME, case_runtime_title, runtime_title
from harness.record.units import NOTHING, milliseconds
from harness.report import render
from harness.runtimes import files_titles

if TYPE_CHECKING:
    import pandas as pd


#: Columns of the table; the last two are there where anything was computed in another precision.
RELATIVE, RELATIVE_TO_FP32, DEVIATION = "Relative to MobileNet", "Relative to fp32", "Deviation from fp32"

_WITHIN, _BETWEEN = "Spread within a process", "between processes"

#: Columns that a run of a user's own models would fill with dashes.
_LEFT_OUT_IF_EMPTY = frozenset({RELATIVE, "Paper (ms)", "Paper, relative"})

OVERVIEW_MEANS = (
    "Mean in ms, and in brackets the time relative to MobileNet on the same device. Each device has a column of its "
    "own: times may be compared down a column, never across devices or clocks."
)


def shown(table: Sequence[Row]) -> pd.DataFrame:
    """The table as people read it: text, rounded as the paper rounds."""
    import pandas as pd

    passes = {row.record.case.passes for row in table}
    rounds = max((len(row.records) for row in table), default=1)
    mean = f"Mean of {passes.pop()} (ms)" if len(passes) == 1 else "Mean (ms)"
    mean = mean if rounds == 1 else mean.replace(" (ms)", f", {rounds} rounds (ms)")
    several = len(by_device(table)) > 1
    frame = pd.DataFrame([_shown(row, mean, rounds, with_device=several) for row in table])
    may_go = {*_LEFT_OUT_IF_EMPTY, *files_titles().values()}
    is_empty = {name for name in frame.columns if name in may_go and (frame[name] == NOTHING).all()}
    if all(row.record.case.precision == "fp32" for row in table):
        is_empty |= {RELATIVE_TO_FP32, DEVIATION}
    return frame.drop(columns=[name for name in frame.columns if name in is_empty])


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
        **{
            title: f"{artifact.size_bytes / 1e6:.1f} MB" if artifact and record.case.runtime == name else NOTHING
            for name, title in files_titles().items()
        },
        mean: milliseconds(summary.mean_ns) if summary else record.status,
        "Median (ms)": milliseconds(summary.median_ns) if summary else NOTHING,
        **(_one_process(row) if rounds == 1 else _several_processes(row)),
        RELATIVE: shown_ratio(row.ratio, is_base=is_baseline(record)),
        RELATIVE_TO_FP32: shown_ratio(row.fp32_ratio, is_base=record.case.precision == "fp32"),
        DEVIATION: f"{row.fp32_deviation:.1e}" if row.fp32_deviation is not None else NOTHING,
        "Paper (ms)": f"{row.paper_ms:.0f}" if row.paper_ms is not None else NOTHING,
        "Paper, relative": f"{row.paper_relative:.3f}" if row.paper_relative is not None else NOTHING,
        "Output check": _check(row),
        "Warnings": summary_of_warnings(row.warnings) or NOTHING,
        "Time is": MEANING_OF_TIME[record.device.clock],
    }


def _one_process(row: Row) -> dict[str, str]:
    return {"Spread (MAD, ms)": f"{row.summary.mad_ns / 1e6:.3f}" if row.summary else NOTHING}


def _several_processes(row: Row) -> dict[str, str]:
    """How much passes differ within one process, and how much one process differs from the next."""
    within, between = (row.spread.within, row.spread.between) if row.spread else (None, None)
    return {
        _WITHIN: NOTHING if within is None else f"{within:.2%}",
        _BETWEEN: NOTHING if between is None else f"{between:.2%}",
    }


def _check(row: Row) -> str:
    checks = [record.check for record in row.records if record.check is not None]
    if not checks:
        return NOTHING
    verdict = "ok" if all(check.passed for check in checks) else "WRONG"
    deviations = [check.relative for check in checks if check.relative is not None]
    return f"{verdict} ({max(deviations):.0e})" if deviations else verdict


def warnings(table: Sequence[Row]) -> list[str]:
    """A line for each warning, in words; what holds for all rows in the same words is said once."""
    said: dict[str, list[str]] = {}
    several = len(by_device(table)) > 1
    for row in table:
        where = f" on {row.record.device.serial}" if several else ""
        for one in row.warnings:
            said.setdefault(one.message, []).append(f"{row.title}, {runtime_title(row.record)}{where}")
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
        "warnings": " ".join(one.kind for one in row.warnings) or None,
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
    figures = {"Mult-Adds", "Params", "ONNX size", *files_titles().values(), DEVIATION, _WITHIN, _BETWEEN}
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
