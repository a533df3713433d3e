"""Arrays from .npy and .npz files that a setting names: `dmdlab.arrays`, with the setting in each sentence."""

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
    with _set_by(key):
        return np.array(arrays.read_npy(Path(path), f"expected a .npy file of {what}"))


def read_npz(path: str | Path, key: str, what: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz file by name. key, what: as of `read_npy`.

    Raises:
        InputError: as `dmdlab.arrays.npz_names` and `dmdlab.arrays.read_npz`.
    """
    expected = f"expected an .npz file of {what}"
    with _set_by(key):
        return arrays.read_npz(Path(path), arrays.npz_names(Path(path), expected), expected)


@contextmanager
def _set_by(key: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {error}") from None
