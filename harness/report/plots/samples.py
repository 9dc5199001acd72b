"""Every timed pass as a dot: what throttles, drifts or falls into two groups is seen here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import median
from textwrap import wrap
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analyse import groups
from harness.analyse.statistics import outliers
from harness.record.record import Record
from harness.record.titles import case_title, how_measured, model_title, runtime_title, sentence
from harness.record.units import milliseconds
from harness.report.plots.style import PROMISE, RING, Plot, Records, Rows, label, stacked

#: The strip plot's axis is logarithmic outside where the widest deviation is this many times a typical case's MAD, and
#: linear to this many times it at least. Choices: normal noise stays within 4.5 MAD (3 standard deviations), and on a
#: linear axis of 20 a typical case would still be wider than a dot.
_LOGARITHMIC_FROM, _LINEAR_TO = 20, 3


def _draw(_: Rows, records: Records) -> Figure | None:
    """A panel for each device, a row a case, a dot a timed pass, the first at the row's top and the last at its bottom.

    A drift is a slant then, throttling a bend, a bimodal run two columns.
    """

    panels = [
        cases
        for device in groups.by_device(groups.measured(records))
        if (cases := [rounds for rounds in groups.by_case(device) if any(_percent(rounds))])
    ]
    if not panels:
        return None
    rows = [len(cases) for cases in panels]
    lines = max(_row_title(rounds[0]).count("\n") + 1 for cases in panels for rounds in cases)
    height = max(0.15 * lines + 0.1, min(9 / sum(rows), 0.9))  # inches a row
    figure, axes_of = stacked(rows, (10, height * sum(rows) + 1.4 * len(panels) + 0.6))
    colours = _round_colours({record.round for cases in panels for rounds in cases for record in rounds})
    for axes, cases in zip(axes_of, panels, strict=True):
        _strips(axes, cases, colours)
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o"}
    handles = [Line2D([], [], color=colour, markersize=5, **dot) for colour in colours.values()]
    handles.append(Line2D([], [], color=RING, markerfacecolor="none", markersize=8, **dot))
    labels = [*(f"round {one + 1}" for one in colours), "outlier of its round"]
    if len(colours) > 1:
        handles.append(Line2D([], [], color=PROMISE, linewidth=3))
        labels.append("median of a round")
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return figure


def _strips(axes: Axes, cases: Sequence[Sequence[Record]], colours: Mapping[int, Any]) -> None:
    percent = [_percent(rounds) for rounds in cases]
    for row, (rounds, of_rounds) in enumerate(zip(cases, percent, strict=True)):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
        _strip(axes, row, of_rounds, [colours[record.round] for record in rounds])
        middle = milliseconds(groups.median_ns(rounds) or 0)
        axes.text(1.01, row, f"{middle} ms", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    device = cases[0][0].device
    _percent_axis(axes, [[*chain(*of_rounds)] for of_rounds in percent])
    axes.set_yticks(range(len(cases)), [_row_title(rounds[0]) for rounds in cases], fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.6, zorder=1)
    axes.grid(axis="x", alpha=0.25)
    title = f"Every timed pass on {label(device.serial)}, in each row from the top down"
    axes.set_title(f"{title}\n{label(sentence(how_measured(device)))}", loc="left", fontsize=10)
    axes.text(1.01, 1, "median", transform=axes.transAxes, va="bottom", fontsize=8.5)


def _row_title(record: Record) -> str:
    """The case's title, or more lines where its runtime has a long one."""
    return "\n".join([label(model_title(record)), *wrap(label(runtime_title(record)), 44)])


def _percent(rounds: Sequence[Record]) -> list[list[float]]:
    """How far each pass of each round is from the case's median, in percent of it; nothing where that is zero."""
    median_ns = groups.median_ns(rounds)
    if not median_ns:
        return []
    return [[100 * (it.ns / median_ns - 1) for it in groups.timed_passes([record])] for record in rounds]


def _strip(axes: Axes, row: int, of_rounds: Sequence[Sequence[float]], colours: Sequence[Any]) -> None:
    """The passes of one case, from the top of its row to the bottom, a place left free between rounds."""
    passes = sum(map(len, of_rounds))
    step = 0.76 / max(passes + len(of_rounds) - 2, 1)
    size = min(max(500 / passes, 5), 22)
    top = row - 0.38
    for percent, colour in zip(of_rounds, colours, strict=True):
        ys = [top + place * step for place in range(len(percent))]
        axes.plot(percent, ys, color=colour, linewidth=0.7, alpha=0.45, zorder=2)
        axes.scatter(percent, ys, color=colour, s=size, linewidths=0, zorder=3)
        ringed = outliers([1 + each / 100 for each in percent])
        axes.scatter(
            [percent[index] for index in ringed],
            [ys[index] for index in ringed],
            s=size + 34,
            facecolors="none",
            edgecolors=RING,
            zorder=4,
        )
        if len(of_rounds) > 1 and percent:
            middle = median(percent)
            axes.plot([middle, middle], [ys[0], ys[-1]], color=PROMISE, linewidth=3, alpha=0.5, zorder=1)
        top += (len(percent) + 1) * step


def _percent_axis(axes: Axes, cases: Sequence[Sequence[float]]) -> None:
    """One scale for all cases: linear, unless some case is so wide that the others would be lines."""
    low, high = min(map(min, cases)), max(map(max, cases))
    widest, typical = max(high, -low), median(median(map(abs, percent)) for percent in cases)
    label = "time of a pass, in % above or below the median of its case"
    if typical and widest > _LOGARITHMIC_FROM * typical:
        linear = 10.0 ** math.ceil(math.log10(_LINEAR_TO * typical))
        axes.set_xscale("symlog", linthresh=linear)
        decades = range(max(math.ceil(math.log10(widest / linear)), 0) + 1)
        ticks = [first * linear * 10**decade for decade in decades for first in (1, 3)]
        axes.set_xticks([*(-tick for tick in reversed(ticks)), 0, *ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlim(min(low * 1.3, -linear), max(high * 1.3, linear))
        label += f" (logarithmic beyond {linear:g})"
    elif widest:
        axes.set_xlim(low - 0.06 * widest, high + 0.06 * widest)
    axes.xaxis.set_major_formatter(lambda percent, _: f"{percent:+g}" if percent else "0")
    axes.set_xlabel(label)


def _round_colours(rounds: set[int]) -> dict[int, Any]:
    """From dark to light in their order, but not so light that a dot is lost on white."""

    ordered = sorted(rounds)
    return {one: colormaps["viridis"](0.82 * place / max(len(ordered) - 1, 1)) for place, one in enumerate(ordered)}


def _describe(_: Rows, records: Records) -> str:
    lines = []
    for device in groups.by_device(groups.measured(records)):
        described = [_sampled(rounds) for rounds in groups.by_case(device) if groups.timed_passes(rounds)]
        lines.append(f"{device[0].device.serial}: {'; '.join(described)}.")
    return " ".join(lines)


def _sampled(rounds: Sequence[Record]) -> str:
    passes = [one.ns for one in groups.timed_passes(rounds)]
    middle = groups.median_ns(rounds) or 0
    found = sum(len(outliers([one.ns for one in groups.timed_passes([record])])) for record in rounds)
    reach = f", from {milliseconds(min(passes))} to {milliseconds(max(passes))} ms" if middle else ""
    marked = f", {found} outlier{'s' if found > 1 else ''}" if found else ""
    return f"{case_title(rounds[0])}: {len(passes)} passes, median {milliseconds(middle)} ms{reach}{marked}"


SAMPLES = Plot(
    "samples",
    "Every timed pass",
    "Each dot is a pass, the first at the top of its row. A drift is a slant, throttling a bend, two modes are two "
    "columns; outliers are ringed, and count like all others.",
    _draw,
    _describe,
)
