"""A fixed turn of the noise: orthogonal, without trace, made anew from a seed whenever it is needed.

    R = B^T J B

J: quarter turns of consecutive pairs of coordinates, so R^T = -R and E<z, R z> = tr R = 0: nothing of z is left in R z
on average. When d is odd, a third of a turn about an axis of three coordinates takes the place of a pair and the axis
left over: R^T is not -R then, and the trace is 0 all the same.

B, a random basis: below `STRUCTURED_FROM` dimensions uniform on O(d), and R a matrix; from there on B = P H S, which is
applied in O(d log d) and never written out. S: random signs; H: the discrete Hartley transform, real, symmetric and
orthogonal, H x = (Re F x - Im F x) / sqrt(d) with F the Fourier transform (Bracewell, JOSA 73, 1983), so its own
inverse; P: a random permutation. Of such bases there are too few in few dimensions: at d = 4 every turn would be a
signed permutation, and at d = 3 every axis the first coordinate's.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dmdlab.randomness import stream

STRUCTURED_FROM = 256
"""Dimension from which on a basis is a fast transform, as of planted rotations (`dmdlab.pairing.bases`)."""


class Turn(nn.Module):
    """z (e, n, d) -> z R, a turn for each member from its own seed; members not `turned` see z itself, bit for bit.

    Raises ValueError for d < 2, where there is no rotation.
    """

    turned: Tensor

    def __init__(self, seeds: Sequence[int], turned: Sequence[bool], dim: int) -> None:
        super().__init__()
        if dim < 2:
            raise ValueError(f"a turn needs two dimensions, got {dim}")
        streams = [stream(seed, "rotation") for seed in seeds]
        self.turn = DenseTurns(streams, dim) if dim < STRUCTURED_FROM else FastTurns(streams, dim)
        self.register_buffer("turned", torch.tensor(turned)[:, None, None], persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """z (e, n, d) -> (e, n, d)."""
        return torch.where(self.turned, self.turn(z), z)


class DenseTurns(nn.Module):
    """A matrix R for each stream, its basis uniform on O(d): QR of a Gaussian matrix with positive diagonal (Mezzadri,
    Notices of the AMS 54, 2007)."""

    matrices: Tensor

    def __init__(self, streams: Sequence[np.random.Generator], dim: int) -> None:
        super().__init__()
        bases = []
        for s in streams:
            q, r = np.linalg.qr(s.standard_normal((dim, dim)))
            bases.append(torch.from_numpy(q * np.sign(np.diag(r))))
        b = torch.stack(bases)
        self.register_buffer("matrices", (quarter_turns(b) @ b.mT).float(), persistent=False)  # (e, d, d)

    def forward(self, z: Tensor) -> Tensor:
        """z (e, n, d) -> (e, n, d)."""
        return torch.bmm(z, self.matrices)


class FastTurns(nn.Module):
    """B^T J B of each stream's B = P H S, applied factor by factor."""

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

    def forward(self, z: Tensor) -> Tensor:
        """z (e, n, d) -> (e, n, d)."""
        w = hartley(z * self.signs).gather(-1, self.order.expand(z.shape))
        return hartley(quarter_turns(w).gather(-1, self.back.expand(z.shape))) * self.signs


def hartley(x: Tensor) -> Tensor:
    """The orthonormal discrete Hartley transform along the last axis, any length; its own inverse."""
    f = torch.fft.fft(x, norm="ortho")
    return f.real - f.imag


def quarter_turns(w: Tensor) -> Tensor:
    """J: (a, b) -> (-b, a) in each pair of coordinates; where their number is odd, the first three move back by one."""
    odd = 3 * (w.shape[-1] % 2)
    a, b = w[..., odd::2], w[..., odd + 1 :: 2]
    return torch.cat([w[..., :odd].roll(-1, dims=-1), torch.stack([-b, a], dim=-1).flatten(-2)], dim=-1)
