"""How each case fares on all devices of a fleet."""

from __future__ import annotations

from statistics import median
from textwrap import fill

from matplotlib.figure import Figure

from harness.analyse import fleet
from harness.analyse.fleet import Spread
from harness.record.titles import how_measured, sentence
from harness.record.units import milliseconds
from harness.report.plots.style import MEASURED, PROMISE, Plot, Records, Rows, label, stacked


def _draw(rows: Rows, _: Records) -> Figure | None:
    """A panel for each kind of clock, and each chip, a row a case, a dot a device: its median."""

    by_clock: dict[tuple[object, ...], list[Spread]] = {}
    for one in fleet.spreads(rows) if fleet.is_fleet(rows) else []:
        by_clock.setdefault(one.device.timed_by, []).append(one)
    if not by_clock:
        return None
    heights = [len(its) for its in by_clock.values()]
    figure, panels = stacked(heights, (10, 0.5 * sum(heights) + 1.2 * len(heights) + 0.4))
    for axes, its in zip(panels, by_clock.values(), strict=True):
        for row, one in enumerate(its):
            times = [ns / 1e6 for ns in one.medians_ns]
            # One above the other in turn, so that devices of one time do not hide each other.
            ys = [row + 0.3 * ((place % 7) / 3 - 1) for place in range(len(times))]
            axes.scatter(times, ys, color=MEASURED[0], s=20, alpha=0.6, linewidths=0)
            axes.plot([median(times)] * 2, [row - 0.4, row + 0.4], color=PROMISE, linewidth=3, alpha=0.6)
            for place in {0, len(times) - 1}:
                serial = label(one.rows[place].record.device.serial)
                axes.annotate(serial, (times[place], row - 0.42), fontsize=8, ha="center")
        axes.set_yticks(range(len(its)), [fill(label(one.title), 44) for one in its], fontsize=8.5)
        axes.set_ylim(len(its) - 0.4, -0.7)
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.25)
        axes.set_title(
            f"Median of each device (grey: of all of them). {label(sentence(how_measured(its[0].device)))}", loc="left"
        )
        axes.set_xlabel("ms")
    return figure


def _describe(rows: Rows, _: Records) -> str:
    """Of the devices told of in full; the sentences at the top of the page tell of all."""

    def times(one: fleet.Spread) -> str:
        of_rows = zip(one.rows, one.medians_ns, strict=True)
        return ", ".join(f"{row.record.device.serial} {milliseconds(ns)} ms" for row, ns in of_rows)

    described = [f"{one.title}: {times(one)}" for one in fleet.spreads(fleet.in_full(rows, ())[0])]
    return f"Among others {'; '.join(described)}."


DEVICES = Plot(
    "devices",
    "All devices",
    "A dot a device, at the median of its passes: those to the left are faster. Only devices with one kind of clock "
    "share a panel.",
    _draw,
    _describe,
)
