"""Figure 9: conditional data on two principal components, a row of clouds for each law."""

from collections.abc import Sequence

import numpy as np

from dmdlab.paper.figures.chosen import CONTROL, Runs
from dmdlab.paper.figures.planes import LETTERS
from dmdlab.paper.figures.scatter import CLOUDS, COLOURED, draw_clouds
from dmdlab.plots import captions
from dmdlab.plots.clouds import OUTSIDE
from dmdlab.plots.components import IN_WORDS
from dmdlab.plots.style import PAPER, Drawing, new_figure
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """A row of four clouds for each law. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    laws, wide, line = runs.laws(), len(CLOUDS), PAPER.font / 72
    outside: dict[str, np.ndarray] = {}
    with new_figure(PAPER.double, len(laws) * (PAPER.double / wide + 3.0 * line), PAPER) as figure:
        grid = figure.subplots(len(laws), wide, squeeze=False)
        for place, (row, law) in enumerate(zip(grid, laws, strict=True)):
            outside |= draw_clouds(row, CLOUDS, runs, law, LETTERS[place * wide : (place + 1) * wide], f"{law}: ")
    seed = captions.column_in_words(
        [record for law in laws if (record := runs.first("teacher", law, runs.oldest(law)))], "seed"
    )
    return Drawing(
        figure,
        f"Conditional data ({', '.join(laws)}) on two principal components: the teacher's one step (the student's "
        f"start), its flow, the student, and beyond the paper's panels {CONTROL}. {COLOURED}{IN_WORDS}"
        f"{captions.outside(outside, OUTSIDE)}Shown: seed {seed}. {runs.in_words()}",
    )
