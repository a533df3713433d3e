"""Many runs into one folder: does what is missing, keeps what is finished."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from dmdlab.config import Experiment
from dmdlab.lab.environment import environment
from dmdlab.lab.plan import ensembles
from dmdlab.lab.run import Clock, Progress, Rows, run_ensemble
from dmdlab.lab.store import finished, write_run


@dataclass(frozen=True)
class Finished:
    """One run was written: its folder and its status, 'done' or 'failed'."""

    experiment: Experiment
    folder: Path
    status: str


@dataclass(frozen=True)
class Started:
    """An ensemble begins: its runs, and its place among all."""

    experiments: list[Experiment]
    index: int
    of: int


def missing(experiments: Sequence[Experiment], out: Path) -> list[Experiment]:
    """The experiments that `out` does not hold yet."""
    return [e for e in experiments if not finished(out, e)]


def sweep(
    experiments: Sequence[Experiment], out: Path, device: torch.device
) -> Iterator[Started | Progress | Finished]:
    """Run what is missing, an ensemble at a time, and write each run as it is measured.

    Start networks are kept in out/teachers, so that an interrupted sweep does not train them again.
    """
    groups = ensembles(missing(experiments, out))
    for index, group in enumerate(groups):
        yield Started(group, index, len(groups))
        clock = Clock()
        stored = {e.seed: out / "teachers" / f"{e.teacher_id}.safetensors" for e in group}
        rows = {seed: load_file(path)["parameters"] for seed, path in stored.items() if path.is_file()}

        def keep(new: Rows, stored: dict[int, Path] = stored) -> None:
            for seed, row in new.items():
                _save_row(stored[seed], row)

        for event in run_ensemble(group, device, rows, keep, clock):
            if isinstance(event, Progress):
                yield event
                continue
            folder = write_run(out, event, environment(device, clock.share(len(group))))
            yield Finished(event.experiment, folder, event.summary["status"])


def _save_row(path: Path, row: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    save_file({"parameters": row.contiguous()}, partial)
    partial.replace(path)
