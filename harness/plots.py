"""Table 6 as pictures: latency against mult-adds, and speed relative to MobileNet beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.table import MEANING_OF_TIME, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEASURED = "#1f77b4"
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
    """Two panels with axes of their own: a modelled time and a phone's are never put on one scale."""
    import matplotlib.pyplot as plt

    figure, (here, paper) = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    record = table[0].record
    _scatter(
        here,
        [
            (row.record.artifact.mult_adds / 1e6, row.summary.mean_ns / 1e6, row.title)
            for row in table
            if row.summary and row.record.artifact
        ],
        _MEASURED,
    )
    here.set_title(f"Measured: {record.device.serial}, {record.case.runtime}", loc="left")
    here.set_ylabel(f"mean of {record.case.passes} passes, ms\n{MEANING_OF_TIME[record.device.clock]}")
    paper_points = {
        row.title: (row.spec.paper.mult_adds / 1e6, row.paper_ms)
        for row in table
        if row.paper_ms is not None and row.spec and row.spec.paper and row.spec.paper.mult_adds
    }
    _scatter(paper, [(x, y, title) for title, (x, y) in paper_points.items()], _PAPER)
    paper.set_title("Paper, Table 6: BLU phone, Cortex-A7, Caffe2", loc="left")
    paper.set_ylabel("mean of 10 passes, ms\nhardware")
    for axes in (here, paper):
        axes.set_xlabel("mult-adds, millions")
    return figure


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
    """How many times as fast as MobileNet: measured, in the paper, and what the mult-adds promise."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    compared = [row for row in table if row.relative is not None]
    baseline = next(row for row in compared if row.relative == 1)
    figure, axes = plt.subplots(figsize=(8.6, 0.85 * len(compared) + 1.3), layout="constrained")
    height = 0.26
    for index, row in enumerate(compared):
        assert row.relative is not None  # noqa: S101 (chosen so above)
        bars = [
            (1 / row.relative, _MEASURED),
            (_paper_speed(row), _PAPER),
            (_promise(row, baseline), _PROMISE),
        ]
        for place, (speed, colour) in enumerate(bars):
            if speed is None:
                continue
            y = index + (place - 1) * height
            axes.barh(y, speed, height=height * 0.9, color=colour)
            axes.text(speed + 0.01, y, f"{speed:.2f}", va="center", fontsize=8.5)
    record = compared[0].record
    labels = [
        f"measured: {record.device.serial}, {record.case.runtime}, {MEANING_OF_TIME[record.device.clock]}",
        "paper: BLU phone, Cortex-A7, Caffe2 (Table 6)",
        "promised by the mult-adds",
    ]
    handles = [Rectangle((0, 0), 1, 1, color=colour) for colour in (_MEASURED, _PAPER, _PROMISE)]
    axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False, fontsize=8.5)
    axes.set_yticks(range(len(compared)), [row.title for row in compared])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("speed relative to MobileNet (higher is faster)")
    return figure


def _paper_speed(row: Row) -> float | None:
    return 1 / row.paper_relative if row.paper_relative else None


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
