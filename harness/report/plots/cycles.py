"""What the cycles of a pass go to, of estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from device.records import LOSSES, Loss
from harness.analyse import counts
from harness.analyse.counts import CountedCase
from harness.record.titles import LOSS_TITLES, case_runtime_title, how_measured
from harness.record.units import millions, percent
from harness.report.plots.style import PARTS, Plot, Records, Rows, label, stacked

_ROOM_FOR_A_SHARE = 0.055  # of the panel's width: a part narrower than that has none for its share

_LOOKS = dict(zip(LOSSES, PARTS, strict=True))


def _draw(_: Rows, records: Records) -> Figure | None:
    """A panel for each chip, a bar for each network in each runtime."""
    panels = counts.of_estimates(records)
    if not panels:
        return None
    bars = [len(cases) for cases in panels]
    size = (9.6, 0.42 * sum(bars) + 1.0 * len(panels) + 1.0)
    figure, axes_of = stacked([count + 0.6 for count in bars], size)
    for axes, cases in zip(axes_of, panels, strict=True):
        _bars(axes, cases)
    handles = [_look(Rectangle((0, 0), 1, 1), loss) for loss in LOSSES]
    labels = [LOSS_TITLES[loss] for loss in LOSSES]
    figure.legend(handles, labels, loc="outside lower center", ncols=8, frameon=False, fontsize=9)
    return figure


def _look(part: Rectangle, loss: Loss) -> Rectangle:
    look = _LOOKS[loss]
    part.set(facecolor=look.colour, edgecolor="white", linewidth=0.5, hatch=look.hatch)
    return part


def _bars(axes: Axes, cases: Sequence[CountedCase]) -> None:
    wholes = [sum(case.cycles_by_loss.values()) / 1e6 for case in cases]
    widest = max(wholes)
    for y, (case, whole) in enumerate(zip(cases, wholes, strict=True)):
        left = 0.0
        for loss, cycles in case.cycles_by_loss.items():
            part = cycles / 1e6
            for patch in axes.barh(y, part, left=left, height=0.72):
                _look(patch, loss)
            if part > _ROOM_FOR_A_SHARE * widest:
                share = percent(part / whole, decimals=0)
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
                axes.text(left + part / 2, y, share, ha="center", va="center", fontsize=8, color="black", bbox=box)
            left += part
        axes.text(whole + 0.012 * widest, y, millions(whole), va="center", fontsize=8.5)
    device = cases[0].record.device
    axes.set_yticks(range(len(cases)), [label(_title(case)) for case in cases])
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.set_xlim(0, widest * 1.12)
    axes.set_title(label(f"{device.serial}, {how_measured(device)}"), loc="left", fontsize=10)
    axes.set_xlabel("Mcycles a timed pass")


def _title(case: CountedCase) -> str:
    return f"{case.title}, {case_runtime_title(case.record)}"


def _describe(_: Rows, records: Records) -> str:
    lines = []
    for cases in counts.of_estimates(records):
        device = cases[0].record.device
        told = [f"{_title(case)}: {_in_words(case.cycles_by_loss)}" for case in cases]
        lines.append(f"{device.serial}, {how_measured(device)}: {'; '.join(told)}.")
    return " ".join(lines)


def _in_words(cycles_by_loss: Mapping[Loss, float]) -> str:
    whole = sum(cycles_by_loss.values())
    shares = (f"{LOSS_TITLES[loss]} {percent(cycles / whole)}" for loss, cycles in cycles_by_loss.items() if cycles)
    return f"{millions(whole / 1e6)} Mcycles a pass, {', '.join(shares)}"


CYCLES = Plot(
    "cycles",
    "Where the cycles go",
    "What the cycles of a timed pass go to, as the model of the chip has it: instructions in the pipeline, and waiting "
    "for memory (DRAM), for L2, for room to store, for where a page is (TLB), after a branch foretold wrongly, for "
    "instructions, and for the kernel.",
    _draw,
    _describe,
)
