"""The U-Net against plain torch written out, member by member and row by row; and its start."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import (
    avg_pool2d,
    conv2d,
    group_norm,
    interpolate,
    linear,
    one_hot,
    pad,
    scaled_dot_product_attention,
    silu,
)

from benchmarks.convolution import ways
from dmdlab.config import InputError
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser
from dmdlab.networks.unet import UNet, UNetSettings
from dmdlab.networks.unet_blocks import Convolution, divisor
from dmdlab.training.optimiser import gradient

SEEDS, ROWS, CLASSES = (3, 4, 5), 4, 3
SMALL: dict[str, Any] = {"channels": [8, 12], "depths": [1, 1], "attention": [8], "time_features": 8}


class Pictures(Law):
    """Pixels that are independent and Gaussian."""

    name, summary, has_denoiser = "pictures", "independent pixels", False

    def __init__(self, channels: int = 1, side: int = 8, classes: int = 0) -> None:
        super().__init__(channels * side**2)
        self.sides, self.classes, self.sigma_data, self.intrinsic_dim = (channels, side, side), classes, 0.5, self.dim

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sides

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        return self.sigma_data * torch.randn(n, self.dim, generator=generator), None


def network(law: Pictures, seeds: tuple[int, ...] = SEEDS, generic: bool = True, **settings: Any) -> UNet:
    """Members at their starts, or where no parameter is zero."""
    net = UNet(len(seeds), law, UNetSettings(**SMALL | settings), law.classes)
    net.initialise([torch.Generator().manual_seed(s) for s in seeds])
    if generic:
        noise = [torch.randn(net.flat.shape[1], generator=torch.Generator().manual_seed(90 + s)) for s in seeds]
        net.load_rows(net.flat + 0.05 * torch.stack(noise))
    return net


def inputs(law: Pictures, members: int = len(SEEDS)) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x, c = torch.randn(members, ROWS, law.dim, generator=g), torch.randn(members, ROWS, 1, generator=g)
    return x, c, torch.randint(CLASSES, (members, ROWS), generator=g)


def losses(net: UNet, x: Tensor, c: Tensor, label: Tensor | None = None) -> Tensor:
    return (net(x, c, label) - x.roll(1, dims=-1)).square().mean(dim=(1, 2))


# --- convolutions


@pytest.mark.parametrize("outputs", [1, 6, 12])
@pytest.mark.parametrize("side", [4, 7])
@pytest.mark.parametrize("kernel", [1, 3])
def test_all_ways_to_convolve_agree_forward_and_backward(kernel: int, side: int, outputs: int) -> None:
    g = torch.Generator().manual_seed(0)
    shapes = ((2, 3 * 4, side, side), (3, outputs, 4, kernel, kernel), (3, outputs))
    given = [torch.randn(s, generator=g, dtype=torch.float64).requires_grad_() for s in shapes]
    x, weight, bias = given
    own = zip(x.chunk(3, dim=1), weight, bias, strict=True)
    expected = torch.cat([conv2d(*one, padding=kernel // 2) for one in own], dim=1)
    slope = torch.randn(expected.shape, generator=g, dtype=torch.float64)
    for way in ways(kernel).values():
        out = way(*given)
        torch.testing.assert_close(out, expected)
        found, wanted = (torch.autograd.grad(y, given, slope, retain_graph=True) for y in (out, expected))
        torch.testing.assert_close(found, wanted)


def test_a_run_says_how_it_convolves() -> None:
    assert network(Pictures()).ways() == {"convolutions": "grouped"}


# --- the network


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 16, 28, 32])
def test_pictures_come_out_as_they_went_in(channels: int, side: int) -> None:
    law = Pictures(channels, side)
    net = network(law, (0, 1), channels=[4, 4, 8], depths=[1, 2, 1], attention=[side // 2])
    x, c, _ = inputs(law, 2)
    out = net(x, c)
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert out.std(dim=(1, 2)).min() > 0.1


def test_a_group_of_one_number_is_no_error() -> None:
    """One channel at a level of one place: its norm is its shift."""
    law = Pictures(1, 4)
    net, (x, c, _) = network(law, (0, 1), channels=[4, 4, 1], depths=[1, 1, 1], attention=[]), inputs(law, 2)
    assert net(x, c).isfinite().all()
    torch.testing.assert_close(net(x[:, :1], c[:, :1]), net(x, c)[:, :1])


def test_a_picture_lies_in_the_middle_of_its_padding() -> None:
    law = Pictures(2, 5)
    net, (x, c, _) = network(law, (0,), channels=[4, 4, 4], depths=[1, 1, 1], attention=[]), inputs(law, 1)
    seen: list[Tensor] = []
    net.enter.register_forward_hook(lambda _, given, out: seen.append(given[0]))
    net(x, c)
    assert torch.equal(seen[0], pad(x[0].unflatten(1, (2, 5, 5)), (1, 2, 1, 2)))


@pytest.mark.parametrize(("attention", "blocks"), [([8], "down.0 up.3 up.4"), ([4], "down.2 up.0 up.1"), ([], "")])
def test_blocks_attend_at_the_named_sides_and_the_middle_always(attention: list[int], blocks: str) -> None:
    net = network(Pictures(1, 8), (0,), attention=attention)
    found = [name.removesuffix(".attention") for name, _ in net.named_modules() if name.endswith(".attention")]
    assert set(found) == {*blocks.split(), "middle.0"}


def plain_norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    groups = divisor(x.shape[1], min(32, x.shape[1] // 4))
    return group_norm(x, groups, w[f"{name}.scale"][0], w[f"{name}.shift"][0])


def plain_conv(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding="same")


def plain_linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return linear(x, w[f"{name}.weight"].T, w[f"{name}.bias"][0])


def plain_block(
    w: dict[str, Tensor], name: str, x: Tensor, told: Tensor, resample: Callable[[Tensor], Tensor] = torch.clone
) -> Tensor:
    h = plain_conv(w, f"{name}.conv1", resample(silu(plain_norm(w, f"{name}.norm1", x))))
    scale, shift = plain_linear(w, f"{name}.told", told)[..., None, None].chunk(2, dim=1)
    h = plain_conv(w, f"{name}.conv2", silu(plain_norm(w, f"{name}.norm2", h) * (1 + scale) + shift))
    x = resample(x)
    h = h + (plain_conv(w, f"{name}.skip", x) if f"{name}.skip.weight" in w else x)
    if f"{name}.attention.enter.weight" not in w:
        return h
    q, k, v = (
        plain_conv(w, f"{name}.attention.enter", plain_norm(w, f"{name}.attention.norm", h)).flatten(2).chunk(3, 1)
    )
    mixed = scaled_dot_product_attention(q.mT, k.mT, v.mT).mT.unflatten(2, h.shape[2:])
    return h + plain_conv(w, f"{name}.attention.leave", mixed)


def plain_unet(w: dict[str, Tensor], net: UNet, x: Tensor, c: Tensor, label: Tensor) -> Tensor:
    """Two levels of one block each, as `SMALL`, on one member's pictures."""
    told = plain_linear(w, "level2", silu(plain_linear(w, "level1", net.fourier(c))))
    told = silu(told + linear(one_hot(label, CLASSES).float(), w["told.weight"].T))
    side = net.shape[1]
    edge = side % 2
    h = plain_conv(w, "enter", pad(x.unflatten(1, net.shape), (0, edge, 0, edge)))
    kept = [h]
    for i, resample in enumerate((torch.clone, lambda x: avg_pool2d(x, 2), torch.clone)):
        kept.append(plain_block(w, f"down.{i}", kept[-1], told, resample))
    h = plain_block(w, "middle.1", plain_block(w, "middle.0", kept[-1], told), told)
    for i in range(5):
        if i == 2:
            h = plain_block(w, f"up.{i}", h, told, lambda x: interpolate(x, scale_factor=2))
        else:
            h = plain_block(w, f"up.{i}", torch.cat([h, kept.pop()], dim=1), told)
    return plain_conv(w, "leave", silu(plain_norm(w, "norm", h)))[..., :side, :side].flatten(1)


@pytest.mark.parametrize("side", [7, 8])
def test_a_member_is_its_network_written_out(side: int) -> None:
    law = Pictures(2, side, CLASSES)
    net, (x, c, label) = network(law), inputs(law)
    out = net(x, c, label)
    for i in range(len(SEEDS)):
        expected = plain_unet(net.member_state(i), net, x[i], c[i], label[i])
        torch.testing.assert_close(out[i], expected, rtol=1e-4, atol=1e-5)


def test_attention_has_heads() -> None:
    """Of 64 channels: two of them, the way that torch's own attention takes them."""
    law = Pictures(1, 4)
    net, (x, c, _) = network(law, (0,), channels=[128], depths=[1], attention=[]), inputs(law, 1)
    seen: dict[str, Tensor] = {}
    module, w = net.middle[0].attention, net.member_state(0)
    module.register_forward_hook(lambda _, given, out: seen.update(x=given[0], out=out))
    net(x, c)
    h = plain_conv(w, "middle.0.attention.enter", plain_norm(w, "middle.0.attention.norm", seen["x"]))
    q, k, v = (own.unflatten(1, (2, 64)).flatten(3).mT for own in h.chunk(3, dim=1))
    mixed = scaled_dot_product_attention(q, k, v).mT.flatten(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(seen["out"], plain_conv(w, "middle.0.attention.leave", mixed), rtol=1e-4, atol=1e-5)


def test_an_ensemble_is_its_members_one_at_a_time_and_a_nan_stays_with_its_own() -> None:
    law = Pictures(1, 8, CLASSES)
    net, (x, c, label) = network(law), inputs(law)
    out, slope = net(x, c, label), gradient(losses(net, x, c, label), list(net.parameters()))
    for i, seed in enumerate(SEEDS):
        alone, one = network(law, (seed,)), slice(i, i + 1)
        assert torch.equal(alone.flat[0], net.flat[i])
        torch.testing.assert_close(alone(x[one], c[one], label[one])[0], out[i], rtol=1e-4, atol=1e-5)
        own = gradient(losses(alone, x[one], c[one], label[one]), list(alone.parameters()))
        torch.testing.assert_close(own[0], slope[i], rtol=1e-4, atol=1e-5)
    net.load_rows(torch.where(torch.tensor([[False], [True], [False]]), math.nan, net.flat))
    broken, after = net(x, c, label), gradient(losses(net, x, c, label), list(net.parameters()))
    assert broken.isnan().flatten(1).any(dim=1).tolist() == [False, True, False]
    for i in (0, 2):
        assert torch.equal(broken[i], out[i])
        assert torch.equal(after[i], slope[i])


def test_rows_do_not_know_of_each_other() -> None:
    law = Pictures(1, 8, CLASSES)
    net, (x, c, label) = network(law), inputs(law)
    out, half = net(x, c, label), slice(0, ROWS // 2)
    torch.testing.assert_close(net(x[:, half], c[:, half], label[:, half]), out[:, half], rtol=1e-5, atol=1e-6)
    x[:, -1] = math.nan
    broken = net(x, c, label)
    assert broken[:, -1].isnan().all()
    torch.testing.assert_close(broken[:, :-1], out[:, :-1], rtol=1e-5, atol=1e-6)


def test_level_class_and_every_parameter_matter() -> None:
    law = Pictures(1, 8, CLASSES)
    net, (x, c, label) = network(law), inputs(law)
    out = net(x, c, label)
    assert (net(x, c + 0.1, label) - out).abs().amax(dim=(1, 2)).min() > 1e-3
    assert (net(x, c, (label + 1) % CLASSES) - out).abs().amax(dim=(1, 2)).min() > 1e-3
    torch.testing.assert_close(net(x, c[:, :1]), net(x, c[:, :1].expand(c.shape)), rtol=1e-4, atol=1e-5)
    parts = torch.autograd.grad(losses(net, x, c, label).sum(), list(net.parameters()))
    assert all((part.flatten(1).abs().amax(dim=1) > 0).all() for part in parts)


def test_no_label_is_the_zero_vector() -> None:
    law = Pictures(1, 8, CLASSES)
    net, (x, c, label) = network(law), inputs(law)
    without = net(x, c)
    torch.testing.assert_close(net(x, c, torch.full_like(label, -1)), without)
    slope = torch.autograd.grad(without.sum(), list(net.parameters()))  # in all parameters, none left out
    assert (
        dict(zip([name for name, _ in net.named_parameters()], slope, strict=True))["told.weight"].count_nonzero() == 0
    )
    with torch.no_grad():
        net.told.weight.zero_()  # type: ignore[union-attr, operator]
    torch.testing.assert_close(net(x, c, label), without)
    with pytest.raises(InputError, match=r"is told no class label: set teacher\.condition = true"):
        network(Pictures(1, 8))(x, c, label)


def test_other_parameters_can_be_held_for_a_while() -> None:
    law = Pictures(1, 8)
    net, other, (x, c, _) = network(law), network(law, (7, 8)), inputs(law, 2)
    kept = net.flat.clone()
    with net.holding(other.flat, trained=True) as leaves:
        assert torch.equal(net(x, c), other(x, c))
        expected = gradient(losses(other, x, c), list(other.parameters()))
        assert torch.equal(gradient(losses(net, x, c), leaves), expected)
    assert torch.equal(net.flat, kept)
    start = 0
    for p in net.parameters():
        assert p.untyped_storage()._cdata == net.flat.untyped_storage()._cdata
        assert p.storage_offset() == start
        start += p[0].numel()
    assert start == net.flat.shape[1]


def test_directional_derivatives_are_differences() -> None:
    """Forward mode and reverse mode, as the Jacobian measures take them."""
    law = Pictures(1, 8)
    net = network(law).double()
    x, c, _ = (t.double() for t in inputs(law))
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        forward = torch.func.jvp(lambda x: net(x, c), (x,), (v,))[1]
        torch.testing.assert_close(forward, (net(x + 1e-5 * v, c) - net(x - 1e-5 * v, c)) / 2e-5, rtol=1e-5, atol=1e-7)
        back = torch.func.vjp(lambda x: net(x, c), x)[1](v)[0]
    torch.testing.assert_close((back * v).sum(), (forward * v).sum())


# --- the start


def test_a_random_start_is_not_the_identity_shrunk() -> None:
    law = Pictures(1, 16)
    net = network(law, tuple(range(8)), generic=False, channels=[16, 16], attention=[])
    ends = [m for m in net.modules() if isinstance(m, Convolution) and m.std == 0]
    assert len(ends) == 10 + 1  # of ten blocks, and of the attention in the middle
    assert not any(m.weight.any() for m in ends)
    denoiser, z = EDMDenoiser(net, law.sigma_data), 80.0 * inputs(law, 8)[0]
    skip = law.sigma_data**2 / (80.0**2 + law.sigma_data**2) * z
    beyond = (denoiser(z, 80.0) - skip).square().mean(dim=(1, 2)).sqrt() / law.sigma_data
    assert 0.3 < beyond.min() < beyond.max() < 0.9
    assert beyond.min() > 40 * skip.std() / law.sigma_data
    moved = (denoiser(z, 80.0) - skip)[:, :1] - (denoiser(z, 80.0) - skip)[:, 1:]  # and it is no constant
    assert moved.square().mean(dim=(1, 2)).sqrt().min() > 0.2 * law.sigma_data


def test_the_start_has_the_stated_spread_and_its_own_stream() -> None:
    law = Pictures(3, 8, CLASSES)
    net = network(law, (0, 1), generic=False, channels=[32, 64])
    for layer in (m for m in net.modules() if isinstance(m, Convolution)):
        assert layer.weight.std().item() == pytest.approx(layer.std, rel=0.1)
        assert not layer.bias.any()
    assert net.told.weight.std().item() == pytest.approx(1.0, rel=0.1)  # type: ignore[union-attr, operator]
    assert torch.equal(net.flat[1], network(law, (1,), generic=False, channels=[32, 64]).flat[0])
