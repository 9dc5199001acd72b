"""Raw samples become figures here, whenever they are needed: nothing derived is stored. scipy's and numpy's statistics.

Times are in nanoseconds; what compares times is a part of one (0.02 is 2 %). A case is measured in rounds, a fresh
process each, in turn with the other cases: passes of one round have a process in common, rounds have not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device.records import Pass

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Of all intervals.
CONFIDENCE = 0.95

#: The smallest n whose samples can hold a median between them so often: 1 - 2 * 0.5**n >= 0.95 (the sign test's interval,
#: Conover, Practical Nonparametric Statistics, section 3.2). It bounds a bootstrap of a symmetric distribution's mean, too,
#: which never leaves the samples either.
FEWEST_FOR_BOOTSTRAP = 6

#: A choice: of two rounds an interval is 25 standard errors wide (Student's t), which says nothing.
FEWEST_ROUNDS_FOR_INTERVAL = 3

#: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, section 3.
OUTLIER_SCORE = 3.5

#: A choice: on a clock that repeats to 1 in 100,000 a score above 3.5 is noise about nothing.
OUTLIER_LEAST = 0.01

#: A choice: of fewer, two that are close by chance make all others outliers (of three normal ones, in 29 % of cases).
FEWEST_FOR_OUTLIERS = 5

#: Choices, for below 1 % false alarms in simulated normal, lognormal and uniform samples (`slower_mode`): a gap this many
#: times the range of either group, and this part of the median; groups of this many samples, and this part of all.
MODE_GAP_TO_RANGE = 2
MODE_GAP_LEAST = 0.02
MODE_FEWEST = 3
MODE_LEAST_SHARE = 0.2
FEWEST_FOR_MODES = 10

#: Choices: how often a trend is seen where there is none, and the least change worth a word.
TREND_P_VALUE = 0.01
TREND_LEAST = 0.02

#: Kendall's tau cannot be significant below it: the least p value of n samples is 2 / n!.
FEWEST_FOR_TREND = 6

_SEED = 0  # the same samples always give the same interval
_BATCH = 1000  # resamples at a time: bounds the memory for many passes


@dataclass(frozen=True)
class Summary:
    """Statistics over timed passes, in nanoseconds.

    `mean_ns` is the paper's figure (section 5.3: "average of ten inference passes"); `mad_ns` is the median absolute
    deviation from the median, unscaled, which one slow pass does not move. `cv` is the coefficient of variation (sample
    standard deviation over mean), None for one sample. `interval_ns` is a 95 % interval of the median, None for fewer
    than six samples. `outliers` are the indices of passes that are marked, and counted like all others.
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

    `within` is the median over the rounds of each round's MAD, scaled to a normal distribution's standard deviation
    (times 1.4826), over its median. `between` is the sample standard deviation of the rounds' medians over their mean;
    None for one round. Passes that differ move the medians, too: rounds that have nothing of their own show a `between`
    of about 1.25 * within / sqrt(passes). So `between` above `within` means that the processes themselves differ.
    """

    within: float
    between: float | None


@dataclass(frozen=True)
class Ratio:
    """One case's time over another's, with a 95 % interval; low and high are None where there are too few rounds."""

    value: float
    low: float | None
    high: float | None
    rounds: int


def summarise(samples: Sequence[Pass]) -> Summary:
    """Raises ValueError for no samples at all: there is nothing to say then."""
    if not samples:
        raise ValueError("no samples to summarise")
    import numpy as np
    from scipy.stats import median_abs_deviation, variation

    ns = _times(samples)
    return Summary(
        count=len(ns),
        mean_ns=float(ns.mean()),
        median_ns=float(np.median(ns)),
        mad_ns=float(median_abs_deviation(ns)),
        min_ns=int(ns.min()),
        max_ns=int(ns.max()),
        cv=float(variation(ns, ddof=1)) if len(ns) > 1 else None,
        interval_ns=median_interval(ns),
        outliers=outliers(ns),
    )


def median_interval(values: ArrayLike) -> tuple[float, float] | None:
    """A 95 % bootstrap interval of the median of values of any unit, in any order; None for fewer than six.

    It covers the median of 95 to 98 % of simulated normal and lognormal samples of 6 to 100; without the expansion (see
    `_bootstrap`) it was 87 to 95 %.
    """
    import numpy as np

    ordered = np.sort(np.asarray(values, dtype=float))  # so that the resamples do not depend on the order
    return _bootstrap(ordered, np.median) if len(ordered) >= FEWEST_FOR_BOOTSTRAP else None


def outliers(ns: ArrayLike) -> tuple[int, ...]:
    """Indices of times with a modified z-score above 3.5 that are also 1 % and more off the median.

    Iglewicz and Hoaglin 1993. Where the MAD is 0, that of more than half of the times, the mean absolute deviation takes
    its place (as in IBM Cognos Analytics, "Modified z score"). In 13 % of simulated normal samples of ten some
    are marked, 1.7 % of all: they are marked, never dropped. Of fewer than five times, none is.
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
    """Indices of the slower of two groups with a clear gap between them; () where there are no two.

    The gap is the largest between neighbours in size. It must be twice the range of either group and 2 % of the median, and
    either group must have three samples and 20 % of all: a rule of our own, with false alarms in 0.1 % of simulated normal
    and lognormal (sigma 0.3) samples of ten, 0.7 % of uniform ones, and none in a thousand from 20 samples on. It asks for
    much: a single pass far off in either group hides the gap.
    """
    import numpy as np

    times = np.asarray(ns, dtype=float)
    if len(times) < FEWEST_FOR_MODES:
        return ()
    ordered = np.sort(times)
    gaps = np.diff(ordered)
    split = int(gaps.argmax()) + 1
    faster, slower = ordered[:split], ordered[split:]
    gap, smaller = gaps[split - 1], min(len(faster), len(slower))
    is_clear = gap > MODE_GAP_TO_RANGE * max(np.ptp(faster), np.ptp(slower)) and gap >= MODE_GAP_LEAST * np.median(
        times
    )
    if not is_clear or smaller < max(MODE_FEWEST, MODE_LEAST_SHARE * len(times)):
        return ()
    return tuple(np.flatnonzero(times >= slower[0]).tolist())


def trend(ns: ArrayLike) -> float | None:
    """How much slower (above 0) or faster times became in the order they were taken: the median of their last third over
    that of their first, less 1.

    None where that is below 2 %, or Kendall's tau against the order is not significant (p < 0.01), as it is not in 99 % of
    simulated steady samples of 6 to 50; and for fewer than six.
    """
    import numpy as np
    from scipy.stats import kendalltau

    times = np.asarray(ns, dtype=float)
    if len(times) < FEWEST_FOR_TREND or not kendalltau(np.arange(len(times)), times).pvalue < TREND_P_VALUE:
        return None  # the p value of equal times is NaN
    third = len(times) // 3
    change = float(np.median(times[-third:]) / np.median(times[:third])) - 1
    return change if abs(change) >= TREND_LEAST else None


def spread(rounds: Iterable[Sequence[Pass]]) -> Spread:
    """Pass to pass and round to round, told apart. Raises ValueError for no rounds, or one without samples."""
    import numpy as np
    from scipy.stats import median_abs_deviation, variation

    times = [_times(samples) for samples in rounds]
    if not times or not all(map(len, times)):
        raise ValueError("a spread needs at least one round, and samples in each")
    medians = np.array([np.median(ns) for ns in times])
    deviations = np.array([median_abs_deviation(ns, scale="normal") for ns in times])
    return Spread(
        within=float(np.median(deviations / medians)),
        between=float(variation(medians, ddof=1)) if len(medians) > 1 else None,
    )


def ratio(case_rounds: Mapping[int, Sequence[Pass]], baseline_rounds: Mapping[int, Sequence[Pass]]) -> Ratio:
    """A case's time over a baseline's: the geometric mean, over the rounds that both have, of the ratios of their medians.

    Both were measured close in time in a round, so that a drift from round to round hits both alike. The interval is of the
    mean log ratio: a bootstrap over rounds from six on (see `_bootstrap`); Student's t for three to five, whose bootstrap
    never leaves their range, which holds the true mean in 75, 88 and 94 % of cases alone. Simulated with
    normal noise it covers the truth in 95, 95 and 94 % for 3, 5 and 10 rounds, also when both drift; with a slow
    mode that hits one round in ten, far less often (nobody saw it who has three rounds).

    Raises ValueError where they have no round in common, with samples in both.
    """
    import numpy as np
    from scipy.stats import ttest_1samp

    common = [one for one in sorted(case_rounds) if case_rounds[one] and baseline_rounds.get(one)]
    if not common:
        raise ValueError("the two cases have no round in common")
    logs = np.array(
        [math.log(np.median(_times(case_rounds[one])) / np.median(_times(baseline_rounds[one]))) for one in common]
    )
    value = math.exp(logs.mean())
    if len(logs) < FEWEST_ROUNDS_FOR_INTERVAL:
        return Ratio(value, None, None, len(logs))
    if np.ptp(logs) == 0:
        return Ratio(value, value, value, len(logs))
    if len(logs) < FEWEST_FOR_BOOTSTRAP:
        low, high = ttest_1samp(logs, 0).confidence_interval(CONFIDENCE)
    else:
        low, high = _bootstrap(logs, np.mean)
    return Ratio(value, math.exp(low), math.exp(high), len(logs))


def _times(samples: Sequence[Pass]) -> NDArray[Any]:
    import numpy as np

    return np.array([sample.ns for sample in samples], dtype=np.int64)


def _bootstrap(values: NDArray[Any], statistic: Callable[..., Any]) -> tuple[float, float]:
    """The expanded percentile interval: a percentile bootstrap whose tails are made as much smaller as one of few samples
    is too narrow, Phi(-sqrt(n / (n - 1)) * t) for t of n - 1 degrees of freedom (Hesterberg 2015, What Teachers Should Know
    About the Bootstrap, on narrowness bias; arXiv 1411.5279).
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
