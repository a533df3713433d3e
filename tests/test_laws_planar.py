"""Planar laws: against integration in the plane, their embeddings against the plane, labels against geometry."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from near import assert_near, generator, tensor
from scipy import integrate

from dmdlab.laws import Chessboard, Law, Mixture, Moons, Ring, Spiral, make_law
from dmdlab.laws.planar import PlanarMixture


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
            return float(integrate.quad(lambda a: 2 * a / end * trig(a) * 2 * a / end**2, 0, end, epsabs=1e-13)[0])

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
                integrate.quad(integrand, a, b, args=(i,), epsabs=0, epsrel=1e-12)[0] for a, b in pairwise(parts)
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


@pytest.mark.parametrize("name", ["moons", "spiral"])
@pytest.mark.parametrize("std", [0.02, 0.1, 0.5, 4.0])
def test_curves_are_cut_finely_enough(name: str, std: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels a quarter as long change nothing, at any sigma, half as far out again as noised samples come."""
    law = make_law({"name": name, "dim": 2, "std": std})
    monkeypatch.setattr("dmdlab.laws.curves._PANEL_STDS", 0.75)
    finer = make_law({"name": name, "dim": 2, "std": std})
    assert isinstance(law, PlanarMixture)
    assert isinstance(finer, PlanarMixture)
    assert len(finer.means) >= 3 * len(law.means)
    for sigma in (0.002, 0.03, 0.3, 3.0, 1000.0):
        noise = torch.randn(300, 2, generator=generator(1), dtype=torch.float64)
        x = 1.5 * (law.sample(300, generator()).double() + sigma * noise)
        torch.testing.assert_close(law.denoise(x, sigma), finer.denoise(x, sigma), rtol=0, atol=1e-11)


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
