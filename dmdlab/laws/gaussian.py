"""A Gaussian N(0, C) with a chosen spectrum.

With C = B^T diag(lambda) B, the rows of B being the principal axes, the denoiser is Wiener's filter:

    E[x0 | x] = B^T diag(lambda / (lambda + sigma^2)) B x        (1)
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.laws.checks import NonNegative, Positive, Seed, checked
from dmdlab.laws.embedding import Placement, random_frame
from dmdlab.laws.law import Law


class Gaussian(Law):
    """N(0, C), C of a flat or power-law spectrum, along the axes or along a random basis.

    Args:
        dim: d.
        spectrum: "flat" (all variances equal) or "power" (the i-th variance goes as i^-exponent, i = 1..d).
        exponent: of the power law.
        basis: the principal axes: "axes" of R^d, or a "random" rotation of them drawn from `seed` (a dense
            (d, d) matrix: half a minute of QR at d = 4096).
        variances: the d variances themselves (times scale^2) in place of a spectrum, not normalised (from Python only).
        scale: root-mean-square standard deviation per coordinate.
        seed: of the random basis.

    Raises:
        InputError: `variances` does not hold d numbers with a positive one.
    """

    name = "gaussian"
    summary = "a Gaussian with a flat or power-law spectrum, along the axes or in a random basis"
    python_only = frozenset({"variances"})

    variances: Tensor
    basis: Tensor | None

    @checked
    def __init__(
        self,
        *,
        dim: int,
        spectrum: Literal["flat", "power"] = "flat",
        exponent: Annotated[float, Field(allow_inf_nan=False)] = 1.0,
        basis: Placement = "axes",
        variances: Sequence[NonNegative] | None = None,
        scale: Positive = 1.0,
        seed: Seed = 0,
    ) -> None:
        super().__init__(dim)
        if variances is None:
            decay = exponent if spectrum == "power" else 0.0
            powers = torch.arange(1, dim + 1, dtype=torch.float64) ** -decay  # (d,)
            values = powers / powers.mean() * scale**2
        elif len(variances) != dim or max(variances) == 0:
            raise InputError(
                f"law.variances has {len(variances)} numbers, the largest {max(variances, default=0)}, but "
                f"the law 'gaussian' expects law.dim = {dim} of them and at least one above 0"
            )
        else:
            values = torch.tensor(variances, dtype=torch.float64) * scale**2
        frame = random_frame(dim, dim, np.random.default_rng(seed)) if basis == "random" else None
        self._keep(variances=values, basis=None if frame is None else torch.from_numpy(frame))
        self.intrinsic_dim = int((values > 0).sum())
        self.sigma_data = math.sqrt(values.mean().item())

    def covariance(self) -> Tensor:
        """C, (d, d), in the dtype of the law's tensors."""
        axes = torch.eye(self.dim).to(self.variances) if self.basis is None else self.basis
        return axes.mT @ (self.variances[:, None] * axes)

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, None]:
        eps = torch.randn(n, self.dim, generator=generator, device=generator.device)
        return self._from_axes(eps * self.variances.sqrt().to(eps)), None

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        variances = self.variances.to(x)
        return self._from_axes(self._to_axes(x) * (variances / (variances + sigma**2)))  # Eq. (1)

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        v = self.variances.to(x) + sigma**2  # (..., d)
        return -0.5 * (self._to_axes(x).square() / v + torch.log(2 * math.pi * v)).sum(-1)

    def _to_axes(self, x: Tensor) -> Tensor:
        return x if self.basis is None else x @ self.basis.to(x).mT

    def _from_axes(self, y: Tensor) -> Tensor:
        return y if self.basis is None else y @ self.basis.to(y)
