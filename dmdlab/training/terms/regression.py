"""Regression on the teacher's own pairs: the positive control for copying."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from dmdlab.config import Count
from dmdlab.diffusion import conditioned, flow, karras_grid
from dmdlab.diffusion.applied import applied
from dmdlab.training.direction import reduced
from dmdlab.training.draws import picked, streams
from dmdlab.training.terms.term import Around, Batch, Term, TermSettings


class RegressionSettings(TermSettings):
    """DMD's weight is 0.25."""

    pairs: Count = Field(1000, description="fixed pairs of noise and the flow's data, each member's own (ours)")
    batch: int = Field(0, ge=0, description="pairs in a step; 0: as many as student.batch (ours)")


class FixedPairs(NamedTuple):
    """Of all members: noise (e, N, d), its class labels (e, N), or none, and Phi_K of it (e, N, d)."""

    z: Tensor
    labels: tuple[Tensor, ...]
    target: Tensor


class Regression(Term):
    """mean |G(z) - Phi_K(z)|^2 over a fixed set of pairs, over coordinates as `student.reduction` says (DMD, arXiv
    2311.18828, Sec. 3.3, with the squared error in place of LPIPS; its weight is 0.25).

    The pairs are made before the training, by the teacher's flow (`teacher.steps`, `teacher.solver`). Of a student of
    several steps it is the first that is asked for them: what follows also depends on later noises.
    """

    Settings = RegressionSettings
    numbers = ("loss",)

    def __init__(self, around: Around, settings: RegressionSettings) -> None:
        config, device = around.group.shared.student, around.student.network.flat.device
        self.weight, self.reduction = settings.weight, config.reduction
        rows, pairs = settings.batch or config.batch, fixed_pairs(around, settings.pairs)
        columns = (around.student.turned(pairs.z), *pairs.labels, pairs.target)
        own = [[column[i] for column in columns] for i in range(len(around.group))]
        self.sources = [picked(own, (rows,), streams(around.group, "regression", "pick", device=device))]

    def latents(self, drawn: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Those of the pairs."""
        z, *labels, _ = drawn
        return z, labels[0] if labels else None

    def student_loss(self, batch: Batch, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """As of every `Term`."""
        loss = reduced((batch.x - drawn[-1]).square(), self.reduction)
        return self.weight * loss, [loss.detach()]


@torch.no_grad()
def fixed_pairs(around: Around, pairs: int) -> FixedPairs:
    """So many of each member, from streams of its own; z not turned."""
    group, law, shared = around.group, around.law, around.group.shared
    device = around.student.network.flat.device
    shape = (pairs, law.dim)
    noise = [torch.randn(shape, generator=g, device=device) for g in streams(group, "regression", "z", device=device)]
    z = torch.stack(noise) * shared.noise.sigma_max
    labels: tuple[Tensor, ...] = ()
    if shared.teacher.condition:
        own = streams(group, "regression", "labels", device=device)
        labels = (torch.stack([law.draw_labels(pairs, g) for g in own]),)
    grid, solver = karras_grid(shared.teacher.steps, shared.noise), shared.teacher.solver
    target = applied(
        lambda part, label=None: flow(conditioned(around.teacher, label), part, grid, solver),
        z,
        device,
        labels[0] if labels else None,
    )
    return FixedPairs(z, labels, target.to(device))
