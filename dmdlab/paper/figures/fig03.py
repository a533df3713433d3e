"""Figure 3: distances between teacher and student outputs with the optimal assignment, low against high dimension."""

from collections.abc import Sequence

from dmdlab.paper.figures.chosen import STARTS, Runs, blank, sample_of, to_left
from dmdlab.plots import captions
from dmdlab.plots.heatmap import draw_heatmap, maps_in_words
from dmdlab.plots.samples import squares
from dmdlab.plots.style import PAPER, Drawing
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """A heat map for each law and start. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    laws = [*runs.laws(pictures=False), *runs.laws(pictures=True)]
    wanted = [(law, init) for law in laws for init in STARTS]
    shown, sizes, first = [], [], []
    with squares(len(wanted), PAPER, 0.8, "student output", "teacher output") as (figure, grid):
        for axes, (law, init), letter in zip(grid, wanted, "abcdefgh", strict=False):
            title, record = f"({letter}) {law}, {init} start", runs.first(init, law, runs.oldest(law))
            if record is None:
                blank(axes, title, "no finished run")
                continue
            sample = sample_of(record, title)
            shown.append(draw_heatmap(axes, sample, PAPER))
            sizes.append(sample.pairs.n)
            to_left(axes)
            first.append(record)
    dims = dict.fromkeys(f"{record.config['law.name']} in {record.config['law.dim']}" for record in first)
    return Drawing(
        figure,
        f"{maps_in_words(shown, shown == sizes)} Dimensions: {', '.join(dims)}. The rotated "
        "start is the control beyond the paper's panels: the same teacher behind a fixed rotation of the noise. "
        "Whether boxes lie on the diagonal says little of how much of the pairing is kept once the dimension is "
        f"high; the calibrated angle says it. Shown: seed {captions.column_in_words(first, 'seed')}. {runs.in_words()}",
    )
