"""One folder per run: everything a reader needs to trust, redraw or repeat it.

    OUT/runs/<law>-d<dim>-<init>-s<seed>-<id>/
        experiment.json       the resolved configuration, every key
        environment.json      versions, commit, hardware, device, threads, seconds
        curve.csv             the training curve, a row a checkpoint
        pairs.npz             noise, teacher, student, one_step, reference, data: (n, d) float32
        student.safetensors   the student's weights (and `rotation`, when its noise is rotated)
        summary.json          status and measurements; written last and atomically: it marks the run as done

A folder without summary.json is an interrupted run: the next sweep writes it anew. There is no database: a catalogue
of runs is a scan of folders, which no network file system can corrupt.
"""

import csv
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dmdlab.config import RESULT_VERSION, Experiment, InputError, flatten
from dmdlab.pairing import Calibration
from dmdlab.pairing.files import read_calibration

FORMAT = 1
"""Version of the folder's layout; `load_records` refuses others."""

ARRAYS = ("noise", "teacher", "student", "one_step", "reference", "data")


@dataclass(frozen=True)
class RunResult:
    """What one finished or failed run leaves behind; `arrays` and `weights` are empty for a failed one."""

    experiment: Experiment
    summary: dict[str, Any]
    curve: dict[str, list[float]]
    arrays: dict[str, np.ndarray]
    weights: dict[str, Tensor]


def folder_name(experiment: Experiment) -> str:
    """Readable first, unique last: mixture-d8-teacher-s0-1a2b3c4d5e."""
    e = experiment
    return f"{e.law.name}-d{e.law.dim}-{e.student.init}-s{e.seed}-{e.id}"


def prepare(out: Path) -> Path:
    """Make sure that `out` is a folder one can write to; raises `InputError` before anything is computed."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: this is a file; expected a folder (it is made when missing)")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there ({error.strerror}); choose a folder you own") from None
    return out


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader sees the old file or the whole new one, never a part."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _json(value: object) -> str:
    return json.dumps(_finite(value), indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.integer) else value


def write_run(out: Path, result: RunResult, environment: Mapping[str, Any]) -> Path:
    """Write one run's folder under out/runs, summary last; returns the folder."""
    from safetensors.torch import save_file

    folder = out / "runs" / folder_name(result.experiment)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("summary.json", "pairs.npz", "student.safetensors"):  # what an interrupted attempt left
        (folder / name).unlink(missing_ok=True)
    (folder / "experiment.json").write_text(_json(flatten(result.experiment)), encoding="utf-8")
    (folder / "environment.json").write_text(_json(dict(environment)), encoding="utf-8")
    with (folder / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(result.curve)
        writer.writerows(zip(*result.curve.values(), strict=True))
    if result.arrays:
        np.savez(folder / "pairs.npz", **result.arrays)  # type: ignore[arg-type]
    if result.weights:
        save_file(result.weights, folder / "student.safetensors")
    head = {"format": FORMAT, "result_version": RESULT_VERSION, "id": result.experiment.id}
    write_atomically(folder / "summary.json", _json({**head, **result.summary}))
    return folder


def start_path(out: Path, experiment: Experiment) -> Path:
    """Where `out` keeps the start network (the trained teacher) of this experiment's seed."""
    return out / "teachers" / f"{experiment.teacher_id}.safetensors"


def write_start(path: Path, row: Tensor) -> None:
    """Keep a network's parameters (P,), whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    save_file({"parameters": row.contiguous()}, partial)
    partial.replace(path)


def read_start(path: Path) -> Tensor:
    """The parameters (P,) that `write_start` kept."""
    from safetensors.torch import load_file

    return load_file(path)["parameters"]


def finished(out: Path, experiment: Experiment) -> bool:
    """Whether this run stands in `out`, done or failed. Raises `InputError` when another version wrote it."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: this is a file; expected a folder (it is made when missing)")
    folder = out / "runs" / folder_name(experiment)
    return (folder / "summary.json").is_file() and bool(load_record(folder))


@dataclass(frozen=True)
class Record:
    """A run read back from its folder. Small parts are read at once, arrays and curve when asked for."""

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]

    @cached_property
    def row(self) -> dict[str, Any]:
        """One flat row: id, status, config keys with dots, metrics under their keys (None when unresolved)."""
        metrics = {key: m["value"] for key, m in self.summary.get("metrics", {}).items()}
        teacher = {f"teacher_{key}": v for key, v in self.summary["teacher"].items()}
        return {
            "id": self.summary["id"],
            "status": self.summary["status"],
            "failed_at": self.summary["failed_at"],
            **self.config,
            **metrics,
            **teacher,
            **{f"student_{key}": v for key, v in self.summary.get("student", {}).items()},
            "start_excess_risk": self.summary.get("start_excess_risk"),
            "calibration": self.summary.get("calibration"),
            "seconds": self.environment["seconds"],
            "device": self.environment["device"],
            "hardware": self.environment["hardware"],
            "commit": self.environment["commit"],
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The paired arrays, each (n, d); empty for a failed run."""
        path = self.folder / "pairs.npz"
        if not path.is_file():
            return {}
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def calibration(self) -> Calibration | None:
        """What every measure reads under known remaps of this run's teacher, at its n and d; None without one."""
        name = self.summary.get("calibration")
        path = self.folder.parent.parent / "calibration" / str(name)
        return read_calibration(path) if name and path.is_file() else None

    def curve(self) -> dict[str, np.ndarray]:
        """The training curve by column."""
        with (self.folder / "curve.csv").open(newline="", encoding="utf-8") as file:
            columns, *rows = list(csv.reader(file))
        table = np.array(rows, dtype=float).reshape(-1, len(columns))
        return {name: table[:, i] for i, name in enumerate(columns)}


def load_record(folder: Path) -> Record:
    """Read one run's folder. Raises `InputError` for a missing, damaged or foreign one."""
    try:
        parts = [json.loads((folder / f"{name}.json").read_text()) for name in ("summary", "experiment", "environment")]
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no {Path(error.filename).name}; expected the folder of a finished run") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{folder}: damaged ({error}); delete the folder and run the sweep again") from None
    summary, config, environment = parts
    if summary.get("format") != FORMAT or summary.get("result_version") != RESULT_VERSION:
        raise InputError(
            f"{folder}: written by another version (format {summary.get('format')}, results "
            f"{summary.get('result_version')}; this one reads format {FORMAT}, results {RESULT_VERSION}); "
            "read it with the commit in its environment.json, or run the sweep into a new folder"
        )
    return Record(folder, summary, config, environment)


def load_records(directory: Path) -> list[Record]:
    """Every finished run below `directory` (a sweep's folder, or a run's own), ordered by configuration.

    Raises `InputError` when there is none, or when one was written by another version.
    """
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; expected one that `dmdlab sweep` or `dmdlab run` wrote")
    folders = sorted(path.parent for path in directory.rglob("summary.json"))
    if not folders:
        raise InputError(f"{directory}: no finished run below it; `dmdlab sweep FILE --out {directory}` makes some")
    records = [load_record(folder) for folder in folders]
    return sorted(records, key=lambda r: _order(r.config))


def _order(config: Mapping[str, Any]) -> tuple[Any, ...]:
    inits = ("teacher", "rotated", "random")
    return (
        config["law.name"],
        config["law.dim"],
        inits.index(config["student.init"]),
        config["seed"],
        json.dumps(config),
    )


def select(records: Sequence[Record], wanted: Mapping[str, Any]) -> list[Record]:
    """The records whose row equals `wanted` in each of its keys; raises `InputError` for a key no record has."""
    for key in wanted:
        if all(key not in r.row for r in records):
            raise InputError(f"unknown column {key!r}; `dmdlab table DIR --format csv` shows the columns")
    return [r for r in records if all(r.row.get(k) == v for k, v in wanted.items())]
