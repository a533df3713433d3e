"""Figure 1: what one noise becomes in one step, by the flow, and by the student; the triplets on two components."""

from collections.abc import Sequence

from dmdlab.paper.figures.chosen import CONTROL, Runs
from dmdlab.paper.figures.rows import PictureRows, rows_in_words
from dmdlab.paper.figures.scatter import CLOUDS, COLOURED, draw_clouds
from dmdlab.plots import captions
from dmdlab.plots.clouds import OUTSIDE
from dmdlab.plots.components import IN_WORDS
from dmdlab.plots.style import PAPER, Drawing, new_figure
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """Rows of pictures over four clouds. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    law, line = (runs.laws(pictures=True) or runs.laws())[0], PAPER.font / 72
    age = runs.oldest(law)
    pictures = PictureRows(runs, law, age)
    above, below = pictures.height(0.9 * PAPER.double) + 1.6 * line, PAPER.double / len(CLOUDS) + 2.6 * line
    with new_figure(PAPER.double, above + below, PAPER) as figure:
        grid = figure.add_gridspec(2, len(CLOUDS), height_ratios=[above, below])
        pictures.draw(figure.add_subplot(grid[0, :]), f"(a) rows: one noise in each column, {law}")
        row = [figure.add_subplot(grid[1, place]) for place in range(len(CLOUDS))]
        outside = draw_clouds(row, CLOUDS, runs, law, "bcde")
    return Drawing(
        figure,
        f"What noise becomes (law {law}, teacher of age {age}). (a) The teacher's one step (the student's start), its "
        "flow, the flow in 32 steps, the student, and beyond the paper's rows "
        f"{CONTROL}. {rows_in_words([pictures])}"
        f"(b to e) The same maps on two principal components. {COLOURED}{IN_WORDS}"
        f"{captions.outside(outside, OUTSIDE)}Shown: seed "
        f"{captions.column_in_words([pictures.record], 'seed')}. {runs.in_words()}",
    )
