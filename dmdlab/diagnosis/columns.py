"""Curves to be read: which columns are known, and what is wrong with a file, in sentences."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmdlab.config import InputError, did_you_mean
from dmdlab.pairing.coverage import LAW_ROWS
from dmdlab.records.record import Record, load_record
from dmdlab.trouble import explained, first_names, printable

COLUMNS = {
    "iteration": "rising number of the row; needed",
    "dm_loss": "loss of distribution matching (shown, and looked at for values that are not finite)",
    "score_loss": "the fake score's denoising loss (likewise)",
    "student_updates": "updates of the student so far; iteration over it is the fake score's updates for each",
    "student_step": "root mean square by which one update moves the student's outputs at fixed noise, over the root "
    "mean square deviation of the teacher's outputs",
    "score_excess": "the fake score's excess denoising risk on the student's own outputs, over the risk that is left: "
    "0 for the best denoiser",
    "variance_ratio": "trace of the covariance of the student's outputs over the teacher's",
    "fidelity": "transport cost of fresh teacher outputs to the student's over that to the teacher's, at equal n",
    "coverage": "share of teacher outputs with a student's within the distance to their fifth nearest",
    "lost": "share of teacher outputs whose whole neighbourhood is not covered",
    "dmd_gradient_norm": "norm of the matching gradient at the student's outputs",
    "gan_gradient_norm": "the same of the GAN's, weight included",
    "teacher_excess_risk": "the teacher's excess denoising risk on data (one value will do)",
    "teacher_transport_ratio": "transport cost of the teacher's outputs to data over that of fresh data (one value)",
    "fidelity_limit": "below it falls fidelity of equal laws at the same n and d, as a calibration found (one value)",
    "transport_limit": "the same at the n and d of teacher_transport_ratio (one value)",
}
"""The columns that a diagnosis knows, and what they mean; a run's own curve.csv has them under these names."""

LOSSES = ("dm_loss", "score_loss", "variance_ratio")
"""Columns where a nan or inf that is written out means a training that broke; elsewhere it means not measured, as does
an empty cell everywhere."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve: `columns` of equal length, `iteration` among them and rising; NaN is not measured. broke: the iteration
    at which training failed, None where it did not. source: for sentences."""

    source: str
    columns: Mapping[str, np.ndarray]
    broke: float | None = None

    def has(self, *names: str) -> bool:
        """Whether each of these is there with a value."""
        return all(name in self.columns and bool(np.isfinite(self.columns[name]).any()) for name in names)


def curve_of(path: Path, mapping: Mapping[str, str] | None = None) -> Curve:
    """The curve of a csv file or of a run's folder. mapping: a known column's name -> its name in the file.

    Raises `InputError`: what is neither, a run without a curve, a file that `read_csv` refuses, a mapping of a folder.
    """
    if path.is_dir():
        if mapping:
            raise InputError(f"{path}: a run's columns have their own names; leave out --columns")
        return of_record(load_record(path))
    return read_csv(path, mapping)


def of_record(record: Record) -> Curve:
    """A run's curve, with what its record says of its teacher and its calibration of equal laws.

    Raises `InputError` where the curve is lost or empty.
    """
    columns = dict(record.curve())
    if "iteration" not in columns or not len(columns["iteration"]):
        raise InputError(f"{record.folder}: its curve.csv has no rows; run it again with measure.checkpoints above 1")
    teacher = record.summary["teacher"]
    for key in ("excess_risk", "transport_ratio"):
        value = teacher.get(key)
        columns[f"teacher_{key}"] = np.full(len(columns["iteration"]), math.nan if value is None else float(value))
    if record.done and (calibration := record.calibration()):
        limit = np.full(len(columns["iteration"]), calibration.law_null()["fidelity"][1])
        columns |= {"transport_limit": limit} | ({"fidelity_limit": limit} if calibration.n <= LAW_ROWS else {})
    failed = record.summary["failed_at"]
    return _checked(str(record.folder), columns, None if failed is None else float(failed))


def read_csv(path: Path, mapping: Mapping[str, str] | None = None) -> Curve:
    """A curve from a csv file with named columns. mapping: as for `curve_of`.

    Raises `InputError`: no such file, no text, no header, no rows, cells that are no numbers, a mapping to columns that
    are not there, no known column, `iteration` not rising.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file or folder; expected a run's folder or a csv file with a header"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = explained(error, reading=True) if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: cannot be read as csv ({why}); expected a run's folder or a csv file with a header"
        ) from None
    if len(rows) < 2:
        raise InputError(
            f"{path}: {'no rows below its header' if rows else 'empty'}; expected a header and a row a checkpoint"
        )
    names = [name.strip() for name in rows[0]]
    given = _named(path, names, mapping or {})
    columns = {known: _numbers(path, rows[1:], names.index(own), own) for known, own in given.items()}
    empty = {known: np.array([not _cell(row, names.index(own)) for row in rows[1:]]) for known, own in given.items()}
    return _checked(str(path), columns, None, empty)


def _named(path: Path, names: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Known column -> its name in the file."""
    for known, own in mapping.items():
        if known not in COLUMNS:
            raise InputError(f"--columns {known}={own}: unknown column {known!r}{did_you_mean(known, COLUMNS)}")
        if own not in names:
            raise InputError(f"{path}: no column {own!r} (for {known}){did_you_mean(own, names)}")
    given = {name: name for name in names if name in COLUMNS} | dict(mapping)
    if "iteration" not in given:
        raise InputError(
            f"{path}: no column 'iteration' among {_listed(names)}; say which one it is with --columns iteration=NAME"
        )
    if len(given) == 1:
        raise InputError(
            f"{path}: none of its columns ({_listed(names)}) is known; expected some of {_listed(list(COLUMNS)[1:])}, "
            "or --columns KNOWN=NAME for columns of other names"
        )
    return given


def _listed(names: Sequence[str]) -> str:
    return first_names([printable(name) or "''" for name in names], 14)


def _numbers(path: Path, rows: Sequence[Sequence[str]], at: int, name: str) -> np.ndarray:
    """One column (rows,); an empty cell is NaN."""
    found = np.full(len(rows), math.nan)
    for i, row in enumerate(rows):
        cell = _cell(row, at)
        try:
            found[i] = float(cell) if cell else math.nan
        except ValueError:
            raise InputError(
                f"{path}: {printable(cell)!r} in column {name!r}, row {i + 1} below the header, is no number; expected "
                "numbers, or nothing where it was not measured"
            ) from None
    return found


def _cell(row: Sequence[str], at: int) -> str:
    return row[at].strip() if at < len(row) else ""


def _checked(
    source: str, columns: dict[str, np.ndarray], broke: float | None, empty: Mapping[str, np.ndarray] | None = None
) -> Curve:
    """The curve of these columns. empty: column -> (rows,), which of its cells hold nothing; none where not given."""
    iteration = columns["iteration"]
    if not np.isfinite(iteration).all():
        raise InputError(f"{source}: column 'iteration' holds values that are no finite numbers; every row needs one")
    falls = np.flatnonzero(np.diff(iteration) <= 0)
    if len(falls):
        a, b = iteration[falls[0]], iteration[falls[0] + 1]
        raise InputError(
            f"{source}: column 'iteration' does not rise ({a:g}, then {b:g} in row {falls[0] + 2}); sort the rows, and "
            "keep one for each iteration (a file of several runs is to be split)"
        )
    known = {name: columns[name] for name in COLUMNS if name in columns}
    if not any(np.isfinite(values).any() for name, values in known.items() if name != "iteration"):
        raise InputError(f"{source}: no finite number in any known column; nothing was measured there")
    return Curve(source, known, _broken(known, empty or {}) if broke is None else broke)


def _broken(columns: Mapping[str, np.ndarray], empty: Mapping[str, np.ndarray]) -> float | None:
    """The first iteration from which a loss, where it has a cell, is not finite to the end, but was finite before."""
    found = []
    for name in [name for name in LOSSES if name in columns]:
        written = ~empty.get(name, np.zeros(len(columns[name]), bool))
        iteration, values = columns["iteration"][written], columns[name][written]
        if (fine := np.flatnonzero(np.isfinite(values))).size and fine[-1] + 1 < len(values):
            found.append(iteration[fine[-1] + 1])
    return float(min(found)) if found else None
