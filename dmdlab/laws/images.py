"""Pictures from files, and scikit-learn's digits: laws that are known by finitely many samples.

**Values.** Grey levels of 8 or 16 bits go linearly to [-1, 1] (EDM's convention); real numbers stay as they are; both
times scale. They are not centred: `sigma_data` is the standard deviation about the mean picture.

**Size.** A picture of another size is padded, evenly on both sides, with the smallest value in the file up to the next
multiple of `side`, and blocks of pixels are averaged: 28 x 28 at side 16 is padded to 32 and averaged by 2, at side 8
padded to 32 and averaged by 4.

**Parts.** All rows are shuffled once, by `seed`, and cut into three: 2/7 of them, at most 10 000, to refer to, as many
to measure with, and the rest to train on. So 60 000 pictures are 40 000, 10 000 and 10 000, and the 1 797 digits 771,
513 and 513. Training draws with replacement; from the other two no picture comes twice.
"""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.laws.checks import Positive, Seed, checked
from dmdlab.laws.law import PARTS, Part
from dmdlab.laws.picture_files import KINDS, PictureData, read_data
from dmdlab.laws.pictures import Channels, Memorised, Side, Unsolved, shares_of

_MOST = 10_000
_ROWS = 4096  # pictures whose pixels are held as floats at a time


class Stored(Unsolved):
    """A law of given pictures; a child's constructor ends with `_store`."""

    rows: Tensor
    order: Tensor
    labels: Tensor | None

    def _store(self, data: PictureData, source: str, scale: float, seed: int, empirical: int) -> None:
        """Take these pictures, split them by seed, and where `empirical` is N > 0 train on N of them alone."""
        count, channels = data.pixels.shape[:2]
        if channels != self.channels:
            raise InputError(
                f"law.channels is {self.channels}, but {source} holds pictures of {channels}: set law.channels to it"
            )
        if count < len(PARTS):
            raise InputError(
                f"{source} holds {count} pictures, expected at least {len(PARTS)}: they are split into parts to train "
                "on, to refer to and to measure with"
            )
        rows = _at_side(data, self.side)
        self._keep(
            rows=rows if scale == 1 else rows * scale,
            order=torch.from_numpy(np.random.default_rng(seed).permutation(count)),
            labels=None if data.labels is None else torch.from_numpy(data.labels),
        )
        self.intrinsic_dim = self.dim
        self.classes = 0 if data.labels is None else int(data.labels.max()) + 1
        self.sigma_data = math.sqrt(self.rows.var(0, correction=0).double().mean().item())
        if self.sigma_data == 0:
            raise InputError(f"{source} holds the same picture {count} times: there is nothing to learn from it")
        if empirical > len(own := self._rows_of("train")):
            raise InputError(
                f"law.empirical is {empirical}, but {source} has {len(own)} pictures to train on: lower it"
            )
        if empirical:
            chosen = own[:empirical]
            self._memorise(self.rows[chosen], None if self.labels is None else self.labels[chosen])

    def class_shares(self) -> Tensor:
        if self.labels is None or self.atoms is not None:
            return super().class_shares()
        return shares_of(self.labels[self._rows_of("train")], self.classes)

    def available(self, part: Part) -> int:
        """How many pictures a part holds."""
        return len(self._rows_of(part)) if part != "train" or self.atoms is None else len(self.atoms.points)

    def _rows_of(self, part: Part) -> Tensor:
        """The places of a part's pictures among all."""
        count = len(self.order)
        held = max(1, min(_MOST, 2 * count // 7))
        return self.order.split([count - 2 * held, held, held])[PARTS.index(part)]

    def training_set(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        if self.atoms is not None:
            return super().training_set(n, generator)
        return self._draw_part("train", n, generator, different=True)

    def _draw_part(
        self, part: Part, n: int, generator: torch.Generator, different: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """As of `Pictures`; different: no picture twice in the part to train on, either."""
        if part not in PARTS:
            raise InputError(f"part is {part!r}, expected one of {', '.join(PARTS)}")
        own, device = self._rows_of(part), generator.device
        if part == "train" and not different:
            picked = torch.randint(len(own), (n,), generator=generator, device=device)
        elif n <= len(own):
            picked = torch.randperm(len(own), generator=generator, device=device)[:n]
        else:
            raise InputError(
                f"the law {self.name!r} has {len(own)} pictures of its {len(self.order)} in the part {part!r}, but {n} "
                f"were asked of it: set measure.samples to at most {len(own)}, or give more pictures"
            )
        chosen = own[picked.to(own.device)]
        x = self.rows[chosen].to(device, torch.float32)
        return x, None if self.labels is None else self.labels[chosen].to(device)


class Images(Stored):
    """Pictures from a file or a folder, with or without labels.

    Args:
        dim, side, channels: as for `Pictures`; the files must have these channels.
        path: an IDX file (gzipped or not), a .npy file, an .npz file with an array `images` (and `labels`), or a folder
            of PNG, JPEG, WebP, BMP or TIFF pictures in the order of their names.
        labels: an IDX or .npy file of their class labels, 0..K-1.
        digest: ten hex digits of the content of both; a resolved configuration holds it, and a run's id knows it and
            not the paths.
        scale: multiplies the values.
        seed: of the split into parts.
        empirical: N above 0 makes N pictures all that is trained on (`Unsolved`).

    Raises:
        InputError: as for `picture_files.read_data`; other channels, fewer than 3 pictures, all the same; more in
            `empirical` than there are; a digest other than the one given.
    """

    name = "images"
    summary = "pictures: your own, from IDX (MNIST), .npy or .npz files or a folder"

    @checked
    def __init__(
        self,
        *,
        dim: int | None = None,
        path: str | Path | None = None,
        labels: str | Path | None = None,
        side: Side = 16,
        channels: Channels = 1,
        digest: str | None = None,
        scale: Positive = 1.0,
        seed: Seed = 0,
        empirical: Memorised = 0,
    ) -> None:
        super().__init__(dim, side, channels)
        if path is None:
            raise InputError(f"law.path is missing: the law 'images' expects {KINDS}")
        data = read_data(path, labels)
        self.digest = data.digest
        if digest not in (None, self.digest):
            raise InputError(
                f"law.path: the pictures of {path} have digest {self.digest}, expected law.digest {digest!r}: they, or "
                "their labels, have changed; leave law.digest out to take them as they are"
            )
        self._store(data, str(path), scale, seed, empirical)


class Digits(Stored):
    """scikit-learn's 1 797 handwritten digits, 8 x 8 pixels of 17 grey levels, with labels (Alpaydin & Kaynak 1998).

    Args:
        dim, side: as for `Pictures`; other sides than 8 and its divisors are padded.
        scale, seed, empirical: as for `Images`.

    Raises:
        InputError: scikit-learn is not installed; more in `empirical` than there are to train on.
    """

    name = "digits"
    summary = "pictures: scikit-learn's 1 797 handwritten digits (pip install 'dmdlab[digits]')"

    @checked
    def __init__(
        self,
        *,
        dim: int | None = None,
        side: Side = 8,
        scale: Positive = 1.0,
        seed: Seed = 0,
        empirical: Memorised = 0,
    ) -> None:
        super().__init__(dim, side, 1)
        self._store(scikit_digits(), "scikit-learn's digits", scale, seed, empirical)


@lru_cache(maxsize=1)
def scikit_digits() -> PictureData:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError(
            "law.name: the law 'digits' needs scikit-learn, which is not installed: pip install 'dmdlab[digits]', or "
            "take law.name=images with files of your own"
        ) from None
    found = load_digits()
    return PictureData((found.images / 8 - 1).astype(np.float32)[:, None], found.target.astype(np.int64))


@lru_cache(maxsize=2)
def _at_side(data: PictureData, side: int) -> Tensor:
    """The pictures at this side, flattened, (n, d) float32: kept, as every experiment of a sweep builds its law."""
    return torch.from_numpy(resized(data.pixels, side))


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pictures (n, c, h, w) padded and averaged to (n, c side^2), float32, whole numbers brought to [-1, 1]."""
    n, channels, *size = pixels.shape
    factor = math.ceil(max(size) / side)
    room = [factor * side - length for length in size]
    around = ((0, 0), (0, 0), *((extra // 2, extra - extra // 2) for extra in room))
    darkest = pixels.min()
    out = np.empty((n, channels * side**2), np.float32)
    for start in range(0, n, _ROWS):
        part = np.pad(pixels[start : start + _ROWS], around, constant_values=darkest).astype(np.float32)
        if pixels.dtype.kind == "u":
            part = part * np.float32(2 / np.iinfo(pixels.dtype).max) - 1
        blocks = part.reshape(len(part), channels, side, factor, side, factor)
        out[start : start + _ROWS] = blocks.mean((3, 5), dtype=np.float32).reshape(len(part), -1)
    return out
