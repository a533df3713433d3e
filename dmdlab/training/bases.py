"""Random orthonormal bases of the noise, made anew from a seed whenever they are needed: B of each member, (d, d).

Below `STRUCTURED_FROM` dimensions they are uniform on O(d) and matrices; from there on B = P H S, which is applied in
O(d log d) and never written out. S: random signs; H: the discrete Hartley transform, real, symmetric and orthogonal,
H x = (Re F x - Im F x) / sqrt(d) with F the Fourier transform (Bracewell, JOSA 73, 1983), so its own inverse; P: a
random permutation. Of such bases there are too few in few dimensions: at d = 4 every turn would be a signed
permutation, and at d = 3 every axis the first coordinate's.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

STRUCTURED_FROM = 256
"""Dimension from which on a basis is a fast transform, as of planted rotations (`dmdlab.pairing.bases`)."""


def uniform_bases(streams: Sequence[np.random.Generator], dim: int) -> Tensor:
    """A basis for each stream, (e, d, d) float64, its vectors the columns, uniform on O(d): QR of a Gaussian matrix
    with positive diagonal (Mezzadri, Notices of the AMS 54, 2007)."""
    bases = []
    for s in streams:
        q, r = np.linalg.qr(s.standard_normal((dim, dim)))
        bases.append(torch.from_numpy(q * np.sign(np.diag(r))))
    return torch.stack(bases)


class DenseBases(nn.Module):
    """`uniform_bases`, whose rows are the vectors here."""

    matrices: Tensor

    def __init__(self, streams: Sequence[np.random.Generator], dim: int) -> None:
        super().__init__()
        self.register_buffer("matrices", uniform_bases(streams, dim).float(), persistent=False)  # (e, d, d)

    def coordinates(self, z: Tensor) -> Tensor:
        """B z of each row (e, n, d)."""
        return torch.bmm(z, self.matrices.mT)

    def vectors(self, w: Tensor) -> Tensor:
        """The inverse."""
        return torch.bmm(w, self.matrices)


class FastBases(nn.Module):
    """B = P H S for each stream."""

    signs: Tensor
    order: Tensor
    back: Tensor

    def __init__(self, streams: Sequence[np.random.Generator], dim: int) -> None:
        super().__init__()
        signs = torch.stack([torch.from_numpy(s.choice([-1.0, 1.0], dim)).float() for s in streams])
        order = torch.stack([torch.from_numpy(s.permutation(dim)) for s in streams])
        self.register_buffer("signs", signs[:, None], persistent=False)  # (e, 1, d)
        self.register_buffer("order", order[:, None], persistent=False)  # (e, 1, d)
        self.register_buffer("back", order.argsort(dim=1)[:, None], persistent=False)

    def coordinates(self, z: Tensor) -> Tensor:
        """B z of each row (e, n, d)."""
        return hartley(z * self.signs).gather(-1, self.order.expand(z.shape))

    def vectors(self, w: Tensor) -> Tensor:
        """The inverse."""
        return hartley(w.gather(-1, self.back.expand(w.shape))) * self.signs


def hartley(x: Tensor) -> Tensor:
    """The orthonormal discrete Hartley transform along the last axis, any length; its own inverse."""
    f = torch.fft.fft(x, norm="ortho")
    return f.real - f.imag
