"""How far predictions are from what was measured: pure functions of pairs of figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

#: A prediction, and what was measured, in any two units.
Pair = tuple[float, float]


@dataclass(frozen=True)
class Errors:
    """Relative errors, as parts of 1: their mean and the largest, without their signs, and how many there are."""

    mean: float
    worst: float
    count: int


def relative(pair: Pair, scale: float = 1.0) -> float:
    """By which part the prediction, times `scale`, is larger than what was measured."""
    predicted, measured = pair
    return scale * predicted / measured - 1


def errors(pairs: Sequence[Pair], scale: float = 1.0) -> Errors:
    """Of predictions, each times `scale`. There is one pair at least."""
    found = [abs(relative(pair, scale)) for pair in pairs]
    return Errors(fmean(found), max(found), len(found))


def best_scale(pairs: Sequence[Pair]) -> float:
    """The factor for all predictions with which the mean of their errors (without signs) is smallest.

    The mean of |s p/m - 1| is that of p/m |s - m/p|: the median of m/p, each weighted with p/m.
    """
    wanted = sorted((measured / predicted, predicted / measured) for predicted, measured in pairs)
    half = sum(weight for _, weight in wanted) / 2
    passed = 0.0
    for scale, weight in wanted:
        passed += weight
        if passed >= half:
            return scale
    return wanted[-1][0]


def ratio_errors(pairs: Sequence[Pair]) -> Errors | None:
    """Of what is predicted for the ratio of each two networks' times; None of fewer than two.

    As a factor less 1, the same whichever of the two is on top: a ratio that is predicted as half of what was measured
    is off by 100 %, as is the double.
    """
    logs = [math.log(predicted / measured) for predicted, measured in pairs]
    found = [math.expm1(abs(one - other)) for one, other in combinations(logs, 2)]
    return Errors(fmean(found), max(found), len(found)) if found else None
