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
def local_agreement(student: Map, teacher: Map, z: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and gain of both maps' answers at the points z along each of `probes`: (e, n, p) twice, in float64.

    student, teacher: take (e, n, d) to (e, n, d), each row by itself; differentiable. z: (e, n, d). probes: (p, e, n,
    d), standard normal or of any other length, which drops out. Where a map does not answer along a direction, the
    cosine is NaN, and the gain 0 (the student), infinite (the teacher) or NaN (both). Nothing is kept for gradients
    of parameters.
    """
    z = z.contiguous()  # forward mode writes into it
    found = []
    for v in probes:
        g, p = (torch.func.jvp(map_, (z,), (v.contiguous(),))[1].double() for map_ in (student, teacher))
        lengths = g.norm(dim=-1), p.norm(dim=-1)  # (e, n)
        found.append((((g / lengths[0][..., None]) * (p / lengths[1][..., None])).sum(dim=-1), lengths[0] / lengths[1]))
    cosine, gain = (torch.stack(part, dim=-1) for part in zip(*found, strict=True))
    return cosine, gain
