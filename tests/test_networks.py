"""Ensembles against networks one at a time, against plain torch written out, and as views of one matrix."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, silu

from dmdlab.config import InputError, NetworkSpec, Value
from dmdlab.laws import Gaussian
from dmdlab.networks import (
    Ensemble,
    EnsembleLinear,
    denoiser_of,
    make_denoiser,
    make_network,
    network_settings,
)
from dmdlab.networks.ensemble import ALIGNED, zero_rows
from dmdlab.networks.mlp import Fourier
from dmdlab.randomness import generator
from dmdlab.training.optimiser import gradient

WIDTH, DEPTH, FEATURES = 12, 3, 8
SEEDS = (3, 4, 5)
DIM, ROWS = 4, 10
KINDS = ("mlp", "residual")  # for vectors
each_kind = pytest.mark.parametrize("kind", KINDS)


def spec(kind: str, width: int = WIDTH, depth: int = DEPTH, time_features: int = FEATURES) -> NetworkSpec:
    return NetworkSpec(kind=kind, width=width, depth=depth, time_features=time_features)


def network(kind: str, seeds: Sequence[int] = SEEDS, dim: int = DIM) -> Ensemble:
    return make_network(len(seeds), Gaussian(dim=dim), spec(kind)).initialise([generator(s, "network") for s in seeds])


def inputs(members: int = len(SEEDS), dim: int = DIM) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(members, ROWS, dim, generator=g), torch.randn(members, ROWS, 1, generator=g)


def losses(net: Ensemble, x: Tensor, c_noise: Tensor) -> Tensor:
    return (net(x, c_noise) - x.roll(1, dims=-1)).square().mean(dim=(1, 2))


def own_gradient(net: Ensemble, loss: Tensor) -> Tensor:
    return gradient(loss, list(net.parameters()))


# --- one layer


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_torchs_per_member(bias: bool) -> None:
    layer = EnsembleLinear(3, 5, 2, bias=bias)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
    x = torch.randn(3, 7, 5, generator=g)
    out = layer(x)
    assert out.shape == (3, 7, 2)
    for i in range(3):
        expected = linear(x[i], layer.weight[i].mT, None if layer.bias is None else layer.bias[i, 0])
        torch.testing.assert_close(out[i], expected)


def test_fourier_features_are_cosines_and_sines_of_octaves() -> None:
    features, level = Fourier(8), torch.tensor([[[0.3], [-0.7]]])
    frequencies = [2 * math.pi * 2 ** (-3 + 7 * i / 3) for i in range(4)]
    for row, c in zip(features(level)[0], (0.3, -0.7), strict=True):
        expected = [math.cos(f * c) for f in frequencies] + [math.sin(f * c) for f in frequencies]
        torch.testing.assert_close(row, torch.tensor(expected), atol=1e-5, rtol=0)


# --- the two networks, written out for one member


def plain_mlp(w: dict[str, Tensor], x: Tensor, c: Tensor) -> Tensor:
    h = torch.cat([x, Fourier(FEATURES)(c)], dim=-1)
    for i in range(DEPTH):
        h = silu(linear(h, w[f"hidden.{i}.weight"].T, w[f"hidden.{i}.bias"][0]))
    return linear(h, w["out.weight"].T, w["out.bias"][0])


def plain_residual(w: dict[str, Tensor], x: Tensor, c: Tensor) -> Tensor:
    def norm(h: Tensor) -> Tensor:
        return layer_norm(h, (WIDTH,))

    level = linear(Fourier(FEATURES)(c), w["level.weight"].T, w["level.bias"][0])
    h = linear(x, w["enter.weight"].T) + level
    for i in range(DEPTH):
        inner = silu(linear(norm(h), w[f"up.{i}.weight"].T, w[f"up.{i}.bias"][0]))
        h = h + linear(inner, w[f"down.{i}.weight"].T)
    return linear(norm(h), w["out.weight"].T, w["out.bias"][0])


@pytest.mark.parametrize(("kind", "plain"), [("mlp", plain_mlp), ("residual", plain_residual)])
def test_a_member_is_its_network_written_out(kind: str, plain: object) -> None:
    net, (x, c) = network(kind), inputs()
    out = net(x, c)
    assert out.shape == x.shape
    for i in range(len(SEEDS)):
        state = net.member_state(i)
        torch.testing.assert_close(out[i], plain(state, x[i], c[i]), atol=1e-5, rtol=1e-5)  # type: ignore[operator]


@each_kind
def test_an_ensemble_is_its_members_one_at_a_time(kind: str) -> None:
    net, (x, c) = network(kind), inputs()
    out, grad = net(x, c), own_gradient(net, losses(net, x, c))
    for i, seed in enumerate(SEEDS):
        alone = network(kind, [seed])
        assert torch.equal(alone.flat[0], net.flat[i])
        one = slice(i, i + 1)
        torch.testing.assert_close(alone(x[one], c[one])[0], out[i], atol=1e-6, rtol=1e-5)
        own = own_gradient(alone, losses(alone, x[one], c[one]))
        torch.testing.assert_close(own[0], grad[i], atol=1e-6, rtol=1e-5)


@each_kind
def test_the_level_and_every_parameter_matter(kind: str) -> None:
    net, (x, c) = network(kind), inputs()
    assert (net(x, c) - net(x, c + 0.1)).abs().amax(dim=(1, 2)).min() > 1e-3
    with torch.no_grad():  # a generic point: at the start every bias is zero
        net.flat += 0.05 * torch.randn(net.flat.shape, generator=torch.Generator().manual_seed(9))
    parts = torch.autograd.grad(losses(net, x, c).sum(), list(net.parameters()))
    assert all((part.flatten(1).abs().amax(dim=1) > 0).all() for part in parts)


# --- gradients stay with their member


@each_kind
def test_the_gradient_is_autograds_in_the_order_of_flat(kind: str) -> None:
    net, (x, c) = network(kind), inputs()
    whole = own_gradient(net, losses(net, x, c))
    found, unused = whole.split([net.flat.shape[1], -net.flat.shape[1] % ALIGNED], dim=1)
    assert not unused.any()
    parts = torch.autograd.grad(losses(net, x, c).sum(), list(net.parameters()))
    assert torch.equal(found, torch.cat([p.flatten(1) for p in parts], dim=1))
    step, loss = 1e-3, losses(net, x, c)
    with torch.no_grad():
        net.flat -= step * found
        decrease = loss - losses(net, x, c)
    torch.testing.assert_close(decrease, step * found.square().sum(dim=1), rtol=0.05, atol=0)


@each_kind
def test_one_members_loss_and_one_members_nan_stay_with_it(kind: str) -> None:
    net, (x, c) = network(kind), inputs()
    healthy, grad = losses(net, x, c).detach(), own_gradient(net, losses(net, x, c))
    only_first = own_gradient(net, losses(net, x, c) * torch.tensor([1.0, 0.0, 0.0]))
    assert torch.equal(only_first[0], grad[0])
    assert not only_first[1:].any()
    net.load_rows(torch.where(torch.tensor([[False], [True], [False]]), math.nan, net.flat))
    broken = losses(net, x, c)
    after = own_gradient(net, broken)
    assert broken.isnan().tolist() == [False, True, False]
    for i in (0, 2):
        assert broken[i] == healthy[i]
        assert torch.equal(after[i], grad[i])


# --- other parameters for a while


def wide(rows: Tensor) -> Tensor:
    """Rows as a training keeps them: longer than they need be."""
    return torch.cat([rows, torch.full((len(rows), 3), math.nan)], dim=1)


@each_kind
def test_a_network_that_holds_rows_is_the_one_that_they_are_from(kind: str) -> None:
    net, other, (x, c) = network(kind), network(kind, [7, 8]), inputs()
    before, x, c = net(x, c), x[:2], c[:2]  # rows of another number of members
    kept = net.flat.clone()
    with net.holding(wide(other.flat), trained=True) as leaves:
        assert torch.equal(net(x, c), other(x, c))
        assert torch.equal(gradient(losses(net, x, c), leaves), own_gradient(other, losses(other, x, c)))
        with net.holding(kept):
            assert torch.equal(net(*inputs()), before)
            assert not net(*inputs()).requires_grad
        assert torch.equal(net(x, c), other(x, c))
    with pytest.raises(ZeroDivisionError), net.holding(other.flat):
        raise ZeroDivisionError
    assert torch.equal(net(*inputs()), before)
    assert torch.equal(net.flat, kept)
    assert_views(net)


@each_kind
def test_what_is_held_is_differentiated_by_apart_from_the_rows_it_came_from(kind: str) -> None:
    net, (x, c) = network(kind), inputs()
    rows = net.flat.clone().requires_grad_()
    with net.holding(rows, trained=True) as leaves:
        losses(net, x, c).sum().backward()
    assert all(
        leaf.grad is not None and leaf.shape == p.shape for leaf, p in zip(leaves, net.parameters(), strict=True)
    )
    assert rows.grad is None
    assert all(p.grad is None for p in net.parameters())


# --- the matrix and its views


def assert_views(net: Ensemble) -> None:
    """Each parameter is a window of `flat`, in order, without gap or overlap; rows start at multiples of `ALIGNED`."""
    start = 0
    for p in net.parameters():
        assert p.untyped_storage()._cdata == net.flat.untyped_storage()._cdata
        assert p.storage_offset() == start
        assert p.stride(0) == net.flat.stride(0)
        assert p.device == net.flat.device
        start += p[0].numel()
    assert start == net.flat.shape[1]
    assert net.flat.stride() == (-(-start // ALIGNED) * ALIGNED, 1)
    assert zero_rows(net.flat).stride() == net.flat.stride()
    assert net.members == net.flat.shape[0]


@each_kind
def test_parameters_stay_views_of_the_matrix(kind: str) -> None:
    net, (x, c) = network(kind), inputs()
    assert_views(net)
    before = net(x, c)
    assert_views(net.to_device("cpu"))
    assert torch.equal(net(x, c), before)
    rows = network(kind, [7, 8, 9])
    assert_views(net.load_rows(rows.flat))
    assert torch.equal(net(x, c), rows(x, c))
    assert_views(net.initialise([generator(s, "network") for s in SEEDS]))
    assert torch.equal(net(x, c), before)
    moved = net.to_device("meta")  # a device that every machine has
    assert_views(moved)
    assert moved.embed.frequencies.device.type == "meta"


@each_kind
def test_loading_rows_copies_them(kind: str) -> None:
    net, rows = network(kind), torch.zeros_like(network(kind).flat)
    net.load_rows(rows)
    rows += 1
    assert not net.flat.any()


@each_kind
def test_a_members_state_is_a_plain_copy_that_rebuilds_it(kind: str) -> None:
    net, (x, c) = network(kind), inputs()
    state = net.member_state(1)
    assert list(state) == [name for name, _ in net.named_parameters()]
    assert all(t.is_contiguous() and t.device.type == "cpu" and not t.requires_grad for t in state.values())
    alone = network(kind, [99])
    alone.load_rows(torch.cat([t.flatten() for t in state.values()])[None])
    torch.testing.assert_close(alone(x[1:2], c[1:2])[0], net(x, c)[1])
    kept = {name: t.clone() for name, t in state.items()}
    with torch.no_grad():
        net.flat.zero_()
    assert all(torch.equal(state[name], kept[name]) for name in kept)


# --- the start


@each_kind
def test_the_start_has_the_stated_spread_and_its_own_stream(kind: str) -> None:
    law, wide = Gaussian(dim=100), spec(kind, 200, 2, 32)
    net = make_network(2, law, wide).initialise([generator(0, "network"), generator(1, "network")])
    layers = [m for m in net.modules() if isinstance(m, EnsembleLinear)]
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx(layer.std, rel=0.05)
        assert layer.weight.mean().abs() < 5 * layer.std / math.sqrt(layer.weight.numel())
        assert layer.bias is None or not layer.bias.any()
    first, gain = layers[0], 1.0 if kind == "residual" else math.sqrt(2)
    assert first.std == pytest.approx(gain / math.sqrt(first.weight.shape[1]))
    assert torch.equal(net.flat[1], make_network(1, law, wide).initialise([generator(1, "network")]).flat[0])
    with pytest.raises(ValueError, match="shorter"):
        net.initialise([generator(0)])


def test_a_network_at_its_start_keeps_the_size_of_its_input() -> None:
    for kind in KINDS:
        net = network(kind, range(20), dim=32)
        out = net(torch.randn(20, 50, 32, generator=generator(0)), torch.zeros(20, 50, 1))
        assert 0.2 < out.std() < 2.0


# --- from a spec


def test_a_spec_is_completed_by_its_kind() -> None:
    full = network_settings(NetworkSpec(kind="mlp", width=7))
    assert full.model_dump() == {"width": 7, "depth": 4, "time_features": 32}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": "residul"}, "network.kind is 'residul', which is not a network; did you mean 'residual'"),
        ({"widht": 7}, "unknown key 'network.widht'; did you mean 'network.width'"),
        ({"width": 0}, "network.width: .*greater than or equal to 1, got 0"),
        ({"time_features": 5}, "network.time_features: .*multiple of 2, got 5"),
    ],
)
def test_a_wrong_spec_is_refused_in_a_sentence(wrong: dict[str, Value], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_network(1, Gaussian(dim=2), NetworkSpec(**wrong))


@each_kind
def test_a_denoiser_of_rows_is_the_one_that_they_are_from(kind: str) -> None:
    law, (x, _) = Gaussian(dim=DIM, scale=3.0), inputs()
    first = make_denoiser(len(SEEDS), law, spec(kind))
    first.network.initialise([generator(s) for s in SEEDS])
    rows = first.network.flat.clone()
    again = denoiser_of(rows, law, spec(kind))
    assert torch.equal(again(x, 2.0), first(x, 2.0))
    assert again.sigma_data == first.sigma_data == law.sigma_data
    rows += 1
    assert torch.equal(again.network.flat, first.network.flat)


@each_kind
def test_one_level_for_all_rows_is_the_same_level_in_every_row(kind: str) -> None:
    """To rounding: the level's features are multiplied once instead of once a row."""
    (x, c), denoiser = inputs(), make_denoiser(len(SEEDS), Gaussian(dim=DIM, scale=3.0), spec(kind))
    net = denoiser.network.initialise([generator(s) for s in SEEDS])
    own = c[:, :1]  # each member's own
    torch.testing.assert_close(net(x, own), net(x, own.expand(c.shape)), rtol=1e-5, atol=1e-6)
    expected = denoiser(x, torch.full(c.shape, 2.0))
    assert expected.shape == x.shape
    for sigma in (2.0, torch.tensor(2.0)):
        torch.testing.assert_close(denoiser(x, sigma), expected, rtol=1e-5, atol=1e-6)


@each_kind
def test_a_label_is_refused_where_no_class_is_known(kind: str) -> None:
    x, c = inputs()
    with pytest.raises(InputError, match=r"is told no class label: set teacher\.condition = true"):
        network(kind)(x, c, torch.zeros(x.shape[:2], dtype=torch.int64))
