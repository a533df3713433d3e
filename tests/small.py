"""Experiments small enough to run in a second, for the tests of the loop, the lab and the command line."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dmdlab.config import Experiment, experiment_from
from dmdlab.diffusion import EDMDenoiser
from dmdlab.experiments import load
from dmdlab.lab.store import Record, load_records
from dmdlab.lab.sweep import sweep
from dmdlab.laws import Law, make_law
from dmdlab.randomness import generator, rotation
from dmdlab.training.distill import Distillation, Student
from dmdlab.training.teacher import denoiser_for, ensemble_of

CPU = torch.device("cpu")


def experiment(**settings: object) -> Experiment:
    """A student that trains in a second; `__` stands for the dot."""
    base = {
        "law__components": 4,
        "law__dim": 4,
        "network__width": 16,
        "network__depth": 1,
        "student__iterations": 250,
        "student__batch": 32,
        "student__warmup": 20,
        "student__learning_rate": 3e-3,
    }
    return experiment_from({k.replace("__", "."): v for k, v in (base | settings).items()})


def law_of(e: Experiment) -> Law:
    return make_law(e.law.model_dump())


def start_denoiser(experiments: Sequence[Experiment], name: str = "network") -> EDMDenoiser:
    """Untrained networks, each from its own seed: the loop does not care how good its start is."""
    denoiser = denoiser_for(len(experiments), experiments[0].network, law_of(experiments[0]), CPU)
    ensemble_of(denoiser).initialise([generator(e.seed, name) for e in experiments])
    return denoiser


def distillation(experiments: Sequence[Experiment], turns: Tensor | None = None) -> Distillation:
    """The loop at its start; `turns` (d, d) or the members' own inits decide how their noise is rotated."""
    rows = [
        ensemble_of(start_denoiser([e], "student" if e.student.init == "random" else "network")).flat
        for e in experiments
    ]
    student_network = start_denoiser(experiments)
    ensemble_of(student_network).load_rows(torch.cat(rows))
    d, sigma_max = experiments[0].law.dim, experiments[0].noise.sigma_max
    rotated = torch.tensor([e.student.init == "rotated" for e in experiments])
    own = torch.stack([rotation(e.seed, d) for e in experiments]) if turns is None else turns.expand(len(rotated), d, d)
    student = Student(student_network, sigma_max, own, rotated)
    return Distillation(experiments, law_of(experiments[0]).denoise, student, start_denoiser(experiments))


def cycle(loop: Distillation) -> Tensor:
    """One cycle and its five numbers, (5, e)."""
    loop.cycle()
    report = loop.report()
    names = ("dm_loss", "score_loss", "gap", "student_gradient_norm", "score_gradient_norm")
    return torch.stack([getattr(report, name) for name in names])


def parameters(loop: Distillation) -> list[Tensor]:
    return [loop.student.network.flat.detach(), ensemble_of(loop.fake).flat.detach()]


TINY = (
    "teacher.iterations=10",
    "teacher.batch=16",
    "network.width=8",
    "student.iterations=20",
    "student.batch=16",
    "measure.samples=24",
    "measure.checkpoints=3",
    "noise.sigma_max=5.0",  # a small prior, so that hardly trained students are not collapsed ones
)
"""The smoke preset made smaller still."""


def experiments(*words: str) -> list[Experiment]:
    """The sweep of these `key=value` words on top of `TINY`."""
    return load(None, "smoke", [*TINY, *words]).experiments()


def do(wanted: Sequence[Experiment], out: Path) -> list[Record]:
    """Sweep these into `out`; every record there."""
    for _ in sweep(wanted, out, CPU):
        pass
    return load_records(out)
