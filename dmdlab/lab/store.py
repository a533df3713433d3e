"""One folder of runs: what is finished in it, and what its runs share and go on from.

    OUT/runs/<law>-d<dim>-<init>-s<seed>-<id>/              finished runs (`dmdlab.records.record`)
    OUT/pairs/<law>-d<dim>-n<samples>-s<seed>-<id>.npz      what the students of one teacher are measured against
    OUT/nearby/<as of pairs>.npz                            what their teacher's flow is like near its noise
    OUT/further/<as of pairs>.npz                           what some figures need beyond them (`dmdlab.lab.further`)
    OUT/calibration/<law>-d<dim>-n<samples>-<id>.npz        what every measure reads on a teacher under known remaps
    OUT/teachers/<id>.safetensors                           trained start networks, and starts that were fitted
    OUT/checkpoints/<hash of the ids>.safetensors           ensembles in mid-training (`dmdlab.lab.checkpoint`)
    OUT/leases/                                             who is at what (`dmdlab.records.leases`), while somebody is

Everything is written under a temporary name and renamed whole, with its checksums (`dmdlab.records.checksums`); where
several make the same, the first one stays. A run that lacks its folder, student or pairs, or whose arrays were cut
short, is not finished: the next sweep makes it anew.
"""

import csv
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dmdlab.config import RESULT_VERSION, Experiment, InputError, fingerprint, map_keys
from dmdlab.experiments import spelled_out
from dmdlab.group import Group, start_owner
from dmdlab.lab.checkpoint import Checkpoint
from dmdlab.records.checksums import KEY, Damaged, check_weights, kept_in_npz, of_weights, save_npz, write_checksums
from dmdlab.records.kept_arrays import npz_opens, read_stored
from dmdlab.records.leases import of_kind
from dmdlab.records.record import (
    FORMAT,
    Calibrated,
    Record,
    folder_name,
    load_calibrated,
    load_record,
    shared_arrays,
)
from dmdlab.records.writing import check_no_file, replacing_in, write_json
from dmdlab.trouble import writing

NEARBY = ("asymmetry", "answers")
"""Arrays of `dmdlab.lab.nearby`."""

LOOKS = 3
"""Times that a finished run is looked at before it is said to be damaged (ours)."""


@dataclass(frozen=True)
class RunResult:
    """What one run leaves behind. curve: by column; student: (n, d); moments: as `Moments.of` gives them; a failed run
    has no student and no weights."""

    experiment: Experiment
    summary: dict[str, Any]
    curve: dict[str, list[float]]
    student: np.ndarray | None
    weights: dict[str, Tensor]
    moments: dict[str, Tensor] = field(default_factory=dict)


class Store:
    """The folder `out`. Raises `InputError` where that is a file."""

    def __init__(self, out: Path) -> None:
        with writing(out):
            check_no_file(out)
        self.out = out
        self._known: dict[str, Path] = {}  # of pairs, by the run

    # --- finished runs

    def finished(self, experiment: Experiment) -> bool:
        """Whether this run stands here, done (and with its student and pairs, whole at a glance) or failed. Raises
        `InputError` when its folder is damaged or foreign."""
        folder = self.folder(experiment)
        for left in reversed(range(LOOKS)):
            try:
                return (folder / "summary.json").is_file() and load_record(folder).whole()
            except InputError:
                if not left:
                    raise
                time.sleep(0.05)  # another sweep may just be putting its own folder in place of it
        return False

    def missing(self, experiments: Sequence[Experiment]) -> list[Experiment]:
        """Those that do not stand here yet."""
        return [e for e in experiments if not self.finished(e)]

    def standing_ids(self) -> set[str]:
        """The ids of all folders that stand here, whatever is in them, by their names: one look."""
        try:
            return {name.rpartition("-")[2] for name in os.listdir(self.out / "runs") if name[0] != "."}
        except FileNotFoundError:
            return set()

    def finished_ids(self) -> set[str]:
        """The ids of all runs that stand here."""
        return {path.parent.name.rpartition("-")[2] for path in (self.out / "runs").glob("[!.]*/summary.json")}

    def _networks(self) -> set[str]:
        """The names of all start networks and fitted starts that are kept here."""
        return {of_kind("network", path.stem) for path in (self.out / "teachers").glob("[!.]*.safetensors")}

    def record(self, experiment: Experiment) -> Record:
        """A finished run, read back. Raises `InputError` where it is not."""
        return load_record(self.folder(experiment))

    def put(self, result: RunResult, environment: Mapping[str, Any]) -> bool:
        """Write one run's folder, whole or not at all; returns whether it is the one that stands.

        Where another sweep has finished the same run in the meantime, that one stays. Raises `InputError` where the
        pairs that it was measured against are gone, as when the store has vanished; `Unwritable` where the system
        refuses, as a full disk does.
        """
        folder, pairs = self.folder(result.experiment), self._pairs(result.experiment)
        if self.finished(result.experiment):
            return False
        if result.student is not None and not pairs.is_file():
            raise InputError(
                f"{pairs}: gone while a run was measured against it, so that this run is not kept; look whether "
                f"{self.out} is still what it was, then the same command goes on"
            )
        head = {"format": FORMAT, "result_version": RESULT_VERSION, "id": result.experiment.id}
        head["pairs"] = pairs.name
        with replacing_in(folder, _whole) as partial:
            partial.mkdir()
            made = partial.stat()
            write_json(partial / "experiment.json", spelled_out(result.experiment))
            write_json(partial / "environment.json", environment)
            with (partial / "curve.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(result.curve)
                writer.writerows(zip(*result.curve.values(), strict=True))
            if result.student is not None:
                np.save(partial / "student.npy", result.student)
                save_file(result.weights, partial / "student.safetensors")
            if result.moments:
                save_file(result.moments, partial / "moments.safetensors")
            write_json(partial / "summary.json", head | result.summary)
            write_checksums(partial, self._shared(result))
        return os.path.samestat(made, folder.stat())

    def _shared(self, result: RunResult) -> dict[str, str | None]:
        """The paths here of the files that this run shares with others, and their checksums."""
        paths = self.shared_paths(result.experiment)
        if name := result.summary.get("calibration"):
            paths.append(self.out / "calibration" / name)
        there = (path for path in paths if path.is_file())
        try:
            kept = {path: kept_in_npz(path) if path.suffix == ".npz" else None for path in there}
        except Damaged as error:
            raise InputError(f"{self.out}: damaged while a run was measured with it ({error})") from None
        return {path.relative_to(self.out).as_posix(): sha for path, sha in kept.items()}

    def shared_paths(self, experiment: Experiment) -> list[Path]:
        """Where the pairs and networks are, or would be, that this run shares with others."""
        e, owner = experiment, start_owner(experiment)
        return [self._pairs(e), *(self._network(id) for id in (e.teacher_id, owner.teacher_id, e.fit_id))]

    def folder(self, experiment: Experiment) -> Path:
        """Where this run stands, or will."""
        return self.out / "runs" / folder_name(experiment)

    # --- what runs share

    def start(self, experiment: Experiment) -> Tensor | None:
        """The parameters (P,) of this experiment's start network (the trained teacher); None where it is not trained.

        Raises `InputError` for a damaged file.
        """
        return self._row(experiment.teacher_id)

    def keep_start(self, experiment: Experiment, row: Tensor) -> bool:
        """Keep a trained start network's parameters (P,), unless it is there; returns whether it did."""
        return self._keep_row(experiment.teacher_id, row)

    def fit(self, experiment: Experiment) -> Tensor | None:
        """The same of a student's start that is fitted to pairs."""
        return self._row(experiment.fit_id)

    def keep_fit(self, experiment: Experiment, row: Tensor) -> bool:
        """The same of such a start."""
        return self._keep_row(experiment.fit_id, row)

    def _row(self, id: str) -> Tensor | None:
        path = self._network(id)
        if not path.is_file():
            return None
        try:
            row = load_file(path)["parameters"]
            check_weights(path)
        except (SafetensorError, OSError, KeyError, Damaged) as error:
            raise InputError(f"{path}: damaged ({error}); delete it, and it is trained anew") from None
        if row.ndim != 1 or not row.is_floating_point():
            about = f"{tuple(row.shape)} of {row.dtype}"
            raise InputError(f"{path}: damaged (parameters {about}, expected a row); delete it, and it is trained anew")
        return row

    def _keep_row(self, id: str, row: Tensor) -> bool:
        path, held = self._network(id), {"parameters": row.contiguous()}
        with replacing_in(path, _sound) as partial:
            save_file(held, partial)
            save_file(held, partial, metadata={KEY: of_weights(partial)[0]})
            made = partial.stat()
        return os.path.samestat(made, path.stat())

    def _network(self, id: str) -> Path:
        return self.out / "teachers" / f"{id}.safetensors"

    def pairs(self, experiment: Experiment) -> dict[str, np.ndarray] | None:
        """The `shared_arrays` that this experiment's student is measured against; None without them, or where the file
        was cut short. Raises `InputError` for one that is damaged within."""
        path, names = self._pairs(experiment), shared_arrays(experiment.teacher.condition)
        return read_stored(path, names) if npz_opens(path, names) else None

    def keep_pairs(self, experiment: Experiment, arrays: Mapping[str, np.ndarray]) -> bool:
        """Keep those arrays, unless whole ones are there: runs were measured against these. Returns whether it did."""
        path, names = self._pairs(experiment), shared_arrays(experiment.teacher.condition)
        with replacing_in(path, lambda old: npz_opens(old, names)) as partial:
            save_npz(partial, {name: arrays[name] for name in names})
            made = partial.stat()
        return os.path.samestat(made, path.stat())

    def nearby(self, experiment: Experiment) -> dict[str, np.ndarray] | None:
        """The arrays of `dmdlab.lab.nearby` of this experiment's teacher and seed; otherwise as `pairs`."""
        path = self.out / "nearby" / self._pairs(experiment).name
        return read_stored(path, NEARBY) if npz_opens(path, NEARBY) else None

    def keep_nearby(self, experiment: Experiment, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep those arrays."""
        with replacing_in(self.out / "nearby" / self._pairs(experiment).name) as partial:
            save_npz(partial, {name: arrays[name] for name in NEARBY})

    def pairs_id(self, experiment: Experiment) -> str:
        """What determines those pairs."""
        return self._pairs(experiment).stem.rpartition("-")[2]

    def _pairs(self, experiment: Experiment) -> Path:
        if known := self._known.get(experiment.id):
            return known
        e, n = experiment, experiment.measure.samples
        own = fingerprint(map_keys(e) | {"measure.samples": n, "seed": e.seed})
        self._known[e.id] = self.out / "pairs" / f"{e.law.name}-d{e.law.dim}-n{n}-s{e.seed}-{own}.npz"
        return self._known[e.id]

    def calibrated(self, experiment: Experiment, id: str) -> Calibrated | None:
        """The calibration of this id, which belongs to the experiment's teacher; None without it."""
        path = self.calibration_path(experiment, id)
        return load_calibrated(path) if path.is_file() else None

    def keep_calibration(self, experiment: Experiment, id: str, found: Calibrated) -> None:
        """Keep a calibration, with what determines it."""
        arrays = found.found.to_arrays()
        with replacing_in(self.calibration_path(experiment, id)) as partial:
            save_npz(partial, {"about": np.array(json.dumps(found.row)), **arrays})

    def calibration_path(self, experiment: Experiment, id: str) -> Path:
        """Where that calibration is kept."""
        law, n = experiment.law, experiment.measure.samples
        return self.out / "calibration" / f"{law.name}-d{law.dim}-n{n}-{id}.npz"

    # --- runs in mid-training

    def checkpoint(self, group: Group, device: torch.device) -> Checkpoint:
        """Where the training of these runs is kept on the way, and goes on from."""
        return Checkpoint(self.out, group.ids, device, self.finished_ids)

    def networks_checkpoint(self, ids: Sequence[str], device: torch.device) -> Checkpoint:
        """The same of start networks or fits of these ids."""
        return Checkpoint(self.out, [of_kind("network", id) for id in ids], device, self._networks)

    def has_checkpoints(self) -> bool:
        """Whether something goes on from a checkpoint here."""
        return any((self.out / "checkpoints").glob("[!.]*.safetensors"))


def _sound(path: Path) -> bool:
    """Whether a file of parameters is whole."""
    try:
        check_weights(path)
    except (Damaged, OSError):
        return False
    return True


def _whole(folder: Path) -> bool:
    """Whether a whole run stands there, as far as a glance tells."""
    try:
        return load_record(folder).whole()
    except InputError:
        return False
