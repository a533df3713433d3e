"""The flat directions of linear students: the decomposition of a step, and what gradient flow does to the pairing."""

import pytest
import torch
from linear_students import normal
from torch import Tensor

from dmdlab.config import InputError, NoiseConfig
from dmdlab.diffusion import karras_sigma
from dmdlab.laws import Gaussian
from dmdlab.theory import (
    denoiser_matrix,
    distillation_flow,
    distillation_velocity,
    flat_part,
    noised_kl,
    polar,
    polar_drift,
    turned_degrees,
)

C = Gaussian(dim=4, spectrum="power", exponent=1.3, basis="random", seed=4).covariance()
SIGMA_MAX = 80.0
LEVELS = karras_sigma(torch.linspace(0.02, 0.98, 7, dtype=torch.float64), NoiseConfig())
TIMES = torch.linspace(0, 12, 161).double().tolist()


def velocity(w: Tensor) -> Tensor:
    """In the units of `distillation_flow`'s time."""
    return distillation_velocity(w, C, SIGMA_MAX, LEVELS, LEVELS**2) / SIGMA_MAX**2


def flow(start: Tensor) -> Tensor:
    return distillation_flow(start, C, SIGMA_MAX, LEVELS, LEVELS**2, TIMES)


def test_a_step_is_a_turn_and_a_rest_that_is_orthogonal_to_every_turn() -> None:
    """Eq. (3)."""
    w, step = normal(5, 4, 4), normal(5, 4, 4, seed=1)
    a = flat_part(w, step)
    rest = step - w @ a
    torch.testing.assert_close(a, -a.mT)
    torch.testing.assert_close(w.mT @ rest, rest.mT @ w)
    skew = normal(4, 4, seed=2)
    other = w @ (skew - skew.mT)
    assert (rest * other).sum((1, 2)).abs().max() < 1e-12
    torch.testing.assert_close(flat_part(w, other), (skew - skew.mT).expand(5, 4, 4))


def test_a_turn_of_unused_latents_counts_as_none() -> None:
    w = torch.diag(torch.tensor([1.0, 0, 0, 0]).double())
    a = flat_part(w, normal(4, 4))
    assert a.isfinite().all()
    assert (a[1:, 1:] == 0).all()
    assert (a[0, 1:] != 0).all()


def test_a_turn_of_faint_latents_is_still_one() -> None:
    """Of variances 1 to 1e-8: only what W does not use at all is left out."""
    w = normal(4, 4) @ torch.diag(torch.tensor([1.0, 1e-2, 1e-4, 1e-4]).double())
    skew = normal(4, 4, seed=2)
    torch.testing.assert_close(flat_part(w, w @ (skew - skew.mT)), skew - skew.mT, rtol=1e-5, atol=1e-5)


def test_the_law_does_not_see_a_turn() -> None:
    w, skew = normal(4, 4), normal(4, 4, seed=1)
    turned = w @ torch.linalg.matrix_exp(skew - skew.mT)
    before, after = (noised_kl(torch.zeros(4), v @ v.mT, C, 0.5) for v in (w, turned))
    torch.testing.assert_close(before, after)
    assert (turned - w).norm() > 1


def test_gradient_flow_never_turns() -> None:
    """Eq. (2) with Eq. (3): W^T W' is symmetric for every start, so a flow has no flat part."""
    for seed in range(3):
        w = normal(4, 4, seed=seed) / SIGMA_MAX
        assert flat_part(w, velocity(w)).abs().max() < 1e-12


def test_the_polar_factor_moves_as_its_formula_says() -> None:
    """Eq. (4) for any velocity, by a small step; and its second form for W' = M W."""
    w, v, m = normal(4, 4), normal(4, 4, seed=1), normal(4, 4, seed=2)
    r, o = polar(w)
    torch.testing.assert_close(r @ o, w)
    h = 1e-5
    slope = (polar(w + h * v)[1] - polar(w - h * v)[1]) / (2 * h)
    torch.testing.assert_close(polar_drift(w, v) @ o, slope, rtol=1e-7, atol=1e-7)
    values, axes = torch.linalg.eigh(r)
    on_axes = axes.mT @ (m + m.mT) @ axes
    expected = on_axes * (values[None] - values[:, None]) / (values[None] + values[:, None])
    torch.testing.assert_close(axes.mT @ polar_drift(w, (m + m.mT) @ w) @ axes, expected)


def test_the_pairing_of_commuting_starts_is_conserved() -> None:
    """Eq. (4) is 0 for the teacher's start and for the same after any turn of the noise."""
    turn = polar(normal(4, 4, seed=3))[1]
    for start in (denoiser_matrix(C, SIGMA_MAX), denoiser_matrix(C, SIGMA_MAX) @ turn):
        pairing = polar(flow(start)[[0, 20, -1]])[1]
        torch.testing.assert_close(pairing, pairing[:1].expand(3, 4, 4), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_pairing_of_other_starts_drifts_by_the_formula(seed: int) -> None:
    """Eq. (4), integrated along the flow of Eq. (2): some degrees, though no step of the flow is a turn."""
    path = flow(normal(4, 4, seed=seed) / SIGMA_MAX)  # (times, d, d)
    pairing = polar(path)[1]
    assert 5 < turned_degrees(pairing[-1] @ pairing[0].mT) < 30
    drift = torch.stack([polar_drift(w, velocity(w)) for w in path])
    o = pairing[0]
    for before, after, start, stop in zip(drift, drift[1:], TIMES, TIMES[1:], strict=False):
        o = torch.linalg.matrix_exp((stop - start) / 2 * (before + after)) @ o
    assert turned_degrees(o @ pairing[-1].mT) < 0.1


def test_a_covariance_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(InputError, match="must be symmetric"):
        denoiser_matrix(C + torch.triu(torch.ones(4, 4)), 1.0)
