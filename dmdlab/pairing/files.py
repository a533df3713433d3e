"""Pairs from files: one npz, two npy files, or two folders of images; whatever is wrong with one is a sentence.

numpy reads them, and never a pickle. An npy file is mapped, not copied: its pages stay the operating system's, and a
header that claims more than the file holds cannot be mapped. The memory for an array of an npz is touched as its
numbers arrive, so a claim there costs no more than what the file really holds.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from dmdlab.config import InputError
from dmdlab.pairing.calibration import Calibration
from dmdlab.pairing.images import image_names, read_images
from dmdlab.pairing.pairs import Pairs

NAMES = ("teacher", "student", "noise", "one_step", "reference", "data")
"""The arrays of a pairing, as `measure` names them; the first two are needed."""

_EXPECTED = "expected an npz file, two npy files (teacher, student) or two folders of equally named images"


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
    if _kind(path) == "npy":
        raise InputError(f"{path}: one npy file holds one array; {_EXPECTED}")
    return read_npz(path, names, notes)


def _two(teacher: Path, student: Path, notes: list[str]) -> dict[str, np.ndarray]:
    """Teacher and student from two npy files or two folders with the same names in them."""
    if teacher.is_dir() != student.is_dir():
        raise InputError(f"{teacher} and {student}: one is a folder and the other is not; {_EXPECTED}")
    order = _same_names(teacher, student) if teacher.is_dir() else None
    return {"teacher": _one_array(teacher, order, notes), "student": _one_array(student, order, notes)}


def _same_names(teacher: Path, student: Path) -> list[str]:
    """The names of the images in order; an InputError unless both folders hold the same: a name is a noise."""
    ours, theirs = image_names(teacher).keys(), image_names(student).keys()
    for folder, other, missing in ((student, teacher, ours - theirs), (teacher, student, theirs - ours)):
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} of the images of {other} ({_some(sorted(missing))}); images of the "
                "same noise must have the same name in both folders."
            )
    return list(ours)


def _one_array(path: Path, order: Sequence[str] | None, notes: list[str]) -> np.ndarray:
    """The array of an npy file or a folder of images."""
    if path.is_dir():
        return read_images(path, order, notes)
    if _kind(path) == "npz":
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
    with _readable(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def read_npz(path: Path, names: Collection[str] = NAMES, notes: list[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz file that have one of `names`; an array with another name is noted and left unread.

    Raises:
        InputError: a file that cannot be read, is damaged or cut short, holds pickles, or lacks teacher or student.
    """
    notes = [] if notes is None else notes
    with _readable(path), path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        if any(name.endswith(".pkl") for name in stored.files):
            raise InputError(
                f"{path}: it holds pickles, which can run code and are never opened; save the arrays with "
                "np.savez(path, teacher=..., student=...), a torch tensor as tensor.cpu().numpy()"
            )
        _check_names(path, sorted(stored.files))
        for other in sorted(set(stored.files) - set(NAMES)):
            near = get_close_matches(other, NAMES, n=1)
            notes.append(f"'{other}' in {path.name} is not used{f'; is it {near[0]!r}?' if near else '.'}")
        return {name: _member(path, stored, name) for name in NAMES if name in stored.files and name in names}


def read_calibration(path: Path) -> Calibration:
    """A calibration that was saved as `np.savez(path, **calibration.to_arrays())`, or that a sweep keeps.

    Raises:
        InputError: a file that cannot be read, is damaged or is no calibration.
    """
    if _kind(path) != "npz":
        raise InputError(f"{path}: expected a calibration, as np.savez(path, **calibration.to_arrays()) writes it")
    with _readable(path), path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        arrays = {name: _member(path, stored, name) for name in stored.files}
    try:
        return Calibration.from_arrays(arrays)
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None


def _check_names(path: Path, found: Sequence[str]) -> None:
    """Raises InputError when teacher or student is missing, with the nearest name that is there."""
    for name in NAMES[:2]:
        if name in found:
            continue
        near = get_close_matches(name, [other for other in found if other not in NAMES], n=1)
        hint = f"rename {near[0]!r} to {name!r}" if near else "save both as np.savez(path, teacher=..., student=...)"
        holds = _some([repr(other) for other in found]) if found else "nothing"
        raise InputError(f"{path}: no array named {name!r}; it holds {holds}: {hint}.")


def _member(path: Path, stored: NpzFile, name: str) -> np.ndarray:
    """One array of an npz file; numpy hands out the bytes of a member that is none."""
    with _readable(path, f": {name}"):
        array = stored[name]
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: {name}: not a readable npy array; write it again.")
    return array


@contextmanager
def _readable(path: Path, member: str = "") -> Iterator[None]:
    """Turn what the system, numpy and zipfile raise about `path` into sentences."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        near = get_close_matches(path.name, os.listdir(path.parent), n=1) if path.parent.is_dir() else []
        hint = f"; did you mean {near[0]!r}?" if near else f"; {_EXPECTED}"
        raise InputError(f"{path}: no such file{hint}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {_EXPECTED}") from None
    except Exception as error:  # numpy, zipfile and zlib have a dozen kinds for a file that is not whole
        if "bject" in str(error):  # numpy: "Object arrays cannot be loaded", "Python objects in dtype"
            raise InputError(
                f"{path}{member}: an array of Python objects, stored as a pickle, which can run code and is never "
                "opened; save real numbers of one shape (n, ...)."
            ) from None
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}{member}: damaged or cut short ({said}); write or copy it again.") from None


def _some(words: Sequence[str]) -> str:
    """The first few of `words`."""
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
