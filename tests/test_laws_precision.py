"""The laws at the ends of their range: d = 4096 in float32, sigma from 0.002 to 1000, special functions."""

import math

import numpy as np
import pytest
import torch
from scipy import special

from dmdlab.laws import Chessboard, Cube, Empirical, Field, Fields, Gaussian, Law, Mixture, Moons, Ring, Sphere, Spiral
from dmdlab.laws.bessel import log_bessel_and_ratio
from dmdlab.laws.embedding import random_frame
from dmdlab.laws.truncated import truncated_moments

mpmath = pytest.importorskip("mpmath", reason="arbitrary precision, installed with torch (through sympy)")

D = 4096
LARGE: list[Law] = [
    Gaussian(dim=D, spectrum="power"),
    Gaussian(dim=512, spectrum="power", basis="random"),  # the QR of a 4096-d basis takes half a minute
    Mixture(dim=D),
    Mixture(dim=D, rank=4, balanced=False),
    Mixture(dim=D, intrinsic=8, std=0.05),
    Ring(dim=D),
    Ring(dim=D, embedding="random", thickness=0.1),
    Chessboard(dim=D),
    Chessboard(dim=D, embedding="random"),
    Moons(dim=D),
    Spiral(dim=D, embedding="random"),
    Cube(dim=D),
    Sphere(dim=D),
    Sphere(dim=D, thickness=0.1),
    Empirical(dim=D, points=np.random.default_rng(0).standard_normal((64, D))),
    Field(side=64),
    Fields(side=64, components=3),
    Fields(side=32, channels=3, exponent=1.9, exponent_last=2.1),
]


@pytest.mark.parametrize("law", LARGE, ids=lambda law: law.name)
@pytest.mark.parametrize("sigma", [0.002, 0.05, 1.0, 30.0, 1000.0])
def test_float32_agrees_with_float64_in_high_dimension(law: Law, sigma: float) -> None:
    """To 2e-6 of the size of the data, 16 roundings of float32: a few in x, the rest in sums over d."""
    generator = torch.Generator().manual_seed(0)
    x0 = law.sample(8, generator)
    x = x0 + sigma * torch.randn(x0.shape, generator=generator)
    single, double = law.denoise(x, sigma), law.denoise(x.double(), sigma)
    error = (single - double).norm(dim=-1) / (law.sigma_data * math.sqrt(law.dim))
    assert error.max() < 2e-6
    assert law.log_density(x, sigma).isfinite().all()


@pytest.mark.parametrize("law", LARGE, ids=lambda law: law.name)
def test_far_off_points_get_finite_answers(law: Law) -> None:
    """A diverging student asks about points that no noised sample reaches: the answer stays finite."""
    x = 1e4 * torch.randn(4, law.dim, generator=torch.Generator().manual_seed(1))
    for sigma in (0.002, 1.0):
        x0 = law.denoise(x, sigma)
        assert x0.isfinite().all()
        assert x0.norm(dim=-1).max() <= 1.01 * x.norm(dim=-1).max()
        assert law.log_density(x.double(), sigma).isfinite().all()


@mpmath.workdps(80)
def exact_truncated(x: float, sigma: float, low: float, high: float) -> tuple[float, float]:
    x, sigma, low, high = (mpmath.mpf(value) for value in (x, sigma, low, high))
    a, b, side = (low - x) / sigma, (high - x) / sigma, 1
    if a + b < 0:
        a, b, side = -b, -a, -1
    z = (mpmath.erfc(a / mpmath.sqrt(2)) - mpmath.erfc(b / mpmath.sqrt(2))) / 2
    return float(mpmath.log(z)), float(x + side * sigma * (mpmath.npdf(a) - mpmath.npdf(b)) / z)


@pytest.mark.parametrize("sigma", [1e-5, 1e-3, 0.1, 1.0, 2.4, 10.0, 1e3, 1e5])
def test_truncated_moments_against_arbitrary_precision(sigma: float) -> None:
    """At the centre, at the edges, just around, far out, and on both sides of each change of formula."""
    low, high = -1.3, 0.7
    half, centre = (high - low) / 2, (high + low) / 2
    changes = [half, sigma**2 / (2 * half)]  # m = h and m h = 1/2, as distances from the centre
    x = [low, high, centre, centre + 1e-9, high - 1e-6, high + 0.3 * sigma, high + 3 * sigma, low - 40 * sigma]
    x += [centre + sign * change * factor for change in changes for sign in (-1, 1) for factor in (0.999, 1.001)]
    # within 1e5 half sides and 1e5 sigma, which is farther than any student goes
    x = [value for value in x if abs(value - centre) < 1e5 * min(half, sigma) + 2 * half + 50 * sigma]
    arguments = torch.tensor(x, dtype=torch.float64)
    log_mass, mean = truncated_moments(arguments, torch.tensor(sigma, dtype=torch.float64), low, high)
    for i, value in enumerate(x):
        exact_log, exact_mean = exact_truncated(value, sigma, low, high)
        # x itself is known to rounding only, as is its distance to the edge in units of sigma
        rounding = 1e-15 * (1 + abs(value)) * (1 + abs(value - centre) / sigma) / sigma
        assert log_mass[i].item() == pytest.approx(exact_log, rel=1e-12, abs=1e-12 + 10 * rounding)
        assert mean[i].item() == pytest.approx(exact_mean, rel=0, abs=4e-15 * (1 + abs(value)))
        assert low - 1e-14 * abs(value) <= mean[i].item() <= high + 1e-14 * abs(value)


@pytest.mark.parametrize("order", [0.0, 0.5, 1.0, 3.0, 15.0, 31.5, 39.5, 40.0, 63.0, 255.0, 2047.0])
def test_bessel_functions_against_arbitrary_precision(order: float) -> None:
    kappa = np.logspace(-6, 6, 13)
    log_bessel, ratio = log_bessel_and_ratio(order, torch.tensor(kappa))
    for i, value in enumerate(kappa):
        with mpmath.workdps(40):
            k = mpmath.mpf(float(value))
            i0, i1 = mpmath.besseli(order, k), mpmath.besseli(order + 1, k)
            exact_ratio, exact_log = float(i1 / i0 / k), float(mpmath.log(i0) - order * mpmath.log(k) - k)
        assert ratio[i].item() == pytest.approx(exact_ratio, rel=5e-15)
        assert log_bessel[i].item() == pytest.approx(exact_log, rel=1e-13, abs=1e-12)


@pytest.mark.parametrize("order", [0.0, 1.0, 7.5, 63.5, 511.0, 2047.0])
def test_bessel_ratio_between_its_bounds_at_any_argument(order: float) -> None:
    """Amos (1974): I_{n+1} / I_n lies between k / (n + 1/2 + sqrt(k^2 + c^2)) at c = n + 3/2 and n + 1/2."""
    kappa = torch.logspace(-12, 12, 97, dtype=torch.float64)
    _, ratio = log_bessel_and_ratio(order, kappa)
    low = 1 / (order + 0.5 + torch.sqrt(kappa**2 + (order + 1.5) ** 2))
    high = 1 / (order + 0.5 + torch.sqrt(kappa**2 + (order + 0.5) ** 2))
    rounding = 4e-15  # the bounds meet as kappa / order goes to 0 and to infinity
    assert (ratio >= low * (1 - rounding)).all()
    assert (ratio <= high * (1 + rounding)).all()
    at_zero = log_bessel_and_ratio(order, torch.zeros(1, dtype=torch.float64))
    assert at_zero[1].item() == pytest.approx(1 / (2 * (order + 1)), rel=1e-15)
    assert at_zero[0].item() == pytest.approx(-special.gammaln(order + 1) - order * math.log(2), rel=1e-14, abs=1e-13)


def test_random_frames_are_uniform() -> None:
    """Orthonormal rows, no direction preferred: with the signs of R left in, the means would not vanish."""
    rng = np.random.default_rng(0)
    frames = np.stack([random_frame(2, 3, rng) for _ in range(4000)])  # (N, 2, 3)
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (4000, 2, 2)), atol=1e-12)
    assert np.abs(frames.mean(0)).max() < 5 / math.sqrt(3 * 4000)
    assert np.abs((frames**2).mean(0) - 1 / 3).max() < 0.03
