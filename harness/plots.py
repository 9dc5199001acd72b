"""Table 6 as pictures: latency against mult-adds, and speed relative to MobileNet beside the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.gains import promise
from harness.table import BASELINE, MEANING_OF_TIME, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEASURED = ("#1f77b4", "#2ca089", "#7b5ea7", "#5b7f95", "#b05d8f", "#7a7a30")
_PAPER = "#d9822b"
_PROMISE = "#8a8a8a"
_FORMATS = ("png", "svg")
_IGC_COLOURS = {None: "#8a8a8a", "grouped": "#1f77b4", "depthwise": "#2ca089", "fused": "#d9822b"}


def write(table: Sequence[Row], folder: Path) -> list[Path]:
    """Writes every plot that the rows can fill, as PNG and SVG; returns the files, none for rows without times."""
    measured = [row for row in table if row.summary is not None]
    if not measured:
        return []
    with _style():
        figures = {"latency-vs-mult-adds": latency_vs_mult_adds(measured)}
        if any(row.relative is not None for row in measured):
            figures["relative-speed"] = relative_speed(measured)
        return [path for name, figure in figures.items() for path in _save(figure, folder / name)]


def write_igc_study(by_device: Mapping[str, Sequence[Row]], folder: Path) -> list[Path]:
    """Writes the study's plot, as PNG and SVG; returns the files."""
    with _style():
        return _save(igc_study(by_device), folder / "igc-study")


@contextmanager
def _style() -> Iterator[None]:
    """How all plots look, and nothing of it afterwards: others draw in the same process."""
    import matplotlib as mpl

    mpl.use("Agg")
    style = {
        "svg.hashsalt": "tenpass",  # the same rows give the same bytes
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.dpi": 110,
        "savefig.bbox": "tight",
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
    """A panel for each runtime and one for the paper: times of different clocks are never put on one scale."""
    import matplotlib.pyplot as plt

    series = _by_runtime(table)
    figure, panels = plt.subplots(1, len(series) + 1, figsize=(5.2 * (len(series) + 1), 4.2), layout="constrained")
    for axes, (runtime, rows), colour in zip(panels, series.items(), _MEASURED, strict=False):
        record = rows[0].record
        _scatter(
            axes,
            [
                (row.record.artifact.mult_adds / 1e6, row.summary.mean_ns / 1e6, row.title)
                for row in rows
                if row.summary and row.record.artifact
            ],
            colour,
        )
        axes.set_title(f"Measured: {record.device.serial}, {runtime}", loc="left")
        axes.set_ylabel(f"mean of {record.case.passes} passes, ms\n{MEANING_OF_TIME[record.device.clock]}")
    paper_points = {
        row.title: (row.spec.paper.mult_adds / 1e6, row.paper_ms)
        for row in table
        if row.paper_ms is not None and row.spec and row.spec.paper and row.spec.paper.mult_adds
    }
    _scatter(panels[-1], [(x, y, title) for title, (x, y) in paper_points.items()], _PAPER)
    panels[-1].set_title("Paper, Table 6: BLU phone, Cortex-A7, Caffe2", loc="left")
    panels[-1].set_ylabel("mean of 10 passes, ms\nhardware")
    for axes in panels:
        axes.set_xlabel("mult-adds, millions")
    return figure


def _by_runtime(table: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each runtime (and format of its nets, and thread count), under the name it is shown by."""
    series: dict[str, list[Row]] = {}
    for row in table:
        case = row.record.case
        name = case.runtime if case.format in ("onnx", case.runtime) else case.format
        series.setdefault(name if case.threads == 1 else f"{name}, {case.threads} threads", []).append(row)
    return series


def _scatter(axes: Axes, points: Sequence[tuple[float, float, str]], colour: str) -> None:
    if not points:
        axes.text(0.5, 0.5, "no figures", ha="center", transform=axes.transAxes)
        return
    xs, ys, _ = zip(*points, strict=True)
    axes.scatter(xs, ys, color=colour, s=46, zorder=3)
    for index, (x, y, title) in enumerate(sorted(points)):
        above = index % 2 == 1  # neighbours' names stand on different sides of their points
        axes.annotate(
            title,
            (x, y),
            xytext=(0, 9 if above else -9),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
        )
    axes.set_xlim(0, max(xs) * 1.18)
    axes.set_ylim(0, max(ys) * 1.15)
    axes.grid(alpha=0.25)


def relative_speed(table: Sequence[Row]) -> Figure:
    """How many times as fast as MobileNet: measured in each runtime, in the paper, promised by the mult-adds."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    compared = [row for row in table if row.relative is not None]
    baseline = next(row for row in compared if row.record.case.model == BASELINE)
    record = baseline.record
    bars: list[tuple[str, str, dict[str, float]]] = []
    for (runtime, rows), colour in zip(_by_runtime(compared).items(), _MEASURED, strict=False):
        label = f"measured: {record.device.serial}, {runtime}, {MEANING_OF_TIME[record.device.clock]}"
        bars.append((label, colour, {row.title: 1 / row.relative for row in rows if row.relative}))
    paper = {row.title: 1 / row.paper_relative for row in compared if row.paper_relative}
    bars.append(("paper: BLU phone, Cortex-A7, Caffe2 (Table 6)", _PAPER, paper))
    promised = {row.title: 1 / line for row in compared if (line := promise(row, baseline)) is not None}
    bars.append(("promised by the mult-adds", _PROMISE, promised))

    titles = list(dict.fromkeys(row.title for row in compared))
    height = 0.8 / len(bars)
    figure, axes = plt.subplots(figsize=(8.6, 0.3 * len(bars) * len(titles) + 1.6), layout="constrained")
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
    return figure


def _save(figure: Figure, stem: Path) -> list[Path]:
    import matplotlib.pyplot as plt

    paths = [stem.with_suffix(f".{kind}") for kind in _FORMATS]
    for path in paths:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    plt.close(figure)
    return paths
