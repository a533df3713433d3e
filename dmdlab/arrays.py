"""Arrays of plain numbers from npy files (one) and npz files (several, by name), for laws and for measuring.

Whatever is wrong with a file is a sentence; pickles are never opened. An npy file is mapped, not copied: its pages stay
the operating system's, and a header that claims more than the file holds cannot be mapped. The memory for an array of
an npz is touched as its numbers arrive, so a claim there costs no more than what the file really holds. What a file
holds beyond what would be read is refused, never dropped. In all functions, `expected` is what a sentence ends in about
a file that is another than the caller wants: "expected a .npy file of points (m, d)".
"""

import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from dmdlab.config import InputError
from dmdlab.folders import check_unpacked
from dmdlab.trouble import explained

NPY = b"\x93NUMPY"
NPZ = (b"PK\x03\x04", b"PK\x05\x06")
"""How the files begin; an npz of no arrays in the second way."""

HEAD = 12
"""Bytes of an npy file that say where its numbers begin."""


def read_npy(path: Path, expected: str) -> np.ndarray:
    """The array of an npy file, mapped read-only.

    Raises:
        InputError: a file that cannot be read, is no npy file, is damaged or cut short, holds pickles or more than one
            array.
    """
    with readable(path, expected):
        with path.open("rb") as file:
            head = file.read(HEAD)
        if not head.startswith(NPY):
            kind = "an npz archive" if head.startswith(NPZ) else "not an npy file" if head else "an empty file"
            raise InputError(f"{path}: {kind}; {expected}, as np.save writes it")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        behind = path.stat().st_size - _numbers_begin(head) - array.nbytes
    if behind:
        raise InputError(
            f"{path}: it holds {behind} bytes behind its array, as when arrays are appended to one file, and only the "
            "first would be read; save each in its own file, or several by name with np.savez"
        )
    return _known(path, "", array)


def npz_names(path: Path, expected: str) -> list[str]:
    """The names of the arrays in an npz file, sorted.

    Raises:
        InputError: a file that cannot be read, holds pickles, two arrays of one name, or another archive in front, or
            would unpack to more than real data do.
    """
    with readable(path, expected), _opened_npz(path) as stored, zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        try:
            check_unpacked(sum(m.file_size for m in members), path.stat().st_size)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        twice = sorted({m.filename for m in members if sum(m.filename == o.filename for o in members) > 1})
        if twice:
            raise InputError(f"{path}: it holds {twice[0]} twice, and one of the two would be read; write it again.")
        if members and min(m.header_offset for m in members) > 0:
            raise InputError(f"{path}: it holds something in front of its arrays, as when two npz files are joined.")
        return sorted(stored.files)


def read_npz(path: Path, names: Collection[str], expected: str) -> dict[str, np.ndarray]:
    """These arrays of an npz file whose `npz_names` were asked for.

    Raises:
        InputError: an array that is damaged, cut short, a pickle or of a type that cannot be read.
    """
    with readable(path, expected), _opened_npz(path) as stored:
        return {name: _member(path, stored, name, expected) for name in names}


@contextmanager
def _opened_npz(path: Path) -> Iterator[NpzFile]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        yield stored


def _member(path: Path, stored: NpzFile, name: str, expected: str) -> np.ndarray:
    """One array of an npz file; numpy hands out the bytes of a member that is none."""
    with readable(path, expected, f": {name}"):
        array = stored[name]
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path}: {name}: not a readable npy array; write it again.")
        assert stored.zip is not None
        info = stored.zip.getinfo(f"{name}.npy" if f"{name}.npy" in stored.zip.namelist() else name)
        with stored.zip.open(info) as file:
            behind = info.file_size - _numbers_begin(file.read(HEAD)) - array.nbytes
    if behind:
        raise InputError(f"{path}: {name}: it holds {behind} bytes behind its array; write it again, one array a name.")
    return _known(path, f": {name}", array)


def _numbers_begin(head: bytes) -> int:
    """Where the numbers of an npy file begin, by its first `HEAD` bytes: behind magic, version, the header's length and
    the header."""
    wide = head[6] > 1
    return 12 + int.from_bytes(head[8:12], "little") if wide else 10 + int.from_bytes(head[8:10], "little")


def _known(path: Path, member: str, array: np.ndarray) -> np.ndarray:
    """The array, unless numpy kept its size and lost its type, as it does with those that are not its own."""
    if array.dtype.kind != "V" or array.dtype.names is not None:
        return array
    likely = {1: "float8", 2: "bfloat16"}.get(array.dtype.itemsize, "a type of another library")
    raise InputError(
        f"{path}{member}: numpy saved it as raw bytes ({array.dtype}), probably {likely}, which it does not know; save "
        "it again as array.astype(np.float32), a torch tensor as tensor.float().numpy()"
    )


@contextmanager
def readable(path: Path, expected: str, member: str = "") -> Iterator[None]:
    """Turn what the system, numpy, zipfile and safetensors raise about `path` into sentences. member: ": name" of the
    array that is read, if it is one of several."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        near = get_close_matches(path.name, os.listdir(path.parent), n=1) if path.parent.is_dir() else []
        hint = f"; did you mean {near[0]!r}?" if near else f"; {expected}"
        raise InputError(f"{path}: no such file{hint}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({explained(error, reading=True)}); {expected}") from None
    except Exception as error:  # numpy, zipfile, zlib and safetensors have a dozen kinds for one that is not whole
        if "bject" in str(error):  # numpy: "Object arrays cannot be loaded", "Python objects in dtype"
            raise InputError(
                f"{path}{member}: an array of Python objects, stored as a pickle, which can run code and is never "
                "opened; save real numbers of one shape (n, ...)."
            ) from None
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}{member}: damaged or cut short ({said}); write or copy it again.") from None
