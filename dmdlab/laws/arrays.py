"""Arrays of plain numbers from .npy and .npz files; no pickle is opened, nothing behind an array dropped."""

from pathlib import Path

import numpy as np

from dmdlab.config import InputError
from dmdlab.folders import check_unpacked


def read_npy(path: str | Path, key: str, what: str) -> np.ndarray:
    """The array of a .npy file. key: of the setting that names the file; what: is expected in it, as "points (m, d)".

    Raises:
        InputError: a file that cannot be read, is not .npy, holds Python objects or more than one array.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(
            f"{key}: {path} cannot be read ({error.strerror or error}): give a .npy file of {what}"
        ) from None
    except Exception:  # numpy and zipfile have a dozen kinds for a file that is not whole
        raise InputError(
            f"{key}: {path} is not a .npy file of plain numbers: save an array of {what} with "
            "numpy.save (pickled objects are refused: loading them could run code)"
        ) from None
    if not isinstance(array, np.memmap):
        array.close()
        raise InputError(f"{key}: {path} is an .npz archive, expected a .npy file: save one array with numpy.save")
    if behind := Path(path).stat().st_size - array.offset - array.nbytes:
        raise InputError(
            f"{key}: {path} holds {behind} bytes behind its array, as when arrays are appended to one file: save "
            "all of it as one array with numpy.save"
        )
    return np.array(array)


def read_npz(path: str | Path, key: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz file by name.

    Raises:
        InputError: a file that cannot be read, is damaged, or holds Python objects.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            check_unpacked(sum(member.file_size for member in archive.zip.infolist()), Path(path).stat().st_size)
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # as above
        raise InputError(
            f"{key}: {path} is not an .npz file of plain arrays ({' '.join(str(error).split())[:80]}): write it again "
            "with numpy.savez(path, images=..., labels=...)"
        ) from None
