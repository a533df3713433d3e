"""Pictures of Gaussian blobs: a known number of degrees of freedom that one can name.

    f(p) = g sum_i a_i exp(-|p - c_i|^2 / (2 s_i^2)),    p in [-1, 1]^2

with c_i uniform on [-0.8, 0.8]^2, log s_i uniform between 0.15 and 0.45, and a_i ~ N(0, 1) for each channel: 3 +
channels numbers a blob. A pixel's mean over its square is a product of differences of erf, so the law is the same at
every side. Its variance is a smooth integral over place and width, so `sigma_data` is computed, not estimated:

    sigma_data^2 = g^2 b E_s[q(s)^2],   q(s) the mean of the squared profile along one axis.        (1)
"""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dmdlab.laws.checks import Positive, Seed, checked
from dmdlab.laws.pictures import Channels, Memorised, Side, Unsolved, edges
from dmdlab.randomness import generator as named_generator

REACH = 0.8
WIDTHS = (0.15, 0.45)
_FINE = 512  # pixels along a side that stand for endlessly many


class Blobs(Unsolved):
    """b Gaussian blobs, light and dark, of random place, width and amplitude.

    Args:
        dim, side, channels: as for `Pictures`; each channel has an amplitude of its own.
        blobs: b; the degrees of freedom, b (3 + channels), are at most d.
        scale: root-mean-square standard deviation of a pixel in the limit of many pixels.
        seed: of the training set of `empirical` (the law itself has nothing random).
        empirical: N above 0 makes the law equal masses on N of its pictures (`Unsolved`).

    Raises:
        InputError: more degrees of freedom than d.
    """

    name = "blobs"
    summary = "pictures: b Gaussian blobs of random place, width and amplitude"

    @checked
    def __init__(
        self,
        *,
        dim: int | None = None,
        side: Side = 16,
        channels: Channels = 1,
        blobs: Annotated[int, Field(ge=1, le=256)] = 4,
        scale: Positive = 1.0,
        seed: Seed = 0,
        empirical: Memorised = 0,
    ) -> None:
        super().__init__(dim, side, channels)
        self.intrinsic_dim = blobs * (3 + channels)
        self._at_most_the_pixels("blobs", self.intrinsic_dim, f"{blobs} blobs")
        self.blobs = blobs
        self.gain = scale / math.sqrt(blobs * _mean_square(_FINE))
        self.sigma_data = self.gain * math.sqrt(blobs * _mean_square(side))  # Eq. (1)
        if empirical:
            self._memorise(self._draw(empirical, named_generator(seed, "blobs", "training set"))[0], None)

    def pictures(self, centres: Tensor, widths: Tensor, amplitudes: Tensor) -> Tensor:
        """The pictures (n, d) of blobs at centres (n, b, 2) (down, across), widths (n, b), amplitudes (n, b, c)."""
        down, across = (_profile(centres[..., i], widths, self.side) for i in (0, 1))  # (n, b, side) each
        return self.gain * torch.einsum("nbc,nby,nbx->ncyx", amplitudes, down, across).flatten(1)

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, None]:
        device = generator.device
        u = torch.rand(n, self.blobs, 3, generator=generator, device=device)
        amplitudes = torch.randn(n, self.blobs, self.channels, generator=generator, device=device)
        return self.pictures(REACH * (2 * u[..., :2] - 1), _widths(u[..., 2]), amplitudes), None


def _widths(u: Tensor) -> Tensor:
    """Widths whose logarithm goes from one end of `WIDTHS` to the other as u goes from 0 to 1."""
    return WIDTHS[0] * (WIDTHS[1] / WIDTHS[0]) ** u


def _profile(centre: Tensor, width: Tensor, side: int) -> Tensor:
    """Means of exp(-(t - centre)^2 / (2 width^2)) over the pixels of a side, (..., side)."""
    scaled = (edges(side).to(centre) - centre[..., None]) / (math.sqrt(2) * width[..., None])  # (..., side + 1)
    return width[..., None] * (math.sqrt(math.pi / 2) * side / 2) * torch.erf(scaled).diff(dim=-1)


def _mean_square(side: int) -> float:
    """E_s[q(s)^2] of Eq. (1), by Gauss-Legendre rules over place and width."""
    node, weight = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(32))
    width, centre = torch.broadcast_tensors(_widths((node + 1) / 2)[:, None], REACH * node)
    profile = _profile(centre, width, side).square().mean(-1) @ (weight / 2)  # (widths,)
    return (profile.square() @ (weight / 2)).item()
