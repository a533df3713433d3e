"""From experiments to results: one ensemble of runs, alike in shape, trained and measured together.

`run_ensemble` is a generator: it yields `Progress` while it works and one `RunResult` per member at the end, so that
bars, logs and early stopping belong to the caller.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion import Denoiser, EDMDenoiser, flow, karras_grid
from dmdlab.lab.check import check_teacher, excess_risks
from dmdlab.lab.store import RunResult
from dmdlab.laws import Law, make_law
from dmdlab.pairing import measure
from dmdlab.pairing.moments import RowMoments
from dmdlab.randomness import generator, latents, rotation
from dmdlab.training.distill import Cycle, Distillation, Student
from dmdlab.training.teacher import denoiser_for, ensemble_of, train_teacher

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
) -> Iterator[Progress | RunResult]:
    """Train and measure runs that differ in nothing but seed, init and learning rates (`plan.ensembles` groups them).

    rows: start networks already trained, by seed; `keep` is given those trained here. Yields `Progress`, and at the end
    a `RunResult` per experiment, in order.
    """
    clock = clock or Clock()
    first, law = experiments[0], make_law(experiments[0].law.model_dump()).to(device)
    seeds = sorted({e.seed for e in experiments})
    member = torch.tensor([seeds.index(e.seed) for e in experiments])  # run -> its seed's place

    start = denoiser_for(len(seeds), first.network, law, device)
    yield from _start_networks(first, seeds, law, start, rows, keep)
    excess = excess_risks(first, seeds, start, law)
    clock.lap("teacher")

    yield Progress("pairing noise with data", 0, 1)
    exact = first.teacher.kind == "exact"
    pairs = teacher_pairs(first, seeds, law, law.denoise if exact else start)
    clock.lap("flow")

    start_rows = ensemble_of(start).flat[member.to(device)]
    teacher = law.denoise if exact else _loaded(first, law, start_rows, device)
    student = _student(experiments, law, start_rows, device)
    distillation = Distillation(experiments, teacher, student, _loaded(first, law, start_rows, device))
    curves = _Curves(len(experiments), student, pairs, member)
    for state in distillation.run(_checkpoints(first)):
        curves.add(state)
        yield Progress("distilling", state.iteration, first.student.iterations, curves.text())
    clock.lap("distillation")

    outputs = _apply(student, pairs["noise"][member])
    for i, experiment in enumerate(experiments):
        yield Progress("measuring", i, len(experiments))
        own = {name: array[member[i]].numpy() for name, array in pairs.items()}
        risk = 0.0 if exact else float(excess[member[i]])
        failed_at = int(distillation.failed_at[i])
        weights = student.network.member_state(i)
        if experiment.student.init == "rotated":
            weights["rotation"] = rotation(experiment.seed, law.dim)
        result = _result(
            experiment,
            own,
            outputs[i].numpy(),
            failed_at,
            risk,
            excess[member[i]],
            curves.columns(i),
            weights,
        )
        clock.lap("measures")
        yield result


def _start_networks(
    first: Experiment,
    seeds: Sequence[int],
    law: Law,
    start: EDMDenoiser,
    rows: Rows | None,
    keep: Callable[[Rows], None],
) -> Iterator[Progress]:
    """Fill `start` with one trained network per seed, training those that `rows` lacks."""
    found = {s: rows[s] for s in seeds if rows and s in rows}
    missing = [s for s in seeds if s not in found]
    if missing:
        device = ensemble_of(start).flat.device
        fresh = denoiser_for(len(missing), first.network, law, device)
        for step in train_teacher(first, missing, law, fresh):
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


@torch.no_grad()
def teacher_pairs(experiment: Experiment, seeds: Sequence[int], law: Law, teacher: Denoiser) -> dict[str, Tensor]:
    """What students are measured against, on the CPU, each (s, n, d): noise z, teacher Phi_K(z), one_step Phi_1(z),
    reference Phi_K at fresh noise, data, and a second sample `fresh` of the law."""
    n, d, sigma_max = experiment.measure.samples, law.dim, experiment.noise.sigma_max
    device = next((b.device for b in law.buffers()), torch.device("cpu"))
    grid = karras_grid(experiment.teacher.steps, experiment.noise)
    z, fresh = (
        torch.stack([latents(s, n, d, sigma_max, name) for s in seeds]).to(device)
        for name in ("latents", "fresh latents")
    )

    def sample(name: str) -> Tensor:
        return torch.stack([law.sample(n, generator(s, name, device=device)) for s in seeds])

    found = {
        "noise": z,
        "teacher": flow(teacher, z, grid, experiment.teacher.solver),
        "one_step": teacher(z, sigma_max),
        "reference": flow(teacher, fresh, grid, experiment.teacher.solver),
        "data": sample("data"),
        "fresh": sample("fresh data"),
    }
    return {name: value.float().cpu() for name, value in found.items()}


@torch.no_grad()
def _apply(student: Student, z: Tensor) -> Tensor:
    """G(z) for z (e, n, d) on the CPU."""
    return student(z.to(student.network.flat.device)).float().cpu()


def _checkpoints(experiment: Experiment) -> list[int]:
    """Log-spaced iterations of the training curve."""
    last = experiment.student.iterations
    return sorted({round(i) for i in np.geomspace(1, last, experiment.measure.checkpoints)})


COLUMNS = ("dm_loss", "score_loss", "gap", "student_gradient_norm", "score_gradient_norm")


class _Curves:
    """The training curves of all members, a row a checkpoint."""

    def __init__(self, members: int, student: Student, pairs: dict[str, Tensor], member: Tensor) -> None:
        self.student, self.noise, self.teacher = (
            student,
            pairs["noise"][member],
            pairs["teacher"][member].numpy(),
        )
        self.rows: list[dict[str, np.ndarray]] = []
        self.members = members

    def add(self, state: Cycle) -> None:
        """Append the losses of `state` and the students' variance_ratio and pair_cosine now."""
        outputs = _apply(self.student, self.noise).numpy()
        row = {"iteration": np.full(self.members, state.iteration)}
        row |= {name: getattr(state, name).cpu().numpy() for name in COLUMNS}
        with np.errstate(all="ignore"):  # a failed member's outputs are not finite; its numbers are recorded as such
            totals = [RowMoments.of(p, g).total() for p, g in zip(self.teacher, outputs, strict=True)]
            row["variance_ratio"] = np.array([float(t.variance_ratio) for t in totals])
            row["pair_cosine"] = np.array([float(t.pair_cosine) for t in totals])
        self.rows.append(row)

    def columns(self, i: int) -> dict[str, list[float]]:
        """Member i's curve by column."""
        return {name: [float(row[name][i]) for row in self.rows] for name in self.rows[0]}

    def text(self) -> str:
        """The last row's means in a few words."""
        last = self.rows[-1]
        well = np.isfinite(last["variance_ratio"])
        if not well.any():
            return "every member has failed"
        ratio, cosine = (float(last[key][well].mean()) for key in ("variance_ratio", "pair_cosine"))
        return f"variance ratio {ratio:.2f}, cosine {cosine:.2f}"


def _result(
    experiment: Experiment,
    pairs: dict[str, np.ndarray],
    student: np.ndarray,
    failed_at: int,
    risk: float,
    start_risk: float,
    curve: dict[str, list[float]],
    weights: dict[str, Tensor],
) -> RunResult:
    """Measure one run; a failed one has no measurements, arrays or weights."""
    check = check_teacher(pairs["teacher"], pairs["data"], pairs["fresh"], risk)
    summary: dict[str, Any] = {
        "status": "done",
        "failed_at": None,
        "teacher": check,
        "start_excess_risk": float(start_risk),
    }
    if failed_at >= 0 or not (np.isfinite(student).all() and np.isfinite(pairs["teacher"]).all()):
        at = failed_at if failed_at >= 0 else experiment.student.iterations
        return RunResult(experiment, summary | {"status": "failed", "failed_at": at}, curve, {}, {})
    arrays = {name: array for name, array in pairs.items() if name != "fresh"} | {"student": student}
    report = measure(arrays["teacher"], student, reference=arrays["reference"])
    words = report.in_words()
    if not check["ok"]:
        words.append(f"Beware: the teacher failed its own check: {'; '.join(check['reasons'])}.")
    return RunResult(experiment, summary | report.to_dict() | {"in_words": words}, curve, arrays, weights)
