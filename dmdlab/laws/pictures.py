"""What laws of pictures share: their size, their pixels, and the empirical denoiser of those without a closed form.

A picture (channels, side, side) lies flattened in R^d, d = channels side^2. Its pixels tile the square [-1, 1]^2, rows
from above. **A pixel is the mean of one function of position over its square**, not the function's value at its centre:
so a law that is given by functions (manifold, blobs) is *one* law at every side, and averaging the pixels of a finer
picture gives the coarser one exactly.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.laws.empirical import Empirical
from dmdlab.laws.law import Law, Part

Side = Annotated[int, Field(ge=4, le=64)]
Channels = Literal[1, 3]
Memorised = Annotated[int, Field(ge=0)]


class Pictures(Law):
    """A law of square pictures: its `dim` follows from `side` and `channels`.

    Args:
        dim: d, or None; where it is given it must be channels * side^2.
        side: pixels along a side, 4 to 64.
        channels: 1 (grey) or 3 (colour).

    Raises:
        InputError: `dim` is another number.
    """

    min_dim = 16

    def __init__(self, dim: int | None, side: int, channels: int) -> None:
        own = channels * side**2
        if dim not in (None, own):
            raise InputError(
                f"law.dim is {dim}, but law.side = {side} and law.channels = {channels} make pictures of {own} "
                "numbers: leave law.dim out, and set law.side and law.channels"
            )
        super().__init__(own)
        self.side, self.channels = side, channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, side, side)."""
        return (self.channels, self.side, self.side)

    def _at_most_the_pixels(self, key: str, value: int, what: str) -> None:
        """Raise InputError for more degrees of freedom than numbers in a picture."""
        if value > self.dim:
            raise InputError(
                f"law.{key}: {what} make {value} degrees of freedom, but a picture of law.side = {self.side} and "
                f"law.channels = {self.channels} has {self.dim} numbers: lower law.{key} or raise law.side"
            )


class Unsolved(Pictures):
    """Pictures whose denoiser has no closed form. Where a config asks for it (`empirical` = N), the law that is trained
    on is N of its pictures with equal masses: its denoiser is exact then, the one that memorises them (`empirical.py`).
    The other parts stay those of the law itself.

    A child calls `_memorise` at the end of its constructor where N > 0.
    """

    has_denoiser = False
    atoms: Empirical | None
    atom_labels: Tensor | None

    def __init__(self, dim: int | None, side: int, channels: int) -> None:
        super().__init__(dim, side, channels)
        self.atoms = None

    def _memorise(self, points: Tensor, labels: Tensor | None) -> None:
        """Take these pictures (N, d), and labels (N,), for the part to train on."""
        self.atoms = Empirical(dim=self.dim, points=points)
        self._keep(atom_labels=labels)
        self.has_denoiser, self.has_class_denoiser = True, labels is not None
        self.sigma_data = self.atoms.sigma_data
        if self.sigma_data == 0:
            raise InputError(
                f"law.empirical is {len(points)}: the pictures to train on are one and the same, and there is nothing "
                "to learn from it; take more of them"
            )

    def _draw_from(self, part: Part, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        if part != "train" or self.atoms is None:
            return self._draw_part(part, n, generator)
        points, labels = self.atoms.points, self.atom_labels
        rows = torch.randint(len(points), (n,), generator=generator, device=generator.device).to(points.device)
        x = points[rows].to(generator.device, torch.float32)
        return x, None if labels is None else labels[rows].to(generator.device)

    def _draw_part(self, part: Part, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """As `_draw_from`, of the law itself."""
        return super()._draw_from(part, n, generator)

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return super()._denoise(x, sigma) if self.atoms is None else self.atoms._denoise(x, sigma)

    def _denoise_class(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        if self.atoms is None or self.atom_labels is None:
            return super()._denoise_class(x, sigma, label)
        return self.atoms.denoise_among(x, sigma, self.atom_labels, label)

    def class_shares(self) -> Tensor:
        labels = None if self.atoms is None else self.atom_labels
        return super().class_shares() if labels is None else shares_of(labels, self.classes)

    @property
    def has_density(self) -> bool:
        return self.atoms is not None

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        return super()._log_density(x, sigma) if self.atoms is None else self.atoms._log_density(x, sigma)


def shares_of(labels: Tensor, classes: int) -> Tensor:
    """How often each of so many classes comes among labels (n,), (classes,), float64."""
    return torch.bincount(labels, minlength=classes).double() / len(labels)


def edges(side: int) -> Tensor:
    """Where the pixels of a side begin and end, (side + 1,), float64, from -1 to 1."""
    return torch.linspace(-1, 1, side + 1, dtype=torch.float64)


def centres(side: int) -> Tensor:
    """The middle of each pixel of a side, (side,), float64."""
    return (edges(side)[1:] + edges(side)[:-1]) / 2
