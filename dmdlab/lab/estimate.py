"""How long a plan will roughly take, without training anything.

The networks' arithmetic is counted (`lab.cost`). How fast this machine does it is measured in the call, on what it
would do: one loss with its gradient of an untrained network of the part's own shape and precision, and one prediction
of its exact law; on a GPU replayed for all the part's members, as in training. What training adds to these, such as
AdamW, random numbers and the DMD direction, is `BESIDE`. Not in the estimate: measures with their transport problems,
calibration, and starting up.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.device.capture import WARM_UP, Replayed
from dmdlab.device.environment import synchronise
from dmdlab.device.fusing import fusing, graph_and_fusing
from dmdlab.device.limits import threads_each
from dmdlab.device.precision import arithmetic, precision_on
from dmdlab.lab.cost import cycles, flow_calls, step_flops
from dmdlab.lab.plan import Part, Plan, shape
from dmdlab.laws import make_law
from dmdlab.randomness import generator
from dmdlab.training.teacher import denoiser_for, denoising_loss, ensemble_of

BESIDE = 1.5
"""Time of a training over that of its losses and gradients (measured on a CPU, widths 64 to 384, one to sixteen
members: 0.9 to 2.9, the more the smaller the network). With it, estimates were 0.5 to 1.2 times what shortened
quickstarts of 1 to 8 members took without their measures, on a machine that others used, too. Not yet compared with
training on a GPU."""

MOST_MEMBERS = 8
"""Members of the ensembles that are measured on a CPU, where the speed of larger ones hardly differs."""

LEAST_SECONDS = 0.05
"""Time that one measurement takes at least; its median counts, so that the load of the machine does."""


@dataclass(frozen=True)
class Speed:
    """Measured for one shape: operations per second of a loss with its gradient, and seconds that the exact law takes
    for one member's batch (0 for a network teacher)."""

    step: float
    law_seconds: float


def seconds(part: Part, speed: Speed) -> float:
    """Roughly how long this ensemble trains."""
    e, members = part.experiments[0], len(part.experiments)
    seeds = len({own.seed for own in part.experiments})
    law = speed.law_seconds * (members * cycles(e) + seeds * 2 * flow_calls(e) * e.measure.samples / e.student.batch)
    if e.teacher.target == "posterior":
        law += speed.law_seconds * seeds * e.teacher.iterations * e.teacher.batch / e.student.batch
    return BESIDE * part.flops / speed.step + law


def makespan(times: Sequence[float], workers: int) -> float:
    """When the last of so many workers is done that take the longest ensembles first."""
    busy = [0.0] * max(1, workers)
    for own in sorted(times, reverse=True):
        busy[busy.index(min(busy))] += own
    return max(busy)


def speed(e: Experiment, members: int, device: torch.device, graph: bool | None = None) -> Speed:
    """`Speed` of an ensemble like this one, measured now. graph: as for `Distillation`."""
    graph, fuse = graph_and_fusing(device, graph, None)
    n, law = e.student.batch, make_law(e.law.model_dump()).to(device)
    precision = precision_on(device, e.network.precision)
    denoiser = denoiser_for(members, e.network, law, device)
    network = ensemble_of(denoiser)
    network.initialise([generator(i, "speed") for i in range(members)])
    gradient = torch.empty_like(network.flat)
    batch = torch.randn(members, n, law.dim, device=device), torch.ones(members, n, 1, device=device)

    def step(x: Tensor, sigma: Tensor) -> Tensor:
        with arithmetic(precision, device), fusing(fuse):
            return network.gradient(denoising_loss(denoiser, x, x, sigma, 1.0), gradient)

    took = _seconds(Replayed(step, graph), batch)
    exact = _seconds(Replayed(law.denoise, graph), batch) / members if e.teacher.kind == "exact" else 0.0
    return Speed(members * step_flops(e, n) / took, exact)


def _seconds(call: Replayed, inputs: tuple[Tensor, ...]) -> float:
    """The median time of a call, once it is captured where it will be."""

    def timed() -> float:
        start = time.perf_counter()
        call(*inputs)
        synchronise(inputs[0].device)
        return time.perf_counter() - start

    for _ in range(WARM_UP + 1 if call.graph else 1):
        timed()
    times = [timed()]
    while sum(times) < LEAST_SECONDS:
        times.append(timed())
    return median(times)


def plan_seconds(plan: Plan, device: torch.device) -> list[float]:
    """`seconds` of every part, each shape measured once, on a worker's share of the threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_each(plan.workers))
    try:
        measured: dict[tuple[object, int], Speed] = {}
        times = []
        for part in plan.parts:
            e, members = part.experiments[0], len(part.experiments)
            if device.type == "cpu":
                members = min(members, MOST_MEMBERS)
            key = (shape(e), members)
            if key not in measured:
                measured[key] = speed(e, members, device)
            times.append(seconds(part, measured[key]))
        return times
    finally:
        torch.set_num_threads(before)
