"""Pictures and their labels from files: IDX (the MNIST format, gzipped or not), .npy, .npz, a folder; nothing is
downloaded, and no pickle is opened.

What is wrong with a file is a sentence that begins with the key that named it, `law.path` or `law.labels`.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from dmdlab.arrays import NPY, NPZ
from dmdlab.config import InputError
from dmdlab.folders import digest_of, read_alike
from dmdlab.laws.arrays import at_home, read_npy, read_npz
from dmdlab.laws.idx import GZIP, read_idx

KINDS = "an IDX file (the MNIST format, gzipped or not), a .npy or .npz file, or a folder of pictures"
_EXPECTED = {"law.path": KINDS, "law.labels": "an IDX or .npy file of whole numbers, one a picture"}
MOST_CLASSES = 1000
LIKE_LABELS = ("label", "y", "target", "targets", "class", "classes")
"""What others call the labels in an .npz file."""

_DTYPES = ("uint8", "uint16", "float16", "float32", "float64")


@dataclass(frozen=True, eq=False)
class PictureData:
    """What files hold: pixels (n, c, h, w) as they are there, and labels (n,), int64, or None. Never changed in place:
    `read_data` gives the same object again."""

    pixels: np.ndarray
    labels: np.ndarray | None

    @cached_property
    def digest(self) -> str:
        """Ten hex digits of the content, whatever file holds it and wherever that lies."""
        found = hashlib.sha256()
        for array in (self.pixels, self.labels):
            if array is not None:
                plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
                found.update(f"{plain.dtype.str}{plain.shape}".encode())
                found.update(plain.data)
        return found.hexdigest()[:10]


def read_data(path: str | Path, labels: str | Path | None) -> PictureData:
    """The pictures of a file or folder, and the labels of another or, in an .npz file, of its array `labels`.

    A file is read again only where its bytes have changed.

    Raises:
        InputError: a file that cannot be read, is empty, cut short, damaged or of another kind, type or shape; pictures
            of mixed sizes or modes; labels that are not one for each picture, numbered 0..K-1 without a gap.
    """
    pictures, own = at_home(path, "law.path"), None if labels is None else at_home(labels, "law.labels")
    state = [_fingerprint(pictures, "law.path")] + ([] if own is None else [_fingerprint(own, "law.labels")])
    return _read(pictures, own, tuple(state))


def _fingerprint(path: Path, key: str) -> str:
    """`digest_of`; what refuses it is told with the key."""
    try:
        return digest_of(path)
    except InputError as error:
        give = f": give {_EXPECTED[key]}" if isinstance(error.__cause__, FileNotFoundError) else ""
        raise InputError(f"{key}: {error}{give}") from None


@lru_cache(maxsize=2)
def _read(path: Path, labels: Path | None, state: tuple[str, ...]) -> PictureData:
    """`state` tells a file from what it was before."""
    pixels, within = _pixels(path, labels is not None)
    own = within if labels is None else _labels(labels)
    return PictureData(pixels, None if own is None else _classes(own, len(pixels), str(labels or path)))


def _pixels(path: Path, labelled: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Pictures (n, c, h, w), and labels where they lie in the same file. labelled: another file has them."""
    key, within = "law.path", None
    if path.is_dir():
        try:
            array = read_alike(path)  # (n, h, w) or (n, h, w, 3)
        except InputError as error:
            raise InputError(f"{key}: {error}") from None
        return array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2), None
    kind = _start(path, key)
    if kind == "idx":
        array = read_idx(path, key)
        if array.ndim < 3:
            hint = ": it holds labels; give it as law.labels" if array.ndim == 1 else ""
            raise InputError(f"{key}: {path} is an IDX file of {array.ndim} axes, expected pictures (n, h, w){hint}")
    elif kind == "npz":
        found = read_npz(path, key, "pictures, images=..., labels=...")
        within = found.pop("labels", None)
        if "images" not in found and len(found) != 1:
            holds = ", ".join(sorted(found)) or "nothing"
            raise InputError(
                f"{key}: {path} holds {holds}, expected an array named images, and one named labels or not"
            )
        array = found.pop("images") if "images" in found else found.popitem()[1]
        if within is None and not labelled:
            _no_labels_among(found, len(array) if array.ndim else 0, f"{key}: {path}")
    else:
        array = read_npy(path, key, "pictures (n, h, w)")
    return _with_channels(array, f"{key}: {path}"), within


def _no_labels_among(others: dict[str, np.ndarray], count: int, source: str) -> None:
    """Raise `InputError` where one of an .npz file's further arrays is called as labels are, or holds a whole number
    for each of so many pictures: the law would have no classes, and nobody would see why."""
    for name, array in others.items():
        if name.lower() in LIKE_LABELS or (array.shape == (count,) and array.dtype.kind in "iu"):
            raise InputError(
                f"{source} holds images and {name}, which looks like labels, but only an array named labels is read as "
                "these: rename it, give it as law.labels in a file of its own, or leave it out"
            )


def _with_channels(array: np.ndarray, source: str) -> np.ndarray:
    """The array as (n, c, h, w), c = 1 or 3, its type and values checked."""
    if array.dtype.name not in _DTYPES:
        black_and_white = array.dtype.kind == "b"
        what, given = ("black and white", "(255 * array)") if black_and_white else ("grey levels of 0 to 255", "array")
        raise InputError(
            f"{source} holds {array.dtype} entries, expected {', '.join(_DTYPES)}: {what} are saved with "
            f"{given}.astype('uint8')"
        )
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    elif array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise InputError(
            f"{source} has shape {array.shape}, expected pictures: (n, h, w), or with 1 or 3 channels (n, c, h, w) or "
            "(n, h, w, c), and at least one"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise InputError(f"{source} holds NaN or infinity, first in picture {row}: mend or leave out such pictures")
    return array


def _labels(path: Path) -> np.ndarray:
    key = "law.labels"
    if path.is_dir():
        raise InputError(f"{key}: {path} is a folder, expected {_EXPECTED[key]}")
    kind = _start(path, key)
    if kind == "npz":
        raise InputError(
            f"{key}: {path} is an .npz archive, expected an IDX or .npy file: save the array of labels alone"
        )
    return read_idx(path, key) if kind == "idx" else read_npy(path, key, "labels (n,)")


def _classes(labels: np.ndarray, count: int, source: str) -> np.ndarray:
    """Labels checked against `count` pictures, int64."""
    said = f"law.labels: {source}"
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(
            f"{said} holds labels of {labels.dtype}, shape {labels.shape}, expected whole numbers ({count},)"
        )
    if len(labels) != count:
        raise InputError(f"{said} holds {len(labels)} labels for {count} pictures: give the file that belongs to them")
    low, high = int(labels.min()), int(labels.max())
    if low != 0 or not 0 < high < MOST_CLASSES:
        raise InputError(
            f"{said} holds labels from {low} to {high}, expected 0 to K - 1 with K from 2 to {MOST_CLASSES}: number "
            "the classes so, or leave law.labels out"
        )
    if (missing := np.flatnonzero(np.bincount(labels.astype(np.int64)) == 0)).size:
        raise InputError(f"{said} names {high + 1} classes, but no picture is of class {missing[0]}: leave no gap")
    return labels.astype(np.int64)


def _start(path: Path, key: str) -> str:
    """'idx', 'npy' or 'npz', by the first bytes."""
    with path.open("rb") as file:
        start = file.read(6)
    if not start:
        raise InputError(f"{key}: {path} is empty: give {_EXPECTED[key]}")
    if start.startswith(NPZ):
        return "npz"
    if start.startswith((GZIP, b"\0\0")):
        return "idx"
    if start == NPY:
        return "npy"
    begins = start[:4].hex(" ")
    raise InputError(f"{key}: {path} is of no known kind (it begins with {begins}): give {_EXPECTED[key]}")
