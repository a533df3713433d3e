"""A finished run, read back from its folder.

    OUT/runs/<law>-d<dim>-<init>-s<seed>-<id>/
        experiment.json       the resolved configuration, every key
        environment.json      versions, commit, hardware, device, threads, seconds
        curve.csv             the training curve, a row a checkpoint
        student.npy           the student's outputs, (n, d) float32
        student.safetensors   the student's weights
        moments.safetensors   where measure.keep asks for them: its and the fake score's on the way (`Record.moments`)
        summary.json          status, measurements, and the names of what the run shares with others
        checksums.json        of these files, and of those that it shares (`dmdlab.records.checksums`):
    OUT/pairs/<name>.npz        noise, teacher, one_step, reference, data, each (n, d) float32, and for conditional
                                runs label, reference_label, each (n,) int64: once for all students of one teacher
    OUT/calibration/<name>.npz  what every measure reads on this teacher under known remaps

A folder without summary.json is no run. There is no database: a catalogue of runs is a scan of folders, which no
network file system can corrupt. Format 1 kept all six arrays in the run's own pairs.npz, format 2 no checksums; both
are read, too.
"""

import csv
import itertools
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np

from dmdlab.config import RESULT_VERSION, Experiment, InputError, StudentConfig, flatten, without_places
from dmdlab.pairing import Calibration, Pairs
from dmdlab.pairing.files import read_calibration
from dmdlab.records.checksums import Damaged, check_npz
from dmdlab.records.kept_arrays import npy_fits, npz_opens, read_stored, whole
from dmdlab.records.kept_json import read_json
from dmdlab.records.kept_summary import lacking_parts, odd_parts
from dmdlab.records.kept_weights import read_weights
from dmdlab.trouble import unreadable

FORMAT = 3
"""Version of the folder's layout."""

ASIDE = "damaged"
"""The folder of a store that damaged things are moved to."""

READABLE = (1, 2, FORMAT)

ARRAYS = ("noise", "teacher", "student", "one_step", "reference", "data")
"""A run's paired arrays, in the order of `Record.arrays`."""

SHARED = tuple(name for name in ARRAYS if name != "student")
"""Those that all students of one teacher share."""

LABELS = ("label", "reference_label")
"""Shared arrays of a conditional run: the classes of the noise, and of the reference's fresh noise, each (n,) int64."""

_NEEDED: dict[str, tuple[str, ...]] = {
    "summary": ("id", "status", "failed_at", "teacher"),
    "experiment": ("law.name", "law.dim", "student.init", "seed"),
    "environment": (),
}
"""What a record cannot do without, by the file that holds it; `_lacking` adds what depends on the run."""

_KINDS = {"law.name": str, "law.dim": int, "student.init": str, "seed": int}
"""Of the settings that order and name runs."""

INITS: tuple[str, ...] = get_args(StudentConfig.model_fields["init"].annotation)
"""The students' starts, in the order of every table and figure."""


def folder_name(e: Experiment) -> str:
    """Readable first, unique last: mixture-d8-teacher-s0-1a2b3c4d5e."""
    return f"{e.law.name}-d{e.law.dim}-{e.student.init}-s{e.seed}-{e.id}"


@dataclass(frozen=True)
class Record:
    """A run read back from its folder. Small parts are read at once, arrays and curve when asked for."""

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]

    @property
    def done(self) -> bool:
        """Whether the run came to its end: a failed one has neither student nor metrics."""
        return bool(self.summary["status"] == "done")

    @property
    def teacher_ok(self) -> bool:
        """Whether the teacher passed its own check."""
        return bool(self.summary["teacher"]["ok"])

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the result: the configuration, law and dimension first, and the version of the results;
        without the places of files whose digest is there."""
        place = {key: self.config[key] for key in ("law.name", "law.dim")}
        known = {"result_version": self.summary["result_version"], **self.config}
        return place | without_places(known)

    @cached_property
    def row(self) -> dict[str, Any]:
        """One flat row: id, status, config keys with dots, metrics under their keys (None when unresolved)."""
        summary = self.summary
        return {
            **{key: summary[key] for key in ("id", "status", "failed_at")},
            **self.settings,
            **self.config,
            **{key: measured["value"] for key, measured in summary.get("metrics", {}).items()},
            **{f"within_{key}": value for key, value in summary.get("within_classes", {}).get("means", {}).items()},
            **{f"law_{key}": value for key, value in summary.get("law_facts", {}).items()},
            **{f"teacher_{key}": value for key, value in summary["teacher"].items()},
            **{f"student_{key}": value for key, value in summary.get("student", {}).items()},
            **{f"own_{key}": measured["value"] for key, measured in summary.get("own", {}).items()},
            **{f"turn_{key}": value for key, value in summary.get("turns", {}).items()},
            **{f"steps_{key}": measured["value"] for key, measured in summary.get("steps", {}).items()},
            **{key: summary.get(key) for key in ("start_excess_risk", "calibration")},
            **{key: self.environment.get(key) for key in ("seconds", "device", "hardware", "commit")},
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays named in `ARRAYS`, each (n, d), and `LABELS` of a conditional run; empty for a failed run. Raises
        `InputError` where one is lost."""
        if not self.done:
            return {}
        if self.summary["format"] == 1:
            return read_stored(self.folder / "pairs.npz", ARRAYS)
        found = read_stored(self.out / "pairs" / self.summary["pairs"], self._shared) | {"student": self.student()}
        return {name: found[name] for name in (*ARRAYS, *LABELS) if name in found}

    def student(self) -> np.ndarray:
        """The student's outputs (n, d) of a finished run. Raises `InputError` where they are lost."""
        if self.summary["format"] == 1:
            return self.arrays()["student"]
        with whole(path := self.folder / "student.npy"), path.open("rb") as file:
            found: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return found

    def weights(self) -> dict[str, np.ndarray]:
        """The student's parameters by name, in no order. Raises `InputError` where they are lost."""
        return read_weights(self.folder / "student.safetensors")

    def moments(self) -> dict[str, np.ndarray]:
        """What `measure.keep` kept on the way: "iteration" (m,), and "student.<parameter>" and "fake.<parameter>",
        (m, ...) each; empty where nothing was kept. Raises `InputError` where it is damaged."""
        path = self.folder / "moments.safetensors"
        return read_weights(path) if path.is_file() else {}

    def pairs(self) -> Pairs:
        """The arrays named in `ARRAYS` as they are measured. Raises `InputError` for a failed run."""
        if not self.done:
            raise InputError(f"{self.folder}: this run failed and left no student; choose a finished one")
        arrays = self.arrays()
        return Pairs.of(**{name: arrays[name] for name in ARRAYS})

    def calibration(self) -> Calibration | None:
        """What every measure reads under known remaps of this run's teacher, at its n and d; None without one.

        Raises `InputError` where it is damaged, and warns where it is lost.
        """
        if not (name := self.summary.get("calibration")):
            return None
        path = self.out / "calibration" / str(name)
        if not path.is_file():
            warnings.warn(
                f"{path}: not there; copy the sweep's folder whole, or make it anew: `dmdlab calibrate` with the "
                f"sweep's settings and --out {self.out}",
                stacklevel=2,
            )
            return None
        return _kept_calibration(path)

    def whole(self) -> bool:
        """Whether nothing of a run of this format was lost or cut short, as far as a glance tells."""
        return not self.done or (
            npy_fits(self.folder / "student.npy")
            and npz_opens(self.out / "pairs" / self.summary["pairs"], self._shared)
        )

    def curve(self) -> dict[str, np.ndarray]:
        """The training curve by column. Raises `InputError` where it is lost."""
        with whole(path := self.folder / "curve.csv"), path.open(newline="", encoding="utf-8") as file:
            columns, *rows = list(csv.reader(file))
            table = np.array(rows, dtype=float).reshape(-1, len(columns))
        return {name: table[:, i] for i, name in enumerate(columns)}

    @property
    def _shared(self) -> tuple[str, ...]:
        """The names of the arrays that it shares."""
        return shared_arrays(bool(self.config.get("teacher.condition")))  # a key that older records lack

    @property
    def out(self) -> Path:
        """The sweep's folder."""
        return self.folder.resolve().parent.parent


def load_record(folder: Path) -> Record:
    """Read one run's folder. Raises `InputError` for a missing, damaged or foreign one."""
    again = "delete the folder and run the sweep again"
    try:
        place = str(folder)  # text is quicker than paths, where runs are thousands
        parts = [read_json(f"{place}/{name}.json") for name in _NEEDED]
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no {Path(error.filename).name}; expected the folder of a finished run") from None
    except OSError as error:
        raise unreadable(folder, error) from None
    except (ValueError, RecursionError) as error:  # no JSON, or no text at all
        raise InputError(f"{folder}: damaged ({error}); {again}") from None
    if not all(isinstance(part, dict) for part in parts):
        raise InputError(f"{folder}: a JSON file in it holds no object; {again}")
    layout, version = parts[0].get("format"), parts[0].get("result_version")
    if type(layout) is not int:
        raise InputError(f"{folder}: damaged (summary.json says no format); {again}")
    if layout not in READABLE or version not in range(1, RESULT_VERSION + 1):
        raise InputError(
            f"{folder}: written by another version (format {layout}, results {version}; this one reads formats "
            f"{READABLE[0]} to {FORMAT}, results 1 to {RESULT_VERSION}); read it with the commit in its "
            "environment.json, or run the sweep into a new folder"
        )
    for (name, keys), part in zip(_NEEDED.items(), parts, strict=True):
        lacking = [key for key in keys if key not in part]
        if lacking or (lacking := lacking_parts(part) if name == "summary" else []):
            raise InputError(f"{folder}: damaged ({name}.json lacks {', '.join(lacking)}); {again}")
    if odd := odd_parts(parts[0]):
        raise InputError(f"{folder}: damaged (summary.json: {', '.join(odd)} of another kind than expected); {again}")
    if any(type(parts[1][key]) is not kind for key, kind in _KINDS.items()):
        raise InputError(f"{folder}: damaged (experiment.json: a law, dimension or seed that is none); {again}")
    if parts[1]["student.init"] not in INITS:
        raise InputError(f"{folder}: student.init is {parts[1]['student.init']!r}; expected one of: {', '.join(INITS)}")
    summary, config, environment = parts
    return Record(folder, summary, _at_defaults(config, version) | config, environment)


def _at_defaults(config: Mapping[str, Any], version: object) -> dict[str, Any]:
    """What a run of these results had before there was a key for it: that key's default."""
    if version != RESULT_VERSION:
        return {}
    return _defaults() | {"teacher.snapshot": config.get("teacher.iterations", 0)}


@lru_cache
def _defaults() -> dict[str, Any]:
    return flatten(Experiment())


def check_folder(directory: Path) -> None:
    """Raise `InputError` where this is no folder."""
    if not directory.is_dir():
        what = "this is a file; expected a folder" if directory.exists() else "no such folder; expected one"
        swept = f"; a sweep of it is in runs/{directory.stem}, by default" if directory.suffix == ".toml" else ""
        raise InputError(f"{directory}: {what} that `dmdlab sweep` or `dmdlab run` wrote{swept}")


def _instead(directory: Path) -> str:
    """What to do where there is no run below a folder, by whether files lie in it: a sweep's folder has none."""
    if file := min((path.name for path in directory.iterdir() if path.is_file()), default=None):
        return f"it holds files such as {file}; expected a folder that `dmdlab sweep` or `dmdlab run` wrote"
    return f"`dmdlab sweep FILE --out {directory}` makes some"


def load_records(directory: Path | str) -> list[Record]:
    """Every finished run below `directory` (a sweep's folder, or a run's own), ordered by configuration.

    A run that lies there twice, as in a copied folder, counts once, with a warning.
    Raises `InputError` when there is none, or when one was written by another version.
    """
    check_folder(directory := Path(directory))
    found = sorted(directory.rglob("summary.json"))
    files = [p for p in found if not _elsewhere(p.relative_to(directory).parts)]
    if not files:
        raise InputError(f"{directory}: no finished run below it; {_instead(directory)}")
    records: dict[str, Record] = {}
    for record in (load_record(path.parent) for path in files):
        first = records.setdefault(record.summary["id"], record)
        if first is not record:
            warnings.warn(f"{record.folder} is the same run as {first.folder}; it counts once", stacklevel=2)
    return ordered(records.values())


def _elsewhere(parts: tuple[str, ...]) -> bool:
    """Whether a path is within something unfinished, or damaged and set aside."""
    return any(part.startswith(".") for part in parts) or (ASIDE, "runs") in itertools.pairwise(parts)


def ordered(records: Iterable[Record]) -> list[Record]:
    """Records by law, dimension, start and seed."""

    def place(record: Record) -> tuple[Any, ...]:
        law, dim, init, seed = (record.config[key] for key in ("law.name", "law.dim", "student.init", "seed"))
        return law, dim, INITS.index(init), seed, json.dumps(record.config)

    return sorted(records, key=place)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A stored calibration with what determines it, as a `Record` is of a run.

    Attributes:
        row: flat: 'calibration' (its id), the configuration keys it depends on, 'hardware', 'commit'.
        found: the calibration.
    """

    row: dict[str, Any]
    found: Calibration

    def calibration(self) -> Calibration:
        """The calibration, under the name that a run's record has for its own."""
        return self.found


def load_calibrated(path: Path) -> Calibrated:
    """One calibration that a sweep keeps. Raises `InputError` for a file that is none, or a damaged one."""
    found = _kept_calibration(path)
    with np.load(path, allow_pickle=False) as stored:
        if "about" not in stored:
            raise InputError(f"{path}: a calibration without its settings; delete it, a sweep makes it anew.")
        about = str(stored["about"])
    try:
        row = json.loads(about)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it, a sweep makes it anew.") from None
    return Calibrated(row, found)


def _kept_calibration(path: Path) -> Calibration:
    """`read_calibration` of a file that a sweep keeps: what is wrong with it, and the advice that fits there."""
    try:
        found = read_calibration(path)
        check_npz(path)
        return found
    except Damaged as error:
        raise InputError(f"{path}: damaged or cut short ({error}); delete it, a sweep makes it anew") from None
    except InputError as error:
        if isinstance(error.__context__, OSError):  # not the file's fault
            raise
        told = str(error).rstrip(".")
        raise InputError(f"{told.rpartition('; ')[0] or told}; delete it, a sweep makes it anew") from None


def shared_arrays(condition: bool) -> tuple[str, ...]:
    """The names of the arrays that all students of one teacher share: `SHARED`, and `LABELS` of conditional ones."""
    return SHARED + LABELS if condition else SHARED
