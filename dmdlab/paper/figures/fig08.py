"""Figure 8: conditional data, rows of pictures of each law."""

from collections.abc import Sequence

from dmdlab.paper.figures.chosen import CONTROL, Runs, blank
from dmdlab.paper.figures.rows import PictureRows, rows_in_words
from dmdlab.plots import captions
from dmdlab.plots.style import PAPER, Drawing, new_figure
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """A block of rows for each law. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    laws, above = runs.laws(), 2.9 * PAPER.font / 72
    blocks = {
        law: PictureRows(runs, law, runs.oldest(law)) for law in laws if runs.of("teacher", law, runs.oldest(law))
    }
    heights = [(blocks[law].height(0.9 * PAPER.double) if law in blocks else above) + above for law in laws]
    with new_figure(PAPER.double, sum(heights), PAPER) as figure:
        grid = figure.subplots(len(laws), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, law, letter in zip(grid, laws, "abcdefgh", strict=False):
            if law in blocks:
                blocks[law].draw(axes, f"({letter}) {law}: rows")
            else:
                blank(axes, f"({letter}) {law}: rows", "no finished run")
    found = list(blocks.values())
    return Drawing(
        figure,
        f"Conditional data ({', '.join(laws)}): the teacher's one step (the student's start), its flow, the "
        f"flow in 32 steps, the student, and beyond the paper's rows {CONTROL}. {rows_in_words(found)}Shown: seed "
        f"{captions.column_in_words([block.record for block in found], 'seed')}. {runs.in_words()}",
    )
