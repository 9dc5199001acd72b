"""How all plots look, and how one comes to be: drawn in memory, in a style of its own, the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from harness.analyse import groups, ranking
from harness.analyse.rows import Row
from harness.record.record import Record
from harness.record.titles import how_measured
from harness.report import document
from harness.report.layout import one_line

Rows: TypeAlias = Sequence[Row]
Records: TypeAlias = Sequence[Record]

MEASURED = ("#1f77b4", "#2ca089", "#7b5ea7", "#5b7f95", "#b05d8f", "#7a7a30")
PAPER = "#d9822b"
PROMISE = "#8a8a8a"
RING = "#c0392b"

#: Of lines that cross each other.
LINES = ("#1f77b4", "#d9822b", "#2ca089", "#b05d8f", "#7b5ea7", "#8c564b", "#5b7f95", "#7a7a30")
MARKERS = "osD^vP"


@dataclass(frozen=True)
class Look:
    """Of a part of a bar."""

    colour: str
    hatch: str = ""


#: Of the parts of a stacked bar, in their order. In grey print neighbours differ in lightness, and those that are as
#: light as one another in their hatching.
PARTS = (
    Look("#2b5c8a"),
    Look("#f0a35e"),
    Look("#2c7f71", "////"),
    Look("#f2dd7e"),
    Look("#7b3f8c", "...."),
    Look("#a6cbe3", "xxxx"),
    Look("#8c3b3b", "----"),
    Look("#d9d9d9", "||||"),
)

_MARGIN_INCHES = 0.1


@dataclass(frozen=True)
class Plot:
    """A plot of a run: its files' name, its title, how it is read; `draw` gives None where there is nothing to see.

    `describe` says in words and numbers what is seen in it, for those who do not see it.
    """

    name: str
    title: str
    caption: str | Callable[[Rows], str]
    draw: Callable[[Rows, Records], Figure | None]
    describe: Callable[[Rows, Records], str]

    def made(self, rows: Rows, records: Records) -> document.Figure | None:
        """The plot of a run; None where there is nothing to see."""
        caption = self.caption if isinstance(self.caption, str) else self.caption(rows)
        return made(
            self.name, self.title, lambda: self.draw(rows, records), caption, lambda: self.describe(rows, records)
        )


def made(
    name: str,
    title: str,
    draw: Callable[[], Figure | None],
    caption: str = "",
    describe: Callable[[], str] = lambda: "",
) -> document.Figure | None:
    """What `draw` draws, as bytes; None where it draws nothing."""

    with style():
        figure = draw()
        if figure is None:
            return None
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out and measured once, not for each format again
        box = figure.get_tightbbox().padded(_MARGIN_INCHES)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", bbox_inches=box, metadata={"Software": None})
        figure.savefig(svg, format="svg", bbox_inches=box, metadata={"Date": None})
    return document.Figure(name, title, caption, describe(), svg.getvalue().decode(), png.getvalue())


def stacked(heights: Sequence[float], size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Panels below one another, as high as these numbers are to each other; the size is in inches."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(len(heights), height_ratios=heights, squeeze=False).flat)


def in_rows(count: int, width: float, height: float, most: int = 3) -> tuple[Figure, list[Axes]]:
    """So many panels of this size in inches, `most` side by side."""
    columns, lines = min(count, most), -(-count // most)
    figure = Figure(figsize=(width * columns, height * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in panels[count:]:
        unused.set_axis_off()
    return figure, panels[:count]


def label(text: str) -> str:
    """Text from records on one line, without what SVG cannot hold; legends leave out what begins with an underscore."""
    line = one_line(text)
    return f" {line}" if line.startswith("_") else line


@contextmanager
def style() -> Iterator[None]:
    """How all plots look, and nothing of it afterwards: others draw in the same process."""
    style = {
        "svg.hashsalt": "tenpass",  # the same rows give the same bytes
        "svg.fonttype": "none",  # text stays text: small, sharp, and of the page's colour
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.dpi": 110,
        "text.parse_math": False,  # a "$" in a name is a "$"
    }
    with rc_context(style):  # type: ignore[arg-type]
        yield


def comparable(rows: Rows) -> list[list[Row]]:
    """The rows that may be compared with one another, in one list each."""
    by_record = {id(row.record): row for row in rows}
    return [[by_record[id(record)] for record in group] for group in groups.comparable([row.record for row in rows])]


def by_ranking(rows: Rows, describe: Callable[[Row], str]) -> str:
    """What is said of each row, those that may be compared with one another together."""
    return " ".join(
        f"{one.title}, {how_measured(one.device)}: {'; '.join(map(describe, one.ranked))}."
        for one in ranking.rankings(rows)
    )
