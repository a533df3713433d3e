"""From experiments to results: one ensemble of runs, alike in shape, trained and measured together.

`run_ensemble` is a generator: it yields `Progress` while it works and one `RunResult` per member at the end, so that
bars, logs and early stopping belong to the caller.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion import EDMDenoiser
from dmdlab.lab.check import excess_risks
from dmdlab.lab.checkpoint import Checkpoint
from dmdlab.lab.evaluate import Calibrate, Curves, apply, asymmetries, checkpoints, flow_map, result_of, teacher_pairs
from dmdlab.lab.store import RunResult
from dmdlab.laws import Law, make_law
from dmdlab.randomness import generator, rotation
from dmdlab.training.distill import Distillation, Student
from dmdlab.training.teacher import denoiser_for, ensemble_of, train_teacher

PULSES = 200
"""How often a training shows progress and may be kept, at least."""

Rows = dict[int, Tensor]
"""A trained start network per seed: its parameters as one row (P,), on the CPU."""


@dataclass(frozen=True)
class Progress:
    """Where an ensemble stands: `done` of `total` steps of `stage`, with a line on how it goes."""

    stage: str
    done: int
    total: int
    text: str = ""


class Clock:
    """Seconds by stage; `lap` books the time since the last lap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Book the time since the last lap under `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now

    def share(self, members: int) -> dict[str, float]:
        """Seconds by stage per member."""
        return {stage: s / members for stage, s in self.seconds.items()}


def run_ensemble(
    experiments: Sequence[Experiment],
    device: torch.device,
    rows: Rows | None = None,
    keep: Callable[[Rows], None] = lambda rows: None,
    clock: Clock | None = None,
    calibrate: Calibrate = lambda experiment: None,
    checkpoint: Checkpoint | None = None,
    graph: bool | None = None,
) -> Iterator[Progress | RunResult]:
    """Train and measure runs that differ in nothing but seed, init and learning rates (`plan.ensembles` groups them).

    rows: start networks already trained, by seed; `keep` is given those trained here. calibrate: where remap_angle gets
    its calibration. checkpoint: where training is kept on the way, and goes on from. graph: as for `Distillation`.
    Yields `Progress`, and at the end a `RunResult` per experiment, in order.
    """
    clock = clock or Clock()
    first, law = experiments[0], make_law(experiments[0].law.model_dump()).to(device)
    seeds = sorted({e.seed for e in experiments})
    member = torch.tensor([seeds.index(e.seed) for e in experiments])  # run -> its seed's place

    start = denoiser_for(len(seeds), first.network, law, device)
    yield from _start_networks(first, seeds, law, start, rows, keep, graph)
    excess = excess_risks(first, seeds, start, law, device)
    clock.lap("teacher")

    yield Progress("pairing noise with data", 0, 1)
    exact = first.teacher.kind == "exact"
    flow_denoiser = law.denoise if exact else start
    pairs = teacher_pairs(first, seeds, law, flow_denoiser, device)
    teacher_shares = asymmetries(seeds, flow_map(first, flow_denoiser), pairs["noise"].to(device))
    clock.lap("flow")

    start_rows = ensemble_of(start).flat[member.to(device)]
    teacher = law.denoise if exact else _loaded(first, law, start_rows, device)
    student = _student(experiments, law, start_rows, device)
    distillation = Distillation(experiments, teacher, student, _loaded(first, law, start_rows, device), graph)
    curves = Curves(len(experiments), student, pairs, member)
    yield from _distil(first, distillation, curves, checkpoint)
    clock.lap("distillation")

    yield Progress("measuring", 0, len(experiments))
    noise = pairs["noise"][member]
    outputs = apply(student, noise)
    student_shares = asymmetries([e.seed for e in experiments], student, noise.to(device))
    for i, experiment in enumerate(experiments):
        if i:
            yield Progress("measuring", i, len(experiments))
        own = {name: array[member[i]].numpy() for name, array in pairs.items()}
        start_risk = float(excess[member[i]])
        weights = student.network.member_state(i)
        if experiment.student.init == "rotated":
            weights["rotation"] = rotation(experiment.seed, law.dim)
        result = result_of(
            experiment,
            own,
            outputs[i].numpy(),
            int(distillation.failed_at[i]),
            (0.0 if exact else start_risk, start_risk),
            (float(teacher_shares[member[i]]), float(student_shares[i])),
            curves.columns(i),
            weights,
            calibrate,
        )
        clock.lap("measures")
        yield result


def _distil(
    first: Experiment, distillation: Distillation, curves: Curves, checkpoint: Checkpoint | None
) -> Iterator[Progress]:
    """Train to the end, from where `checkpoint` stands if it holds these runs; fills `curves`."""
    if checkpoint and (kept := checkpoint.load()):
        distillation.restore(kept)
        curves.restore(kept)
    last = distillation.cycles * first.fake_score.updates
    yield Progress("distilling", distillation.done * first.fake_score.updates, last)
    pulses = [last * i // PULSES for i in range(1, PULSES + 1)]
    due = [at for at in checkpoints(first) if at > distillation.done * first.fake_score.updates]
    for iteration in distillation.run(sorted({*due, *pulses})):
        if (due and iteration >= due[0]) or iteration == last:
            curves.add(distillation.report())
            due = [at for at in due if at > iteration]
        yield Progress("distilling", iteration, last, curves.text())
        if checkpoint:
            checkpoint.offer(lambda: distillation.state() | curves.state())


def _start_networks(
    first: Experiment,
    seeds: Sequence[int],
    law: Law,
    start: EDMDenoiser,
    rows: Rows | None,
    keep: Callable[[Rows], None],
    graph: bool | None,
) -> Iterator[Progress]:
    """Fill `start` with one trained network per seed, training those that `rows` lacks."""
    found = {s: rows[s] for s in seeds if rows and s in rows}
    missing = [s for s in seeds if s not in found]
    if missing:
        device = ensemble_of(start).flat.device
        fresh = denoiser_for(len(missing), first.network, law, device)
        for step in train_teacher(first, missing, law, fresh, graph=graph):
            text = f"loss {step.loss.mean():.3f}"
            yield Progress("training start networks", step.iteration, first.teacher.iterations, text)
        trained = ensemble_of(fresh).flat.detach().cpu().clone()
        new = dict(zip(missing, trained, strict=True))
        keep(new)
        found |= new
    ensemble_of(start).load_rows(torch.stack([found[s] for s in seeds]))


def _loaded(first: Experiment, law: Law, rows: Tensor, device: torch.device) -> EDMDenoiser:
    """A denoiser ensemble with these parameters."""
    denoiser = denoiser_for(len(rows), first.network, law, device)
    ensemble_of(denoiser).load_rows(rows)
    return denoiser


def _student(experiments: Sequence[Experiment], law: Law, rows: Tensor, device: torch.device) -> Student:
    """The students at their starts: the teacher's network, the same after a rotation of the noise, or a random one."""
    first, inits = experiments[0], [e.student.init for e in experiments]
    fresh = denoiser_for(len(experiments), first.network, law, "cpu")
    random = ensemble_of(fresh).initialise([generator(e.seed, "student") for e in experiments]).flat
    is_random = torch.tensor([init == "random" for init in inits])[:, None]
    denoiser = _loaded(first, law, torch.where(is_random, random, rows.cpu()), device)
    if "rotated" not in inits:
        return Student(denoiser, first.noise.sigma_max)
    identity = torch.eye(law.dim)
    turns = [rotation(e.seed, law.dim) if e.student.init == "rotated" else identity for e in experiments]
    rotated = torch.tensor([init == "rotated" for init in inits], device=device)
    return Student(denoiser, first.noise.sigma_max, torch.stack(turns).to(device), rotated)
