"""Noise levels and EDM coefficients by hand; the flow against the known flow map of a Gaussian, its order measured."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmdlab.config import InputError, NoiseConfig
from dmdlab.diffusion import (
    edm_coefficients,
    edm_weight,
    flow,
    karras_grid,
    karras_sigma,
    levels_in,
    path,
)
from dmdlab.diffusion.noise import lognormal_levels
from dmdlab.laws import Gaussian, Mixture
from dmdlab.networks import EDMDenoiser
from dmdlab.theory import gaussian_flow

PAPER = NoiseConfig()
NOISES = [PAPER, NoiseConfig(sigma_min=0.1, sigma_max=5.0, rho=1.0), NoiseConfig(sigma_max=1000.0, rho=3.0)]
LEVELS = torch.logspace(-3, 3, 25, dtype=torch.float64)


def by_hand(i: int, steps: int, noise: NoiseConfig) -> float:
    """EDM eq. 5, as printed: sigma_{i<N} = (smax^(1/rho) + i/(N-1) (smin^(1/rho) - smax^(1/rho)))^rho, sigma_N = 0."""
    if i == steps:
        return 0.0
    high, low = noise.sigma_max ** (1 / noise.rho), noise.sigma_min ** (1 / noise.rho)
    return (high + i / (steps - 1) * (low - high)) ** noise.rho


# --- levels


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("steps", [2, 3, 8, 32])
def test_the_karras_grid_is_edms(steps: int, noise: NoiseConfig) -> None:
    grid = karras_grid(steps, noise)
    expected = [by_hand(i, steps, noise) for i in range(steps + 1)]
    np.testing.assert_allclose(grid, expected, rtol=1e-12)
    assert grid == sorted(grid, reverse=True)
    assert grid[0] == pytest.approx(noise.sigma_max, rel=1e-12)
    assert grid[-2] == pytest.approx(noise.sigma_min, rel=1e-12)
    assert grid[-1] == 0


def test_one_step_goes_straight_from_sigma_max_to_zero() -> None:
    assert karras_grid(1, PAPER) == [pytest.approx(80.0), 0.0]


@pytest.mark.parametrize("noise", NOISES)
def test_levels_in_a_range_of_the_index_are_uniform_in_the_index_and_stay_in_it(noise: NoiseConfig) -> None:
    u = torch.cat([torch.zeros(1), torch.rand(1000, generator=torch.Generator().manual_seed(0)), torch.ones(1)])
    for low, high in [(0.0, 1.0), (0.02, 0.98), (0.4, 0.5)]:
        sigma = levels_in(u, (low, high), noise)
        ends = [by_hand(0, 2, noise), by_hand(1, 2, noise)]
        roots = [e ** (1 / noise.rho) for e in ends]
        index = (sigma.double() ** (1 / noise.rho) - roots[1]) / (roots[0] - roots[1])
        torch.testing.assert_close(index, low + u.double() * (high - low), atol=2e-6, rtol=0)
        bottom, top = (karras_sigma(torch.tensor(x, dtype=torch.float64), noise).item() for x in (low, high))
        assert bottom * (1 - 1e-5) <= sigma.min()
        assert sigma.max() <= top * (1 + 1e-5)


def test_lognormal_levels_are_edms() -> None:
    normal = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    np.testing.assert_allclose(lognormal_levels(normal).log().numpy(), [-2.4, -1.2, 1.2], rtol=1e-12)


# --- preconditioning


@pytest.mark.parametrize("sigma_data", [0.5, 1.0, 3.0])
def test_preconditioning_keeps_inputs_and_targets_at_unit_variance(sigma_data: float) -> None:
    """EDM, appendix B.6: x_sigma has variance sigma^2 + sigma_data^2; F's target is (x0 - c_skip x_sigma) / c_out."""
    c = edm_coefficients(LEVELS, sigma_data)
    one = torch.ones_like(LEVELS)
    torch.testing.assert_close(c.c_in**2 * (LEVELS**2 + sigma_data**2), one)
    target = ((1 - c.c_skip) ** 2 * sigma_data**2 + c.c_skip**2 * LEVELS**2) / c.c_out**2
    torch.testing.assert_close(target, one)
    torch.testing.assert_close(edm_weight(LEVELS, sigma_data) * c.c_out**2, one)


def test_c_skip_makes_c_out_as_small_as_it_can_be() -> None:
    """EDM, eq. 7: among all c_skip, its own amplifies the network's errors least."""
    best = edm_coefficients(LEVELS, 1.3)
    for slip in (-0.01, 0.01):
        c_skip = best.c_skip + slip
        assert ((1 - c_skip) ** 2 * 1.3**2 + c_skip**2 * LEVELS**2 > best.c_out**2).all()


def test_coefficients_in_numbers() -> None:
    c = edm_coefficients(torch.tensor(0.5), 0.5)
    assert c.c_skip.item() == pytest.approx(0.5)
    assert c.c_out.item() == pytest.approx(0.5 / math.sqrt(2))
    assert c.c_in.item() == pytest.approx(math.sqrt(2))
    assert c.c_noise.item() == pytest.approx(math.log(0.5) / 4)
    assert edm_weight(torch.tensor(0.5), 0.5).item() == pytest.approx(8.0)


class Scale(nn.Module):
    """A network that scales its input; it keeps what it was given, a label included."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        self.seen = x, c_noise, label
        return self.factor * x


def test_a_network_that_says_nothing_is_the_exact_denoiser_of_a_white_gaussian() -> None:
    law = Gaussian(dim=3, scale=0.7)
    x = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.rand(2, 50, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 10 + 0.01
    denoiser = EDMDenoiser(Scale(0.0), law.sigma_data)
    torch.testing.assert_close(denoiser(x, sigma), law.denoise(x, sigma))
    torch.testing.assert_close(denoiser(x, 3.0), law.denoise(x, 3.0))


def test_the_network_sees_scaled_input_and_quarter_log_level() -> None:
    network = Scale(2.0)
    x, sigma = torch.full((1, 2, 3), 5.0), torch.tensor([[[1.0], [4.0]]])
    d = EDMDenoiser(network, 2.0)(x, sigma)
    for i, s in enumerate((1.0, 4.0)):
        total = s * s + 4.0
        assert network.seen[0][0, i, 0].item() == pytest.approx(5 / math.sqrt(total))
        assert network.seen[1][0, i, 0].item() == pytest.approx(math.log(s) / 4)
        assert d[0, i, 2].item() == pytest.approx(4 / total * 5 + s * 2 / math.sqrt(total) * 2 * 5 / math.sqrt(total))
    assert network.seen[1].shape == (1, 2, 1)
    assert network.seen[0].shape == (1, 2, 3)


def test_a_label_reaches_the_network() -> None:
    network, x, label = Scale(1.0), torch.ones(1, 2, 3), torch.tensor([[4, 5]])
    denoiser = EDMDenoiser(network, 2.0)
    denoiser(x, 1.0, label)
    assert network.seen[2] is label
    denoiser(x, 1.0)
    assert network.seen[2] is None


# --- the flow

LAWS = [
    Gaussian(dim=1, scale=0.8),
    Gaussian(dim=4, spectrum="power", exponent=1.5, basis="random", seed=2),
    Gaussian(dim=3, variances=[2.0, 0.0, 0.5]),
]
each_law = pytest.mark.parametrize("law", LAWS, ids=lambda law: f"d{law.dim}")


def prior(dim: int, n: int = 64, sigma_max: float = 80.0) -> Tensor:
    return sigma_max * torch.randn(n, dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def order(errors: list[float], steps: list[int]) -> float:
    """Minus the slope of log error against log K."""
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


@each_law
@pytest.mark.parametrize(("solver", "expected"), [("euler", 1.0), ("heun", 2.0)])
def test_a_solver_has_its_order(law: Gaussian, solver: str, expected: float) -> None:
    """From sigma_max to the middle of the Karras index, so that no step to 0 dominates the error."""
    z, steps = prior(law.dim), [32, 64, 128, 256]
    stop = karras_sigma(torch.tensor(0.3, dtype=torch.float64), PAPER).item()
    errors = []
    for k in steps:
        grid = karras_sigma(torch.linspace(1.0, 0.3, k + 1, dtype=torch.float64), PAPER).tolist()
        exact = gaussian_flow(z, law.covariance(), 80.0, stop)
        errors.append((flow(law.denoise, z, grid, solver) - exact).norm().item() / exact.norm().item())
    assert order(errors, steps) == pytest.approx(expected, abs=0.1)
    assert errors[-1] < (0.05 if solver == "euler" else 1e-3)


@each_law
@pytest.mark.parametrize(("solver", "expected", "last"), [("euler", 1.0, 0.03), ("heun", 2.0, 2e-4)])
def test_the_whole_grid_reaches_the_flow_map_at_the_same_rate(
    law: Gaussian, solver: str, expected: float, last: float
) -> None:
    """The Euler step from sigma_min to 0 adds about sigma_min^2 / (2 variance), 1e-5 here, and hides no order."""
    z, steps = prior(law.dim), [32, 64, 128, 256]
    exact = gaussian_flow(z, law.covariance(), 80.0)
    errors = [
        (flow(law.denoise, z, karras_grid(k, PAPER), solver) - exact).norm().item() / exact.norm().item() for k in steps
    ]
    assert order(errors, steps) == pytest.approx(expected, abs=0.15)
    assert errors[-1] < last


@each_law
def test_every_state_of_a_path_lies_on_the_exact_flow(law: Gaussian) -> None:
    z, grid = prior(law.dim), karras_grid(128, PAPER)
    states = list(path(law.denoise, z, grid))
    assert len(states) == 129
    assert states[0] is z
    for state, sigma in zip(states, grid, strict=True):
        exact = gaussian_flow(z, law.covariance(), 80.0, sigma)
        assert (state - exact).norm() < 2e-3 * exact.norm()
    assert torch.equal(states[-1], flow(law.denoise, z, grid))


@pytest.mark.parametrize("solver", ["heun", "euler"])
def test_one_step_is_the_denoiser_at_sigma_max(solver: str) -> None:
    law, z = Mixture(dim=3, components=4), prior(3)
    torch.testing.assert_close(flow(law.denoise, z, karras_grid(1, PAPER), solver), law.denoise(z, 80.0))


@pytest.mark.parametrize(("solver", "calls"), [("heun", 2 * 8 - 1), ("euler", 8)])
def test_a_solver_calls_the_denoiser_as_often_as_it_says(solver: str, calls: int) -> None:
    seen: list[float | Tensor] = []

    def denoiser(x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        seen.append(sigma)
        return 0.5 * x

    states = list(path(denoiser, prior(2), karras_grid(8, PAPER), solver))
    assert len(states) == 9
    assert len(seen) == calls
    assert min(seen) == pytest.approx(PAPER.sigma_min)


def test_flow_keeps_dtype_and_leading_axes_and_makes_no_graph() -> None:
    law, grid = Mixture(dim=3, components=4), karras_grid(4, PAPER)
    z = prior(3, 24).float()
    stacked = z.view(2, 12, 3).requires_grad_()
    out = flow(law.denoise, stacked, grid)
    assert out.dtype == torch.float32
    assert not out.requires_grad
    torch.testing.assert_close(out.view(24, 3), flow(law.denoise, z, grid))
    *_, last = path(law.denoise, stacked, grid)
    assert last.requires_grad


def test_an_unknown_solver_is_refused() -> None:
    with pytest.raises(InputError, match="unknown solver 'huen'; did you mean 'heun'"):
        flow(LAWS[0].denoise, prior(1), karras_grid(2, PAPER), "huen")
