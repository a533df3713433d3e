"""What a store may keep of a teacher beyond its runs' own arrays, for single figures; `dmdlab.lab.further` makes it."""

from pathlib import Path

import numpy as np

from dmdlab.records.kept_arrays import read_npz
from dmdlab.records.record import Record

MANY_STEPS = 32
"""Of the flow that the paper compares its own of 8 steps with."""

FIRST_ROWS = 64
"""Rows of the run's noise at which it is kept (ours: pictures are shown of some of these)."""


def further_path(record: Record) -> Path:
    """Where they lie: under the name of the run's pairs."""
    return record.out / "further" / str(record.summary.get("pairs", ""))


def further(record: Record) -> dict[str, np.ndarray]:
    """Of a finished run's teacher, those that are kept; all float32, empty where none are.

    - phi_32 (at most `FIRST_ROWS`, d): its flow in 32 steps at the first rows of the run's noise;
    - training (n, 3): for each of its outputs Phi_K(z) the distance to the nearest and to the second nearest point that
      it was trained on, and the mean distance to all of them; absent where fresh points never end;
    - training_of_data (n, 3): the same of the run's data.

    Raises `InputError` for a damaged file.
    """
    path = further_path(record)
    if not record.done or not path.is_file():
        return {}
    return read_npz(path)
