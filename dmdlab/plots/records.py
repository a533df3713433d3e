"""What the plots read: finished runs, as flat rows with their arrays and training curves."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing import Calibration
from dmdlab.pairing.statistics import Interval, mean_interval

INITS = ("teacher", "rotated", "random")
"""Order of the students' starts in every figure."""


class Record(Protocol):
    """One run, as the plots see it."""

    @property
    def row(self) -> dict[str, Any]:
        """Flat: 'id', 'status', 'failed_at', config keys with dots, metrics under their keys (NaN or None when
        unresolved), 'teacher_ok', 'device', 'hardware', 'commit'."""

    def arrays(self) -> dict[str, np.ndarray]:
        """'noise', 'teacher', 'student', 'one_step', 'reference', 'data', each (n, d)."""

    def curve(self) -> dict[str, np.ndarray]:
        """'iteration' and the quantities logged at each checkpoint, each (checkpoints,)."""

    def calibration(self) -> Calibration | None:
        """The calibration of the run's teacher at its n and d, None where there is none (row 'calibration' is None)."""


@dataclass(frozen=True)
class Cell:
    """The runs that differ by their seed only: the unit that a mean and an interval are taken over."""

    law: str
    dim: int
    init: str
    records: tuple[Record, ...]

    def column(self, key: str) -> np.ndarray:
        """(seeds,) one column, NaN where a run has no value."""
        return np.array([number(record, key) for record in self.records])

    def interval(self, key: str) -> Interval:
        """Mean and 95 % t-interval over the seeds that have a value."""
        return mean_interval(self.column(key))

    @property
    def teacher_failed(self) -> bool:
        """Whether the teacher of any of these runs failed its own check."""
        return any(record.row.get("teacher_ok") in (False,) for record in self.records)


def number(record: Record, key: str) -> float:
    """A column as a float; NaN when it is missing, None or not finite: the sample could not resolve it."""
    value = record.row.get(key)
    return float(value) if value is not None and math.isfinite(value) else math.nan


def finished(records: Iterable[Record]) -> list[Record]:
    """The runs that are done, each id once. Raises `InputError` when there is none."""
    given = list(records)
    done = {str(r.row["id"]): r for r in given if r.row["status"] == "done"}
    if not done:
        raise InputError(
            f"nothing to draw: none of the {len(given)} runs given is finished (status 'done'); "
            "run the sweep first, or look at the failed runs with `dmdlab table`"
        )
    return list(done.values())


def failed(records: Iterable[Record]) -> int:
    """How many different runs did not finish."""
    return len({str(r.row["id"]) for r in records if r.row["status"] != "done"})


def cells(records: Sequence[Record]) -> list[Cell]:
    """Runs grouped by law, dimension and init, in the order law, dimension, `INITS`; seeds ascending.

    Raises `InputError` when runs of one group differ in any configuration key beside the seed: their mean would
    be a mean over different experiments.
    """
    groups: dict[tuple[str, int, str], list[Record]] = {}
    for record in records:
        row = record.row
        groups.setdefault((row["law.name"], int(row["law.dim"]), row["student.init"]), []).append(record)
    for key, group in groups.items():
        _same_experiment(key, group)
    ordered = sorted(groups, key=lambda key: (key[0], key[1], INITS.index(key[2])))
    return [Cell(*key, tuple(sorted(groups[key], key=lambda r: r.row["seed"]))) for key in ordered]


def _same_experiment(key: tuple[str, int, str], group: Sequence[Record]) -> None:
    """Raise unless these runs differ in their seed only."""
    for column in sorted({name for record in group for name in record.row if "." in name}):
        found = sorted({repr(record.row.get(column)) for record in group})
        if len(found) > 1:
            law, dim, init = key
            raise InputError(
                f"{len(group)} runs of {law}, d = {dim}, {init} init differ in {column} ({', '.join(found)}); "
                f"a figure averages over seeds only: choose one with {column}=VALUE"
            )


def laws_of(groups: Iterable[Cell]) -> list[str]:
    """The laws present, in order."""
    return list(dict.fromkeys(cell.law for cell in groups))


def dims_of(groups: Iterable[Cell]) -> list[int]:
    """The dimensions present, ascending."""
    return sorted({cell.dim for cell in groups})


def inits_of(groups: Iterable[Cell]) -> list[str]:
    """The inits present, in the order of `INITS`."""
    present = {cell.init for cell in groups}
    return [init for init in INITS if init in present]
