"""Networks for vectors: the paper's plain MLP and a residual MLP that still denoises at d = 512.

Both take x (e, n, d) and c_noise (e, n, 1) or, for one level, (e, 1, 1), embed the noise level by fixed Fourier
features and return (e, n, d). A class is a linear map of its one-hot label, added before the first nonlinearity.
"""

import math
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from dmdlab.config import Count, Section
from dmdlab.laws import Law
from dmdlab.networks.ensemble import Ensemble, EnsembleLinear, class_map, with_class


class MLPSettings(Section):
    """Of both networks."""

    width: Count = Field(128, description="hidden width (paper: 384)")
    depth: Count = Field(4, description="hidden layers of the mlp (paper: 5), blocks of the residual network (ours)")
    time_features: int = Field(32, ge=2, multiple_of=2, description="Fourier features of the noise level (paper: 32)")


class Fourier(nn.Module):
    """Fixed Fourier features of c_noise = ln(sigma) / 4: cos and sin at frequencies 2^-3 ... 2^4, geometrically spaced.

    c_noise spans 2.6 units from sigma = 0.002 to 80, so these resolve the range as a whole and down to 1/40 of it.
    """

    frequencies: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer(
            "frequencies", 2 * math.pi * torch.logspace(-3, 4, features // 2, base=2.0), persistent=False
        )

    def forward(self, c_noise: Tensor) -> Tensor:
        phase = c_noise * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], dim=-1)  # (e, n, features)


class MLP(Ensemble):
    """The paper's toy network: noise features joined to the input, `depth` hidden SiLU layers of `width`."""

    Settings = MLPSettings

    def __init__(self, members: int, law: Law, settings: MLPSettings, classes: int = 0) -> None:
        super().__init__()
        self.embed = Fourier(settings.time_features)
        sizes = [law.dim + settings.time_features, *[settings.width] * settings.depth]
        self.hidden = nn.ModuleList(EnsembleLinear(members, a, b, gain=math.sqrt(2)) for a, b in pairwise(sizes))
        self.out = EnsembleLinear(members, settings.width, law.dim)
        self.told = class_map(members, classes, settings.width)
        self.feature_shape = (settings.width,)
        self.flatten_parameters()

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        return self.out(self.features(x, c_noise, label))

    def features(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        """The last hidden layer, (e, n, width)."""
        h = torch.cat([x, self.embed(c_noise).expand(*x.shape[:-1], -1)], dim=-1)  # (e, n, d + features)
        first, *others = self.hidden
        h = silu(with_class(first(h), self.told, label))
        for layer in others:
            h = silu(layer(h))
        return h


class ResidualMLP(Ensemble):
    """`depth` residual blocks h + W2 silu(W1 norm(h)) on a stream of `width`, noise features added at its start.

    Normalisation keeps every block's input at unit size, so the network trains at d = 512 where the plain MLP stalls.
    """

    Settings = MLPSettings

    def __init__(self, members: int, law: Law, settings: MLPSettings, classes: int = 0) -> None:
        super().__init__()
        width = settings.width
        self.embed = Fourier(settings.time_features)
        self.enter = EnsembleLinear(members, law.dim, width, bias=False)
        self.level = EnsembleLinear(members, settings.time_features, width)
        self.up = nn.ModuleList(EnsembleLinear(members, width, width, math.sqrt(2)) for _ in range(settings.depth))
        self.down = nn.ModuleList(EnsembleLinear(members, width, width, 0.5, bias=False) for _ in range(settings.depth))
        self.out = EnsembleLinear(members, width, law.dim)
        self.told = class_map(members, classes, width)
        self.feature_shape = (width,)
        self.flatten_parameters()

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        return self.out(self.features(x, c_noise, label))

    def features(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        """The stream after the last block, normalised, (e, n, width)."""
        h = with_class(self.enter(x) + self.level(self.embed(c_noise)), self.told, label)  # (e, n, width)
        for up, down in zip(self.up, self.down, strict=True):
            h = h + down(silu(up(layer_norm(h, h.shape[-1:]))))
        return layer_norm(h, h.shape[-1:])
