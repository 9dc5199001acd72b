"""Is a case slower than it was? The figures of one case in two runs become a ratio, its interval and a outcome.

Pure functions. Where a figure is exact (a clock or an emulator that counts instructions), the figure itself decides.
Elsewhere a statistical test and a factor must both say so, as in airspeed velocity (`asv continuous`: Mann-Whitney, and
`--factor`). The unit of the test is the round: passes of one process share its memory, its core and what else ran
beside it, so that ten of them are not ten observations.

What else runs on a machine only ever adds time (Chen and Revels 2016, Robust benchmarking in noisy environments,
arXiv:1608.04295): to some passes, to a process from its first pass to its last, or to all for seconds. So the quick
passes of a run decide, whichever rounds they are in. Not the quickest alone: now and then one is quicker than it can be
again.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from harness.analyse.statistics import CONFIDENCE
from harness.record.units import percent

#: What became of a case. "same": no difference that counts could have been missed; "cant_tell": one could.
#: "failed": not measured well, or its output found wrong, in one run or both; "missing": not in one of the runs.
Outcome = Literal["faster", "slower", "same", "cant_tell", "failed", "missing"]

#: How people read them.
WORDS: dict[Outcome, str] = {
    "faster": "faster",
    "slower": "SLOWER",
    "same": "no difference",
    "cant_tell": "can't tell",
    "failed": "FAILED",
    "missing": "missing",
}

#: A choice, by what was measured (see `by_rounds`): two runs of the same thing are closer, as a rule.
FACTOR = 1.055

#: A choice, by what was measured: one file under names and in folders of different lengths, on board:cortex-a7 beside
#: some twenty busy processes, gave medians that differ by 0.023 % (35 us a pass), 0.000 % (342 us) and 0.003 % (5 ms).
#: What may come on top is a timer tick where a pass ends just when one is due: less than 0.08 % of any pass (2,700
#: instructions each 4 ms). What takes 0.5 % more is far beyond. Whatever is said of how exact figures repeat is this.
EXACT_FACTOR = 1.002

#: A choice: of fewer a half says nothing, for Mann and Whitney's test of two against two never finds anything.
FEWEST_ROUNDS = 3

#: A choice, by what was measured (see `by_rounds`): of five rounds of ten passes about the sixth quickest pass.
QUICK_QUANTILE = 0.1

#: Of Mann and Whitney's test over the quicker rounds, two-sided. A choice: three against three reach it where at most
#: one pair is in the other order. It keeps single rounds from deciding; that false alarms are rarer is the factor's
#: doing.
P_VALUE = 0.2


@dataclass(frozen=True)
class Difference:
    """What the figures of one case say. `ratio` is the new figure over the old one: above 1 is slower.

    `base` and `new` are in the unit that was given. `low` and `high` are the ratio's interval, `p_value` is Mann and
    Whitney's; None where there is none. `reason` says in words why the outcome is what it is.
    """

    outcome: Outcome
    base: float
    new: float
    ratio: float
    low: float | None
    high: float | None
    p_value: float | None
    reason: str


def by_figure(
    base: Sequence[float], new: Sequence[float], factor: float = EXACT_FACTOR, *, takes_turns: bool = False
) -> Difference:
    """Of exact figures, one a pass, any unit, rounds one after the other: the ratio of the medians decides.

    Different are medians further apart than `factor`. With `takes_turns` (several threads on one core, as it happens)
    the middle halves of the passes must not overlap either; of one thread, passes that differ do so alike in each run.
    Raises ValueError for no figures.
    """
    if not base or not new:
        raise ValueError("no figures to compare")
    import numpy as np

    (low_base, middle_base, high_base), (low_new, middle_new, high_new) = (
        np.quantile(np.asarray(values, dtype=float), (0.25, 0.5, 0.75)) for values in (base, new)
    )
    ratio = float(middle_new / middle_base)
    overlap = low_new <= high_base and low_base <= high_new
    outcome: Outcome
    if 1 / factor <= ratio <= factor:
        outcome, reason = "same", f"within {percent(factor - 1)}"
    elif takes_turns and overlap:
        spread = percent(max(high_base / low_base, high_new / low_new) - 1)
        outcome, reason = "cant_tell", f"passes of one run differ by {spread} themselves; make more (--passes)"
    else:
        outcome, reason = _direction(ratio), f"an exact figure, more than {percent(factor - 1)} off"
    return Difference(outcome, float(middle_base), float(middle_new), ratio, None, None, None, reason)


def by_rounds(base: Sequence[Sequence[float]], new: Sequence[Sequence[float]], factor: float = FACTOR) -> Difference:
    """Of times, any unit, a sequence of passes for each round: what the quick passes say.

    The ratio is that of the QUICK_QUANTILE of all passes of each run. Faster or slower is a case whose ratio is
    `factor` at least, where Mann and Whitney's test finds a difference, and where even the quickest passes of the
    slower run's rounds are slower than that quantile of the other. The test is over the quicker half of the rounds,
    three at least, each as that quantile of its passes: the others tell of what else ran. The interval is the test's,
    too: the middle of all quotients of a round over one of the other run (Hodges and Lehmann 1963), 95 % wide, or all
    of them where that takes more rounds than there are (90 % for three and three), and the ratio.

    Measured on `host`, a virtual machine of two cores, beside compilers and test suites, a third of the runs each with
    nothing added, with a busy loop, and with loads that came and went: runs of five rounds of clcNet-tiny and
    MobileNet, as root (so that the runner goes before others), each compared with all others of its set. A false alarm
    is a comparison with either case slower; found are MobileNets made 10 % slower, by scaling and, in brackets, really
    (by a block and a depthwise convolution more). The sets are small and their comparisons not independent.

    - Sets by which quantile, test and factor were chosen. 100 passes, load average 2 to 4: 2 false alarms in 380, 98 %
      (98 %) found. 10 passes, load 2 to 3: 12 in 380, 93 % (88 %); 10 passes, load 4 to 7: 119 in 1056, 81 % (86 %),
      and with a second at least between rounds 92 in 1056, 84 % (87 %).
    - Made after that; by them it was mended how a network's own wait is told (preemption.py). 100 passes, load 2
      to 4: none in 930, 99.9 % (100 %). 10 passes, load 3 to 7: 120 in 4556, 92 % (94 %).
    - Made after all choices. 100 passes, load 1 to 4: none in 342, 93 % (91 %), the others taken for no difference. 10
      passes, load 5 to 8: 2 in 110, 94 % (93 %).

    So 100 passes keep false alarms below 1 in 100, and find 91 to 100 in 100 of what is 10 % slower; ten passes of
    milliseconds do not keep them so on a busy machine. What no test here can see is a machine that is slower throughout
    one of the runs, by another clock or a neighbour.

    Raises ValueError for no rounds, or for one without passes.
    """
    if not base or not new or not all(map(len, (*base, *new))):
        raise ValueError("a comparison needs a round of both at least, and passes in each")
    then, now = (_quick(list(chain(*run))) for run in (base, new))
    ratio = now / then
    few = [f"{name} has {_rounds(run)}" for name, run in (("BASE", base), ("NEW", new)) if len(run) < FEWEST_ROUNDS]
    if few:
        reason = f"{' and '.join(few)}, {FEWEST_ROUNDS} are needed, 5 are better (--rounds 5)"
        return Difference("cant_tell", then, now, ratio, None, None, None, reason)
    quicker_base, quicker_new = _quicker(base), _quicker(new)
    low, high, p_value = _ranks(*([_quick(one) for one in rounds] for rounds in (quicker_base, quicker_new)))
    slower, other = (quicker_new, then) if ratio > 1 else (quicker_base, now)
    low, high = min(low, ratio), max(high, ratio)
    within, test = percent(factor - 1), f"the test over the quicker rounds has p = {p_value:.3g}"
    outcome: Outcome
    if 1 / factor < ratio < factor:
        is_inside = 1 / factor < low and high < factor
        outcome = "same"
        reason = f"within {within}" if is_inside else f"within {within}, but its interval is not; {_MORE}"
    elif p_value > P_VALUE:
        outcome, reason = "cant_tell", f"rounds differ as much among themselves: {test}, above {P_VALUE:g}; {_MORE}"
    elif _mean([min(of_round) for of_round in slower]) <= other:
        which = "NEW" if ratio > 1 else "BASE"
        outcome, reason = "cant_tell", f"single passes of {which} are as quick as those of the other run; {_MORE}"
    else:
        outcome, reason = _direction(ratio), f"{within} or more apart; {test}, {P_VALUE:g} at most"
    return Difference(outcome, then, now, ratio, low, high, p_value, reason)


#: What helps where nothing can be told.
_MORE = "measure more (--passes 100, --rounds), or let other programs end"


def _quick(passes: Sequence[float]) -> float:
    import numpy as np

    return float(np.quantile(np.asarray(passes, dtype=float), QUICK_QUANTILE))


def _quicker(run: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """The rounds that count in the test."""
    return sorted(run, key=_quick)[: max(FEWEST_ROUNDS, math.ceil(len(run) / 2))]


def _mean(times: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, times)) / len(times))


def _rounds(run: Sequence[object]) -> str:
    return f"{len(run)} round{'' if len(run) == 1 else 's'}"


def _ranks(base: Sequence[float], new: Sequence[float]) -> tuple[float, float, float]:
    """Mann and Whitney's test of two samples: its interval of the ratio, and its p value."""
    import numpy as np
    from scipy.stats import mannwhitneyu

    quotients = np.sort(np.divide.outer(np.asarray(new), np.asarray(base)).ravel())

    def is_rejected(dropped: int) -> bool:
        """Whether the test still finds a difference with so many quotients on the wrong side of 1."""
        between = math.sqrt(quotients[dropped - 1] * quotients[dropped])
        return bool(mannwhitneyu(np.asarray(base) * between, new).pvalue <= 1 - CONFIDENCE)

    most = (len(quotients) - 1) // 2
    dropped = bisect_left(range(1, most + 1), x=True, key=lambda number: not is_rejected(number))
    p_value = mannwhitneyu(base, new).pvalue
    return float(quotients[dropped]), float(quotients[-1 - dropped]), float(p_value)


def _direction(ratio: float) -> Outcome:
    return "slower" if ratio > 1 else "faster"
