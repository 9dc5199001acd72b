"""Table 6's columns, each said once: what it is called, what it holds, how that reads, in which forms it is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from statistics import median
from typing import Any, TypeAlias

from device.records import LOSSES, CountName, Loss
from harness.analyse import counts, groups, ranking, warnings
from harness.analyse.rows import Row, by_device, is_baseline, onnx_bytes
from harness.analyse.statistics import shown_median, shown_ratio
from harness.record.runtimes import files_titles
from harness.record.titles import case_runtime_title, meaning_of_time, runtime_title
from harness.record.units import NOTHING, count, milliseconds, percent, ratio, size
from harness.report import document
from harness.report.document import Cell, Data, Table, Value

Rows: TypeAlias = Sequence[Row]


@dataclass(frozen=True)
class Column:
    """A column: `key` names it for programs, with the unit of its exact value, at `path` in a row or made of one.

    `heading` names it for people, with the `unit` of its text, which is made of the row, or by `shown` of the value. No
    heading: it is for programs alone; no key: for people alone. `is_shown`: whether a table of these rows has it.
    `is_brief`: a terminal has room for it.
    """

    key: str
    path: str | Callable[[Row], Value]
    heading: str | Callable[[Rows], str] = ""
    text: Callable[[Row], str | Cell] | None = None
    shown: Callable[[Any], str] = str
    unit: str = ""
    is_right: bool = True
    is_main: bool = False
    is_brief: bool = False
    is_shown: Callable[[Rows], bool] = lambda _: True

    def value(self, row: Row) -> Any:
        return _at(row, self.path) if isinstance(self.path, str) else self.path(row)

    def cell(self, row: Row) -> Cell:
        if self.text is not None:
            text = self.text(row)
            return text if isinstance(text, Cell) else Cell(text)
        value = self.value(row)
        return Cell(NOTHING if value is None else self.shown(value))

    def title(self, rows: Rows) -> str:
        heading = self.heading if isinstance(self.heading, str) else self.heading(rows)
        return f"{heading} ({self.unit})" if self.unit else heading


def _at(row: Row, path: str) -> Any:
    """What a row has there; None where something on the way is not there."""
    return reduce(lambda value, name: None if value is None else getattr(value, name), path.split("."), row)


def table6(rows: Rows, caption: str = "", *, is_brief: bool = False) -> Table:
    """The table as people read it."""
    found = [one for one in all_columns() if one.heading and one.is_shown(rows) and (one.is_brief or not is_brief)]
    fastest = {id(one.fastest) for one in ranking.rankings(rows) if ranking.can_tell(one)}
    return Table(
        tuple(document.Column(one.title(rows), one.is_right, one.is_main) for one in found),
        tuple(tuple(_cell(one, row, fastest) for one in found) for row in rows),
        caption,
        is_wide=True,
    )


def _cell(column: Column, row: Row, fastest: Collection[int]) -> Cell:
    if column.key != "model" or id(row) not in fastest:
        return column.cell(row)
    best = ranking.FEWEST.get(row.record.device.clock, "fastest").removesuffix(",")
    return replace(column.cell(row), mark=f"{best}, {case_runtime_title(row.record)}")


def data(rows: Rows) -> Data:
    """The table as programs read it."""
    found = [one for one in all_columns() if one.key]
    return Data(tuple(one.key for one in found), tuple(tuple(one.value(row) for one in found) for row in rows))


def overview(rows: Rows, caption: str = "") -> Table:
    """A row a case, a column a device: the median in ms, and in brackets the time over MobileNet's."""
    cases: dict[str, dict[str, str | Cell]] = {}
    for of_device in by_device(rows):
        device = of_device[0].record.device
        for row in of_device:
            case = cases.setdefault(row.record.id, {"Model": row.title, "Runtime": case_runtime_title(row.record)})
            relative = "" if row.relative is None else f" ({ratio(row.relative)})"
            time = milliseconds(row.summary.median_ns) if row.summary else row.record.status
            case[f"{device.serial}: {meaning_of_time(device)}"] = f"{time}{relative}"
    made = document.table_of(list(cases.values()), left=("Model", "Runtime"))
    return replace(made, caption=caption, is_wide=True)


# --- what they hold -----------------------------------------------------------------------------------


def _interval_ns(row: Row) -> tuple[float | None, float | None]:
    return (row.summary.interval_ns if row.summary else None) or (None, None)


def _model(row: Row) -> Cell:
    return Cell(row.title, warning=ranking.warnings_in_short(row))


def _rounds(rows: Rows) -> int:
    return max((len(row.records) for row in rows), default=1)


def _of_passes(statistic: str, rows: Rows) -> str:
    passes = {row.record.case.passes for row in rows}
    of_passes = f"{statistic} of {passes.pop()}" if len(passes) == 1 else statistic
    rounds = "" if _rounds(rows) == 1 else f", {_rounds(rows)} rounds"
    return of_passes + rounds + _estimated(rows)


def _estimated(rows: Rows) -> str:
    are = {row.record.device.chip is not None for row in rows}
    return "" if True not in are else ", some estimated" if False in are else ", estimated"


def _counted(name: CountName) -> Callable[[Row], float | None]:
    """The median over the timed passes; None where it was not counted in any."""

    def counted(row: Row) -> float | None:
        counters = [one.counters for one in groups.timed_passes(groups.measured(row.records)) if one.counters]
        found = [value for one in counters if (value := one.scaled(name)) is not None]
        return median(found) if found else None

    return counted


def _count(value: float) -> str:
    return count(value, decimals=2)


def _are_estimated(rows: Rows) -> bool:
    return bool(_estimated(rows))


def _median(row: Row) -> Cell:
    """Its note says why there is none."""
    text = shown_median(row.summary) + _memory_range(row) if row.summary else row.record.status
    return Cell(text, notes=() if row.summary or not row.record.error else (row.record.error,))


def _cycles_of(loss: Loss) -> Callable[[Row], float | None]:
    """How many cycles of a pass go to it, of an estimate."""
    return lambda row: counts.cycles_by_loss(row.records).get(loss)


def _memory_range(row: Row) -> str:
    """Of an estimate: from which time to which, where nobody knows how fast the chip's memory is."""
    found = row.memory_range_ns
    return f" ({milliseconds(found[0])} to {milliseconds(found[1])})" if found else ""


def _onnx_size(row: Row) -> str:
    return size(onnx_bytes(row.record)) if row.record.artifact else NOTHING


def _files_column(runtime: str, title: str) -> Column:
    """The size of what a runtime loads in place of the ONNX file, for people: programs have pushed_model_bytes."""

    def size_bytes(row: Row) -> int | None:
        return row.record.artifact.size_bytes if row.record.artifact and row.record.case.runtime == runtime else None

    return Column(
        *("", size_bytes, title),
        shown=size,
        is_shown=lambda rows: any(size_bytes(row) is not None for row in rows),
    )


def _check(row: Row) -> str:
    checks = [record.check for record in row.records if record.check is not None]
    if not checks:
        return NOTHING
    outcome = "ok" if all(check.passed for check in checks) else "WRONG"
    deviations = [check.relative for check in checks if check.relative is not None]
    if unverified := max(len(check.unverified) for check in checks):
        outcome = f"{outcome}, {unverified} unverified" if deviations else "unverified"
    return f"{outcome} ({max(deviations):.0e})" if deviations else outcome


def _warnings(row: Row) -> Cell:
    return Cell(warnings.summary(row.warnings) or NOTHING, notes=tuple(one.message for one in row.warnings))


def _relative(row: Row) -> str:
    return shown_ratio(row.ratio, is_base=is_baseline(row.record))


def _fp32_ratio(row: Row) -> str:
    return shown_ratio(row.fp32_ratio, is_base=row.record.case.precision == "fp32")


def _has(path: str) -> Callable[[Rows], bool]:
    """Whether a row has it: columns that a run of a user's own models would fill with dashes are left out."""
    return lambda rows: any(_at(row, path) is not None for row in rows)


def _has_rounds(rows: Rows) -> bool:
    return _rounds(rows) > 1


def _has_precisions(rows: Rows) -> bool:
    return any(row.record.case.precision != "fp32" for row in rows)


def _has_other_numbers(rows: Rows) -> bool:
    """Whether a network is in other numbers than those that were asked for, for its file came so."""
    found = [(row.record.case.precision, row.record.artifact.numbers) for row in rows if row.record.artifact]
    return any(numbers and precision == "fp32" and not numbers.are_fp32 for precision, numbers in found)


def _spread(part: float) -> str:
    return percent(part, decimals=2)


def _words(key: str, path: str | Callable[[Row], Value], heading: str, text: Any = None, **more: Any) -> Column:
    """A column of words, that is in all forms."""
    return Column(key, path, heading, text, is_right=False, is_brief=True, **more)


def all_columns() -> list[Column]:
    """In the order in which people read them; those of runtimes' own files stand behind that of what is pushed."""
    of_files = [_files_column(runtime, title) for runtime, title in files_titles().items()]
    place = next(at for at, one in enumerate(COLUMNS, start=1) if one.key == "pushed_model_bytes")
    return [*COLUMNS[:place], *of_files, *COLUMNS[place:]]


#: Those that there are whatever the runtimes.
COLUMNS: tuple[Column, ...] = (
    _words("device", "record.device.serial", "Device", is_shown=lambda rows: len(by_device(rows)) > 1),
    _words("model", "record.case.model", "Model", _model),
    Column("igc", "record.case.igc"),
    Column("precision", "record.case.precision"),
    _words("weights_in", "record.artifact.numbers.weights", "Weights in", is_shown=_has_other_numbers),
    _words("computed_in", "record.artifact.numbers.computes", "Computed in", is_shown=_has_other_numbers),
    _words("runtime", "record.case.runtime", "Runtime", lambda row: runtime_title(row.record)),
    Column("format", "record.case.format"),
    Column("provider", "record.case.provider"),
    Column("runtime_version", "record.measurement.runtime_version"),
    Column("threads", "record.case.threads"),
    Column("cpus", "record.case.cpus"),
    Column("abi", "record.measurement.abi"),
    Column("status", "record.status"),
    Column("rounds", lambda row: len(row.records)),
    Column("rounds_ok", lambda row: sum(one.status == "ok" for one in row.records)),
    Column("mult_adds", "record.artifact.mult_adds", "Mult-Adds", shown=count, is_brief=True),
    Column("params", "record.artifact.params", "Params", shown=count),
    Column("onnx_size_bytes", "record.artifact.onnx_size_bytes", "ONNX size", _onnx_size),
    Column("pushed_model_bytes", "record.artifact.size_bytes"),
    Column("passes", "summary.count"),
    Column(
        *("median_ns", "summary.median_ns", lambda rows: _of_passes("Median", rows), _median),
        unit="ms",
        is_brief=True,
    ),
    Column("memory_low_ns", lambda row: (row.memory_range_ns or (None, None))[0]),
    Column("memory_high_ns", lambda row: (row.memory_range_ns or (None, None))[1]),
    Column("cycles", _counted("cycles"), "Cycles", shown=_count, is_brief=True, is_shown=_are_estimated),
    Column("instructions", _counted("instructions"), "Instructions", shown=_count, is_shown=_are_estimated),
    *(Column(f"{loss}_cycles", _cycles_of(loss)) for loss in LOSSES),
    Column("median_low_ns", lambda row: _interval_ns(row)[0]),
    Column("median_high_ns", lambda row: _interval_ns(row)[1]),
    Column(
        *("mad_ns", "summary.mad_ns", "Spread, MAD"),
        shown=lambda ns: milliseconds(ns, 3),
        unit="ms",
        is_shown=lambda rows: not _has_rounds(rows),
    ),
    Column("min_ns", "summary.min_ns"),
    Column("max_ns", "summary.max_ns"),
    Column("cv", "summary.cv"),
    Column("outliers", lambda row: len(row.summary.outliers) if row.summary else None),
    Column("spread_within", "spread.within", "Spread within a process", shown=_spread, is_shown=_has_rounds),
    Column("spread_between", "spread.between", "between processes", shown=_spread, is_shown=_has_rounds),
    Column(
        *("relative_to_mobilenet", "ratio.value", "Relative to MobileNet", _relative),
        is_main=True,
        is_brief=True,
        is_shown=_has("ratio"),
    ),
    Column("relative_low", "ratio.low"),
    Column("relative_high", "ratio.high"),
    Column(
        *("relative_to_fp32", "fp32_ratio.value", "Relative to fp32", _fp32_ratio),
        is_brief=True,
        is_shown=_has_precisions,
    ),
    Column("relative_to_fp32_low", "fp32_ratio.low"),
    Column("relative_to_fp32_high", "fp32_ratio.high"),
    Column(
        *("deviation_from_fp32", "fp32_deviation", "Deviation from fp32"),
        shown="{:.1e}".format,
        is_brief=True,
        is_shown=_has_precisions,
    ),
    Column(
        *("mean_ns", "summary.mean_ns", lambda rows: f"{_of_passes('Mean', rows)}, the paper's figure"),
        shown=milliseconds,
        unit="ms",
        is_shown=_has("paper_ms"),
    ),
    Column("paper_ms", "paper_ms", "Paper", shown="{:.0f}".format, unit="ms", is_brief=True, is_shown=_has("paper_ms")),
    Column(
        *("paper_relative_to_mobilenet", "paper_relative", "Paper, relative"),
        shown=ratio,
        is_brief=True,
        is_shown=_has("paper_relative"),
    ),
    _words("max_abs_error", "record.check.max_abs_error", "Output check", _check),
    Column("output_spread", "record.check.spread"),
    Column("peak_rss_bytes", "record.measurement.peak_rss_bytes"),
    Column("outside_passes_ns", "record.outside_passes_ns"),
    _words("warnings", lambda row: " ".join(one.kind for one in row.warnings) or None, "Warnings", _warnings),
    Column("error", "record.error"),
    Column("chip", "record.device.chip.title"),
    Column("clock_mhz", "record.device.chip.clock_mhz"),
    _words("clock", "record.device.clock", "Measured on", lambda row: meaning_of_time(row.record.device)),
)
