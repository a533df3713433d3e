"""The antisymmetric share of a Jacobian: closed forms, and its meaning for flows of Gaussian data."""

import pytest
import torch

from dmdlab.config import NoiseConfig
from dmdlab.diffusion import karras_grid, path, steps
from dmdlab.diffusion.jacobian import antisymmetric_share
from dmdlab.laws import Gaussian, Mixture
from dmdlab.randomness import generator, latents
from dmdlab.training.turn import Turn


def share(map_: object, z: torch.Tensor, probes: int = 64) -> torch.Tensor:
    v = torch.randn(probes, *z.shape, generator=generator(0, "probes"), dtype=z.dtype)
    return antisymmetric_share([map_], z, v)  # type: ignore[list-item]


def flow_of(law: Gaussian | Mixture, steps: int = 32):  # type: ignore[no-untyped-def]
    grid = karras_grid(steps, NoiseConfig())

    def phi(z: torch.Tensor) -> torch.Tensor:
        *_, last = path(law.denoise, z, grid)
        return last

    return phi


def test_a_linear_map_has_the_share_of_its_matrix() -> None:
    a = torch.randn(6, 6, generator=generator(1, "matrix"), dtype=torch.float64)
    z = torch.randn(200, 6, generator=generator(1, "points"), dtype=torch.float64)
    exact = (a - a.T).norm() / (2 * a.norm())
    assert share(lambda x: x @ a, z) == pytest.approx(float(exact), rel=0.05)


def test_a_symmetric_map_has_none_and_quarter_turns_have_all() -> None:
    z = latents(0, 50, 4, 1.0).double()
    turn = torch.zeros(4, 4, dtype=torch.float64)
    turn[0, 1], turn[1, 0], turn[2, 3], turn[3, 2] = 1, -1, 1, -1
    assert share(lambda x: x * torch.arange(1, 5), z, 2) == pytest.approx(0.0, abs=1e-12)
    assert share(lambda x: x @ turn, z, 2) == pytest.approx(1.0)


def test_the_flow_of_gaussian_data_is_an_optimal_transport_map() -> None:
    """Its Jacobian is a function of the covariance, and symmetric; after a rotation of the noise it is not."""
    law = Gaussian(dim=5, spectrum="power", basis="random").double()
    z, turn = latents(0, 40, 5, 80.0).double(), Turn([0], [True], 5).double()
    phi = flow_of(law)
    assert float(share(phi, z, 4)) < 1e-6
    assert float(share(lambda x: phi(turn(x[None])[0]), z, 16)) > 0.5


def test_the_flow_of_a_mixture_is_nearly_but_not_quite_one() -> None:
    z = latents(0, 200, 3, 80.0).double()
    found = float(share(flow_of(Mixture(dim=3)), z, 8))
    assert 1e-4 < found < 0.5


def test_members_have_a_share_each() -> None:
    z = latents(0, 30, 2, 1.0).double().expand(2, 30, 2)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    both = torch.stack([torch.eye(2, dtype=torch.float64), turn])
    torch.testing.assert_close(share(lambda x: torch.bmm(x, both), z, 2), torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_the_steps_of_a_flow_one_by_one_are_the_flow() -> None:
    """And the whole Jacobian's share, by brute force."""
    law, z = Mixture(dim=3), latents(0, 30, 3, 80.0).double()
    v = torch.randn(4, *z.shape, generator=generator(0, "probes"), dtype=z.dtype)
    maps = steps(law.denoise, karras_grid(6, NoiseConfig()))
    found = antisymmetric_share(maps, z, v)
    torch.testing.assert_close(found, antisymmetric_share([flow_of(law, 6)], z, v))
    js = [torch.autograd.functional.jacobian(flow_of(law, 6), point) for point in z]
    both = (
        [(j - j.T) @ own for j, own in zip(js * 4, v.flatten(0, 1), strict=True)],
        [j @ own for j, own in zip(js * 4, v.flatten(0, 1), strict=True)],
    )
    turned, total = (sum(float(x.square().sum()) for x in part) for part in both)
    assert float(found) == pytest.approx((turned / total) ** 0.5 / 2, rel=1e-6)
