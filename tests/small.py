"""Experiments small enough to run in a second, for the tests of the loop, the lab and the command line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dmdlab.config import Experiment, experiment_from
from dmdlab.device.precision import supports
from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab.plan import plan
from dmdlab.lab.run import run_group
from dmdlab.lab.store import RunResult, Store
from dmdlab.lab.sweep import sweep
from dmdlab.laws import Law, make_law
from dmdlab.networks import EDMDenoiser, fresh_networks
from dmdlab.randomness import generator
from dmdlab.records.record import Record, load_records
from dmdlab.training.cycle import NUMBERS
from dmdlab.training.distill import Distillation, distillation_from

CPU = torch.device("cpu")
NEEDS_BF16 = pytest.mark.skipif(not supports(CPU, "bf16"), reason="this CPU has no bfloat16 products")


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


def group_of(*members: Experiment) -> Group:
    return Group(members)


def start_denoiser(experiments: Sequence[Experiment], name: str = "network") -> EDMDenoiser:
    """Untrained networks, each from its own seed: the loop does not care how good its start is."""
    first, law = experiments[0], law_of(experiments[0])
    denoiser = fresh_networks(first, law, len(experiments))
    denoiser.network.initialise([generator(e.seed, name) for e in experiments])
    return denoiser


def distillation(experiments: Sequence[Experiment]) -> Distillation:
    """The loop at its start, from untrained networks."""
    rows = start_denoiser(experiments).network.flat
    return distillation_from(Group(tuple(experiments)), law_of(experiments[0]), rows)


def cycle(loop: Distillation) -> Tensor:
    """One cycle and its numbers, (numbers, e)."""
    loop.cycle()
    numbers = loop.report().numbers
    return torch.stack([numbers[name] for name in NUMBERS])


def parameters(loop: Distillation) -> list[Tensor]:
    """Of students and fake scores as they stand: copies, which later cycles leave alone."""
    return [denoiser.network.flat.detach().clone() for denoiser in (loop.student, loop.fake)]


TINY = (
    "teacher.iterations=10",
    "teacher.batch=16",
    "network.width=8",
    "student.iterations=20",
    "student.batch=16",
    "measure.samples=24",
    "measure.bases=2",
    "measure.checkpoints=3",
    "noise.sigma_max=5.0",  # a small prior, so that hardly trained students are not collapsed ones
)
"""The smoke preset made smaller still."""


INITS = 'student.init=["teacher", "rotated", "random"]'
STILL = ("student.iterations=1", "student.learning_rate=1e-30", "student.weight_decay=0.0")
"""One tiny step at a negligible rate: the student is still its start."""


def experiments(*words: str) -> list[Experiment]:
    """The sweep of these `key=value` words on top of `TINY`."""
    return load(None, "smoke", [*TINY, *words]).experiments()


def do(wanted: Sequence[Experiment], out: Path) -> list[Record]:
    """Sweep these into `out`; every record there."""
    store = Store(out)
    for _ in sweep(plan(store.missing(wanted), CPU), store):
        pass
    return load_records(out)


def results(wanted: Sequence[Experiment], store: Store) -> list[RunResult]:
    events = run_group(Group(tuple(wanted)), store, CPU)
    return [event for event in events if isinstance(event, RunResult)]


def outputs(result: RunResult) -> np.ndarray:
    assert result.student is not None
    return result.student


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
