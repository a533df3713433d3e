"""How lazily a student was trained: how far its weights moved, and how much its tangent kernel changed.

Training is *lazy* where a network hardly leaves its linearisation about the start theta_0 (Chizat, Oyallon and Bach,
NeurIPS 2019): what it learns is then a small change of the map that it started as. Two numbers say how nearly so:

    weight_movement = |theta_T - theta_0| / |theta_0|                          over all parameters
    kernel_change   = 1 - <K_0 R, K_T R> / (|K_0 R| |K_T R|),    K = J J^T     0 where the kernel kept its direction

J, (m d, P), holds the derivatives of the student's outputs at m probe points by its P parameters, and K is the tangent
kernel (Jacot, Gabriel and Hongler, NeurIPS 2018). Neither is written out. R is (m d, p), standard normal and the same
before and after, so <K_0 R, K_T R> / p is Hutchinson's estimate of <K_0, K_T> (1989), and a column K r = J (J^T r) is
one reverse and one forward pass. With one R for all three products the quotient is a cosine, exactly 1 for kernels that
differ by a factor: an equal change of all outputs' scale is no change here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jvp, vjp

from dmdlab.device.precision import arithmetic
from dmdlab.networks import Ensemble
from dmdlab.randomness import generator
from dmdlab.training.student import Student

POINTS, PROBES = 64, 8
"""Noise vectors at which the kernels are compared, and columns of R (ours)."""


@torch.no_grad()
def laziness(
    seeds: Sequence[int],
    before: Student,
    after: Student,
    z: Tensor,
    label: Tensor | None = None,
    rows: int = POINTS,
    later: Sequence[Tensor] = (),
) -> dict[str, Tensor]:
    """weight_movement and kernel_change, each (e,) float64 on the CPU, of students `after` a training from `before`.

    seeds: each member's own. z: (e, n, d), of which the first `POINTS` are probed. label: their classes (e, n), or
    None. rows: how many points go through the networks at a time, so that they take no more memory than a training
    with such a batch. later: the noises of further steps, (e, n, d) each, held fixed.
    """
    later = [part[:, :POINTS] for part in later]
    z, label = z[:, :POINTS], None if label is None else label[:, :POINTS]
    own = [torch.randn(PROBES, *z.shape[1:], generator=generator(seed, "tangent kernel")) for seed in seeds]
    probes = torch.stack(own, dim=1).to(z)  # (p, e, n, d)
    products = z.new_zeros(3, len(z), dtype=torch.float64)  # <K_0 R, K_T R>, |K_0 R|^2, |K_T R|^2
    with arithmetic("float32", z.device):
        for r in probes:
            a, b = (kernel_product(s, z, r, label, rows, later).double() for s in (before, after))
            products += torch.stack([(u * v).sum(dim=(1, 2)) for u, v in ((a, b), (a, a), (b, b))])
    both, first, last = products
    change = (1 - both / (first * last).sqrt()).clamp(min=0)
    return {"weight_movement": movement(before.network, after.network).cpu(), "kernel_change": change.cpu()}


def movement(before: Ensemble, after: Ensemble) -> Tensor:
    """|theta_T - theta_0| / |theta_0| of each member, (e,) float64."""
    norm = [torch.linalg.vector_norm(t, dim=1, dtype=torch.float64) for t in (after.flat - before.flat, before.flat)]
    return norm[0] / norm[1]


def kernel_product(
    student: Student, z: Tensor, r: Tensor, label: Tensor | None, rows: int, later: Sequence[Tensor] = ()
) -> Tensor:
    """J (J^T r), (e, n, d), for each member's own J at the points z (e, n, d); `rows` of them at a time."""
    parameters = {  # of the same strides as their tangents, even where there is one member, as forward mode wants
        name: p.detach().clone(memory_format=torch.contiguous_format) for name, p in student.named_parameters()
    }
    labels = [None] * -(-z.shape[1] // rows) if label is None else list(label.split(rows, dim=1))
    fixed = list(zip(*(part.split(rows, dim=1) for part in later), strict=True)) or [()] * len(labels)
    known = [{"label": own, "later": noises} for own, noises in zip(labels, fixed, strict=True)]
    parts = list(zip(z.split(rows, dim=1), known, r.split(rows, dim=1), strict=True))

    def outputs(z: Tensor, known: dict[str, Any], theta: Mapping[str, Tensor]) -> Tensor:
        found: Tensor = functional_call(student, dict(theta), (z,), known)
        return found

    back = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for at, told, own in parts:
        pulled = vjp(lambda theta, at=at, told=told: outputs(at, told, theta), parameters)[1](own)[0]
        back = {name: total.add_(pulled[name]) for name, total in back.items()}
    pushed = [
        jvp(lambda theta, at=at, told=told: outputs(at, told, theta), (parameters,), (back,))[1]
        for at, told, _ in parts
    ]
    return torch.cat(pushed, dim=1)
