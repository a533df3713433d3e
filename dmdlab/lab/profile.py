"""Where the time of a training cycle goes, by operator, and how far its matrix products are from the limit.

A cycle is timed undisturbed first, then watched by torch's profiler, which slows small operators down: shares come from
the second, times are those shares of the first. On a CPU the time of an operator is what it spends outside of the
operators that it calls, and what no operator accounts for is Python and overhead. On a GPU it is the time of its
kernels, taken from the same cycle without its graph, which hides who launched them; the rest of the replayed cycle's
wall time is the GPU waiting. A compiled cycle, as long trainings run, is one call that no profiler looks into: what is
shown is the cycle that it was compiled from.
"""

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, record_function

from dmdlab.config import Experiment, InputError
from dmdlab.device.allocator import tune_allocator
from dmdlab.device.capture import WARM_UP
from dmdlab.device.compiling import Way, plain_way
from dmdlab.device.environment import product_rate, synchronise
from dmdlab.device.limits import memory, size_text
from dmdlab.device.precision import Precision, precision_on
from dmdlab.group import Group, group_by_shape
from dmdlab.lab.plan import ensembles
from dmdlab.lab.timing import random_start
from dmdlab.lab.trial import tried
from dmdlab.laws import make_law
from dmdlab.networks import fresh_networks
from dmdlab.training.draws import block_steps
from dmdlab.training.teacher import train_teacher

WATCHED = "dmdlab::watched"
"""The profiler's name of the stretch that is looked at."""

TRACED = 3
"""Cycles in a trace: enough to see one begin and end, few enough for a browser."""

MOST_CYCLES = 10_000
"""Cycles that a profile may average."""

PRODUCTS, OTHERS, OVERHEAD = "matrix products", "other operators", "Python and overhead"
MULTIPLYING = ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot")
"""Operators that multiply matrices, beside those that have a convolution in their name."""


@dataclass(frozen=True)
class Subject:
    """What is profiled. step: one cycle as runs do it. eager: where that replays a graph, the same operator by
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
class Operator:
    """One operator in an average cycle: share of the time (0 to 1), milliseconds, calls."""

    name: str
    share: float
    ms: float
    calls: float


@dataclass(frozen=True)
class Profile:
    """Times in milliseconds, rates in FLOP/s. kinds: time in products, in other operators and in neither, which sum to
    cycle_ms. operators: the dearest first.

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
    kinds: dict[str, float]
    operators: list[Operator]
    flops: int
    rate: float
    limit: float
    traces: list[str]


def first_group(experiments: Sequence[Experiment], device: torch.device, members: int | None) -> Group:
    """The first ensemble that one worker on this device would train, cut or filled up with further seeds to `members`.

    On a GPU half of the memory must do: a profile holds the ensemble twice, replayed and eager. Raises `InputError`
    when that many do not fit by estimate.
    """
    room = memory(device) // (2 if device.type == "cuda" else 1)
    group = ensembles(group_by_shape(experiments)[0].members, room, device)[0]
    if members is None:
        return group
    beyond = max(group.seeds) + 1
    more = [group.members[i % len(group)].model_copy(update={"seed": beyond + i}) for i in range(members - len(group))]
    wanted = [*group.members, *more][:members]
    parts = ensembles(wanted, room, device)
    if len(parts) > 1:
        raise InputError(
            f"--members {members}: by estimate {max(map(len, parts))} members of this shape fit the {size_text(room)} "
            f"that may be taken on {device}; ask for that many at most"
        )
    return parts[0]


def distillation_subject(group: Group, device: torch.device) -> Subject:
    """Cycles of this ensemble's distillation, from `random_start`."""
    loop = random_start(group, device, plain_way(device))
    eager = random_start(group, device, "eager").cycle if device.type == "cuda" else None
    flops = len(group) * tried(group).cycle_flops
    return Subject(len(group), device, loop.precision, loop.cycle, flops, loop.draws.steps, eager)


def start_networks_subject(group: Group, device: torch.device) -> Subject:
    """Iterations of the training of this ensemble's start networks, one a seed."""
    seeds, law = group.seeds, make_law(group.shared.law.model_dump()).to(device)
    enough = group.shared.teacher.model_copy(update={"iterations": 3 * MOST_CYCLES})
    first = group.shared.model_copy(update={"teacher": enough})

    def training(way: Way) -> Callable[[], object]:
        denoiser = fresh_networks(first, law, len(seeds), device)
        return partial(next, train_teacher(first, seeds, law, denoiser, report_every=1, way=way))

    eager = training("eager") if device.type == "cuda" else None
    flops, precision = len(seeds) * tried(group).teaching_flops, precision_on(device, first.network.precision)
    block = block_steps(first.teacher.batch * law.dim)
    return Subject(len(seeds), device, precision, training(plain_way(device)), flops, block, eager)


def profile(subject: Subject, cycles: int | None = None, folder: Path | None = None, limit_s: float = 0.25) -> Profile:
    """Profile so many cycles (None: one block of its random numbers); traces go into `folder`, if given.

    limit_s: how long the large product behind `limit` is measured, half before the cycles and half after. Raises
    RuntimeError as torch does, such as out of memory.
    """
    tune_allocator()  # as a sweep does
    cycles = cycles or subject.block
    for _ in range(WARM_UP + 2):
        subject.step()
    traces = [] if folder is None else _traces(subject, folder)
    limit = product_rate(subject.device, subject.precision, limit_s / 2)
    cycle_ms = _timed(subject.step, cycles, subject.device)
    watched_ms, kinds, operators = _averages(subject, cycles, cycle_ms)
    return Profile(
        members=subject.members,
        device=str(subject.device),
        precision=subject.precision,
        cycles=cycles,
        cycle_ms=cycle_ms,
        watched_ms=watched_ms,
        kinds=kinds,
        operators=operators,
        flops=subject.flops,
        rate=1e3 * subject.flops / cycle_ms,
        limit=max(limit, product_rate(subject.device, subject.precision, limit_s / 2)),
        traces=traces,
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


def _traces(subject: Subject, folder: Path) -> list[str]:
    """Write a few cycles for a trace viewer: as runs do them, and where that hides names, also with names."""
    ways = {folder / "trace.json": subject.step}
    if subject.eager:
        ways[folder / "trace-eager.json"] = subject.eager
    for path, step in ways.items():
        watch(step, TRACED, subject.device).export_chrome_trace(str(path))
    return [str(path) for path in ways]


def _averages(subject: Subject, cycles: int, cycle_ms: float) -> tuple[float, dict[str, float], list[Operator]]:
    """Milliseconds of a watched cycle; those of an undisturbed one by kind, and by operator, the dearest first."""
    on_gpu, step = subject.device.type == "cuda", subject.eager or subject.step
    if on_gpu:
        watch(step, 1, subject.device)  # sets the profiler up
    found = [e for e in watch(step, cycles, subject.device).key_averages() if e.device_type == DeviceType.CPU]
    watched_ms = next(e.cpu_time_total for e in found if e.key == WATCHED) / cycles / 1e3
    ms = {e.key: (e.self_device_time_total if on_gpu else e.self_cpu_time_total) / cycles / 1e3 for e in found}
    if on_gpu:
        ms[WATCHED] = max(0.0, cycle_ms - sum(ms.values()))  # the GPU waits
    total, kinds, operators = sum(ms.values()), dict.fromkeys((PRODUCTS, OTHERS, OVERHEAD), 0.0), []
    for event in found:
        share = ms[event.key] / total
        kinds[_kind(event.key)] += share * cycle_ms
        if _kind(event.key) != OVERHEAD:
            operators.append(Operator(event.key, share, share * cycle_ms, event.count / cycles))
    return watched_ms, kinds, sorted(operators, key=lambda operator: -operator.ms)


def _kind(name: str) -> str:
    """What is not an operator is overhead: the nodes of autograd, calls of the CUDA runtime, named stretches."""
    if not name.startswith(("aten::", "triton_")):  # as Inductor names what it writes
        return OVERHEAD
    short = name.removeprefix("aten::").removesuffix("_")
    return PRODUCTS if short in MULTIPLYING or "conv" in short else OTHERS
