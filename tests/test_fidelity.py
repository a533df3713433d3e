"""Is the student's law the teacher's? Measured on both sides, and judged by what equal laws read at this n and d."""

import math

import numpy as np
import pytest
from scipy.stats import t

from dmdlab.pairing import Calibration, calibrate, measure
from dmdlab.pairing.law import LARGEST_HALF, LAW_KEYS, debiased_cost, half_size, law_agrees, total_variance
from dmdlab.pairing.statistics import zero_mean_limits

N = 100


def calibrated(d, n=N, seed=0, multiples=5):
    """Of the teacher that returns its noise, by its two outermost angles only."""
    rng = np.random.default_rng(seed)
    noise, fresh = rng.normal(size=(n, d)), rng.normal(size=(multiples * n, d))
    return calibrate(lambda z: z, noise, fresh_noise=fresh, rng=rng, angles_degrees=(0, 90), shares=(), bases=4)


@pytest.fixture(scope="module")
def calibrations():
    return {d: calibrated(d) for d in (2, 128, 1024)}


def sides(report):
    return {key: part.side for key, part in report.law.parts.items()}


@pytest.mark.parametrize(
    ("d", "scale", "fidelity", "debiased", "variance"),
    [
        (2, 0.5, "above", "above", "below"),
        (128, 0.8, "below", "inside", "below"),  # (1 - 0.8)^2 times what little the best pairing saves
        (128, 0.0, "below", "above", "below"),
        (1024, 0.0, "below", "above", "below"),
        (128, 1.3, "above", "inside", "above"),
    ],
)
def test_a_student_of_another_scale_is_told_in_any_dimension(calibrations, d, scale, fidelity, debiased, variance):
    P, Q, G = np.random.default_rng(d).normal(size=(3, N, d))
    report = measure(P, scale * G, reference=Q, calibration=calibrations[d])
    assert sides(report) == dict(zip(LAW_KEYS, (fidelity, debiased, variance), strict=True))
    assert not report.law.agrees
    words = " ".join(report.in_words())
    assert ("The student shrank" if scale < 1 else "The student spread out") in words
    assert "not yet evidence of copying" in words


def test_a_student_that_lost_a_mode_is_told_by_the_debiased_cost():
    rng = np.random.default_rng(3)

    def modes(n, lost=False):
        return rng.normal(size=(n, 4)) + 4.0 * np.eye(4)[rng.integers(0, 3 if lost else 4, n)]

    report = measure(modes(N), modes(N, lost=True), reference=modes(N))
    assert report.law.parts["debiased_cost"].side == "above"
    assert report.law.parts["variance_ratio"].side == "inside"


@pytest.mark.parametrize("d", [2, 128, 1024])
def test_an_equal_law_and_a_copy_are_inside(calibrations, d):
    """One draw in eight or so is outside in one of the three; not this one."""
    P, Q, G = np.random.default_rng(300 + d).normal(size=(3, N, d))
    for student in (P, G):
        report = measure(P, student, reference=Q, calibration=calibrations[d])
        assert report.law.agrees, sides(report)
        assert "is close to the teacher's" in " ".join(report.in_words())


@pytest.mark.long
@pytest.mark.parametrize("d", [1, *(pytest.param(d, marks=pytest.mark.slow) for d in (8, 64))])
def test_equal_laws_fall_outside_the_null_about_as_often_as_it_says(d):
    """5 in 100 over calibrations and draws; at most 10 in these 240, of which 20 share a calibration each."""
    rng, outside = np.random.default_rng(d), []
    for seed in range(12):
        null = calibrated(d, n=60, seed=seed)
        for _ in range(20):
            P, Q, G = rng.normal(size=(3, 60, d))
            judged = measure(P, G, reference=Q, calibration=null).law.parts
            outside.append([judged[key].side != "inside" for key in LAW_KEYS])
    assert np.all(np.mean(outside, axis=0) <= 0.1)


def test_the_debiased_cost_of_equal_laws_is_near_zero_and_of_shifted_laws_the_shift():
    rng, d = np.random.default_rng(7), 32
    Q, G = rng.normal(size=(2, 400, d))
    shift = 3.0 * np.eye(d)[0]
    biased = measure(Q, G).values()["e_ot"]
    assert biased > 20  # what finite n alone costs
    assert abs(debiased_cost(Q, G)) < 0.03 * biased
    assert debiased_cost(Q, G + shift) == pytest.approx(9.0, abs=1.5)
    assert debiased_cost(Q[::-1], G) == pytest.approx(debiased_cost(Q, G), rel=1e-12)  # whatever the rows' order
    assert math.isnan(debiased_cost(Q[:3], G))
    assert half_size(10**6, 10**6) == LARGEST_HALF


def test_without_a_null_the_convention_judges_and_says_so(calibrations):
    P, Q, G = np.random.default_rng(5).normal(size=(3, N, 2))
    old = {name: array for name, array in calibrations[2].to_arrays().items() if not name.startswith("independent/")}
    other = calibrated(2, n=50)
    for calibration, why in (
        (None, "no calibration"),
        (Calibration.from_arrays(old), "make it anew"),
        (other, "n = 50"),
    ):
        report = measure(P, G, reference=Q, calibration=calibration)
        assert why in report.law.convention
        assert "by convention" in " ".join(report.in_words())
        assert report.law.parts["fidelity"].low == 0.8
    assert all(math.isnan(end) for end in Calibration.from_arrays(old).law_null()["fidelity"])
    unresolved = measure(P, G).law
    assert [part.side for part in unresolved.parts.values()] == ["unknown", "unknown", "inside"]
    assert not unresolved.agrees


def test_the_null_is_kept_with_the_calibration_and_the_judgement_with_the_record(calibrations):
    kept = Calibration.from_arrays(calibrations[128].to_arrays())
    low, high = kept.law_null()["fidelity"]
    assert (low, high) == calibrations[128].law_null()["fidelity"]
    assert low < 1.0 < high < 1.2
    assert low == pytest.approx(1.0 / high)
    P, Q = np.random.default_rng(6).normal(size=(2, N, 128))
    report = measure(P, P, reference=Q, calibration=kept)
    found = report.to_dict()["law"]
    assert found["fidelity"] == [low, high, "inside"]
    assert found["limits"] == "calibration"
    assert law_agrees(report.values(), kept) == report.law


def test_two_samples_less_make_a_wider_null():
    """With twice n of fresh noise there are three independent samples, with five times n there are six."""
    few, many = (calibrated(64, n=60, multiples=multiples).law_null()["fidelity"][1] for multiples in (2, 5))
    assert few > many > 1.0


def test_a_spread_is_the_trace_of_a_covariance() -> None:
    sample = 1e4 + np.random.default_rng(0).standard_normal((7, 3))
    assert total_variance(sample) == pytest.approx(np.trace(np.cov(sample, rowvar=False)))


def test_limits_of_a_mean_of_zero_have_the_degrees_of_six_samples() -> None:
    """Pairs that share a sample are correlated: 9 degrees of freedom, and not as many as the 15 pairs."""
    assert zero_mean_limits(2 * np.ones((6, 6))) == pytest.approx([-2 * t.ppf(0.975, 9), 2 * t.ppf(0.975, 9)])
