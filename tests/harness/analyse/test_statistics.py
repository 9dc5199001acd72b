"""Figures from raw samples: what they promise for any samples, and what they find in samples made to hold it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from device.records import Pass
from harness.analyse import statistics
from harness.analyse.statistics import median_interval, outliers, ratio, slower_mode, spread, summarise, trend

MS = 1_000_000

untimed = settings(deadline=None)  # scipy takes a second to import, in whichever example comes first

#: Times of one case, from a microsecond to a minute, within a factor of two as those of passes are.
times_ns = st.integers(1_000, 30_000_000_000).flatmap(
    lambda least: st.lists(st.integers(least, 2 * least), min_size=1, max_size=30)
)
factors = st.integers(2, 100)
rounds_ns = st.dictionaries(st.integers(0, 20), times_ns, min_size=1, max_size=12)


def passes(ns: Iterable[float]) -> tuple[Pass, ...]:
    return tuple(Pass(int(one), cpu=None, khz=None) for one in ns)


def in_rounds(rounds: dict[int, list[int]]) -> dict[int, tuple[Pass, ...]]:
    return {number: passes(ns) for number, ns in rounds.items()}


def noise(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- one case's samples --------------------------------------------------------------------------------


@untimed
@given(times_ns, st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_no_figure(ns: list[int], random: Random) -> None:
    shuffled = random.sample(ns, len(ns))
    before, after = summarise(passes(ns)), summarise(passes(shuffled))
    assert after.mean_ns == pytest.approx(before.mean_ns)
    assert after.cv == (None if before.cv is None else pytest.approx(before.cv, abs=1e-12))
    assert Counter(ns[index] for index in before.outliers) == Counter(shuffled[index] for index in after.outliers)
    assert replace(after, mean_ns=before.mean_ns, cv=before.cv, outliers=before.outliers) == before


@untimed
@given(times_ns, factors)
def test_a_clock_of_another_unit_scales_times_and_keeps_what_is_relative(ns: list[int], factor: int) -> None:
    one, scaled = summarise(passes(ns)), summarise(passes(factor * time for time in ns))
    for name in ("mean_ns", "median_ns", "mad_ns", "min_ns", "max_ns"):
        assert getattr(scaled, name) == pytest.approx(factor * getattr(one, name)), name
    assert scaled.cv == (None if one.cv is None else pytest.approx(one.cv, abs=1e-9))
    assert (scaled.interval_ns is None) == (one.interval_ns is None)
    if one.interval_ns and scaled.interval_ns:
        assert scaled.interval_ns == pytest.approx([factor * bound for bound in one.interval_ns])


@untimed
@given(times_ns)
def test_median_and_mean_lie_within_the_samples_and_the_median_within_its_interval(ns: list[int]) -> None:
    summary = summarise(passes(ns))
    assert summary.count == len(ns)
    assert summary.min_ns == min(ns) <= summary.median_ns <= max(ns) == summary.max_ns
    assert min(ns) <= summary.mean_ns <= max(ns)
    if summary.interval_ns:
        low, high = summary.interval_ns
        assert min(ns) <= low <= summary.median_ns <= high <= max(ns)


def test_the_figures_of_ten_passes() -> None:
    summary = summarise(passes([10, 12, 14, 16, 18, 20, 22, 24, 26, 28]))
    assert (summary.mean_ns, summary.median_ns, summary.mad_ns) == (19, 19, 5)
    assert summary.cv == pytest.approx(6.0553 / 19, rel=1e-4)


def test_no_samples_have_no_statistics() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarise([])


def test_one_sample_has_no_variation_and_five_no_interval() -> None:
    assert summarise(passes([MS])).cv is None
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([1, 2, 3, 4, 5, 6]) is not None


def test_six_is_the_fewest_samples_that_hold_the_median_as_often_as_the_interval_says() -> None:
    held = {n: 1 - 2 * 0.5**n for n in range(1, 20)}
    assert min(n for n in held if held[n] >= statistics.CONFIDENCE) == statistics.FEWEST_FOR_BOOTSTRAP


def test_the_same_samples_always_give_the_same_interval() -> None:
    samples = passes(noise().normal(10 * MS, MS, 10))
    assert summarise(samples) == summarise(samples)


@pytest.mark.parametrize("n", [6, 20, *(pytest.param(n, marks=pytest.mark.long) for n in (7, 10))])
def test_the_interval_holds_the_true_median_in_95_of_100_cases(n: int) -> None:
    random = noise(n)
    intervals = [median_interval(random.lognormal(0, 0.5, n)) for _ in range(300)]
    held = [interval is not None and interval[0] <= 1 <= interval[1] for interval in intervals]
    assert np.mean(held) > 0.92  # 95 %, but for the chance of 300 cases


# --- outliers ------------------------------------------------------------------------------------------


def test_one_slow_pass_of_ten_is_marked_and_kept_and_moves_neither_median_nor_mad() -> None:
    steady = [10_000, 10_010, 10_020, 10_030, 10_040, 10_050, 10_060, 10_070, 10_080, 10_090]
    disturbed = [*steady[:9], 30_000]
    before, after = summarise(passes(steady)), summarise(passes(disturbed))
    assert after.outliers == (9,)
    assert (after.count, after.max_ns) == (10, 30_000)
    assert (after.median_ns, after.mad_ns) == (before.median_ns, before.mad_ns)
    assert after.mean_ns > 1.15 * before.mean_ns


def test_a_modified_z_score_above_three_and_a_half_marks() -> None:
    times = [900, 950, 1000, 1050, 1100]  # with one more far off: a median of 1025, a MAD of 75, 3.5 of which are 389
    assert outliers([*times, 1025 + 380]) == ()
    assert outliers([*times, 1025 + 400]) == (5,)


def test_a_pass_that_is_too_fast_is_marked_too() -> None:
    assert outliers([100, 101, 102, 103, 50, 104, 105]) == (4,)


def test_where_most_times_are_equal_the_one_that_differs_is_marked() -> None:
    assert outliers([1000] * 9 + [1500]) == (9,)
    assert outliers([1000] * 10) == ()


def test_a_difference_too_small_to_matter_is_no_outlier() -> None:
    """On a clock that counts instructions the MAD is a few parts in a million, and so every score is high."""
    assert outliers([MS, MS + 1, MS + 2, MS + 1, MS, MS + 2, MS + 500]) == ()
    assert outliers([MS, MS + 1, MS + 2, MS + 1, MS, MS + 2, MS + 11_000]) == (6,)


def test_too_few_times_have_no_outliers() -> None:
    assert outliers([100, 100, 100, 300]) == outliers([]) == ()


# --- two modes -----------------------------------------------------------------------------------------


def test_times_on_two_kinds_of_core_are_told_apart() -> None:
    random = noise()
    ns = np.where(np.arange(20) % 3 == 0, random.normal(26 * MS, 0.2 * MS, 20), random.normal(10 * MS, 0.1 * MS, 20))
    assert slower_mode(ns.astype(int)) == tuple(range(0, 20, 3))


@pytest.mark.parametrize(
    ("ns", "why"),
    [
        ([100] * 8 + [200] * 2, "two are no group"),
        ([100] * 26 + [200] * 4, "13 % are no group"),
        ([1000] * 5 + [1010] * 5, "1 % is no gap"),
        ([100, 105, 110, 115, 120, 135, 140, 145, 150, 155], "the groups are as wide as the gap"),
        ([100] * 5 + [200] * 4, "nine are too few"),
        ([], "nothing is there"),
    ],
)
def test_what_is_not_clearly_two_modes_is_not_split(ns: list[int], why: str) -> None:
    assert slower_mode(ns) == (), why


@pytest.mark.parametrize(
    "draw",
    [
        lambda random, n: random.normal(10 * MS, MS, n),
        lambda random, n: random.lognormal(16, 0.3, n),
        lambda random, n: random.uniform(5 * MS, 15 * MS, n),
    ],
    ids=["normal", "lognormal", "uniform"],
)
@pytest.mark.parametrize("n", [10, 20, 50])
def test_of_a_thousand_samples_of_one_mode_fewer_than_ten_are_split(
    draw: Callable[[np.random.Generator, int], np.ndarray], n: int
) -> None:
    random = noise(n)
    assert sum(slower_mode(draw(random, n)) != () for _ in range(1000)) < 10


# --- trends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes_taken", [6, 10, 50])
def test_a_linear_drift_is_found_with_its_size_and_sign(passes_taken: int) -> None:
    slower = np.linspace(10 * MS, 13 * MS, passes_taken)
    found = trend(slower)
    assert found is not None
    assert 0.15 < found < 0.3  # the thirds' medians lie within the 30 %
    back = trend(slower[::-1])
    assert back == pytest.approx(1 / (1 + found) - 1)


def test_a_drift_below_the_noise_or_too_small_to_matter_is_none() -> None:
    assert trend([10 * MS + turn for turn in range(50)]) is None
    assert trend([100, 103, 106, 109, 112]) is None  # five in order happen by chance
    assert trend([MS] * 10) is trend([]) is None


def test_of_a_thousand_steady_samples_about_ten_have_a_trend() -> None:
    random = noise()
    found = [trend(random.normal(10 * MS, MS, 10)) for _ in range(1000)]
    assert 0 < sum(one is not None for one in found) < 20


# --- rounds --------------------------------------------------------------------------------------------


def test_what_differs_from_pass_to_pass_is_told_from_what_differs_from_round_to_round() -> None:
    random = noise()
    noisy_passes = spread([passes(random.normal(10 * MS, 0.5 * MS, 50)) for _ in range(10)])
    assert noisy_passes.within == pytest.approx(0.05, rel=0.2)
    assert noisy_passes.between is not None
    assert noisy_passes.between < noisy_passes.within / 3
    levels = random.normal(10 * MS, 0.5 * MS, 10)
    noisy_rounds = spread([passes(random.normal(level, 0.01 * MS, 50)) for level in levels])
    assert noisy_rounds.within == pytest.approx(0.001, rel=0.2)
    assert noisy_rounds.between == pytest.approx(np.std(levels, ddof=1) / levels.mean(), rel=0.05)


def test_one_slow_pass_a_round_moves_neither_spread() -> None:
    rounds = [[100, 101, 102, 103, 104, 105, 106, 107, 108, 109 + shift] for shift in (0, 0, 0)]
    disturbed = [[*ns[:9], 500] for ns in rounds]
    assert spread(map(passes, disturbed)) == spread(map(passes, rounds))


def test_one_round_says_nothing_about_rounds_and_none_nothing_at_all() -> None:
    assert spread([passes([1, 2, 3])]).between is None
    with pytest.raises(ValueError, match="round"):
        spread([])
    with pytest.raises(ValueError, match="samples in each"):
        spread([passes([1]), ()])


@untimed
@given(rounds_ns, factors)
def test_a_case_is_as_fast_as_itself_and_k_times_as_slow_as_its_kth_part(
    rounds: dict[int, list[int]], factor: int
) -> None:
    same = ratio(in_rounds(rounds), in_rounds(rounds))
    assert (same.value, same.rounds) == (1, len(rounds))
    assert (same.low, same.high) in ((1, 1), (None, None))
    slower = ratio(
        in_rounds({number: [factor * one for one in ns] for number, ns in rounds.items()}), in_rounds(rounds)
    )
    assert slower.value == pytest.approx(factor)


@untimed
@given(rounds_ns, rounds_ns)
def test_a_ratio_turned_round_is_its_reciprocal(first: dict[int, list[int]], second: dict[int, list[int]]) -> None:
    assume(first.keys() & second.keys())
    one, other = ratio(in_rounds(first), in_rounds(second)), ratio(in_rounds(second), in_rounds(first))
    assert one.value * other.value == pytest.approx(1)
    if one.low and one.high and other.low and other.high:
        assert one.low * other.high == pytest.approx(1)
        assert one.high * other.low == pytest.approx(1)


@untimed
@given(rounds_ns, rounds_ns)
def test_a_ratio_is_that_of_the_times_as_they_are_shown_and_from_three_rounds_on_its_interval_holds_it(
    first: dict[int, list[int]], second: dict[int, list[int]]
) -> None:
    common = first.keys() & second.keys()
    assume(common)
    case, base = in_rounds(first), in_rounds(second)
    found = ratio(case, base)
    assert found.rounds == len(common)
    assert found.value == pytest.approx(summarise(*case.values()).median_ns / summarise(*base.values()).median_ns)
    assert (found.low is None) == (found.high is None) == (min(len(case), len(base)) < 3)
    if found.low and found.high:
        assert found.low <= found.value <= found.high


@untimed
@given(rounds_ns)
def test_in_the_same_rounds_a_ratio_is_the_mean_of_theirs_and_no_drift_of_both_widens_it(
    first: dict[int, list[int]],
) -> None:
    drifting = {number: [(2 + number) * ns for ns in times] for number, times in first.items()}
    found = ratio(
        in_rounds({number: [3 * ns for ns in times] for number, times in drifting.items()}), in_rounds(drifting)
    )
    assert found.value == pytest.approx(3)
    assert found.low is None or (found.low, found.high) == (pytest.approx(3), pytest.approx(3))


@untimed
@given(rounds_ns)
def test_the_time_of_rounds_lies_between_theirs_and_its_interval_holds_it(of: dict[int, list[int]]) -> None:
    found, medians = summarise(*in_rounds(of).values()), [np.median(times) for times in of.values()]
    assert min(medians) * (1 - 1e-12) <= found.median_ns <= max(medians) * (1 + 1e-12)
    if found.interval_ns is not None and len(of) > 1:
        low, high = found.interval_ns
        assert low * (1 - 1e-12) <= found.median_ns <= high * (1 + 1e-12)


def test_rounds_are_matched_by_number_and_a_round_without_samples_is_none() -> None:
    case, baseline = {0: passes([50]), 1: passes([200]), 2: ()}, {1: passes([100]), 2: passes([7]), 3: passes([9])}
    expected = math.sqrt(50 * 200) / (100 * 7 * 9) ** (1 / 3)
    assert (ratio(case, baseline).value, ratio(case, baseline).rounds) == (pytest.approx(expected), 1)
    with pytest.raises(ValueError, match="no round"):
        ratio({0: passes([1])}, {1: passes([1])})


def measured_in(order: Sequence[str], drift: float, seed: int) -> tuple[dict[int, tuple[Pass, ...]], ...]:
    """Rounds of `a`, which takes 0.8 of the time of `b`, and of `b`, on a machine that becomes slower by `drift`."""
    random = noise(seed)
    rounds: dict[str, dict[int, tuple[Pass, ...]]] = {"a": {}, "b": {}}
    for place, name in enumerate(order):
        level = 10 * MS * (1 + drift * place / (len(order) - 1)) * random.normal(1, 0.01)
        ns = (0.8 if name == "a" else 1) * level * random.normal(1, 0.01, 10)
        rounds[name][len(rounds[name])] = passes(ns)
    return rounds["a"], rounds["b"]


def held(order: Sequence[str], drift: float) -> float:
    """The part of 100 simulated intervals that hold the true ratio."""
    found = [ratio(*measured_in(order, drift, seed)) for seed in range(100)]
    return sum(one.low is not None and one.high is not None and one.low <= 0.8 <= one.high for one in found) / 100


@pytest.mark.parametrize("rounds", [3, 5, 10])
def test_the_interval_holds_the_true_ratio_in_95_of_100_cases(rounds: int) -> None:
    assert held("ab" * rounds, drift=0) > 0.88  # 95 %, but for the chance of 100 cases


@pytest.mark.parametrize("rounds", [4, 10])
def test_on_a_machine_that_becomes_slower_interleaved_rounds_find_the_ratio_and_one_after_the_other_does_not(
    rounds: int,
) -> None:
    assert held("abba" * (rounds // 2), drift=0.3) > 0.88
    assert held("a" * rounds + "b" * rounds, drift=0.3) == 0
    interleaved, in_a_row = (
        ratio(*measured_in(order, 0.3, seed=0)).value for order in ("ab" * rounds, "a" * rounds + "b" * rounds)
    )
    assert abs(interleaved - 0.8) < abs(in_a_row - 0.8) / 3
