"""A U-Net for laws of pictures: ADM's (Dhariwal and Nichol 2021) as EDM has it (Karras et al. 2022).

Three lists describe it: the channels of each level, the blocks of each level, and the sides at which blocks attend.
A level halves the side of the one above. Noise level and class become one embedding, which scales and shifts inside
every block:

    embedding = silu(W2 silu(W1 fourier(c_noise)) + C onehot(class)),     no class: onehot = 0.

**At its start** the last convolution of every block and attention is zero, as in ADM, so that a deep network begins as
a shallow one. The last convolution of the whole is *not* zero. In ADM it is: a fresh network is F = 0, its denoiser the
map c_skip x, and a student that starts at random would start as the identity, shrunk. Here it is drawn like any other,
with variance 1 / inputs, so that F is about as large as other networks' and a random student is D(z) = c_skip z + c_out
F with a random F of z that hides c_skip z, by a fifth of sigma_data at least (a test holds it). A teacher starts there,
too.
"""

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from dmdlab.config import Count, InputError, Section
from dmdlab.laws import Law
from dmdlab.networks.ensemble import Ensemble, EnsembleLinear, class_map, with_class
from dmdlab.networks.mlp import Fourier
from dmdlab.networks.unet_blocks import CONVOLUTIONS, Block, Convolution, GroupNorm, by_member

LEAST_SIDE = 4
"""Below it a picture has nothing for a convolution of 3 x 3 to find."""


class UNetSettings(Section):
    """The default is a quick one: 87 025 parameters on pictures of one channel, without classes."""

    channels: list[Count] = Field([16, 16], description="channels of each level, the full side first (paper: 64, ...)")
    depths: list[Count] = Field([1, 1], description="blocks of each level on the way down, one more on the way up")
    attention: list[Count] = Field(
        [], description="sides, after padding, at which every block attends; one block in the middle always does"
    )
    time_features: int = Field(32, ge=2, multiple_of=2, description="Fourier features of the noise level (EDM: 64)")

    @model_validator(mode="after")
    def _levels(self) -> "UNetSettings":
        if not self.channels or len(self.channels) != len(self.depths):
            raise ValueError(
                f"network.channels has {len(self.channels)} levels and network.depths has {len(self.depths)}: "
                "give one number each for every level, and one level at least"
            )
        return self


class UNet(Ensemble):
    """e U-Nets side by side: pictures padded with zeros to a side that halves evenly, and cut back at the end.

    Raises `InputError` for a law whose shape is not (channels, side, side), a side below `LEAST_SIDE` or too small for
    so many levels, and sides to attend at of which no level has one.
    """

    Settings = UNetSettings
    gains_by_compiling = False

    def __init__(self, members: int, law: Law, settings: UNetSettings, classes: int = 0) -> None:
        super().__init__()
        self.shape = checked_picture_shape(law, settings)
        widths, width = settings.channels, 4 * settings.channels[0]
        halves = 2 ** (len(widths) - 1)
        whole = -(-self.shape[1] // halves) * halves
        self.before, self.after = (whole - self.shape[1]) // 2, (whole - self.shape[1] + 1) // 2
        self.fourier = Fourier(settings.time_features)
        self.level1 = EnsembleLinear(members, settings.time_features, width)
        self.level2 = EnsembleLinear(members, width, width)
        self.told = class_map(members, classes, width)
        self.enter = Convolution(members, self.shape[0], widths[0])
        self._add_levels(members, settings, whole, width)
        self.feature_shape = (widths[-1], whole // halves, whole // halves)
        self.norm = GroupNorm(members, widths[0])
        self.leave = Convolution(members, widths[0], self.shape[0])
        self.flatten_parameters()

    def _add_levels(self, members: int, settings: UNetSettings, side: int, width: int) -> None:
        """The blocks down, in the middle and up, each level's in the order in which they are passed."""
        sides = [side >> i for i in range(len(settings.channels))]
        attends = [own in settings.attention for own in sides]
        if settings.attention and not any(attends):
            raise InputError(
                f"network.attention is {settings.attention}, but no level of this unet has such a side: at law.side = "
                f"{self.shape[1]} they are {', '.join(map(str, sides))}, after padding; name one of these, or none"
            )
        levels = list(zip(settings.channels, settings.depths, attends, strict=True))
        self.down, self.up, c = nn.ModuleList(), nn.ModuleList(), settings.channels[0]
        kept = [c]
        for i, (out, depth, here) in enumerate(levels):
            if i:
                self.down.append(Block(members, c, c, width, resample="down"))
                kept.append(c)
            for _ in range(depth):
                self.down.append(Block(members, c, out, width, here))
                c = out
                kept.append(c)
        self.middle = nn.ModuleList([Block(members, c, c, width, attention=True), Block(members, c, c, width)])
        for i, (out, depth, here) in enumerate(reversed(levels)):
            if i:
                self.up.append(Block(members, c, c, width, resample="up"))
            for _ in range(depth + 1):
                self.up.append(Block(members, c + kept.pop(), out, width, here))
                c = out

    def ways(self) -> dict[str, str]:
        return {"convolutions": CONVOLUTIONS}

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        """As of every `Ensemble`."""
        embedding = self.embedding(c_noise, label)
        kept = self._encoded(x, embedding)
        h = kept[-1]
        for block in self.middle:
            h = block(h, embedding)
        for block in self.up:
            h = block(h if block.resample == "up" else joined(h, kept.pop(), len(x)), embedding)
        h = self.leave(silu(self.norm(h)))
        if self.before or self.after:
            rows = slice(self.before, self.before + self.shape[1])
            h = h[..., rows, rows]
        return by_member(h, len(x)).flatten(2).transpose(0, 1)  # (e, n, d)

    def features(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        """The encoder's output, before the blocks in the middle, (e, n, channels, side, side) of the last level."""
        return by_member(self._encoded(x, self.embedding(c_noise, label))[-1], len(x)).transpose(0, 1)

    def _encoded(self, x: Tensor, embedding: Tensor) -> list[Tensor]:
        """What every block on the way down hands on, the entrance first: (n, e channels, h, w)."""
        edge = self.before, self.after, self.before, self.after
        pictures = x.transpose(0, 1).unflatten(2, self.shape).flatten(1, 2)
        h = self.enter(pad(pictures, edge) if any(edge) else pictures)
        kept = [h]
        for block in self.down:
            h = block(h, embedding)
            kept.append(h)
        return kept

    def embedding(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        """Of the noise level (e, n or 1, 1) and the class (e, n) or None: (e, n or 1, four times the first level's
        channels)."""
        return silu(with_class(self.level2(silu(self.level1(self.fourier(c_noise)))), self.told, label))


def joined(x: Tensor, y: Tensor, members: int) -> Tensor:
    """(n, e c, h, w) and (n, e c', h, w): each member's channels of both side by side, (n, e (c + c'), h, w)."""
    return torch.cat([by_member(x, members), by_member(y, members)], dim=2).flatten(1, 2)


def checked_picture_shape(law: Law, settings: UNetSettings) -> tuple[int, int, int]:
    """(channels, side, side) of the law. Raises `InputError` as `UNet` does."""
    shape, levels = law.shape, len(settings.channels)
    if len(shape) != 3 or shape[1] != shape[2]:
        raise InputError(
            f"network.kind is 'unet', which needs a law of pictures, of shape (channels, side, side); {law.name!r} has "
            f"the shape {tuple(shape)}: choose another law.name, or another network.kind"
        )
    channels, side, _ = shape
    if side < max(LEAST_SIDE, 2 ** (levels - 1)):
        raise InputError(
            f"law.side is {side}, but a unet of {levels} levels needs pictures of {max(LEAST_SIDE, 2 ** (levels - 1))} "
            "at least: choose larger ones, or fewer network.channels and network.depths"
        )
    return channels, side, side
