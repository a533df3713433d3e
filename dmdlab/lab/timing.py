"""How long an ensemble's training takes on this machine: a cycle, an iteration and a denoiser call, timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from dmdlab.device.capture import WARM_UP
from dmdlab.device.compiling import Way, plain_way
from dmdlab.device.environment import synchronise
from dmdlab.diffusion import conditioned
from dmdlab.diffusion.applied import applied
from dmdlab.group import Group
from dmdlab.lab.stages import class_labels, flow_calls, with_teacher
from dmdlab.lab.trial import tried
from dmdlab.lab.turns import turn_flows
from dmdlab.laws import make_law
from dmdlab.networks import fresh_networks, networks_of
from dmdlab.randomness import generator
from dmdlab.training.distill import Distillation, cycles, distillation_from
from dmdlab.training.teacher import train_teacher

ENOUGH = 2e10
"""Operations of a cycle that is timed on a CPU, beyond which fewer members tell as much."""

MOST_MEMBERS = 8
"""Members of the ensembles that are timed on a CPU, where the speed of larger ones hardly differs."""

FEW = 4
"""Rows of a batch that stand for a whole one, where that would take too long to be timed (ours)."""

PATIENCE = 10.0
"""Seconds of an iteration from which on it is not timed a second time, though the first warms up (ours)."""

LEAST_SECONDS = 0.05
"""Time that one measurement takes at least; its median counts, so that the load of the machine does."""


def random_start(group: Group, device: torch.device, way: Way | None = None) -> Distillation:
    """The distillation of a group from random networks, a network teacher included: the arithmetic of a cycle does not
    depend on them. way: as for `Distillation`."""
    law = make_law(group.shared.law.model_dump()).to(device)
    fresh = fresh_networks(group.shared, law, len(group)).network
    rows = fresh.initialise([generator(e.seed, "trial") for e in group.members]).flat
    return distillation_from(group, law, rows.to(device), device, way)


@dataclass(frozen=True)
class Speed:
    """Seconds, measured for an ensemble: of one cycle, of one iteration of its start networks' training, and of one
    denoiser call at `measure.samples` noises."""

    cycle: float
    teaching: float
    call: float

    def seconds(self, group: Group, members: int, flows: float = 0.0) -> float:
        """Roughly how long the group trains, this having been measured with so many members; and `flows` of
        `measure.samples` rows of one network each."""
        share, calls = len(group) / members, flow_calls(group.shared, group.shared.teacher.steps)
        flows += 2 * len(group.origins) + turn_flows(group)
        starts = group.teaching * self.teaching + flows * calls * self.call
        return share * cycles(group) * self.cycle + starts / members


def timed(group: Group, device: torch.device, way: Way | None = None) -> Speed:
    """`Speed` of this ensemble on this device, measured now; by default as trainings run that are not compiled."""
    way = way or plain_way(device)
    loop, first = random_start(group, device, way), group.shared
    cycle = _seconds(loop.cycle, device)
    law = make_law(first.law.model_dump()).to(device)
    long, seeds = with_teacher(first, iterations=10**4), [e.seed for e in group.members]
    denoiser = fresh_networks(first, law, len(group), device)
    training = train_teacher(long, seeds, law, denoiser, report_every=1, way=way)
    teaching = _seconds(lambda: next(training), device)
    z = torch.randn(len(group), first.measure.samples, law.dim, device=device)
    teacher = conditioned(loop.teacher, class_labels(first, z))
    call = _seconds(lambda: applied(lambda part: teacher(part, first.noise.sigma_max), z, device), device)
    return Speed(cycle, teaching, call)


def extrapolated_speed(group: Group, device: torch.device) -> Speed:
    """`Speed` of one member whose cycle would take too long to be timed: that of a start network's training at a batch
    of `FEW`, timed once or twice, for all operations that `tried` counts."""
    first, cost = group.shared, tried(group)
    few = with_teacher(first, iterations=10**4, batch=min(FEW, first.teacher.batch))
    law = make_law(first.law.model_dump()).to(device)
    fresh = fresh_networks(first, law, 1).network
    rows = fresh.initialise([generator(first.seed, "trial")]).flat
    denoiser = networks_of(first, law, rows, device)
    training = train_teacher(few, [first.seed], law, denoiser, report_every=1, way=plain_way(device, 1))
    times: list[float] = []
    while not times or (len(times) < 2 and times[0] < PATIENCE):
        begun = time.perf_counter()
        next(training)
        times.append(time.perf_counter() - begun)
    each = min(times) * first.teacher.batch / few.teacher.batch / cost.teaching_flops  # seconds of an operation
    calls = flow_calls(first, first.teacher.steps)
    return Speed(each * cost.cycle_flops, each * cost.teaching_flops, each * cost.flow_flops / calls)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """The median time of a call, once it is captured or recorded where it will be."""

    def once() -> float:
        start = time.perf_counter()
        call()
        synchronise(device)
        return time.perf_counter() - start

    for _ in range(WARM_UP + 1 if device.type == "cuda" else 2):
        once()
    times = [once()]
    while sum(times) < LEAST_SECONDS:
        times.append(once())
    return median(times)
