"""Table 6's columns, each said once: what it is called, what it holds, how that reads, in which forms it is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias

from harness.analyse import ranking, warnings
from harness.analyse.rows import Row, by_device, is_baseline, onnx_bytes
from harness.analyse.statistics import shown_ratio
from harness.record.titles import MEANING_OF_TIME, case_runtime_title, runtime_title
from harness.record.units import NOTHING, milliseconds
from harness.report import document
from harness.report.document import Cell, Data, Table, Value
from harness.runtimes import files_titles

Rows: TypeAlias = Sequence[Row]


@dataclass(frozen=True)
class Column:
    """A column: `key` names it for programs, with the unit of `value`, which is exact.

    `heading` names it for people, with the `unit` of `text`, which is rounded as the paper rounds. No heading: it is
    for programs alone; no key: for people alone. `is_shown`: whether a table of these rows has it. `is_brief`: a
    terminal has room for it.
    """

    key: str
    value: Callable[[Row], Value]
    heading: str | Callable[[Rows], str] = ""
    text: Callable[[Row], str | Cell] = lambda _: NOTHING
    unit: str = ""
    is_right: bool = True
    is_main: bool = False
    is_shown: Callable[[Rows], bool] = lambda _: True
    is_brief: bool = False

    def title(self, rows: Rows) -> str:
        heading = self.heading if isinstance(self.heading, str) else self.heading(rows)
        return f"{heading} ({self.unit})" if self.unit else heading


def table6(rows: Rows, caption: str = "", *, is_brief: bool = False) -> Table:
    """The table as people read it."""
    found = [one for one in COLUMNS if one.heading and one.is_shown(rows) and (one.is_brief or not is_brief)]
    fastest = {id(one.fastest) for one in ranking.rankings(rows) if ranking.can_tell(one)}
    return Table(
        tuple(document.Column(one.title(rows), one.is_right, one.is_main) for one in found),
        tuple(tuple(_cell(one, row, fastest) for one in found) for row in rows),
        caption,
        is_wide=True,
    )


def _cell(column: Column, row: Row, fastest: Collection[int]) -> Cell:
    text = column.text(row)
    cell = text if isinstance(text, Cell) else Cell(text)
    if column.key != "model" or id(row) not in fastest:
        return cell
    best = "fewest instructions" if row.record.device.clock == "instructions" else "fastest"
    return replace(cell, mark=f"{best}, {case_runtime_title(row.record)}")


def data(rows: Rows) -> Data:
    """The table as programs read it."""
    found = [one for one in COLUMNS if one.key]
    return Data(tuple(one.key for one in found), tuple(tuple(one.value(row) for one in found) for row in rows))


def overview(rows: Rows, caption: str = "") -> Table:
    """A row a case, a column a device: the mean in ms, and in brackets the time over MobileNet's."""
    cases: dict[str, dict[str, str | Cell]] = {}
    for of_device in by_device(rows):
        device = of_device[0].record.device
        for row in of_device:
            case = cases.setdefault(row.record.id, {"Model": row.title, "Runtime": case_runtime_title(row.record)})
            relative = "" if row.relative is None else f" ({row.relative:.3f})"
            case[f"{device.serial}: {MEANING_OF_TIME[device.clock]}"] = f"{_mean(row)}{relative}"
    made = document.table_of(list(cases.values()), left=("Model", "Runtime"))
    return replace(made, caption=caption, is_wide=True)


# --- what they hold -----------------------------------------------------------------------------------


def _at(path: str) -> Callable[[Row], Any]:
    """What a row has there; None where something on the way is not there."""

    def found(row: Row) -> Any:
        return reduce(lambda value, name: None if value is None else getattr(value, name), path.split("."), row)

    return found


def _text(path: str, template: str, over: float = 1) -> Callable[[Row], str]:
    """What a row has there, over a number, as text."""
    value = _at(path)
    return lambda row: NOTHING if value(row) is None else template.format(value(row) / over)


def _end_ns(place: int) -> Callable[[Row], Value]:
    """An end of the interval of the median."""
    return lambda row: row.summary.interval_ns[place] if row.summary and row.summary.interval_ns else None


def _rounds(rows: Rows) -> int:
    return max((len(row.records) for row in rows), default=1)


def _mean_heading(rows: Rows) -> str:
    passes = {row.record.case.passes for row in rows}
    mean = f"Mean of {passes.pop()}" if len(passes) == 1 else "Mean"
    return mean if _rounds(rows) == 1 else f"{mean}, {_rounds(rows)} rounds"


def _mean(row: Row) -> str:
    return milliseconds(row.summary.mean_ns) if row.summary else row.record.status


def _mean_cell(row: Row) -> Cell:
    """Its note says why there is none."""
    return Cell(_mean(row), notes=() if row.summary or not row.record.error else (row.record.error,))


def _median(row: Row) -> str:
    return milliseconds(row.summary.median_ns) if row.summary else NOTHING


def _onnx_size(row: Row) -> str:
    return f"{onnx_bytes(row.record) / 1e6:.1f} MB" if row.record.artifact else NOTHING


def _files_column(runtime: str, title: str) -> Column:
    """The size of what a runtime loads in place of the ONNX file, for people: programs have pushed_model_bytes."""
    return Column(
        *("", lambda _: None, title, lambda row: _files_size(row, runtime)),
        is_shown=lambda rows: any(_files_size(row, runtime) != NOTHING for row in rows),
    )


def _files_size(row: Row, runtime: str) -> str:
    is_its = row.record.case.runtime == runtime
    return _text("record.artifact.size_bytes", "{:.1f} MB", 1e6)(row) if is_its else NOTHING


def _check(row: Row) -> str:
    checks = [record.check for record in row.records if record.check is not None]
    if not checks:
        return NOTHING
    outcome = "ok" if all(check.passed for check in checks) else "WRONG"
    deviations = [check.relative for check in checks if check.relative is not None]
    return f"{outcome} ({max(deviations):.0e})" if deviations else outcome


def _warnings(row: Row) -> Cell:
    return Cell(warnings.summary(row.warnings) or NOTHING, notes=tuple(one.message for one in row.warnings))


def _relative(row: Row) -> str:
    return shown_ratio(row.ratio, is_base=is_baseline(row.record))


def _fp32_ratio(row: Row) -> str:
    return shown_ratio(row.fp32_ratio, is_base=row.record.case.precision == "fp32")


def _is_fp32(row: Row) -> bool:
    return row.record.case.precision == "fp32"


def _has(path: str) -> Callable[[Rows], bool]:
    """Whether a row has it: columns that a run of a user's own models would fill with dashes are left out."""
    return lambda rows: any(_at(path)(row) is not None for row in rows)


#: In the order in which people read them.
COLUMNS: tuple[Column, ...] = (
    Column(
        *("device", _at("record.device.serial"), "Device", _at("record.device.serial")),
        is_right=False,
        is_brief=True,
        is_shown=lambda rows: len(by_device(rows)) > 1,
    ),
    Column(
        *(
            "model",
            _at("record.case.model"),
            "Model",
            lambda row: Cell(row.title, warning=ranking.warnings_in_short(row)),
        ),
        is_right=False,
        is_brief=True,
    ),
    Column("igc", _at("record.case.igc")),
    Column("precision", _at("record.case.precision")),
    Column(
        *("runtime", _at("record.case.runtime"), "Runtime", lambda row: runtime_title(row.record)),
        is_right=False,
        is_brief=True,
    ),
    Column("format", _at("record.case.format")),
    Column("provider", _at("record.case.provider")),
    Column("runtime_version", _at("record.measurement.runtime_version")),
    Column("threads", _at("record.case.threads")),
    Column("cpus", _at("record.case.cpus")),
    Column("abi", _at("record.measurement.abi")),
    Column("status", _at("record.status")),
    Column("rounds", lambda row: len(row.records)),
    Column("rounds_ok", lambda row: sum(one.status == "ok" for one in row.records)),
    Column(
        *("mult_adds", _at("record.artifact.mult_adds"), "Mult-Adds"),
        _text("record.artifact.mult_adds", "{:.0f}M", 1e6),
        is_brief=True,
    ),
    Column("params", _at("record.artifact.params"), "Params", _text("record.artifact.params", "{:.2f}M", 1e6)),
    Column("onnx_size_bytes", _at("record.artifact.onnx_size_bytes"), "ONNX size", _onnx_size),
    Column("pushed_model_bytes", _at("record.artifact.size_bytes")),
    *(_files_column(runtime, title) for runtime, title in files_titles().items()),
    Column("passes", _at("summary.count")),
    Column("mean_ns", _at("summary.mean_ns"), _mean_heading, _mean_cell, unit="ms", is_brief=True),
    Column("median_ns", _at("summary.median_ns"), "Median", _median, unit="ms"),
    Column("median_low_ns", _end_ns(0)),
    Column("median_high_ns", _end_ns(1)),
    Column(
        *("mad_ns", _at("summary.mad_ns"), "Spread, MAD", _text("summary.mad_ns", "{:.3f}", 1e6)),
        unit="ms",
        is_shown=lambda rows: _rounds(rows) == 1,
    ),
    Column("min_ns", _at("summary.min_ns")),
    Column("max_ns", _at("summary.max_ns")),
    Column("cv", _at("summary.cv")),
    Column("outliers", lambda row: len(row.summary.outliers) if row.summary else None),
    Column(
        *("spread_within", _at("spread.within"), "Spread within a process", _text("spread.within", "{:.2%}")),
        is_shown=lambda rows: _rounds(rows) > 1,
    ),
    Column(
        *("spread_between", _at("spread.between"), "between processes", _text("spread.between", "{:.2%}")),
        is_shown=lambda rows: _rounds(rows) > 1,
    ),
    Column(
        *("relative_to_mobilenet", _at("ratio.value"), "Relative to MobileNet", _relative),
        is_main=True,
        is_brief=True,
        is_shown=_has("ratio"),
    ),
    Column("relative_low", _at("ratio.low")),
    Column("relative_high", _at("ratio.high")),
    Column(
        *("relative_to_fp32", _at("fp32_ratio.value"), "Relative to fp32", _fp32_ratio),
        is_brief=True,
        is_shown=lambda rows: not all(map(_is_fp32, rows)),
    ),
    Column("relative_to_fp32_low", _at("fp32_ratio.low")),
    Column("relative_to_fp32_high", _at("fp32_ratio.high")),
    Column(
        *("deviation_from_fp32", _at("fp32_deviation"), "Deviation from fp32", _text("fp32_deviation", "{:.1e}")),
        is_brief=True,
        is_shown=lambda rows: not all(map(_is_fp32, rows)),
    ),
    Column(
        *("paper_ms", _at("paper_ms"), "Paper", _text("paper_ms", "{:.0f}")),
        unit="ms",
        is_brief=True,
        is_shown=_has("paper_ms"),
    ),
    Column(
        *("paper_relative_to_mobilenet", _at("paper_relative"), "Paper, relative", _text("paper_relative", "{:.3f}")),
        is_brief=True,
        is_shown=_has("paper_relative"),
    ),
    Column(
        *("max_abs_error", _at("record.check.max_abs_error"), "Output check", _check), is_right=False, is_brief=True
    ),
    Column("output_spread", _at("record.check.spread")),
    Column("peak_rss_bytes", _at("record.measurement.peak_rss_bytes")),
    Column("outside_passes_ns", _at("record.outside_passes_ns")),
    Column(
        *("warnings", lambda row: " ".join(one.kind for one in row.warnings) or None, "Warnings", _warnings),
        is_right=False,
        is_brief=True,
    ),
    Column("error", _at("record.error")),
    Column(
        *("clock", _at("record.device.clock"), "Measured on", lambda row: MEANING_OF_TIME[row.record.device.clock]),
        is_right=False,
        is_brief=True,
    ),
)
