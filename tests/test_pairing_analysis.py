"""Boundary, memorisation, modes, principal components and the Monge gap on data whose answer is known."""

import math

import numpy as np
import pytest
from near import correlated
from scipy import stats
from scipy.spatial.distance import cdist

from dmdlab.config import InputError
from dmdlab.pairing import Pairs, measure
from dmdlab.pairing.analysis import boundary, by_component, by_mode, memorisation, memorised, monge_gap, neighbours
from dmdlab.pairing.statistics import pearson, spearman


def test_the_boundary_analysis_is_its_definition():
    P, G, P1, X = np.random.default_rng(0).normal(size=(4, 20, 3))
    found = boundary(Pairs.of(P, G, one_step=P1, data=X))
    np.testing.assert_allclose(found.distance, cdist(P, X).mean(axis=1))
    np.testing.assert_allclose(found.student, np.linalg.norm(G - P, axis=1))
    np.testing.assert_allclose(found.delta, np.linalg.norm(G - P, axis=1) - np.linalg.norm(P1 - P, axis=1))
    assert found.pearson.value == pytest.approx(stats.pearsonr(found.distance, found.delta)[0])
    assert found.spearman.value == pytest.approx(stats.spearmanr(found.distance, found.delta)[0])


def test_outliers_that_are_copied_more_show_a_negative_correlation():
    rng = np.random.default_rng(1)
    P, X = rng.normal(size=(400, 2)), rng.normal(size=(500, 2))
    error = 1.0 / (1.0 + np.linalg.norm(P, axis=1, keepdims=True) ** 2)
    G, P1 = P + error * rng.normal(size=P.shape), 0.5 * P
    found = boundary(Pairs.of(P, G, one_step=P1, data=X))
    assert found.pearson.high < 0
    assert found.spearman.high < 0
    with pytest.raises(InputError, match="one_step"):
        boundary(Pairs.of(np.eye(3), np.eye(3)))


@pytest.mark.parametrize("correlate", [pearson, spearman])
def test_correlation_intervals_cover(correlate):
    rng, rho = np.random.default_rng(2), 0.5
    truth = rho if correlate is pearson else 6 / math.pi * math.asin(rho / 2)  # of a bivariate Gaussian
    found = [correlate(*(x[:, 0] for x in correlated(rng, 40, 1, rho))) for _ in range(400)]
    assert 0.92 <= np.mean([f.low <= truth <= f.high for f in found]) <= 0.98
    x = np.arange(10.0)
    assert pearson(x, 2 * x + 1).low == 1.0
    assert math.isnan(pearson(x, np.ones(10)).value)
    assert math.isnan(pearson(x[:3], x[:3]).value)
    assert spearman(x, np.exp(x)).value == pytest.approx(1.0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_memorisation_by_chance_is_a_third_to_the_power_of_k(k):
    """Uniform data far from its edges: the share below 1/3 is (1/3)^k, and it is subtracted."""
    rng = np.random.default_rng(k)
    shares = [memorisation(rng.uniform(0.2, 0.8, (1000, k)), rng.uniform(size=(2000, k))) for _ in range(4)]
    assert np.mean([m.share for m in shares]) == pytest.approx(3.0**-k, rel=0.1)
    assert shares[0].chance == pytest.approx(3.0**-k)
    assert abs(np.mean([m.excess for m in shares])) < 0.02


def test_memorised_outputs_are_found_also_on_repeated_training_points():
    rng = np.random.default_rng(3)
    data = rng.normal(size=(200, 16))
    assert memorisation(rng.normal(size=(100, 16)), data).share == 0.0
    copies = memorisation(data[:50] + 1e-3 * rng.normal(size=(50, 16)), data)
    assert copies.share == 1.0
    assert copies.low > 0.9
    assert memorisation(data[:50], np.repeat(data, 2, axis=0)).share == 1.0
    embedded = np.pad(data[:, :2], ((0, 0), (0, 14)))
    assert memorised(neighbours(embedded[:5], embedded), 2).chance == pytest.approx(1 / 9)
    outputs = rng.normal(size=(12, 16))
    first, second, *_ = np.sort(cdist(outputs, data)).T
    np.testing.assert_allclose(memorisation(outputs, data).ratios, first / second)


def test_a_copy_keeps_modes_and_places_and_a_shuffle_neither():
    rng, centres = np.random.default_rng(5), 10.0 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    label = rng.integers(3, size=300)
    P = centres[label] + rng.normal(size=(300, 2))
    copy = by_mode(P, P, centres)
    assert (copy.agreement, copy.kappa) == (1.0, 1.0)
    np.testing.assert_array_equal(copy.count, np.bincount(label))
    np.testing.assert_allclose(copy.within_cosine, 1.0)
    shuffled = by_mode(P, P[rng.permutation(300)], centres)
    assert abs(shuffled.kappa) < 0.15
    assert shuffled.chance_agreement == pytest.approx(1 / 3, abs=0.05)
    np.testing.assert_allclose(shuffled.same, shuffled.chance, atol=0.15)
    inside = by_mode(P, centres[label] + rng.normal(size=P.shape), centres)  # the mode is kept, the place is not
    assert inside.agreement > 0.99
    assert np.abs(inside.within_cosine).max() < 0.25


def test_an_empty_mode_is_nan_and_one_mode_has_no_kappa():
    P = np.random.default_rng(7).normal(size=(20, 2))
    found = by_mode(P, P, np.array([[0.0, 0.0], [100.0, 0.0]]))
    assert np.isnan([found.same[1], found.within_cosine[1], found.kappa]).all()
    with pytest.raises(InputError, match="by_mode"):
        by_mode(P, P, np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [(200, 6), (600, 520)])
def test_components_are_the_teachers_and_tell_which_are_copied(shape):
    """Both the full and the truncated decomposition."""
    rng, (n, d) = np.random.default_rng(8), shape
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    latent, student = rng.normal(size=(2, n, d)) * [30.0, 20.0, 10.0, *np.ones(d - 3)]
    student[:, 0], student[:, 2] = 0.5 * latent[:, 0], -latent[:, 2]
    found = by_component(latent @ basis.T + 5.0, student @ basis.T, count=3)
    np.testing.assert_allclose(np.abs(found.directions @ basis[:, :3]), np.eye(3), atol=0.2)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(3), atol=1e-8)
    np.testing.assert_allclose([c.value for c in found.correlation], [0.97, 0.0, -0.95], atol=0.25)
    assert found.amplitude[0] == pytest.approx(0.5, abs=0.05)
    assert np.all(np.diff(found.variance_share) < 0)
    expected = np.linalg.svd(latent - latent.mean(0), compute_uv=False)[:3] ** 2
    np.testing.assert_allclose(found.variance_share, expected / ((latent - latent.mean(0)) ** 2).sum(), rtol=1e-6)
    with pytest.raises(InputError, match="all the same"):
        by_component(np.ones((5, 2)), np.eye(5, 2))
    with pytest.raises(InputError, match="equal shape"):
        by_component(np.ones((5, 2)), np.ones((5, 3)))


def test_the_gradient_of_a_convex_function_has_no_monge_gap():
    """Brenier: symmetric positive definite linear maps are optimal; a rotation is not, a reflection is the worst."""
    rng = np.random.default_rng(9)
    z = rng.normal(size=(300, 4))
    A = rng.normal(size=(4, 4))
    optimal = monge_gap(z, z @ (A @ A.T + 0.1 * np.eye(4)) + 2.0)
    assert optimal.gap == optimal.relative == 0.0
    turned = np.kron(np.eye(2), np.array([[0.0, -1.0], [1.0, 0.0]]))
    assert monge_gap(z, z @ turned).relative == pytest.approx(1.0, abs=0.1)
    assert monge_gap(z, -z).relative > 1.5
    T = z + rng.normal(size=z.shape)  # the scale of the noise does not matter
    assert monge_gap(80 * z, T).relative == pytest.approx(monge_gap(z, T).relative, rel=1e-6)
    assert monge_gap(z, T).relative == pytest.approx(1 - measure(T, z).values()["copy_index"], rel=1e-9)
    with pytest.raises(InputError, match="one space"):
        monge_gap(z, T[:, :2])


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_neither_a_shift_of_the_student_nor_a_scale_changes_what_an_analysis_says(shift, scale):
    rng = np.random.default_rng(10)
    P, E, X, P1 = scale * rng.normal(size=(4, 80, 2))
    G = 0.8 * P + 0.6 * E
    moved = G + shift * scale
    assert monge_gap(P, moved).relative == pytest.approx(monge_gap(P / scale, G / scale).relative, rel=1e-8)
    for ours, theirs in zip(by_component(P, moved).correlation, by_component(P, G).correlation, strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-9)
    np.testing.assert_allclose(by_component(P, moved).amplitude, by_component(P, G).amplitude, rtol=1e-8)
    found = boundary(Pairs.of(P, G, one_step=P1, data=X))
    plain = boundary(Pairs.of(P / scale, G / scale, one_step=P1 / scale, data=X / scale))
    assert found.spearman.value == pytest.approx(plain.spearman.value, rel=1e-9)
    ratios = memorisation(P, X).ratios
    np.testing.assert_allclose(ratios, memorisation(P / scale, X / scale).ratios, rtol=1e-9)


def test_a_student_moved_along_what_its_modes_have_in_common_stays_in_them():
    rng, centres = np.random.default_rng(11), np.array([[0.0, 0.0], [3.0, 0.0], [6.0, 0.0]])
    P = centres[rng.integers(3, size=200)] + 0.3 * rng.normal(size=(200, 2))
    np.testing.assert_array_equal(by_mode(P, P + np.array([0.0, 1e9]), centres).same, 1.0)


def test_a_teacher_that_is_constant_up_to_the_rounding_of_its_mean_has_no_components():
    with pytest.raises(InputError, match="all the same"):
        by_component(np.full((7, 3), 0.1), np.eye(7, 3))
