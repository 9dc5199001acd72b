"""How figures are written: times, and what stands for what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
if TYPE_CHECKING:
    pass

#: What stands for a value that is not there, or not to be had.
NOTHING = "–"


def milliseconds(ns: float) -> str:
    """Four significant digits and more for long times: 5.312, 53.12, 531.2, 5312.4."""
    ms = ns / 1e6
    return f"{ms:.3f}" if ms < 10 else f"{ms:.2f}" if ms < 100 else f"{ms:.1f}"  # noqa: PLR2004
