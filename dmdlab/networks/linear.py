"""The smallest network: linear in x at every noise level, so that a one-step student is a matrix.

    F(c_in x) = A(c_noise) c_in x + b(c_noise),      A = sum_k f_k A_k,      b = sum_k f_k b_k

with features f = (1, cos and sin of c_noise as `Fourier` has them) and free matrices A_k (d, d) and vectors b_k (d).
Under EDM's preconditioning the one-step student is G(z) = W z + c_out b with

    W = c_skip I + c_out c_in A(c_noise)      at sigma_max,

a free linear map. Since |f|^2 = 1 + time_features / 2 at every level, a step of gradient descent at rate eta on all
A_k is one on W itself at the rate eta (c_out c_in)^2 (1 + time_features / 2). A Gaussian law's denoiser is of this form
but for its level dependence, which the features approximate. A class adds a linear map of its one-hot label to b.
"""

import torch
from pydantic import Field
from torch import Tensor

from dmdlab.config import Section
from dmdlab.laws import Law
from dmdlab.networks.ensemble import Ensemble, EnsembleLinear, class_map, with_class
from dmdlab.networks.mlp import Fourier


class LinearSettings(Section):
    """Of the linear network."""

    time_features: int = Field(16, ge=2, multiple_of=2, description="Fourier features of the noise level (ours)")
    bias: bool = Field(True, description="whether b is there: affine, for laws whose mean is not 0 (ours)")


class LinearNetwork(Ensemble):
    """x (e, n, d), c_noise (e, n or 1, 1) -> A(c_noise) x + b(c_noise), (e, n, d)."""

    Settings = LinearSettings
    linear = True

    def __init__(self, members: int, law: Law, settings: LinearSettings, classes: int = 0) -> None:
        super().__init__()
        self.embed = Fourier(settings.time_features)
        features = 1 + settings.time_features
        self.matrices = EnsembleLinear(members, features * law.dim, law.dim, bias=False)
        self.vectors = EnsembleLinear(members, features, law.dim, bias=False) if settings.bias else None
        self.told = class_map(members, classes, law.dim)
        self.flatten_parameters()

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        f = self.embed(c_noise)
        f = torch.cat([torch.ones_like(f[..., :1]), f], dim=-1)  # (e, n or 1, k)
        h = self.matrices((f.unsqueeze(3) * x.unsqueeze(2)).flatten(2))  # (e, n, k, d) -> (e, n, d)
        return with_class(h if self.vectors is None else h + self.vectors(f), self.told, label)
