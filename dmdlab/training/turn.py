"""A fixed turn of the noise: orthogonal, without trace, in O(d log d), made anew from a seed whenever it is needed.

    R = B^T J B,        B = P H S

S: random signs; H: the discrete Hartley transform, real, symmetric and orthogonal, H x = (Re F x - Im F x) / sqrt(d)
with F the Fourier transform (Bracewell, JOSA 73, 1983), so its own inverse; P: a random permutation; J: quarter turns
of consecutive pairs of coordinates. So R^T = -R and E<z, R z> = tr R = 0: nothing of z is left in R z on average. When
d is odd, a third of a turn about an axis of three coordinates takes the place of a pair and the axis left over: R^T is
not -R then, and the trace is 0 all the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmdlab.randomness import stream


class Turn(nn.Module):
    """z (e, n, d) -> z R, a turn for each member from its own seed; members not `turned` see z itself, bit for bit.

    Raises ValueError for d < 2, where there is no rotation.
    """

    signs: Tensor
    order: Tensor
    back: Tensor
    turned: Tensor

    def __init__(self, seeds: Sequence[int], turned: Sequence[bool], dim: int) -> None:
        super().__init__()
        if dim < 2:
            raise ValueError(f"a turn needs two dimensions, got {dim}")
        streams = [stream(seed, "turn") for seed in seeds]
        signs = torch.stack([torch.from_numpy(s.choice([-1.0, 1.0], dim)).float() for s in streams])
        order = torch.stack([torch.from_numpy(s.permutation(dim)) for s in streams])
        self.register_buffer("signs", signs[:, None], persistent=False)  # (e, 1, d)
        self.register_buffer("order", order[:, None], persistent=False)  # (e, 1, d)
        self.register_buffer("back", order.argsort(dim=1)[:, None], persistent=False)
        self.register_buffer("turned", torch.tensor(turned)[:, None, None], persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """z (e, n, d) -> (e, n, d)."""
        w = hartley(z * self.signs).gather(-1, self.order.expand(z.shape))
        w = hartley(quarter_turns(w).gather(-1, self.back.expand(z.shape))) * self.signs
        return torch.where(self.turned, w, z)


def hartley(x: Tensor) -> Tensor:
    """The orthonormal discrete Hartley transform along the last axis, any length; its own inverse."""
    f = torch.fft.fft(x, norm="ortho")
    return f.real - f.imag


def quarter_turns(w: Tensor) -> Tensor:
    """J: (a, b) -> (-b, a) in every pair of coordinates; with an odd number of them the first three move on by one."""
    odd = 3 * (w.shape[-1] % 2)
    a, b = w[..., odd::2], w[..., odd + 1 :: 2]
    return torch.cat([w[..., :odd].roll(1, dims=-1), torch.stack([-b, a], dim=-1).flatten(-2)], dim=-1)
