"""What a student of several steps does in its first one, and under other later noises than those of the run."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dmdlab.diffusion.applied import applied
from dmdlab.pairing.steps import StepOutputs
from dmdlab.training.student import Student, later_noises

REDRAWS = 4
"""How often later noises are drawn anew (ours: six pairs of draws)."""


def step_outputs(
    student: Student, seeds: Sequence[int], noise: Tensor, device: torch.device, label: Tensor | None = None
) -> list[StepOutputs | None]:
    """Those of each member, None of one-step students. noise: the run's rows (e, n, d), on the CPU; label: their
    classes (e, n), or None."""
    if len(student.levels) == 1:
        return [None] * len(seeds)
    _, n, d = noise.shape
    first = applied(student.first, noise, device, label).numpy()
    redrawn = [
        applied(student, noise, device, label, later_noises(student, seeds, d, n, f"redrawn noise {r}")).numpy()
        for r in range(REDRAWS if student.noises else 0)
    ]
    return [StepOutputs(first[i], [outputs[i] for outputs in redrawn]) for i in range(len(seeds))]
