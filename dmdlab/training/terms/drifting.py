"""Drifting: samples are moved by a kernel, towards data and away from each other, with no teacher and no score."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from dmdlab.config import Experiment, InputError, Positive
from dmdlab.device.precision import arithmetic
from dmdlab.training.direction import reduced
from dmdlab.training.terms.numbers import data
from dmdlab.training.terms.term import Around, Batch, Term, TermSettings

Kernel = Literal["laplace", "gaussian"]


class DriftingSettings(TermSettings):
    """With student.weight = 0 and fake_score.kind = 'none' this is drifting alone."""

    kernel: Kernel = Field(
        "laplace",
        description="exp(-r / width) (drifting), or exp(-r^2 / (2 width^2)), whose shifts are scores' differences",
    )
    width: Positive = Field(0.1, description="of the kernel (ours; drifting's toys in two dimensions: 0.05, fixed)")
    unit: Literal["median", "one"] = Field(
        "median", description="what width is a multiple of: the median distance of batch and data (ours), or 1"
    )


class Drifting(Term):
    """mean |x - stopgrad(x + V(x))|^2 over coordinates as `student.reduction` says (drifting, arXiv 2602.04770, eq. 6):
    V is the kernel's mean shift towards a batch of data, less that towards the other samples of the student's batch.

    With a Gaussian kernel of width h, V = h^2 (s_data - s_student) in the limit of large batches, the scores being
    those of both laws noised to sigma = h. Conditional members drift within their classes.
    """

    Settings = DriftingSettings
    numbers = ("drift", "width")

    @classmethod
    def check(cls, experiment: Experiment, settings: DriftingSettings) -> None:
        if experiment.student.batch < 2:
            raise InputError("terms.drifting needs neighbours, and student.batch is 1; set student.batch to 2 or more")

    def __init__(self, around: Around, settings: DriftingSettings) -> None:
        self.settings, self.reduction = settings, around.group.shared.student.reduction
        self.sigma_data = around.law.sigma_data
        self.sources = [data(around, "drifting", 1)]

    def student_loss(self, batch: Batch, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """As of every `Term`; numbers: root mean square of V / sigma_data, and the width."""
        x, y = batch.x.detach(), drawn[0][:, 0]
        classes = None if batch.label is None else (batch.label, drawn[1][:, 0])
        to_data = distances(x, y)
        width = torch.full_like(x[:, 0, 0], self.settings.width)  # (e,)
        if self.settings.unit == "median":
            width = width * to_data.flatten(1).median(dim=1).values
        v = drift(x, y, width, self.settings.kernel, classes)
        loss = reduced((batch.x - (x + v)).square(), self.reduction)
        return self.settings.weight * loss, [v.square().mean(dim=(1, 2)).sqrt() / self.sigma_data, width]


@torch.no_grad()
def drift(x: Tensor, y: Tensor, width: Tensor, kernel: Kernel, classes: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """V(x): samples x (e, n, d), data y (e, m, d), widths (e,) -> (e, n, d). A sample is no neighbour of itself, nor of
    one of another class; classes: those of x (e, n) and of y (e, m). Without neighbours it is not moved.

    In float32 whatever the networks run in: near the end V is a small difference of two means as large as the data.
    """
    itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    others = [itself.new_zeros(1), itself]
    if classes is not None:
        own, of_data = classes
        others = [own.unsqueeze(2) != of_data.unsqueeze(1), itself | (own.unsqueeze(2) != own.unsqueeze(1))]
    with arithmetic("float32", x.device):
        towards, away = (_mean_near(x, near, width, kernel, other) for near, other in zip((y, x), others, strict=True))
    return towards - away  # the shifts' own x cancels


def _mean_near(x: Tensor, y: Tensor, width: Tensor, kernel: Kernel, other: Tensor) -> Tensor:
    """The mean of y (e, m, d) around each x (e, n, d), weighed by the kernel, `other` (n, m) or (e, n, m) left out; x
    itself where none is left."""
    alone = other.all(dim=-1, keepdim=True)
    logits = weights(distances(x, y), width, kernel).masked_fill(other & ~alone, -torch.inf)
    return torch.where(alone, x, logits.softmax(dim=2) @ y)


def weights(r: Tensor, width: Tensor, kernel: Kernel) -> Tensor:
    """The logarithm of the kernel at distances r (e, n, m), for widths (e,)."""
    scaled = r / width[:, None, None]
    return -scaled if kernel == "laplace" else -0.5 * scaled.square()


def distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|, (e, n, m), without cancellation."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
