"""Planar laws: against integration in the plane, their embeddings against the plane, labels against geometry."""

import math

import numpy as np
import pytest
import torch
from near import assert_near, generator, tensor
from scipy.special import roots_legendre

from dmdlab.laws import Chessboard, Mixture, Moons, Ring, Spiral, make_law


@pytest.mark.parametrize("name", ["moons", "spiral"])
@pytest.mark.parametrize("std", [0.02, 0.1, 0.5, 4.0])
def test_curves_are_the_integral_along_their_curve(name: str, std: float) -> None:
    """At any sigma, half as far out again as noised samples come, by trapezoids in t with u = t^3 (10 - 15 t + 6 t^2):
    the ends weigh nothing, so 40 000 of them are exact to rounding."""
    law = make_law({"name": name, "dim": 2, "std": std})
    t = torch.linspace(0, 1, 40_001, dtype=torch.float64)
    u, weight = t**3 * (10 - 15 * t + 6 * t**2), 30 * (t * (1 - t)) ** 2 / 40_000
    if name == "moons":
        upper = torch.stack([(math.pi * u).cos() - 0.5, (math.pi * u).sin() - 0.25], dim=-1)
        curve, weight = torch.cat([upper, -upper]), torch.cat([weight, weight]) / 2
    else:  # 1.5 turns to radius 2, uniform in the square of the angle
        curve, weight = (
            2 * u[:, None] * torch.stack([(3 * math.pi * u).cos(), (3 * math.pi * u).sin()], -1),
            2 * u * weight,
        )
        curve = curve - weight @ curve
    for sigma in (0.002, 0.03, 0.3, 3.0, 1000.0):
        noise = torch.randn(30, 2, generator=generator(1), dtype=torch.float64)
        x, v = 1.5 * (law.sample(30, generator()).double() + sigma * noise), std**2 + sigma**2
        logits = weight.log() - (x[:, None] - curve).square().sum(-1) / (2 * v)  # (30, nodes)
        mean = (std**2 * x + sigma**2 * logits.softmax(-1) @ curve) / v
        torch.testing.assert_close(law.denoise(x, sigma), mean, rtol=0, atol=1e-10)
        log_p = logits.logsumexp(-1) - math.log(2 * math.pi * v)
        torch.testing.assert_close(law.log_density(x, sigma), log_p, rtol=1e-10, atol=1e-10)


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
    nodes, weights = roots_legendre(60)
    axis = (np.arange(4)[:, None] - 1.5 + nodes / 2).ravel()  # over the four squares of a side
    p = (
        np.exp(-np.square(x[:, None] - axis) / (2 * sigma**2))
        * np.tile(weights / 2, 4)
        / math.sqrt(2 * np.pi * sigma**2)
    )
    square = np.arange(4).repeat(60)
    p = p[0][:, None] * p[1] * ((square[:, None] + square) % 2 == 0) / 8  # eight squares of area 1
    total, mean = p.sum(), np.array([(p.sum(1) @ axis), (p.sum(0) @ axis)]) / p.sum()
    assert_near(law.log_density(tensor(x), sigma), math.log(total))
    assert_near(law.denoise(tensor(x), sigma), mean)


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
    for law in (Ring(dim=4), Chessboard(dim=4), Moons(dim=4), Mixture(dim=4)):
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
