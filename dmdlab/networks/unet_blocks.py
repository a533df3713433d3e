"""What the U-Net is made of, as ensembles: convolutions, group norms, attention, and the one block of them.

Pictures are (n, e c, h, w) here: samples, every member's channels side by side, height, width. So a grouped convolution
takes them as they lie, and nothing is copied between layers. Nothing couples samples.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold, pad, silu

from dmdlab.networks.ensemble import EnsembleLinear

CONVOLUTIONS = "grouped"
"""How an ensemble convolves, as records say it: all members at once, on every device; see `convolve`."""

HEAD = 64
"""Channels of an attention head (ADM: 64)."""

EPS = 1e-5
"""What group norms add to a variance (ADM: 1e-5)."""


FEWEST = 8
"""Channels of each member to which a grouped convolution of several goes at least: to fewer it takes longer."""


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (n, e in, h, w) with each member's own weight (e, out, in, k, k), k odd, and bias (e, out), zeros around the
    picture: (n, e out, h, w).

    A committed rule in the shapes, and never a timing, so that one id means one result: by products where a place keeps
    to itself, and where each has one number to tell; else by one grouped convolution, each member's channels a group,
    filled up to `FEWEST` of each of several members. On a CPU and on a GPU these took the least time of what was tried:
    members one after another, and products of unfolded or shifted pictures, lose (`python -m benchmarks convolution`).
    """
    (members, outputs), around = bias.shape, weight.shape[-1] // 2
    if not around:
        return mixed(x, weight[..., 0, 0], bias)
    if outputs == 1:
        return folded(x, weight[:, 0], bias)
    more = max(0, FEWEST - outputs) if members > 1 else 0
    if more:
        weight, bias = pad(weight, (0, 0, 0, 0, 0, 0, 0, more)), pad(bias, (0, more))
    out = conv2d(x, weight.flatten(0, 1), bias.flatten(), padding=around, groups=members)
    return by_member(out, members)[:, :, :outputs].flatten(1, 2) if more else out


def mixed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The channels of every place, x (n, e in, h, w), by one matrix (e, out, in) and bias (e, out) a member: (n, e out,
    h, w). A convolution of 1 x 1 that takes less time."""
    out = (weight @ by_member(x, len(weight)).flatten(3)).add_(bias.unsqueeze(2))
    return out.flatten(1, 2).unflatten(2, x.shape[2:])


def folded(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution to one channel, x (n, e in, h, w) with weight (e, in, k, k) and bias (e, 1) -> (n, e, h, w): what
    each place says to each of its neighbours, by one product, is added up where it belongs."""
    kernel = weight.shape[-1]
    taps = weight.flip(2, 3).flatten(2).mT  # (e, k k, in)
    said = taps @ by_member(x, len(weight)).flatten(3)  # (n, e, k k, h w)
    return fold(said.flatten(1, 2), x.shape[2:], kernel, padding=kernel // 2) + bias[..., None]


def by_member(x: Tensor, members: int) -> Tensor:
    """(n, e c, ...) as (n, e, c, ...)."""
    return x.unflatten(1, (members, -1))


class Convolution(nn.Module):
    """e convolutions side by side, with kernels of k x k, k odd: (n, e inputs, h, w) -> (n, e outputs, h, w)."""

    def __init__(self, members: int, inputs: int, outputs: int, kernel: int = 3, gain: float = 1.0) -> None:
        super().__init__()
        self.std = gain / math.sqrt(inputs * kernel**2)
        self.weight = nn.Parameter(torch.zeros(members, outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(members, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias)

    @torch.no_grad()
    def draw(self, generators: Sequence[torch.Generator]) -> None:
        """Member i's weights, N(0, gain^2 / (inputs k^2)), and zero biases, from generators[i] alone."""
        self.bias.zero_()
        for weight, g in zip(self.weight, generators, strict=True):
            weight.copy_(torch.randn(weight.shape, generator=g) * self.std)


class GroupNorm(nn.Module):
    """Each sample's groups of channels at mean 0 and variance 1, then scaled and shifted by channel: the members' own
    learned numbers, and those of an embedding on top (Dhariwal and Nichol 2021, Sec. 3).

    By torch's own kernel, scale and shift included: what differs by sample, too, are the channels of one sample to it.
    A compiler takes it apart into plain means again. In float32 at least, whatever came in.
    """

    def __init__(self, members: int, channels: int) -> None:
        super().__init__()
        self.groups = divisor(channels, min(32, channels // 4))  # EDM: 32 groups, of 4 channels at least
        self.scale = nn.Parameter(torch.ones(members, 1, channels))
        self.shift = nn.Parameter(torch.zeros(members, 1, channels))

    def forward(self, x: Tensor, more: Tensor | None = None) -> Tensor:
        """x (n, e c, h, w); more (e, n, 2 c), or (e, 1, 2 c) for all samples: what adds to the scale as a multiple of
        it, then what adds to the shift."""
        members, x = len(self.scale), x.to(torch.promote_types(x.dtype, torch.float32))
        if more is None:
            return torch.group_norm(x, members * self.groups, self.scale.flatten(), self.shift.flatten(), EPS)
        by, to = more.chunk(2, dim=2)
        by = by + 1
        scale, shift = (own.transpose(0, 1) for own in (self.scale * by, self.shift * by + to))  # (n or 1, e, c)
        alike = x.reshape(-1, scale.numel(), *x.shape[2:])  # samples of one scale, and the channels of such a sample
        groups = self.groups * scale.shape[:2].numel()
        return torch.group_norm(alike, groups, scale.flatten(), shift.flatten(), EPS).view_as(x)

    @torch.no_grad()
    def draw(self, generators: Sequence[torch.Generator]) -> None:
        """Scales 1, shifts 0; nothing random."""
        self.scale.fill_(1.0)
        self.shift.zero_()


def divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`; 1 where there is none."""
    return max((i for i in range(1, most + 1) if number % i == 0), default=1)


class Attention(nn.Module):
    """What is added to a picture by attention of each place to all places, in heads of about `HEAD` channels."""

    def __init__(self, members: int, channels: int) -> None:
        super().__init__()
        self.heads = divisor(channels, channels // HEAD)
        self.norm = GroupNorm(members, channels)
        self.enter = Convolution(members, channels, 3 * channels, kernel=1)
        self.leave = Convolution(members, channels, channels, kernel=1, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        members = len(self.enter.weight)
        three = by_member(self.enter(self.norm(x)), members).unflatten(2, (3, self.heads, -1)).flatten(5)
        query, key, value = three.unbind(2)  # (n, e, heads, c / heads, h w)
        share = ((query.mT / math.sqrt(query.shape[-2])) @ key).softmax(dim=-1)  # (n, e, heads, h w, h w)
        return self.leave((value @ share.mT).flatten(1, 3).unflatten(2, x.shape[2:]))


Resample = Literal["same", "down", "up"]


def resampled(x: Tensor, how: Resample) -> Tensor:
    """Pictures of half the side, each pixel the mean of 2 x 2; of twice the side, each pixel repeated 2 x 2; or as they
    are."""
    if how == "down":  # sums and copies: torch's own pooling and upsampling take a CPU longer
        rows = x[..., ::2, :] + x[..., 1::2, :]
        return (rows[..., ::2] + rows[..., 1::2]) / 4
    if how == "up":
        wide = torch.stack((x, x), dim=4).flatten(3)
        return torch.stack((wide, wide), dim=3).flatten(2, 3)
    return x


class Block(nn.Module):
    """x -> skip(x) + conv(silu(norm(conv(silu(norm(x))), embedding))), then attention where wanted; the block of ADM.

    Both ends that are added begin at zero, so a fresh block is its skip alone: the identity, resampled, and mixed by a
    1 x 1 convolution where the numbers of channels differ.
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        outputs: int,
        embedding: int,
        attention: bool = False,
        resample: Resample = "same",
    ) -> None:
        super().__init__()
        self.resample: Resample = resample
        self.norm1 = GroupNorm(members, inputs)
        self.conv1 = Convolution(members, inputs, outputs)
        self.told = EnsembleLinear(members, embedding, 2 * outputs)
        self.norm2 = GroupNorm(members, outputs)
        self.conv2 = Convolution(members, outputs, outputs, gain=0.0)
        self.skip = Convolution(members, inputs, outputs, kernel=1) if inputs != outputs else None
        self.attention = Attention(members, outputs) if attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (n, e inputs, h, w), embedding (e, n or 1, embedding) -> (n, e outputs, h', w')."""
        h = self.conv1(resampled(silu(self.norm1(x)), self.resample))
        h = self.conv2(silu(self.norm2(h, self.told(embedding))))
        x = resampled(x, self.resample)
        h += x if self.skip is None else self.skip(x)
        return h if self.attention is None else h + self.attention(h)
