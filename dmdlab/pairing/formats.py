"""Arrays of pairs in files of three kinds: npy and npz (`dmdlab.arrays`) and safetensors; pickles are never opened."""

import json
import os
import zipfile
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
from safetensors import safe_open

from dmdlab import arrays
from dmdlab.config import InputError

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
    if start.startswith(arrays.NPZ):
        with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
            if any(name.endswith(".pkl") for name in archive.namelist()):
                raise InputError(f"{path}: {_BY_TORCH}")
        return "npz"
    if start.startswith(arrays.NPY):
        return "npy"
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size:
        return "safetensors"
    if start[:1] == b"\x80":
        raise InputError(f"{path}: {_BY_TORCH}")
    what = "an empty file" if not start else "neither an npz nor an npy file, nor one of safetensors"
    raise InputError(f"{path}: {what}; {EXPECTED}, as np.savez and np.save write them")


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file, mapped read-only. Raises `InputError` as `dmdlab.arrays.read_npy`."""
    return arrays.read_npy(path, EXPECTED)


def names_in(path: Path) -> list[str]:
    """The names of the arrays in an npz or safetensors file, sorted. Raises `InputError` as `dmdlab.arrays.npz_names`,
    and as `kind_of`."""
    if kind_of(path) == "npz":
        return arrays.npz_names(path, EXPECTED)
    with readable(path), safe_open(path, "numpy") as file:
        return sorted(file.keys())


def read_named(path: Path, names: Collection[str], notes: list[str]) -> dict[str, np.ndarray]:
    """These arrays of an npz or safetensors file. notes: is told of arrays that were converted.

    Raises:
        InputError: an array that is damaged, cut short, a pickle or of a type that cannot be read.
    """
    if kind_of(path) == "npz":
        return arrays.read_npz(path, names, EXPECTED)
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


def _bfloat16(path: Path, name: str) -> np.ndarray:
    """A bfloat16 array of a safetensors file as float32, whose upper half it is. The file was checked when opened."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        about = json.loads(file.read(length))[name]
        file.seek(8 + length + about["data_offsets"][0])
        raw = np.fromfile(file, "<u2", count=int(np.prod(about["shape"], dtype=np.int64)))
    return (raw.astype(np.uint32) << 16).view(np.float32).reshape(about["shape"])


def readable(path: Path) -> AbstractContextManager[None]:
    """`dmdlab.arrays.readable`, for a file of pairs."""
    return arrays.readable(path, EXPECTED)


def some(words: Sequence[str]) -> str:
    """The first few of `words`."""
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
