"""Derived from a record's samples whenever they are needed, never stored. scipy's and numpy's statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device.records import Pass


@dataclass(frozen=True)
class Summary:
    """Statistics over timed passes, in nanoseconds.

    `mean_ns` is the paper's figure (section 5.3: "average of ten inference passes"); `mad_ns` is the median absolute
    deviation from the median, unscaled, which one slow pass does not move.
    """

    count: int
    mean_ns: float
    median_ns: float
    mad_ns: float
    min_ns: int
    max_ns: int


def summarise(samples: Sequence[Pass]) -> Summary:
    """Raises ValueError for no samples at all: there is nothing to say then."""
    if not samples:
        raise ValueError("no samples to summarise")
    import numpy as np
    from scipy.stats import median_abs_deviation

    ns = np.array([sample.ns for sample in samples], dtype=np.int64)
    return Summary(
        count=len(ns),
        mean_ns=float(ns.mean()),
        median_ns=float(np.median(ns)),
        mad_ns=float(median_abs_deviation(ns)),
        min_ns=int(ns.min()),
        max_ns=int(ns.max()),
    )
