"""Figure 8: conditional data, rows of pictures of each law."""

from collections.abc import Sequence

from dmdlab.paper.figures.chosen import Runs
from dmdlab.paper.figures.rows import Pictures, rows_in_words
from dmdlab.plots import captions
from dmdlab.plots.style import PAPER, Drawing, Size, new_figure
from dmdlab.records.record import Record


def draw(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """A block of rows for each law. Raises `InputError`: no finished teacher start of a law."""
    runs = Runs(records)
    blocks = [Pictures(runs, law, runs.ages(law)[-1]) for law in runs.laws()]
    heights = [block.height(0.9 * scale.double) + 2.9 * scale.font / 72 for block in blocks]
    with new_figure(scale.double, sum(heights), scale) as figure:
        grid = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, block, letter in zip(grid, blocks, "abcdefgh", strict=False):
            block.draw(axes, f"({letter}) {block.law}: rows", scale)
    return Drawing(
        figure,
        f"Conditional data ({', '.join(runs.laws())}): the teacher's one step (the student's start), its flow, the "
        "flow in 32 steps, the student, and beyond the paper's rows a student that started at the same teacher "
        f"behind a fixed rotation of the noise, the control. {rows_in_words(blocks)}Shown: seed "
        f"{captions.shared([block.record for block in blocks], 'seed')}. {runs.in_words()}",
    )
