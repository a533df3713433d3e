"""Folders of images as arrays: (n, h, w) grey or (n, h, w, 3) colour, ordered by name; for laws and for measuring.

Pixels stay the numbers that the files hold. What Pillow would drop of a file (half the bits of a deep colour image,
further pages, what lies behind a transparent one) is refused, and an orientation that its EXIF data asks for is
followed. `read_alike` is for data to train on: nothing else lies in the folder, and nothing is converted. `read_images`
is for samples of any tool: folders in folders, 16-bit grey and mixed modes are read, and what was done is noted.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmdlab.config import InputError
from dmdlab.trouble import explained, unreadable

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
UNREAD = (".gif", ".apng", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".exr")
"""Other kinds of pictures: not passed over, as a folder then would be read in part."""

MOST_UNPACKED = 1 << 28
"""Bytes that anything may unpack to (ours)."""

TIGHTEST = 100
"""Bytes that a byte of a compressed file may hold, beyond (ours: the MNIST files hold 5; zeros could be 1000)."""

_LOSSY = (".jpg", ".jpeg", ".webp")
_ORIENTATION = 0x0112  # EXIF's number for it
# More than 8 bits a pixel: kept as they are, and never mixed with others.
_DEEP = ("I;16", "I;16B", "I;16L", "I", "F")


def check_unpacked(unpacked: int, packed: int) -> None:
    """Raise `InputError` where `packed` bytes of a file would unpack to more than real data do, which could fill the
    memory: more than `MOST_UNPACKED`, and `TIGHTEST` times as many."""
    if unpacked > max(MOST_UNPACKED, TIGHTEST * packed):
        raise InputError(
            f"its {packed} bytes would unpack to {unpacked}, more than any real data do; save it without compression"
        )


def files_of(folder: Path) -> list[Path]:
    """What lies in a folder, by name, but for what is hidden."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def digest_of(path: Path) -> str:
    """The SHA-256 of all bytes of a file, or of the names and the files in a folder. Raises `InputError` for what the
    system does not let be read."""
    found, file = hashlib.sha256(), path
    try:
        for file in files_of(path) if path.is_dir() else [path]:
            if file.is_dir():  # refused by its name where the pictures are read
                found.update(b"/" + os.fsencode(file.name))
                continue
            with file.open("rb") as opened:
                found.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    except OSError as error:
        raise unreadable(file, error) from error
    return found.hexdigest()


def read_alike(folder: Path) -> np.ndarray:
    """The images of a folder in the order of their names, uint8: (n, h, w) when they are grey, (n, h, w, 3) when RGB.

    Raises:
        InputError: no images, other files or folders among them, one that cannot be read or would be read in part, or
            whose size or mode is not that of the first, or which is neither grey nor RGB with 8 bits a channel.
    """
    paths = files_of(folder)
    if not paths:
        raise InputError(f"the folder {folder} is empty: expected pictures ({', '.join(SUFFIXES)})")
    for path in paths:
        if path.is_dir():
            raise InputError(
                f"{path} is a folder, expected pictures and nothing else: put all pictures into one folder, and give "
                "classes as a file of labels"
            )
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"{path} is not a picture of a kind that is read ({', '.join(SUFFIXES)}): a folder holds pictures and "
                "nothing else"
            )
    kinds = []
    for path in paths:
        with _opened(path) as image:
            mode = "L" if image.mode == "1" else str(image.mode)
            kinds.append(f"{image.width} x {image.height}, {mode}")
        if mode not in ("L", "RGB"):
            raise InputError(
                f"{path} is of mode {mode}, expected one grey (L) or RGB picture of 8 bits a channel: convert it, or "
                "save all as one array (.npy)"
            )
        if kinds[-1] != kinds[0]:
            raise InputError(
                f"{path} is {kinds[-1]}, but {paths[0].name} is {kinds[0]}: all pictures must be of one size and mode"
            )
    return _stacked(paths, mode)[0]


def image_names(folder: Path) -> dict[str, Path]:
    """The images of a folder by name without suffix, in the order of their names.

    Where they lie in sub-folders (000000/000017.png), the name is that of the path below the folder.

    Raises:
        InputError: a folder that cannot be read or holds no image, images both in it and in sub-folders, images of a
            kind that is not read, or two that differ in their suffix only.
    """
    try:
        paths = sorted(_pictures(folder))
    except OSError as error:
        why = explained(error, reading=True)
        raise InputError(f"{folder}: cannot be read ({why}); expected a folder of images.") from None
    if unread := [p for p in paths if p.suffix.lower() in UNREAD]:
        raise InputError(f"{folder}: {unread[0].name} is of a kind that is not read; convert all such to PNG.")
    if not paths:
        raise InputError(f"{folder}: no image in it; expected files that end in {', '.join(SUFFIXES)}.")
    if len({p.parent == folder for p in paths}) > 1:
        below = next(p for p in paths if p.parent != folder).parent.relative_to(folder)
        raise InputError(f"{folder}: images in it and in its sub-folder {below}, too; keep those that are meant.")
    named: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in named:
            raise InputError(f"{folder}: {named[name].name} and {path.name} share a name; remove one of them.")
        named[name] = path
    return named


def _pictures(folder: Path) -> Iterator[Path]:
    """Every picture below a folder, of kinds that are not read, too; nothing whose name begins with a dot."""

    def fail(error: OSError) -> None:
        raise error

    for here, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(here, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.suffix.lower() in SUFFIXES + UNREAD)


def read_images(folder: Path, order: Sequence[str] | None, notes: list[str]) -> np.ndarray:
    """The images of a folder, (n, h, w) when all are grey, else (n, h, w, 3).

    Args:
        folder: the images.
        order: names (without suffix) in the wanted order of rows; by default sorted.
        notes: is given sentences on what is unusual about them.

    Raises:
        InputError: no images, one that cannot be read or is partly transparent, images of unequal size or depth.
    """
    named = image_names(folder)
    paths = [named[name] for name in order] if order is not None else list(named.values())
    mode = _common_mode(folder, paths)
    images, turned = _stacked(paths, mode)
    if any(path.suffix.lower() in _LOSSY for path in paths):
        notes.append(f"{folder}: lossy compression counts as a difference; PNG files or arrays are safer.")
    if turned:
        notes.append(f"{folder}: {turned} of {len(images)} images were turned as their EXIF orientation says.")
    notes.append(f"{folder}: {len(images)} images, {images.dtype}; costs are in squared grey levels.")
    return images


def _stacked(paths: Sequence[Path], mode: str) -> tuple[np.ndarray, int]:
    """The pixels of all these images, read in one mode, and how many were turned."""
    first, _ = _pixels(paths[0], mode)
    check_unpacked(first.nbytes * len(paths), sum(path.stat().st_size for path in paths))
    images, turned = np.empty((len(paths), *first.shape), first.dtype), 0
    for row, path in enumerate(paths):
        pixels, was_turned = _pixels(path, mode)
        turned += was_turned
        if pixels.shape != first.shape:
            raise InputError(
                f"{path} is {pixels.shape[1]} x {pixels.shape[0]} pixels and {paths[0].name} is "
                f"{first.shape[1]} x {first.shape[0]}; all must have one size."
            )
        images[row] = pixels
    return images, turned


def _common_mode(folder: Path, paths: Sequence[Path]) -> str:
    """Pillow's mode to read all of `paths` in: grey when all are, else colour."""
    modes = set()
    for path in paths:
        with _opened(path) as image:
            modes.add(str(image.mode))
    if modes & set(_DEEP):
        if len(modes) > 1:
            raise InputError(f"{folder}: images of different depth ({', '.join(sorted(modes))}); convert them to one.")
        return modes.pop()
    return "L" if modes <= {"1", "L"} else "RGB"


def _pixels(path: Path, mode: str) -> tuple[np.ndarray, bool]:
    """The pixels of one image, (h, w) or (h, w, 3), and whether they were turned as its EXIF data asks.

    Raises:
        InputError: an image that is damaged, partly transparent, of several pages, or deeper than would be read.
    """
    from PIL import ImageOps

    with _opened(path) as image:
        if (pages := getattr(image, "n_frames", 1)) > 1:
            raise InputError(f"{path}: it holds {pages} pictures and one would be read; save each in its own file.")
        if _too_deep(image):
            raise InputError(
                f"{path}: 16 bits a channel, of which colour images would keep 8; save them as arrays (npy), or "
                "convert both folders to 8 bits."
            )
        turned = image.getexif().get(_ORIENTATION, 1) != 1
        upright = ImageOps.exif_transpose(image) if turned else image
        has_alpha = "A" in upright.getbands() or "transparency" in upright.info
        opaque = not has_alpha or np.asarray(upright.convert("RGBA"))[:, :, 3].min() == 255
        pixels = np.asarray(upright.convert(mode))
    if not opaque:
        raise InputError(f"{path}: partly transparent; put it on a background first, as it should be seen.")
    return pixels, turned


def _too_deep(image: "Image.Image") -> bool:
    """Whether the file has 16 bits a channel and Pillow's mode 8: its decoder is then told of both."""
    packed = image.format == "BMP"  # whose 16 bits are those of a whole pixel
    tiles = getattr(image, "tile", [])
    return not packed and image.mode not in _DEEP and any(";16" in str(tile[3]) for tile in tiles)


@contextmanager
def _opened(path: Path) -> "Iterator[Image.Image]":
    """An image file; what Pillow raises about it becomes a sentence."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of a picture so large that it may be an attack
            with Image.open(path) as image:
                yield image
    except InputError:
        raise
    except Exception as error:  # each of Pillow's plugins has its own kinds
        if isinstance(error, OSError) and error.errno is not None:  # the system's word, not of what the file holds
            raise unreadable(path, error) from None
        raise InputError(f"{path}: not a readable picture ({error}); write it again.") from None
