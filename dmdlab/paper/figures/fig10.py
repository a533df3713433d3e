"""Figure 10: conditional data, how far one step is from Phi_8 against how far the student is."""

from collections.abc import Sequence

from dmdlab.paper.figures.chosen import Runs
from dmdlab.paper.figures.steps_moved import draw_legend, draw_moved, moved_in_words, outside_of
from dmdlab.plots.style import PAPER, Drawing, new_figure
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """A panel for each law. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    laws, line = runs.laws(), PAPER.font / 72
    side = min(PAPER.double / len(laws), 0.5 * PAPER.double)
    with new_figure(len(laws) * side, 0.9 * side + 4.0 * line, PAPER) as figure:
        panels = figure.subplots(1, len(laws), squeeze=False)[0]
        told = [
            draw_moved(axes, runs, law, runs.oldest(law), f"({letter}) {law}")
            for axes, law, letter in zip(panels, laws, "abcdefgh", strict=False)
        ]
        draw_legend(panels)
        outside = outside_of(panels)
    said = f"{moved_in_words(panels)}{''.join(told)}{outside}{runs.in_words()}"
    return Drawing(figure, f"Conditional data ({', '.join(laws)}), of each the lowest seed that is finished. {said}")
