"""Is a case slower than it was? The figures of one case in two runs become a ratio, its interval and a verdict.

Pure functions. Where a figure is exact (a clock or an emulator that counts instructions), the figure itself decides.
Elsewhere a statistical test and a factor must both say so, as in airspeed velocity (`asv continuous`: Mann-Whitney, and
`--factor`). The unit of the test is the round: passes of one process share its memory, its core and what else ran
beside it, so that ten of them are not ten observations.

What else runs on a machine only ever adds time, and often to a process from its first pass to its last. So a round
counts as its fastest pass (Chen and Revels 2016, Robust benchmarking in noisy environments, arXiv:1608.04295), and
rounds that were disturbed throughout do not count; where too few are left, nothing is told.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.statistics import CONFIDENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What became of a case. "same": no difference that counts could have been missed; "cant_tell": one could.
#: "failed": not measured well, or its output found wrong, in one run or both; "missing": not in one of the runs.
Verdict = Literal["faster", "slower", "same", "cant_tell", "failed", "missing"]

#: How people read them.
WORDS: dict[Verdict, str] = {
    "faster": "faster",
    "slower": "SLOWER",
    "same": "no difference",
    "cant_tell": "can't tell",
    "failed": "FAILED",
    "missing": "missing",
}

#: A choice, by what was measured (see `by_rounds`): two runs of the same thing are closer, as a rule.
FACTOR = 1.06

#: A choice: times on a clock that counts instructions repeat to a few parts in ten thousand (README.md, "How to read
#: the numbers"), and arguments of another length move an emulator's counts by up to 0.1 % (device/emulator/README.md).
EXACT_FACTOR = 1.001

#: Choices: a single round, also one that is left of several, cannot be told from a disturbed one.
FEWEST_ROUNDS, FEWEST_UNDISTURBED = 3, 2

#: Choices, by what was measured (see `by_rounds`). A round was left undisturbed when its fastest pass was no stroke of
#: luck, as so large a part of its passes took at most NEAR times as long, and when it is not a slow one: its fastest
#: pass took at most ALIKE times as long as that of the fastest such round. All of them together must have so many
#: passes that are near.
NEAR = 1.05
NEAR_LEAST_SHARE = 0.2
FEWEST_NEAR = 20
ALIKE = 1.06

#: Of Mann and Whitney's test over the undisturbed rounds, two-sided. A choice: two rounds against three reach 0.2. It
#: keeps single rounds from deciding; that false alarms are rarer than that is the factor's doing.
P_VALUE = 0.2


@dataclass(frozen=True)
class Told:
    """What the figures of one case say. `ratio` is the new figure over the old one: above 1 is slower.

    `base` and `new` are in the unit that was given. `low` and `high` are the ratio's interval, `p_value` is Mann and
    Whitney's; None where there is none. `reason` says in words why the verdict is what it is.
    """

    verdict: Verdict
    base: float
    new: float
    ratio: float
    low: float | None
    high: float | None
    p_value: float | None
    reason: str


def by_figure(base: Sequence[float], new: Sequence[float], factor: float = EXACT_FACTOR) -> Told:
    """Of exact figures, one a pass, any unit, rounds one after the other: the ratio of the medians decides.

    Different are medians further apart than `factor`, where the middle halves of the passes do not overlap either: on
    one core two threads take turns as it happens, and first passes may take longer. Raises ValueError for no figures.
    """
    if not base or not new:
        raise ValueError("no figures to compare")
    import numpy as np

    (low_base, middle_base, high_base), (low_new, middle_new, high_new) = (
        np.quantile(np.asarray(values, dtype=float), (0.25, 0.5, 0.75)) for values in (base, new)
    )
    ratio = float(middle_new / middle_base)
    overlap = low_new <= high_base and low_base <= high_new
    verdict: Verdict
    if 1 / factor <= ratio <= factor:
        verdict, reason = "same", f"within {factor - 1:.2%}"
    elif overlap:
        spread = max(high_base / low_base, high_new / low_new) - 1
        verdict, reason = "cant_tell", f"passes of one run differ by {spread:.1%} themselves; make more (--passes)"
    else:
        verdict, reason = _direction(ratio), f"an exact figure, more than {factor - 1:.2%} off"
    return Told(verdict, float(middle_base), float(middle_new), ratio, None, None, None, reason)


def by_rounds(base: Sequence[Sequence[float]], new: Sequence[Sequence[float]], factor: float = FACTOR) -> Told:
    """Of times, any unit, a sequence of passes for each round: what the undisturbed rounds say.

    The ratio is that of the geometric means of their fastest passes. Faster or slower is a case whose ratio is `factor`
    at least, where Mann and Whitney's test over the rounds finds a difference (p at most 0.2) and the interval holds
    none of "no difference". The interval is that test's, too: the middle of all quotients of a round's time over one of
    the other run's (Hodges and Lehmann 1963), 95 % wide, or all of them where that takes more rounds than there are (90
    % for three rounds and three, 80 % for two and three).

    Measured on `host`, a virtual machine of two cores, beside compilers and loads that came and went: runs of five
    rounds of one thing, each compared with all others of its set. The sets are small and their runs not independent:
    they support "about 1 in 100", not less.

    - 19 runs of 100 passes, load average 2 to 6, by which among others the thresholds were chosen: a false alarm in 1
      of 342 comparisons of two networks; of cases made 10 % slower 83 % found, 15 % not told, 1 % missed. Against six
      runs of a network that really takes about 10 % longer (MobileNet with a block more): 61 found, 50 not told, 3
      missed.
    - 20 runs of 100 passes made afterwards, load average 6 to 9: no false alarm in 380; 50 % found, 50 % not told.
    - 32 runs of 10 passes, load average 1 to 4: 6 false alarms in 992 comparisons of three networks; 53 % found, 46 %
      not told.
    - Simulated, a sixth of the rounds disturbed and a speed that wanders by 1 %: no false alarm in 1500, 98 % found.

    What no test here can see is a machine that is slower throughout one of the runs, by another clock or a neighbour.

    Raises ValueError for no rounds, or for one without passes.
    """
    if not base or not new or not all(map(len, (*base, *new))):
        raise ValueError("a comparison needs a round of both at least, and passes in each")
    import numpy as np

    undisturbed = _undisturbed(base), _undisturbed(new)
    all_rounds = [np.array([min(of_round) for of_round in run], dtype=float) for run in (base, new)]
    shown = [left.fastest if len(left.fastest) else every for left, every in zip(undisturbed, all_rounds, strict=True)]
    then, now = (float(np.exp(np.log(times).mean())) for times in shown)
    why_not = _too_little("BASE", base, undisturbed[0]) or _too_little("NEW", new, undisturbed[1])
    if why_not:
        return Told("cant_tell", then, now, now / then, None, None, None, why_not)
    low, high, p_value = _ranks(*shown)
    counts = " and ".join(f"{len(times)} of {len(run)}" for times, run in zip(shown, (base, new), strict=True))
    seen = f"p = {p_value:.2g}, {counts} rounds undisturbed"
    verdict: Verdict
    if 1 / factor < now / then < factor:
        verdict, reason = "same", f"within {factor - 1:.0%}; {seen}"
    elif p_value > P_VALUE or low <= 1 <= high:
        verdict, reason = "cant_tell", f"rounds differ as much among themselves ({seen}); measure more (--rounds)"
    else:
        verdict, reason = _direction(now / then), seen
    return Told(verdict, then, now, now / then, low, high, p_value, reason)


@dataclass(frozen=True)
class _Undisturbed:
    """The fastest passes of a run's undisturbed rounds, and how many passes came near them."""

    fastest: NDArray[Any]
    near: int


def _undisturbed(run: Sequence[Sequence[float]]) -> _Undisturbed:
    import numpy as np

    times = [np.asarray(of_round, dtype=float) for of_round in run]
    fastest = np.array([ns.min() for ns in times])
    near = np.array([(ns <= ns.min() * NEAR).sum() for ns in times])
    steady = near >= NEAR_LEAST_SHARE * np.array([len(ns) for ns in times])
    if steady.any():
        steady &= fastest <= fastest[steady].min() * ALIKE
    return _Undisturbed(fastest[steady], int(near[steady].sum()))


def _too_little(name: str, run: Sequence[Sequence[float]], left: _Undisturbed) -> str | None:
    """Why a run says too little, and what to do; None where it does not."""
    if len(run) < FEWEST_ROUNDS:
        rounds = f"{len(run)} round{'' if len(run) == 1 else 's'}"
        return f"{name} has {rounds}, {FEWEST_ROUNDS} are needed, 5 are better (--rounds 5)"
    if len(left.fastest) < FEWEST_UNDISTURBED:
        return (
            f"other programs disturbed all but {len(left.fastest)} of {len(run)} rounds of {name}; let them end, or "
            "measure more (--rounds, --passes)"
        )
    if left.near < FEWEST_NEAR:
        return (
            f"only {left.near} passes of {name} came within {NEAR - 1:.0%} of the fastest of their round, "
            f"{FEWEST_NEAR} must; make more (--passes 100), or let other programs end"
        )
    return None


def _ranks(base: NDArray[Any], new: NDArray[Any]) -> tuple[float, float, float]:
    """Mann and Whitney's test of two samples: its interval of the ratio, and its p value."""
    import numpy as np
    from scipy.stats import mannwhitneyu

    quotients = np.sort(np.divide.outer(new, base).ravel())

    def is_rejected(dropped: int) -> bool:
        """Whether the test still finds a difference with so many quotients on the wrong side of 1."""
        between = math.sqrt(quotients[dropped - 1] * quotients[dropped])
        return bool(mannwhitneyu(base * between, new).pvalue <= 1 - CONFIDENCE)

    most = (len(quotients) - 1) // 2
    dropped = bisect_left(range(1, most + 1), x=True, key=lambda number: not is_rejected(number))
    p_value = mannwhitneyu(base, new).pvalue
    return float(quotients[dropped]), float(quotients[-1 - dropped]), float(p_value)


def _direction(ratio: float) -> Verdict:
    return "slower" if ratio > 1 else "faster"
