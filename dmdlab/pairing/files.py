"""Pairs from files: one npz or safetensors file, two npy files, or two folders of images; what is wrong is a sentence.

How each kind of file is read, and what is refused in it, stands in `formats` and `dmdlab.folders`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from dmdlab.config import InputError
from dmdlab.folders import image_names, read_images
from dmdlab.pairing.calibration import Calibration
from dmdlab.pairing.formats import EXPECTED, kind_of, names_in, read_named, read_npy, readable, some
from dmdlab.pairing.pairs import Pairs

__all__ = ["NAMES", "read_array", "read_calibration", "read_npy", "read_pairs", "read_several"]

NAMES = (
    *("teacher", "student", "noise", "one_step", "reference", "data"),
    *("other_teacher", "teacher_differences", "student_differences"),
)
"""The arrays of a pairing, as `measure` names them; the first two are needed."""


def read_pairs(
    sources: Sequence[Path], more: Mapping[str, Path] | None = None, names: Collection[str] = NAMES
) -> Pairs:
    """Validated pairs from files.

    Args:
        sources: one npz or safetensors file (or a folder that holds `pairs.npz`, such as a run's), or two npy files
            or two folders of images: teacher, student. Images are matched by name. A safetensors file with one
            tensor, or one of the array's name, is as good as an npy file.
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
        raise InputError(f"got {len(sources)} paths; {EXPECTED}")
    for name, path in (more or {}).items():
        arrays[name] = read_array(Path(path), name, notes)
    try:
        pairs = Pairs.of(**arrays)
    except InputError as error:
        raise InputError(f"{', '.join(str(path) for path in sources)}: {error}") from None
    return replace(pairs, notes=(*notes, *pairs.notes))


def _single(path: Path, names: Collection[str], notes: list[str]) -> dict[str, np.ndarray]:
    """The arrays of one npz or safetensors file, or of a folder's `pairs.npz`."""
    if _is_folder(path):
        if not (path / "pairs.npz").is_file():
            raise InputError(f"{path}: one folder without a pairs.npz in it; {EXPECTED}")
        path = path / "pairs.npz"
    if kind_of(path) == "npy":
        raise InputError(f"{path}: one npy file holds one array; {EXPECTED}")
    return read_several(path, names, notes)


def _is_folder(path: Path) -> bool:
    """Whether this is a folder. Raises InputError where the system cannot say."""
    with readable(path):
        return path.is_dir()


def _two(teacher: Path, student: Path, notes: list[str]) -> dict[str, np.ndarray]:
    """Teacher and student from two npy files or two folders with the same names in them."""
    if _is_folder(teacher) != _is_folder(student):
        raise InputError(f"{teacher} and {student}: one is a folder and the other is not; {EXPECTED}")
    order = _same_names(teacher, student) if teacher.is_dir() else None
    return {name: read_array(path, name, notes, order) for name, path in (("teacher", teacher), ("student", student))}


def _same_names(teacher: Path, student: Path) -> list[str]:
    """The names of the images in order; an InputError unless both folders hold the same: a name is a noise."""
    ours, theirs = image_names(teacher).keys(), image_names(student).keys()
    for folder, other, missing in ((student, teacher, ours - theirs), (teacher, student, theirs - ours)):
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} of the images of {other} ({some(sorted(missing))}); images of the "
                "same noise must have the same name in both folders."
            )
    return list(ours)


def read_array(path: Path, name: str, notes: list[str], order: Sequence[str] | None = None) -> np.ndarray:
    """The array of an npy file, of a folder of images, or of a safetensors file that holds one or one of this name.

    order: of images, as for `read_images`. Raises `InputError` for anything else, as for a damaged file.
    """
    if _is_folder(path):
        return read_images(path, order, notes)
    kind = kind_of(path)
    if kind == "npz":
        raise InputError(f"{path}: an npz file stands alone (it holds all arrays); expected an npy file or a folder")
    if kind == "npy":
        return read_npy(path)
    held = names_in(path)
    if len(held) != 1 and name not in held:
        told = some([repr(other) for other in held]) if held else "nothing"
        raise InputError(f"{path}: it holds {told}; expected one tensor, or one that is named {name!r}")
    wanted = name if name in held else held[0]
    notes += [f"{other!r} in {path.name} is not used." for other in held if other != wanted]
    return read_named(path, [wanted], notes)[wanted]


def read_several(path: Path, names: Collection[str] = NAMES, notes: list[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz or safetensors file that have one of `names`; one with another name is noted and not read.

    Raises:
        InputError: a file that cannot be read, is damaged or cut short, holds pickles, or lacks teacher or student.
    """
    notes = [] if notes is None else notes
    found = names_in(path)
    _check_names(path, found)
    for other in sorted(set(found) - set(NAMES)):
        near = get_close_matches(other, NAMES, n=1)
        notes.append(f"'{other}' in {path.name} is not used{f'; is it {near[0]!r}?' if near else '.'}")
    return read_named(path, [name for name in NAMES if name in found and name in names], notes)


def read_calibration(path: Path) -> Calibration:
    """A calibration that was saved as `np.savez(path, **calibration.to_arrays())`, or that a sweep keeps.

    Raises:
        InputError: a file that cannot be read, is damaged or is no calibration.
    """
    if kind_of(path) != "npz":
        raise InputError(f"{path}: expected a calibration, as np.savez(path, **calibration.to_arrays()) writes it")
    arrays = read_named(path, names_in(path), [])
    try:
        return Calibration.from_arrays(arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_names(path: Path, found: Sequence[str]) -> None:
    """Raises InputError when teacher or student is missing, with the nearest name that is there."""
    for name in NAMES[:2]:
        if name in found:
            continue
        near = get_close_matches(name, [other for other in found if other not in NAMES], n=1)
        hint = f"rename {near[0]!r} to {name!r}" if near else "save both as np.savez(path, teacher=..., student=...)"
        holds = some([repr(other) for other in found]) if found else "nothing"
        raise InputError(f"{path}: no array named {name!r}; it holds {holds}: {hint}.")
