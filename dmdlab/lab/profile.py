"""Where the time of a training cycle goes, by kind of operator, and how far its matrix products are from the limit.

A cycle is timed undisturbed first, then watched by torch's profiler, which slows small operators down: shares come from
the second, times are those shares of the first. On a CPU the time of an operator is what it spends outside of the
operators that it calls, and what no operator accounts for is Python and overhead. On a GPU it is the time of its
kernels, taken from the same cycle without its graph, which hides who launched them; the rest of the replayed cycle's
wall time is the GPU waiting.
"""

import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, record_function

from benchmarks.operator_kinds import OVERHEAD, kind_of
from dmdlab.config import Experiment, InputError
from dmdlab.device.allocator import tune_allocator
from dmdlab.device.capture import WARM_UP
from dmdlab.device.environment import product_rate, synchronise
from dmdlab.device.fusing import graph_and_fusing
from dmdlab.device.limits import memory, size_text
from dmdlab.device.precision import Precision, precision_on
from dmdlab.lab.cost import cycle_flops, teacher_flops
from dmdlab.lab.plan import ensembles
from dmdlab.laws import make_law
from dmdlab.randomness import block_steps, generator, rotation
from dmdlab.training.distill import Distillation, Student
from dmdlab.training.teacher import denoiser_for, ensemble_of, train_teacher

WATCHED = "dmdlab::watched"
"""The profiler's name of the stretch that is looked at."""

TRACED = 3
"""Cycles in a trace: enough to see one begin and end, few enough for a browser."""

MOST_CYCLES = 10_000
"""Cycles that a profile may average."""


@dataclass(frozen=True)
class Work:
    """Something to profile. step: one cycle as runs do it. eager: where that replays a graph, the same operator by
    operator. flops: counted matrix-product operations of a cycle, all members together. block: cycles for which random
    numbers are drawn at once: only whole blocks have a fair share of that."""

    members: int
    device: torch.device
    precision: Precision
    step: Callable[[], object]
    flops: int
    block: int
    eager: Callable[[], object] | None = None


@dataclass(frozen=True)
class Share:
    """A kind of operator, or one operator, in an average cycle: share of the time (0 to 1), milliseconds, calls."""

    name: str
    kind: str
    share: float
    ms: float
    calls: float


@dataclass(frozen=True)
class Profile:
    """Times in milliseconds, rates in FLOP/s. kinds sum to cycle_ms; operators are sorted, the dearest first.

    cycles: how many were averaged. cycle_ms: a cycle undisturbed; watched_ms: the same under the profiler. flops: of
    one cycle's matrix products, all members. rate: flops per second of the whole cycle; limit: the rate of a large
    matrix product in the same precision.
    """

    members: int
    device: str
    precision: str
    cycles: int
    cycle_ms: float
    watched_ms: float
    kinds: list[Share]
    operators: list[Share]
    flops: int
    rate: float
    limit: float
    traces: list[str]


def first_ensemble(experiments: Sequence[Experiment], device: torch.device, members: int | None) -> list[Experiment]:
    """The first ensemble that one worker on this device would train, cut or filled up with further seeds to `members`.

    On a GPU half of the memory must do: a profile holds the ensemble twice, replayed and eager. Raises `InputError`
    when that many do not fit by estimate.
    """
    room = memory(device) // (2 if device.type == "cuda" else 1)
    group = ensembles(experiments, room, device)[0]
    if members is None:
        return group
    beyond = max(e.seed for e in group) + 1
    more = [group[i % len(group)].model_copy(update={"seed": beyond + i}) for i in range(members - len(group))]
    wanted = [*group, *more][:members]
    parts = ensembles(wanted, room, device)
    if len(parts) > 1:
        raise InputError(
            f"--members {members}: by estimate {max(map(len, parts))} members of this shape fit the {size_text(room)} "
            f"that may be taken on {device}; ask for that many at most"
        )
    return wanted


def random_start(
    experiments: Sequence[Experiment], device: torch.device, graph: bool | None = None, fuse: bool | None = None
) -> Distillation:
    """The distillation of an ensemble at random networks, a network teacher included: the arithmetic of a cycle does
    not depend on where it starts. Experiments are alike but for seed, init and learning rates; graph, fuse:
    `Distillation`'s."""
    first = experiments[0]
    law = make_law(first.law.model_dump()).to(device)

    def network(name: str) -> Any:
        denoiser = denoiser_for(len(experiments), first.network, law, "cpu")
        ensemble_of(denoiser).initialise([generator(e.seed, "profile", name) for e in experiments]).to_device(device)
        return denoiser

    turns: tuple[torch.Tensor, ...] = ()
    if any(e.student.init == "rotated" for e in experiments):
        rotated = torch.tensor([e.student.init == "rotated" for e in experiments], device=device)
        turns = (torch.stack([rotation(e.seed, law.dim) for e in experiments]).to(device), rotated)
    teacher = law.denoise if first.teacher.kind == "exact" else network("teacher")
    student = Student(network("student"), first.noise.sigma_max, *turns)
    return Distillation(experiments, teacher, student, network("fake"), graph, fuse)


def distilling(experiments: Sequence[Experiment], device: torch.device) -> Work:
    """Cycles of this ensemble's distillation, from `random_start`."""
    loop = random_start(experiments, device)
    eager = random_start(experiments, device, False, loop.fuse).cycle if device.type == "cuda" else None
    flops = sum(cycle_flops(e) for e in experiments)
    return Work(len(experiments), device, loop.precision, loop.cycle, flops, loop.draws.steps, eager)


def teaching(experiments: Sequence[Experiment], device: torch.device) -> Work:
    """Iterations of the training of this ensemble's start networks, one a seed."""
    seeds = sorted({e.seed for e in experiments})
    enough = experiments[0].teacher.model_copy(update={"iterations": 3 * MOST_CYCLES})
    first = experiments[0].model_copy(update={"teacher": enough})
    law = make_law(first.law.model_dump()).to(device)

    def training(graph: bool | None, fuse: bool | None) -> Callable[[], object]:
        denoiser = denoiser_for(len(seeds), first.network, law, device)
        return partial(next, train_teacher(first, seeds, law, denoiser, report_every=1, graph=graph, fuse=fuse))

    eager = training(False, graph_and_fusing(device, None, None)[1]) if device.type == "cuda" else None
    block = block_steps(first.teacher.batch * first.law.dim)
    flops, precision = len(seeds) * teacher_flops(first), precision_on(device, first.network.precision)
    return Work(len(seeds), device, precision, training(None, None), flops, block, eager)


def profile(work: Work, cycles: int | None = None, folder: Path | None = None, limit_s: float = 0.25) -> Profile:
    """Profile `work` over `cycles` cycles (None: one block of its random numbers); traces go into `folder`, if given.

    limit_s: how long the large product behind `limit` is measured, half before the cycles and half after. Raises
    RuntimeError as torch does, such as out of memory.
    """
    tune_allocator()  # as a sweep does
    cycles = cycles or work.block
    for _ in range(WARM_UP + 2):
        work.step()
    traces = list(_traces(work, folder))
    limit = product_rate(work.device, work.precision, limit_s / 2)
    cycle_ms = _timed(work.step, cycles, work.device)
    events = watch(work.eager or work.step, cycles, work.device).events()
    watched_ms = _stretch(events).time_range.elapsed_us() / cycles / 1e3
    operators = list(_by_operator(events, cycles, cycle_ms, work.device.type == "cuda"))
    return Profile(
        members=work.members,
        device=str(work.device),
        precision=work.precision,
        cycles=cycles,
        cycle_ms=cycle_ms,
        watched_ms=watched_ms,
        kinds=_by_kind(operators),
        operators=operators,
        flops=work.flops,
        rate=1e3 * work.flops / cycle_ms,
        limit=max(limit, product_rate(work.device, work.precision, limit_s / 2)),
        traces=[str(path) for path in traces],
    )


def watch(step: Callable[[], object], cycles: int, device: torch.device) -> torch.profiler.profile:
    """Some cycles under torch's profiler, quietly."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it reports each start and stop on stderr
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    synchronise(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.profiler.profile(activities=activities) as found, record_function(WATCHED):
            for _ in range(cycles):
                step()
            synchronise(device)
    return found


def _timed(step: Callable[[], object], cycles: int, device: torch.device) -> float:
    """Milliseconds a cycle."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(cycles):
        step()
    synchronise(device)
    return 1e3 * (time.perf_counter() - start) / cycles


def _traces(work: Work, folder: Path | None) -> Iterator[Path]:
    """Write a few cycles for a trace viewer: as runs do them, and where that hides names, also with names."""
    ways = {"trace.json": work.step} | ({"trace-eager.json": work.eager} if work.eager else {})
    for name, step in ways.items():
        found = watch(step, TRACED, work.device)  # on a GPU also what sets the profiler up
        if folder is not None:
            found.export_chrome_trace(str(folder / name))
            yield folder / name


def _stretch(events: Iterable[Any]) -> Any:
    """The event that spans all cycles."""
    return next(e for e in events if e.name == WATCHED and e.device_type == DeviceType.CPU)


def _below(event: Any) -> Iterator[Any]:
    yield event
    for child in event.cpu_children:
        yield from _below(child)


def _by_operator(events: Sequence[Any], cycles: int, cycle_ms: float, on_gpu: bool) -> Iterator[Share]:
    """Every operator's share of a cycle, the dearest first. They sum to `cycle_ms`."""
    calls: dict[str, int] = defaultdict(int)
    ms: dict[str, float] = defaultdict(float)
    seen = [e for e in events if e.device_type == DeviceType.CPU] if on_gpu else list(_below(_stretch(events)))
    for event in seen:
        kind = kind_of(event.name)
        ms[event.name] += (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / cycles / 1e3
        calls[event.name] += all(kind_of(child.name) != kind for child in event.cpu_children)  # not its own wrapper
    if on_gpu:
        ms[WATCHED] = max(0.0, cycle_ms - sum(ms.values()))  # the GPU waits
    total = sum(ms.values())
    for name in sorted(ms, key=lambda name: -ms[name]):
        share = ms[name] / total
        yield Share(name, kind_of(name), share, share * cycle_ms, calls[name] / cycles)


def _by_kind(operators: Sequence[Share]) -> list[Share]:
    """The same by kind, the dearest first and overhead last."""
    kinds = []
    for kind in {operator.kind for operator in operators}:
        own = [operator for operator in operators if operator.kind == kind]
        share, ms, calls = (sum(column) for column in zip(*((o.share, o.ms, o.calls) for o in own), strict=True))
        kinds.append(Share(kind, kind, share, ms, calls))
    return sorted(kinds, key=lambda kind: (kind.name == OVERHEAD, -kind.ms))
