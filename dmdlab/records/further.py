"""What a store may keep of a teacher beyond its runs' own arrays, for single figures; `dmdlab.lab.further` makes it.

Each file says what it was made by and of: the version of what makes it, and the name and the checksum of the pairs.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dmdlab.config import InputError
from dmdlab.records.checksums import Damaged, check_shared, kept_in_npz, save_npz
from dmdlab.records.kept_arrays import read_stored
from dmdlab.records.record import Record

MANY_STEPS = 32
"""Of the flow that the paper compares its own of 8 steps with."""

FIRST_ROWS = 64
"""Rows of the run's noise at which it is kept (ours: pictures are shown of some of these)."""

VERSION = 2
"""Of how these arrays are made; files of version 1 did not say theirs, nor of which pairs they are."""

MADE_OF = "made_of"
"""The entry of a file that says it."""


def further_path(record: Record) -> Path:
    """Where they lie: under the name of the run's pairs."""
    return record.out / "further" / str(record.summary.get("pairs", ""))


def further(record: Record) -> dict[str, np.ndarray]:
    """Of a finished run's teacher, those that are kept; all float32, empty where none are.

    - phi_32 (at most `FIRST_ROWS`, d): its flow in 32 steps at the first rows of the run's noise;
    - training (n, 3): for each of its outputs Phi_K(z) the distance to the nearest and to the second nearest point that
      it was trained on, and the mean distance to all of them; absent where fresh points never end;
    - training_of_data (n, 3): the same of the run's data.

    Raises `InputError` for a file that is damaged, of another version, or of other pairs than the run's.
    """
    path = further_path(record)
    if not record.done or not path.is_file():
        return {}
    try:
        if check_shared(path) == "unknown":
            raise Damaged("written by an older version, or by nothing of ours (it carries no checksum)")
        found = read_stored(path)
        _check(record, found)
    except Damaged as error:
        raise InputError(
            f"{path}: {error}; give the same `dmdlab reproduce` again, which makes it anew, or delete it, and figures "
            "are drawn without it"
        ) from None
    return {name: array for name, array in found.items() if name != MADE_OF}


def save_further(path: Path, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a run's to a file, with what they are made of."""
    save_npz(path, {**arrays, MADE_OF: np.array(_made_of(record))})


def _made_of(record: Record) -> list[str]:
    """The version, the name of the run's pairs, and the checksum that they carry; an empty one for pairs without."""
    try:
        sha = kept_in_npz(record.out / "pairs" / further_path(record).name)
    except (OSError, Damaged):
        sha = None
    return [str(VERSION), further_path(record).name, sha or ""]


def _check(record: Record, found: Mapping[str, np.ndarray]) -> None:
    """Raises `Damaged` where these are not a run's own arrays."""
    version, *pairs = (str(part) for part in found.get(MADE_OF, np.array([""])).ravel())
    if version != str(VERSION):
        raise Damaged(f"of another version ({version or 'it does not say which'}, expected {VERSION})")
    if pairs != _made_of(record)[1:]:
        raise Damaged("made of other pairs than the run's: of another law, teacher or seed, or of pairs made since")
    n, d = record.config["measure.samples"], record.config["law.dim"]
    shapes = {"phi_32": (min(n, FIRST_ROWS), d), "training": (n, 3), "training_of_data": (n, 3)}
    for name, array in found.items():
        if name != MADE_OF and (array.dtype != np.float32 or array.shape != shapes.get(name)):
            raise Damaged(f"{name} is {array.dtype} of shape {array.shape}, which is none of this run's")
