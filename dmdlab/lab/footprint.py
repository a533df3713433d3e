"""Upper estimates of the memory that an ensemble takes at its peak, before it starts.

An ensemble takes something for each member, and something once, however many they are: one member at a time is sampled
and measured. Both are maxima over the stages of a run, counted in float32 numbers: parameters with their gradients and
moments, what autograd keeps of a row, blocks of random numbers, paired arrays. What an exact law takes for a row
differs a hundredfold among laws, so it is not tabulated but watched, on a handful of rows. Of a run on a GPU only what
lies there is estimated, not what it takes of the RAM.
"""

import math
from functools import cache
from typing import NamedTuple

import torch

from dmdlab.config import Experiment
from dmdlab.device.limits import LiveBytes
from dmdlab.lab.cost import FLOAT, flow_calls, parameters
from dmdlab.lab.evaluate import ASYMMETRY_POINTS
from dmdlab.laws import make_law
from dmdlab.randomness import block_steps
from dmdlab.transport.solve import DENSE_LIMIT

FEW, MANY = 32, 96
"""Rows on which a law is watched; the difference is what 64 rows take."""

PARAMETERS = 14
"""Copies of a network's parameters in distillation: start, its rows, student, fake score, teacher, two gradients, two
times two moments, the trained row that is kept, a gradient's parts before they are joined, and one to spare."""

GRAPHS, CALLS = 2.2, 4
"""How often probing a Jacobian holds what autograd keeps of a denoiser's calls (measured: 0.7 to 2.0); over few calls,
once, beside so many times what one call takes while it works (measured: up to 4.0)."""

SPARE = {"cuda": 1.1, "cpu": 1.4}
"""Room for what is not counted, such as small tensors and gaps between blocks (ours; glibc leaves more of them than
CUDA's allocator: processes were measured to take up to 1.4 times what is counted)."""


class Row(NamedTuple):
    """Float32 numbers that a denoiser takes for a row: while it works, and kept for a backward pass."""

    working: float
    kept: float


class LawSize(NamedTuple):
    """What a law takes: for a row of its denoiser, for a row that it samples, and once (its own arrays, casts)."""

    denoiser: Row
    sample: float
    once: float


class Stage(NamedTuple):
    """Numbers that an ensemble takes at one moment of a run: for each member, and once."""

    each: float
    once: float = 0.0


def stages(e: Experiment, device_type: str) -> list[Stage]:
    """The moments of a run at which memory can be at its peak: of a GPU for 'cuda', of the RAM for 'cpu'."""
    d, n, samples = e.law.dim, e.student.batch, e.measure.samples
    net, law = network_row(e), law_size(e)
    teacher = law.denoiser if e.teacher.kind == "exact" else net
    working, on_cpu = max(teacher.working, net.working), device_type == "cpu"
    early = 7 * parameters(e)  # start networks in training
    drawn = _teacher_block(e) + e.teacher.train_samples * d
    found = [
        Stage(early + drawn, _teacher_rows(e) * law.sample),
        Stage(early + drawn + e.teacher.batch * (net.kept + net.working + law.denoiser.working + 10 * d)),
        Stage(early + samples * (8 * d + net.working + law.denoiser.working), samples * law.sample),
        Stage(early + samples * (14 * d + working), samples * law.sample),
        Stage(early + samples * 6 * d + _probes(e, teacher, flow_calls(e))),
    ]
    cycle = n * (net.kept + net.working + teacher.working + 10 * d)
    own = e.fake_score.updates * n * (net.working + 3 * d)  # the batches that are the fake score's alone
    turn = 2 * d * d if e.student.init == "rotated" else 0
    pool = 0 if on_cpu else cycle  # a captured cycle keeps its memory
    late = PARAMETERS * parameters(e) + _cycle_block(e) + turn + pool
    ruler = calibrating_bytes(e, working) / FLOAT if on_cpu else _calibrating_flow(e, working)
    found += [
        Stage(late, _cycle_block(e)),
        Stage(late, 14 * d * d if on_cpu and e.student.init == "rotated" else 0),  # rotations are made in float64
        Stage(late + max(cycle, own)),
        Stage(late + samples * (6 * d + net.working)),
        Stage(late + samples * 6 * d + _probes(e, net, 1)),
        Stage(late, ruler),
    ]
    kept = 10 * samples * d if on_cpu else 0  # paired arrays, and the curves' own
    return [Stage(each + kept, once + law.once) for each, once in found]


def ensemble_bytes(e: Experiment, members: int, device_type: str) -> int:
    """An upper estimate of the peak of an ensemble of `members` runs of this shape, in bytes."""
    return math.ceil(SPARE[device_type] * FLOAT * max(members * each + once for each, once in stages(e, device_type)))


def member_bytes(e: Experiment, device_type: str) -> int:
    """The same for a run by itself."""
    return ensemble_bytes(e, 1, device_type)


def most_members(e: Experiment, memory: int, device_type: str) -> int:
    """The largest ensemble of this shape whose estimate is within `memory` bytes; 0 when not even one run fits."""
    numbers = (memory - 1) / (SPARE[device_type] * FLOAT)
    return max(0, int(min((numbers - once) // each for each, once in stages(e, device_type))))


def measuring_bytes(e: Experiment) -> int:
    """What the measures of one run take: a few matrices of all pairs, some arrays in float64, the curves of ranks."""
    n = e.measure.samples
    return FLOAT * (4 * min(n, DENSE_LIMIT) ** 2 + 16 * n * e.law.dim) + 2**21


def calibrating_bytes(e: Experiment, working: float) -> int:
    """What a calibration takes of the RAM with its measures and, at `working` numbers a row, its flows on a CPU: first
    the largest of these, then for each basis its QR in float64, and the noise turned in it."""
    n, d = e.measure.samples, e.law.dim
    held = 16 * n * d  # noise, fresh noise, their outputs, the null's
    turning = 2 * d * d + n * (12 * d + working)
    once = max(_calibrating_flow(e, working), 9 * d * d, turning, 2 * d * d + n * d + measuring_bytes(e) / FLOAT)
    return math.ceil(FLOAT * (held + once))


def network_row(e: Experiment) -> Row:
    """A network denoiser's numbers per row: its layers' inputs and outputs, and EDM's scaled copies of x."""
    d, width, depth, features = e.law.dim, e.network.width, e.network.depth, e.network.time_features
    ends = 4 * d + 3 * features
    if e.network.kind == "mlp":
        return Row(ends + 3 * width, ends + 2 * depth * width)
    return Row(ends + 5 * width, ends + (4 * depth + 3) * width)


def law_size(e: Experiment) -> LawSize:
    """`LawSize` of the experiment's law."""
    return _law_size(tuple(sorted(e.law.model_dump().items())))


@cache
def _law_size(spec: tuple[tuple[str, object], ...]) -> LawSize:
    law = make_law(dict(spec))
    arrays = sum(b.nbytes for b in law.buffers()) / FLOAT

    def sample(rows: int) -> int:
        with LiveBytes() as seen:
            law.sample(rows, torch.Generator())
        return seen.peak

    def denoise(rows: int, kept: bool) -> int:
        x = torch.zeros(1, rows, law.dim).requires_grad_(kept)
        with LiveBytes() as seen:
            held = law.denoise(x, torch.ones(1, rows, 1))
            live = seen.live
        del held
        return live if kept else seen.peak

    def per_row(few: int, many: int) -> float:
        return max(0.0, (many - few) / (MANY - FEW) / FLOAT)

    drawn = per_row(sample(FEW), sample(MANY))
    if not law.has_denoiser:
        return LawSize(Row(0.0, 0.0), drawn, 2 * arrays)
    working = per_row(denoise(FEW, False), denoise(MANY, False))
    kept = per_row(denoise(FEW, True), denoise(MANY, True))
    casts = max(0.0, denoise(FEW, False) / FLOAT - FEW * working)
    return LawSize(Row(working, kept), drawn, arrays + casts)


def _calibrating_flow(e: Experiment, working: float) -> float:
    """What the largest flow of a calibration takes: of 4 n rows of fresh noise."""
    return 4 * e.measure.samples * (10 * e.law.dim + working)


def _probes(e: Experiment, denoiser: Row, calls: int) -> float:
    """What so many calls take while the Jacobian of a map is probed."""
    points = min(ASYMMETRY_POINTS, e.measure.samples)
    kept = calls * (denoiser.kept + 2 * e.law.dim)
    return points * max(GRAPHS * kept, kept + CALLS * denoiser.working)


def _cycle_block(e: Experiment) -> int:
    """Numbers drawn ahead for one member's cycles: its latents and its noise."""
    k, step = e.fake_score.updates, e.student.batch * e.law.dim
    batches = 1 + 2 * k + (e.fake_score.batches == "separate")
    return block_steps((1 + k) * step) * (batches * step + (1 + k) * e.student.batch)


def _teacher_rows(e: Experiment) -> int:
    """Rows of data drawn ahead for one member's training of its start network."""
    return block_steps(e.teacher.batch * e.law.dim) * e.teacher.batch


def _teacher_block(e: Experiment) -> int:
    """Numbers drawn ahead with them: the data, their levels and noise."""
    return _teacher_rows(e) * (2 * e.law.dim + 1)
