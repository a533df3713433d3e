"""Figure 11: as figure 10, for several ages of the teacher."""

from collections.abc import Sequence

from dmdlab.paper.figures.chosen import Runs
from dmdlab.paper.figures.planes import LETTERS
from dmdlab.paper.figures.steps_moved import draw_legend, draw_moved, moved_in_words, outside_of, same_scale
from dmdlab.plots.style import PAPER, Drawing, new_figure
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """A panel for each age. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    law, line = (runs.laws(pictures=True) or runs.laws())[0], PAPER.font / 72
    ages = runs.ages(law)
    columns = min(4, len(ages))
    lines, side = -(-len(ages) // columns), PAPER.double / max(3, columns)
    with new_figure(columns * side, lines * (0.95 * side + 4.4 * line) + 2.0 * line, PAPER) as figure:
        grid = list(figure.subplots(lines, columns, squeeze=False).flat)
        panels = grid[: len(ages)]
        for axes in grid[len(ages) :]:
            axes.set_axis_off()
        told = [
            draw_moved(axes, runs, law, age, f"({letter}) age {age}")
            for axes, age, letter in zip(panels, ages, LETTERS, strict=False)
        ]
        top = max(axes.get_xlim()[1] for axes in panels)
        for place, axes in enumerate(panels):
            same_scale(axes, top)
            if place % columns:
                axes.set_ylabel("")
        draw_legend(panels)
        outside = outside_of(panels)
    said = f"{moved_in_words(panels)}{''.join(told)}{outside}{runs.in_words()}"
    told_ages = ", ".join(map(str, ages))
    return Drawing(
        figure, f"Teachers of ages {told_ages} (law {law}), of each the lowest seed that is finished. {said}"
    )
