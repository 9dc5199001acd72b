"""Latency against mult-adds: is a network as fast as its cost promises?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analyse.rows import Row
from harness.record.titles import case_runtime_title, meaning_of_time
from harness.record.units import count, milliseconds
from harness.report.plots.style import MEASURED, PAPER, Plot, Records, Rows, by_ranking, comparable, in_rows, label
from models.paper import table6_device


def _draw(rows: Rows, _: Records) -> Figure | None:
    """A panel for each device and runtime and one for the paper: times of different clocks have scales of their own."""

    table = [row for row in rows if row.summary is not None]
    coloured = zip(comparable(table), cycle(MEASURED), strict=False)
    series = [(group, colour) for group, colour in coloured if any(_mult_adds(row) is not None for row in group)]
    if not series:
        return None
    paper_points = {
        row.title: (row.spec.paper.mult_adds / 1e6, row.paper_ms)
        for row in table
        if row.paper_ms is not None and row.spec and row.spec.paper and row.spec.paper.mult_adds
    }
    figure, panels = in_rows(len(series) + bool(paper_points), 5.2, 4.2)
    for axes, (group, colour) in zip(panels, series, strict=False):
        record = group[0].record
        points = [
            (mult_adds / 1e6, row.summary.median_ns / 1e6, row.title)
            for row in group
            if row.summary and (mult_adds := _mult_adds(row)) is not None
        ]
        _scatter(axes, points, colour)
        axes.set_title(fill(label(f"Measured: {record.device.serial}, {case_runtime_title(record)}"), 48), loc="left")
        axes.set_ylabel(f"median of {record.case.passes} passes, ms\n{label(meaning_of_time(record.device))}")
    if paper_points:
        _scatter(panels[-1], [(x, y, title) for title, (x, y) in paper_points.items()], PAPER)
        panels[-1].set_title(f"Paper, Table 6: {table6_device().short_title}", loc="left")
        panels[-1].set_ylabel("mean of 10 passes, ms\nhardware")
    for axes in panels:
        axes.set_xlabel("mult-adds, millions")
    return figure


def _mult_adds(row: Row) -> int | None:
    """None also for a user's model without any: it has no place on an axis that starts at 0."""
    return (row.record.artifact.mult_adds or None) if row.record.artifact else None


def _scatter(axes: Axes, points: Sequence[tuple[float, float, str]], colour: str) -> None:
    xs, ys, _ = zip(*points, strict=True)
    axes.scatter(xs, ys, color=colour, s=46, zorder=3)
    for (x, y, title), place in zip(points, _label_places(points), strict=True):
        dx, dy, ha, va = place
        axes.annotate(label(title), (x, y), xytext=(dx, dy), textcoords="offset points", ha=ha, va=va)
    axes.set_xlim(0, max(xs) * 1.18)
    axes.set_ylim(0, max(ys) * 1.15)
    axes.grid(alpha=0.25)


#: Where a name may stand beside its point: by how many points of a page to the right and up, and how it is aligned.
_PLACES = ((0, 9, "center", "bottom"), (0, -9, "center", "top"), (-9, 0, "right", "center"), (9, 0, "left", "center"))
_PANEL_POINTS, _CHARACTER_POINTS, _LINE_POINTS = (310, 230), 5.8, 12  # about as large as they come out

_Box = tuple[float, float, float, float]


def _label_places(points: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str, str]]:
    """For each point the first of _PLACES where its name covers neither another point nor a name, or as little."""
    width, height = (
        size / (1.16 * max(values))
        for size, values in zip(_PANEL_POINTS, list(zip(*points, strict=True))[:2], strict=True)
    )
    spots = [(x * width, y * height) for x, y, _ in points]
    taken: list[_Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    places: list[tuple[float, float, str, str]] = []
    for (x, y), (_, _, title) in zip(spots, points, strict=True):
        boxes = [_label_box(x, y, len(title) * _CHARACTER_POINTS, place) for place in _PLACES]
        covered = [sum(_overlap(box, other) for other in taken) + max(0, box[2] - _PANEL_POINTS[0]) for box in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        places.append(_PLACES[best])
    return places


def _label_box(x: float, y: float, width: float, place: tuple[float, float, str, str]) -> _Box:
    dx, dy, ha, va = place
    left = x + dx - {"center": width / 2, "right": width, "left": 0}[ha]
    bottom = y + dy - {"center": _LINE_POINTS / 2, "top": _LINE_POINTS, "bottom": 0}[va]
    return left, bottom, left + width, bottom + _LINE_POINTS


def _overlap(a: _Box, b: _Box) -> float:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _describe(rows: Rows, _: Records) -> str:
    return by_ranking(rows, _latency)


def _latency(row: Row) -> str:
    artifact = row.record.artifact
    cost = "an unknown number of" if artifact is None or artifact.mult_adds is None else count(artifact.mult_adds)
    time = f"{milliseconds(row.summary.median_ns)} ms (median)" if row.summary else "no time"
    paper = f" (paper: {row.paper_ms:.0f} ms, mean of 10)" if row.paper_ms is not None else ""
    return f"{row.title}: {cost} mult-adds, {time}{paper}"


LATENCY = Plot(
    "latency-vs-mult-adds",
    "Latency against mult-adds",
    "Each panel has a scale of its own: times of different devices, runtimes and clocks are not comparable. A network "
    "above a line through others takes longer than its cost promises.",
    _draw,
    _describe,
)
