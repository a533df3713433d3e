"""Starts that keep a part of a pairing: the noise turned by a known angle, or twisted by one that depends on its norm.

    turned:   z -> R(theta) z,      as calibrations plant turns (`dmdlab.pairing.planted`)
    twisted:  z -> R(theta u) z,    u = (|z|^2 / sigma_max^2 - d) / sqrt(2 d)

R(theta) = B^T (turn by theta) B turns each pair of consecutive coordinates of a random basis B; the last one rests when
d is odd. Of Gaussian noise u has mean 0 and variance 1, so theta is the root mean square angle of a twist. Both keep
the prior: a twist turns every sphere about 0 in itself. But it is no single turn: each sphere has its own angle.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmdlab.config import Experiment
from dmdlab.randomness import stream
from dmdlab.training.bases import STRUCTURED_FROM, DenseBases, FastBases

PLANAR = ("turned", "twisted")
"""The values of `student.init` that start here."""


class PlanarTurn(nn.Module):
    """z (e, n, d) -> R z of each member that is turned or twisted, by its `student.turn_degrees` and in planes from its
    own seed; the others see z itself, bit for bit."""

    planar: Tensor
    twisted: Tensor
    angles: Tensor

    def __init__(self, members: Sequence[Experiment], dim: int) -> None:
        super().__init__()
        self.sigma_max = members[0].noise.sigma_max
        streams = [stream(e.seed, "planes") for e in members]
        self.basis = DenseBases(streams, dim) if dim < STRUCTURED_FROM else FastBases(streams, dim)
        inits, degrees = [e.student.init for e in members], [e.student.turn_degrees for e in members]
        for name, of_all in {
            "planar": [init in PLANAR for init in inits],
            "twisted": [init == "twisted" for init in inits],
            "angles": [math.radians(each) for each in degrees],
        }.items():
            self.register_buffer(name, torch.tensor(of_all)[:, None, None], persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """z (e, n, d) -> (e, n, d)."""
        d = z.shape[2]
        u = (z.square().sum(dim=2, keepdim=True) / self.sigma_max**2 - d) / math.sqrt(2 * d)  # (e, n, 1)
        theta = self.angles * torch.where(self.twisted, u, 1.0)
        w = self.basis.coordinates(z)
        a, b = w[..., 0 : d - 1 : 2], w[..., 1:d:2]
        pairs = torch.stack([theta.cos() * a - theta.sin() * b, theta.sin() * a + theta.cos() * b], dim=-1)
        turned = self.basis.vectors(torch.cat([pairs.flatten(-2), w[..., d - d % 2 :]], dim=-1))
        return torch.where(self.planar, turned, z)
