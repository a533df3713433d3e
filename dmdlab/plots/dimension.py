"""Copying against dimension: the lab's main figure, starts over the ambient dimension, a row of panels a law."""

from collections.abc import Sequence

from dmdlab.plots.axis import Choice, axis_figure
from dmdlab.plots.style import PAPER, Drawing, Size
from dmdlab.records.layout import DIMENSION
from dmdlab.records.record import Record


def dimension_figure(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """`axis_figure` along the dimension. Raises `InputError` as it does."""
    return axis_figure(records, scale, Choice(DIMENSION.x, DIMENSION.by, DIMENSION.rows))
