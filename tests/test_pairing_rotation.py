"""One turn of the noise: its convention, what it explains of a turned and of a twisted teacher, what is unresolved."""

import math

import numpy as np
import pytest
from scipy.special import gammainc

from dmdlab.config import InputError
from dmdlab.pairing import METRICS, measure, pair_cosine_of, planted_rotation, planted_turns, rotation_explained
from dmdlab.pairing.bases import random_basis, turned
from dmdlab.pairing.rotation import LEAST_LOST, ROWS_PER_DIMENSION, fitted_turn
from dmdlab.pairing.statistics import jackknife_interval

SIGMA_MAX = 80.0


def gaussian(d):
    """The map of a Gaussian with a power-law spectrum in a random basis."""
    axes = planted_rotation(d, 70.0, np.random.default_rng(100 + d))
    matrix = axes * np.arange(1, d + 1) ** -0.5 @ axes.T / SIGMA_MAX
    return lambda z: z @ matrix


def bent(d):
    """A map with curvature, mixing its coordinates."""
    plain = gaussian(d)
    return lambda z: np.tanh(3.0 * plain(z)) + 0.2 * np.sign(plain(z))


def noises(d, rows=ROWS_PER_DIMENSION, n=400, seed=0):
    rng = np.random.default_rng(seed)
    return SIGMA_MAX * rng.standard_normal((n, d)), SIGMA_MAX * rng.standard_normal((rows * d, d))


def explained(teacher, student, d, **size):
    z, fit = noises(d, **size)
    return rotation_explained(teacher, z, student(z), fit_noise=fit, fit_student=student(fit))


def twisted(z):
    """z -> R(|z|) z: turns each pair of coordinates by an angle of |z|, and so keeps the prior.

    |z|^2 is chi-squared, and a linear map weighs rows by it. Under that weight the angle is uniform, so that the mean
    turn E[|z|^2 R(|z|)] is 0; were it uniform over the prior itself, some turn would be left (and found).
    """
    d = z.shape[1]
    angle = 2 * math.pi * gammainc(d / 2 + 1, (z**2).sum(axis=1) / (2 * SIGMA_MAX**2))
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    first, second = z[:, 0::2], z[:, 1::2]
    return np.stack([c * first - s * second, s * first + c * second], axis=-1).reshape(z.shape)


@pytest.mark.parametrize("d", [2, 5, 16])
def test_the_fitted_turn_is_that_of_rows(d):
    """G(z) = P(z R), for rows z."""
    R, (_, fit) = planted_rotation(d, 65.0, np.random.default_rng(d)), noises(d, rows=1000)
    teacher = gaussian(d)
    found = fitted_turn(fit, teacher(fit), teacher(fit @ R))
    np.testing.assert_allclose(found @ found.T, np.eye(d), atol=1e-12)
    np.testing.assert_allclose(found, R, atol=0.15)
    for small in (1e-9, 1e-170):  # in whatever unit
        other = fitted_turn(1e-3 * fit, small * (7 * teacher(fit) + 3), small * teacher(fit @ R))
        np.testing.assert_allclose(other, found, atol=1e-9)


@pytest.mark.parametrize("d", [2, 5, 16])
def test_a_turned_gaussian_is_explained_and_so_is_a_reflected_one(d):
    teacher, R = gaussian(d), planted_rotation(d, 80.0, np.random.default_rng(d))
    mirror = np.eye(d) - 2 * np.outer(R[0], R[0])
    for matrix in (R, mirror @ R):
        found = explained(teacher, lambda z, m=matrix: teacher(z @ m), d)
        assert found.share.value > 0.9
        assert found.share.low <= found.share.value <= found.share.high <= 1.0
        assert found.recovered.value > 0.95 > found.plain.value


@pytest.mark.parametrize("d", [2, 8])
def test_a_twist_keeps_the_prior_and_is_no_single_turn(d):
    z, _ = noises(d, n=20_000)
    moved = twisted(z)
    np.testing.assert_allclose((moved**2).sum(axis=1), (z**2).sum(axis=1))
    np.testing.assert_allclose(moved.T @ moved / len(z) / SIGMA_MAX**2, np.eye(d), atol=0.05)
    found = explained(gaussian(d), lambda x: gaussian(d)(twisted(x)), d, rows=500, n=2000)
    assert abs(found.share.value) < 0.08
    assert abs(found.plain.value) < 0.08


def test_no_memory_reads_about_zero():
    rng, shares = np.random.default_rng(3), []
    for seed in range(6):
        found = explained(bent(8), lambda z: bent(8)(SIGMA_MAX * rng.standard_normal(z.shape)), 8, seed=seed)
        shares.append(found.share.value)
    assert abs(np.mean(shares)) < 0.15


def test_a_student_between_reads_between_and_its_ceiling_is_that_of_a_planted_turn():
    d, teacher = 8, bent(8)
    R = planted_rotation(d, 70.0, np.random.default_rng(4))
    turned = explained(teacher, lambda z: teacher(z @ R), d)
    half = explained(teacher, lambda z: teacher(z @ R) + teacher(twisted(z)), d)
    z, fit = noises(d, seed=1)
    planted = planted_turns(teacher, z, fit_noise=fit, rng=np.random.default_rng(5), angles_degrees=(70.0, 90.0))
    assert planted.shape == (2, 2)
    assert turned.share.value == pytest.approx(planted[0].mean(), abs=0.05)
    assert planted.min() > 0.7
    assert 0.3 < half.share.value < turned.share.value - 0.1


def test_planted_turns_are_the_shares_of_the_teacher_turned_by_hand():
    teacher, (z, fit) = bent(3), noises(3, n=60)
    found = planted_turns(teacher, z, fit_noise=fit, rng=np.random.default_rng(1), angles_degrees=(40.0, 70.0), bases=2)
    rng, expected = np.random.default_rng(1), []
    for basis in (random_basis(3, rng), random_basis(3, rng)):
        for angle in (40.0, 70.0):
            student, fit_student = (teacher(turned(x, basis, angle)) for x in (z, fit))
            read = rotation_explained(teacher, z, student, fit_noise=fit, fit_student=fit_student)
            expected.append(read.share.value)
    np.testing.assert_array_equal(found.T.ravel(), expected)  # [basis][angle]
    assert len(set(expected)) == 4


def test_what_cannot_be_said_is_unresolved():
    d, teacher = 4, gaussian(4)
    R = planted_rotation(d, 80.0, np.random.default_rng(6))
    few = explained(teacher, lambda z: teacher(z @ R), d, rows=ROWS_PER_DIMENSION - 1)
    assert "needs 200 rows" in few.share.reason
    assert few.turn is None
    near = explained(teacher, lambda z: teacher(z @ planted_rotation(d, 10.0, np.random.default_rng(6))), d)
    assert near.plain.value > 1 - LEAST_LOST
    assert "too little of the pairing was lost" in near.share.reason
    constant = explained(teacher, np.ones_like, d)
    assert "all the same" in constant.share.reason
    z, fit = noises(d)
    assert np.isnan(planted_turns(teacher, z, fit_noise=fit, rng=np.random.default_rng(0), angles_degrees=(5.0,))).all()


def test_it_joins_a_report():
    d, teacher = 4, gaussian(4)
    z, fit = noises(d)
    R = planted_rotation(d, 80.0, np.random.default_rng(7))
    plain = measure(teacher(z), teacher(z @ R))
    assert "rotation_explained" not in " ".join(plain.in_words())
    assert "50 d" in plain.metrics["rotation_explained"].reason
    found = rotation_explained(teacher, z, teacher(z @ R), fit_noise=fit, fit_student=teacher(fit @ R))
    report = plain.with_measures({"rotation_explained": found.share})
    assert list(report.metrics) == list(plain.metrics)
    assert any("One orthogonal turn of the noise gives back" in sentence for sentence in report.in_words())
    with pytest.raises(InputError, match="'e_dt' is not added"):
        plain.with_measures({"e_dt": found.share})


def test_wrong_calls_are_sentences():
    z, fit = noises(3)
    teacher = gaussian(3)
    for noise, rows, message in ((z, fit[:, :2], "one dimension"), (fit[:400], fit, "are the same")):
        with pytest.raises(InputError, match=message):
            rotation_explained(teacher, noise, noise, fit_noise=rows, fit_student=rows)
    with pytest.raises(InputError, match="rows"):
        rotation_explained(teacher, z, z[:-1], fit_noise=fit, fit_student=fit)


def test_its_interval_is_that_of_the_share_without_each_row():
    """The jackknife by measuring anew, with the turn that was fitted."""
    teacher, (z, fit) = bent(2), noises(2, n=15)
    turn = planted_rotation(2, 60.0, np.random.default_rng(1))

    def student(x):
        return teacher(x @ turn) + 0.3 * np.sin(7.0 * teacher(x))

    found = rotation_explained(teacher, z, student(z), fit_noise=fit, fit_student=student(fit))
    P, back, G = teacher(z), teacher(z @ found.turn), student(z)
    without = []
    for row in range(15):
        c, c_R = (pair_cosine_of(np.delete(x, row, 0), np.delete(G, row, 0)).value for x in (P, back))
        without.append((c_R - c) / (1 - c))
    expected = jackknife_interval(found.share.value, np.array(without), METRICS["rotation_explained"].bounds)
    assert (found.share.low, found.share.high) == pytest.approx(expected, rel=1e-6)
    assert found.share.high - found.share.low > 0.05
