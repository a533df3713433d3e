"""A folder of pictures as one array, in the order of their names; Pillow reads them."""

import warnings
from pathlib import Path

import numpy as np

from dmdlab.config import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def files_of(folder: Path) -> list[Path]:
    """What lies in a folder, by name, but for what is hidden."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def read_folder(folder: Path, key: str) -> np.ndarray:
    """The pictures of a folder, uint8 (n, 1, h, w) or (n, 3, h, w). key: of the setting that names it.

    Raises:
        InputError: no pictures, other files or folders among them, a picture that cannot be read, or whose size or mode
            is not that of the first, or which is neither grey nor RGB with 8 bits a channel.
    """
    files = files_of(folder)
    if not files:
        raise InputError(f"{key}: the folder {folder} is empty: expected pictures ({', '.join(SUFFIXES)})")
    for path in files:
        if path.suffix.lower() not in SUFFIXES or path.is_dir():
            raise InputError(
                f"{key}: {path} is not a picture of a kind that is read ({', '.join(SUFFIXES)}): a folder holds "
                "pictures and nothing else"
            )
    first, mode = _picture(files[0], key)
    pixels = np.empty((len(files), *first.shape), np.uint8)
    for row, path in enumerate(files):
        picture, own = _picture(path, key)
        if picture.shape != first.shape or own != mode:
            height, width = picture.shape[1:]
            raise InputError(
                f"{key}: {path} is {width} x {height}, {own}, but {files[0].name} is {first.shape[2]} x "
                f"{first.shape[1]}, {mode}: all pictures must be of one size and mode"
            )
        pixels[row] = picture
    return pixels


def _picture(path: Path, key: str) -> tuple[np.ndarray, str]:
    """One picture (c, h, w), upright, and its mode."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of a picture so large that it may be an attack
            with Image.open(path) as image:
                mode, frames = str(image.mode), getattr(image, "n_frames", 1)
                pixels = np.asarray(ImageOps.exif_transpose(image))
    except Exception as error:  # each of Pillow's plugins has its own kinds
        raise InputError(f"{key}: {path} is not a readable picture ({error}): write it again") from None
    if mode not in ("1", "L", "RGB") or frames > 1:
        what = f"holds {frames} pictures" if frames > 1 else f"is of mode {mode}"
        raise InputError(
            f"{key}: {path} {what}, expected one grey (L) or RGB picture of 8 bits a channel: convert it, or save all "
            "as one array (.npy)"
        )
    if mode == "RGB":
        return pixels.transpose(2, 0, 1), mode
    return (pixels * np.uint8(255) if mode == "1" else pixels)[None], "L"
