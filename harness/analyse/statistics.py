"""Raw samples become figures here, whenever they are needed: nothing derived is stored. scipy's and numpy's statistics.

Times are in nanoseconds; what compares times is a part of one (0.02 is 2 %). A case is measured in rounds, each in a
process of its own, in turn with the other cases. The tests repeat, in the small, what is called simulated here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device.records import Pass
from harness.record.units import NOTHING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Of all intervals.
CONFIDENCE = 0.95

#: The smallest n with 1 - 2 * 0.5**n >= 0.95: so often n samples hold their distribution's median between them (sign
#: test), and no bootstrap's interval is wider than its samples.
FEWEST_FOR_BOOTSTRAP = 6

#: A choice: Student's t makes an interval of two rounds 25 standard errors wide, which says nothing.
FEWEST_ROUNDS_FOR_INTERVAL = 3

#: Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers; NIST/SEMATECH e-Handbook, 1.3.5.17.
OUTLIER_SCORE = 3.5

#: A choice: where times repeat to a few parts in 100,000 a score above 3.5 is noise about nothing.
OUTLIER_LEAST = 0.01

#: A choice: of fewer, two that are close by chance make another an outlier (29 % of simulated normal samples of three).
FEWEST_FOR_OUTLIERS = 5

#: Choices, together for fewer than 1 % false alarms: the gap between two modes is more than so many times the range of
#: either, and at least this part of the median; a mode has at least so many samples, and at least this part of all.
MODE_GAP_TO_RANGE = 2
MODE_GAP_LEAST = 0.02
MODE_FEWEST = 3
MODE_LEAST_SHARE = 0.2
FEWEST_FOR_MODES = 10

#: Choices: how often a trend may be seen where there is none, and the least change that is worth a word.
TREND_P_VALUE = 0.01
TREND_LEAST = 0.02

#: The smallest n with 2 / n! < 0.01: the p value of Kendall's tau when all n are in order.
FEWEST_FOR_TREND = 6

_SEED = 0  # the same samples always give the same interval
_BATCH = 1000  # resamples at a time, so that many passes do not take much memory


@dataclass(frozen=True)
class Summary:
    """Statistics over timed passes, in nanoseconds.

    `mean_ns` is the paper's figure (section 5.3: "average of ten inference passes"); `mad_ns` is the median absolute
    deviation from the median, unscaled, which one slow pass does not move. `cv` is the coefficient of variation (sample
    standard deviation over mean), None for one sample. `interval_ns` is the median's (see `median_interval`).
    `outliers` are the indices of passes that are marked; they count like all others.
    """

    count: int
    mean_ns: float
    median_ns: float
    mad_ns: float
    min_ns: int
    max_ns: int
    cv: float | None
    interval_ns: tuple[float, float] | None
    outliers: tuple[int, ...]


@dataclass(frozen=True)
class Spread:
    """How far times differ from pass to pass and from round to round: standard deviations, as parts of the median.

    `within` is the median, over the rounds, of each round's MAD over its median, scaled (by 1.4826) to be a normal
    distribution's standard deviation: one slow pass does not move it. `between` is the rounds' medians' standard
    deviation over their mean; None for one round. Where processes do not differ, `between` is about 1.25 * within /
    sqrt(passes), for medians of passes that differ do, too: `between` above `within` is the processes' own.
    """

    within: float
    between: float | None


@dataclass(frozen=True)
class Ratio:
    """One case's time over another's, over so many rounds or turns of both, with a 95 % interval.

    `low` and `high` are None where there are too few rounds for an interval.
    """

    value: float
    low: float | None
    high: float | None
    rounds: int

    @property
    def is_loose(self) -> bool:
        """Whether its interval covers a factor of two: no figure to quote."""
        return self.low is not None and self.high is not None and self.high >= 2 * self.low


def summarise(samples: Sequence[Pass]) -> Summary:
    """Raises ValueError for no samples at all: there is nothing to say then."""
    if not samples:
        raise ValueError("no samples to summarise")
    import numpy as np
    from scipy.stats import median_abs_deviation

    ns = _times(samples)
    return Summary(
        count=len(ns),
        mean_ns=float(ns.mean()),
        median_ns=float(np.median(ns)),
        mad_ns=float(median_abs_deviation(ns)),
        min_ns=int(ns.min()),
        max_ns=int(ns.max()),
        cv=coefficient_of_variation(ns),
        interval_ns=median_interval(ns),
        outliers=outliers(ns),
    )


def coefficient_of_variation(values: ArrayLike) -> float | None:
    """The sample standard deviation over the mean; None for fewer than two."""
    from scipy.stats import variation

    return float(variation(values, ddof=1)) if len(values) > 1 else None  # type: ignore[arg-type]


def median_interval(values: ArrayLike) -> tuple[float, float] | None:
    """A 95 % bootstrap interval of the median of values of any unit, in any order; None for fewer than six.

    It held the median of 95 to 98 % of simulated normal and lognormal samples of 6 to 100.
    """
    import numpy as np

    ordered = np.sort(np.asarray(values, dtype=float))  # the order would decide over the resamples
    return _bootstrap(ordered, np.median) if len(ordered) >= FEWEST_FOR_BOOTSTRAP else None


def outliers(ns: ArrayLike) -> tuple[int, ...]:
    """Indices of times whose modified z-score is above 3.5 or below -3.5, and that are at least 1 % off the median.

    None of fewer than five is. Where the MAD is 0 the mean absolute deviation takes its place (IBM Cognos Analytics,
    "Modified z score"). They are to be marked, not dropped: in 13 % of simulated normal samples of ten there are some,
    with nothing wrong.
    """
    import numpy as np
    from scipy.stats import median_abs_deviation

    times = np.asarray(ns, dtype=float)
    if len(times) < FEWEST_FOR_OUTLIERS:
        return ()
    median = np.median(times)
    distances = np.abs(times - median)
    deviation = median_abs_deviation(times, scale="normal") or math.sqrt(math.pi / 2) * distances.mean()
    found = (distances > OUTLIER_SCORE * deviation) & (distances >= OUTLIER_LEAST * median)
    return tuple(np.flatnonzero(found).tolist())


def slower_mode(ns: ArrayLike) -> tuple[int, ...]:
    """Indices of the slower of two groups of times with a clear gap between them; () where there are no two.

    The gap is the largest between neighbours in size, wider than twice the range of either group, and at least 2 % of
    the median; each group has three times or more, and 20 % of all; fewer than ten are never split. False alarms in
    simulated samples of ten: 0.1 % of normal and lognormal (sigma 0.3) ones, 0.7 % of uniform ones; of 20 and more:
    below 0.01 %. The price: one time far off in either group hides the gap.
    """
    import numpy as np

    times = np.asarray(ns, dtype=float)
    if len(times) < FEWEST_FOR_MODES:
        return ()
    ordered = np.sort(times)
    gaps = np.diff(ordered)
    split = int(gaps.argmax()) + 1
    groups, gap = (ordered[:split], ordered[split:]), gaps.max()
    is_clear = gap > MODE_GAP_TO_RANGE * max(map(np.ptp, groups)) and gap >= MODE_GAP_LEAST * np.median(times)
    if not is_clear or min(map(len, groups)) < max(MODE_FEWEST, MODE_LEAST_SHARE * len(times)):
        return ()
    return tuple(np.flatnonzero(times >= ordered[split]).tolist())


def trend(ns: ArrayLike) -> float | None:
    """How much slower (above 0) or faster times became, in the order in which they were taken; None: they did not.

    The median of the last third over that of the first, less 1; where that is 2 % or more, and Kendall's tau is
    significant (p < 0.01). One in a hundred simulated steady samples of 8 to 50 has a trend, and fewer where noise is
    small.
    """
    import numpy as np
    from scipy.stats import kendalltau

    times = np.asarray(ns, dtype=float)
    if len(times) < FEWEST_FOR_TREND:
        return None
    third = len(times) // 3
    change = float(np.median(times[-third:]) / np.median(times[:third])) - 1
    if abs(change) < TREND_LEAST or kendalltau(np.arange(len(times)), times).pvalue >= TREND_P_VALUE:
        return None
    return change


def spread(rounds: Iterable[Sequence[Pass]]) -> Spread:
    """Pass to pass and round to round, told apart. Raises ValueError for no rounds, or for one without samples."""
    import numpy as np
    from scipy.stats import median_abs_deviation, variation

    times = [_times(samples) for samples in rounds]
    if not times or not all(map(len, times)):
        raise ValueError("a spread needs a round at least, and samples in each")
    medians = np.array([np.median(ns) for ns in times])
    deviations = np.array([median_abs_deviation(ns, scale="normal") for ns in times])
    return Spread(
        within=float(np.median(deviations / medians)),
        between=float(variation(medians, ddof=1)) if len(medians) > 1 else None,
    )


def ratio(case_rounds: Mapping[int, Sequence[Pass]], baseline_rounds: Mapping[int, Sequence[Pass]]) -> Ratio:
    """A case's time over a baseline's: the geometric mean of the ratios of their medians in each round that both have.

    A slow drift hits both alike in a round, but for the way from one to the other: that cancels where every other
    round has the reverse order, and is left in the ratio where the order is always the same.

    The interval is the mean log ratio's: a bootstrap over rounds from six on. For three to five it is Student's t, as a
    bootstrap stays between its samples, which hold the mean between them in 75, 88 and 94 % of cases at most. Simulated
    with normal noise of 1 % from pass to pass and from round to round, 95, 96 and 94 % of intervals of 3, 5 and 10
    rounds held the true ratio; with a drift of 30 % over all rounds, too, 99 to 100 % in reversing order, 14 to 23 % in
    the same order always, and none where all rounds of the one came before those of the other.

    Raises ValueError where there is no round with samples of both.
    """
    import numpy as np
    from scipy.stats import sem, t

    common = [one for one in sorted(case_rounds) if case_rounds[one] and baseline_rounds.get(one)]
    if not common:
        raise ValueError("no round has samples of both cases")
    ratios = [np.median(_times(case_rounds[one])) / np.median(_times(baseline_rounds[one])) for one in common]
    logs, count = np.log(ratios), len(ratios)
    value = math.exp(logs.mean())
    if count < FEWEST_ROUNDS_FOR_INTERVAL:
        return Ratio(value, None, None, count)
    if count < FEWEST_FOR_BOOTSTRAP:
        half = t.ppf((1 + CONFIDENCE) / 2, count - 1) * sem(logs)
        low, high = logs.mean() - half, logs.mean() + half
    else:
        low, high = _bootstrap(logs, np.mean)
    return Ratio(value, math.exp(low), math.exp(high), count)


def _times(samples: Sequence[Pass]) -> NDArray[Any]:
    import numpy as np

    return np.array([sample.ns for sample in samples], dtype=np.int64)


def _bootstrap(values: NDArray[Any], statistic: Callable[..., Any]) -> tuple[float, float]:
    """The expanded percentile interval of Hesterberg 2015, What Teachers Should Know About the Bootstrap.

    A percentile interval of n values is too narrow, as if a normal distribution stood for Student's t, and n for n - 1.
    So its tails are made smaller: Phi(-sqrt(n / (n - 1)) * t), with n - 1 degrees of freedom.
    """
    import numpy as np
    from scipy.stats import bootstrap, norm, t

    n = len(values)
    tail = norm.cdf(-math.sqrt(n / (n - 1)) * t.ppf((1 + CONFIDENCE) / 2, n - 1))
    low, high = bootstrap(
        (values,),
        statistic,
        batch=_BATCH,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(low), float(high)


def shown_ratio(ratio: Ratio | None, *, is_base: bool = False) -> str:
    """The ratio with its interval, where it has one: 0.706 [0.701, 0.711]; what is divided by itself needs none."""
    if ratio is None:
        return NOTHING
    if ratio.low is None or ratio.high is None or is_base:
        return f"{ratio.value:.3f}"
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
