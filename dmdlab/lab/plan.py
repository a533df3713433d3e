"""Which runs train together: one ensemble of all runs that are alike in shape, as many at a time as fit."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from dmdlab.config import Experiment, flatten

MEMBER_KEYS = {"seed", "student.init", "student.learning_rate", "fake_score.learning_rate"}
"""The keys in which members of one ensemble may differ."""

MEMORY = 4 * 2**30
"""Bytes that one ensemble may take by estimate (ours: fits a laptop)."""


def shape(experiment: Experiment) -> tuple[tuple[str, Any], ...]:
    """Every key but the members' own: runs of equal shape train as one."""
    return tuple((k, repr(v)) for k, v in flatten(experiment).items() if k not in MEMBER_KEYS)


def ensembles(experiments: Sequence[Experiment]) -> list[list[Experiment]]:
    """Experiments grouped by shape, in order of first appearance, each group split into parts that fit `MEMORY`."""
    groups: dict[tuple[tuple[str, Any], ...], list[Experiment]] = {}
    for experiment in experiments:
        groups.setdefault(shape(experiment), []).append(experiment)
    return [part for group in groups.values() for part in _split(group, most_members(group[0]))]


def most_members(experiment: Experiment) -> int:
    """How many members of this shape fit `MEMORY`, at least one."""
    return max(1, MEMORY // member_bytes(experiment))


def member_bytes(experiment: Experiment) -> int:
    """An estimate of one member's memory in training, in bytes: parameters, activations, draws, paired arrays."""
    d, width, depth = experiment.law.dim, experiment.network.width, experiment.network.depth
    batch, updates, n = experiment.student.batch, experiment.fake_score.updates, experiment.measure.samples
    parameters = (2 * d + experiment.network.time_features) * width + 2 * depth * width * width
    activations = batch * (updates * (d + width) + 6 * depth * width)
    draws = max(1 << 20, 2 * (updates + 1) * batch * d)
    rotation = d * d
    return 4 * (12 * parameters + 2 * activations + 2 * draws + rotation + 8 * n * d)


def cost(group: Sequence[Experiment]) -> float:
    """Rough arithmetic of an ensemble, for putting long ones first: multiplications of its distillation."""
    e = group[0]
    forward = e.network.width * (2 * e.law.dim + e.network.time_features + 2 * e.network.depth * e.network.width)
    return len(group) * e.student.iterations * e.student.batch * (forward + 500 * e.law.dim)


def _split(group: list[Experiment], most: int) -> list[list[Experiment]]:
    """Parts of at most `most`, as equal as can be; runs of one seed stay together where they can."""
    parts = -(-len(group) // most)
    group = sorted(group, key=lambda e: e.seed) if parts > 1 else group
    bounds = [len(group) * i // parts for i in range(parts + 1)]
    return [group[a:b] for a, b in pairwise(bounds)]
