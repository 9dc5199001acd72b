"""Where the time goes, by operator type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from harness.analyse import profile
from harness.analyse.profile import OUTSIDE, OperatorTime, ProfiledCase
from harness.record.titles import group_title, meaning_of_time
from harness.record.units import millions, percent
from harness.report.plots.style import Plot, Records, Rows, label, stacked

_ON_A_COLOUR = "#111111"  # of text on a coloured bar, whatever the colour of text elsewhere

#: Operator types that have a colour of their own, and those colours; all other types share one. A choice: more colours
#: cannot be told from one another.
_OPERATOR_COLOURS = ("#74a9d8", "#f0a35e", "#66c2a5", "#d993c2", "#e8cf5b", "#ab9bd6", "#c4957f")
_OTHER, _OTHER_COLOUR, _OUTSIDE_COLOUR = "all other types", "#93a8b5", "#dedede"

_ROOM_FOR_A_SHARE = 0.06  # of the panel's width: a segment narrower than that has none for its share

_OPERATORS_NAMED = 3  # a choice: they hold most of the time of nearly every network


def _draw(_: Rows, records: Records) -> Figure | None:
    """A panel for each device, runtime and number of threads, whose times have a scale of their own; a bar a case."""

    panels = profile.comparable(records)
    if not panels:
        return None
    colours = _operator_colours([profile.by_operator(case.profile) for cases in panels for case in cases])
    bars = [len(cases) for cases in panels]
    size = (9.6, 0.42 * sum(bars) + 1.0 * len(panels) + 1.0)
    figure, axes_of = stacked([count + 0.6 for count in bars], size)
    for axes, cases in zip(axes_of, panels, strict=True):
        _stacked_bars(axes, cases, colours)
    handles: list[Rectangle | Line2D] = [Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
    handles.append(Line2D([], [], color="black", linewidth=2))
    labels = [*map(_op, colours), "a timed pass (median)"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _op(op: str) -> str:
    return label(profile.short_op(op))


def _operator_colours(cases: Sequence[Sequence[OperatorTime]]) -> dict[str, str]:
    """The operator types with the largest shares of all the cases together, and what else a bar consists of."""
    shares: dict[str, float] = {}
    for times in cases:
        for time in times:
            shares[time.op] = shares.get(time.op, 0.0) + time.share
    largest = sorted(shares.keys() - {OUTSIDE}, key=lambda op: (-shares[op], op))
    colours = dict(zip(largest, _OPERATOR_COLOURS, strict=False))
    if len(largest) > len(colours):
        colours[_OTHER] = _OTHER_COLOUR
    return {**colours, OUTSIDE: _OUTSIDE_COLOUR}


def _stacked_bars(axes: Axes, cases: Sequence[ProfiledCase], colours: Mapping[str, str]) -> None:
    bars = [profile.by_operator(case.profile) for case in cases]
    unit = cases[0].unit
    longest_ns = max([sum(it.ns_per_pass for it in bar) for bar in bars] + [case.timed_median_ns for case in cases])
    widest = unit.value(longest_ns)
    for y, (case, bar) in enumerate(zip(cases, bars, strict=True)):
        parts = dict.fromkeys(colours, 0.0)
        for time in bar:
            parts[time.op if time.op in colours else _OTHER] += unit.value(time.ns_per_pass)
        left, whole = 0.0, sum(parts.values())
        for op, part in parts.items():
            axes.barh(y, part, left=left, height=0.72, color=colours[op], edgecolor="white", linewidth=0.5)
            if part > _ROOM_FOR_A_SHARE * widest:
                share = percent(part / whole, decimals=0)
                axes.text(left + part / 2, y, share, ha="center", va="center", fontsize=8.5, color=_ON_A_COLOUR)
            left += part
        timed = unit.value(case.timed_median_ns)
        axes.plot([timed, timed], [y - 0.42, y + 0.42], color="black", linewidth=2)
        axes.text(max(left, timed) + 0.012 * widest, y, millions(whole), va="center", fontsize=8.5)
    record = cases[0].record
    axes.set_yticks(range(len(cases)), [label(case.title) for case in cases])
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.set_xlim(0, widest * 1.12)
    axes.set_title(label(group_title(record)), loc="left", fontsize=10)
    axes.set_xlabel(f"{unit.name} a profiled pass, {label(meaning_of_time(record.device))}")


def _describe(_: Rows, records: Records) -> str:
    lines = []
    for cases in profile.comparable(records):
        told = []
        for case in cases:
            largest = profile.by_operator(case.profile)[:_OPERATORS_NAMED]
            named = ", ".join(f"{_op(time.op)} {percent(time.share, decimals=0)}" for time in largest)
            whole = f"{case.unit.text(case.pass_ns)} {case.unit.name} a profiled pass"
            told.append(f"{case.title}: {whole}, its largest parts {named}")
        lines.append(f"{group_title(cases[0].record)}: {'; '.join(told)}.")
    return " ".join(lines)


PROFILE = Plot(
    "profile-by-operator",
    "Where the time goes",
    "From passes of their own, with the profiler on. The thick line is the median of the timed passes.",
    _draw,
    _describe,
)
