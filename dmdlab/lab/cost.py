"""What a run costs, counted before it starts: floating-point operations of its matrix products, bytes of its memory.

Counts follow the architectures of `dmdlab.networks.mlp` product by product. One multiply-add is two operations. A
backward pass is two forwards, one for the gradient in the weights and one for that in the inputs, which the first
layer does without. Not counted: everything that is not a network's matrix product, an exact law's own products too.
"""

from collections.abc import Iterator
from typing import NamedTuple

from dmdlab.config import Experiment

FLOAT = 4
"""Bytes of a float32 number."""


class Product(NamedTuple):
    """One matrix product of a network: (n, inputs) by (inputs, outputs); `first` when it acts on the input."""

    inputs: int
    outputs: int
    bias: bool
    first: bool = False


def products(e: Experiment) -> Iterator[Product]:
    """Every matrix product of the experiment's network, in order."""
    d, features, width, depth = e.law.dim, e.network.time_features, e.network.width, e.network.depth
    if e.network.kind == "mlp":
        yield Product(d + features, width, bias=True, first=True)
        yield from [Product(width, width, bias=True)] * (depth - 1)
    else:
        yield Product(d, width, bias=False, first=True)
        yield Product(features, width, bias=True, first=True)
        yield from [Product(width, width, bias=True), Product(width, width, bias=False)] * depth
    yield Product(width, d, bias=True)


def parameters(e: Experiment) -> int:
    """P, the numbers in one network."""
    return sum(p.inputs * p.outputs + p.bias * p.outputs for p in products(e))


def forward_flops(e: Experiment, rows: int) -> int:
    """One forward pass of the network on `rows` rows."""
    return sum(2 * rows * p.inputs * p.outputs for p in products(e))


def backward_flops(e: Experiment, rows: int) -> int:
    """The backward pass that gives the gradient in all weights."""
    return sum(2 * rows * p.inputs * p.outputs * (1 if p.first else 2) for p in products(e))


def step_flops(e: Experiment, rows: int) -> int:
    """Forward and backward."""
    return forward_flops(e, rows) + backward_flops(e, rows)


def cycle_flops(e: Experiment) -> int:
    """One member's cycle: one student step, the batches that are the fake score's alone, k fake-score steps.

    A rotated student turns its noise by a (d, d) matrix first. An ensemble with a rotated member does this product for
    all its members, counted here for those that need it.
    """
    n, k, d = e.student.batch, e.fake_score.updates, e.law.dim
    fresh = k - (e.fake_score.batches == "shared")  # batches of student outputs beside the student's own
    networks = 1 + (e.teacher.kind == "network")  # the fake score's prediction at x_sigma, and the teacher's
    turns = 2 * (1 + fresh) * n * d * d if e.student.init == "rotated" else 0
    return turns + (1 + k) * step_flops(e, n) + networks * forward_flops(e, n) + forward_flops(e, fresh * n)


def cycles(e: Experiment) -> int:
    """Cycles of the distillation: iterations count fake-score updates."""
    return -(-e.student.iterations // e.fake_score.updates)


def teacher_flops(e: Experiment) -> int:
    """One iteration of the teacher's, or start network's, training."""
    return step_flops(e, e.teacher.batch)


def flow_calls(e: Experiment) -> int:
    """Denoiser calls of Phi_K."""
    return 2 * e.teacher.steps - 1 if e.teacher.solver == "heun" else e.teacher.steps


def flow_flops(e: Experiment) -> int:
    """Phi_K at `measure.samples` noises, were the teacher a network (an exact one needs none)."""
    return flow_calls(e) * forward_flops(e, e.measure.samples)


def training_flops(e: Experiment) -> int:
    """One whole run: the training of its start network, every cycle, and Phi_K at its noise and at fresh noise."""
    flows = 2 * flow_flops(e) if e.teacher.kind == "network" else 0
    return e.teacher.iterations * teacher_flops(e) + cycles(e) * cycle_flops(e) + flows
