"""What the machine multiplies at most: the fastest rate of any library, of large matrices and of a network's own."""

import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.points import Job
from dmdlab.device.environment import synchronise
from dmdlab.device.precision import arithmetic
from dmdlab.laws import make_law
from dmdlab.networks import EnsembleLinear, make_network

SEVERAL = 16
"""Networks whose products are made in one call, besides one network's: a call's own cost is hardly seen then."""

Shape = tuple[int, int, int, int]
"""(b, i, j, l): b products of (i, j) and (j, l) matrices."""


def own(job: Job, members: int) -> list[Shape]:
    """The products of a forward and a backward pass of the job's network: outputs, gradients of weights and inputs."""
    e, found = job.point.group(1).shared, list[Shape]()
    network, n = make_network(1, make_law(e.law.model_dump()), e.network), e.student.batch
    for layer in (layer for layer in network.modules() if isinstance(layer, EnsembleLinear)):
        _, inputs, outputs = layer.weight.shape
        found += [(members, n, inputs, outputs), (members, inputs, n, outputs), (members, n, outputs, inputs)]
    return found


def rates(job: Job, quick: bool, seconds: float) -> dict[str, float]:
    """Operations per second of every library at its best moment, each tried for so long; in a process of its own."""
    size = 64 if quick else 8192 if job.device.startswith("cuda") else 2048
    kinds = {"large": [(1, size, size, size)], "own": own(job, 1), f"own, {SEVERAL} at once": own(job, SEVERAL)}
    found = {}
    for what, shapes in kinds.items():
        flops = sum(2 * b * i * j * l for b, i, j, l in shapes)
        for library in ("torch", "numpy") if job.device == "cpu" else ("torch",):
            calls = [product(library, shape, job) for shape in shapes]
            found[f"{library}, {what}"] = float(f"{flops / best(calls, job, seconds):.4g}")
    return found


def product(library: str, shape: Shape, job: Job) -> Callable[[], object]:
    """A product into memory that is there."""
    b, i, j, l = shape
    sizes = [(b, *size) if b > 1 else size for size in ((i, j), (j, l), (i, l))]
    if library == "numpy":
        x, w, out = (np.ones(size, np.float32) for size in sizes)
        return lambda: np.matmul(x, w, out=out)
    a, c, to = (torch.ones(size, device=job.device) for size in sizes)
    return lambda: torch.matmul(a, c, out=to)


def best(calls: list[Callable[[], object]], job: Job, seconds: float) -> float:
    """The shortest time of all calls, one after another, of as many tries as fit into `seconds`, three at least."""
    device, times, started = torch.device(job.device), list[float](), time.perf_counter()
    with arithmetic(job.precision, device):
        while len(times) < 3 or time.perf_counter() - started < seconds:
            synchronise(device)
            start = time.perf_counter()
            for call in calls:
                call()
            synchronise(device)
            times.append(time.perf_counter() - start)
    return min(times)
