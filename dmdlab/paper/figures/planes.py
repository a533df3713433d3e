"""Figures 2 and 7: laws of a plane in four dimensions, a row each."""

from collections.abc import Sequence

import numpy as np

from dmdlab.paper.figures.chosen import CONTROL, Runs
from dmdlab.paper.figures.scatter import COLOURED, NAMES, draw_clouds
from dmdlab.plots import captions
from dmdlab.plots.clouds import OUTSIDE
from dmdlab.plots.components import IN_WORDS
from dmdlab.plots.panels import has_plane
from dmdlab.plots.style import PAPER, Drawing, new_figure
from dmdlab.records.record import Record

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def planes_figure(records: Sequence[Record], named: bool = False) -> Drawing:
    """Noise, teacher, one step, student and rotated student of each law. named: whether titles say the law.

    Raises `InputError`: no finished teacher start.
    """
    runs = Runs(records)
    laws = sorted(runs.laws())
    side, line = PAPER.double / len(NAMES), PAPER.font / 72
    outside: dict[str, np.ndarray] = {}
    with new_figure(PAPER.double, len(laws) * (side + 3.3 * line), PAPER) as figure:
        grid = figure.subplots(len(laws), len(NAMES), squeeze=False)
        for place, (row, law) in enumerate(zip(grid, laws, strict=True)):
            letters = LETTERS[place * len(NAMES) : (place + 1) * len(NAMES)]
            outside |= draw_clouds(row, list(NAMES), runs, law, letters, f"{law}: " if named else "")
    seed = captions.column_in_words(
        [record for law in laws if (record := runs.first("teacher", law, runs.oldest(law)))], "seed"
    )
    in_planes = {has_plane(record.row) for record in runs.used}
    view = "" if in_planes == {True} else IN_WORDS
    return Drawing(
        figure,
        f"Where each noise vector is sent ({', '.join(laws)}, d = {captions.column_in_words(runs.used, 'law.dim')}"
        f"{', first two coordinates' if True in in_planes else ''}): noise, the teacher's flow, its one step (the "
        f"student's start), the student, and beyond the paper's panels {CONTROL}. {COLOURED}{view}"
        f"{captions.outside(outside, OUTSIDE)}Shown: seed {seed}. {runs.in_words()}",
    )
