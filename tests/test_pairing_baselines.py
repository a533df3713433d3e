"""The baselines of pair_cosine: the Gaussian of the same covariance, against theory, and another teacher."""

import numpy as np
import pytest
import torch

from dmdlab.config import InputError, NoiseConfig
from dmdlab.diffusion import flow, karras_grid
from dmdlab.laws import Gaussian, Mixture
from dmdlab.pairing import measure, pair_cosine_gaussian, pair_cosine_of, planted_rotation
from dmdlab.pairing.baselines import gaussian_flow
from dmdlab.theory import gaussian_flow as in_theory

LAW = Gaussian(dim=4, spectrum="power", exponent=2.0, basis="random", seed=1)
C = LAW.covariance().double()


def noise(n, d=4, seed=0, sigma_max=80.0):
    return sigma_max * np.random.default_rng(seed).standard_normal((n, d))


def phi(law, z, sigma_max=80.0):
    """The flow of a law in 64 steps."""
    grid = karras_grid(64, NoiseConfig(sigma_max=sigma_max))
    return flow(law.double().denoise, torch.from_numpy(z), grid).numpy()


@pytest.mark.parametrize("sigma_max", [0.5, 80.0])
def test_the_flow_of_rows_is_that_of_theory(sigma_max):
    z = noise(20, sigma_max=sigma_max)
    expected = in_theory(torch.from_numpy(z), C, sigma_max).numpy()
    np.testing.assert_allclose(gaussian_flow(z, C.numpy(), sigma_max), expected, atol=1e-12)


@pytest.mark.parametrize("sigma_max", [5.0, 80.0])
def test_for_a_gaussian_law_it_is_one_and_a_turned_student_lies_below(sigma_max):
    z = noise(300, sigma_max=sigma_max)
    P = phi(LAW, z, sigma_max) + 3.0
    known = pair_cosine_gaussian(z, P, sigma_max=sigma_max, covariance=C)
    assert known.value == pytest.approx(1.0, abs=1e-3)  # the steps' error
    assert known.low <= known.value <= known.high
    for rows in (None, phi(LAW, noise(400, seed=1, sigma_max=sigma_max), sigma_max)):
        assert pair_cosine_gaussian(z, P, sigma_max=sigma_max, rows=rows).value == pytest.approx(1.0, abs=0.01)
    R = planted_rotation(4, 60.0, np.random.default_rng(2))
    assert pair_cosine_of(P, phi(LAW, z @ R, sigma_max)).value < 0.8


def test_an_estimated_covariance_is_that_of_the_sample():
    """Over n - 1; where sigma_max is about the data's size the pairing of the flow depends on it."""
    z = noise(50, sigma_max=0.5)
    P = np.abs(z) ** 2 * [8.0, 4.0, 2.0, 1.0]
    for rows in (None, P[:45]):
        known = np.cov(P if rows is None else rows, rowvar=False)
        own, given = (
            pair_cosine_gaussian(z, z + P, sigma_max=0.5, **how)
            for how in ({"rows": rows if rows is not None else P}, {"covariance": known})
        )
        assert own.value == pytest.approx(given.value, abs=1e-12)


def test_for_a_mixture_covariance_fixes_a_part():
    z = noise(400)
    P = phi(Mixture(dim=4), z)
    found = pair_cosine_gaussian(z, P, sigma_max=80.0)
    assert 0.6 < found.value < 0.99
    assert found.low < found.value < found.high
    shuffled = pair_cosine_gaussian(z[::-1], P, sigma_max=80.0)
    assert abs(shuffled.value) < 0.15


def test_too_few_rows_are_unresolved_and_images_are_flattened():
    z = noise(39)
    P = phi(LAW, z)
    assert "needs 40 different rows, there are 39" in pair_cosine_gaussian(z, P, sigma_max=80.0).reason
    for rows in (P[:20], np.repeat(P[:20], 4, axis=0)):
        assert "there are 20" in pair_cosine_gaussian(z, P, sigma_max=80.0, rows=rows).reason
    assert pair_cosine_gaussian(z, P, sigma_max=80.0, covariance=C).resolved
    images = pair_cosine_gaussian(z.reshape(39, 1, 2, 2), P.reshape(39, 1, 2, 2), sigma_max=80.0, covariance=C)
    assert images == pair_cosine_gaussian(z, P, sigma_max=80.0, covariance=C)
    constant = pair_cosine_gaussian(z, np.ones_like(P), sigma_max=80.0, covariance=C)
    assert "the teacher's outputs are all the same" in constant.reason
    flat = pair_cosine_gaussian(z, P, sigma_max=80.0, covariance=np.zeros((4, 4)))
    assert "the Gaussian's outputs are all the same" in flat.reason


def test_another_teacher_at_the_same_noise_is_measured_by_its_own_pair_cosine():
    P, G, other = np.random.default_rng(3).normal(size=(3, 100, 2, 3))
    report = measure(P, G, other_teacher=0.6 * P + 0.8 * other)
    found = report.metrics["pair_cosine_teachers"]
    assert found.value == pytest.approx(0.6, abs=0.15)
    assert found == measure(P, 0.6 * P + 0.8 * other).metrics["pair_cosine"]
    report = report.with_measures({"pair_cosine_gaussian": pair_cosine_of(P.reshape(100, 6), G.reshape(100, 6))})
    told = report.in_words()[-1]
    assert told.startswith("For context, pair_cosine with the same teacher: ")
    assert "another teacher" in told
    assert "other teacher's" in measure(P, G, other_teacher=np.ones_like(P)).metrics["pair_cosine_teachers"].reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma_max": 0.0}, "sigma_max > 0"),
        ({"noise": noise(50, d=3)}, "noise in 4 dimensions"),
        ({"noise": noise(49)}, "49 rows"),
        ({"covariance": np.eye(3)}, "covariance"),
    ],
)
def test_wrong_calls_are_sentences(change, message):
    z = noise(50)
    with pytest.raises(InputError, match=message):
        pair_cosine_gaussian(**({"noise": z, "teacher": z, "sigma_max": 80.0} | change))
