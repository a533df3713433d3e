"""Which runs train together, decided before anything is trained: ensembles that fit the memory and keep workers busy.

Runs of equal shape can train as one ensemble. On a GPU the largest one that fits is the fastest. On a CPU, a process a
core: an ensemble is shared among workers that would have nothing to do, but members of small networks stay together,
since they save each other time; large networks fill a core by themselves.

Memory is the device's. What a run on a GPU takes of the RAM (its process, the arrays that it is measured by) is not
planned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from dmdlab.config import Experiment, InputError
from dmdlab.device.compiling import COMPILE_FROM, Way, by_rule, cache_folder, plain_way, way_on, why_not_compiled
from dmdlab.device.limits import COMPILING, process_bytes, size_text, threads_each
from dmdlab.device.limits import memory as spare_memory
from dmdlab.device.precision import precision_on
from dmdlab.group import Group, group_by_shape
from dmdlab.lab.beside import worth
from dmdlab.lab.run import DISTILLING, MEASURING, START_NETWORKS
from dmdlab.lab.timing import ENOUGH, FEW, MOST_MEMBERS, Speed, extrapolated_speed, timed
from dmdlab.lab.trial import large, tried
from dmdlab.lab.turns import turn_flows
from dmdlab.networks import NETWORKS, network_settings
from dmdlab.training.distill import check_way, cycles, updates
from dmdlab.trouble import counted

COMPANY = 4
"""Members of small networks that stay together at least when workers share an ensemble (`docs/performance.md`: alone, a
student of the quickstart takes three times as long as among sixteen)."""

COMPANY_ON_GPU = 16
"""The same where several GPUs share an ensemble (ours, not measured: one GPU is far from full with fewer)."""

SLACK = 0.25
"""Part of a worker's share by which an ensemble may exceed it before it is shared (ours)."""

LARGE = 3e9
"""Operations of one member's cycle from which on its network fills a core by itself (ours: at width 128, 1.5e9, company
still pays; of sixteen at the paper's 15e9 each gains a sixth)."""


class TooLarge(InputError):
    """A run does not fit into the memory even alone."""


@dataclass(frozen=True)
class Part:
    """One ensemble: its runs, the memory of its process at most by estimate, the counted arithmetic of its networks,
    and the memory of the process that calibrates beside it (`dmdlab.lab.beside`), 0 where there is none."""

    group: Group
    bytes: int
    flops: int
    beside: int = 0


@dataclass(frozen=True)
class Plan:
    """What will train together, the longest first.

    device: where. workers: processes at work at a time, on each of `gpus` where there are any. share: bytes that each
    of them may take, all that it takes. decisions: sentences on what was decided. way: how all train, None for the rule
    (`dmdlab.device.compiling`). gpus: several of this machine, as CUDA_VISIBLE_DEVICES names them.
    """

    parts: list[Part]
    device: torch.device
    workers: int
    share: int
    decisions: list[str]
    way: Way | None = None
    gpus: tuple[str, ...] = ()

    @property
    def processes(self) -> int:
        """All that are at work at a time."""
        return self.workers * max(1, len(self.gpus))

    @property
    def lanes(self) -> int:
        """How many train at a time: workers of a CPU, or GPUs, on each of which training takes turns."""
        return self.workers if self.device.type == "cpu" else max(1, len(self.gpus))

    @property
    def runs(self) -> int:
        """How many will be trained."""
        return sum(len(part.group) for part in self.parts)

    @property
    def bytes(self) -> int:
        """What all processes at work together take at most, by estimate."""
        return sum(sorted((part.bytes + part.beside for part in self.parts), reverse=True)[: self.processes])

    @property
    def calibrated_beside(self) -> frozenset[str]:
        """The ids of all runs whose teachers are calibrated beside their training."""
        return frozenset(id for part in self.parts if part.beside for id in part.group.ids)

    def summary(self) -> str:
        """One sentence."""
        largest = max((len(part.group) for part in self.parts), default=0)
        most = max((part.bytes for part in self.parts), default=0)
        return (
            f"{counted(self.runs, 'run')} in {counted(len(self.parts), 'ensemble')} of up to {largest}, "
            f"{counted(self.processes, 'worker')}; each process takes at most {size_text(most)} by estimate, of "
            f"{size_text(self.share)}; all together {size_text(self.bytes)}."
        )

    def seconds(self, measuring: Sequence[float]) -> list[float]:
        """Roughly how long every part trains, and goes through so many flows of n rows, `measuring`. Each shape is
        timed now, on a worker's share of the threads, `large` networks on a CPU once each."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads_each(self.processes))
        try:
            measured: dict[tuple[object, int], Speed] = {}
            found = []
            for part, flows in zip(self.parts, measuring, strict=True):
                if self._scaled(part):
                    alike = (part.group.shared.network.model_dump_json(), part.group.shared.law.dim)
                    if alike not in measured:
                        measured[alike] = extrapolated_speed(part.group, self.device)
                    found.append(measured[alike].seconds(part.group, 1, flows))
                    continue
                few = max(1, min(MOST_MEMBERS, int(ENOUGH / tried(part.group).cycle_flops)))
                most = few if self.device.type == "cpu" else len(part.group)
                some = Group(part.group.members[:most])
                key = (part.group.shape, len(some))
                if key not in measured:
                    measured[key] = timed(some, self.device)
                found.append(measured[key].seconds(part.group, len(some), flows))
            return found
        finally:
            torch.set_num_threads(before)

    def how_timed(self) -> str:
        """A sentence on times that are scaled, if any is."""
        names = "; ".join(dict.fromkeys(shape_name(part.group) for part in self.parts if self._scaled(part)))
        how = f"scaled by counted operations from a training at a batch of {FEW}, tried for one shape of each network."
        return f"Times of {names}: {how}" if names else ""

    def _scaled(self, part: Part) -> bool:
        return self.device.type == "cpu" and large(part.group)


def plan(
    experiments: Sequence[Experiment],
    device: torch.device,
    workers: int = 1,
    memory: int | None = None,
    way: Way | None = None,
    gpus: Sequence[str] = (),
    sharers: int | None = None,
) -> Plan:
    """Every experiment in one part, each part within its worker's share of `memory` bytes (measured when None), from
    which what the processes themselves take is taken off first. way: as for `Distillation`. gpus: as for `Plan`, all
    alike; workers and memory are then those of one. sharers: workers, or GPUs, here or elsewhere, that the work is
    shared out among; by default those of this plan.

    Raises `InputError` when the device lacks a run's precision or cannot go this `way`, or a run does not fit even
    alone and with one worker.
    """
    for wanted in {e.network.precision for e in experiments}:
        precision_on(device, wanted)
    groups = group_by_shape(experiments)
    for group in groups:
        check_way(group.shared, way)
    way, compiling, extra = _compiling(groups, device, way)
    each = process_bytes(device) + extra
    heaviest = max(groups, key=lambda g: tried(g).bytes(1, device.type), default=None)
    able, room = _able(heaviest, device, workers, memory, extra)
    own = room // able
    if memory is not None and heaviest is not None and not tried(heaviest).most_members(own, device.type):
        spared = "" if device.type == "cpu" else " and a tenth to spare"
        left = f"{size_text(memory)} as stated leaves {size_text(own)} beside {size_text(each)} for the process{spared}"
        raise TooLarge(too_large(heaviest, device, left))
    among = sharers or (able if device.type == "cpu" else max(1, len(gpus)))
    fitting = _fitting(groups, own, device, among)
    parts = [_part(g, each, own, device, able) for g in fitting]
    parts.sort(key=lambda part: part.flops, reverse=True)  # the long ones first: no late straggler
    decisions = [_room_in_words(own, each, room, memory, able, device)]
    if able < workers:
        assert heaviest is not None
        needs = size_text(tried(heaviest).bytes(1, device.type))
        decisions.append(
            f"{able} of {workers} workers, since one run of {shape_name(heaviest)} needs {needs} and its process "
            f"{size_text(each)}."
        )
    decisions += compiling + _splits(groups, parts, own, device)
    if beside := max((part.beside for part in parts), default=0):
        decisions.append(f"Teachers are calibrated beside the training, in a process of {size_text(beside)}.")
    return Plan(parts, device, able, own + each, decisions, way, tuple(gpus))


def _part(group: Group, each: int, own: int, device: torch.device, workers: int) -> Part:
    """A group as a part. each: bytes of the process alone; own: those that a worker's ensemble may take. Calibrations
    that are worth a process have one where a worker has a thread to spare, and room."""
    cost, work = tried(group), flops(group)
    takes, beside = cost.bytes(len(group), device.type), process_bytes(device) + cost.calibrating(device.type)
    spare = device.type == "cpu" and threads_each(workers) > 1 and takes + beside <= own
    return Part(group, each + takes, work, beside if spare and worth(group, work) else 0)


def _compiling(groups: Sequence[Group], device: torch.device, way: Way | None) -> tuple[Way | None, list[str], int]:
    """How all train, a sentence on what will be compiled, if anything is, and the bytes that it takes of a process."""
    trained = [
        (max(updates(g), g.shared.teacher.iterations), NETWORKS[g.shared.network.kind].gains_by_compiling)
        for g in groups
    ]
    if way is None and any(by_rule(*each) for each in trained) and (why := why_not_compiled(device)):
        return plain_way(device), [f"Nothing is compiled, so long trainings are slower: {why}."], 0
    count = sum(way_on(device, length, way, gains) == "compiled" for length, gains in trained)
    if not count:
        return way, [], 0
    why = "as asked" if way else f"having {COMPILE_FROM} updates or more"
    said = (
        f"{count} of {counted(len(groups), 'shape')} of runs: compiled, {why}. A shape is compiled once on this "
        f"machine (about 20 s for a small network on a CPU, kept in {cache_folder()}), and trains faster than is "
        "estimated here."
    )
    return way, [said], COMPILING if device.type == "cpu" else 0


def _able(
    heaviest: Group | None, device: torch.device, workers: int, stated: int | None, extra: int
) -> tuple[int, int]:
    """How many workers can each hold a run of the heaviest group, one at least, and the bytes for all ensembles. extra:
    what a process takes beside what all take."""
    for able in range(workers, 1, -1):
        room = max(0, spare_memory(device, able, stated) - able * extra)
        if heaviest is None or tried(heaviest).most_members(room // able, device.type):
            return able, room
    return 1, max(0, spare_memory(device, 1, stated) - extra)


def ensembles(experiments: Sequence[Experiment], memory: int, device: torch.device, workers: int = 1) -> list[Group]:
    """Experiments grouped by shape, in order of first appearance, each group split into parts that fit `memory` bytes.

    With several workers of a CPU a group that is more than one worker's share of all the arithmetic is shared among
    them. Raises `InputError` when a run does not fit even alone.
    """
    return _fitting(group_by_shape(experiments), memory, device, workers if device.type == "cpu" else 1)


def _fitting(groups: Sequence[Group], memory: int, device: torch.device, sharers: int) -> list[Group]:
    """sharers: workers of a CPU, or GPUs."""
    share, company = sum(flops(g) for g in groups) / sharers, COMPANY if device.type == "cpu" else COMPANY_ON_GPU
    found: list[Group] = []
    for group in groups:
        cost = tried(group)
        most = cost.most_members(memory, device.type)
        if not most:
            raise TooLarge(too_large(group, device, f"{size_text(memory)} may be taken"))
        together = company if cost.cycle_flops < LARGE else 1
        wanted = math.ceil(flops(group) / share - SLACK) if sharers > 1 else 1
        found += split(group, max(-(-len(group) // most), min(wanted, len(group) // together)), most)
    return found


def flops(group: Group) -> int:
    """Counted arithmetic of an ensemble's training, and of `measure.turns`."""
    return sum(work_by_stage(group).values())


def work_by_stage(group: Group) -> dict[str, int]:
    """The same by stage, under the names that `Progress` gives them: a start network and its flow for each seed; the
    cycles of each run; the turns of each, if any."""
    cost = tried(group)
    starts = group.teaching * cost.teaching_flops + len(group.origins) * 2 * cost.flow_flops
    turns = round(turn_flows(group) * cost.flow_flops)
    work = {START_NETWORKS: starts, DISTILLING: len(group) * cycles(group) * cost.cycle_flops}
    return work | ({MEASURING: turns} if turns else {})


def split(group: Group, parts: int, most: int) -> list[Group]:
    """So many parts, as equal as can be and none above `most`; runs of one seed share a start network and stay together
    where they can."""
    if parts <= 1:
        return [group]
    members = sorted(group.members, key=lambda e: e.seed)
    even = [len(members) * i // parts for i in range(parts + 1)]
    edges = [0, *(i for i, (a, b) in enumerate(pairwise(members), 1) if a.seed != b.seed), len(members)]
    whole = [min(edges, key=lambda edge: abs(edge - at)) for at in even]
    fits = all(0 < b - a <= most for a, b in pairwise(whole))
    return [Group(tuple(members[a:b])) for a, b in pairwise(whole if fits else even)]


def too_large(group: Group, device: torch.device, available: str) -> str:
    """The sentence for a run that does not fit even alone."""
    needs = size_text(tried(group).bytes(1, device.type))
    return (
        f"one run of {shape_name(group)} needs {needs} on {device} by estimate, but {available}: make the network, "
        "student.batch or measure.samples smaller, or choose another --device, fewer --workers or more --memory"
    )


def _room_in_words(own: int, each: int, room: int, stated: int | None, workers: int, device: torch.device) -> str:
    free = "of what is free on the GPU" if device.type == "cuda" else "of the available RAM"
    where = f"{size_text(room)} {free}" if stated is None else f"{size_text(stated)} as stated"
    return (
        f"Each ensemble may take {size_text(own)} ({where}, {counted(workers, 'worker')}), beside {size_text(each)} "
        "that every process takes."
    )


def _splits(groups: Sequence[Group], parts: Sequence[Part], memory: int, device: torch.device) -> list[str]:
    """How the runs of each shape were split, and why; one sentence for all that were not."""
    sizes: dict[object, list[int]] = {}
    for part in parts:
        sizes.setdefault(part.group.shape, []).append(len(part.group))
    told = [(group, sorted(sizes[group.shape], reverse=True)) for group in groups]
    whole = [group for group, own in told if len(own) == 1]
    split_up = [_split_sentence(group, own, memory, device) for group, own in told if len(own) > 1]
    once = f"{len(whole)} of {counted(len(groups), 'shape')} of runs: each as one ensemble."
    return ([once] if whole else []) + split_up


def _split_sentence(group: Group, sizes: Sequence[int], memory: int, device: torch.device) -> str:
    between = f"{sizes[0]}" + (f" to {sizes[-1]}" if sizes[-1] != sizes[0] else "")
    head = f"{shape_name(group)}: {len(group)} runs as {len(sizes)} ensembles of {between}, "
    if tried(group).most_members(memory, device.type) < len(group):
        return f"{head}since all together would need more than {size_text(memory)}."
    company = COMPANY if device.type == "cpu" else COMPANY_ON_GPU
    small = f"members of networks this small stay together by {company} at least"
    why = small if tried(group).cycle_flops < LARGE else "networks this large fill a core by themselves"
    return f"{head}to keep all {'workers' if device.type == 'cpu' else 'GPUs'} busy; {why}."


def shape_name(group: Group) -> str:
    """What tells most shapes of runs apart: 'mixture d=32, residual 64 x 3'."""
    e = group.shared
    return f"{e.law.name} d={e.law.dim}, {network_name(e)}"


def network_name(experiment: Experiment) -> str:
    """'residual 64 x 3': the kind, and the width and depth of those that have them."""
    settings = network_settings(experiment.network)
    sizes = [str(getattr(settings, key)) for key in ("width", "depth") if hasattr(settings, key)]
    return " ".join([experiment.network.kind, " x ".join(sizes)]).strip()
