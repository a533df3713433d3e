"""Figures that show single runs: which ones, and their names."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from dmdlab.plots.style import LETTER, Size, in_figure
from dmdlab.records.cells import STARTS, Cell, cells, finished
from dmdlab.records.layout import distinct
from dmdlab.records.record import Record

MOST_KEYS = 3
"""Settings beyond law, dimension and start that a name holds."""


def first_cells(records: Sequence[Record], most: int) -> tuple[list[Cell], str]:
    """The first `most` cells of the finished runs, by law, dimension, start and what else varies, and a sentence for
    the caption if there are more.

    Raises `InputError`: no finished run.
    """
    found = cells(finished(records))
    keys = sorted(found[0].keys, key=lambda key: key not in STARTS)
    orders = {key: distinct(cell.value(key) for cell in found) for key in keys}
    found.sort(key=lambda cell: [orders[key].index(cell.value(key)) for key in keys])
    return found[:most], f"Shown are the first {most} of {len(found)} settings. " if len(found) > most else ""


def name_of(cell: Cell) -> str:
    """A cell's settings in a figure's type, a line each: law and dimension, start, and what else varies, but for what
    its kind of network or law has not."""
    rest = [key for key, value in cell.keys.items() if key not in STARTS and value is not None]
    law = f"{cell.law}, {in_figure('law.dim', cell.dim)}"
    return "\n".join([law, *(in_figure(key, cell.value(key)) for key in ("student.init", *rest[:MOST_KEYS]))])


def name_block(axes: Axes, cell: Cell, height: float, scale: Size) -> None:
    """The cell's name beside a block that is so many inches high."""
    name = name_of(cell)
    letters = max(map(len, name.replace("$", "").split("\n")))
    axes.set_ylabel(name, fontsize=min(scale.font, 72 * height / (LETTER * letters)))


def name_width(cells: Sequence[Cell], scale: Size) -> float:
    """Inches that the names of these take beside their blocks."""
    return 1.35 * max(len(name_of(cell).split("\n")) for cell in cells) * scale.font / 72
