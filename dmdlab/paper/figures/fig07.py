"""Figure 7: as figure 2, a row each for double moons and a ring of Gaussians."""

from collections.abc import Sequence

from dmdlab.paper.figures.planes import planes_figure
from dmdlab.plots.style import Drawing
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """One row of five panels for each law. Raises `InputError`: no finished teacher start."""
    return planes_figure(records, named=True)
