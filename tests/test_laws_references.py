"""Each law against a slow, obvious second implementation or a closed form of its own."""

import math

import numpy as np
import pytest
import torch
from near import assert_near, generator, tensor
from scipy import stats
from scipy.special import roots_legendre

from dmdlab.laws import Cube, Empirical, Gaussian, Mixture, Ring, Sphere


def test_gaussian_is_the_wiener_filter_of_its_covariance() -> None:
    law = Gaussian(dim=6, spectrum="power", exponent=2.0, basis="random", scale=1.5, seed=3)
    cov = law.covariance()
    assert_near(torch.linalg.eigvalsh(cov).flip(0), law.variances.tolist())
    assert law.variances[1] / law.variances[0] == pytest.approx(1 / 4)
    assert cov.trace().item() == pytest.approx(6 * 1.5**2)
    x, sigma = torch.randn(5, 6, generator=generator(), dtype=torch.float64), 0.7
    noised = cov + sigma**2 * torch.eye(6, dtype=torch.float64)
    assert_near(law.denoise(x, sigma), (x @ torch.linalg.solve(noised, cov)).tolist())
    reference = stats.multivariate_normal(cov=noised.numpy()).logpdf(x.numpy())
    assert_near(law.log_density(x, sigma), reference)


def test_a_flat_gaussian_has_one_variance_in_every_direction_and_a_seed_turns_the_axes_of_others() -> None:
    for basis in ("axes", "random"):
        assert_near(Gaussian(dim=3, exponent=2.0, scale=1.5, basis=basis).covariance(), (2.25 * np.eye(3)).tolist())
    one, other = (Gaussian(dim=3, spectrum="power", basis="random", seed=seed).covariance() for seed in (1, 2))
    assert (one - other).abs().max() > 0.1
    assert_near(torch.linalg.eigvalsh(one), torch.linalg.eigvalsh(other).tolist())


def test_gaussian_takes_its_variances_from_any_sequence() -> None:
    x = torch.ones(2, dtype=torch.float64)
    for variances in ([1.0, 4.0], (1.0, 4.0)):
        law = Gaussian(dim=2, variances=variances, scale=2.0)
        assert_near(law.denoise(x, 2.0), [4 / 8, 16 / 20])
        assert law.sigma_data == pytest.approx(math.sqrt(10))


@pytest.mark.parametrize(
    ("components", "std", "rank"), [(3, 0.5, 0), (3, 0.5, 1), (3, 0.5, 3), (1, 1.0, 0), (1, 1.0, 2)]
)
def test_mixture_is_the_mixture_of_its_dense_components(components: int, std: float, rank: int) -> None:
    law = Mixture(dim=4, components=components, std=std, rank=rank, balanced=False, scale=1.2, seed=5)
    x, sigma = 1.5 * torch.randn(9, 4, generator=generator(), dtype=torch.float64), 0.6
    weights = law.log_weights.exp().numpy()
    assert components == 1 or weights.min() < 0.9 * weights.max()
    joint, means, trace = [], [], 0.0
    for k in range(components):
        frame = law.directions[k * rank : (k + 1) * rank].numpy()  # (r, d)
        cov = law.floor * np.eye(4) + law.ridge * frame.T @ frame
        noised = cov + sigma**2 * np.eye(4)
        mu = law.means[k].numpy()
        joint.append(weights[k] * stats.multivariate_normal(mu, noised).pdf(x.numpy()))
        means.append(mu + (x.numpy() - mu) @ np.linalg.solve(noised, cov))
        trace += weights[k] * (np.trace(cov) + mu @ mu)
        assert np.trace(cov) == pytest.approx(4 * (std * 1.2) ** 2)
    p = np.sum(joint, axis=0)  # (n,)
    assert_near(law.log_density(x, sigma), np.log(p))
    assert_near(law.denoise(x, sigma), np.einsum("kn,knd->nd", joint / p, means))
    assert trace == pytest.approx(4 * 1.2**2)  # the scale convention, exactly
    assert_near(law.log_weights.exp() @ law.means, np.zeros(4))


@pytest.mark.parametrize("sigma", [0.05, 1.0, 40.0])
def test_cube_is_an_integral_per_coordinate(sigma: float) -> None:
    half = math.sqrt(3) * 0.7
    x = np.array([0.0, half + 2 * sigma, -0.9])
    nodes, weights = roots_legendre(400)
    log_p, mean = 0.0, []
    for value in x:
        p = stats.norm(value, sigma).pdf(half * nodes) * weights / 2
        log_p += math.log(p.sum())
        mean.append(half * (p @ nodes) / p.sum())
    law = Cube(dim=3, scale=0.7)
    assert_near(law.denoise(tensor(x), sigma), mean)
    assert_near(law.log_density(tensor(x), sigma), log_p)


@pytest.mark.parametrize("dim", [2, 3, 7])
@pytest.mark.parametrize("thickness", [0.0, 0.4])
def test_sphere_is_an_integral_over_the_polar_angle(dim: int, thickness: float) -> None:
    """The angle a of a uniform point to x has density sin(a)^(d - 2), up to its normalisation."""
    law = Sphere(dim=dim, thickness=thickness)
    node, weight = roots_legendre(200)
    angle, weight = math.pi * (node + 1) / 2, weight * math.pi / 2
    weight = weight * np.sin(angle) ** (dim - 2)
    radius, sigma = math.sqrt(dim), 0.6
    v = thickness**2 + sigma**2
    for norm in (0.0, 0.3, 2.5):
        x = np.zeros(dim)
        x[1] = norm
        p = weight * np.exp(-(norm**2 + radius**2 - 2 * norm * radius * np.cos(angle)) / (2 * v))
        on_sphere = radius * (p @ np.cos(angle)) / p.sum()
        mean = np.zeros(dim)
        mean[1] = (sigma**2 * on_sphere + thickness**2 * norm) / v
        log_p = math.log(p.sum() / weight.sum()) - dim / 2 * math.log(2 * math.pi * v)
        assert_near(law.denoise(tensor(x), sigma), mean)
        assert_near(law.log_density(tensor(x), sigma), log_p)


def test_sphere_at_its_centre_has_no_direction() -> None:
    x = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    law = Sphere(dim=5)
    assert torch.equal(law.denoise(x, 0.5), torch.zeros(5, dtype=torch.float64))
    (score,) = torch.autograd.grad(law.log_density(x, 0.5), x)
    assert torch.equal(score, torch.zeros(5, dtype=torch.float64))


def test_intrinsic_dimension_is_that_of_the_set_that_the_law_fills() -> None:
    laws = {
        Gaussian(dim=3, variances=[2.0, 0.0, 0.5]): 2,
        Gaussian(dim=3): 3,
        Mixture(dim=3): 3,
        Mixture(dim=3, intrinsic=1): 1,
        Sphere(dim=3, thickness=0.1): 2,
        Cube(dim=3): 3,
        Ring(dim=3): 2,
        Empirical(dim=3, points=np.eye(3)): 3,
    }
    assert [law.intrinsic_dim for law in laws] == list(laws.values())
    assert torch.linalg.matrix_rank(Mixture(dim=10, components=8, intrinsic=3).means) == 3


def test_empirical_law_of_two_points_by_hand() -> None:
    law = Empirical(dim=1, points=[[-1.0], [3.0]])
    sigma, x = 2.0, tensor([[1.0], [0.0], [4.0]])
    # weights of 3 against -1: exp((x - 1) * 4 / sigma^2)
    share = 1 / (1 + np.exp(-(x.numpy() - 1)))
    assert_near(law.denoise(x, sigma), -1 + 4 * share)
    p = 0.5 * (stats.norm(-1, 2).pdf(x.numpy()) + stats.norm(3, 2).pdf(x.numpy()))[:, 0]
    assert_near(law.log_density(x, sigma), np.log(p))
    assert law.sigma_data == pytest.approx(2.0)


def test_empirical_law_of_many_rows_takes_its_points_in_chunks_and_is_that_of_a_few_rows() -> None:
    law = Empirical(dim=6, points=np.random.default_rng(0).standard_normal((101, 6)))
    x = 2 * torch.randn(100_000, 6, generator=generator(), dtype=torch.float64)  # three chunks: 2^22 exponents at most
    for sigma in (0.01, 1.0, 100.0):
        torch.testing.assert_close(law.denoise(x, sigma)[:9], law.denoise(x[:9], sigma), rtol=0, atol=1e-12)
        torch.testing.assert_close(law.log_density(x, sigma)[:9], law.log_density(x[:9], sigma), rtol=1e-12, atol=1e-12)


def test_an_empirical_laws_points_are_scaled() -> None:
    points = np.random.default_rng(0).standard_normal((5, 3))
    one, twice = (Empirical(dim=3, points=points, scale=scale) for scale in (1.0, 2.0))
    assert torch.equal(twice.points, 2 * one.points)
    assert twice.sigma_data == pytest.approx(2 * one.sigma_data)
