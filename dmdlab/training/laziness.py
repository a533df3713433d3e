"""How lazily a student was trained: how far its weights moved, and how much its tangent kernel changed.

Training is *lazy* where a network hardly leaves its linearisation about the start theta_0 (Chizat, Oyallon and Bach,
NeurIPS 2019): what it learns is then a small change of the map that it started as. Two numbers say how nearly so:

    weight_movement = |theta_T - theta_0| / |theta_0|                          over all parameters
    kernel_change   = 1 - <K_0 R, K_T R> / (|K_0 R| |K_T R|),    K = J J^T     0 where the kernel kept its direction

J, (m d, P), holds the derivatives of the student's outputs at m probe points by its P parameters, and K is the tangent
kernel (Jacot, Gabriel and Hongler, NeurIPS 2018). Neither is written out. R is (m d, p), standard normal and the same
before and after, so <K_0 R, K_T R> / p is Hutchinson's estimate of <K_0, K_T> (1989), and a column K r = J (J^T r) is
one reverse and one forward pass. Both take a student of several steps one step at a time, so that the graph of one is
held, as in training. With one R for all three products the quotient is a cosine, exactly 1 for kernels that differ by a
factor: an equal change of all outputs' scale is no change here.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp

from dmdlab.device.precision import arithmetic
from dmdlab.networks import Ensemble
from dmdlab.randomness import generator
from dmdlab.training.student import Student

POINTS, PROBES = 64, 8
"""Noise vectors at which the kernels are compared, and columns of R (ours)."""


class OneStep(nn.Module):
    """Step i of a student, from 0, with its later noises and class labels held fixed: a map whose parameters are the
    student's."""

    def __init__(self, student: Student, i: int, later: Sequence[Tensor], label: Tensor | None) -> None:
        super().__init__()
        self.student, self.i, self.later, self.label = student, i, later, label

    def forward(self, x: Tensor) -> Tensor:
        """x (e, n, d), the input of this step, to the next one's, or to G(z)."""
        return self.student.maps(self.later, self.label)[self.i](x)

    def of(self, theta: dict[str, Tensor], x: Tensor) -> Tensor:
        """The same with other parameters, by their names."""
        found: Tensor = functional_call(self, theta, (x,))
        return found


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
        found = [kernel_products(student, z, probes, label, rows, later) for student in (before, after)]
    for a, b in zip(*(part.double() for part in found), strict=True):
        products += torch.stack([(u * v).sum(dim=(1, 2)) for u, v in ((a, b), (a, a), (b, b))])
    both, first, last = products
    change = (1 - both / (first * last).sqrt()).clamp(min=0)
    return {"weight_movement": movement(before.network, after.network).cpu(), "kernel_change": change.cpu()}


def movement(before: Ensemble, after: Ensemble) -> Tensor:
    """|theta_T - theta_0| / |theta_0| of each member, (e,) float64."""
    norm = [torch.linalg.vector_norm(t, dim=1, dtype=torch.float64) for t in (after.flat - before.flat, before.flat)]
    return norm[0] / norm[1]


@torch.no_grad()
def kernel_products(
    student: Student,
    z: Tensor,
    probes: Tensor,
    label: Tensor | None = None,
    rows: int = POINTS,
    later: Sequence[Tensor] = (),
) -> Tensor:
    """J (J^T r), (p, e, n, d), of each r of `probes` (p, e, n, d), for each member's own J at the points z (e, n, d);
    `rows` of them at a time. label, later: as for `laziness`."""
    parameters = {  # of the same strides as their tangents, even where there is one member, as forward mode wants
        f"student.{name}": p.detach().clone(memory_format=torch.contiguous_format)
        for name, p in student.named_parameters()
    }
    blocks = [slice(at, at + rows) for at in range(0, z.shape[1], rows)]
    parts = [
        _part(student, z[:, own], [noise[:, own] for noise in later], None if label is None else label[:, own])
        for own in blocks
    ]
    found = []
    for r in probes:
        back = {name: torch.zeros_like(p) for name, p in parameters.items()}
        for part, own in zip(parts, blocks, strict=True):
            pulled = _pulled(part, parameters, r[:, own])
            back = {name: total.add_(pulled[name]) for name, total in back.items()}
        found.append(torch.cat([_pushed(part, parameters, back) for part in parts], dim=1))
    return torch.stack(found)


Part = list[tuple[OneStep, Tensor]]
"""Some rows' way through a student: its steps in their order, each with its input (e, n, d)."""


def _part(student: Student, z: Tensor, later: Sequence[Tensor], label: Tensor | None) -> Part:
    steps = [OneStep(student, i, later, label) for i in range(len(student.levels))]
    inputs = [z]
    for step in steps[:-1]:
        inputs.append(step(inputs[-1]).contiguous())  # forward mode writes into it
    return list(zip(steps, inputs, strict=True))


def _pulled(part: Part, parameters: dict[str, Tensor], r: Tensor) -> dict[str, Tensor]:
    """J^T r by name of the parameters, for r (e, n, d) at the rows of a part."""
    total: dict[str, Tensor] = {}
    for i, (step, x) in reversed(list(enumerate(part))):
        if i:
            pulled, r = vjp(step.of, parameters, x)[1](r)  # without a name for the pull-back, which holds the graph
        else:
            (pulled,) = vjp(partial(step.of, x=x), parameters)[1](r)
        total = {name: total[name] + own for name, own in pulled.items()} if total else pulled
    return total


def _pushed(part: Part, parameters: dict[str, Tensor], along: dict[str, Tensor]) -> Tensor:
    """J t, (e, n, d), at the rows of a part, for t by name of the parameters."""
    (first, z), *others = part
    moved: Tensor = jvp(partial(first.of, x=z), (parameters,), (along,))[1]
    for step, x in others:
        moved = jvp(step.of, (parameters, x), (along, moved.contiguous()))[1]
    return moved
