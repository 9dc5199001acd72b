"""How large the files are, beside the paper's."""

from __future__ import annotations

from itertools import chain, cycle

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from harness.analyse import sizes
from harness.record import units
from harness.report.plots.style import PAPER, Plot, Records, Rows, in_rows, label

_ONNX, _OTHER_FILES = "#1f77b4", ("#7b5ea7", "#2ca089", "#d9822b")


def _draw(rows: Rows, __: Records) -> Figure | None:
    """Bars for each network and precision: its ONNX file, other runtimes' files, and a line where the paper's is."""

    found = sizes.file_sizes([row for row in rows if row.summary is not None])
    if not found:
        return None
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
    figure, [axes] = in_rows(1, 8.6, 0.32 * len(bars) + 1.5)
    for y, (_, megabytes, in_paper, colour) in enumerate(bars):
        axes.barh(y, megabytes, height=0.78, color=colour)
        if in_paper is not None:
            axes.plot([in_paper, in_paper], [y - 0.45, y + 0.45], color=PAPER, linewidth=3)
        end, text = (max(megabytes, in_paper or 0), y), units.size(1e6 * megabytes)
        axes.annotate(text, end, xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5)
    axes.set_yticks(range(len(bars)), [label(title) for title, *_ in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(max(megabytes, in_paper or 0) for _, megabytes, in_paper, _ in bars))
    axes.set_xlabel("megabytes (of 1,000,000 bytes)")
    handles: list[Rectangle | Line2D] = [Rectangle((0, 0), 1, 1, color=_ONNX)]
    labels = ["ONNX file, here"]
    for title, colour in colours.items():
        handles.append(Rectangle((0, 0), 1, 1, color=colour))
        labels.append(f"{title}, here")
    if any(in_paper is not None for _, _, in_paper, _ in bars):
        handles.append(Line2D([], [], color=PAPER, linewidth=3))
        labels.append("ONNX file in the paper (Table 6)")
    axes.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, frameon=False, fontsize=9)
    return figure


def _describe(rows: Rows, _: Records) -> str:
    told = []
    for size in sizes.file_sizes(rows):
        of = {"ONNX file": size.onnx_megabytes, **size.files_megabytes, "ONNX file in the paper": size.paper_megabytes}
        files = ", ".join(f"{what} {units.size(1e6 * it)}" for what, it in of.items() if it is not None)
        told.append(f"{size.title}: {files}")
    return f"{'; '.join(told)}."


def _caption(rows: Rows) -> str:
    has_papers = any(size.paper_megabytes is not None for size in sizes.file_sizes(rows))
    return "An orange line is the ONNX file of the paper, where it prints one." if has_papers else "The files' sizes."


SIZES = Plot("sizes", "Sizes", _caption, _draw, _describe)
