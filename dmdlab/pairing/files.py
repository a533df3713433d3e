"""Pairs from files: one npz, two npy files, or two folders of images; checked before anything is read.

An array's header says how much the array holds. It is compared with what the file holds *before* memory is allocated,
so a file cut short and a header that claims more than there is are refused at once. Pickles are never opened. An npy
file is mapped, not copied: its pages stay the operating system's.
"""

import math
import os
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.calibration import Calibration
from dmdlab.pairing.images import image_names, read_images
from dmdlab.pairing.pairs import Pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("teacher", "student", "noise", "one_step", "reference", "data")
"""The arrays of a pairing, as `measure` names them; the first two are needed."""

_CHUNK_BYTES = 16 * 2**20
_EXPECTED = "expected an npz file, two npy files (teacher, student) or two folders of equally named images"


@dataclass(frozen=True)
class Header:
    """What an npy header claims: the array's shape, its type, and whether columns come first."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the array by this header, exact for any claim."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_pairs(
    sources: Sequence[Path], more: Mapping[str, Path] | None = None, names: Collection[str] = NAMES
) -> Pairs:
    """Validated pairs from files.

    Args:
        sources: one npz file (or a folder that holds `pairs.npz`, such as a run's), or two npy files or two folders
            of images: teacher, student. Images are matched by name.
        more: further arrays by name, each an npy file or a folder of images.
        names: the arrays of an npz file to read; the others stay unread.

    Raises:
        InputError: a path that is none of these, a damaged or foreign file, pickles, a missing array (with the nearest
            name in the file), images that do not match, and everything that `Pairs.of` refuses.
    """
    notes: list[str] = []
    if len(sources) == 1:
        arrays = _single(Path(sources[0]), names, notes)
    elif len(sources) == 2:
        arrays = _two(Path(sources[0]), Path(sources[1]), notes)
    else:
        raise InputError(f"got {len(sources)} paths; {_EXPECTED}")
    for name, path in (more or {}).items():
        arrays[name] = _one_array(Path(path), None, notes)
    try:
        pairs = Pairs.of(**arrays)
    except InputError as error:
        raise InputError(f"{', '.join(str(path) for path in sources)}: {error}") from None
    return replace(pairs, notes=(*notes, *pairs.notes))


def _single(path: Path, names: Collection[str], notes: list[str]) -> dict[str, np.ndarray]:
    """The arrays of one npz file, or of a folder's `pairs.npz`."""
    if path.is_dir():
        if not (path / "pairs.npz").is_file():
            raise InputError(f"{path}: one folder without a pairs.npz in it; {_EXPECTED}")
        path = path / "pairs.npz"
    kind = _kind(path)
    if kind == "npy":
        raise InputError(f"{path}: one npy file holds one array; {_EXPECTED}")
    return read_npz(path, names, notes)


def _two(teacher: Path, student: Path, notes: list[str]) -> dict[str, np.ndarray]:
    """Teacher and student from two npy files or two folders with the same names in them."""
    if teacher.is_dir() != student.is_dir():
        raise InputError(f"{teacher} and {student}: one is a folder and the other is not; {_EXPECTED}")
    order = None
    if teacher.is_dir():
        order = list(image_names(teacher))
        _same_names(teacher, student, order)
    return {"teacher": _one_array(teacher, order, notes), "student": _one_array(student, order, notes)}


def _same_names(teacher: Path, student: Path, order: Sequence[str]) -> None:
    """Raises InputError unless both folders hold images of the same names: row i of both is the same noise."""
    ours, theirs = set(order), set(image_names(student))
    for folder, missing in ((student, ours - theirs), (teacher, theirs - ours)):
        if missing:
            other = teacher if folder is student else student
            raise InputError(
                f"{folder} lacks {len(missing)} of the images of {other} ({_some(sorted(missing))}); images of the "
                "same noise must have the same name in both folders."
            )


def _one_array(path: Path, order: Sequence[str] | None, notes: list[str]) -> np.ndarray:
    """The array of an npy file or a folder of images."""
    if path.is_dir():
        return read_images(path, order, notes)
    kind = _kind(path)
    if kind == "npz":
        raise InputError(f"{path}: an npz file stands alone (it holds all arrays); expected an npy file or a folder")
    return read_npy(path)


def _kind(path: Path) -> str:
    """'npz' or 'npy', by the file's first bytes rather than its name."""
    with _readable(path), path.open("rb") as file:
        start = file.read(6)
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "npz"
    if start == b"\x93NUMPY":
        return "npy"
    what = "an empty file" if not start else "neither an npz nor an npy file"
    raise InputError(f"{path}: {what}; {_EXPECTED}, as np.savez and np.save write them")


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file, mapped read-only.

    Raises:
        InputError: a file that cannot be read, is damaged or cut short, or holds pickles.
    """
    with _readable(path), path.open("rb") as file:
        header = _read_header(file, str(path))
        offset = file.tell()
        _check_size(header, os.fstat(file.fileno()).st_size - offset, str(path))
        if header.nbytes == 0:
            return np.empty(header.shape, header.dtype)
        order = "F" if header.fortran_order else "C"
        return np.memmap(file, header.dtype, "r", offset, header.shape, order)  # type: ignore[call-overload]


def read_npz(path: Path, names: Collection[str] = NAMES, notes: list[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz file that have one of `names`; an array with another name is noted and left unread.

    Raises:
        InputError: a file that cannot be read, is damaged or cut short, holds pickles, or lacks teacher or student.
    """
    notes = [] if notes is None else notes
    with _readable(path), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if any(info.filename.endswith(".pkl") for info in members.values()):
            raise InputError(
                f"{path}: it holds pickles, which can run code and are never opened; save the arrays with "
                "np.savez(path, teacher=..., student=...), a torch tensor as tensor.cpu().numpy()"
            )
        _check_names(path, members)
        for other in sorted(set(members) - set(NAMES)):
            near = get_close_matches(other, NAMES, n=1)
            notes.append(f"'{other}' in {path.name} is not used{f'; is it {near[0]!r}?' if near else '.'}")
        return {
            name: _member(archive, members[name], f"{path}: {name}")
            for name in NAMES
            if name in members and name in names
        }


def read_calibration(path: Path) -> Calibration:
    """A calibration that was saved as `np.savez(path, **calibration.to_arrays())`, or that a sweep keeps.

    Raises:
        InputError: a file that cannot be read, is damaged or is no calibration.
    """
    with _readable(path):
        if _kind(path) != "npz":
            raise InputError(f"{path}: expected a calibration, as np.savez(path, **calibration.to_arrays()) writes it")
        with zipfile.ZipFile(path) as archive:
            arrays = {
                info.filename.removesuffix(".npy"): _member(archive, info, f"{path}: {info.filename}")
                for info in archive.infolist()
            }
    try:
        return Calibration.from_arrays(arrays)
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None


def _check_names(path: Path, found: Iterable[str]) -> None:
    """Raises InputError when teacher or student is missing, with the nearest name that is there."""
    found = sorted(found)
    for name in NAMES[:2]:
        if name in found:
            continue
        near = get_close_matches(name, [other for other in found if other not in NAMES], n=1)
        hint = f"rename {near[0]!r} to {name!r}" if near else "save both as np.savez(path, teacher=..., student=...)"
        holds = _some([repr(other) for other in found]) if found else "nothing"
        raise InputError(f"{path}: no array named {name!r}; it holds {holds}: {hint}.")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str) -> np.ndarray:
    """One array of an npz file, read in chunks into memory that its header and its size agree on."""
    with archive.open(info) as file:
        header = _read_header(file, source)
        _check_size(header, info.file_size - file.tell(), source)
        flat = np.empty(header.nbytes, np.uint8)
        at = 0
        while at < header.nbytes:
            chunk = file.read(min(_CHUNK_BYTES, header.nbytes - at))
            if not chunk:
                raise InputError(f"{source}: the file ends in the middle of the array; write or copy it again.")
            flat[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
            at += len(chunk)
        while file.read(_CHUNK_BYTES):  # to the end, where the archive's checksum is compared
            pass
    return flat.view(header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")


def _read_header(file: IO[bytes], source: str) -> Header:
    """The header of an npy stream, which then stands at the first number. Raises InputError for pickles and damage."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"it has version {version} of the format")
        shape, fortran_order, dtype = readers[version](file)
    except (ValueError, SyntaxError, EOFError) as error:
        raise InputError(
            f"{source}: not a readable npy array ({str(error).splitlines()[0]}); write it again."
        ) from None
    if dtype.hasobject:
        raise InputError(
            f"{source}: an array of Python objects, stored as a pickle, which can run code and is never opened; save "
            "real numbers of one shape (n, ...)."
        )
    return Header(shape, dtype, fortran_order)


def _check_size(header: Header, held: int, source: str) -> None:
    """Raises InputError when the header claims another number of bytes than the file holds behind it."""
    if min(header.shape, default=0) < 0 or header.nbytes > held:
        raise InputError(
            f"{source}: its header claims shape {header.shape} of {header.dtype} ({_size(header.nbytes)}), but the "
            f"file holds {_size(held)}: it was cut short or is damaged; write or copy it again."
        )


@contextmanager
def _readable(path: Path) -> "Iterator[None]":
    """Turn what the system and zipfile raise about `path` into sentences."""
    try:
        yield
    except FileNotFoundError:
        near = get_close_matches(path.name, os.listdir(path.parent), n=1) if path.parent.is_dir() else []
        hint = f"; did you mean {near[0]!r}?" if near else f"; {_EXPECTED}"
        raise InputError(f"{path}: no such file{hint}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: damaged or cut short ({error}); write or copy it again.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {_EXPECTED}") from None


def _some(words: Sequence[str]) -> str:
    """The first few of `words`."""
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def _size(count: int) -> str:
    """Bytes for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} bytes"
