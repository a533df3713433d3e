"""Learning rates; the optimiser against torch's own, one member at a time."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from dmdlab.config import NetworkSpec
from dmdlab.laws import Gaussian
from dmdlab.networks import Ensemble, make_network
from dmdlab.networks.ensemble import ALIGNED
from dmdlab.randomness import generator
from dmdlab.training.optimiser import EnsembleAdamW, EnsembleOptimiser, EnsembleSGD, Trained, gradient, warmup_then

NETWORK = NetworkSpec(kind="mlp", width=8, depth=2, time_features=4)


# --- learning rates


def test_warm_up_is_linear_then_constant_or_a_half_cosine_to_zero() -> None:
    assert warmup_then(np.array([0, 1, 3, 4, 99]), 4, 100, "constant").tolist() == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert warmup_then(np.array([0]), 0, 100, "constant").tolist() == [1.0]
    falling = warmup_then(np.array([0, 3, 4, 29, 54, 104, 500]), 4, 104, "cosine")
    assert falling.tolist()[:3] == [0.25, 1.0, 1.0]
    np.testing.assert_allclose(falling[3:], [(1 + math.sqrt(0.5)) / 2, 0.5, 0, 0], atol=1e-12)
    assert warmup_then(np.array([2]), 10, 5, "cosine").tolist() == [0.3]  # a run that ends before its warm-up does


@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 997), (20, 1000), (50, 7), (3, 3)])
def test_factors_are_those_of_one_step_at_a_time_to_the_bit(warmup: int, total: int) -> None:
    ramp = [min(1.0, (i + 1) / warmup) if warmup else 1.0 for i in range(total)]
    done = [min(1.0, max(0, i - warmup) / max(1, total - warmup)) for i in range(total)]
    cosine = [r * 0.5 * (1 + math.cos(math.pi * d)) for r, d in zip(ramp, done, strict=True)]
    assert warmup_then(np.arange(total), warmup, total, "constant").tolist() == ramp
    assert warmup_then(np.arange(total), warmup, total, "cosine").tolist() == cosine


# --- the optimiser

RATES = [1e-3, 3e-2, 1e-3, 1e-4]


def network(members: int) -> Ensemble:
    net = make_network(members, Gaussian(dim=3), NETWORK)
    return net.initialise([generator(s, "network") for s in range(members)])


@pytest.mark.parametrize("kind", [EnsembleAdamW, EnsembleSGD])
def test_sizes_are_made_in_blocks_and_are_those_of_all_steps_at_once(
    kind: type[EnsembleOptimiser], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"total": 103, "weight_decay": 0.1, "warmup": 5, "decay": "cosine"}
    whole = kind(network(4), RATES, **own).sizes(0, 120)
    monkeypatch.setattr("dmdlab.training.optimiser.BLOCK", 16)
    optimisers = [kind(network(4), RATES, **own) for _ in range(2)]
    for step in (0, 5, 10, 15, 20, 60, 98, 100, 105, 115, 3):  # across the ends of blocks, beyond the last step, back
        assert optimisers[0].sizes(step, 5).equal(whole[:, step : step + 5])
        assert optimisers[0]._block.shape[1] <= 16 + 5
        assert optimisers[1].sizes(step, 1).equal(whole[:, step : step + 1])
    assert not whole[:, 4].equal(whole[:, 50])


def losses(net: Ensemble, step: int) -> Tensor:
    """Each member's loss on its own data; gradients grow from step to step, so that clipping sets in on the way."""
    g = torch.Generator().manual_seed(step)
    x, c = torch.randn(4, 6, 3, generator=g), torch.randn(4, 6, 1, generator=g)
    size = torch.tensor([1.0, 3.0, 0.1, 10.0]) * 1.3**step
    return size * (net(x, c) - x.flip(1)).square().mean(dim=(1, 2))


each_way = pytest.mark.parametrize("in_place", [True, False], ids=["in place", "by formula"])


def adamw(in_place: bool, **settings: object) -> EnsembleAdamW:
    optimiser = EnsembleAdamW(network(4), RATES, **settings)  # type: ignore[arg-type]
    optimiser.in_place = in_place
    return optimiser


def sgd(in_place: bool, **settings: object) -> EnsembleSGD:
    optimiser = EnsembleSGD(network(4), RATES, **settings)  # type: ignore[arg-type]
    optimiser.in_place = in_place
    return optimiser


each_kind = pytest.mark.parametrize("made", [adamw, sgd], ids=["adamw", "sgd"])


def stepped(
    optimiser: EnsembleOptimiser, at: Trained, step: int, factor: Tensor | float = 1.0
) -> tuple[Trained, Tensor]:
    """The step from `at` down `factor` times the losses, and the norms."""
    with optimiser.network.holding(at.parameters, trained=True) as leaves:
        loss = factor * losses(optimiser.network, step)
        return optimiser.step(at, gradient(loss, leaves), optimiser.sizes(step, 1)[:, 0])


def rows(optimiser: EnsembleOptimiser, at: Trained) -> Tensor:
    """The parameters (e, P), after a look at the zeros behind them."""
    used, unused = at.parameters.tensor_split([optimiser.network.flat.shape[1]], dim=1)
    assert 0 < unused.shape[1] < ALIGNED
    assert not unused.nan_to_num(0.0).any()  # a broken member's are broken, too
    return used


@each_way
@pytest.mark.parametrize("decay", ["constant", "cosine"])
@pytest.mark.parametrize(("clip", "weight_decay"), [(0.0, 0.1), (5.0, 0.1), (5.0, 0.0)])
def test_it_is_torchs_adamw_on_each_member_alone(clip: float, weight_decay: float, decay: str, in_place: bool) -> None:
    together = adamw(in_place, total=12, weight_decay=weight_decay, clip=clip, warmup=3, decay=decay)
    at, reference = together.start(), [network(4) for _ in range(4)]  # a whole ensemble per member, one row of it used
    alone = [torch.optim.AdamW(n.parameters(), lr=1.0, weight_decay=weight_decay) for n in reference]
    clipped = []
    for step in range(12):
        at, norms = stepped(together, at, step)
        for i, (own, optimiser) in enumerate(zip(reference, alone, strict=True)):
            optimiser.zero_grad()
            losses(own, step)[i].backward()  # the other rows' gradients are zero
            norm = clip_grad_norm_(own.parameters(), clip if clip else math.inf)
            assert norms[i].item() == pytest.approx(norm.item(), rel=1e-4)
            clipped.append(bool(clip) and norm.item() > clip)
            ramp = min(1.0, (step + 1) / 3)
            wave = 0.5 * (1 + math.cos(math.pi * max(0, step - 3) / 9)) if decay == "cosine" else 1.0
            optimiser.param_groups[0]["lr"] = RATES[i] * ramp * wave
            optimiser.step()
            torch.testing.assert_close(rows(together, at)[i], own.flat[i], rtol=2e-4, atol=2e-6)
        assert at.counts.tolist() == [step + 1] * 4
    assert {True, False} == set(clipped) if clip else not any(clipped)


@each_way
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_is_torchs_on_each_member_alone_after_a_decay_of_its_own(weight_decay: float, in_place: bool) -> None:
    together = sgd(in_place, total=6, weight_decay=weight_decay, clip=5.0, warmup=3)
    at, reference = together.start(), [network(4) for _ in range(4)]
    alone = [torch.optim.SGD(n.parameters(), lr=1.0) for n in reference]
    for step in range(6):
        at, _ = stepped(together, at, step)
        for i, (own, optimiser) in enumerate(zip(reference, alone, strict=True)):
            optimiser.zero_grad()
            losses(own, step)[i].backward()
            clip_grad_norm_(own.parameters(), 5.0)
            rate = optimiser.param_groups[0]["lr"] = RATES[i] * min(1.0, (step + 1) / 3)
            own.flat.mul_(1 - rate * weight_decay)
            optimiser.step()
            torch.testing.assert_close(rows(together, at)[i], own.flat[i], rtol=1e-5, atol=1e-7)
    assert at.counts.tolist() == [6] * 4
    assert not at.mean.numel() + at.square.numel()


@each_kind
@each_way
def test_a_member_that_breaks_leaves_the_others_steps_alone(
    in_place: bool, made: Callable[..., EnsembleOptimiser]
) -> None:
    optimiser = made(in_place, total=9, weight_decay=0.1, clip=1.0)
    healthy, mixed = optimiser.start(), optimiser.start()
    spoil = torch.tensor([1.0, math.nan, 1.0, math.inf])
    for step in range(5):
        healthy, _ = stepped(optimiser, healthy, step)
        mixed, _ = stepped(optimiser, mixed, step, spoil)
    good, bad = rows(optimiser, healthy), rows(optimiser, mixed)
    for i in (0, 2):
        assert torch.equal(good[i], bad[i])
    assert not bad[1].isfinite().any()
    assert not bad[3].isfinite().all()


@each_kind
@each_way
def test_a_zero_gradient_is_not_clipped_into_a_nan(in_place: bool, made: Callable[..., EnsembleOptimiser]) -> None:
    optimiser = made(in_place, total=9, clip=1.0)
    at, norms = stepped(optimiser, optimiser.start(), 0, 0.0)
    assert not norms.any()
    assert torch.equal(rows(optimiser, at), optimiser.network.flat)


@each_kind
@each_way
def test_a_step_takes_all_from_its_arguments_and_leaves_the_network_alone(
    in_place: bool, made: Callable[..., EnsembleOptimiser]
) -> None:
    optimiser = made(in_place, total=9, weight_decay=0.1, clip=1.0)
    kept = optimiser.network.flat.clone()
    first, _ = stepped(optimiser, optimiser.start(), 0)
    given = Trained(*(t.clone() for t in first))
    second, norms = stepped(optimiser, first, 1)
    assert all((old is new) == in_place for old, new in zip(first, second, strict=True))
    if not in_place:
        assert all(torch.equal(a, b) for a, b in zip(first, given, strict=True))
    stepped(optimiser, optimiser.start(), 5)  # whatever else it did in between
    again, same = stepped(optimiser, given, 1)
    assert all(torch.equal(a, b) for a, b in zip((*second, norms), (*again, same), strict=True))
    assert torch.equal(optimiser.network.flat, kept)


def test_the_sizes_of_many_steps_are_those_of_each_and_past_the_end_the_rate_is_the_last() -> None:
    optimiser = adamw(False, total=9, warmup=3, decay="cosine", weight_decay=0.1)
    many = optimiser.sizes(4, 9)
    assert many.shape == (4, 9, 4)
    for j in range(9):
        assert torch.equal(many[:, j], optimiser.sizes(4 + j, 1)[:, 0])
        factor = warmup_then(np.array([min(4 + j, 8)]), 3, 9, "cosine").item()
        torch.testing.assert_close(many[:, j, 0], torch.tensor([rate * factor for rate in RATES]))
