"""One measured pairing, as the per-sample figures see it: its arrays, a name for its panel, and where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dmdlab.config import InputError
from dmdlab.pairing.pairs import Pairs
from dmdlab.plots import captions
from dmdlab.plots.style import INIT_STYLES, Size, new_figure
from dmdlab.records.cells import cells_of_starts
from dmdlab.records.record import Record


@dataclass(frozen=True, eq=False)
class Sample:
    """The pairs of one run or one file.

    Attributes:
        pairs: the arrays.
        name: the panel's title.
        colour: of everything that is drawn for it.
    """

    pairs: Pairs
    name: str
    colour: str


def samples_of(records: Sequence[Record], most: int) -> tuple[list[Sample], str]:
    """The first seed of every law, dimension and init among `records`, in this order, and the sentences on where they
    come from.

    Raises:
        InputError: no finished run, runs that differ in more than the seed, or more than `most` panels.
    """
    groups = cells_of_starts(records)
    if len(groups) > most:
        dims = ", ".join(str(dim) for dim in sorted({cell.dim for cell in groups}))
        raise InputError(
            f"{len(groups)} combinations of law, dimension and init do not fit into one figure, which holds {most}; "
            f"choose with law.dim=N (there are {dims}), law.name=NAME or student.init=INIT"
        )
    first = [cell.records[0] for cell in groups]
    samples = []
    for cell in groups:
        style = INIT_STYLES[cell.init]
        name = f"{cell.law}, $d = {cell.dim}$, {style.label}"
        samples.append(Sample(cell.records[0].pairs(), name, style.colour))
    seeds = captions.shared(first, "seed")
    return samples, f"{captions.setting(first)} Seed {seeds}. {captions.provenance(first)}"


def squares(count: int, scale: Size, share: float) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels to be filled by squares, in one row or two; a square takes `share` of the width of
    its panel, labels and colour bar the rest."""
    columns = count if count <= 3 else -(-count // 2)
    rows = -(-count // columns)
    width = scale.single if count == 1 else scale.double
    height = min(scale.height, rows * (share * width / columns + 5.2 * scale.font / 72))
    figure = new_figure(width, height, scale)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure, list(grid.flat[:count])


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_i|, (n,), in float64 and in the data's own unit."""
    return np.sqrt(((a.astype(np.float64) - b) ** 2).sum(axis=1))
