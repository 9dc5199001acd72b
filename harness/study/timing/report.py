"""The study of the estimates, as a report made from its records: predicted against published, board by board."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from device.records import LOSSES, Loss
from harness.analyse.rows import table_rows
from harness.record import journal
from harness.record.errors import UsageError
from harness.record.plan import Limits
from harness.record.units import NOTHING, count, milliseconds, percent, ratio
from harness.report import csv, html, markdown
from harness.report.document import (
    Block,
    Data,
    Document,
    Figure,
    Line,
    Section,
    Table,
    Value,
    paragraph,
    table_of,
)
from harness.report.files import write_figures, writing
from harness.report.plots import style
from harness.study.timing import measure
from harness.study.timing.constants import BY
from harness.study.timing.errors import Errors, Pair, best_scale, errors, ratio_errors, relative
from harness.study.timing.published import NCNN, Published, published, why

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

    from device.records import Chip

REPORT_NAME, PAGE_NAME, DATA_NAME, SUMMARY_NAME = "timing.md", "timing.html", "timing.csv", "timing-summary.md"
PLOT_NAME = "predicted-against-published"

_VARIED = (
    "Each constant that was chosen by looking at a measurement, and each guessed figure of a chip, changed by itself: "
    f"{BY:.0%} up and down, whole numbers to the next one beyond. How far the mean errors of some networks move, and "
    "the mean of the estimates."
)

#: A choice: what the plot draws lines at.
_NEAR = 0.1


@dataclass(frozen=True)
class Estimate:
    """What the model has for a pass of one network on one chip. `title` is how people read the network's name.

    `is_ours`: it is a network of models/, and none of ncnn's own.
    """

    chip: Chip
    library: str
    version: str
    network: str
    title: str
    is_ours: bool
    instructions: int
    cycles: dict[Loss, int]

    @property
    def runtime(self) -> str:
        return f"{self.library} {self.version}"

    @property
    def total_cycles(self) -> int:
        return sum(self.cycles.values())

    @property
    def ms(self) -> float:
        return self.chip.ns(self.total_cycles) / 1e6


@dataclass(frozen=True)
class Point:
    """An estimate beside the time that was published."""

    estimate: Estimate
    published_ms: float

    @property
    def times(self) -> Pair:
        return self.estimate.ms, self.published_ms

    @property
    def counts(self) -> Pair:
        """The instructions in place of the estimate."""
        return self.estimate.instructions, self.published_ms


@dataclass(frozen=True)
class Board:
    """A published table, and what there is beside its rows: one point at least."""

    table: Published
    points: tuple[Point, ...]

    @property
    def times(self) -> list[Pair]:
        return [point.times for point in self.points]

    @property
    def counts(self) -> list[Pair]:
        return [point.counts for point in self.points]


@dataclass(frozen=True)
class Varied:
    """The same points with the model as it is, and with one constant changed, as `what` says."""

    what: str
    before: Board
    after: Board


@dataclass(frozen=True)
class Study:
    """Everything that was estimated, and of that, by published tables, what can be held against them."""

    estimates: tuple[Estimate, ...]
    boards: tuple[Board, ...]
    varied: tuple[Varied, ...] = ()


def read(folder: Path) -> Study:
    """The study in a folder. Raises UsageError where there is none."""
    of_ncnn = measure.read(folder)
    estimates = [*map(_of_ncnn, (one for one in of_ncnn if not one.variation)), *_own(folder / measure.OWN)]
    if not estimates:
        raise UsageError(f"{folder}: no study there; name a folder that holds the results of one")
    boards = [Board(table, points) for table in published() if (points := _points(table, estimates))]
    return Study(tuple(estimates), tuple(boards), tuple(_varied(of_ncnn)))


def _of_ncnn(timed: measure.Timed) -> Estimate:
    name = timed.network
    return Estimate(timed.chip, NCNN, timed.version, name, name, False, timed.instructions, timed.cycles)


def _varied(of_ncnn: Sequence[measure.Timed]) -> Iterator[Varied]:
    whole = {(one.chip.name, one.network): one for one in of_ncnn if not one.variation}
    for chip, what in dict.fromkeys((one.chip.name, one.variation) for one in of_ncnn if one.variation):
        changed = [one for one in of_ncnn if (one.chip.name, one.variation) == (chip, what)]
        changed = [one for one in changed if (chip, one.network) in whole]
        before = [_of_ncnn(whole[chip, one.network]) for one in changed]
        for table in published():
            points, others = _points(table, before), _points(table, list(map(_of_ncnn, changed)))
            if points:
                yield Varied(what, Board(table, points), Board(table, others))


def _own(folder: Path) -> list[Estimate]:
    """Those of a run on chips; in the paper's way, where there are several of a network."""
    if not (folder / journal.FILE_NAME).exists():
        return []
    found = []
    for row in table_rows(journal.read(folder), Limits()):
        record = row.record
        chip, measured = record.device.chip, record.measurement
        if record.status != "ok" or measured is None or chip is None:
            continue
        last = measured.samples[-1].counters
        if last is None or not last.cycles_by_loss:
            continue
        made_with, name = (record.case.runtime, measured.runtime_version), record.case.model
        instructions = last.counts["instructions"]
        found.append(Estimate(chip, *made_with, name, row.title, True, instructions, last.cycles_by_loss))
    return found


def _points(table: Published, estimates: Sequence[Estimate]) -> tuple[Point, ...]:
    found = {
        one.network: Point(one, table.ms[one.network])
        for one in estimates
        if (one.chip.name, one.library, one.is_ours) == (table.chip, table.library, table.is_ours)
        and one.network in table.ms
    }
    return tuple(found.values())


def document(study: Study) -> Document:
    lead: list[Block] = [
        paragraph(
            "Estimates of the model (device/emulator) beside times that others have measured, on one thread. "
            "Absolute: at the clock that the board is sold with. After one scale: all of a board's estimates times the "
            "one factor with which their mean error is smallest, as its clock and its memory may not be what is said. "
            "Ratios: of each two networks' times. The same for counts of instructions, with the best factor for each "
            "board. All errors are without their signs: mean, largest in brackets."
        ),
        summary(study),
    ]
    sections = []
    if (figure := plot(study)) is not None:
        sections.append(Section("Predicted against published", (figure,)))
    sections += [Section(board.table.title, tuple(_board(board))) for board in study.boards]
    if study.varied:
        sections.append(Section("What each constant does", (paragraph(_VARIED), varied(study))))
    if own := [one for one in study.estimates if one.is_ours]:
        sections.append(Section("This project's own networks", (_own_table(own),)))
    return Document("Estimates against published times", tuple(lead), tuple(sections))


def summary(study: Study) -> Table:
    return table_of([_summary(board) for board in study.boards], left=("Board", "Chip", "Used for"), drops_empty=True)


def _summary(board: Board) -> Line:
    scale, factor = best_scale(board.times), best_scale(board.counts)
    return {
        "Board": board.table.title,
        "Chip": str(board.points[0].estimate.chip),
        "Used for": board.table.use,
        "Networks": str(len(board.points)),
        "Absolute": _shown(errors(board.times)),
        "After one scale": f"{_shown(errors(board.times, scale))} x {ratio(scale)}",
        "Ratios": _shown(ratio_errors(board.times)),
        "Instructions, best factor": _shown(errors(board.counts, factor)),
        "Instructions, ratios": _shown(ratio_errors(board.counts)),
    }


def varied(study: Study) -> Table:
    """A row for each changed constant, and how far the mean errors move by it."""
    return table_of([_varied_row(one) for one in study.varied], left=("Changed", "Chip"))


def _varied_row(one: Varied) -> Line:
    before, after = one.before.times, one.after.times
    return {
        "Changed": one.what,
        "Chip": str(one.before.points[0].estimate.chip),
        "Networks": str(len(one.after.points)),
        "Absolute": _moved(errors(before).mean, errors(after).mean),
        "After one scale": _moved(errors(before, best_scale(before)).mean, errors(after, best_scale(after)).mean),
        "Estimates": _signed(fmean(ms for ms, _ in after) / fmean(ms for ms, _ in before) - 1),
    }


def _moved(before: float, after: float) -> str:
    return f"{percent(before)} to {percent(after)}"


def _shown(found: Errors | None) -> str:
    return NOTHING if found is None else f"{percent(found.mean)} ({percent(found.worst)})"


def _board(board: Board) -> list[Block]:
    """What was published, and a row for each network, the worst first."""
    table = board.table
    scale, factor = best_scale(board.times), best_scale(board.counts)
    worst_first = sorted(board.points, key=lambda point: -abs(relative(point.times)))
    made_with = f"{table.library} {table.version or 'of an unknown version'}, {table.date}"
    seen = "No constant was chosen by it."
    said = paragraph(
        f"{table.source}: {table.statistic}, {table.threads} thread, {made_with}; {table.core} at {table.clock_ghz:g} "
        f"GHz. Estimated with {_runtimes(board)}. ",
        seen if table.use == "seen" else "Constants may have been chosen by these rows.",
    )
    lines = [
        {
            "Network": point.estimate.title,
            "Published (ms)": milliseconds(1e6 * point.published_ms),
            "Estimated (ms)": milliseconds(1e6 * point.estimate.ms),
            "Off by": _signed(relative(point.times)),
            "After one scale": _signed(relative(point.times, scale)),
            "Instructions, scaled": _signed(relative(point.counts, factor)),
            "Instructions a cycle": ratio(point.estimate.instructions / point.estimate.total_cycles, decimals=2),
            **{loss: percent(point.estimate.cycles[loss] / point.estimate.total_cycles) for loss in LOSSES},
            "Why": why(point.estimate.network) or NOTHING,
        }
        for point in worst_first
    ]
    return [said, table_of(lines, left=("Network", "Why"), drops_empty=True)]


def _runtimes(board: Board) -> str:
    return ", ".join(dict.fromkeys(point.estimate.runtime for point in board.points))


def _signed(part: float) -> str:
    return f"{part:+.1%}"


def _own_table(own: Sequence[Estimate]) -> Table:
    """A row a network and runtime, a column a chip."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for one in own:
        line = lines.setdefault((one.title, one.runtime), {"Network": one.title, "Runtime": one.runtime})
        line[f"{one.chip} (ms)"] = milliseconds(1e6 * one.ms)
    return table_of(list(lines.values()), left=("Network", "Runtime"))


def worst_in_markdown(study: Study, most: int = 8) -> str:
    """The rows that are furthest off after one scale for each board, the worst first, as a table."""
    rows = [
        (abs(relative(point.times, best_scale(board.times))), board, point)
        for board in study.boards
        for point in board.points
    ]
    worst = sorted(rows, key=lambda row: row[0], reverse=True)[:most]
    lines = [
        {
            "Network": point.estimate.title,
            "Board": board.table.title,
            "Off by": _signed(relative(point.times)),
            "After one scale": _signed(relative(point.times, best_scale(board.times))),
            "Why": why(point.estimate.network) or NOTHING,
        }
        for _, board, point in worst
    ]
    return markdown.table(table_of(lines, left=("Network", "Board", "Why")))


def data(study: Study) -> Data:
    """All points for programs."""
    names = ("board", "chip", "clock_mhz", "use", "library", "network", "published_ms", "estimated_ms", "instructions")
    rows: list[tuple[Value, ...]] = [
        (
            *(board.table.board, board.table.chip, point.estimate.chip.clock_mhz, board.table.use),
            *(point.estimate.runtime, point.estimate.network, point.published_ms, point.estimate.ms),
            *(
                point.estimate.instructions,
                point.estimate.total_cycles,
                *map(point.estimate.cycles.__getitem__, LOSSES),
            ),
        )
        for board in study.boards
        for point in board.points
    ]
    return Data((*names, "cycles", *(f"{loss}_cycles" for loss in LOSSES)), tuple(rows))


def plot(study: Study) -> Figure | None:
    caption = (
        "Each point is a network. On the line, what was published and what is estimated agree; between the dashed ones "
        f"they do within {percent(_NEAR, 0)}."
    )
    return style.made(PLOT_NAME, "Predicted against published", lambda: _drawn(study), caption, lambda: _told(study))


def _drawn(study: Study) -> Plot | None:
    from matplotlib.ticker import LogLocator, NullFormatter

    if not study.boards:
        return None
    figure, (axes,) = style.in_rows(1, 6.4, 5.6)
    for place, board in enumerate(study.boards):
        estimated, measured = zip(*board.times, strict=True)
        axes.scatter(
            measured,
            estimated,
            s=26,
            color=style.LINES[place % len(style.LINES)],
            marker=style.MARKERS[place % len(style.MARKERS)],
            label=style.label(board.table.title),
        )
    every = [ms for board in study.boards for pair in board.times for ms in pair]
    ends = [0.8 * min(every), 1.25 * max(every)]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    for off in (1 - _NEAR, 1 + _NEAR):
        axes.plot(ends, [off * end for end in ends], color=style.PROMISE, linewidth=0.8, linestyle="--")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="published (ms)", ylabel="estimated (ms)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def _told(study: Study) -> str:
    def of_board(board: Board) -> str:
        worst = max(board.points, key=lambda point: abs(math.log(point.times[0] / point.times[1])))
        found = errors(board.times)
        return (
            f"{board.table.title}: {count(found.count)} networks, off by {percent(found.mean)} in the mean; "
            f"furthest is {worst.estimate.title}, published {milliseconds(1e6 * worst.published_ms)} ms, "
            f"estimated {milliseconds(1e6 * worst.estimate.ms)} ms."
        )

    return " ".join(map(of_board, study.boards))


def write(study: Study, folder: Path) -> list[Path]:
    """Writes report, page, table and plot; returns the files. Raises UsageError when they cannot be written."""
    made = document(study)
    texts = {
        REPORT_NAME: markdown.rendered(made),
        PAGE_NAME: html.rendered(made),
        SUMMARY_NAME: markdown.table(summary(study)),
        DATA_NAME: csv.rendered(data(study)),
    }
    with writing(folder):
        for name, text in texts.items():
            (folder / name).write_text(text)
        return [*(folder / name for name in texts), *write_figures(made.figures, folder)]


def accuracy(study: Study) -> str:
    """What device/board/accuracy.toml says: for each core, how far off the estimates were at nominal clocks, and after
    one scale for each board."""
    lines = [
        "# How far estimates were off where chips were measured, a section a core: |estimate / published - 1| over its",
        "# networks. Made by setup/docs.py from results/example/timing, which `tenpass study timing` has written.",
    ]
    for core in dict.fromkeys(board.table.core for board in study.boards):
        boards = [board for board in study.boards if board.table.core == core]
        found = errors([pair for board in boards for pair in board.times])
        scaled = [(best_scale(board.times) * ms, published_ms) for board in boards for ms, published_ms in board.times]
        names = "; ".join(f"{board.table.title} ({len(board.points)})" for board in boards)
        lines += [
            "",
            f"[{core}]",
            f"mean_error_percent = {100 * found.mean:.1f}",
            f"worst_error_percent = {100 * found.worst:.1f}",
            f"mean_error_after_one_scale_percent = {100 * errors(scaled).mean:.1f}",
            f"networks = {found.count}",
            f'boards = "{names}"',
        ]
    return "\n".join(lines) + "\n"
