"""The uniform law on a sphere of R^d, optionally thickened by Gaussian noise.

Let s be uniform on the sphere of radius R and x = s + v^(1/2) eps. The posterior of s is von Mises-Fisher with
concentration kappa = R |x| / v (Mardia & Jupp 2000, Sec. 9.3.2), so that with nu = d/2 - 1 and g, l of `bessel.py`

    E[s | x] = x (R^2 / v) g_nu(kappa)                                                                (1)
    log p(x) = -(d/2) log(2 pi v) - (|x| - R)^2 / (2 v) + log Gamma(d/2) + nu log 2 + l_nu(kappa)     (2)

A thickness tau is isotropic noise on top, so v = tau^2 + sigma^2 and

    E[x0 | x] = E[s | x] + (tau^2 / v) (x - E[s | x]).                                                (3)
"""

import math

import torch
from torch import Tensor

from dmdlab.laws.bessel import log_bessel_and_ratio
from dmdlab.laws.checks import NonNegative, Positive, checked
from dmdlab.laws.law import Law


class Sphere(Law):
    """Uniform on the sphere of radius sqrt(d) scale.

    Args:
        dim: d, at least 2.
        thickness: standard deviation, per coordinate, of Gaussian noise around the sphere.
        scale: root-mean-square standard deviation per coordinate (before the thickness).
    """

    name = "sphere"
    summary = "uniform on a sphere of R^d, optionally a shell"
    min_dim = 2

    @checked
    def __init__(self, *, dim: int, thickness: NonNegative = 0.0, scale: Positive = 1.0) -> None:
        super().__init__(dim)
        self.radius = math.sqrt(dim) * scale
        self.thickness = thickness * scale
        self.intrinsic_dim = dim - 1
        self.sigma_data = math.hypot(scale, self.thickness)

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, None]:
        eps = torch.randn(n, self.dim, generator=generator, device=generator.device)
        x = self.radius * torch.nn.functional.normalize(eps, dim=-1)
        if self.thickness:
            x = x + self.thickness * torch.randn(x.shape, generator=generator, device=x.device)
        return x, None

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        v = self.thickness**2 + sigma.double() ** 2
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True).double()  # (..., 1)
        _, ratio = log_bessel_and_ratio(self.dim / 2 - 1, self.radius * norm / v)
        gain = self.radius**2 / v * ratio  # of E[s | x] over x, Eq. (1)
        noise_share = self.thickness**2 / v
        return x * (gain + noise_share * (1 - gain)).to(x.dtype)  # Eq. (3)

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        v = self.thickness**2 + sigma**2
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        log_bessel, _ = log_bessel_and_ratio(self.dim / 2 - 1, self.radius * norm / v)
        constant = math.lgamma(self.dim / 2) + (self.dim / 2 - 1) * math.log(2)
        gaussian = -0.5 * self.dim * torch.log(2 * math.pi * v) - (norm - self.radius) ** 2 / (2 * v)
        return (gaussian + constant + log_bessel).squeeze(-1)  # Eq. (2)
