"""The DMD direction: by hand on two points, and in expectation on Gaussians, where everything is known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion import flow, karras_grid
from dmdlab.laws import Gaussian
from dmdlab.theory import distillation_velocity, noised_kl
from dmdlab.training.direction import dmd_direction, dmd_surrogate, normaliser
from dmdlab.training.turn import Turn

KINDS = ("sample", "floored", "batch", "none")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(d: int, seed: int) -> Tensor:
    return torch.linalg.qr(normal(d, d, seed=seed))[0]


def root(covariance: Tensor) -> Tensor:
    values, axes = torch.linalg.eigh(covariance)
    return axes @ values.sqrt().diag() @ axes.mT


def assert_zero_mean(values: Tensor, errors: float = 5.0) -> None:
    """Each entry's mean over the first axis lies within five standard errors of 0."""
    mean, error = values.mean(0), values.std(0) / math.sqrt(len(values))
    assert (mean.abs() / error).max() < errors


# --- the direction by hand


X = torch.tensor([[[1.0, 2.0], [3.0, -4.0]]])  # (1, 2, 2)
TEACHER = torch.tensor([[[0.0, 4.0], [1.0, 2.0]]])
FAKE = torch.tensor([[[2.0, 1.0], [1.0, 3.0]]])
SIZES = {"sample": [1.5, 4.0], "floored": [1.5 + 1e-6, 4.0 + 1e-6], "batch": [2.75, 2.75], "none": [1.0, 1.0]}
"""abs(X - TEACHER) is (1, 2) and (2, 6): means 1.5 and 4 by sample, 2.75 over the batch."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_direction_on_two_points(kind: str) -> None:
    difference = np.array([[2.0, -3.0], [0.0, 1.0]])
    expected = difference / np.array(SIZES[kind])[:, None]
    np.testing.assert_allclose(dmd_direction(X, TEACHER, FAKE, kind)[0].numpy(), expected, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_normaliser_keeps_members_apart(kind: str) -> None:
    pair = [torch.cat([a, 10 * a]) for a in (X, TEACHER)]
    both = normaliser(*pair, kind)
    for i, scale in enumerate((1.0, 10.0)):
        alone = normaliser(scale * X, scale * TEACHER, kind)
        torch.testing.assert_close(torch.as_tensor(both).expand(2, 2, 1)[i], torch.as_tensor(alone).expand(1, 2, 1)[0])


def test_the_exact_normaliser_has_no_floor() -> None:
    same = torch.zeros(1, 1, 2)
    assert not dmd_direction(same, same, FAKE[:, :1], "sample").isfinite().all()
    assert dmd_direction(same, same, FAKE[:, :1], "floored").isfinite().all()


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 3 * 2), ("sum", 3)])
def test_the_surrogates_gradient_is_the_direction(reduction: str, divisor: int) -> None:
    x, direction = normal(4, 3, 2).requires_grad_(), normal(4, 3, 2, seed=1).requires_grad_()
    loss = dmd_surrogate(x, direction, reduction)
    assert loss.shape == (4,)
    np.testing.assert_allclose(loss.detach(), (x * direction).sum(dim=(1, 2)).detach() / divisor)
    gradient, through = torch.autograd.grad(loss.sum(), (x, direction), allow_unused=True)
    torch.testing.assert_close(gradient, direction.detach() / divisor)
    assert through is None


# --- the direction in expectation

GAUSSIAN = Gaussian(dim=4, spectrum="power", exponent=1.2, basis="random", seed=3)
C = GAUSSIAN.covariance()
TURNS = {
    "none": torch.eye(4, dtype=torch.float64),
    "the controls": Turn([0], [True], 4)(torch.eye(4)[None])[0].double(),
    "uniform": orthogonal(4, 5),
    "a reflection": torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64)),
}


def fitted_denoiser(x: Tensor, x_sigma: Tensor) -> Tensor:
    """The best linear denoiser of these samples (n, d), as a matrix on rows: all it knows of a law are its samples."""
    return torch.linalg.lstsq(x_sigma, x).solution


def gradients(student: Callable[[Tensor], Tensor], kind: str, sigma: float) -> Tensor:
    """Independent estimates of E[direction z^T], (60, d, d), each with a fake score fitted to the student's samples."""
    found = []
    for i in range(60):
        z = 80.0 * normal(2, 2000, 4, seed=i)
        x = student(z)  # one half for the fake score, one for the gradient
        x_sigma = x + sigma * normal(2, 2000, 4, seed=1000 + i)
        fake = x_sigma[1] @ fitted_denoiser(x[0], x_sigma[0])
        direction = dmd_direction(x[1:], GAUSSIAN.denoise(x_sigma[1:], sigma), fake[None], kind)[0]
        found.append(direction.mT @ z[1] / 2000)
    return torch.stack(found)


PHI = flow(GAUSSIAN.denoise, torch.eye(4, dtype=torch.float64), karras_grid(512, Experiment().noise))
"""The flow map as the sampler computes it, (4, 4) on rows: the flow of a Gaussian is linear."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", TURNS)
def test_the_direction_vanishes_at_the_teachers_law_for_every_rotation_of_the_noise(turn: str, kind: str) -> None:
    """G(z) = Phi(R z) has the teacher's law whatever R, so nothing in the loss can tell copying from remapping."""
    assert_zero_mean(gradients(lambda z: z @ TURNS[turn].mT @ PHI, kind, 1.0).flatten(1))


def test_the_direction_does_not_vanish_at_another_law() -> None:
    """The test above can fail: it sees a twentieth more spread along one axis."""
    stretch = torch.diag(torch.tensor([1.05, 1.0, 1.0, 1.0], dtype=torch.float64))
    with pytest.raises(AssertionError):
        assert_zero_mean(gradients(lambda z: z @ stretch @ PHI, "none", 1.0).flatten(1))


def wiener(covariance: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The exact denoiser of N(0, covariance), by solving its normal equations."""
    noise = sigma**2 * torch.eye(len(covariance), dtype=torch.float64)
    return x @ torch.linalg.solve(covariance + noise, covariance)


def turning_and_growing(kind: str, angle: float) -> tuple[Tensor, Tensor]:
    """100 estimates (100, 1) of d loss / d a and d loss / d c for G(z) = c W exp(a J) z, far from the teacher's law."""
    w, skew = normal(4, 4, seed=8) / 80.0, normal(4, 4, seed=9)
    covariance = 80.0**2 * w @ w.mT
    found = []
    for i in range(100):
        a, c = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (angle, 1.0))
        z, eps = 80.0 * normal(1, 1000, 4, seed=i), normal(1, 1000, 4, seed=1000 + i)
        x = c * z @ torch.matrix_exp(a * (skew - skew.mT)).mT @ w.mT
        x_sigma = x.detach() + eps
        direction = dmd_direction(x, GAUSSIAN.denoise(x_sigma, 1.0), wiener(covariance, x_sigma, 1.0), kind)
        found.append(torch.stack(torch.autograd.grad(dmd_surrogate(x, direction, "sum").sum(), (a, c))))
    return torch.stack(found).split(1, dim=1)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["none", "batch"])
@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0])
def test_turning_the_noise_changes_no_loss_even_far_from_the_teachers_law(angle: float, kind: str) -> None:
    """The student's law does not depend on a, so neither does a loss of laws; it does depend on c."""
    turning, growing = turning_and_growing(kind, angle)
    assert_zero_mean(turning)
    with pytest.raises(AssertionError):
        assert_zero_mean(growing)


def test_a_normaliser_of_each_sample_makes_the_update_no_gradient_of_a_loss_of_laws() -> None:
    """DMD2's default divides by a number that depends on x and x_sigma together, so away from the teacher's law it also
    turns the noise: a little, alike from every angle (the inheritance lemma holds), and not at the law itself."""
    for angle in (0.0, 0.7):
        turning, growing = turning_and_growing("sample", angle)
        with pytest.raises(AssertionError):
            assert_zero_mean(turning)
        assert turning.mean().abs() < 0.1 * growing.mean().abs()


@pytest.mark.parametrize("sigma", [0.1, 1.0, 20.0])
def test_for_a_shifted_mean_the_unnormalised_gradient_is_that_of_the_kl_divergence(sigma: float) -> None:
    """Student N(m, C), teacher N(0, C): the surrogate's gradient in m over sigma^2, by finite differences of KL."""
    shift = normal(4, seed=2).requires_grad_()
    x = (normal(1, 200, 4) @ root(C)).detach() + shift
    x_sigma = (x + sigma * normal(1, 200, 4, seed=1)).detach()
    d_fake = shift.detach() + GAUSSIAN.denoise(x_sigma - shift.detach(), sigma)
    direction = dmd_direction(x, GAUSSIAN.denoise(x_sigma, sigma), d_fake, "none")
    (found,) = torch.autograd.grad(dmd_surrogate(x, direction, "sum").sum(), shift)
    h = 1e-4
    for i in range(4):
        step = h * torch.eye(4, dtype=torch.float64)[i]
        up, down = (noised_kl(shift.detach() + s, C, C, sigma) for s in (step, -step))
        assert (found[i] / sigma**2).item() == pytest.approx(((up - down) / (2 * h)).item(), rel=1e-6)


def test_a_linear_students_gradient_is_that_of_the_linear_gaussian_theory() -> None:
    w = (normal(4, 4, seed=11) / 80.0).requires_grad_()
    covariance = (80.0**2 * w @ w.mT).detach()
    levels = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)
    expected = -distillation_velocity(w.detach(), C, 80.0, levels, levels**2)
    found = []
    for i in range(100):
        z = 80.0 * normal(3, 500, 4, seed=i)  # a member per level
        x = z @ w.mT
        x_sigma = x.detach() + levels[:, None, None] * normal(3, 500, 4, seed=1000 + i)
        fake = torch.stack([wiener(covariance, y, s) for y, s in zip(x_sigma, levels.tolist(), strict=True)])
        direction = dmd_direction(x, GAUSSIAN.denoise(x_sigma, levels[:, None, None]), fake, "none")
        (gradient,) = torch.autograd.grad(dmd_surrogate(x, direction, "sum").mean(), w)
        found.append(gradient - expected)
    errors = torch.stack(found).flatten(1)
    assert_zero_mean(errors)
    assert (errors.mean(0).norm() / expected.norm()).item() < 0.05
