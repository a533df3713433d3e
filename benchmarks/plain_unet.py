"""The peer's U-Net: `dmdlab.networks.unet` as one would write it for a single network, of torch's own modules.

The same layers in the same order, so that `tests/test_plain_loop.py` can hold its training against dmdlab's.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, scaled_dot_product_attention, silu

from dmdlab.laws import Law
from dmdlab.networks.unet import UNetSettings
from dmdlab.networks.unet_blocks import HEAD, divisor


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(divisor(channels, min(32, channels // 4)), channels)


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = divisor(channels, channels // HEAD)
        self.norm = norm(channels)
        self.enter, self.leave = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.enter(self.norm(x)).unflatten(1, (3, self.heads, -1)).flatten(4)  # (n, 3, heads, c / heads, hw)
        query, key, value = three.mT.unbind(1)
        return self.leave(scaled_dot_product_attention(query, key, value).mT.reshape(x.shape))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, embedding: int, attention: bool = False, resample: str = "") -> None:
        super().__init__()
        self.resample = resample
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.told = nn.Linear(embedding, 2 * outputs)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs) if attention else None

    def resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return avg_pool2d(x, 2)
        return interpolate(x, scale_factor=2) if self.resample == "up" else x

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(self.resampled(silu(self.norm1(x))))
        scale, shift = self.told(embedding)[..., None, None].chunk(2, dim=1)
        h = self.conv2(silu(torch.addcmul(shift, self.norm2(h), scale + 1)))
        h = self.skip(self.resampled(x)) + h
        return h if self.attention is None else h + self.attention(h)


class PlainUNet(nn.Module):
    """x (n, d) as pictures whose side halves evenly at every level, c_noise (n, 1) -> (n, d)."""

    def __init__(self, law: Law, settings: UNetSettings, embed: nn.Module) -> None:
        super().__init__()
        self.shape, c, width = tuple(law.shape), settings.channels[0], 4 * settings.channels[0]
        self.embed = embed
        self.level1, self.level2 = nn.Linear(settings.time_features, width), nn.Linear(width, width)
        self.enter = nn.Conv2d(self.shape[0], c, 3, padding=1)
        attends = [self.shape[1] >> i in settings.attention for i in range(len(settings.channels))]
        levels = list(zip(settings.channels, settings.depths, attends, strict=True))
        self.down, self.up, kept = nn.ModuleList(), nn.ModuleList(), [c]
        for i, (out, depth, here) in enumerate(levels):
            for block in ([Block(c, c, width, resample="down")] if i else []) + [
                Block(c if j == 0 else out, out, width, here) for j in range(depth)
            ]:
                self.down.append(block)
                c = block.conv2.out_channels
                kept.append(c)
        self.middle = nn.ModuleList([Block(c, c, width, attention=True), Block(c, c, width)])
        for i, (out, depth, here) in enumerate(reversed(levels)):
            if i:
                self.up.append(Block(c, c, width, resample="up"))
            for _ in range(depth + 1):
                self.up.append(Block(c + kept.pop(), out, width, here))
                c = out
        self.norm = norm(c)
        self.leave = nn.Conv2d(c, self.shape[0], 3, padding=1)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        embedding = silu(self.level2(silu(self.level1(self.embed(c_noise)))))
        kept = [self.enter(x.unflatten(1, self.shape))]
        for block in self.down:
            kept.append(block(kept[-1], embedding))
        h = kept[-1]
        for block in self.middle:
            h = block(h, embedding)
        for block in self.up:
            h = block(h if block.resample == "up" else torch.cat([h, kept.pop()], dim=1), embedding)
        return self.leave(silu(self.norm(h))).flatten(1)
