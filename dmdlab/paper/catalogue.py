"""Every figure of the paper, and the table of its numbers: what it shows, our experiments for it, our panels."""

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dmdlab.config import InputError, did_you_mean
from dmdlab.plots.style import Drawing
from dmdlab.records.record import Record

Scale = Literal["quick", "paper"]
SCALES: tuple[Scale, ...] = ("quick", "paper")

FOLDER = Path(__file__).parent / "experiments"
"""experiments/<scale>/<name>.toml, inside the package, so that an installed one can reproduce."""


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Attributes:
        shows: what the paper's shows.
        experiments: names of our files in experiments/<scale>/. Figures that show the same runs name the same file.
        panels: words in the titles of the panels that ours promises; {law} stands for the name of a law of pictures.
        lacking: what of the paper's is not here, and why.
    """

    shows: str
    experiments: tuple[str, ...]
    panels: tuple[str, ...]
    lacking: str = ""


_LAWS = "ImageNet-64: data that nobody may pass on, and far beyond two cores"
_MAPS = ("one step", "teacher", "student")

FIGURES: dict[str, Figure] = {
    "fig1": Figure(
        "what one noise becomes by Phi_1, Phi_8, Phi_32 and the student, and the triplets on two principal components",
        ("pictures",),
        ("rows", *_MAPS),
    ),
    "fig2": Figure(
        "noise, Phi_8, Phi_1 and student of the chessboard, coloured by noise: the student re-pairs",
        ("chessboard",),
        ("noise", *_MAPS, "rotated student"),
    ),
    "fig3": Figure(
        "squared distances between teacher and student outputs and the optimal assignment: low against high dimension",
        ("chessboard", "pictures"),
        tuple(f"{law}, {start} start" for law in ("chessboard", "{law}") for start in ("teacher", "rotated")),
    ),
    "fig4": Figure("the DM loss over training for several ages of the teacher", ("ages",), ("DM loss", "zoom")),
    "fig5": Figure(
        "outlying samples are copied more: distance to the data against how far the student went",
        ("pictures",),
        ("boundary", "all seeds"),
    ),
    "fig6": Figure(
        "an early and a late teacher: rows of pictures and heat maps",
        ("ages",),
        tuple(f"{age} teacher: {what}" for what in ("rows", "heat map") for age in ("early", "late")),
    ),
    "fig7": Figure(
        "as figure 2, for double moons and a ring of 32 Gaussians",
        ("curves",),
        tuple(f"{law}: {what}" for law in ("moons", "ring") for what in ("noise", *_MAPS)),
    ),
    "fig8": Figure("conditional data: rows of pictures", ("classes", "stripes"), ("{law}: rows",), _LAWS),
    "fig9": Figure(
        "conditional data: two principal components",
        ("classes", "stripes"),
        tuple(f"{{law}}: {what}" for what in _MAPS),
        _LAWS,
    ),
    "fig10": Figure(
        "conditional data: how far one step is from Phi_8 against how far the student is",
        ("classes", "stripes"),
        ("{law}",),
        _LAWS,
    ),
    "fig11": Figure("the same over ages of the teacher", ("class-ages",), ("age",)),
    "fig12": Figure(
        "memorisation ratios of the teacher's outputs: it has not memorised", ("ages",), ("memorisation ratio",)
    ),
}
"""By the name that `dmdlab reproduce` knows."""

TABLE = "table"
CLAIMED = ("chessboard", "curves", "pictures", "ages", "gan", "classes", "class-ages", "stripes")
"""All our experiments: those that the table and the seven claims are made of."""

TARGETS: tuple[str, ...] = (*FIGURES, TABLE, "all")


def targets(names: Sequence[str]) -> list[str]:
    """The figures, and the table, that these words ask for, in the order of the paper; nothing asks for all.

    Raises `InputError` for a word that is none of `TARGETS`.
    """
    for name in names:
        if name not in TARGETS:
            near = did_you_mean(name, TARGETS)
            raise InputError(f"reproduce: unknown figure {name!r}{near} (there are fig1 to fig12, {TABLE} and all)")
    whole = not names or "all" in names
    return [name for name in (*FIGURES, TABLE) if whole or name in names]


def experiments_of(names: Iterable[str]) -> list[str]:
    """The experiments that these figures and the table need, each once, in the order of `CLAIMED`."""
    wanted = {own for name in names for own in (CLAIMED if name == TABLE else FIGURES[name].experiments)}
    return [name for name in CLAIMED if name in wanted]


def experiment_file(name: str, scale: Scale) -> Path:
    """Our file of an experiment."""
    return FOLDER / scale / f"{name}.toml"


def drawing(name: str, records: Sequence[Record]) -> Drawing:
    """One figure. Raises `InputError` where the records do not make it."""
    number = int(name.removeprefix("fig"))
    draw: Callable[[Sequence[Record]], Drawing] = importlib.import_module(f"dmdlab.paper.figures.fig{number:02}").draw
    return draw(records)
