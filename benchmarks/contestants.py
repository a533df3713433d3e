"""Who is timed: the plain loop, JAX's program and dmdlab's ensembles, at the same work.

Networks start at random: the arithmetic does not depend on it.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measure import WARM_UP
from benchmarks.plain_loop import PlainDMD, denoiser
from benchmarks.points import JAX, PLAIN, PLAIN_COMPILED, Job
from dmdlab.device.environment import synchronise
from dmdlab.lab.timing import random_start
from dmdlab.laws import make_law
from dmdlab.networks import make_denoiser
from dmdlab.randomness import generator
from dmdlab.training.distill import Distillation

JAX_CALL = 4e9
"""Operations of one call of JAX's program, about: what a call costs beside its cycles is hardly seen then."""


class Contestant:
    """`step` does `steps` cycles; a caller may ask for any number and gets the time of exactly that many."""

    def __init__(self, step: Callable[[], object], device: torch.device, steps: int = 1) -> None:
        self.step, self.device, self.steps = step, device, steps

    def seconds(self, units: int) -> float:
        """Time of `units` cycles, in seconds."""
        calls = max(1, round(units / self.steps))
        return self._timed(self.step, calls) * units / (calls * self.steps)

    def _timed(self, step: Callable[[], object], calls: int) -> float:
        synchronise(self.device)
        start = time.perf_counter()
        for _ in range(calls):
            step()
        synchronise(self.device)
        return time.perf_counter() - start


class Ensemble(Contestant):
    """Cycles of a `Distillation`, which draws its random numbers many cycles ahead.

    A turn shorter than such a block would see all of the drawing or nothing of it. So short turns run inside a block,
    the drawing of a block is timed beside them, and each cycle is charged its share.
    """

    def __init__(self, loop: Distillation, device: torch.device) -> None:
        super().__init__(loop.cycle, device)
        self.loop = loop

    def seconds(self, units: int) -> float:
        """Time of `units` cycles, in seconds, their share of the drawing included."""
        total, block = 0.0, self.loop.draws.steps
        for start in range(0, units, block):
            part = min(block, units - start)
            drawing = self._timed(self._draw, 1)
            total += drawing * part / block + self._timed(self.step, part)
        return total

    def _draw(self) -> None:
        """A new block, from its first cycle on."""
        draws = self.loop.draws
        draws.given_out = draws.steps
        next(draws)
        draws.given_out = 0


def build(job: Job) -> Contestant:
    """The contestant on its device, its first call, which compiles, behind it. Raises `InputError` for a precision that
    the device lacks, `UserWarning` when dmdlab cannot compile."""
    device = torch.device(job.device)
    made = _plain(job, device) if job.who.startswith(PLAIN) else _jax(job) if job.who in JAX else _ours(job, device)
    made.step()
    synchronise(device)
    return made


def _plain(job: Job, device: torch.device) -> Contestant:
    """At the job's precision (TF32 is a switch). It draws from torch's global generator, as such loops do."""
    e = job.point.group(1).shared
    law = make_law(e.law.model_dump()).to(device)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job.precision == "tf32"

    teacher, student, fake = (denoiser(e.network, law).to(device) for _ in range(3))
    judge = law.denoise if e.teacher.kind == "exact" else teacher
    return Contestant(PlainDMD(e, judge, student, fake, compiled=job.who == PLAIN_COMPILED).cycle, device)


def _jax(job: Job) -> Contestant:
    from benchmarks.jax_loop import JaxDMD, rows_of

    group = job.point.group()
    law = make_law(group.shared.law.model_dump())
    network = make_denoiser(len(group), law, group.shared.network).network
    rows = rows_of(network.initialise([generator(seed, "trial") for seed in range(len(group))]))
    k, n = group.shared.fake_score.updates, group.shared.student.batch
    cycles = max(2, min(48, round(JAX_CALL / (6 * n * (1 + k) * sum(row.size for row in rows.values())))))
    teacher = rows if group.shared.teacher.kind == "network" else None
    loop = JaxDMD(group.shared, law, rows, teacher, "map" if job.who == JAX[0] else "vmap", cycles)
    return Contestant(loop.run, torch.device("cpu"), cycles)


def _ours(job: Job, device: torch.device) -> Contestant:
    way: Any = job.who
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="trains without compiling")
        loop = random_start(job.point.group(), device, way)
        for _ in range(WARM_UP if device.type == "cuda" else 1):  # until its graph is captured
            loop.cycle()
    return Ensemble(loop, device)
