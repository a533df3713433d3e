"""Figure 6: an early against a late teacher, rows of pictures and heat maps."""

from collections.abc import Sequence

from dmdlab.config import InputError
from dmdlab.paper.figures.chosen import Runs, sample_of, to_left
from dmdlab.paper.figures.rows import PictureRows, rows_in_words
from dmdlab.plots import captions
from dmdlab.plots.heatmap import draw_heatmap, maps_in_words
from dmdlab.plots.style import PAPER, Drawing, new_figure
from dmdlab.records.record import Record

COLUMNS = 7
"""Pictures side by side in half a page (ours)."""


def draw(records: Sequence[Record]) -> Drawing:
    """Rows above heat maps, early left and late right. Raises `InputError`: fewer than two ages of teacher starts."""
    runs = Runs(records)
    law, line = (runs.laws(pictures=True) or runs.laws())[0], PAPER.font / 72
    ages = [age for age in runs.ages(law) if runs.of("teacher", law, age)]
    if len(ages) < 2:
        raise InputError(f"an early and a late teacher need two ages, there is {', '.join(map(str, ages)) or 'none'}")
    runs = Runs(records)  # of which only the first and the last age are told
    ages = [ages[0], ages[-1]]
    blocks = [PictureRows(runs, law, age, control=False) for age in ages]
    above = len(blocks[0].rows) * 0.42 * PAPER.double / COLUMNS + 1.8 * line
    below = 0.42 * PAPER.double + 3.5 * line
    with new_figure(PAPER.double, above + below, PAPER) as figure:
        grid = figure.subplots(2, 2, height_ratios=[above, below])
        shown, sizes = [], []
        for column, block, age, name, letters in zip(
            grid.T, blocks, ages, ("early", "late"), ("ac", "bd"), strict=True
        ):
            block.draw(column[0], f"({letters[0]}) {name} teacher: rows (age {age})", COLUMNS)
            title = f"({letters[1]}) {name} teacher: heat map"
            sample = sample_of(block.record, title)
            shown.append(draw_heatmap(column[1], sample, PAPER))
            sizes.append(sample.pairs.n)
            to_left(column[1])
            column[1].set(xlabel="student output", ylabel="teacher output")
        for age in ages:
            runs.of("rotated", law, age)  # the control, in the caption
    return Drawing(
        figure,
        f"An early and a late teacher (law {law}, ages {ages[0]} and {ages[1]} iterations), teacher starts. (a, b) One "
        f"noise in each column. {rows_in_words(blocks[:1], COLUMNS)}(c, d) {maps_in_words(shown, shown == sizes)} "
        f"Shown: seed {captions.column_in_words([block.record for block in blocks], 'seed')}. {runs.in_words()}",
    )
