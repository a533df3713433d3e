"""Intervals over seeds: Student's and the bootstrap's coverage, missing values, paired differences."""

import math

import numpy as np
import pytest

from dmdlab.config import InputError
from dmdlab.pairing import mean_interval, paired_difference
from dmdlab.pairing.statistics import (
    jackknife_interval,
    pearson,
    quotient_limits,
    ratio_limits,
    spearman,
    student_quantile,
    wilson_interval,
    zero_mean_limits,
)


@pytest.mark.parametrize("missing", [[], [math.nan, math.nan]])
def test_students_interval_of_five_known_values_counts_what_is_missing(missing):
    interval = mean_interval([1.0, 2.0, *missing, 3.0, 4.0, 5.0])
    half = 2.776445105 * math.sqrt(2.5 / 5)  # t quantile of 4 degrees of freedom, tabulated
    assert (interval.mean, interval.n, interval.missing) == (3.0, 5, len(missing))
    assert (interval.low, interval.high) == (pytest.approx(3 - half), pytest.approx(3 + half))


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_intervals_cover_at_eight_seeds(method):
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.normal(2.0, 1.0, size=8), method=method) for _ in range(300)]
    assert 0.91 <= np.mean([interval.low <= 2.0 <= interval.high for interval in intervals]) <= 0.985


@pytest.mark.parametrize("spread", [0.2, 1.0])
@pytest.mark.parametrize("seeds", [3, 8])
def test_the_logarithmic_interval_covers_a_positive_mean_and_never_reaches_zero(seeds, spread):
    """Log-normal values; widely spread ones escape it in about one sample of ten, and Student's own in one of six."""
    rng = np.random.default_rng(3)
    samples, mean = np.exp(spread * rng.standard_normal((600, seeds))), math.exp(spread**2 / 2)
    found = [mean_interval(sample, method="log") for sample in samples]
    students = [mean_interval(sample) for sample in samples]
    held, held_by_students = (np.mean([i.low <= mean <= i.high for i in own]) for own in (found, students))
    assert held >= (0.92 if spread < 1 else 0.85)
    assert held >= held_by_students - 0.005
    assert min(i.low for i in found) > 0
    if (seeds, spread) == (3, 1.0):
        assert min(i.low for i in students) < 0
        assert held > held_by_students + 0.04


def test_the_logarithmic_interval_is_that_of_the_means_logarithm():
    interval, plain = (mean_interval([3.0, 5.0, 8.0, 56.0], method=method) for method in ("log", "t"))
    factor = math.exp((plain.high - plain.mean) / plain.mean)
    assert (interval.mean, interval.n) == (18.0, 4)
    assert (interval.low, interval.high) == (pytest.approx(18 / factor), pytest.approx(18 * factor))
    none = mean_interval([0.0, 0.0, math.nan], method="log")
    assert (none.mean, none.low, none.high, none.missing) == (0.0, 0.0, 0.0, 1)


@pytest.mark.parametrize("values", [[0.0, 0.3], [0.0, 0.0, 0.3], [math.nan, 0.0, 0.0, 1.0, 7.0], [0.0] * 5 + [1, 2, 3]])
def test_zeros_in_half_of_the_values_leave_no_logarithmic_interval(values):
    found, plain = mean_interval(values, method="log"), mean_interval(values)
    assert found.mean == plain.mean > 0
    assert (found.n, found.missing) == (plain.n, plain.missing)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert mean_interval([*values, *[0.4] * 6], method="log").low > 0


def test_the_bootstrap_is_reproducible_and_follows_a_given_stream():
    values = np.random.default_rng(1).normal(size=9)
    first, again = (mean_interval(values, method="bootstrap") for _ in range(2))
    other = mean_interval(values, method="bootstrap", rng=np.random.default_rng(5))
    assert first == again != other
    assert other.low == pytest.approx(first.low, abs=0.05)


@pytest.mark.parametrize(("level", "least"), [(0.5, 2), (0.9, 5), (0.95, 6)])
def test_the_bootstrap_has_no_interval_of_values_whose_whole_range_is_too_narrow(level, least):
    """Two values lie on both sides of their mean in one sample of two, five in fifteen of sixteen."""
    values = np.random.default_rng(2).normal(size=least)
    assert math.isfinite(mean_interval(values, level, method="bootstrap").low)
    few = mean_interval(values[:-1], level, method="bootstrap")
    assert (math.isnan(few.low), math.isnan(few.high), few.n) == (True, True, least - 1)


@pytest.mark.parametrize("values", [[], [4.0], [math.nan], [4.0, math.nan]])
def test_fewer_than_two_values_have_no_interval(values):
    interval = mean_interval(values)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.n + interval.missing == len(values)
    assert interval.mean == 4.0 if interval.n else math.isnan(interval.mean)


def test_a_paired_difference_removes_what_the_seeds_share():
    rng = np.random.default_rng(2)
    seed_effect = 10 * rng.normal(size=8)
    paired = paired_difference(seed_effect + 1 + 0.1 * rng.normal(size=8), seed_effect)
    assert paired.low <= 1.0 <= paired.high
    assert paired.high - paired.low < 0.3
    assert paired_difference([1.0, math.nan, 3.0], [0.0, 1.0, math.nan]).missing == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([1, 2], level=95), "level"),
        (lambda: mean_interval([1, 2], method="normal"), "unknown method"),
        (lambda: mean_interval([1, -2], method="log"), "values of 0 or more, got -2"),
        (lambda: mean_interval([[1, 2]]), "one number a seed"),
        (lambda: mean_interval(["a", "b"]), "list of numbers"),
        (lambda: paired_difference([1, 2], ["a", "b"]), "lists? of numbers"),
        (lambda: paired_difference([1, 2], [1]), "same seeds"),
    ],
)
def test_wrong_calls_are_sentences(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(3).normal(size=12)
    interval, without = mean_interval(values), (values.sum() - values) / 11
    assert jackknife_interval(values.mean(), without) == pytest.approx((interval.low, interval.high))
    assert jackknife_interval(0.5, np.array([0.5, math.nan, 0.5])) == (None, None)


def test_wilsons_interval_has_width_at_the_ends_and_contains_the_share():
    low, high = wilson_interval(0.0, 100)
    assert (low, high) == (0.0, pytest.approx(0.0370, abs=1e-4))  # z^2 / (n + z^2)
    assert wilson_interval(1.0, 100) == (pytest.approx(1 - high), 1.0)


def test_ranks_have_the_wider_interval_of_bonett_and_wright():
    """In atanh Spearman's is sqrt(1 + r^2 / 2) times as wide as Pearson's of the same ranks."""
    x = np.arange(30.0)
    y = x + 10 * np.random.default_rng(0).standard_normal(30)
    ranks = np.argsort(np.argsort(y)).astype(float)
    of_ranks, own = pearson(x, ranks), spearman(x, y)
    assert own.value == pytest.approx(of_ranks.value)
    width, plain = (math.atanh(c.high) - math.atanh(c.low) for c in (own, of_ranks))
    assert width == pytest.approx(plain * math.sqrt(1 + own.value**2 / 2))


@pytest.mark.parametrize("S", [3, 4, 7])
def test_the_limits_of_a_ratio_are_those_of_an_analysis_of_variance(S):
    """Least squares of the logarithms on one effect a sample: mean squares, and Satterthwaite's degrees of both."""
    first, second = np.triu_indices(S, 1)
    effects = np.random.default_rng(S).normal(size=S)
    logs = 0.3 + 0.2 * (effects[first] + effects[second])
    logs += 0.05 * np.random.default_rng(S + 1).normal(size=len(logs))
    costs = np.full((S, S), np.nan)
    costs[first, second] = costs[second, first] = np.exp(logs)
    design = np.eye(S)[first] + np.eye(S)[second]
    fitted = design @ np.linalg.lstsq(design, logs, rcond=None)[0]
    of_samples, of_pairs = S - 1, len(logs) - S
    effect = ((fitted - logs.mean()) ** 2).sum() / of_samples / (S - 2)  # expects var a + var e / (S - 2)
    error = ((logs - fitted) ** 2).sum() / of_pairs * (S - 3) / (S - 2) if of_pairs else 0.0
    degrees = (effect + error) ** 2 / (effect**2 / of_samples + (error**2 / of_pairs if of_pairs else 0.0))
    half = student_quantile(0.975, degrees) * math.sqrt(2 * (effect + error))
    assert ratio_limits(costs) == pytest.approx((math.exp(-half), math.exp(half)), rel=1e-9)


def test_limits_of_a_difference_and_of_a_quotient_by_hand():
    """Three pairs of three samples, 2 S - 3 = 3 degrees: t = 3.1824. Three values, 2 degrees: 4.3027."""
    values = np.array([[9.0, 1.0, -2.0], [1.0, 9.0, 2.0], [-2.0, 2.0, 9.0]])
    half = 3.182446 * math.sqrt(3.0)
    assert zero_mean_limits(values) == pytest.approx((-half, half), rel=1e-6)
    low, high = quotient_limits(np.exp([0.0, 0.1, 0.2]))
    assert math.log(high) == pytest.approx(4.302653 * math.sqrt(2.0) * 0.1, rel=1e-6)
    assert low == pytest.approx(1 / high)


def test_a_correlation_has_fishers_interval():
    """Of ten values: 1.96 / sqrt(7) on either side in atanh."""
    x = np.arange(10.0)
    found = pearson(x, x + 5.0 * np.cos(x))
    half = 1.959964 / math.sqrt(7.0)
    ends = [math.tanh(math.atanh(found.value) + end) for end in (-half, half)]
    assert (found.value, found.low, found.high) == pytest.approx((np.corrcoef(x, x + 5.0 * np.cos(x))[0, 1], *ends))
