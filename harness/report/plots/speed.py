"""Speed relative to MobileNet: measured, in the paper, promised by the mult-adds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.analyse.gains import promise
from harness.analyse.rows import Row, by_device, is_baseline
from harness.record.titles import case_runtime_title, meaning_of_time
from harness.record.units import factor
from harness.report.plots.style import (
    MEASURED,
    PAPER,
    PROMISE,
    Plot,
    Records,
    Rows,
    by_ranking,
    comparable,
    label,
    stacked,
)
from models.paper import table6_device


def _draw(rows: Rows, _: Records) -> Figure | None:
    """How many times as fast as MobileNet: measured in each runtime, in the paper, promised by the mult-adds.

    A panel a device: what is measured on one is never set beside what is measured on another.
    """

    of_devices = by_device([row for row in rows if row.relative is not None])
    if not of_devices:
        return None
    bars_of = [_speeds(rows) for rows in of_devices]
    titles_of = [list(dict.fromkeys(row.title for row in rows)) for rows in of_devices]
    # the legend above a panel takes as much room as a bar a line
    heights = [len(bars) * (len(titles) + 1) for bars, titles in zip(bars_of, titles_of, strict=True)]
    figure, panels = stacked(heights, (8.6, 0.27 * sum(heights) + 1.0 * len(of_devices)))
    for axes, bars, titles in zip(panels, bars_of, titles_of, strict=True):
        _speed_bars(axes, bars, titles)
    return figure


#: What a group of bars is of, its colour, and the speeds by the titles of the networks.
_Bars = tuple[str, str, dict[str, float]]


def _speeds(compared: Sequence[Row]) -> list[_Bars]:
    baseline = next(row for row in compared if is_baseline(row.record))
    device = baseline.record.device
    bars: list[_Bars] = []
    for rows, colour in zip(comparable(compared), cycle(MEASURED), strict=False):
        what = f"{device.serial}, {case_runtime_title(rows[0].record)}, {meaning_of_time(device)}"
        what = what if device.chip else f"measured: {what}"
        bars.append((what, colour, {row.title: 1 / row.relative for row in rows if row.relative}))
    paper = {row.title: 1 / row.paper_relative for row in compared if row.paper_relative}
    if paper:
        bars.append((f"paper: {table6_device().short_title} (Table 6)", PAPER, paper))
    promised = {row.title: 1 / line for row in compared if (line := promise(row, baseline)) is not None}
    return [*bars, ("promised by the mult-adds", PROMISE, promised)] if promised else bars


def _speed_bars(axes: Axes, bars: Sequence[_Bars], titles: Sequence[str]) -> None:

    height = 0.8 / len(bars)
    for place, (_, colour, speeds) in enumerate(bars):
        for title, speed in speeds.items():
            y = titles.index(title) + (place - (len(bars) - 1) / 2) * height
            axes.barh(y, speed, height=height * 0.9, color=colour)
            axes.text(speed + 0.01, y, factor(speed), va="center", fontsize=8.5)
    handles = [Rectangle((0, 0), 1, 1, color=colour) for _, colour, _ in bars]
    labels = [label(what) for what, _, _ in bars]
    axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False, fontsize=8.5)
    axes.set_yticks(range(len(titles)), list(map(label, titles)))
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("speed relative to MobileNet (higher is faster)")


def _describe(rows: Rows, _: Records) -> str:
    baselines = [row for row in rows if is_baseline(row.record)]

    def speeds(row: Row) -> str:
        if not row.relative:
            return f"{row.title}: unknown"
        promised = promise(row, baselines[0]) if baselines else None
        by_theory = f", {factor(1 / promised)} by its mult-adds" if promised else ""
        paper = f", {factor(1 / row.paper_relative)} in the paper" if row.paper_relative else ""
        return f"{row.title}: {factor(1 / row.relative)} times as fast as MobileNet{by_theory}{paper}"

    return by_ranking([row for row in rows if row.relative], speeds)


SPEED = Plot(
    "relative-speed",
    "Speed-up against theory",
    "Where a measured bar is shorter than the grey one, the network is slower than its mult-adds promise; MobileNet is "
    "1.",
    _draw,
    _describe,
)
