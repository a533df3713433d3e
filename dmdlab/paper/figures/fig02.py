"""Figure 2: noise, teacher, one step and student on a chessboard, coloured by noise, and the rotated control."""

from collections.abc import Sequence

from dmdlab.paper.figures.planes import planes_figure
from dmdlab.plots.style import Drawing
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """One row of five panels. Raises `InputError`: no finished teacher start."""
    return planes_figure(records)
