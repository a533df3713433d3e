"""Arrays from .npy and .npz files that a setting names: `dmdlab.arrays`, with the setting in each sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dmdlab import arrays
from dmdlab.config import InputError


def read_npy(path: str | Path, key: str, what: str) -> np.ndarray:
    """The array of a .npy file. key: of the setting that names the file; what: is expected in it, as "points (m, d)".

    Raises:
        InputError: as `dmdlab.arrays.read_npy`.
    """
    file = at_home(path, key)
    with _set_by(key):
        return np.array(arrays.read_npy(file, f"expected a .npy file of {what}"))


def read_npz(path: str | Path, key: str, what: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz file by name. path, key, what: as of `read_npy`.

    Raises:
        InputError: as `dmdlab.arrays.npz_names` and `dmdlab.arrays.read_npz`.
    """
    expected, file = f"expected an .npz file of {what}", at_home(path, key)
    with _set_by(key):
        return arrays.read_npz(file, arrays.npz_names(file, expected), expected)


def at_home(path: str | Path, key: str) -> Path:
    """Where a file lies that a setting names: `~/x` in the home directory, which a shell does not put into `key=~/x`,
    nor anybody into a TOML file. Without such a home it stays as it is. Raises `InputError` for a name of nothing,
    which would be the folder where one stands."""
    if path == "":
        raise InputError(f"{key} is empty: give the path of a file, or leave {key} out")
    if "\0" in str(path):
        raise InputError(f"{key} is {str(path)!r}, which holds a zero byte, as no file's name does: give its path")
    return Path(os.path.expanduser(path))


@contextmanager
def _set_by(key: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {error}") from None
