"""Score identity distillation: Fisher's divergence in place of the reverse KL."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from dmdlab.config import InputError, Levels
from dmdlab.diffusion import conditioned, levels_in
from dmdlab.training.direction import reduced
from dmdlab.training.terms.numbers import noising
from dmdlab.training.terms.term import Around, Batch, Term, TermSettings


class SiDSettings(TermSettings):
    """With student.weight = 0 this is SiD; beside distribution matching, a mixture of both."""

    alpha: float = Field(1.2, description="of the second part of the loss (SiD: 1.2, or 1)")
    floor: float = Field(1e-5, gt=0, description="what a sample's loss is divided by at least (SiD)")
    levels: Levels = Field((0.0, 0.8), description="range of the Karras index (SiD)")


class SiD(Term):
    """(D_r - D_f) . [(D_r - x) - alpha (D_r - D_f)] at x_sigma = x + sigma eps, over coordinates as `student.reduction`
    says, each sample divided by its mean abs(x - D_r), without gradient (SiD, arXiv 2404.04057, eq. 23 and Sec. 4).

    D_r is the teacher's prediction of x0, D_f that of the score of the student's law; the gradient passes through the
    inputs of both, while D_f itself stands still. Where D_f is exact, the loss is (1 - alpha) E|D_r - D_f|^2 in
    expectation, undivided; its value says nothing, its gradient vanishes where D_f = D_r. Raises `InputError` for a
    teacher that no gradient passes through.
    """

    Settings = SiDSettings
    numbers = ("loss",)
    needs_scores = True

    def __init__(self, around: Around, settings: SiDSettings) -> None:
        shared = around.group.shared
        self.settings, self.reduction, self.noise = settings, shared.student.reduction, shared.noise
        self.teacher, self.score = around.teacher, around.score
        at = torch.zeros(len(around.group), 1, around.law.dim, device=around.student.network.flat.device)
        if not self.teacher(at.requires_grad_(), shared.noise.sigma_max).requires_grad:
            raise InputError(
                "terms.sid passes gradients through the teacher, and this one gives none; let it compute without "
                "torch.no_grad(), or set terms.sid.weight = 0"
            )
        self.sources = noising(around, "sid", 1)

    def student_loss(self, batch: Batch, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """As of every `Term`."""
        u, eps = (part[:, 0] for part in drawn)
        sigma = levels_in(u, self.settings.levels, self.noise)
        x_sigma = batch.x + sigma * eps
        d_teacher, d_fake = (conditioned(d, batch.label)(x_sigma, sigma) for d in (self.teacher, self.score))
        difference = d_teacher - d_fake
        size = (batch.x - d_teacher).detach().abs().mean(dim=2, keepdim=True).clamp(min=self.settings.floor)
        inner = difference * ((d_teacher - batch.x) - self.settings.alpha * difference)
        loss = reduced(inner / size, self.reduction)
        return self.settings.weight * loss, [loss.detach()]
