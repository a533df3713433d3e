"""Arrays in files of three kinds: npy (one), npz and safetensors (several, by name); pickles are never opened.

Whatever is wrong with a file is a sentence. An npy file is mapped, not copied: its pages stay the operating system's,
and a header that claims more than the file holds cannot be mapped. The memory for an array of an npz is touched as its
numbers arrive, so a claim there costs no more than what the file really holds. What a file holds beyond what would be
read is refused, never dropped.
"""

import json
import os
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.npyio import NpzFile
from safetensors import safe_open

from dmdlab.config import InputError
from dmdlab.folders import check_unpacked
from dmdlab.trouble import told

EXPECTED = (
    "expected an npz or safetensors file, two npy files (teacher, student) or two folders of equally named images"
)
PLAIN = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
"""The types of safetensors that numpy has, too; bfloat16 is read as float32."""

_BY_TORCH = (
    "written by torch.save, so it holds pickles, which can run code and are never opened; where you trust it, load it "
    "with torch.load(path, map_location='cpu', weights_only=True) and save the arrays with np.savez(path, teacher=..., "
    "student=...), a tensor as tensor.float().numpy(), or with safetensors.torch.save_file"
)


def kind_of(path: Path) -> str:
    """'npz', 'npy' or 'safetensors', by the file's first bytes rather than its name.

    Raises:
        InputError: a file that is none of these; a pickle, as of torch.save, with what to do about it.
    """
    with readable(path), path.open("rb") as file:
        start, size = file.read(9), os.fstat(file.fileno()).st_size
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
            if any(name.endswith(".pkl") for name in archive.namelist()):
                raise InputError(f"{path}: {_BY_TORCH}")
        return "npz"
    if start[:6] == b"\x93NUMPY":
        return "npy"
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size:
        return "safetensors"
    if start[:1] == b"\x80":
        raise InputError(f"{path}: {_BY_TORCH}")
    what = "an empty file" if not start else "neither an npz nor an npy file, nor one of safetensors"
    raise InputError(f"{path}: {what}; {EXPECTED}, as np.savez and np.save write them")


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file, mapped read-only.

    Raises:
        InputError: a file that cannot be read, is damaged or cut short, holds pickles or more than one array.
    """
    with readable(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        with path.open("rb") as file:
            behind = path.stat().st_size - _start(file) - array.nbytes
    if behind:
        raise InputError(
            f"{path}: it holds {behind} bytes behind its array, as when arrays are appended to one file, and only the "
            "first would be read; save each in its own file, or several by name with np.savez"
        )
    return _known(path, "", array)


def names_in(path: Path) -> list[str]:
    """The names of the arrays in an npz or safetensors file, sorted.

    Raises:
        InputError: a file that cannot be read, holds pickles, two arrays of one name, or another archive in front.
    """
    if kind_of(path) == "safetensors":
        with readable(path), safe_open(path, "numpy") as file:
            return sorted(file.keys())
    with readable(path), _opened_npz(path) as stored, zipfile.ZipFile(path) as archive:
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


def read_named(path: Path, names: Collection[str], notes: list[str]) -> dict[str, np.ndarray]:
    """These arrays of an npz or safetensors file. notes: is told of arrays that were converted.

    Raises:
        InputError: an array that is damaged, cut short, a pickle or of a type that cannot be read.
    """
    if kind_of(path) == "npz":
        with readable(path), _opened_npz(path) as stored:
            return {name: _member(path, stored, name) for name in names}
    with readable(path), safe_open(path, "numpy") as file:
        found = {}
        for name in names:
            kind = file.get_slice(name).get_dtype()
            if kind == "BF16":
                found[name] = _bfloat16(path, name)
                notes.append(f"{name} was bfloat16 and is measured in float32.")
            elif kind in PLAIN:
                found[name] = file.get_tensor(name)
            else:
                raise InputError(f"{path}: {name} is {kind}, which is not read; save it as float32 (tensor.float()).")
        return found


@contextmanager
def _opened_npz(path: Path) -> Iterator[NpzFile]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        yield stored


def _member(path: Path, stored: NpzFile, name: str) -> np.ndarray:
    """One array of an npz file; numpy hands out the bytes of a member that is none."""
    with readable(path, f": {name}"):
        array = stored[name]
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path}: {name}: not a readable npy array; write it again.")
        assert stored.zip is not None
        info = stored.zip.getinfo(f"{name}.npy" if f"{name}.npy" in stored.zip.namelist() else name)
        with stored.zip.open(info) as file:
            behind = info.file_size - _start(file) - array.nbytes
    if behind:
        raise InputError(f"{path}: {name}: it holds {behind} bytes behind its array; write it again, one array a name.")
    return _known(path, f": {name}", array)


def _start(file: IO[bytes]) -> int:
    """Where the numbers of an npy file begin: behind magic, version, the header's length and the header."""
    head = file.read(12)
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


def _bfloat16(path: Path, name: str) -> np.ndarray:
    """A bfloat16 array of a safetensors file as float32, whose upper half it is. The file was checked when opened."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        about = json.loads(file.read(length))[name]
        file.seek(8 + length + about["data_offsets"][0])
        raw = np.fromfile(file, "<u2", count=int(np.prod(about["shape"], dtype=np.int64)))
    return (raw.astype(np.uint32) << 16).view(np.float32).reshape(about["shape"])


@contextmanager
def readable(path: Path, member: str = "") -> Iterator[None]:
    """Turn what the system, numpy, zipfile and safetensors raise about `path` into sentences."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        near = get_close_matches(path.name, os.listdir(path.parent), n=1) if path.parent.is_dir() else []
        hint = f"; did you mean {near[0]!r}?" if near else f"; {EXPECTED}"
        raise InputError(f"{path}: no such file{hint}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({told(error, reading=True)}); {EXPECTED}") from None
    except Exception as error:  # numpy, zipfile, zlib and safetensors have a dozen kinds for one that is not whole
        if "bject" in str(error):  # numpy: "Object arrays cannot be loaded", "Python objects in dtype"
            raise InputError(
                f"{path}{member}: an array of Python objects, stored as a pickle, which can run code and is never "
                "opened; save real numbers of one shape (n, ...)."
            ) from None
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}{member}: damaged or cut short ({said}); write or copy it again.") from None


def some(words: Sequence[str]) -> str:
    """The first few of `words`."""
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
