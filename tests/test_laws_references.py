"""Each law against a slow, obvious second implementation or a closed form of its own."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from dmdlab.laws import (
    Chessboard,
    Cube,
    Empirical,
    Gaussian,
    Law,
    Mixture,
    Moons,
    Ring,
    Sphere,
    Spiral,
    make_law,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_near(value: Tensor, reference: object, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(value, tensor(np.asarray(reference).tolist()), rtol=0, atol=tolerance)


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


def test_gaussian_in_a_random_basis_is_the_rotated_gaussian() -> None:
    turned = Gaussian(dim=5, spectrum="power", basis="random", seed=4)
    plain = Gaussian(dim=5, spectrum="power")
    basis = turned.basis
    assert basis is not None
    assert_near(basis @ basis.mT, np.eye(5))
    y = torch.randn(7, 5, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(
        turned.denoise(y @ basis, 0.4), plain.denoise(y, 0.4) @ basis, rtol=0, atol=1e-12
    )
    torch.testing.assert_close(turned.log_density(y @ basis, 0.4), plain.log_density(y, 0.4))


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_mixture_is_the_mixture_of_its_dense_components(rank: int) -> None:
    law = Mixture(dim=4, components=3, std=0.5, rank=rank, balanced=False, scale=1.2, seed=5)
    x, sigma = 1.5 * torch.randn(9, 4, generator=generator(), dtype=torch.float64), 0.6
    weights = law.log_weights.exp().numpy()
    joint, means, trace = [], [], 0.0
    for k in range(3):
        frame = law.directions[k * rank : (k + 1) * rank].numpy()  # (r, d)
        cov = law.floor * np.eye(4) + law.ridge * frame.T @ frame
        noised = cov + sigma**2 * np.eye(4)
        mu = law.means[k].numpy()
        joint.append(weights[k] * stats.multivariate_normal(mu, noised).pdf(x.numpy()))
        means.append(mu + (x.numpy() - mu) @ np.linalg.solve(noised, cov))
        trace += weights[k] * (np.trace(cov) + mu @ mu)
        assert np.trace(cov) == pytest.approx(4 * (0.5 * 1.2) ** 2)
    p = np.sum(joint, axis=0)  # (n,)
    assert_near(law.log_density(x, sigma), np.log(p))
    assert_near(law.denoise(x, sigma), np.einsum("kn,knd->nd", joint / p, means))
    assert trace == pytest.approx(4 * 1.2**2)  # the scale convention, exactly
    assert_near(law.log_weights.exp() @ law.means, np.zeros(4))


def test_mixture_of_one_component_is_a_gaussian() -> None:
    x = torch.randn(6, 5, generator=generator(), dtype=torch.float64)
    for rank in (0, 2):
        one = Mixture(dim=5, components=1, std=1.0, rank=rank, scale=0.8)
        frame = one.directions
        cov = one.floor * torch.eye(5, dtype=torch.float64) + one.ridge * frame.mT @ frame
        noised = cov + 0.3**2 * torch.eye(5, dtype=torch.float64)
        assert_near(one.denoise(x, 0.3), (x @ torch.linalg.solve(noised, cov)).tolist())
    flat = Mixture(dim=5, components=1, std=1.0, scale=0.8)
    gaussian = Gaussian(dim=5, scale=0.8)
    torch.testing.assert_close(flat.denoise(x, 0.3), gaussian.denoise(x, 0.3), rtol=0, atol=1e-12)
    torch.testing.assert_close(flat.log_density(x, 0.3), gaussian.log_density(x, 0.3))


def test_mixture_means_lie_in_a_subspace_of_the_intrinsic_dimension() -> None:
    law = Mixture(dim=10, components=8, intrinsic=3)
    assert law.intrinsic_dim == 3
    assert torch.linalg.matrix_rank(law.means) == 3


def curve_reference(law: Law, x: np.ndarray, sigma: float) -> tuple[float, np.ndarray]:
    """log p and E[x0 | x] of moons or a spiral in the plane by adaptive integration over its curve."""
    if law.name == "moons":
        pieces = [
            lambda a: (math.cos(a) - 0.5, math.sin(a) - 0.25, 0.5 / math.pi),
            lambda a: (0.5 - math.cos(a), 0.25 - math.sin(a), 0.5 / math.pi),
        ]
        end = math.pi
    else:
        end = 3 * math.pi  # 1.5 turns; u = (a / end)^2, hence density 2 a / end^2 in the angle

        def centre(i: int) -> float:
            trig = (math.cos, math.sin)[i]
            return float(
                integrate.quad(lambda a: 2 * a / end * trig(a) * 2 * a / end**2, 0, end, epsabs=1e-13)[0]
            )

        cx, cy = centre(0), centre(1)
        pieces = [lambda a: (2 * a / end * math.cos(a) - cx, 2 * a / end * math.sin(a) - cy, 2 * a / end**2)]
    std = 0.1
    v = std**2 + sigma**2
    total = np.zeros(3)
    for piece in pieces:

        def integrand(a: float, i: int, piece: object = piece) -> float:
            y1, y2, density = piece(a)  # type: ignore[operator]
            weight = density * math.exp(-((x[0] - y1) ** 2 + (x[1] - y2) ** 2) / (2 * v)) / (2 * math.pi * v)
            return weight * (1.0, y1, y2)[i]

        for i in range(3):
            parts = np.linspace(0, end, 9)
            total[i] += sum(
                integrate.quad(integrand, a, b, args=(i,), epsabs=0, epsrel=1e-12)[0]
                for a, b in pairwise(parts)
            )
    curve = total[1:] / total[0]
    return math.log(total[0]), (std**2 * x + sigma**2 * curve) / v


@pytest.mark.parametrize("name", ["moons", "spiral"])
@pytest.mark.parametrize("sigma", [0.05, 0.4, 10.0])
def test_curves_agree_with_adaptive_integration(name: str, sigma: float) -> None:
    law = make_law({"name": name, "dim": 2, "std": 0.1})
    for x in ([0.3, 0.9], [-0.4, 0.1], [1.3 + sigma, -1.5 * sigma]):
        log_p, mean = curve_reference(law, np.array(x), sigma)
        assert_near(law.log_density(tensor(x), sigma), log_p, 1e-9)
        assert_near(law.denoise(tensor(x), sigma), mean, 1e-9)


def test_ring_is_the_sum_over_its_gaussians() -> None:
    law = Ring(dim=2, components=7, radius=1.5, std=0.25, scale=2.0)
    angles = 2 * np.pi * np.arange(7) / 7
    mu = 3.0 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    x, sigma = np.array([1.1, -2.0]), 0.9
    v = 0.5**2 + sigma**2
    w = np.exp(-np.square(x - mu).sum(-1) / (2 * v))
    assert_near(law.log_density(tensor(x), sigma), math.log(w.mean() / (2 * math.pi * v)))
    mean = w @ (mu + 0.5**2 / v * (x - mu)) / w.sum()
    assert_near(law.denoise(tensor(x), sigma), mean)


@pytest.mark.parametrize("sigma", [0.1, 0.6, 3.0])
def test_chessboard_is_the_integral_over_its_squares(sigma: float) -> None:
    law = Chessboard(dim=2)
    x = np.array([0.2, -1.7])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = np.zeros(3)
    for row in range(4):
        for column in range(4):
            if (row + column) % 2 == 0:
                y1, y2 = np.meshgrid(row - 1.5 + nodes / 2, column - 1.5 + nodes / 2, indexing="ij")
                p = np.exp(-((x[0] - y1) ** 2 + (x[1] - y2) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
                p *= np.outer(weights, weights) / 4 / 8  # eight squares of area 1
                total += [p.sum(), (p * y1).sum(), (p * y2).sum()]
    assert_near(law.log_density(tensor(x), sigma), math.log(total[0]))
    assert_near(law.denoise(tensor(x), sigma), total[1:] / total[0])


@pytest.mark.parametrize("sigma", [0.05, 1.0, 40.0])
def test_cube_is_an_integral_per_coordinate(sigma: float) -> None:
    half = math.sqrt(3) * 0.7
    x = np.array([0.0, half + 2 * sigma, -0.9])
    nodes, weights = np.polynomial.legendre.leggauss(400)
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
    node, weight = np.polynomial.legendre.leggauss(200)
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


def test_empirical_law_of_two_points_by_hand() -> None:
    law = Empirical(dim=1, points=[[-1.0], [3.0]])
    sigma, x = 2.0, tensor([[1.0], [0.0], [4.0]])
    # weights of 3 against -1: exp((x - 1) * 4 / sigma^2)
    share = 1 / (1 + np.exp(-(x.numpy() - 1)))
    assert_near(law.denoise(x, sigma), -1 + 4 * share)
    p = 0.5 * (stats.norm(-1, 2).pdf(x.numpy()) + stats.norm(3, 2).pdf(x.numpy()))[:, 0]
    assert_near(law.log_density(x, sigma), np.log(p))
    assert law.sigma_data == pytest.approx(2.0)


def test_empirical_law_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).standard_normal((101, 6))
    law = Empirical(dim=6, points=points)
    x = 2 * torch.randn(9, 6, generator=generator(), dtype=torch.float64)
    for sigma in (0.01, 1.0, 100.0):
        one_chunk = law.denoise(x, sigma), law.log_density(x, sigma)
        with monkeypatch.context() as patch:
            patch.setattr("dmdlab.laws.empirical._CHUNK_NUMBERS", 9 * 4)  # 26 chunks of 4 points, one of 1
            torch.testing.assert_close(law.denoise(x, sigma), one_chunk[0], rtol=0, atol=1e-12)
            torch.testing.assert_close(law.log_density(x, sigma), one_chunk[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["ring", "chessboard", "moons", "spiral"])
def test_planar_law_in_space_is_the_planar_law(name: str) -> None:
    plane = make_law({"name": name, "dim": 2})
    y = torch.randn(8, 2, generator=generator(), dtype=torch.float64)
    off = torch.randn(8, 3, generator=generator(1), dtype=torch.float64)
    law = make_law({"name": name, "dim": 5})
    x0 = law.denoise(torch.cat([y, off], -1), 0.5)
    assert torch.equal(x0[:, :2], plane.denoise(y, 0.5))
    assert (x0[:, 2:] == 0).all()
    assert (law.sample(50, generator())[:, 2:] == 0).all()
    thick = make_law({"name": name, "dim": 5, "thickness": 0.5})
    x0 = thick.denoise(torch.cat([y, off], -1), 0.5)
    torch.testing.assert_close(x0[:, 2:], off / 2)  # Wiener's filter at equal variances
    # a random plane: its samples span it, and the off-plane part of the noise is removed
    turned = make_law({"name": name, "dim": 5, "embedding": "random", "seed": 3})
    sample = turned.sample(400, generator()).double()
    assert (torch.linalg.svdvals(sample) > 1e-4).sum() == 2
    plane_axes = torch.linalg.svd(sample, full_matrices=False)[2][:2]  # (2, 5)
    x = sample[:6] + 0.5 * torch.randn(6, 5, generator=generator(4), dtype=torch.float64)
    within = x @ plane_axes.mT @ plane_axes
    torch.testing.assert_close(turned.denoise(x, 0.5), turned.denoise(within, 0.5), rtol=0, atol=1e-6)


def test_labels_agree_with_geometry() -> None:
    x, labels = Ring(dim=3, std=0.01).sample_labelled(500, generator())
    angle = torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi) * 32
    assert torch.equal(angle.round().long() % 32, labels)
    x, labels = Chessboard(dim=3).sample_labelled(500, generator())
    cell = (x[:, :2] + 2).floor().long()
    assert ((cell.sum(-1)) % 2 == 0).all()
    assert torch.equal(cell[:, 0] * 2 + cell[:, 1] // 2, labels)  # two dark squares a row
    x, labels = Moons(dim=3, std=0.02).sample_labelled(500, generator())
    upper = ((x[:, :2] + torch.tensor([0.5, 0.25])).norm(dim=-1) - 1).abs() < 0.12
    assert ((labels == 0) == upper).float().mean() > 0.95  # the moons' circles cross; elsewhere it is exact
    mixture = Mixture(dim=50, components=5, std=0.1, balanced=False, seed=1)
    x, labels = mixture.sample_labelled(4000, generator())
    assert torch.equal(torch.cdist(x, mixture.means.float()).argmin(-1), labels)
    counts = torch.bincount(labels, minlength=5) / 4000
    assert (counts - mixture.log_weights.exp()).abs().max() < 0.03
    for name in ("ring", "chessboard", "moons", "mixture"):
        law = make_law({"name": name, "dim": 4})
        x, labels = law.sample_labelled(3000, generator(2))
        assert torch.equal(x, law.sample(3000, generator(2)))
        assert set(labels.tolist()) == set(range(law.classes))
        assert labels.dtype == torch.int64


def test_spiral_winds_as_often_as_said() -> None:
    law = Spiral(dim=2, turns=2.5, std=0.01)
    y = law.means + law.centre  # the uncentred curve
    radius, angle = y.norm(dim=-1), np.unwrap(torch.atan2(y[:, 1], y[:, 0]).numpy())
    assert radius.max().item() == pytest.approx(2, abs=1e-3)
    assert angle[-1] == pytest.approx(2 * math.pi * 2.5, rel=1e-3)
