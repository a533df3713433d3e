"""What the machine does at most, measured: matrix products, copies. And where a cycle's time goes, from a profile.

All of these run in a lane (`benchmarks.lane`).
"""

import re
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import linear

from benchmarks.contestants import Contestant
from benchmarks.lane import current
from benchmarks.measure import Options
from dmdlab.config import Experiment
from dmdlab.device.precision import Precision, arithmetic
from dmdlab.lab.profile import watch
from dmdlab.laws import make_law
from dmdlab.networks import EnsembleLinear, make_network
from dmdlab.randomness import generator

CPU_PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
GPU_PRODUCTS = re.compile("gemm|nvjet|cutlass|xmma|cublas", re.IGNORECASE)
"""Kernels that multiply matrices, by the names that cuBLAS and CUTLASS give them."""


def product_size(options: Options) -> int:
    """Rows of the large square product: big enough for the full rate, small enough for a turn."""
    return 64 if options.quick else 8192 if options.cuda else 2048


def copy_numbers(options: Options) -> int:
    """float32 numbers of the copy: more than any cache holds."""
    return 1 << (12 if options.quick else 30 if options.cuda else 26)


def product_seconds(size: int, precision: Precision, device: str, units: int) -> float:
    """Time of `units` products of two (size, size) matrices: 2 size^3 operations each."""
    a, b, out = (_random(precision, device, size, size) for _ in range(3))
    return _timed(lambda: torch.mm(a, b, out=out), device, precision, units)


def shapes(e: Experiment) -> list[tuple[int, int]]:
    """(inputs, outputs) of every matrix product in one forward pass of the experiment's network."""
    network = make_network(1, make_law(e.law.model_dump()), e.network)
    weights = (layer.weight for layer in network.modules() if isinstance(layer, EnsembleLinear))
    return [(weight.shape[1], weight.shape[2]) for weight in weights]


def shapes_seconds(e: Experiment, members: int | None, precision: Precision, device: str, units: int) -> float:
    """Time of `units` times all products of one forward pass at their own shapes, no biases: an ensemble's of so many
    members, or (None) those of the peer's one network."""
    random, n = partial(_random, precision, device), e.student.batch
    if members is None:
        layers = [(random(n, inputs), random(outputs, inputs)) for inputs, outputs in shapes(e)]
        return _timed(lambda: [linear(x, w) for x, w in layers], device, precision, units)
    pairs = [(random(members, n, inputs), random(members, inputs, outputs)) for inputs, outputs in shapes(e)]
    return _timed(lambda: [torch.bmm(x, w) for x, w in pairs], device, precision, units)


def copy_seconds(numbers: int, device: str, units: int) -> float:
    """Time of `units` copies of so many float32 numbers: 8 bytes each, read and written."""
    a = torch.zeros(numbers, device=device)
    b = torch.ones_like(a)
    return _timed(lambda: b.copy_(a), device, "float32", units)


def _random(precision: Precision, device: str, *shape: int) -> torch.Tensor:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return torch.randn(shape, generator=generator(0, "benchmark", device=device), device=device).to(dtype)


def _timed(call: Callable[[], object], device: str, precision: Precision, units: int) -> float:
    contestant = Contestant(call, torch.device(device))
    with arithmetic("tf32" if precision == "tf32" else "float32", contestant.device):
        contestant.seconds(1)  # not the first touch of the memory
        return contestant.seconds(units)


def share_of_products(units: int, rounds: int) -> float:
    """In a lane: the part of its contestant's time that is spent within matrix products, an exact law's own included.

    On a CPU the products' own time on the main thread, on a GPU that of their kernels. Profiling lengthens a cycle but
    hardly a product in it, so each round holds the products of watched cycles against cycles right beside them that
    nobody watches; the median of the rounds.
    """
    contestant = current()
    shares = []
    for _ in range(rounds):
        events = watch(contestant.step, units, contestant.device).key_averages()
        if contestant.device.type == "cuda":
            micros = sum(e.self_device_time_total for e in events if GPU_PRODUCTS.search(e.key))
        else:
            micros = sum(e.self_cpu_time_total for e in events if e.key in CPU_PRODUCTS)
        shares.append(micros / 1e6 / contestant.seconds(units))
    return statistics.median(shares)
