"""How cases moved from run to run, as a picture: a panel for each device and clock, a line for each case."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.compare.history import Line, Point, panels
from harness.record.titles import meaning_of_time
from harness.report.document import Figure as Picture
from harness.report.plots import style
from harness.report.plots.style import LINES, MARKERS, label

_SLOWER, _FASTER, _CHANGE = "#c0392b", "#1e8449", "#8a8a8a"


def figures(lines: Sequence[Line]) -> list[Picture]:
    """The plot; none where no line has a time."""
    shown = [line for line in lines if any(point.median_ns is not None for point in line.points)]
    made = style.made("history", "History", lambda: history(shown) if shown else None)
    return [made] if made else []


def history(lines: Sequence[Line]) -> Figure:
    """Median times, each run as far from the next: what a case is compared with is the run before, not the day before.

    Lines are broken where device or model files changed. Rings are steps that tenpass compare calls slower or faster;
    a vertical line marks a run with another runtime, device or model files than before.
    """

    found = panels(lines)
    most = max(len(_runs(its)) for its in found)
    figure, axes = style.in_rows(len(found), max(7.0, 3.6 + 0.55 * most), 4.4, most=1)
    for panel, its in zip(axes, found, strict=True):
        _panel(panel, its)
        panel.set_title(label(its[0].device.serial), loc="left")
    return figure


def _runs(lines: Sequence[Line]) -> list[Point]:
    """A point of each run on this device, in the order of time."""
    points = {point.run.folder: point for line in lines for point in line.points}
    return sorted(points.values(), key=lambda point: (point.run.plan.utc, str(point.run.folder)))


def _panel(axes: Axes, lines: Sequence[Line]) -> None:
    runs = _runs(lines)
    places = {point.run.folder: place for place, point in enumerate(runs)}
    for number, line in enumerate(lines):
        colour, marker = LINES[number % len(LINES)], MARKERS[number // len(LINES) % len(MARKERS)]
        timed = [point for point in line.points if point.median_ns is not None]
        xs, ys = [places[point.run.folder] for point in timed], [(point.median_ns or 0) / 1e6 for point in timed]
        axes.plot(xs, ys, marker, color=colour, markersize=5, label=label(line.title))
        for (x, y, _), (next_x, next_y, point) in pairwise(zip(xs, ys, timed, strict=True)):
            if not point.is_new_line:
                axes.plot([x, next_x], [y, next_y], color=colour, linewidth=1.4)
        for x, y, point in zip(xs, ys, timed, strict=True):
            if point.step is not None and point.step.outcome in ("slower", "faster"):
                ring = _SLOWER if point.step.outcome == "slower" else _FASTER
                axes.plot(
                    [x], [y], "o", markersize=13, markerfacecolor="none", markeredgecolor=ring, markeredgewidth=1.6
                )
    _changes(axes, lines, places)
    axes.set_xticks(range(len(runs)), [_label(point) for point in runs], rotation=45, ha="right", fontsize=8)
    axes.set_xlim(-0.5, len(runs) - 0.5)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda ms, _: f"{ms:g}")
    axes.yaxis.set_minor_formatter(lambda ms, _: f"{ms:g}")
    axes.tick_params(axis="y", which="both", labelsize=8)
    axes.set_ylabel(f"median of a pass, ms\n{meaning_of_time(lines[0].device)}")
    for colour, words in ((_SLOWER, "slower than the run before"), (_FASTER, "faster")):
        axes.plot([], [], "o", markersize=10, markerfacecolor="none", markeredgecolor=colour, label=words)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _changes(axes: Axes, lines: Sequence[Line], places: dict[Path, int]) -> None:
    """What changed between a run and the one before it, said once for all lines."""
    said: dict[int, list[str]] = {}
    for line in lines:
        for point in line.points:
            said.setdefault(places[point.run.folder], []).extend(change.split(" (")[0] for change in point.changed)
    for place, changes in said.items():
        if changes:
            axes.axvline(place - 0.5, color=_CHANGE, linewidth=1, linestyle=":")
            words = label("other " + ", ".join(dict.fromkeys(changes)))
            top = axes.get_xaxis_transform()
            axes.text(place - 0.47, 0.98, words, transform=top, fontsize=7.5, color=_CHANGE, va="top", rotation=90)


def _label(point: Point) -> str:
    return f"{label(point.run.plan.commit or 'unknown')[:8]}\n{label(point.run.plan.utc)[:10]}"
