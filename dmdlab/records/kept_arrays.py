"""The arrays of finished runs, as files: read whole, and what a glance tells of them."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dmdlab.config import InputError
from dmdlab.records.checksums import kept_in_npz
from dmdlab.trouble import explained, unreadable


def npz_opens(path: Path, names: Sequence[str]) -> bool:
    """Whether a file of these arrays is there, its directory and its end whole; an npz cut short lacks them."""
    with _glance(path), zipfile.ZipFile(path) as archive:
        kept_in_npz(path)
        return {f"{name}.npy" for name in names} <= set(archive.namelist())
    return False


def npy_fits(path: Path) -> bool:
    """Whether an npy file is there and as long as its header says."""
    with _glance(path), path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = header(file)
        return path.stat().st_size == file.tell() + math.prod(shape) * kind.itemsize
    return False


@contextmanager
def _glance(path: Path) -> Iterator[None]:
    """Swallow what a lost or damaged file raises. Raises `InputError` where the system refuses to read it."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception:  # numpy and zipfile have a dozen kinds for a file that is not whole
        return


def read_stored(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of these names, by default all. Raises `InputError` for a lost or damaged file, or one that is
    compressed, as what is unpacked could be of any size."""
    with whole(path), path.open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        if any(member.compress_type != zipfile.ZIP_STORED for member in stored.zip.infolist()):
            raise ValueError("it holds compressed arrays, which no sweep writes")
        return {name: stored[name] for name in (stored.files if names is None else names)}


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Turn whatever reading a lost or damaged file of a run raises into a sentence."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(
            f"{path}: not there, though a finished run needs it; copy the sweep's folder whole, or run the sweep again"
        ) from None
    except InputError:
        raise
    except Exception as error:  # numpy, zipfile and zlib have a dozen kinds for a file that is not whole
        why = explained(error, reading=True)
        raise InputError(
            f"{path}: damaged or cut short ({why}); copy it again, or delete it and the runs that need it and run "
            "the sweep again"
        ) from None
