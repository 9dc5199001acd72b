"""Channel dependency graphs as pictures, in the manner of figures 2 to 6 of the clcNet paper.

Input channels are the top row, output channels the bottom row, arrows point from an output to what it depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.channels.clc import kernels, satisfies_rule
from models.channels.graph import (
    ChannelError,
    ChannelGraph,
    block,
    depthwise,
    grouped,
    interlaced_grouped,
    pointwise,
    regular,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Channels in a row, before their arrows cannot be told apart.
MOST_CHANNELS = 24

_FORMATS = ("png", "svg")
_GROUPS = ("#1f77b4", "#2ca089", "#7b5ea7", "#b05d8f", "#7a7a30", "#5b7f95", "#46539e", "#4c6b3c")
_SEEN = "#d9822b"
_REST = "#8a8a8a"
_ROW_INCHES, _CHANNEL_INCHES = 1.05, 0.36
_ABOVE, _BELOW = 0.8, 0.3  # rows, for the title and the last row's circles
_TITLE = 8  # channels, for the title
_LEFT, _RIGHT = 2.4, 0.6  # channels, for the names of the kernels and the last circle


@dataclass(frozen=True)
class Panel:
    """A block to draw: its kernels from the input on, each with a name, and the output whose field is shown."""

    title: str
    kernels: tuple[tuple[str, ChannelGraph], ...]
    shown_output: int = 0

    @property
    def graph(self) -> ChannelGraph:
        """The graph of the whole block."""
        return block([graph for _, graph in self.kernels])

    @property
    def rows(self) -> list[int]:
        """The number of channels in each row, from the input to the output."""
        return [self.graph.inputs, *(graph.outputs for _, graph in self.kernels)]

    @property
    def width(self) -> int:
        """The panel's width in channels: that of its widest row, and of its title."""
        return max(*self.rows, _TITLE)

    @property
    def seen(self) -> list[frozenset[int]]:
        """The channels of each row that the shown output depends on; of the last row, itself."""
        seen = [frozenset({self.shown_output})]
        for _, graph in reversed(self.kernels):
            seen.append(frozenset[int]().union(*(graph.fields[output] for output in seen[-1])))
        return seen[::-1]


def paper_figures() -> dict[str, list[Panel]]:
    """The panels of the paper's figures 2 to 6 by file name, with numbers of channels chosen to be readable."""
    one, three, g = "1x1", "3x3", "g = {}".format
    depthwise_separable = (("depthwise\n3x3", depthwise(8)), ("pointwise\n1x1", pointwise(8, 8)))
    return {
        "figure-2": [
            Panel("(a) regular", (("regular", regular(6, 6)),)),
            Panel("(b) grouped, g = 2", (("grouped", grouped(6, 6, 2)),)),
            Panel("(c) depthwise", (("depthwise", depthwise(6)),)),
        ],
        "figure-3": [
            Panel("(a) ResNet bottleneck", ((one, pointwise(8, 4)), (three, regular(4, 4)), (one, pointwise(4, 8)))),
            Panel(
                "(b) ResNeXt block",
                ((one, pointwise(8, 4)), (f"{three}\n{g(2)}", grouped(4, 4, 2)), (one, pointwise(4, 8))),
            ),
            Panel("(c) depthwise separable", depthwise_separable),
        ],
        "figure-4": [
            Panel("depthwise separable", depthwise_separable),
            Panel(
                "both replaced by grouped convolutions",
                ((f"GC 3x3\n{g(4)}", grouped(8, 8, 4)), (f"GC 1x1\n{g(2)}", grouped(8, 8, 2))),
            ),
        ],
        "figure-5": [
            Panel("(a) grouped, g = 2", (("GC", grouped(6, 6, 2)),)),
            Panel("(b) interlaced grouped, g = 2", (("IGC", interlaced_grouped(6, 6, 2)),)),
        ],
        "figure-6": [clc_panel(8, 8, 8, 4, 2)],
    }


def clc_panel(c_in: int, c_mid: int, c_out: int, g1: int, g2: int, *, interlaced: bool = True) -> Panel:
    """A CLC block (figure 6), or what is left of it without `interlaced`.

    Raises ChannelError for group parameters that do not divide the channels.
    """
    first, second = kernels(c_in, c_mid, c_out, g1, g2, interlaced=interlaced)
    rule = f"$g_1 g_2$ = {g1 * g2} {'≤' if satisfies_rule(c_mid, g1, g2) else '>'} L = {c_mid}"
    title = f"CLC block {c_in}-{c_mid}-{c_out}, {rule}" if interlaced else "without interlacing"
    names = f"{'IGC' if interlaced else 'GC'}\n$g_1$ = {g1}", f"GC\n$g_2$ = {g2}"
    return Panel(title, ((names[0], first), (names[1], second)))


def write(figures: Mapping[str, Sequence[Panel]], folder: Path) -> list[Path]:
    """Writes each figure as PNG and SVG and returns the files.

    Raises ChannelError, before anything is written, where a row has more than MOST_CHANNELS.
    """
    import matplotlib as mpl

    for name, panels in figures.items():
        widest = max(max(panel.rows) for panel in panels)
        if widest > MOST_CHANNELS:
            raise ChannelError(f"{name} is not drawn: a row of {widest} channels is more than {MOST_CHANNELS}")
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "tenpass", "font.size": 9}):  # the same graphs give the same bytes
        return [path for name, panels in figures.items() for path in _save(draw(panels), folder / name)]


def draw(panels: Sequence[Panel]) -> Figure:
    """The panels side by side, at one scale."""
    from matplotlib.figure import Figure

    widths = [(panel.width + _LEFT + _RIGHT) * _CHANNEL_INCHES for panel in panels]
    deepest = max(len(panel.kernels) for panel in panels)
    height = (deepest + _ABOVE + _BELOW) * _ROW_INCHES
    figure = Figure(figsize=(sum(widths), height), dpi=110)
    for index, panel in enumerate(panels):
        axes = figure.add_axes((sum(widths[:index]) / sum(widths), 0, widths[index] / sum(widths), 1))
        axes.set_xlim(-0.5 - _LEFT, panel.width - 0.5 + _RIGHT)
        axes.set_ylim(len(panel.kernels) - deepest - _BELOW, len(panel.kernels) + _ABOVE)
        axes.axis("off")
        _draw_panel(axes, panel)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    """One unit of x is a channel, one of y a kernel; the output row is at 0."""
    depth, seen = len(panel.kernels), panel.seen
    margin = (panel.width - max(panel.rows)) / 2 - 0.8  # where names end

    def place(row: int, channel: int) -> tuple[float, float]:
        return channel + (panel.width - panel.rows[row]) / 2, float(depth - row)

    borders = [[_REST] * panel.rows[0]]  # a channel wears the colour of the group that made it
    for row, (name, graph) in enumerate(panel.kernels):
        colours = _colours(graph, used=sum(len(set(colours)) for colours in borders[1:]))
        for output, field in enumerate(graph.fields):
            ends = [place(row, channel) for channel in sorted(field)]
            shown = output in seen[row + 1]
            _arrows(axes, place(row + 1, output), ends, _SEEN if shown else colours[output], shown)
        axes.text(margin, depth - row - 0.5, name, ha="right", va="center")
        borders.append(colours)
    for row, count in enumerate(panel.rows):
        for channel in range(count):
            _node(axes, place(row, channel), channel, borders[row][channel], channel in seen[row])
    axes.text(margin, depth, "input", ha="right", va="center", color=_REST)
    axes.text(margin, 0, "output", ha="right", va="center", color=_REST)
    axes.text((panel.width - 1) / 2, depth + 0.35, f"{panel.title}\n{_verdict(panel)}", ha="center", linespacing=1.4)


def _verdict(panel: Panel) -> str:
    graph = panel.graph
    size = len(graph.receptive_field(panel.shown_output))
    holds = "yes" if graph.has_full_receptive_field else "no"
    return f"FCRF: {holds}; output {panel.shown_output} sees {size} of {graph.inputs} inputs"


def _colours(graph: ChannelGraph, used: int) -> list[str]:
    """A colour for each output, by its group; the first ones are `used` by the kernels above."""
    found = {output: index for index, group in enumerate(graph.groups()) for output in group}
    return [_GROUPS[(used + found[output]) % len(_GROUPS)] for output in range(graph.outputs)]


def _arrows(
    axes: Axes, begin: tuple[float, float], ends: Iterable[tuple[float, float]], colour: str, shown: bool
) -> None:
    style = {
        "arrowstyle": "-|>,head_width=0.18,head_length=0.36",
        "shrinkA": 8,
        "shrinkB": 8,
        "color": colour,
        "linewidth": 1.7 if shown else 0.8,
        "alpha": 1 if shown else 0.6,
    }
    for end in ends:
        axes.annotate("", end, begin, arrowprops=style, zorder=2 if shown else 1)


def _node(axes: Axes, centre: tuple[float, float], channel: int, border: str, shown: bool) -> None:
    fill = _SEEN if shown else "white"
    axes.scatter(*centre, s=190, facecolor=fill, edgecolor=border, linewidth=1.8, zorder=3)
    axes.text(*centre, str(channel), ha="center", va="center_baseline", fontsize=8, zorder=4)


def _save(figure: Figure, stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in _FORMATS]
    for path in paths:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    return paths
