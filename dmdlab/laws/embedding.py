"""How a law of few dimensions sits in R^d: on the first axes or a random plane, with a thickness around it.

Let the rows of B (k, d) be orthonormal and x0 = B^T y0 + r0 with r0 ~ N(0, thickness^2) on the d - k
directions orthogonal to B, independent of y0. Isotropic noise splits in the same way, so the denoiser of y0
in R^k gives the one in R^d exactly:

    E[x0 | x] = B^T E[y0 | B x] + thickness^2 / (thickness^2 + sigma^2) (x - B^T B x)        (1)
    log p_sigma(x) = log p_sigma(B x) + log N(x - B^T B x; 0, (thickness^2 + sigma^2) I_{d-k})   (2)
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Placement = Literal["axes", "random"]


def random_frame(k: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """k orthonormal rows in R^dim, (k, dim), uniform over all such frames (Haar measure).

    QR of a Gaussian matrix, with the signs of R undone (Mezzadri 2007).
    """
    q, r = np.linalg.qr(rng.standard_normal((dim, k)))
    return np.ascontiguousarray((q * np.sign(np.diagonal(r))).T)


class Embedding(torch.nn.Module):
    """R^k placed in R^d: on the first k "axes", or on a "random" k-frame drawn from `seed`."""

    basis: Tensor | None

    def __init__(self, k: int, dim: int, placement: Placement, thickness: float, seed: int) -> None:
        super().__init__()
        self.k, self.dim, self.thickness = k, dim, thickness
        frame = None
        if placement == "random":
            frame = torch.from_numpy(random_frame(k, dim, np.random.default_rng(seed)))
        self.register_buffer("basis", frame, persistent=False)  # (k, d)

    def coordinates(self, x: Tensor) -> Tensor:
        """B x: the (..., k) coordinates of points (..., d)."""
        return x[..., : self.k] if self.basis is None else x @ self.basis.to(x).mT

    def lift(self, y: Tensor) -> Tensor:
        """B^T y: points (..., d) of coordinates (..., k); exactly 0 off the first axes."""
        if self.basis is None:
            return torch.nn.functional.pad(y, (0, self.dim - self.k))
        return y @ self.basis.to(y)

    def thicken(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Add r0 to clean points (n, d)."""
        if self.thickness == 0 or self.dim == self.k:
            return x
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return x + self.thickness * self._off(noise)

    def denoise(self, y0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """Eq. (1) from y0 = E[y0 | B x] (..., k) and the noised points x (..., d)."""
        x0 = self.lift(y0.to(x.dtype))  # (..., d)
        if self.thickness == 0:
            return x0
        return x0 + self._off(x) * (self.thickness**2 / (self.thickness**2 + sigma**2))

    def off_log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The second term of Eq. (2), (...)."""
        v = (self.thickness**2 + sigma**2) * torch.ones_like(x[..., :1])  # (..., 1)
        quadratic = self._off(x).square().sum(-1, keepdim=True) / v
        return -0.5 * (quadratic + (self.dim - self.k) * torch.log(2 * math.pi * v)).squeeze(-1)

    def _off(self, x: Tensor) -> Tensor:
        """x - B^T B x, the part of x orthogonal to the embedded space."""
        return x - self.lift(self.coordinates(x))
