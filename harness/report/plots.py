"""A run as pictures: Table 6 beside the paper's, where the time goes, what threads gain, and every single pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, cycle
from pathlib import Path
from statistics import median
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any

from device.records import Clock
from harness.analyse import groups, profile, scaling, sizes
from harness.analyse.fleet import Spread
from harness.analyse.gains import promise
from harness.analyse.profile import OUTSIDE, OperatorTime, ProfiledCase
from harness.analyse.rows import BASELINE, Row, by_device, is_baseline
from harness.analyse.scaling import Sweep
from harness.analyse.sizes import Size
from harness.analyse.statistics import outliers
from harness.record.record import Record
from harness.record.titles import MEANING_OF_TIME, case_runtime_title, group_title, model_title, runtime_title
from harness.record.units import milliseconds
from models.paper import table6_device

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEASURED = ("#1f77b4", "#2ca089", "#7b5ea7", "#5b7f95", "#b05d8f", "#7a7a30")
_PAPER = "#d9822b"
_PROMISE = "#8a8a8a"
_RING = "#c0392b"
_ON_A_COLOUR = "#111111"  # of text on a coloured bar, whatever the colour of text elsewhere
_FORMATS = ("png", "svg")
_MARGIN_INCHES = 0.1

#: Operator types that have a colour of their own, and those colours; all other types share one. A choice: more colours
#: cannot be told from one another.
_OPERATOR_COLOURS = ("#74a9d8", "#f0a35e", "#66c2a5", "#d993c2", "#e8cf5b", "#ab9bd6", "#c4957f")
_OTHER, _OTHER_COLOUR, _OUTSIDE_COLOUR = "all other types", "#93a8b5", "#dedede"

_ROOM_FOR_A_SHARE = 0.06  # of the panel's width: a segment narrower than that has none for its share

_SWEEP_COLOURS = ("#1f77b4", "#d9822b", "#2ca089", "#b05d8f", "#7b5ea7", "#8c564b", "#5b7f95", "#7a7a30")
_MARKERS = "osD^vP"

#: The strip plot's axis is logarithmic outside where the widest deviation is this many times a typical case's MAD, and
#: linear to this many times it at least. Choices: normal noise stays within 4.5 MAD (3 standard deviations), and on a
#: linear axis of 20 a typical case would still be wider than a dot.
_LOGARITHMIC_FROM, _LINEAR_TO = 20, 3

_ONNX, _OTHER_FILES = "#1f77b4", ("#7b5ea7", "#2ca089", "#d9822b")  # of bars that are files' sizes

_IGC_COLOURS = {None: "#8a8a8a", "grouped": "#1f77b4", "depthwise": "#2ca089", "fused": "#d9822b"}


def write(table: Sequence[Row], folder: Path) -> list[Path]:
    """Writes every plot that the rows can fill, as PNG and SVG; returns the files, none for rows without times."""
    measured = [row for row in table if row.summary is not None]
    if not measured:
        return []
    with _style():
        figures = {}
        if any(_mult_adds(row) is not None for row in measured):
            figures["latency-vs-mult-adds"] = latency_vs_mult_adds(measured)
        if any(row.relative is not None for row in measured):
            figures["relative-speed"] = relative_speed(measured)
        figures["sizes"] = file_sizes(sizes.of(measured))
        return [path for name, figure in figures.items() for path in _save(figure, folder / name)]


def write_igc_study(by_device: Mapping[str, Sequence[Row]], folder: Path) -> list[Path]:
    """Writes the study's plot, as PNG and SVG; returns the files."""
    with _style():
        return _save(igc_study(by_device), folder / "igc-study")


def write_profile(records: Sequence[Record], folder: Path) -> list[Path]:
    """Writes where the time goes, as PNG and SVG; returns the files, none where nothing was profiled."""
    panels = profile.comparable(records)
    if not panels:
        return []
    with _style():
        return _save(profile_by_operator(panels), folder / "profile-by-operator")


def write_scaling(records: Sequence[Record], folder: Path) -> list[Path]:
    """Writes what threads gain, as PNG and SVG; returns the files, none where no speed-up is known."""
    panels = [
        sweeps
        for group in scaling.sweeps(records)
        if (sweeps := [sweep for sweep in group if any(point.speed_up is not None for point in sweep.points)])
    ]
    if not panels:
        return []
    with _style():
        return _save(thread_scaling(panels), folder / "thread-scaling")


def write_samples(records: Sequence[Record], folder: Path) -> list[Path]:
    """Writes every timed pass, as PNG and SVG; returns the files, none where no case has times."""
    panels = [
        cases
        for device in groups.by_device(groups.measured(records))
        if (cases := [rounds for rounds in groups.by_case(device) if any(_percent(rounds))])
    ]
    if not panels:
        return []
    with _style():
        return _save(samples(panels), folder / "samples")


def write_fleet(spreads: Sequence[Spread], folder: Path) -> list[Path]:
    """Writes how each case fares on all devices, as PNG and SVG; returns the files, none where nothing was measured."""
    if not spreads:
        return []
    with _style():
        return _save(devices(spreads), folder / "devices")


def write_figure(draw: Callable[[], Figure], stem: Path) -> list[Path]:
    """Writes what `draw` draws, in the style of all plots, as PNG and SVG beside `stem`; returns the files."""
    with _style():
        return _save(draw(), stem)


@contextmanager
def _style() -> Iterator[None]:
    """How all plots look, and nothing of it afterwards: others draw in the same process."""
    import matplotlib as mpl

    mpl.use("Agg")
    style = {
        "svg.hashsalt": "tenpass",  # the same rows give the same bytes
        "svg.fonttype": "none",  # text stays text: small, sharp, and of the page's colour
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.dpi": 110,
        "text.parse_math": False,  # a "$" in a name is a "$"
    }
    with mpl.rc_context(style):  # type: ignore[arg-type]
        yield


def igc_study(by_device: Mapping[str, Sequence[Row]]) -> Figure:
    """A panel for each device: the time of each network over MobileNet's, one thread, beside the mult-adds' ratio."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1, len(by_device), figsize=(5.4 * len(by_device), 4.6), layout="constrained", squeeze=False
    )
    for axes, (serial, rows) in zip(panels[0], by_device.items(), strict=True):
        shown = [row for row in rows if row.record.case.threads == 1 and row.relative is not None]
        baseline = next((row for row in shown if row.record.case.model == BASELINE), None)
        for y, row in enumerate(shown):
            relative = end = row.relative or 0.0
            axes.barh(y, relative, height=0.72, color=_IGC_COLOURS[row.record.case.igc])
            if baseline is not None and (line := promise(row, baseline)) is not None:
                axes.plot([line, line], [y - 0.42, y + 0.42], color="black", linewidth=2)
                end = line if relative <= line < relative + 0.15 else relative  # where the number would stand
            axes.text(end + 0.015, y, f"{relative:.3f}", va="center", fontsize=8.5)
        axes.set_yticks(range(len(shown)), [row.title for row in shown])
        axes.invert_yaxis()
        axes.set_xlim(0, max([1.0, *(row.relative or 0.0 for row in shown)]) * 1.16)
        axes.set_title(f"{serial}\n{MEANING_OF_TIME[rows[0].record.device.clock]}", loc="left", fontsize=10)
        axes.set_xlabel("time over MobileNet's, one thread (black: ratio of the mult-adds)")
    return figure


def latency_vs_mult_adds(table: Sequence[Row]) -> Figure:
    """A panel for each device and runtime and one for the paper: times of different clocks have scales of their own."""
    import matplotlib.pyplot as plt

    series = [(rows, colour) for rows, colour in zip(_comparable(table), cycle(_MEASURED), strict=False)]
    series = [(rows, colour) for rows, colour in series if any(_mult_adds(row) is not None for row in rows)]
    paper_points = {
        row.title: (row.spec.paper.mult_adds / 1e6, row.paper_ms)
        for row in table
        if row.paper_ms is not None and row.spec and row.spec.paper and row.spec.paper.mult_adds
    }
    count = len(series) + bool(paper_points)
    columns = min(count, 3)
    lines = -(-count // columns)
    figure, axes_of = plt.subplots(
        lines, columns, figsize=(5.2 * columns, 4.2 * lines), layout="constrained", squeeze=False
    )
    for axes in axes_of.flat[count:]:
        axes.set_axis_off()
    panels = list(axes_of.flat[:count])
    for axes, (rows, colour) in zip(panels, series, strict=False):
        record = rows[0].record
        points = [
            (mult_adds / 1e6, row.summary.mean_ns / 1e6, row.title)
            for row in rows
            if row.summary and (mult_adds := _mult_adds(row)) is not None
        ]
        _scatter(axes, points, colour)
        axes.set_title(fill(f"Measured: {record.device.serial}, {case_runtime_title(record)}", 48), loc="left")
        axes.set_ylabel(f"mean of {record.case.passes} passes, ms\n{MEANING_OF_TIME[record.device.clock]}")
    if paper_points:
        _scatter(panels[-1], [(x, y, title) for title, (x, y) in paper_points.items()], _PAPER)
        panels[-1].set_title(f"Paper, Table 6: {table6_device().short_title}", loc="left")
        panels[-1].set_ylabel("mean of 10 passes, ms\nhardware")
    for axes in panels:
        axes.set_xlabel("mult-adds, millions")
    return figure


def _mult_adds(row: Row) -> int | None:
    """None also for a user's model without any: it has no place on an axis that starts at 0."""
    return (row.record.artifact.mult_adds or None) if row.record.artifact else None


def _comparable(table: Sequence[Row]) -> list[list[Row]]:
    """The rows that may be compared with one another, in one list each."""
    by_record = {id(row.record): row for row in table}
    return [[by_record[id(record)] for record in group] for group in groups.comparable([row.record for row in table])]


def _scatter(axes: Axes, points: Sequence[tuple[float, float, str]], colour: str) -> None:
    xs, ys, _ = zip(*points, strict=True)
    axes.scatter(xs, ys, color=colour, s=46, zorder=3)
    for (x, y, title), place in zip(points, _label_places(points), strict=True):
        dx, dy, ha, va = place
        axes.annotate(title, (x, y), xytext=(dx, dy), textcoords="offset points", ha=ha, va=va)
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


def relative_speed(table: Sequence[Row]) -> Figure:
    """How many times as fast as MobileNet: measured in each runtime, in the paper, promised by the mult-adds.

    A panel a device: what is measured on one is never set beside what is measured on another.
    """
    import matplotlib.pyplot as plt

    of_devices = by_device([row for row in table if row.relative is not None])
    bars_of = [_speeds(rows) for rows in of_devices]
    titles_of = [list(dict.fromkeys(row.title for row in rows)) for rows in of_devices]
    # the legend above a panel takes as much room as a bar a line
    heights = [len(bars) * (len(titles) + 1) for bars, titles in zip(bars_of, titles_of, strict=True)]
    figure, panels = plt.subplots(
        len(of_devices),
        figsize=(8.6, 0.27 * sum(heights) + 1.0 * len(of_devices)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for axes, bars, titles in zip(panels[:, 0], bars_of, titles_of, strict=True):
        _speed_bars(axes, bars, titles)
    return figure


#: What a group of bars is of, its colour, and the speeds by the titles of the networks.
_Bars = tuple[str, str, dict[str, float]]


def _speeds(compared: Sequence[Row]) -> list[_Bars]:
    baseline = next(row for row in compared if is_baseline(row.record))
    device = baseline.record.device
    bars: list[_Bars] = []
    for rows, colour in zip(_comparable(compared), cycle(_MEASURED), strict=False):
        label = f"measured: {device.serial}, {case_runtime_title(rows[0].record)}, {MEANING_OF_TIME[device.clock]}"
        bars.append((label, colour, {row.title: 1 / row.relative for row in rows if row.relative}))
    paper = {row.title: 1 / row.paper_relative for row in compared if row.paper_relative}
    if paper:
        bars.append((f"paper: {table6_device().short_title} (Table 6)", _PAPER, paper))
    promised = {row.title: 1 / line for row in compared if (line := promise(row, baseline)) is not None}
    return [*bars, ("promised by the mult-adds", _PROMISE, promised)]


def _speed_bars(axes: Axes, bars: Sequence[_Bars], titles: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    height = 0.8 / len(bars)
    for place, (_, colour, speeds) in enumerate(bars):
        for title, speed in speeds.items():
            y = titles.index(title) + (place - (len(bars) - 1) / 2) * height
            axes.barh(y, speed, height=height * 0.9, color=colour)
            axes.text(speed + 0.01, y, f"{speed:.2f}", va="center", fontsize=8.5)
    handles = [Rectangle((0, 0), 1, 1, color=colour) for _, colour, _ in bars]
    labels = [label for label, _, _ in bars]
    axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False, fontsize=8.5)
    axes.set_yticks(range(len(titles)), titles)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("speed relative to MobileNet (higher is faster)")


# --- how large the files are --------------------------------------------------------------------------


def file_sizes(found: Sequence[Size]) -> Figure:
    """Bars for each network and precision: its ONNX file, other runtimes' files, and a line where the paper's is."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    bars = [(size.title, size.onnx_megabytes, size.paper_megabytes, _ONNX) for size in found]
    kinds = dict.fromkeys(chain.from_iterable(size.files_megabytes for size in found))
    colours = dict(zip(kinds, cycle(_OTHER_FILES), strict=False))
    bars += [
        (size.title, megabytes, None, colours[title])
        for size in found
        for title, megabytes in size.files_megabytes.items()
    ]
    titles = [size.title for size in found]
    bars.sort(key=lambda bar: titles.index(bar[0]))  # which leaves them below the file they were made from
    figure, axes = plt.subplots(figsize=(8.6, 0.32 * len(bars) + 1.5), layout="constrained")
    for y, (_, megabytes, in_paper, colour) in enumerate(bars):
        axes.barh(y, megabytes, height=0.78, color=colour)
        if in_paper is not None:
            axes.plot([in_paper, in_paper], [y - 0.45, y + 0.45], color=_PAPER, linewidth=3)
        end, text = (max(megabytes, in_paper or 0), y), f"{megabytes:.1f}"
        axes.annotate(text, end, xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(range(len(bars)), [title for title, *_ in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(max(megabytes, in_paper or 0) for _, megabytes, in_paper, _ in bars))
    axes.set_xlabel("megabytes (of 1,000,000 bytes)")
    handles: list[Rectangle | Line2D] = [Rectangle((0, 0), 1, 1, color=_ONNX)]
    labels = ["ONNX file, here"]
    for title, colour in colours.items():
        handles.append(Rectangle((0, 0), 1, 1, color=colour))
        labels.append(f"{title}, here")
    if any(in_paper is not None for _, _, in_paper, _ in bars):
        handles.append(Line2D([], [], color=_PAPER, linewidth=3))
        labels.append("ONNX file in the paper (Table 6)")
    axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, frameon=False, fontsize=9)
    return figure


def devices(spreads: Sequence[Spread]) -> Figure:
    """A panel for each kind of clock, a row a case, a dot a device: its median."""
    import matplotlib.pyplot as plt

    by_clock: dict[Clock, list[Spread]] = {}
    for one in spreads:
        by_clock.setdefault(one.clock, []).append(one)
    rows = [len(its) for its in by_clock.values()]
    figure, axes_of = plt.subplots(
        len(rows),
        figsize=(10, 0.5 * sum(rows) + 1.2 * len(rows) + 0.4),
        height_ratios=rows,
        layout="constrained",
        squeeze=False,
    )
    for axes, (clock, its) in zip(axes_of[:, 0], by_clock.items(), strict=True):
        for row, one in enumerate(its):
            times = [ns / 1e6 for ns in one.medians_ns]
            # One above the other in turn, so that devices of one time do not hide each other.
            heights = [row + 0.3 * ((place % 7) / 3 - 1) for place in range(len(times))]
            axes.scatter(times, heights, color=_MEASURED[0], s=20, alpha=0.6, linewidths=0)
            axes.plot([median(times)] * 2, [row - 0.4, row + 0.4], color=_PROMISE, linewidth=3, alpha=0.6)
            for place in {0, len(times) - 1}:
                axes.annotate(one.rows[place].record.device.serial, (times[place], row - 0.42), fontsize=8, ha="center")
        axes.set_yticks(range(len(its)), [fill(one.title, 44) for one in its], fontsize=8.5)
        axes.set_ylim(len(its) - 0.4, -0.7)
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.25)
        axes.set_title(f"Median of each device (grey: of all of them). Time is {MEANING_OF_TIME[clock]}.", loc="left")
        axes.set_xlabel("ms")
    return figure


# --- where the time goes ------------------------------------------------------------------------------


def profile_by_operator(panels: Sequence[Sequence[ProfiledCase]]) -> Figure:
    """A panel for each device, runtime and number of threads, whose times have a scale of their own; a bar a case."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    colours = _operator_colours([profile.by_operator(case.profile) for cases in panels for case in cases])
    bars = [len(cases) for cases in panels]
    figure, axes_of = plt.subplots(
        len(panels),
        figsize=(9.6, 0.42 * sum(bars) + 1.0 * len(panels) + 1.0),
        height_ratios=[count + 0.6 for count in bars],
        layout="constrained",
        squeeze=False,
    )
    for axes, cases in zip(axes_of[:, 0], panels, strict=True):
        _stacked_bars(axes, cases, colours)
    handles: list[Rectangle | Line2D] = [Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
    handles.append(Line2D([], [], color="black", linewidth=2))
    labels = [*map(profile.shown_op, colours), "a timed pass (median)"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


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
    widest = max([sum(it.ns_per_pass for it in bar) for bar in bars] + [case.timed_median_ns for case in cases]) / 1e6
    for y, (case, bar) in enumerate(zip(cases, bars, strict=True)):
        parts = dict.fromkeys(colours, 0.0)
        for time in bar:
            parts[time.op if time.op in colours else _OTHER] += time.ns_per_pass / 1e6
        left, whole = 0.0, sum(parts.values())
        for op, ms in parts.items():
            axes.barh(y, ms, left=left, height=0.72, color=colours[op], edgecolor="white", linewidth=0.5)
            if ms > _ROOM_FOR_A_SHARE * widest:
                share = f"{ms / whole:.0%}"
                axes.text(left + ms / 2, y, share, ha="center", va="center", fontsize=8.5, color=_ON_A_COLOUR)
            left += ms
        timed = case.timed_median_ns / 1e6
        axes.plot([timed, timed], [y - 0.42, y + 0.42], color="black", linewidth=2)
        axes.text(max(left, timed) + 0.012 * widest, y, milliseconds(whole * 1e6), va="center", fontsize=8.5)
    record = cases[0].record
    axes.set_yticks(range(len(cases)), [case.title for case in cases])
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.set_xlim(0, widest * 1.12)
    axes.set_title(group_title(record), loc="left", fontsize=10)
    axes.set_xlabel(f"ms a profiled pass, {MEANING_OF_TIME[record.device.clock]}")


# --- what threads gain --------------------------------------------------------------------------------


def thread_scaling(panels: Sequence[Sequence[Sweep]]) -> Figure:
    """A panel for each device and runtime: speed-up over one thread against threads, a line a case."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    titles = list(dict.fromkeys(sweep.title for sweeps in panels for sweep in sweeps))
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure, axes_of = plt.subplots(
        rows, columns, figsize=(max(4.6 * columns, 6.4), 4.2 * rows + 0.8), layout="constrained", squeeze=False
    )
    for axes in axes_of.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, sweeps in zip(axes_of.flat, panels, strict=False):
        for sweep in sweeps:
            known = [(point.threads, point.speed_up) for point in sweep.points if point.speed_up is not None]
            axes.plot(*zip(*known, strict=True), **_line(titles.index(sweep.title)))
        record = sweeps[0].record
        counts = sorted({point.threads for sweep in sweeps for point in sweep.points})
        axes.plot([1, counts[-1]], [1, counts[-1]], color=_PROMISE, linestyle="--", zorder=1)
        axes.set_xticks(counts)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        note = "\none core: the threads share it" if record.device.clock == "instructions" else ""
        place = fill(group_title(record, with_threads=False), 52)
        axes.set_title(f"{place}\n{MEANING_OF_TIME[record.device.clock]}{note}", loc="left", fontsize=10)
        axes.set_xlabel("threads")
        axes.set_ylabel("speed-up over one thread")
    handles = [Line2D([], [], **_line(place)) for place in range(len(titles))]
    handles.append(Line2D([], [], color=_PROMISE, linestyle="--"))
    labels = [*titles, "ideal"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * columns, frameon=False, fontsize=9)
    return figure


def _line(place: int) -> dict[str, Any]:
    """The look of the line of the network in this place, of all panels."""
    colour, marker = _SWEEP_COLOURS[place % len(_SWEEP_COLOURS)], _MARKERS[place % len(_MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.6, "alpha": 0.9}


# --- every pass ---------------------------------------------------------------------------------------


def samples(panels: Sequence[Sequence[Sequence[Record]]]) -> Figure:
    """A panel for each device, a row a case, a dot a timed pass, the first at the row's top and the last at its bottom.

    A drift is a slant then, throttling a bend, a bimodal run two columns. `panels` hold the rounds of cases.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    rows = [len(cases) for cases in panels]
    lines = max(_row_title(rounds[0]).count("\n") + 1 for cases in panels for rounds in cases)
    height = max(0.15 * lines + 0.1, min(9 / sum(rows), 0.9))  # inches a row
    figure, axes_of = plt.subplots(
        len(panels),
        figsize=(10, height * sum(rows) + 1.4 * len(panels) + 0.6),
        height_ratios=rows,
        layout="constrained",
        squeeze=False,
    )
    colours = _round_colours({record.round for cases in panels for rounds in cases for record in rounds})
    for axes, cases in zip(axes_of[:, 0], panels, strict=True):
        _strips(axes, cases, colours)
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o"}
    handles = [Line2D([], [], color=colour, markersize=5, **dot) for colour in colours.values()]
    handles.append(Line2D([], [], color=_RING, markerfacecolor="none", markersize=8, **dot))
    labels = [*(f"round {one + 1}" for one in colours), "outlier of its round"]
    if len(colours) > 1:
        handles.append(Line2D([], [], color=_PROMISE, linewidth=3))
        labels.append("median of a round")
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return figure


def _strips(axes: Axes, cases: Sequence[Sequence[Record]], colours: Mapping[int, Any]) -> None:
    percent = [_percent(rounds) for rounds in cases]
    for row, (rounds, of_rounds) in enumerate(zip(cases, percent, strict=True)):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
        _strip(axes, row, of_rounds, [colours[record.round] for record in rounds])
        middle = milliseconds(groups.median_ns(groups.timed_passes(rounds)))
        axes.text(1.01, row, f"{middle} ms", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    device = cases[0][0].device
    _percent_axis(axes, [[*chain(*of_rounds)] for of_rounds in percent])
    axes.set_yticks(range(len(cases)), [_row_title(rounds[0]) for rounds in cases], fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.6, zorder=1)
    axes.grid(axis="x", alpha=0.25)
    title = f"Every timed pass on {device.serial}, in each row from the top down"
    axes.set_title(f"{title}\nTime is {MEANING_OF_TIME[device.clock]}.", loc="left", fontsize=10)
    axes.text(1.01, 1, "median", transform=axes.transAxes, va="bottom", fontsize=8.5)


def _row_title(record: Record) -> str:
    """The case's title, or more lines where its runtime has a long one."""
    return "\n".join([model_title(record), *wrap(runtime_title(record), 44)])


def _percent(rounds: Sequence[Record]) -> list[list[float]]:
    """How far each pass of each round is from the median of all, in percent of it; nothing where that is zero."""
    passes = groups.timed_passes(rounds)
    median_ns = groups.median_ns(passes) if passes else 0
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
            edgecolors=_RING,
            zorder=4,
        )
        if len(of_rounds) > 1 and percent:
            middle = median(percent)
            axes.plot([middle, middle], [ys[0], ys[-1]], color=_PROMISE, linewidth=3, alpha=0.5, zorder=1)
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
    import matplotlib.pyplot as plt

    ordered = sorted(rounds)
    return {one: plt.get_cmap("viridis")(0.82 * place / max(len(ordered) - 1, 1)) for place, one in enumerate(ordered)}


def _save(figure: Figure, stem: Path) -> list[Path]:
    import matplotlib.pyplot as plt

    paths = [stem.with_suffix(f".{kind}") for kind in _FORMATS]
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out and measured once, not for each format again
    box = figure.get_tightbbox().padded(_MARGIN_INCHES)
    for path in paths:
        figure.savefig(path, bbox_inches=box, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    plt.close(figure)
    return paths
