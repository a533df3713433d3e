"""Points of the law that networks are trained on, with their classes where they are told some."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dmdlab.config import TeacherConfig
from dmdlab.laws import Law
from dmdlab.training.draws import Source, picked


def points(
    law: Law,
    config: TeacherConfig,
    of_sets: Sequence[torch.Generator],
    generators: Sequence[torch.Generator],
    shape: tuple[int, ...],
) -> Source:
    """Points (*shape, d) a step and, for conditional members, their classes `shape`: of each member's training set,
    which its generator in `of_sets` draws now, where `teacher.train_samples` asks for one, else fresh ones."""
    kinds = 1 + config.condition
    if config.train_samples:
        sets = [law.training_set(config.train_samples, g) for g in of_sets]
        return picked([[part for part in own[:kinds] if part is not None] for own in sets], shape, generators)

    def fresh(g: torch.Generator, steps: int) -> tuple[Tensor, ...]:
        whole = (steps, *shape)
        n = torch.Size(whole).numel()
        found = law.sample_labelled(n, g) if config.condition else (law.sample(n, g),)
        return tuple(part.unflatten(0, whole) for part in found)

    return Source(fresh, generators, kinds)
