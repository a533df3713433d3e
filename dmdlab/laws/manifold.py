"""The paper's manifold of pictures, at any side: a random two-layer MLP of k-dimensional Gaussian noise.

    h(z) = tanh(A z + b) - E[tanh(A z + b)],    z ~ N(0, I_k)
    f_z(p) = sum_m (W h(z))_m sqrt(2 / M) cos(w_m . p + phi_m),    p in [-1, 1]^2

In the paper (arXiv 2606.02237) the second layer's output is the 32 x 32 pixels. Here it is the coefficients of fixed
random Fourier features of position, and a pixel is the mean of f_z over its square, which has a closed form: so the
same manifold exists at every side. The mean of h is an integral over one Gaussian for each hidden unit; its
covariance, and with it `sigma_data`, is measured on 2^15 draws of z (to about 0.3 %).

Stripes, as in the paper, are laid over: class c of 0..9 brightens the c-th tenth of the picture from the left.
"""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dmdlab.laws.checks import Positive, Seed, checked
from dmdlab.laws.pictures import Channels, Memorised, Side, Unsolved, centres, edges
from dmdlab.randomness import generator as named_generator

CLASSES = 10
STRIPE = 2.0  # how much brighter a stripe is, in scales: as far as bright pixels go
_FEATURES = 512  # M, above the largest k
_HIDDEN = 128  # at least, and twice k
_FINE = 64  # the side at which each channel's variance is set to scale^2
_DRAWS = 2**15


class Manifold(Unsolved):
    """A k-dimensional manifold of smooth pictures, the same at every side.

    Args:
        dim, side, channels: as for `Pictures`; further channels are further functions of the same z.
        intrinsic: k, the dimension of the Gaussian noise; at most d.
        stripes: whether a bright stripe is laid over, placed by the class 0..9.
        cycles: standard deviation of the features' frequencies along each axis, in cycles across the picture. With 2,
            only some 120 directions vary by over 1 % of the first: give 4 with a k above 64.
        scale: standard deviation of a pixel at side 64, without stripes; at smaller sides it is a little less.
        seed: of the network and the features.
        empirical: N above 0 makes the law equal masses on N of its pictures (`Unsolved`).

    Raises:
        InputError: `intrinsic` above d.
    """

    name = "manifold"
    summary = "pictures: a random two-layer network of k-dimensional noise, at any side the same (paper)"

    weight: Tensor
    bias: Tensor
    mean: Tensor
    decoder: Tensor
    overlay: Tensor | None

    @checked
    def __init__(
        self,
        *,
        dim: int | None = None,
        side: Side = 16,
        channels: Channels = 1,
        intrinsic: Annotated[int, Field(ge=1, le=256)] = 16,
        stripes: bool = False,
        cycles: Annotated[float, Field(gt=0, le=32)] = 2.0,
        scale: Positive = 1.0,
        seed: Seed = 0,
        empirical: Memorised = 0,
    ) -> None:
        super().__init__(dim, side, channels)
        self._at_most_the_pixels("intrinsic", intrinsic, f"the {intrinsic} numbers of the noise")
        rng = np.random.default_rng(seed)
        hidden = max(_HIDDEN, 2 * intrinsic)
        weight = torch.from_numpy(rng.standard_normal((hidden, intrinsic)) * math.sqrt(2 / intrinsic))
        bias = torch.from_numpy(rng.standard_normal(hidden) / 2)
        frequencies = math.pi * cycles * torch.from_numpy(rng.standard_normal((_FEATURES, 2)))
        phases = torch.from_numpy(rng.uniform(0, 2 * math.pi, _FEATURES))
        mean = _mean_tanh(bias, weight.norm(dim=1))
        covariance = _covariance(weight, bias, mean, np.random.default_rng([seed, 1]))
        fine, own = (pixel_features(s, frequencies, phases) for s in (_FINE, side))
        layers = []
        for _ in range(channels):  # drawn last, one by one: the first is the same however many there are
            second = torch.from_numpy(rng.standard_normal((hidden, _FEATURES)))
            layers.append(second @ own * (scale / math.sqrt(_variance(second @ fine, covariance))))
        decoder = torch.cat(layers, dim=1)  # (hidden, d)
        overlay = STRIPE * scale * _stripes(side).repeat(1, channels) if stripes else None  # (10, d)
        self._keep(weight=weight, bias=bias, mean=mean, decoder=decoder, overlay=overlay)
        self.intrinsic_dim = intrinsic
        self.classes = CLASSES if stripes else 0
        striped = 0.0 if overlay is None else overlay.square().mean().item()
        self.sigma_data = math.sqrt(_variance(decoder, covariance) + striped)
        if empirical:
            self._memorise(*self._draw(empirical, named_generator(seed, "manifold", "training set")))

    def pictures(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The pictures (n, d) of noise z (n, k), in its dtype; labels (n,) place the stripes, where there are any."""
        hidden = torch.tanh(z @ self.weight.to(z).mT + self.bias.to(z)) - self.mean.to(z)
        x = hidden @ self.decoder.to(z)
        return x if labels is None or self.overlay is None else x + self.overlay.to(z)[labels]

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        device, labels = generator.device, None
        z = torch.randn(n, self.intrinsic_dim, generator=generator, device=device)
        if self.classes:
            labels = torch.randint(CLASSES, (n,), generator=generator, device=device)
        return self.pictures(z, labels), labels


def pixel_features(side: int, frequencies: Tensor, phases: Tensor) -> Tensor:
    """Means over each pixel of sqrt(2 / M) cos(w . p + phi), (M, side^2), from w (M, 2) in radians and phi (M,).

    Over a square of half side h about c that is cos(w . c + phi) sin(w_1 h) sin(w_2 h) / (w_1 w_2 h^2).
    """
    x, half = centres(side), 1 / side
    down, across = frequencies[:, :1] * x, frequencies[:, 1:] * x  # (M, side) each
    waves = torch.cos(down[:, :, None] + across[:, None, :] + phases[:, None, None])
    damped = torch.sinc(frequencies * half / math.pi).prod(-1)  # (M,)
    return (waves * damped[:, None, None] * math.sqrt(2 / len(phases))).flatten(1)


def _mean_tanh(bias: Tensor, std: Tensor) -> Tensor:
    """E[tanh(b + s t)], t ~ N(0, 1), (hidden,): the sum over a fine grid, exact to rounding for a smooth function."""
    t = torch.linspace(-9, 9, 901, dtype=torch.float64)
    density = torch.exp(-(t**2) / 2)
    return torch.tanh(bias[:, None] + std[:, None] * t) @ (density / density.sum())


def _covariance(weight: Tensor, bias: Tensor, mean: Tensor, rng: np.random.Generator) -> Tensor:
    """Cov h, (hidden, hidden) float64, measured on draws of z."""
    z = torch.from_numpy(rng.standard_normal((_DRAWS, weight.shape[1]), dtype=np.float32))
    h = torch.tanh(z @ weight.to(z).mT + bias.to(z)) - mean.to(z)
    return (h.mT @ h).double() / _DRAWS


def _variance(decoder: Tensor, covariance: Tensor) -> float:
    """Mean variance of a pixel of h @ decoder (hidden, d)."""
    return (decoder * (covariance @ decoder)).sum().item() / decoder.shape[1]


def _stripes(side: int) -> Tensor:
    """How much of each pixel each class's stripe covers, less its mean over the classes, (10, side^2)."""
    first = -1 + 2 * torch.arange(CLASSES, dtype=torch.float64)[:, None] / CLASSES
    begin, end = edges(side)[:-1], edges(side)[1:]
    overlap = (torch.minimum(first + 2 / CLASSES, end) - torch.maximum(first, begin)).clamp(min=0)  # (10, side)
    covered = overlap / (end - begin) - 1 / CLASSES
    return covered[:, None, :].expand(-1, side, -1).flatten(1)
