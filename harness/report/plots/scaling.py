"""What more threads gain."""

from __future__ import annotations

from textwrap import fill
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analyse import scaling
from harness.analyse.scaling import Sweep
from harness.record.titles import group_title, meaning_of_time
from harness.record.units import factor
from harness.report.plots.style import LINES, MARKERS, PROMISE, Plot, Records, Rows, in_rows, label


def _draw(_: Rows, records: Records) -> Figure | None:
    """A panel for each device and runtime: speed-up over one thread against threads, a line a case."""

    known_in = [[sweep for sweep in group if _known(sweep)] for group in scaling.sweeps(records)]
    panels = [group for group in known_in if group]
    if not panels:
        return None
    titles = list(dict.fromkeys(sweep.title for sweeps in panels for sweep in sweeps))
    figure, axes_of = in_rows(len(panels), max(4.6, 6.4 / len(panels)), 4.6)
    for axes, sweeps in zip(axes_of, panels, strict=True):
        for sweep in sweeps:
            axes.plot(*zip(*_known(sweep), strict=True), **_line(titles.index(sweep.title)))
        record = sweeps[0].record
        counts = sorted({point.threads for sweep in sweeps for point in sweep.points})
        axes.plot([1, counts[-1]], [1, counts[-1]], color=PROMISE, linestyle="--", zorder=1)
        axes.set_xticks(counts)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        note = "\none core: the threads share it" if record.device.is_exact else ""
        place = fill(label(group_title(record, with_threads=False)), 52)
        axes.set_title(f"{place}\n{label(meaning_of_time(record.device))}{note}", loc="left", fontsize=10)
        axes.set_xlabel("threads")
        axes.set_ylabel("speed-up over one thread")
    handles = [Line2D([], [], **_line(place)) for place in range(len(titles))]
    handles.append(Line2D([], [], color=PROMISE, linestyle="--"))
    labels = [*map(label, titles), "ideal"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * min(len(panels), 3), frameon=False, fontsize=9)
    return figure


def _known(sweep: Sweep) -> list[tuple[int, float]]:
    """The speed-ups that are known, by threads."""
    return [(point.threads, point.speed_up) for point in sweep.points if point.speed_up is not None]


def _line(place: int) -> dict[str, Any]:
    """The look of the line of the network in this place, of all panels."""
    colour, marker = LINES[place % len(LINES)], MARKERS[place % len(MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.6, "alpha": 0.9}


def _describe(_: Rows, records: Records) -> str:
    lines = []
    for sweeps in scaling.sweeps(records):
        described = [
            f"{sweep.title}: "
            + ", ".join(f"{factor(speed_up)} on {threads} threads" for threads, speed_up in _known(sweep))
            for sweep in sweeps
        ]
        lines.append(
            f"{group_title(sweeps[0].record, with_threads=False)}, speed-up over one thread: {'; '.join(described)}."
        )
    return " ".join(lines)


SCALING = Plot(
    "thread-scaling",
    "What more threads gain",
    "On the dashed line each thread does as much as one did alone.",
    _draw,
    _describe,
)
