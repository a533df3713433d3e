"""A network as a denoiser, by EDM's preconditioning (`dmdlab.diffusion.noise`)."""

import torch
from torch import Tensor, nn

from dmdlab.diffusion.noise import Coefficients, edm_coefficients
from dmdlab.networks.ensemble import Ensemble


class EDMDenoiser(nn.Module):
    """An ensemble of networks as E[x0 | x_sigma]; `sigma_data` is the law's standard deviation per coordinate."""

    network: Ensemble

    def __init__(self, network: Ensemble, sigma_data: float) -> None:
        super().__init__()
        self.network = network
        self.sigma_data = sigma_data

    def forward(self, x_sigma: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """x_sigma (e, n, d), sigma a number or (e, n, 1), label (e, n) or None -> E[x0 | x_sigma], (e, n, d)."""
        c = self._coefficients(x_sigma, sigma)
        output = self.network(c.c_in * x_sigma, c.c_noise, label)
        return torch.addcmul(c.c_skip * x_sigma, c.c_out, output.to(x_sigma))

    def features(self, x_sigma: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """The network's features (e, n, *feature_shape); inputs as above."""
        c = self._coefficients(x_sigma, sigma)
        return self.network.features(c.c_in * x_sigma, c.c_noise, label).to(x_sigma)

    def _coefficients(self, x_sigma: Tensor, sigma: Tensor | float) -> Coefficients:
        """Each (e, n, 1), or (e, 1, 1) for one level."""
        # new_full fills on the device, where as_tensor would copy from the host (forbidden in a CUDA graph)
        level = sigma.to(x_sigma) if isinstance(sigma, Tensor) else x_sigma.new_full((), sigma)
        scale = x_sigma.new_full((), self.sigma_data, dtype=torch.float64)
        level = level.expand(*x_sigma.shape[:-1], 1) if level.dim() else level.expand(len(x_sigma), 1, 1)
        return edm_coefficients(level, scale)
