"""One measured pairing, as the per-sample figures see it: its arrays, a name for its panel, and where it comes from."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dmdlab.config import InputError
from dmdlab.pairing.pairs import Pairs
from dmdlab.plots import captions
from dmdlab.plots.style import INIT_STYLES, Drawing, Size, new_figure
from dmdlab.records.cells import cells_of_starts, dims_of
from dmdlab.records.record import Record


@dataclass(frozen=True, eq=False)
class Sample:
    """The pairs of one run or one file, with its panel's title and the colour of everything that is drawn for it."""

    pairs: Pairs
    name: str
    colour: str


def samples_of(records: Sequence[Record], most: int) -> tuple[list[Sample], str]:
    """The first seed of every law, dimension and init among `records`, in this order, and the sentences on where they
    come from.

    Raises `InputError`: no finished run, runs that differ in more than the seed, or more than `most` panels.
    """
    groups = cells_of_starts(records)
    if len(groups) > most:
        raise InputError(
            f"{len(groups)} combinations of law, dimension and init do not fit into one figure, which holds {most}; "
            f"choose with law.dim=N (there are {', '.join(map(str, dims_of(groups)))}), law.name=NAME or "
            "student.init=INIT"
        )
    first, samples = [cell.records[0] for cell in groups], []
    for cell, record in zip(groups, first, strict=True):
        style = INIT_STYLES[cell.init]
        samples.append(Sample(record.pairs(), f"{cell.law}, $d = {cell.dim}$, {style.label}", style.colour))
    seeds = captions.column_in_words(first, "seed")
    return samples, f"{captions.setup(first)} Seed {seeds}. {captions.provenance(first)}"


def of_samples(
    draw: Callable[[Sequence[Sample], str, Size], Drawing], paper: int, slide: int
) -> Callable[[Sequence[Record], Size], Drawing]:
    """The figure that `draw` makes of the first seed of every law, dimension and init, at most so many of them.

    It raises `InputError`: no finished run, or more combinations than fit.
    """
    return lambda records, scale: draw(*samples_of(records, slide if scale.slide else paper), scale)


@contextmanager
def squares(count: int, scale: Size, share: float, across: str, up: str) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with `count` panels to be filled by squares, in one row or two, with their axes' labels.

    A square takes `share` of the width of its panel, labels and colour bar the rest. The block's end lays it out.
    """
    columns = count if count <= 3 else -(-count // 2)
    rows = -(-count // columns)
    width = scale.single if count == 1 else scale.double
    height = min(scale.height, rows * (share * width / columns + 6.4 * scale.font / 72))
    with new_figure(width, height, scale) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[count:]:
            axes.set_axis_off()
        for axes in grid.flat[:count]:
            axes.set_xlabel(across)
        for axes in grid[:, 0]:
            axes.set_ylabel(up)
        yield figure, list(grid.flat[:count])
