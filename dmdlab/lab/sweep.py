"""Many runs into one folder: does what is missing, keeps what is finished.

On a CPU the ensembles are shared out among worker processes, a core or more each: small matrix products use several
processes far better than several threads. Every worker writes its own runs; the parent only watches.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dmdlab.config import Experiment
from dmdlab.lab.calibrate import stored_calibration
from dmdlab.lab.environment import environment, tune_allocator
from dmdlab.lab.plan import cost, ensembles
from dmdlab.lab.run import Clock, Progress, Rows, run_ensemble
from dmdlab.lab.store import finished, read_start, start_path, write_run, write_start
from dmdlab.pairing import Calibration


@dataclass(frozen=True)
class Started:
    """An ensemble begins."""

    experiments: list[Experiment]


@dataclass(frozen=True)
class Finished:
    """One run was written: its folder and its status, 'done' or 'failed'."""

    experiment: Experiment
    folder: Path
    status: str


Event = Started | Progress | Finished


def missing(experiments: Sequence[Experiment], out: Path) -> list[Experiment]:
    """The experiments that `out` does not hold yet."""
    return [e for e in experiments if not finished(out, e)]


def sweep(
    experiments: Sequence[Experiment], out: Path, device: torch.device, workers: int = 1
) -> Iterator[tuple[int, Event]]:
    """Run what is missing and write each run as it is measured; yields (index of the ensemble, what happened).

    workers: processes to share the ensembles out to; 1 works in this one. Start networks are kept in out/teachers, so
    that an interrupted sweep does not train them again.
    """
    groups = sorted(
        ensembles(missing(experiments, out)), key=cost, reverse=True
    )  # the long ones first: no late straggler
    if min(workers, len(groups)) > 1:
        from dmdlab.lab.workers import share_out

        yield from share_out(groups, out, min(workers, len(groups)))
        return
    tune_allocator()
    for index, group in enumerate(groups):
        for event in work(group, out, device):
            yield index, event


def default_workers(device: torch.device) -> int:
    """One a core on a CPU; one on a GPU, which a single ensemble fills."""
    return len(os.sched_getaffinity(0)) if device.type == "cpu" and hasattr(os, "sched_getaffinity") else 1


def work(group: list[Experiment], out: Path, device: torch.device) -> Iterator[Event]:
    """Train, measure and write one ensemble."""
    yield Started(group)
    clock = Clock()
    stored = {e.seed: start_path(out, e) for e in group}
    rows = {seed: read_start(path) for seed, path in stored.items() if path.is_file()}

    def keep(new: Rows) -> None:
        for seed, row in new.items():
            write_start(stored[seed], row)

    def calibrate(experiment: Experiment) -> Calibration:
        return stored_calibration(out, experiment, device)

    for event in run_ensemble(group, device, rows, keep, clock, calibrate):
        if isinstance(event, Progress):
            yield event
            continue
        folder = write_run(out, event, environment(device, clock.share(len(group))))
        yield Finished(event.experiment, folder, event.summary["status"])
