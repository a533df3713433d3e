"""Many runs into one folder: does what is missing, keeps what is finished.

On a CPU the ensembles are shared out among worker processes, a core or more each: small matrix products use several
processes far better than several threads. On a GPU a few processes share it, so that one trains while others measure.
Every worker writes its own runs; the parent only watches. An ensemble that is refused memory after all goes on as two
halves. A system that kills instead, as Linux does when RAM runs out, ends the sweep; the same command goes on.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dmdlab.config import Experiment, InputError
from dmdlab.device.allocator import keep_freed, tune_allocator
from dmdlab.device.environment import environment
from dmdlab.device.limits import out_of_memory, release_memory, taken
from dmdlab.device.precision import precision_on
from dmdlab.lab.calibrate import stored_calibration
from dmdlab.lab.checkpoint import Checkpoint
from dmdlab.lab.plan import DISTILLING, START_NETWORKS, Plan, plan, split, too_large
from dmdlab.lab.run import Clock, Progress, Rows, run_ensemble
from dmdlab.lab.store import finished, read_start, start_path, write_run, write_start
from dmdlab.pairing import Calibration


@dataclass(frozen=True)
class Planned:
    """What is about to be done."""

    plan: Plan


@dataclass(frozen=True)
class Started:
    """An ensemble begins, or a part of one that was split."""

    experiments: list[Experiment]


@dataclass(frozen=True)
class Taken:
    """The most memory that this process, or the GPU, has taken so far, in bytes."""

    process: int
    bytes: int


@dataclass(frozen=True)
class Split:
    """An ensemble ran out of memory: `parts` of its unfinished runs go on one after the other. why: the error."""

    experiments: list[Experiment]
    parts: list[list[Experiment]]
    why: str


@dataclass(frozen=True)
class Finished:
    """One run was written: its folder and its status, 'done' or 'failed'."""

    experiment: Experiment
    folder: Path
    status: str


Event = Planned | Started | Progress | Taken | Split | Finished


def missing(experiments: Sequence[Experiment], out: Path) -> list[Experiment]:
    """The experiments that `out` does not hold yet."""
    return [e for e in experiments if not finished(out, e)]


def sweep(
    experiments: Sequence[Experiment],
    out: Path,
    device: torch.device,
    workers: int = 1,
    memory: int | None = None,
    graph: bool | None = None,
) -> Iterator[tuple[int, Event]]:
    """Run what is missing and write each run as it is measured; yields (index of the ensemble, what happened).

    workers: processes to share the ensembles out to; 1 works in this one. memory: as for `plan`. The first event is
    `Planned`. graph: as for `Distillation`. Start networks are kept in out/teachers and long trainings in
    out/checkpoints, so that an interrupted sweep goes on where it was.

    Raises `InputError`, before anything is trained, when the device lacks a run's precision or a run does not fit the
    memory by estimate; later when one does not fit after all, or a worker was killed.
    """
    check_precision(experiments, device)
    planned = plan(missing(experiments, out), device, workers, memory)
    yield 0, Planned(planned)
    groups = [part.experiments for part in planned.parts]
    if min(planned.workers, len(groups)) > 1:
        from dmdlab.lab.engines import share_out

        yield from share_out(groups, out, device, min(planned.workers, len(groups)), graph)
        return
    tune_allocator()
    for index, group in enumerate(groups):
        if index:
            release_memory(device)
        for event in work(group, out, device, graph):
            yield index, event


def check_precision(experiments: Sequence[Experiment], device: torch.device) -> None:
    """Raise `InputError` for a `network.precision` that the device lacks."""
    for wanted in {e.network.precision for e in experiments}:
        precision_on(device, wanted)


def work(group: list[Experiment], out: Path, device: torch.device, graph: bool | None = None) -> Iterator[Event]:
    """Train, measure and write one ensemble, by halves where it does not fit the memory.

    Raises `InputError` when a run does not fit even alone.
    """
    waiting = [group]
    while waiting:
        part, why = waiting.pop(0), ""
        yield Started(part)
        try:
            yield from _train(part, out, device, graph)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            why = str(error).strip().partition("\n")[0] or type(error).__name__
        if why and (left := missing(part, out)):  # here the error's traceback holds no tensors any more
            if len(part) == 1:
                raise InputError(too_large(part[0], device, f"it ran out of memory ({why})"))
            parts = split(left, 2, len(left)) if len(left) == len(part) else [left]
            yield Split(part, parts, why)
            waiting = parts + waiting
        if waiting:
            release_memory(device)


def _train(group: list[Experiment], out: Path, device: torch.device, graph: bool | None) -> Iterator[Event]:
    """One attempt at an ensemble; start networks, checkpoints and finished runs stay whatever happens."""
    clock, checkpoint = Clock(), Checkpoint(out, group, device)
    precision = precision_on(device, group[0].network.precision)
    stored = {e.seed: start_path(out, e) for e in group}
    rows = {seed: read_start(path) for seed, path in stored.items() if path.is_file()}

    def keep(new: Rows) -> None:
        for seed, row in new.items():
            write_start(stored[seed], row)

    def calibrate(experiment: Experiment) -> Calibration:
        return stored_calibration(out, experiment, device)

    stage = ""
    keep_freed(True)
    for event in run_ensemble(group, device, rows, keep, clock, calibrate, checkpoint, graph):
        if isinstance(event, Progress):
            if event.stage != stage:
                stage = event.stage
                keep_freed(stage in (START_NETWORKS, DISTILLING))
            yield event
            if (most := taken(device)) is not None:
                yield Taken(os.getpid(), most)
            continue
        folder = write_run(out, event, environment(device, clock.share(len(group)), precision))
        yield Finished(event.experiment, folder, event.summary["status"])
    checkpoint.clear()
