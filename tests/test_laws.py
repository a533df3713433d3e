"""What every law must satisfy, over a list of instances: its sampler, denoiser and density are one law."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from near import generator
from torch import Tensor

from dmdlab.laws import (
    Blobs,
    Chessboard,
    Cube,
    Empirical,
    Field,
    Fields,
    Gaussian,
    Law,
    Manifold,
    Mixture,
    Moons,
    Ring,
    Sphere,
    Spiral,
)

POINTS = np.random.default_rng(7).standard_normal((23, 3)) + 0.4  # off-centre on purpose

INSTANCES: list[Law] = [
    Gaussian(dim=3, scale=1.7),
    Gaussian(dim=4, spectrum="power", exponent=1.5, basis="random", seed=1),
    Gaussian(dim=3, variances=[2.0, 0.0, 0.5]),
    Mixture(dim=1, components=3),
    Mixture(dim=3, scale=0.6),
    Mixture(dim=4, components=5, intrinsic=2, balanced=False, seed=2),
    Mixture(dim=4, components=4, std=0.6, rank=2, balanced=False, seed=3),
    Ring(dim=4),
    Ring(dim=5, components=5, embedding="random", thickness=0.3, scale=0.8, seed=4),
    Chessboard(dim=4),
    Chessboard(dim=3, cells=2, embedding="random", thickness=0.2, scale=1.3, seed=5),
    Moons(dim=2),
    Moons(dim=4, std=0.05, embedding="random", scale=2.0, seed=6),
    Spiral(dim=3, thickness=0.1),
    Spiral(dim=2, turns=0.7, std=0.3, embedding="random", seed=7),
    Cube(dim=1),
    Cube(dim=3, scale=0.7),
    Sphere(dim=2),
    Sphere(dim=4, thickness=0.2, scale=1.4),
    Empirical(dim=3, points=POINTS, scale=1.2),
    Field(side=4),
    Field(side=5, exponent=0.5, scale=0.7),
    Fields(side=4, components=3, scale=1.3),
    Blobs(side=4, blobs=2, empirical=30),
    Manifold(side=5, intrinsic=3, stripes=True, empirical=40),
]
FEW = 5
"""The dimensions in which a random sample is ever near a given point."""
PLANE: list[Law] = [
    Gaussian(dim=2, spectrum="power", basis="random"),
    Mixture(dim=2, components=5, balanced=False),
    Mixture(dim=2, components=5, rank=1, rank_share=0.99),
    Ring(dim=2, embedding="random"),
    Chessboard(dim=2),
    Moons(dim=2),
    Spiral(dim=2),
    Cube(dim=2),
    Sphere(dim=2, thickness=0.1),
    Empirical(dim=2, points=POINTS[:, :2]),
]
each_law = pytest.mark.parametrize("law", INSTANCES, ids=lambda law: f"{law.name}-{law.dim}")
LEVELS = (0.002, 0.3, 1.0, 20.0, 1000.0)


def noised(law: Law, n: int, sigma: float) -> Tensor:
    """n points of the noised law, float64."""
    rng = generator(11)
    x0 = law.sample(n, rng).double()
    return x0 + sigma * torch.randn(n, law.dim, generator=rng, dtype=torch.float64)


@each_law
@pytest.mark.parametrize("sigma", LEVELS)
def test_denoiser_is_tweedie_of_the_density(law: Law, sigma: float) -> None:
    """D = x + sigma^2 grad log p, by autograd, on noised samples and on points three times as far out."""
    x = noised(law, 32, sigma)
    x = torch.cat([x, 3 * x]).requires_grad_()
    (score,) = torch.autograd.grad(law.log_density(x, sigma).sum(), x)
    # the two terms cancel from size |x| down to |D|: rounding of x sets the floor
    tolerance = 1e-13 * x.detach().abs().max().item() + 1e-10
    torch.testing.assert_close(law.denoise(x, sigma), x + sigma**2 * score, rtol=0, atol=tolerance)


@each_law
@pytest.mark.parametrize("level", [0.4, 1.0, 3.0])
def test_denoiser_is_the_posterior_mean_of_the_samples(law: Law, level: float) -> None:
    """Against self-normalised importance sampling, which knows the law only through sample()."""
    sigma = level * law.sigma_data * (1 if law.dim <= FEW else math.sqrt(law.dim))
    x = noised(law, 12, sigma)  # (12, d)
    x0 = law.sample(100_000, generator(3)).double()  # (m, d)
    w = (-torch.cdist(x, x0).square() / (2 * sigma**2)).softmax(-1)  # (12, m)
    mean = w @ x0
    error = ((w.square()[..., None] * (x0 - mean[:, None]).square()).sum(1)).sqrt()  # delta method, (12, d)
    assert (1 / w.square().sum(-1)).min() > 50  # enough effective samples for the error to mean something
    deviations = (law.denoise(x, sigma) - mean).abs() / (error + 1e-7)
    assert deviations.max() < 4.5


@each_law
def test_samples_have_the_stated_moments(law: Law) -> None:
    n = 100_000
    x = law.sample(n, generator(1)).double()
    assert x.shape == (n, law.dim)
    assert math.prod(law.shape) == law.dim
    mean = law.denoise(torch.zeros(1, law.dim, dtype=torch.float64), 1e6)[0]
    if law.name != "empirical" and not getattr(law, "atoms", None):
        assert mean.abs().max() < 1e-9
    assert ((x.mean(0) - mean).abs() <= 5 * x.std(0) / math.sqrt(n) + 1e-7).all()
    energy = (x - mean).square().sum(-1) / law.dim
    error = energy.std() / math.sqrt(n)
    assert abs(energy.mean() - law.sigma_data**2) <= 5 * error + 1e-6


@pytest.mark.parametrize("law", PLANE, ids=lambda law: law.name)
def test_density_in_the_plane_has_mass_one_and_the_stated_variance(law: Law) -> None:
    """Summed over a grid: the error, exp(-2 pi^2 (sigma / step)^2) for a smoothed density, is nothing."""
    sigma, step = 0.5, 0.2
    axis = torch.arange(-8, 8 + step, step, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)  # (N, 2)
    p = law.log_density(grid, sigma).exp() * step**2
    mean = p @ grid
    assert abs(p.sum() - 1) < 1e-9
    # the law of total variance: trace cov of the noised law is that of the law plus d sigma^2
    assert abs(p @ (grid - mean).square().sum(-1) - 2 * (law.sigma_data**2 + sigma**2)) < 1e-7
    torch.testing.assert_close(p @ law.denoise(grid, sigma), mean, rtol=0, atol=1e-9)  # E D = E x0


@each_law
def test_no_noise_returns_the_point_and_all_noise_the_mean(law: Law) -> None:
    x0 = law.sample(64, generator(2)).double()
    shift = law.denoise(x0, 1e-4) - x0
    assert shift.abs().max() < 1e-3  # at most of the order of sigma, at an edge of the support
    mean = law.denoise(torch.zeros_like(x0), 1e6)
    far = law.denoise(x0, 1e4) - mean
    # to first order it is cov (x - mean) / sigma^2
    assert far.norm(dim=-1).max() < 1.01 * law.dim * law.sigma_data**2 * (x0 - mean).norm(dim=-1).max() / 1e8


@each_law
def test_posterior_covariance_is_symmetric_and_nonnegative(law: Law) -> None:
    """sigma^2 times the Jacobian of the denoiser is Cov[x0 | x], at every x and sigma."""
    for sigma in (0.1, 0.7, 5.0):
        for x in noised(law, 3, sigma):
            cov = sigma**2 * torch.autograd.functional.jacobian(partial(law.denoise, sigma=sigma), x)
            torch.testing.assert_close(cov, cov.mT, rtol=0, atol=1e-10)
            assert torch.linalg.eigvalsh(cov).min() > -1e-10


@each_law
def test_any_leading_axes_equal_one_point_at_a_time(law: Law) -> None:
    sigma = torch.logspace(-2, 2, 12, dtype=torch.float64).view(3, 4, 1)  # (e, n, 1)
    x = noised(law, 12, 1.0).view(3, 4, law.dim)  # (e, n, d)
    points = [(point, level.item()) for point, level in zip(x.view(12, -1), sigma.view(12), strict=True)]
    alone = torch.stack([law.denoise(*point) for point in points]).view_as(x)
    density = torch.stack([law.log_density(*point) for point in points]).view(3, 4)
    torch.testing.assert_close(law.denoise(x, sigma), alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(law.log_density(x, sigma), density, rtol=1e-12, atol=1e-12)
    by_member = law.denoise(x, sigma[:, :1])  # one level per member
    torch.testing.assert_close(by_member[1], law.denoise(x[1], sigma[1, 0]), rtol=0, atol=1e-12)


@each_law
def test_the_input_sets_the_dtype(law: Law) -> None:
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        x = noised(law, 5, 0.5).to(dtype)
        assert law.denoise(x, 0.5).dtype == dtype
        assert law.log_density(x, torch.tensor(0.5)).dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = law.denoise(x.float(), 0.5)
    assert torch.equal(inside, law.denoise(x.float(), 0.5))


@each_law
def test_samples_depend_on_the_generator_alone(law: Law) -> None:
    torch.manual_seed(0)
    first = law.sample(10, generator(5))
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(first, law.sample(10, generator(5)))
    assert not torch.equal(first, law.sample(10, generator(6)))
    torch.manual_seed(0)
    assert torch.equal(state, torch.random.get_rng_state())  # nothing drew from the global stream
    assert first.dtype == torch.float32


@each_law
def test_a_law_moved_to_float64_is_the_same_law(law: Law) -> None:
    twin = copy.deepcopy(law).double()
    x = noised(law, 6, 0.8)
    assert torch.equal(twin.denoise(x, 0.8), law.denoise(x, 0.8))
    assert torch.equal(twin.sample(4, generator()), law.sample(4, generator()))
    assert not law.state_dict()  # a law is made from its config: it adds nothing to a checkpoint
