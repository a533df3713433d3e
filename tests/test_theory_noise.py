"""The variances of stochastic gradients along the flat directions, against autograd and sampling."""

from collections.abc import Iterator

import pytest
import torch
from linear_students import exact, normal
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.theory import (
    PlaneVariances,
    adam_rates,
    batch_variances,
    expected_variances,
    flat_part,
    frozen_variance,
    regression_moments,
    sample_gradients,
    trained_score_moments,
    trained_score_rates,
    wishart_moments,
)
from dmdlab.training.direction import dmd_direction, dmd_surrogate

S = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
OFF = ~torch.eye(3, dtype=torch.bool)


def close(found: Tensor, expected: Tensor, rel: float) -> None:
    """Off the diagonal, in every entry."""
    assert ((found - expected)[OFF].abs() < rel * expected[OFF]).all(), (found, expected)


def variance_of_flat_parts(w: Tensor, axes: Tensor, gradients: Tensor) -> Tensor:
    return (axes.mT @ flat_part(w, gradients) @ axes).var(0)


def test_a_samples_gradient_is_that_of_the_surrogate() -> None:
    """Eq. (5), by autograd."""
    w, z, eps, sigma = normal(3, 3).requires_grad_(), normal(6, 3, seed=1), normal(6, 3, seed=2), 0.7
    fake, teacher = normal(3, 3, seed=3), normal(3, 3, seed=4)
    x = (z @ w.mT)[None]
    x_sigma = x.detach() + sigma * eps
    direction = dmd_direction(x, x_sigma @ teacher.mT, x_sigma @ fake.mT, "none")
    (expected,) = torch.autograd.grad(dmd_surrogate(x, direction, "sum").sum(), w)
    torch.testing.assert_close(sample_gradients(w.detach(), fake, teacher, z, eps, sigma).mean(0), expected)


def test_with_exact_scores_at_the_matching_law_no_sample_has_a_gradient() -> None:
    """Eq. (5) with E = 0: the walk has nothing to walk by, whatever the pairing; with an error it has."""
    turn = torch.linalg.qr(normal(3, 3))[0]
    w, teacher = S.sqrt().diag() @ turn, exact(S.diag(), 0.7)
    z, eps = normal(50, 3, seed=1), normal(50, 3, seed=2)
    assert sample_gradients(w, exact(w @ w.mT, 0.7), teacher, z, eps, 0.7).abs().max() < 1e-13
    wrong = exact(w @ w.mT, 0.7) + 0.01 * normal(3, 3, seed=3)
    assert sample_gradients(w, wrong, teacher, z, eps, 0.7).abs().max() > 0.01


def test_the_variances_of_a_batch_are_those_of_sampled_gradients() -> None:
    """Eqs. (6) and (7), far from the matching law, with errors that are not symmetric, two levels at random."""
    w, differences, levels = normal(3, 3), normal(2, 3, 3, seed=1), torch.tensor([0.5, 2.0]).double()
    expected, axes = batch_variances(w, differences, levels)
    zero, n = torch.zeros(3, 3).double(), 100_000
    z, eps = normal(2, n, 3, seed=2), normal(2, n, 3, seed=3)

    def sampled(eps: Tensor) -> Tensor:
        both = zip(differences, z, eps, levels.tolist(), strict=True)
        return torch.cat([sample_gradients(w, k, zero, own_z, own_eps, s) for k, own_z, own_eps, s in both])

    close(variance_of_flat_parts(w, axes, sampled(0 * eps)), expected.latents, 0.03)
    close(variance_of_flat_parts(w, axes, sampled(eps)), expected.latents + expected.noise, 0.03)
    mean = axes.mT @ flat_part(w, (differences @ w).mean(0)) @ axes
    torch.testing.assert_close(mean**2, expected.score)
    assert (expected.latents[OFF] > 0).all()


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_a_fitted_scores_error_has_the_moments_of_least_squares(sigma: float) -> None:
    """Eq. (8), by 20 000 fits."""
    x0 = normal(20_000, 12, 3) * S.sqrt()
    y = x0 + sigma * normal(20_000, 12, 3, seed=1)
    error = torch.linalg.solve(y.mT @ y, y.mT @ x0).mT - exact(S.diag(), sigma)
    found = error.square().mean(0)
    close(found, regression_moments(S, sigma, 12), 0.06)
    torch.testing.assert_close(found.diagonal(), regression_moments(S, sigma, 12).diagonal(), rtol=0.06, atol=0)
    assert (error * error.mT).mean(0)[OFF].abs().max() < 0.03 * found.mean()  # mirrored entries are uncorrelated


def test_too_few_samples_for_a_fit_are_refused() -> None:
    with pytest.raises(InputError, match="give at least 5 samples"):
        regression_moments(S, 1.0, 4)


def test_an_estimated_covariances_error_has_the_moments_of_wishart() -> None:
    """Eq. (9), to first order: at many samples."""
    samples, sigma = 300, 0.8
    chosen = normal(4000, samples, 3) * S.sqrt()
    error = exact(chosen.mT @ chosen / samples, sigma) - exact(S.diag(), sigma)
    expected = wishart_moments(S, sigma, samples)
    close(error.square().mean(0), expected, 0.1)
    torch.testing.assert_close(error.var(0).diagonal(), expected.diagonal(), rtol=0.1, atol=0)
    torch.testing.assert_close(error, error.mT)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_mean_over_errors_is_that_of_drawn_errors(symmetric: bool) -> None:
    """Eq. (10) is the mean of Eqs. (6) and (7)."""
    moments = normal(3, 3, seed=5).square()
    moments = (moments + moments.mT) / 2 if symmetric else moments
    errors = normal(20_000, 3, 3, seed=6) * moments.sqrt()
    if symmetric:
        lower = errors.tril(-1)
        errors = lower + lower.mT + errors.diagonal(dim1=1, dim2=2).diag_embed()
    found, axes = batch_variances(S.sqrt().diag(), errors, torch.full((len(errors),), 0.8))
    order = axes.abs().argmax(0).argsort()  # its axes ascend
    score, latents, noise = (part[order][:, order] for part in found)
    expected = expected_variances(S, moments, 0.8, symmetric)
    close(score + latents, expected.score + expected.latents, 0.06)  # the latter holds the variance of the mean
    close(noise, expected.noise, 0.06)
    assert (expected.score[OFF] == 0).all() == symmetric
    assert (score < 1e-25).all() == symmetric


def score_errors(rate: float, batch: int, steps: int, sigma: float) -> Iterator[Tensor]:
    """Of fake scores in training on a student at rest, (replicas, 3, 3)."""
    replicas, g = 400, torch.Generator().manual_seed(0)
    error = torch.zeros(replicas, 3, 3, dtype=torch.float64)
    for _ in range(steps):
        x0 = torch.randn(replicas, batch, 3, generator=g, dtype=torch.float64) * S.sqrt()
        y = x0 + sigma * torch.randn(replicas, batch, 3, generator=g, dtype=torch.float64)
        error = error - rate * (y @ (error + exact(S.diag(), sigma)).mT - x0).mT @ y / batch
        yield error


def test_a_trained_scores_error_at_rest_and_over_time() -> None:
    """Eq. (12) at two rates; and Eq. (11): what adds up over time is the same for both."""
    sigma, batch, steps, found = 0.8, 8, 400, {}
    for rate in (0.025, 0.1):
        path = torch.stack(list(score_errors(rate, batch, steps, sigma)))
        resting = path[150::10].square().mean((0, 1))
        close(resting, trained_score_moments(S, sigma, batch, rate), 0.08)
        found[rate] = resting, path.sum(0)
    assert (found[0.1][0] > 3 * found[0.025][0]).all()
    w = S.sqrt().diag()
    for rate in found:
        turned = flat_part(w, found[rate][1] @ w)
        expected = trained_score_rates(S, torch.tensor([sigma]), batch=batch, rate=rate)
        close(turned.var(0) * batch / steps, expected, 0.25)
        close(expected, trained_score_rates(S, torch.tensor([sigma])), 0.25)
    with pytest.raises(InputError, match=r"diverges at the level 0\.8"):
        trained_score_moments(S, sigma, batch, 1.0)


@pytest.mark.parametrize("batch", [2, 8])
def test_at_any_rate_a_trained_scores_error_has_the_moments_of_its_recursion(batch: int) -> None:
    """Eqs. (11) and (12) against a linear system: one row e of E loses rate Y e and gains rate r y, with Y the batch's
    mean of y y^T, E[Y M Y] = (1 - 1 / b) C M C + (2 C M C + C tr(C M)) / b by Gaussian moments, M = E[e e^T]."""
    sigma, rate, eye = 0.8, 0.1, torch.eye(3).double()
    c = (S + sigma**2).diag()

    def products(m: Tensor) -> Tensor:
        return (1 + 1 / batch) * c @ m @ c + c * (c @ m).trace() / batch

    def lost(m: Tensor) -> Tensor:
        return rate * (c @ m + m @ c) - rate**2 * products(m)

    basis = [m.reshape(3, 3) for m in torch.eye(9).double()]
    system = torch.stack([lost(m).flatten() for m in basis], dim=1)
    own, summed = [], []
    for residual in S * sigma**2 / (S + sigma**2):
        kicks = residual * c / batch
        m = torch.linalg.solve(system, rate**2 * kicks.flatten()).reshape(3, 3)
        own.append(m.diagonal())
        # Over time e adds up to C^-1 of what it was pushed by: kicks, and Y's noise on what is there.
        summed.append((kicks + products(m) - c @ m @ c).diagonal() / c.diagonal() ** 2 * batch)
    torch.testing.assert_close(trained_score_moments(S, sigma, batch, rate), torch.stack(own))
    per_update = torch.stack(summed)
    expected = S[:, None] * S * (per_update + per_update.mT) / (S[:, None] + S) ** 2 * (1 - eye)
    torch.testing.assert_close(trained_score_rates(S, torch.tensor([sigma]).double(), batch=batch, rate=rate), expected)


def test_levels_and_weights_are_averaged() -> None:
    """Eq. (11): a level counts by the square of its weight; 1/8 per unit at sigma^2 = s = 1, the most there is."""
    levels, weights = torch.tensor([0.5, 2.0]), torch.tensor([3.0, 0.0])
    one = trained_score_rates(S, levels[:1])
    torch.testing.assert_close(trained_score_rates(S, levels, weights), 4.5 * one)
    same = torch.ones(2).double()
    assert trained_score_rates(same, torch.ones(1))[0, 1].item() == pytest.approx(1 / 8)
    assert trained_score_rates(same, torch.tensor([0.9, 1.1]))[0, 1].item() < 1 / 8


def test_adams_steps_turn_by_their_own_size() -> None:
    """Eq. (13): entries of unit variance."""
    w = S.sqrt().diag()
    close(flat_part(w, normal(50_000, 3, 3)).var(0), adam_rates(S), 0.03)


def test_the_frozen_variance_is_the_sum_over_the_steps_of_the_flow() -> None:
    """Eq. (14) against Eqs. (6) and (7) summed along small steps of gradient descent."""
    levels, weights = torch.tensor([0.3, 1.0, 4.0]).double(), torch.tensor([1.0, 0.5, 2.0]).double()
    variance, start, eta = 2.0, 0.2, 0.02
    w, total = start, 0.0
    eye, factor = torch.eye(2).double(), weights[:, None, None]
    for _ in range(1000):
        sigma = levels[:, None, None]
        delta = factor * (exact(w**2 * eye, sigma) - exact(variance * eye, sigma))
        found, _ = batch_variances(w * eye, delta, levels)
        assert isinstance(found, PlaneVariances)
        assert found.latents[0, 1] < 1e-12
        total += eta * (found.noise + found.latents)[0, 1].item()
        w -= eta * float(delta.mean(0)[0, 0]) * w
    assert w == pytest.approx(variance**0.5, abs=0.05)
    assert total == pytest.approx(frozen_variance(start, variance, levels, weights), rel=0.03)
