"""How alike two maps answer a small change of the noise, by their Jacobians, without any sample size.

At a point z and along a direction v, with J the Jacobians of two maps from noise to data,

    cosine = <J_G v, J_P v> / (|J_G v| |J_P v|),        gain = |J_G v| / |J_P v|

are 1 for equal maps. J v is one forward pass in forward mode: exact, no step to choose. The means over points, their
intervals and what they say stand in `dmdlab.pairing.local`. That distilled students can lose their sensitivity to the
noise, and that it is seen in J v, is due to Huang et al. (arXiv 2606.01651).
"""

import torch
from torch import Tensor

from dmdlab.diffusion.jacobian import Map


@torch.no_grad()
def answers(map_: Map, z: Tensor, probes: Tensor) -> Tensor:
    """J v of a map at the points z along each of `probes`, (p, e, n, d).

    map_: takes (e, n, d) to (e, n, d), each row by itself; differentiable. z: (e, n, d). probes: (p, e, n, d), standard
    normal or of any other length, which drops out. Nothing is kept for gradients of parameters.
    """
    z = z.contiguous()  # forward mode writes into it
    return torch.stack([torch.func.jvp(map_, (z,), (v.contiguous(),))[1] for v in probes])


@torch.no_grad()
def local_agreement(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and gain of the `answers` (p, e, n, d) of two maps: (e, n, p) twice, in float64.

    Where a map does not answer along a direction, the cosine is NaN, and the gain 0 (the student), infinite (the
    teacher) or NaN (both).
    """
    found = []
    for g, p in zip(student.double(), teacher.double(), strict=True):
        lengths = g.norm(dim=-1), p.norm(dim=-1)  # (e, n)
        found.append((((g / lengths[0][..., None]) * (p / lengths[1][..., None])).sum(dim=-1), lengths[0] / lengths[1]))
    cosine, gain = (torch.stack(part, dim=-1) for part in zip(*found, strict=True))
    return cosine, gain
