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
from harness.record import units

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

#: A choice: where times hardly differ at all, as on a clock that counts instructions, a score above 3.5 says nothing.
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

    `median_ns` is what a case is compared by, and shown with (see `typical_ns`); `interval_ns` is its interval: over
    the rounds, and of a single round over its passes; None where there are too few of them. `mean_ns` is the paper's
    figure (section 5.3: "average of ten inference passes"). `mad_ns` is the passes' median absolute deviation from
    their median, unscaled, which one slow pass does not move. `cv` is the coefficient of variation (sample standard
    deviation over mean), None for one sample. `outliers` are the indices of passes that are marked; they count like all
    others.
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


def summarise(*rounds: Sequence[Pass]) -> Summary:
    """Of a case in one round or more. Raises ValueError for none, or one without samples: nothing can be said then."""
    if not rounds or not all(rounds):
        raise ValueError("no samples to summarise")
    import numpy as np
    from scipy.stats import median_abs_deviation

    ns = np.concatenate([_times(samples) for samples in rounds])
    return Summary(
        count=len(ns),
        mean_ns=float(ns.mean()),
        median_ns=typical_ns(rounds),
        mad_ns=float(median_abs_deviation(ns)),
        min_ns=int(ns.min()),
        max_ns=int(ns.max()),
        cv=coefficient_of_variation(ns),
        interval_ns=median_interval(ns) if len(rounds) == 1 else _mean_interval(_log_medians(rounds)),
        outliers=outliers(ns),
    )


def typical_ns(rounds: Sequence[Sequence[Pass]]) -> float:
    """The median of the passes; of several rounds the geometric mean of their medians.

    So the times of two cases that were measured in the same rounds have the ratio that `ratio` gives.
    """
    import numpy as np
    from scipy.stats import gmean

    medians = [float(np.median(_times(samples))) for samples in rounds]
    return medians[0] if len(medians) == 1 else float(gmean(medians)) if all(medians) else 0.0


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
    return _bootstrap((ordered,), np.median) if len(ordered) >= FEWEST_FOR_BOOTSTRAP else None


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
    """A case's time over a baseline's, as both are shown (`typical_ns`): whoever divides the one by the other gets it.

    In the same rounds that is the geometric mean of the ratios of their medians in each. A slow drift hits both alike
    in a round, but for the way from one to the other: that cancels where every other round has the reverse order, and
    is left in the ratio where the order is always the same. Where one lacks rounds that the other has, nothing cancels,
    and the interval is that of two unpaired samples (Welch 1947).

    The interval is the mean log ratio's: a bootstrap over rounds from six on. For three to five it is Student's t, as a
    bootstrap stays between its samples, which hold the mean between them in 75, 88 and 94 % of cases at most. Simulated
    with normal noise of 1 % from pass to pass and from round to round, 95, 96 and 94 % of intervals of 3, 5 and 10
    rounds held the true ratio; with a drift of 30 % over all rounds, too, 99 to 100 % in reversing order, 14 to 23 % in
    the same order always, and none where all rounds of the one came before those of the other.

    Raises ValueError where there is no round with samples of both, or a time is 0.
    """
    case, base = ({one: of[one] for one in sorted(of) if of[one]} for of in (case_rounds, baseline_rounds))
    if not case.keys() & base.keys():
        raise ValueError("no round has samples of both cases")
    case_ns, base_ns = typical_ns(list(case.values())), typical_ns(list(base.values()))
    if not case_ns or not base_ns:
        raise ValueError("a time of 0 has no ratio")
    logs = _log_medians(list(case.values())), _log_medians(list(base.values()))
    interval = _mean_interval(logs[0] - logs[1]) if case.keys() == base.keys() else _unpaired_interval(*logs)
    value, rounds = case_ns / base_ns, len(case.keys() & base.keys())
    if interval is None:
        return Ratio(value, None, None, rounds)
    return Ratio(value, min(interval[0], value), max(interval[1], value), rounds)  # it may be a rounding away


def ratio_of_turns(case_ns: ArrayLike, baseline_ns: ArrayLike) -> Ratio:
    """The ratio of the medians of two that took turns, pass by pass; the interval is a bootstrap over the turns.

    No mean, as `ratio` has of rounds: a turn is one pass of each, and some of the many are disturbed.
    """
    import numpy as np

    def of_medians(case: NDArray[Any], base: NDArray[Any], axis: int = -1) -> Any:
        return np.median(case, axis=axis) / np.median(base, axis=axis)

    turns = np.asarray(case_ns, dtype=float), np.asarray(baseline_ns, dtype=float)
    enough = len(turns[0]) >= FEWEST_FOR_BOOTSTRAP
    low, high = _bootstrap(turns, of_medians) if enough else (None, None)
    return Ratio(float(of_medians(*turns)), low, high, len(turns[0]))


def _log_medians(rounds: Sequence[Sequence[Pass]]) -> NDArray[Any]:
    import numpy as np

    return np.log([np.median(_times(samples)) for samples in rounds])


def _mean_interval(logs: NDArray[Any]) -> tuple[float, float] | None:
    """Of what these are the logarithms of, the geometric mean's interval; None for fewer than three, or a 0."""
    import numpy as np
    from scipy.stats import sem, t

    count = len(logs)
    if count < FEWEST_ROUNDS_FOR_INTERVAL or not np.isfinite(logs).all():
        return None
    if count < FEWEST_FOR_BOOTSTRAP:
        half = t.ppf((1 + CONFIDENCE) / 2, count - 1) * sem(logs)
        low, high = logs.mean() - half, logs.mean() + half
    else:
        low, high = _bootstrap((logs,), np.mean)
    return math.exp(low), math.exp(high)


def _unpaired_interval(case: NDArray[Any], base: NDArray[Any]) -> tuple[float, float] | None:
    """The same of the ratio of two that are not of the same rounds."""
    from scipy.stats import t

    counts = len(case), len(base)
    if min(counts) < FEWEST_ROUNDS_FOR_INTERVAL:
        return None
    middle = case.mean() - base.mean()
    variances = [logs.var(ddof=1) / count for logs, count in zip((case, base), counts, strict=True)]
    if not (whole := sum(variances)):
        return math.exp(middle), math.exp(middle)
    freedom = whole**2 / sum(each**2 / (count - 1) for each, count in zip(variances, counts, strict=True))
    half = t.ppf((1 + CONFIDENCE) / 2, freedom) * math.sqrt(whole)
    return math.exp(middle - half), math.exp(middle + half)


def _times(samples: Sequence[Pass]) -> NDArray[Any]:
    import numpy as np

    return np.array([sample.ns for sample in samples], dtype=np.int64)


def _bootstrap(samples: tuple[NDArray[Any], ...], statistic: Callable[..., Any]) -> tuple[float, float]:
    """The expanded percentile interval of Hesterberg 2015, What Teachers Should Know About the Bootstrap.

    A percentile interval of n values is too narrow, as if a normal distribution stood for Student's t, and n for n - 1.
    So its tails are made smaller: Phi(-sqrt(n / (n - 1)) * t), with n - 1 degrees of freedom.
    """
    import numpy as np
    from scipy.stats import bootstrap, norm, t

    n = len(samples[0])
    tail = norm.cdf(-math.sqrt(n / (n - 1)) * t.ppf((1 + CONFIDENCE) / 2, n - 1))
    low, high = bootstrap(
        samples,
        statistic,
        paired=len(samples) > 1,
        batch=_BATCH,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(low), float(high)


def shown_ratio(ratio: Ratio | None, *, is_base: bool = False) -> str:
    """The ratio with its interval, where it has one; what is divided by itself needs none."""
    if ratio is None:
        return units.NOTHING
    return units.ratio(ratio.value) if is_base else units.with_interval(units.ratio, ratio.value, ratio.low, ratio.high)


def shown_median(summary: Summary) -> str:
    """In ms, with its interval where that is wider than the digits that are shown: 5.312 [5.301, 5.330]."""
    interval_ns = summary.interval_ns or (None, None)
    alone = units.milliseconds(summary.median_ns)
    if {alone} == {units.milliseconds(end) for end in interval_ns if end is not None}:
        return alone
    return units.with_interval(units.milliseconds, summary.median_ns, *interval_ns)
