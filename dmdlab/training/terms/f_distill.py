"""f-distill: distribution matching for other divergences than the reverse KL, by a weight for each sample."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from dmdlab.config import Experiment, InputError
from dmdlab.training.direction import dmd_surrogate
from dmdlab.training.exact_score import LinearStudentScore
from dmdlab.training.terms.gan import GAN
from dmdlab.training.terms.term import Around, Batch, Term, TermSettings

LIMITS = (0.1, 20.0)
"""What ratios are clipped to (f-distill)."""

Divergence = Literal["reverse-kl", "softened", "jensen-shannon", "squared-hellinger", "forward-kl", "jeffreys"]

WEIGHTS: dict[Divergence, Callable[[Tensor], Tensor]] = {
    "reverse-kl": torch.ones_like,
    "softened": lambda r: 1 / (1 + r),
    "jensen-shannon": lambda r: r / (1 + r),
    "squared-hellinger": torch.sqrt,
    "forward-kl": lambda r: r,
    "jeffreys": lambda r: 1 + r,
}
"""h(r) of each divergence (f-distill, table 1)."""


class FDistillSettings(TermSettings):
    """Weight 1 is f-distill, and what lies between 0 and 1 lies between it and DMD."""

    weight: float = Field(ge=0, le=1, description="how much of h(r) - 1 is added to DMD's weight of 1")
    divergence: Divergence = Field("jensen-shannon", description="which divergence's h(r)")
    ratio: Literal["head", "exact"] = Field(
        "head", description="r by the head of terms.gan, or by both densities, where fake_score.kind is 'exact'"
    )


class FDistill(Term):
    """The DMD direction with weights h(r), r = p_real / p_generated at x_sigma (f-distill, arXiv 2502.15681, eq. 7).

    r is clipped to `LIMITS` and divided by its mean over the batch. As a loss beside DMD's it is the surrogate of
    weight (h(r) - 1) times the direction, so that the sum's weights are 1 + weight (h(r) - 1). Raises `InputError` for
    an exact r of a law without a density.
    """

    Settings = FDistillSettings
    numbers = ("clipped", "ratio_spread")
    needs_scores = True

    @classmethod
    def check(cls, experiment: Experiment, settings: FDistillSettings) -> None:
        if not experiment.student.weight:
            raise InputError(
                "terms.f_distill weighs distribution matching, and student.weight is 0; set student.weight above 0, or "
                "terms.f_distill.weight = 0"
            )
        if settings.ratio == "head" and not experiment.terms.parameters.get("gan", {}).get("weight"):
            raise InputError(
                "terms.f_distill.ratio is 'head', the head of terms.gan, which is off; set terms.gan.weight above 0, "
                "or terms.f_distill.ratio = 'exact' with fake_score.kind = 'exact'"
            )
        known = experiment.fake_score.kind == experiment.teacher.kind == "exact" and not experiment.teacher.condition
        if settings.ratio == "exact" and not known:
            raise InputError(
                "terms.f_distill.ratio is 'exact', which needs the densities of both laws: fake_score.kind = 'exact', "
                "teacher.kind = 'exact' and no teacher.condition; set them, or terms.f_distill.ratio = 'head' with "
                "terms.gan.weight above 0"
            )

    def __init__(self, around: Around, settings: FDistillSettings) -> None:
        config = around.group.shared.student
        self.weight, self.reduction = settings.weight * config.weight, config.reduction
        self.of_ratio, self.around, self.by_head = WEIGHTS[settings.divergence], around, settings.ratio == "head"
        if not self.by_head and not around.law.has_density:
            raise InputError(
                f"terms.f_distill.ratio is 'exact', and the law {around.law.name!r} has no density; take "
                "terms.f_distill.ratio = 'head' with terms.gan.weight above 0"
            )

    @torch.no_grad()
    def log_ratio(self, x_sigma: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        """The logarithm of r, (e, n)."""
        if self.by_head:
            gan = self.around.terms["gan"]
            assert isinstance(gan, GAN)
            return gan.logit(x_sigma, sigma, label)
        assert isinstance(self.around.score, LinearStudentScore)
        own = self.around.score.log_density(x_sigma, sigma)
        return (self.around.law.log_density(x_sigma.double(), sigma) - own).to(x_sigma)

    def student_loss(self, batch: Batch, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """As of every `Term`; numbers: the share of samples whose r was clipped, and the standard deviation of r."""
        assert batch.matching is not None
        x_sigma, sigma, direction = batch.matching
        low, high = (math.log(limit) for limit in LIMITS)
        log_r = self.log_ratio(x_sigma, sigma, batch.label)
        r = log_r.clamp(low, high).exp()
        r = r / r.mean(dim=1, keepdim=True)
        more = (self.of_ratio(r) - 1).unsqueeze(2) * direction
        clipped = ((log_r < low) | (log_r > high)).to(r).mean(dim=1)
        spread = r.var(dim=1, correction=0).sqrt()
        return self.weight * dmd_surrogate(batch.x, more, self.reduction), [clipped, spread]
