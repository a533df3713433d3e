"""The uniform law on a cube: coordinates are independent, each a truncated Gaussian once noised."""

import math

import torch
from torch import Tensor

from dmdlab.laws.checks import Positive, checked
from dmdlab.laws.law import Law
from dmdlab.laws.truncated import truncated_moments


class Cube(Law):
    """Uniform on [-sqrt(3) scale, sqrt(3) scale]^d, whose variance is scale^2 per coordinate.

    Args:
        dim: d.
        scale: standard deviation per coordinate.
    """

    name = "cube"
    summary = "uniform on a cube of R^d"

    @checked
    def __init__(self, *, dim: int, scale: Positive = 1.0) -> None:
        super().__init__(dim)
        self.half_side = math.sqrt(3) * scale
        self.intrinsic_dim = dim
        self.sigma_data = scale

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, None]:
        u = torch.rand(n, self.dim, generator=generator, device=generator.device)
        return self.half_side * (2 * u - 1), None

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        _, mean = truncated_moments(x.double(), sigma.double(), -self.half_side, self.half_side)
        return mean.to(x.dtype)

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        log_mass, _ = truncated_moments(x, sigma, -self.half_side, self.half_side)
        return log_mass.sum(-1) - self.dim * math.log(2 * self.half_side)
