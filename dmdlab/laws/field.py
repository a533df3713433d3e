"""Stationary Gaussian fields on a torus, alone or mixed by class: the laws of pictures with an exact denoiser.

A stationary field is independent Gaussians in Fourier space. With the real discrete Fourier transform y = F x (the
orthonormal cosines and sines along both axes) and the spectrum S, even in each frequency, the denoiser is Wiener's:

    E[x0 | x] = F^T (S / (S + sigma^2)) F x                                                             (1)

and for fields S_1..S_K of equal weight, with y = F x and all sums in log space,

    log w_j(x) = -1/2 sum_f (y_f^2 / (S_jf + sigma^2) + log (S_jf + sigma^2)) + the same for all j      (2)
    E[x0 | x]  = F^T (sum_j w_j(x) S_j / (S_j + sigma^2)) F x.                                          (3)

F is two products by a (side, side) matrix. At side 64 and below that is as quick as a complex FFT, it is counted
with the other products, and a compiled training cycle takes it whole.
"""

import math
from typing import Annotated

import torch
from pydantic import Field as Bounds
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.laws.checks import Positive, checked
from dmdlab.laws.pictures import Channels, Pictures, Side

Exponent = Annotated[float, Bounds(ge=0, le=8)]


def fourier(side: int) -> tuple[Tensor, Tensor]:
    """The real Fourier basis of a side, orthonormal rows (side, side), and their frequencies (side,), float64."""
    frequency = ((torch.arange(side) + 1) // 2).double()  # 0, 1, 1, 2, 2, ...
    angle = 2 * math.pi * frequency[:, None] * torch.arange(side, dtype=torch.float64) / side
    rows = torch.where((torch.arange(side) % 2 == 1)[:, None], angle.cos(), angle.sin())
    rows[0] = 1
    return rows / rows.norm(dim=1, keepdim=True), frequency


def power_law(side: int, channels: int, exponent: float, scale: float) -> Tensor:
    """S, flattened (d,): as |f|^-exponent, at f = 0 as at |f| = 1; of mean scale^2, in the order of `fourier`."""
    _, f = fourier(side)
    radius = torch.hypot(f[:, None], f[None, :]).clamp(min=1)
    spectrum = radius**-exponent
    return (spectrum / spectrum.mean() * scale**2).expand(channels, side, side).flatten()


def log_likelihood(y: Tensor, v: Tensor) -> Tensor:
    """log N(y; 0, diag v), (...), of y and variances v, (..., d)."""
    return -0.5 * (y.square() / v + torch.log(2 * math.pi * v)).sum(-1)


class Spectral(Pictures):
    """Laws of independent numbers in Fourier space, the same in every channel."""

    spectra: Tensor
    rows: Tensor

    def __init__(self, dim: int | None, side: int, channels: int, exponents: list[float], scale: float) -> None:
        super().__init__(dim, side, channels)
        self._keep(spectra=torch.stack([power_law(side, channels, e, scale) for e in exponents]), rows=fourier(side)[0])
        self.intrinsic_dim = self.dim
        self.sigma_data = scale

    def transformed(self, x: Tensor) -> Tensor:
        """F x of pictures (..., d), (..., d)."""
        rows = self.rows.to(x)
        return (rows @ x.unflatten(-1, self.shape) @ rows.mT).flatten(-3)

    def pictured(self, y: Tensor) -> Tensor:
        """F^T y, the inverse."""
        rows = self.rows.to(y)
        return (rows.mT @ y.unflatten(-1, self.shape) @ rows).flatten(-3)

    def _filtered(self, x: Tensor, spectrum: Tensor, sigma: Tensor) -> Tensor:
        """Eq. (1), for one spectrum or one for each picture, (..., d)."""
        return self.pictured(self.transformed(x) * (spectrum / (spectrum + sigma**2)))

    def covariance(self, label: int = 0) -> Tensor:
        """The dense covariance of a class, (d, d), float64: for small pictures."""
        basis = self.pictured(torch.eye(self.dim, dtype=torch.float64))  # row f is F^T e_f
        return basis.mT @ (self.spectra[label].double()[:, None] * basis)


class Field(Spectral):
    """A stationary Gaussian field on a torus, its power falling as |f|^-exponent; channels are independent.

    Args:
        dim, side, channels: as for `Pictures`.
        exponent: of the power in the frequency f (cycles across the picture); 0 is white noise.
        scale: standard deviation of each pixel.
    """

    name = "field"
    summary = "pictures: a stationary Gaussian field with a power-law spectrum"

    @checked
    def __init__(
        self,
        *,
        dim: int | None = None,
        side: Side = 16,
        channels: Channels = 1,
        exponent: Exponent = 2.0,
        scale: Positive = 1.0,
    ) -> None:
        super().__init__(dim, side, channels, [exponent], scale)

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, None]:
        eps = torch.randn(n, self.dim, generator=generator, device=generator.device)
        return self.pictured(eps * self.spectra[0].sqrt().to(eps)), None

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self._filtered(x, self.spectra[0].to(x), sigma)

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        return log_likelihood(self.transformed(x), self.spectra[0].to(x) + sigma**2)


class Fields(Spectral):
    """Stationary Gaussian fields of different exponents in equal shares; the class label is the place among them.

    Args:
        dim, side, channels: as for `Pictures`.
        components: how many.
        exponent, exponent_last: of the first and of the last, those between evenly spaced.
        scale: standard deviation of each pixel.

    Raises:
        InputError: the two exponents are the same.
    """

    name = "fields"
    summary = "pictures: stationary Gaussian fields of different power-law spectra, by class"
    has_class_denoiser = True

    @checked
    def __init__(
        self,
        *,
        dim: int | None = None,
        side: Side = 16,
        channels: Channels = 1,
        components: Annotated[int, Bounds(ge=2, le=100)] = 4,
        exponent: Exponent = 0.5,
        exponent_last: Exponent = 3.5,
        scale: Positive = 1.0,
    ) -> None:
        if exponent == exponent_last:
            raise InputError(
                f"law.exponent and law.exponent_last are both {exponent}, but the classes of the law 'fields' differ "
                "in it: set them apart, or take the law 'field'"
            )
        spaced = torch.linspace(exponent, exponent_last, components, dtype=torch.float64).tolist()
        super().__init__(dim, side, channels, spaced, scale)
        self.classes = components

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        labels = torch.randint(self.classes, (n,), generator=generator, device=generator.device)
        eps = torch.randn(n, self.dim, generator=generator, device=generator.device)
        return self.pictured(eps * self.spectra.sqrt().to(eps)[labels]), labels

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        y, v = self.transformed(x), sigma**2
        w = self._log_likelihoods(y, sigma).softmax(-1).to(x)  # (..., K)
        gain = torch.zeros_like(y)
        for j, spectrum in enumerate(self.spectra.to(x)):  # one at a time: (..., K, d) would not fit
            gain = gain + w[..., j : j + 1] * (spectrum / (spectrum + v))
        return self.pictured(gain * y)  # Eq. (3)

    def _denoise_class(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        return self._filtered(x, self.spectra.to(x)[label], sigma)

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        found = self._log_likelihoods(self.transformed(x), sigma)
        return found.logsumexp(-1) - math.log(self.classes)

    def _log_likelihoods(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Each class's log density of y = F x, (..., K), in float64: sums over d whose differences decide."""
        spectra, v = self.spectra.to(y.device, torch.float64), sigma.double() ** 2
        return torch.stack([log_likelihood(y.double(), spectrum + v) for spectrum in spectra], dim=-1)
