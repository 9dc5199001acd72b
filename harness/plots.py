"""Table 6 as pictures: latency against mult-adds, and speed relative to MobileNet beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.table import BASELINE, MEANING_OF_TIME, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEASURED = ("#1f77b4", "#2ca089", "#7b5ea7", "#5b7f95", "#b05d8f", "#7a7a30")
_PAPER = "#d9822b"
_PROMISE = "#8a8a8a"
_FORMATS = ("png", "svg")


def write(table: Sequence[Row], folder: Path) -> list[Path]:
    """Writes every plot that the rows can fill, as PNG and SVG; returns the files, none for rows without times."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "svg.hashsalt": "tenpass",  # the same rows give the same bytes
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.dpi": 110,
            "savefig.bbox": "tight",
        }
    )
    measured = [row for row in table if row.summary is not None]
    if not measured:
        return []
    figures = {"latency-vs-mult-adds": latency_vs_mult_adds(measured)}
    if any(row.relative is not None for row in measured):
        figures["relative-speed"] = relative_speed(measured)
    return [path for name, figure in figures.items() for path in _save(figure, folder / name)]


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
    promise = {row.title: speed for row in compared if (speed := _promise(row, baseline)) is not None}
    bars.append(("promised by the mult-adds", _PROMISE, promise))

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


def _promise(row: Row, baseline: Row) -> float | None:
    if row.record.artifact is None or baseline.record.artifact is None:
        return None
    return baseline.record.artifact.mult_adds / row.record.artifact.mult_adds


def _save(figure: Figure, stem: Path) -> list[Path]:
    import matplotlib.pyplot as plt

    paths = [stem.with_suffix(f".{kind}") for kind in _FORMATS]
    for path in paths:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    plt.close(figure)
    return paths
