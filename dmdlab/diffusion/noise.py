"""Variance-exploding noise: x_sigma = x + sigma eps, its levels and the EDM coefficients.

Levels are named by their place u in [0, 1] on the Karras grid, 0 at sigma_min and 1 at sigma_max:

    sigma(u) = (sigma_min^(1/rho) + u (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho          (EDM eq. 5)

The network F becomes a denoiser D by EDM's preconditioning (EDM eq. 7 and table 1), which keeps its inputs and its
targets at unit variance at every level:

    D(x, sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x, c_noise(sigma))
"""

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from dmdlab.config import NoiseConfig

LOGNORMAL_MEAN, LOGNORMAL_STD = -1.2, 1.2  # EDM table 1: ln sigma of the training levels

Place = TypeVar("Place", float, Tensor)


def karras_sigma(u: Place, noise: NoiseConfig) -> Place:
    """Noise level at place u in [0, 1] of the Karras grid (ascending), a number or of any shape (EDM eq. 5)."""
    low, high = noise.sigma_min ** (1 / noise.rho), noise.sigma_max ** (1 / noise.rho)
    return (low + u * (high - low)) ** noise.rho


def karras_grid(steps: int, noise: NoiseConfig) -> list[float]:
    """The K + 1 levels of a K-step sampler, sigma_max first, 0 last (EDM eq. 5). K = 1 is (sigma_max, 0)."""
    places = [1 - i / (steps - 1) for i in range(steps)] if steps > 1 else [1.0]
    return [karras_sigma(u, noise) for u in places] + [0.0]


def levels_in(u: Tensor, bounds: tuple[float, float], noise: NoiseConfig) -> Tensor:
    """Levels uniform in the part [low, high] of the Karras index, from uniform u in [0, 1) (DMD2's sampler)."""
    low, high = bounds
    return karras_sigma(low + u * (high - low), noise)


def lognormal_levels(normal: Tensor) -> Tensor:
    """EDM's training levels: ln sigma ~ N(-1.2, 1.2^2), from standard normal numbers."""
    return (LOGNORMAL_MEAN + LOGNORMAL_STD * normal).exp()


@dataclass(frozen=True)
class Coefficients:
    """EDM's four coefficients at some levels, each of the levels' shape."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


def edm_coefficients(sigma: Tensor, sigma_data: Tensor | float) -> Coefficients:
    """EDM's preconditioning (EDM table 1) at levels `sigma` for data of standard deviation `sigma_data`."""
    total = sigma**2 + sigma_data**2
    root = total.sqrt()
    return Coefficients(
        c_skip=sigma_data**2 / total,
        c_out=sigma * sigma_data / root,
        c_in=root.reciprocal(),
        c_noise=sigma.log() / 4,
    )


def edm_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """EDM's loss weight 1/c_out^2 = 1/sigma^2 + 1/sigma_data^2 (EDM table 1; DMD2's 'snr + 1')."""
    return (sigma**2).reciprocal() + 1 / sigma_data**2
