"""What is timed: the plain loop's students one by one, and dmdlab's ensembles, at the same work.

A `Job` says what runs and how; `build` makes the contestant, whose `seconds(n)` runs n units of work: one optimisation
cycle ('cycle'), one iteration of the teacher's training ('teacher'), or Phi_K of `measure.samples` noises ('flow'). A
contestant of e members does e students' work in a unit. Networks start at random: the arithmetic does not depend on it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from benchmarks.plain_loop import PlainDMD, PlainTeacher, Preconditioned, denoiser, plain_flow
from dmdlab.config import Experiment, flatten
from dmdlab.device.environment import synchronise
from dmdlab.device.precision import Precision, precision_on
from dmdlab.diffusion import flow, karras_grid
from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab.trial import Tried, random_start, tried
from dmdlab.laws import Law, make_law
from dmdlab.networks import make_denoiser, network_settings
from dmdlab.randomness import generator
from dmdlab.training.distill import Distillation
from dmdlab.training.teacher import train_teacher

Work = Literal["cycle", "teacher", "flow"]
Way = Literal["plain", "plain, fused AdamW", "eager", "graph, unfused", "graph"]

COSTLY = (
    *("law.name", "law.dim", "teacher.kind", "teacher.batch", "teacher.steps", "measure.samples"),
    *("network.kind", "network.width", "network.depth", "network.precision", "student.batch", "fake_score.updates"),
)
"""The settings that a benchmark's cost depends on."""


@dataclass(frozen=True)
class Job:
    """`words` are `key=value` settings on top of `preset`; `members` differ in their seeds, 0 ... members - 1."""

    preset: str
    words: tuple[str, ...] = ()
    members: int = 1
    way: Way = "eager"
    work: Work = "cycle"
    device: str = "cpu"

    @property
    def plain(self) -> bool:
        """Whether the peer runs it."""
        return self.way.startswith("plain")

    @property
    def precision(self) -> Precision:
        """The arithmetic of its networks' products; flows are always in float32."""
        wanted = "float32" if self.work == "flow" else self.group().shared.network.precision
        return precision_on(torch.device(self.device), wanted)

    def group(self) -> Group:
        """Its members, one for the plain loop."""
        words = [*self.words, f"seed={{start=0, stop={1 if self.plain else self.members}}}"]
        if self.work == "teacher":
            words.append("teacher.iterations=100000")  # dmdlab's training ends there; no benchmark gets so far
        return Group(tuple(load(None, self.preset, words).experiments()))

    def tried(self) -> Tried:
        """What a trial counts of its shape: the same in every precision, and whatever of its training is timed."""
        words = tuple(word for word in self.words if not word.startswith("network.precision="))
        return tried(replace(self, words=words, work="cycle").group())

    def about(self) -> dict[str, Any]:
        """What a record says of this job: the settings that decide its cost."""
        shared = self.group().shared
        network = {f"network.{key}": value for key, value in network_settings(shared.network)}
        flat = flatten(shared) | network | {"network.precision": self.precision}
        return {"members": self.members, **{key: flat[key] for key in COSTLY}}


class Contestant:
    """`step` does `steps` units of work; a caller may ask for any number and gets the time of exactly that many."""

    def __init__(self, step: Callable[[], object], device: torch.device, steps: int = 1) -> None:
        self.step, self.device, self.steps = step, device, steps

    def seconds(self, units: int) -> float:
        """Time of `units` units of work, in seconds."""
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
    """The contestant, on its device. Raises `InputError` for a precision that the device lacks."""
    device, group = torch.device(job.device), job.group()
    law = make_law(group.shared.law.model_dump()).to(device)
    return _plain(job, group.shared, law, device) if job.plain else _ours(job, group, law, device)


def _plain(job: Job, e: Experiment, law: Law, device: torch.device) -> Contestant:
    """The peer, at the job's precision where that is a switch (TF32) and in bfloat16 by autocast. It draws from torch's
    global generator, as such loops do."""
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = job.precision == "tf32"

    def network() -> Preconditioned:
        return denoiser(e.network, law, job.precision == "bf16").to(device)

    if job.work == "teacher":
        return Contestant(PlainTeacher(e, law, network(), generator(0, "benchmark", device=device)).step, device)
    if job.work == "flow":
        z, teacher = e.noise.sigma_max * torch.randn(e.measure.samples, law.dim, device=device), network()
        return Contestant(lambda: plain_flow(teacher, z, e), device)
    fused = True if job.way == "plain, fused AdamW" else None
    exact = e.teacher.kind == "exact"
    return Contestant(PlainDMD(e, law.denoise if exact else network(), network(), network(), fused).cycle, device)


def _ours(job: Job, group: Group, law: Law, device: torch.device) -> Contestant:
    e, seeds, graph = group.shared, group.seeds, job.way.startswith("graph")
    fuse = None if job.way == "graph" else False
    if job.work == "cycle":
        return Ensemble(random_start(group, device, graph, fuse), device)
    network = make_denoiser(len(group), law, e.network, device)
    if job.work == "teacher":
        report = 64  # iterations a call, at least the block of random numbers that is drawn ahead
        steps = train_teacher(e, seeds, law, network, report, graph, fuse)
        return Contestant(lambda: next(steps), device, report)
    network.network.initialise([generator(seed, "benchmark") for seed in seeds])
    own = generator(0, "benchmark noise", device=device)
    z = e.noise.sigma_max * torch.randn(len(seeds), e.measure.samples, law.dim, generator=own, device=device)
    grid = karras_grid(e.teacher.steps, e.noise)
    return Contestant(lambda: flow(network, z, grid, e.teacher.solver), device)
