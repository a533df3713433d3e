"""Turned and twisted starts: by how much, that the prior stays, and each member by itself."""

import math

import pytest
import torch
from small import distillation, experiment
from torch import Tensor

from dmdlab.randomness import latents
from dmdlab.training.planes import PlanarTurn

SIGMA_MAX = 80.0


def turn(*inits: str, dim: int, degrees: float = 30.0, seeds: tuple[int, ...] = (3, 4, 5, 6)) -> PlanarTurn:
    members = zip(inits, seeds, strict=False)
    return PlanarTurn([experiment(student__init=i, student__turn_degrees=degrees, seed=s) for i, s in members], dim)


def angles(z: Tensor, to: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(z.double(), to.double(), dim=-1).clamp(-1, 1).acos().rad2deg()


@pytest.mark.parametrize("dim", [2, 5, 8, 257])
def test_a_turned_noise_is_turned_by_the_angle_in_all_planes_but_an_odd_axis(dim: int) -> None:
    r = turn("turned", dim=dim)(torch.eye(dim)[None])[0].double()
    torch.testing.assert_close(r @ r.mT, torch.eye(dim).double(), atol=3e-6, rtol=0)
    found = torch.linalg.eigvals(r).angle().abs().rad2deg().sort().values
    expected = torch.tensor([0.0] * (dim % 2) + [30.0] * (dim - dim % 2)).double()
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)


@pytest.mark.parametrize("dim", [2, 8, 300])
def test_a_twist_keeps_the_prior_and_turns_each_sphere_by_an_angle_of_its_own(dim: int) -> None:
    n, map_ = 20_000 if dim < 100 else 2000, turn("twisted", dim=dim)
    z = latents(5, n, dim, SIGMA_MAX)
    out = map_(z[None])[0]
    torch.testing.assert_close(out.norm(dim=1), z.norm(dim=1), rtol=1e-5, atol=0)
    covariance = out.double().mT @ out.double() / n / SIGMA_MAX**2
    assert (covariance - torch.eye(dim)).abs().max() < 7 / math.sqrt(n)
    u = (z.double().square().sum(dim=1) / SIGMA_MAX**2 - dim) / math.sqrt(2 * dim)
    small = 30 * u.abs() < 180
    torch.testing.assert_close(angles(z, out)[small], 30 * u.abs()[small], atol=0.1, rtol=0)
    smaller = experiment(student__init="twisted", student__turn_degrees=30.0, seed=3, noise__sigma_max=SIGMA_MAX / 16)
    torch.testing.assert_close(16 * PlanarTurn([smaller], dim)(z[None] / 16)[0], out)  # by the norm that the noise has
    scaled = map_(1.1 * z[None])[0] / 1.1
    assert (angles(scaled, out) > 1).double().mean() > 0.5  # another norm, another angle


def test_the_others_see_the_noise_itself_and_each_its_own_planes() -> None:
    z = torch.stack([latents(s, 50, 6, SIGMA_MAX) for s in range(4)])
    inits = ("turned", "teacher", "twisted", "turned")
    out = turn(*inits, dim=6)(z)
    assert torch.equal(out[1], z[1])
    for i, seed in enumerate((3, 4, 5, 6)):
        assert torch.equal(turn(inits[i], dim=6, seeds=(seed,))(z[i : i + 1])[0], out[i])
    members = [experiment(student__init="turned", student__turn_degrees=angle, seed=3) for angle in (20.0, 50.0)]
    own = angles(z[:2], PlanarTurn(members, 6)(z[:2])).mean(dim=1)
    torch.testing.assert_close(own, torch.tensor([20.0, 50.0]).double(), atol=0.05, rtol=0)
    same = turn("turned", "turned", dim=6)(z[:1].expand(2, -1, -1))
    assert not torch.allclose(same[0], same[1])


def test_students_of_all_starts_train_side_by_side() -> None:
    inits = ("teacher", "turned", "twisted", "rotated")
    loop = distillation([experiment(student__init=init) for init in inits])
    z = torch.randn(1, 9, 4, generator=torch.Generator().manual_seed(0)).expand(4, -1, -1) * SIGMA_MAX
    turned = loop.student.turned(z)
    assert torch.equal(turned[0], z[0])
    torch.testing.assert_close(angles(z, turned)[1], torch.full((9,), 45.0).double(), atol=0.05, rtol=0)
    torch.testing.assert_close(angles(z, turned)[3], torch.full((9,), 90.0).double(), atol=0.05, rtol=0)
    loop.cycle()
    assert loop.failed_at.tolist() == [-1] * 4
