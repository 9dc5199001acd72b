"""Is a case slower than it was? The figures of one case in two runs become a ratio, its interval and a verdict.

Pure functions. Where a figure is exact (a clock or an emulator that counts instructions), the figure itself decides.
Elsewhere a statistical test and a factor must both say so, as in airspeed velocity (`asv continuous`: Mann-Whitney, and
`--factor`). The unit of the test is the round: passes of one process share its memory, its core and what else ran
beside it, so that ten of them are not ten observations.

What else runs on a machine only ever adds time, and often to a process from its first pass to its last. So a round
counts as its fastest pass, and a run's time is the fastest pass of all its rounds (Chen and Revels 2016, Robust
benchmarking in noisy environments, arXiv:1608.04295), which is believed where enough other passes came near it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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

#: A choice, by what was measured (see `by_rounds`): the fastest passes of two runs of the same thing are closer.
FACTOR = 1.06

#: A choice: times on a clock that counts instructions repeat to a few parts in ten thousand (README.md, "How to read
#: the numbers"), and arguments of another length move an emulator's counts by up to 0.1 % (device/emulator/README.md).
EXACT_FACTOR = 1.001

#: A choice: two rounds are told apart from two by chance once in six times.
FEWEST_ROUNDS = 3

#: Of Mann and Whitney's test over all rounds, two-sided.
P_VALUE = 0.05

#: Of Rosenbaum's test, one-sided, which looks at the fastest rounds alone. A choice: of five rounds against five, two
#: of the one must be faster than all of the other (p = 0.22), as three of five may have been disturbed. It guards
#: against a single lucky round; what keeps false alarms rare is the factor.
FASTEST_P_VALUE = 0.25

#: Choices, by what was measured (see `by_rounds`): a run's fastest pass is believed when so many passes, itself among
#: them, took at most so many times as long. On a machine that is too busy they do not, and then nothing is told.
SETTLED_PASSES = 20
SETTLED_WITHIN = 1.05


@dataclass(frozen=True)
class Told:
    """What the figures of one case say. `ratio` is the new figure over the old one: above 1 is slower.

    `base` and `new` are in the unit that was given. `low` and `high` are the ratio's interval, `p_value` is Mann and
    Whitney's over all rounds; None where there is none. `reason` says in words why the verdict is what it is.
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
    """Of times, any unit, a sequence of passes for each round: what the fastest passes of the rounds say.

    Faster or slower is a case whose ratio of fastest passes is `factor` at least, where a test over the rounds says so,
    too: Mann and Whitney's over all of them or, as disturbed rounds blur that one, Rosenbaum's over the fastest (1954,
    Tables for a nonparametric test of location, Ann. Math. Statist. 25): so many of one run are faster than all of the
    other.

    The interval is the range of the quotients of all undisturbed rounds, those within 5 % of their run's fastest. It
    holds the true ratio with a confidence of 1 - 2 / binom(a + b, a) for a and b of them: 99 % for five and five, 97 %
    for four and four, 90 % for three and three.

    MEASURED

    Raises ValueError for no rounds, or for one without passes.
    """
    if not base or not new or not all(map(len, (*base, *new))):
        raise ValueError("a comparison needs a round of both at least, and passes in each")
    rounds = sorted(map(min, base)), sorted(map(min, new))
    fastest_base, fastest_new = rounds[0][0], rounds[1][0]
    ratio = fastest_new / fastest_base
    low, high = _interval(*rounds)
    p_value = _mann_whitney(*rounds)
    verdict, reason = _verdict(base, new, rounds, ratio, p_value, factor)
    return Told(verdict, fastest_base, fastest_new, ratio, low, high, p_value, reason)


def _verdict(
    base: Sequence[Sequence[float]],
    new: Sequence[Sequence[float]],
    rounds: tuple[Sequence[float], Sequence[float]],
    ratio: float,
    p_value: float,
    factor: float,
) -> tuple[Verdict, str]:
    fewest = min(map(len, rounds))
    if fewest < FEWEST_ROUNDS:
        return (
            "cant_tell",
            f"{_counted(fewest, 'round')} of one run; measure at least {FEWEST_ROUNDS}, better 5 (--rounds 5)",
        )
    for name, run in (("BASE", base), ("NEW", new)):
        near, passes = _settled(run)
        if near < SETTLED_PASSES:
            return "cant_tell", (
                f"only {near} of {passes} passes of {name} came within {SETTLED_WITHIN - 1:.0%} of its fastest, "
                f"{SETTLED_PASSES} must; make more (--passes), or let other programs end"
            )
    if 1 / factor < ratio < factor:
        return "same", f"less than {factor - 1:.0%}"
    slow, fast = (rounds[1], rounds[0]) if ratio > 1 else rounds
    chance = _rosenbaum(slow, fast)
    if p_value > P_VALUE and chance > FASTEST_P_VALUE:
        return "cant_tell", f"the fastest rounds of both overlap (p = {chance:.2f}); measure more of them (--rounds)"
    return _direction(ratio), f"p = {p_value:.2g} over all rounds, {chance:.2g} over the fastest"


def _direction(ratio: float) -> Verdict:
    return "slower" if ratio > 1 else "faster"


def _interval(base: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Of sorted fastest passes of the rounds."""
    slowest_base, slowest_new = (max(ns for ns in run if ns <= run[0] * SETTLED_WITHIN) for run in (base, new))
    return new[0] / slowest_base, slowest_new / base[0]


def _settled(run: Sequence[Sequence[float]]) -> tuple[int, int]:
    """How many passes took hardly longer than the fastest of all rounds, and how many there are."""
    passes = [ns for of_round in run for ns in of_round]
    limit = min(passes) * SETTLED_WITHIN
    return sum(ns <= limit for ns in passes), len(passes)


def _mann_whitney(base: Sequence[float], new: Sequence[float]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(base, new, alternative="two-sided").pvalue)


def _rosenbaum(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How probable it is that by chance at least so many of `fast` are below all of `slow`, if they do not differ."""
    below = sum(ns < min(slow) for ns in fast)
    return math.comb(len(fast), below) / math.comb(len(fast) + len(slow), below)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
