"""The closed forms of a Gaussian teacher, against numerical integration, autograd and each other."""

import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import sqrtm
from torch import Tensor

from dmdlab.config import NoiseConfig
from dmdlab.diffusion import karras_sigma
from dmdlab.laws import Gaussian
from dmdlab.theory import (
    denoiser_matrix,
    distillation_flow,
    distillation_velocity,
    flow_matrix,
    gaussian_flow,
    noised_kl,
)

LAW = Gaussian(dim=3, spectrum="power", exponent=1.3, basis="random", seed=4)
C = LAW.covariance()
EYE = torch.eye(3, dtype=torch.float64)
SIGMA_MAX = 80.0
LEVELS = karras_sigma(torch.linspace(0.02, 0.98, 15, dtype=torch.float64), NoiseConfig())


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_denoiser_matrix_is_the_laws_own_denoiser() -> None:
    """Eq. (1)."""
    x = normal(5, 3) * 7
    for sigma in (0.01, 1.0, 80.0):
        torch.testing.assert_close(x @ denoiser_matrix(C, sigma).mT, LAW.denoise(x, sigma))


@pytest.mark.parametrize("mean", [None, torch.tensor([1.0, -2.0, 0.5])])
@pytest.mark.parametrize(("start", "stop"), [(80.0, 0.0), (5.0, 0.3), (0.3, 5.0)])
def test_the_flow_solves_its_equation(mean: Tensor | None, start: float, stop: float) -> None:
    z, origin = start * normal(3), torch.zeros(3).double() if mean is None else mean.double()

    def slope(sigma: float, x: object) -> object:
        y = torch.as_tensor(x)
        denoised = origin + LAW.denoise((y - origin)[None], max(sigma, 1e-9))[0]
        return ((y - denoised) / max(sigma, 1e-9)).numpy()

    solved = solve_ivp(slope, (start, stop), z.numpy(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(
        gaussian_flow(z, C, start, stop, mean), torch.from_numpy(solved.y[:, -1]), rtol=1e-5, atol=1e-6
    )


def test_the_flow_composes_and_turns_back() -> None:
    z = 80 * normal(4, 3)
    for stop in (0.0, 80.0):
        torch.testing.assert_close(gaussian_flow(gaussian_flow(z, C, 80, 2), C, 2, stop), gaussian_flow(z, C, 80, stop))


def test_the_flow_carries_each_noised_law_to_the_next_and_is_an_optimal_transport_map() -> None:
    phi = flow_matrix(C, 80.0, 3.0)
    torch.testing.assert_close(phi @ (C + 80.0**2 * EYE) @ phi.mT, C + 9 * EYE)
    torch.testing.assert_close(phi, phi.mT)
    assert (torch.linalg.eigvalsh(phi) > 0).all()


def test_the_kl_divergence_is_torchs_own() -> None:
    m, s = normal(3), normal(3, 3)
    s = s @ s.mT
    for sigma in (0.2, 3.0):
        student = torch.distributions.MultivariateNormal(m, s + sigma**2 * EYE)
        teacher = torch.distributions.MultivariateNormal(torch.zeros(3).double(), C + sigma**2 * EYE)
        expected = torch.distributions.kl_divergence(student, teacher)
        torch.testing.assert_close(noised_kl(m, s, C, sigma), expected)


@pytest.mark.parametrize("weights", [LEVELS**2, torch.ones_like(LEVELS)], ids=["dmd", "score"])
def test_linear_distillation_descends_the_weighted_kl_divergence(weights: Tensor) -> None:
    w = (normal(3, 3, seed=5) / SIGMA_MAX).requires_grad_()
    zero = torch.zeros(3)
    kl = [noised_kl(zero, SIGMA_MAX**2 * w @ w.mT, C, s) for s in LEVELS.tolist()]
    (gradient,) = torch.autograd.grad((weights * torch.stack(kl)).mean(), w)
    torch.testing.assert_close(distillation_velocity(w.detach(), C, SIGMA_MAX, LEVELS, weights), -gradient)


def test_the_distillation_flow_solves_its_equation() -> None:
    start = normal(3, 3, seed=5) / SIGMA_MAX

    def slope(t: float, flat: object) -> object:
        w = torch.as_tensor(flat).view(3, 3)
        return distillation_velocity(w, C, SIGMA_MAX, LEVELS, LEVELS**2).flatten().numpy() / SIGMA_MAX**2

    times = [0.5, 3.0]
    solved = solve_ivp(slope, (0, 3.0), start.flatten().numpy(), t_eval=times, rtol=1e-9, atol=1e-12)
    found = distillation_flow(start, C, SIGMA_MAX, LEVELS, LEVELS**2, times)
    torch.testing.assert_close(found.flatten(1), torch.from_numpy(solved.y.T.copy()), rtol=1e-6, atol=1e-10)


def test_from_the_teachers_start_it_ends_at_the_teachers_own_map() -> None:
    start = denoiser_matrix(C, SIGMA_MAX)
    *way, end = distillation_flow(start, C, SIGMA_MAX, LEVELS, LEVELS**2, [0.0, 5.0, 50.0, 250.0], step=0.2)
    torch.testing.assert_close(way[0], start)
    torch.testing.assert_close(SIGMA_MAX**2 * end @ end.mT, C, rtol=1e-6, atol=1e-6)
    for w in (*way, end):
        torch.testing.assert_close(w, w.mT, rtol=0, atol=1e-12)
    phi = flow_matrix(C, SIGMA_MAX)
    assert (end - phi).norm() < 2e-4 * phi.norm()  # lambda / (2 sigma_max^2), the prior's finite size
    root = torch.from_numpy(sqrtm((EYE + C / SIGMA_MAX**2).numpy()))
    torch.testing.assert_close(end, phi @ root, rtol=1e-6, atol=1e-9)


def test_the_inheritance_lemma_a_turned_start_stays_turned() -> None:
    q, times = torch.linalg.qr(normal(3, 3))[0], [1.0, 20.0, 100.0]
    for start in (denoiser_matrix(C, SIGMA_MAX), normal(3, 3, seed=6) / SIGMA_MAX):
        plain, turned = (distillation_flow(w, C, SIGMA_MAX, LEVELS, LEVELS**2, times, 0.2) for w in (start, start @ q))
        torch.testing.assert_close(turned, plain @ q, rtol=0, atol=1e-12)
        assert (turned - plain).norm() > 0.1 * plain.norm()


def test_an_unsymmetric_start_ends_with_the_teachers_law_but_another_map() -> None:
    start, phi = normal(3, 3, seed=7) / SIGMA_MAX, flow_matrix(C, SIGMA_MAX)
    (end,) = distillation_flow(start, C, SIGMA_MAX, LEVELS, LEVELS**2, [400.0], step=0.2)
    torch.testing.assert_close(SIGMA_MAX**2 * end @ end.mT, C, rtol=1e-5, atol=1e-5)
    assert (end - phi).norm() > 0.3 * phi.norm()
