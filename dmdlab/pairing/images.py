"""Folders of images as arrays: (n, h, w) grey or (n, h, w, 3) colour, ordered by name.

Pixels stay the numbers that the files hold (0 to 255, or 0 to 65535 for 16-bit grey): every measure but the costs is
the same in any unit, and the costs are then in squared grey levels.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmdlab.config import InputError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_LOSSY = (".jpg", ".jpeg", ".webp")
# More than 8 bits a pixel: kept as they are, and never mixed with others.
_DEEP = ("I;16", "I;16B", "I;16L", "I", "F")


def image_names(folder: Path) -> dict[str, Path]:
    """The images of a folder by name without suffix, in the order of their names.

    Raises:
        InputError: a folder that cannot be read or holds no image, or two images that differ in their suffix only.
    """
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); expected a folder of images.") from None
    if not paths:
        raise InputError(f"{folder}: no image in it; expected files that end in {', '.join(SUFFIXES)}.")
    named: dict[str, Path] = {}
    for path in paths:
        if path.stem in named:
            raise InputError(f"{folder}: {named[path.stem].name} and {path.name} share a name; remove one of them.")
        named[path.stem] = path
    return named


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
    first = _pixels(paths[0], mode)
    images = np.empty((len(paths), *first.shape), first.dtype)
    for row, path in enumerate(paths):
        pixels = _pixels(path, mode)
        if pixels.shape != first.shape:
            raise InputError(
                f"{path} is {pixels.shape[1]} x {pixels.shape[0]} pixels and {paths[0].name} is "
                f"{first.shape[1]} x {first.shape[0]}; images to be compared must have one size."
            )
        images[row] = pixels
    if any(path.suffix.lower() in _LOSSY for path in paths):
        notes.append(f"{folder}: lossy compression counts as a difference; PNG files or arrays are safer.")
    notes.append(f"{folder}: {len(images)} images, {images.dtype}; costs are in squared grey levels.")
    return images


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


def _pixels(path: Path, mode: str) -> np.ndarray:
    """The pixels of one image, (h, w) or (h, w, 3). Raises InputError for a damaged or a transparent one."""
    with _opened(path) as image:
        has_alpha = "A" in image.getbands() or "transparency" in image.info
        opaque = not has_alpha or np.asarray(image.convert("RGBA"))[:, :, 3].min() == 255
        pixels = np.asarray(image.convert(mode))
    if not opaque:
        raise InputError(f"{path}: partly transparent; put it on a background first, as it should be seen.")
    return pixels


@contextmanager
def _opened(path: Path) -> "Iterator[Image.Image]":
    """An image file; what Pillow raises about it becomes a sentence."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of a picture so large that it may be an attack
            with Image.open(path) as image:
                yield image
    except (OSError, Warning, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: not a readable image ({error}); write it again.") from None
