"""A fixed turn of the noise: orthogonal, without trace, made anew from a seed whenever it is needed.

    R = B^T J B

J: quarter turns of consecutive pairs of coordinates, so R^T = -R and E<z, R z> = tr R = 0: nothing of z is left in R z
on average. When d is odd, a third of a turn about an axis of three coordinates takes the place of a pair and the axis
left over: R^T is not -R then, and the trace is 0 all the same.

B: a random basis (`dmdlab.training.bases`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dmdlab.randomness import stream
from dmdlab.training.bases import STRUCTURED_FROM, FastBases, uniform_bases


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
    """A matrix R for each stream."""

    matrices: Tensor

    def __init__(self, streams: Sequence[np.random.Generator], dim: int) -> None:
        super().__init__()
        b = uniform_bases(streams, dim)
        self.register_buffer("matrices", (quarter_turns(b) @ b.mT).float(), persistent=False)  # (e, d, d)

    def forward(self, z: Tensor) -> Tensor:
        """z (e, n, d) -> (e, n, d)."""
        return torch.bmm(z, self.matrices)


class FastTurns(nn.Module):
    """B^T J B of each stream's B, applied factor by factor."""

    def __init__(self, streams: Sequence[np.random.Generator], dim: int) -> None:
        super().__init__()
        self.basis = FastBases(streams, dim)

    def forward(self, z: Tensor) -> Tensor:
        """z (e, n, d) -> (e, n, d)."""
        return self.basis.vectors(quarter_turns(self.basis.coordinates(z)))


def quarter_turns(w: Tensor) -> Tensor:
    """J: (a, b) -> (-b, a) in each pair of coordinates; where their number is odd, the first three move back by one."""
    odd = 3 * (w.shape[-1] % 2)
    a, b = w[..., odd::2], w[..., odd + 1 :: 2]
    return torch.cat([w[..., :odd].roll(-1, dims=-1), torch.stack([-b, a], dim=-1).flatten(-2)], dim=-1)
