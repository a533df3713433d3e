"""The structured turn of the noise: an orthogonal map without trace, from a member's seed alone."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from dmdlab.lab.counting import LiveBytes
from dmdlab.randomness import latents
from dmdlab.training.bases import hartley
from dmdlab.training.turn import Turn

each_dim = pytest.mark.parametrize("dim", [2, 3, 4, 5, 7, 33, 96, 256, 301])


def matrix(seed: int, dim: int) -> Tensor:
    """R on rows, (d, d): what the turn makes of the unit vectors."""
    return Turn([seed], [True], dim)(torch.eye(dim)[None])[0].double()


@each_dim
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_a_rotation_without_trace(dim: int, seed: int) -> None:
    r = matrix(seed, dim)
    torch.testing.assert_close(r @ r.mT, torch.eye(dim).double(), atol=2e-6, rtol=0)
    assert torch.linalg.det(r).item() == pytest.approx(1.0, abs=1e-6 * dim + 1e-5)
    assert r.trace().item() == pytest.approx(0.0, abs=1e-6 * dim)


@each_dim
def test_an_even_dimension_turns_by_a_quarter_and_an_odd_one_by_a_third_about_one_axis_more(dim: int) -> None:
    r = matrix(0, dim)
    angles = torch.linalg.eigvals(r).angle().abs().sort().values / math.pi
    odd = dim % 2
    expected = [0.0] * odd + [1 / 2] * (dim - 3 * odd) + [2 / 3] * (2 * odd)
    torch.testing.assert_close(angles, torch.tensor(expected).double(), atol=1e-5, rtol=0)
    assert torch.allclose(r.mT, -r, atol=2e-6) is not bool(odd)


@each_dim
def test_the_prior_stays_what_it_is_and_nothing_of_a_noise_is_left_on_average(dim: int) -> None:
    """R z has the covariance and the size of z, coordinate by coordinate uncorrelated with it in sum."""
    n = 20_000
    z = latents(5, n, dim, 80.0)
    turned = Turn([3], [True], dim)(z[None])[0]
    torch.testing.assert_close(turned.norm(dim=1), z.norm(dim=1), rtol=1e-5, atol=0)
    z, turned = z.double() / 80, turned.double() / 80
    covariance = turned.mT @ turned / n
    assert (covariance - torch.eye(dim)).abs().max() < 7 / math.sqrt(n)
    assert turned.mean(0).abs().max() < 5 / math.sqrt(n)
    kurtosis = (turned**4).mean(0)
    assert (kurtosis - 3).abs().max() < 6 * math.sqrt(96 / n)  # Gaussian: E x^4 = 3, its variance 96
    inner = (z * turned).sum(dim=1)
    assert inner.mean().abs() < 5 * math.sqrt(2 * dim / n)
    if dim % 2 == 0:
        assert inner.abs().max() < 1e-4 * dim  # R is antisymmetric: no noise has a part along its own turn


def test_members_turn_by_their_own_seeds_and_the_others_not_at_all() -> None:
    z = torch.stack([latents(s, 50, 6, 80.0) for s in range(4)])
    together = Turn([4, 5, 4, 6], [True, True, False, True], 6)
    out = together(z)
    for i, seed in enumerate([4, 5, 4, 6]):
        alone = Turn([seed], [i != 2], 6)
        assert torch.equal(alone(z[i : i + 1])[0], out[i])
    assert torch.equal(out[2], z[2])
    broken = z.clone()
    broken[2, 0, 0], broken[2, 1, 1] = math.nan, math.inf
    assert torch.equal(together(broken)[2].nan_to_num(7.0), broken[2].nan_to_num(7.0))
    assert torch.equal(together(broken)[[0, 1, 3]], out[[0, 1, 3]])
    assert not list(together.parameters())  # fixed: nothing of it is trained
    assert not together.state_dict()  # or stored


def test_a_seed_has_one_turn_and_each_seed_another() -> None:
    turns = [matrix(seed, 6) for seed in range(5)]
    assert torch.equal(turns[3], matrix(3, 6))
    for a, b in itertools.combinations(turns, 2):
        assert (a - b).abs().max() > 0.1


@pytest.mark.parametrize("dim", [3, 4, 5, 32])
def test_over_the_seeds_no_direction_is_preferred(dim: int) -> None:
    """Every entry averages to nothing, no entry's square to much more than its share, and no turn comes twice."""
    seeds = 300
    vectors = torch.eye(dim)[:5].expand(seeds, -1, -1)
    turned = Turn(range(seeds), [True] * seeds, dim)(vectors).double()  # (seeds, 5, d)
    share = (turned**2).mean(0)
    assert (turned.mean(0).abs() / (share / seeds).sqrt().clamp(min=1e-6)).max() < 5
    assert share.max() < 2 / dim
    assert len(turned[:, 0].mul(1e3).round().unique(dim=0)) == seeds


@pytest.mark.parametrize("dim", [64, 255, 256, 767])
def test_every_coordinate_goes_into_all(dim: int) -> None:
    """No entry is large: chance leaves a third of the coordinates to carry each row, and the worst row a tenth."""
    r = matrix(0, dim)
    assert r.abs().max() < 0.6
    assert (1 / (r**4).sum(1)).min() > dim / 10


@each_dim
def test_the_hartley_transform_is_its_own_inverse(dim: int) -> None:
    x = torch.randn(3, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(hartley(hartley(x)), x)
    k = torch.arange(dim, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(k, k) / dim
    torch.testing.assert_close(hartley(x), x @ (angle.cos() + angle.sin()) / math.sqrt(dim))


def test_a_picture_of_3072_numbers_is_turned_without_a_matrix() -> None:
    z = latents(0, 4, 3072, 1.0)[None]
    with LiveBytes() as seen:
        turn = Turn([0], [True], 3072)
        out = turn(z)
    assert seen.peak < 2**21  # a matrix of this size takes 36 MiB, and seconds to be made
    torch.testing.assert_close(out.norm(dim=2), z.norm(dim=2), rtol=1e-5, atol=0)
    assert sum(b.numel() for b in turn.buffers()) < 4 * 3072


def test_a_gradient_goes_back_through_the_turn() -> None:
    """The gradient of v . R z is R^T v, which the student's Jacobian is probed by."""
    z, v = (latents(s, 5, 7, 1.0)[None].double() for s in (0, 1))
    z.requires_grad_()
    turn = Turn([2], [True], 7).double()
    (back,) = torch.autograd.grad((turn(z) * v).sum(), z)
    torch.testing.assert_close(turn(back), v)  # on rows v R^T, and R^T R = 1


@pytest.mark.parametrize("dim", [0, 1])
def test_one_dimension_has_no_turn(dim: int) -> None:
    with pytest.raises(ValueError, match=f"a turn needs two dimensions, got {dim}"):
        Turn([0], [True], dim)
