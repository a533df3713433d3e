"""One currency: a denoiser is any call D(x_sigma, sigma) = E[x0 | x_sigma].

Exact denoisers are the laws' own (`law.denoise`), network denoisers are an `EDMDenoiser` around a network; teacher,
sampler, losses and tests take either. The score follows from Tweedie's formula,

    grad log p_sigma(x) = (D(x, sigma) - x) / sigma^2.                                      (EDM eq. 3)
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from dmdlab.device.fusing import fused
from dmdlab.diffusion.noise import edm_coefficients


class Denoiser(Protocol):
    """Anything that returns E[x0 | x_sigma]."""

    def __call__(self, x_sigma: Tensor, sigma: Tensor | float) -> Tensor:
        """x_sigma (..., d), sigma a number or (..., 1) -> (..., d)."""
        ...


class EDMDenoiser(nn.Module):
    """A network as a denoiser, by EDM's preconditioning (`dmdlab.diffusion.noise`).

    `network(x (e, n, d), c_noise (e, n, 1)) -> (e, n, d)`; `sigma_data` is the law's standard deviation per coordinate.
    """

    def __init__(self, network: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.network = network
        self.sigma_data = sigma_data

    def forward(self, x_sigma: Tensor, sigma: Tensor | float) -> Tensor:
        """x_sigma (e, n, d), sigma a number or (e, n, 1) -> E[x0 | x_sigma], (e, n, d)."""
        # new_full fills on the device, where as_tensor would copy from the host (forbidden in a CUDA graph)
        level = sigma.to(x_sigma) if isinstance(sigma, Tensor) else x_sigma.new_full((), sigma)
        scale = x_sigma.new_full((), self.sigma_data, dtype=torch.float64)
        return _denoise(self.network, x_sigma, level.expand(*x_sigma.shape[:-1], 1), scale)


@fused
def _denoise(network: nn.Module, x_sigma: Tensor, sigma: Tensor, sigma_data: Tensor) -> Tensor:
    """x_sigma (e, n, d), sigma (e, n, 1), sigma_data () -> (e, n, d). Compiled, a float would be built in."""
    c = edm_coefficients(sigma, sigma_data)  # (e, n, 1)
    return torch.addcmul(c.c_skip * x_sigma, c.c_out, network(c.c_in * x_sigma, c.c_noise).to(x_sigma))
