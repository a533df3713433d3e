"""Which runs train together, decided before anything is trained: ensembles that fit the memory and keep workers busy.

Runs that are alike in shape can train as one ensemble. On a GPU the largest one that fits is the fastest. On a CPU, a
process a core: an ensemble is shared among workers that would have nothing to do, but members of small networks stay
together, since they save each other time; wide networks fill a core by themselves.

Memory is the device's. What a run on a GPU takes of the RAM (its process, the arrays that it is measured by) is not
planned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from dmdlab.config import Experiment, InputError, flatten
from dmdlab.device.limits import memory as free_memory
from dmdlab.device.limits import process_bytes, size_text
from dmdlab.lab.cost import cycle_flops, cycles, flow_flops, teacher_flops
from dmdlab.lab.footprint import ensemble_bytes, member_bytes, most_members

MEMBER_KEYS = {"seed", "student.init", "student.learning_rate", "fake_score.learning_rate"}
"""The keys in which members of one ensemble may differ."""

START_NETWORKS, DISTILLING = "training start networks", "distilling"
"""The stages of a run in which its arithmetic lies."""

COMPANY = 4
"""Members of small networks that stay together at least when workers share an ensemble (`docs/performance.md`: alone, a
student of the quickstart takes three times as long as among sixteen)."""

SLACK = 0.25
"""Part of a worker's share by which an ensemble may exceed it before it is shared (ours)."""

WIDE = 256
"""From this width on a network fills a core by itself (ours: at 384 sixteen together gain a sixth)."""


@dataclass(frozen=True)
class Part:
    """One ensemble: its runs, its memory at most by estimate, the counted arithmetic of its networks."""

    experiments: list[Experiment]
    bytes: int
    flops: int


@dataclass(frozen=True)
class Plan:
    """What will train together, the longest first.

    workers: processes at work at a time. memory: bytes for the ensembles of all of them, beside what every process
    takes by itself. decisions: sentences on what was decided.
    """

    parts: list[Part]
    workers: int
    memory: int
    decisions: list[str]

    def summary(self) -> str:
        """One sentence."""
        most = max((part.bytes for part in self.parts), default=0)
        sizes = [len(part.experiments) for part in self.parts]
        return (
            f"{_counted(sum(sizes), 'run')} in {_counted(len(sizes), 'ensemble')} of up to {max(sizes, default=0)}, "
            f"{_counted(self.workers, 'worker')}; at most {size_text(most)} each by estimate, of "
            f"{size_text(self.memory // self.workers)}."
        )


def plan(experiments: Sequence[Experiment], device: torch.device, workers: int = 1, memory: int | None = None) -> Plan:
    """Every experiment in one part, each part within its worker's share of `memory` bytes (measured when None), from
    which what the processes themselves take is taken off first.

    Raises `InputError` when a run does not fit even alone and with one worker.
    """
    stated, each = memory, process_bytes(device)
    groups = alike(experiments)
    heaviest = max((heavy(g, device.type) for g in groups), key=lambda e: member_bytes(e, device.type), default=None)
    able, memory = _able(heaviest, device, workers, memory)
    own = memory // able
    if stated is not None and heaviest is not None and not most_members(heaviest, own, device.type):
        spared = "" if device.type == "cpu" else " and a tenth to spare"
        left = f"{size_text(stated)} as stated leaves {size_text(own)} beside {size_text(each)} for the process{spared}"
        raise InputError(too_large(heaviest, device, left))
    parts = [
        Part(part, ensemble_bytes(heavy(part, device.type), len(part), device.type), flops(part))
        for part in ensembles(experiments, own, device, able)
    ]
    parts.sort(key=lambda part: part.flops, reverse=True)  # the long ones first: no late straggler
    free = "of what is free on the GPU" if device.type == "cuda" else "of the available RAM"
    where = f"{size_text(memory)} {free}" if stated is None else f"{size_text(stated)} as stated"
    decisions = [
        f"Each ensemble may take {size_text(own)} ({where}, {_counted(able, 'worker')}), beside {size_text(each)} that "
        "every process takes."
    ]
    if able < workers:
        assert heaviest is not None
        decisions.append(
            f"{able} of {workers} workers, since one run of {shape_name(heaviest)} needs "
            f"{size_text(member_bytes(heaviest, device.type))} and its process {size_text(each)}."
        )
    return Plan(parts, able, memory, decisions + _splits(groups, parts, own, device))


def _able(heaviest: Experiment | None, device: torch.device, workers: int, stated: int | None) -> tuple[int, int]:
    """How many workers can each hold the heaviest run, one at least, and the bytes for all of them together."""
    for able in range(workers, 1, -1):
        memory = free_memory(device, able, stated)
        if heaviest is None or most_members(heaviest, memory // able, device.type):
            return able, memory
    return 1, free_memory(device, 1, stated)


def ensembles(
    experiments: Sequence[Experiment], memory: int, device: torch.device, workers: int = 1
) -> list[list[Experiment]]:
    """Experiments grouped by shape, in order of first appearance, each group split into parts that fit `memory` bytes.

    With several workers a group that is more than one worker's share of all the arithmetic is shared among them.
    Raises `InputError` when a run does not fit even alone.
    """
    groups = alike(experiments)
    share = sum(flops(g) for g in groups) / workers
    found: list[list[Experiment]] = []
    for group in groups:
        e = heavy(group, device.type)
        most = most_members(e, memory, device.type)
        if not most:
            raise InputError(too_large(e, device, f"{size_text(memory)} may be taken"))
        company = COMPANY if e.network.width < WIDE else 1
        wanted = math.ceil(flops(group) / share - SLACK) if device.type == "cpu" and workers > 1 else 1
        found += split(group, max(-(-len(group) // most), min(wanted, len(group) // company)), most)
    return found


def shape(experiment: Experiment) -> tuple[tuple[str, Any], ...]:
    """Every key but the members' own: runs of equal shape train as one."""
    return tuple((k, repr(v)) for k, v in flatten(experiment).items() if k not in MEMBER_KEYS)


def alike(experiments: Sequence[Experiment]) -> list[list[Experiment]]:
    """Experiments grouped by shape, in order of first appearance."""
    groups: dict[tuple[tuple[str, Any], ...], list[Experiment]] = {}
    for experiment in experiments:
        groups.setdefault(shape(experiment), []).append(experiment)
    return list(groups.values())


def flops(group: Sequence[Experiment]) -> int:
    """Counted arithmetic of an ensemble's networks."""
    return sum(work_by_stage(group).values())


def work_by_stage(group: Sequence[Experiment]) -> dict[str, int]:
    """The same by stage, under the names that `Progress` gives them: a start network and, for a network teacher, its
    flow for each seed; the cycles of each run."""
    e = group[0]
    flows = 2 * flow_flops(e) if e.teacher.kind == "network" else 0
    starts = len({own.seed for own in group}) * (e.teacher.iterations * teacher_flops(e) + flows)
    return {START_NETWORKS: starts, DISTILLING: sum(cycles(own) * cycle_flops(own) for own in group)}


def heavy(group: Sequence[Experiment], device_type: str) -> Experiment:
    """The member that takes the most memory: a rotated one has a matrix more."""
    kinds = {e.student.init: e for e in group}
    return max(kinds.values(), key=lambda e: member_bytes(e, device_type))


def split(group: Sequence[Experiment], parts: int, most: int) -> list[list[Experiment]]:
    """So many parts, as equal as can be and none above `most`; runs of one seed share a start network and stay together
    where they can."""
    if parts <= 1:
        return [list(group)]
    group = sorted(group, key=lambda e: e.seed)
    even = [len(group) * i // parts for i in range(parts + 1)]
    edges = [0, *(i for i, (a, b) in enumerate(pairwise(group), 1) if a.seed != b.seed), len(group)]
    whole = [min(edges, key=lambda edge: abs(edge - at)) for at in even]
    fits = all(0 < b - a <= most for a, b in pairwise(whole))
    return [group[a:b] for a, b in pairwise(whole if fits else even)]


def too_large(e: Experiment, device: torch.device, available: str) -> str:
    """The sentence for a run that does not fit even alone."""
    return (
        f"one run of {shape_name(e)} needs {size_text(member_bytes(e, device.type))} on {device} by estimate, but "
        f"{available}: make network.width, student.batch or measure.samples smaller, or choose another --device, "
        "fewer --workers or more --memory"
    )


def _splits(
    groups: Sequence[Sequence[Experiment]], parts: Sequence[Part], memory: int, device: torch.device
) -> list[str]:
    """How the runs of each shape were split, and why; one sentence for all that were not."""
    sizes: dict[object, list[int]] = {}
    for part in parts:
        sizes.setdefault(shape(part.experiments[0]), []).append(len(part.experiments))
    told = [(group, sorted(sizes[shape(group[0])], reverse=True)) for group in groups]
    whole = [group for group, own in told if len(own) == 1]
    split_up = [_split_sentence(group, own, memory, device) for group, own in told if len(own) > 1]
    once = f"{len(whole)} of {_counted(len(groups), 'shape')} of runs: each as one ensemble."
    return ([once] if whole else []) + split_up


def _split_sentence(group: Sequence[Experiment], sizes: Sequence[int], memory: int, device: torch.device) -> str:
    between = f"{sizes[0]}" + (f" to {sizes[-1]}" if sizes[-1] != sizes[0] else "")
    head = f"{shape_name(group[0])}: {len(group)} runs as {len(sizes)} ensembles of {between}, "
    if most_members(heavy(group, device.type), memory, device.type) < len(group):
        return f"{head}since all together would need more than {size_text(memory)}."
    small = f"members of networks this small stay together by {COMPANY} at least"
    why = small if group[0].network.width < WIDE else "networks this wide fill a core by themselves"
    return f"{head}to keep all workers busy; {why}."


def shape_name(e: Experiment) -> str:
    """What tells most shapes of runs apart."""
    return f"{e.law.name} d={e.law.dim} width={e.network.width}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
