"""The figure of docs/answers.md that sets dimension against starts, at equal training."""

import math
from collections.abc import Mapping, Sequence

from answers_dimension import FEW, FITTED, MANY, begun_angles
from answers_numbers import by_keys, near
from matplotlib.axes import Axes

from dmdlab.pairing import mean_interval
from dmdlab.plots.style import GREY, PAPER, Drawing, LineStyle, line_styles, new_figure
from dmdlab.records.cells import Cell, cells, short
from dmdlab.records.record import Record

RATES, LENGTH = (1e-4, 3e-4), (16000, 64)
"""Learning rates, and what all have in common: `student.iterations` and batch."""

PLACE = ("student.learning_rate", "student.iterations", "student.batch", "law.dim")
INITS = ("teacher", "rotated", "regressed", "regressed", "regressed")
STARTS = ("teacher's\none-step map", "the same,\nrotated", "fitted\nto pairs", "longer,\nmore pairs", "equally\nfar")
SPREAD = 0.12
"""Between the two dimensions of a start."""

CAPTION = (
    "At equal training, does dimension keep a pairing, or the start? Mixture, one-step DMD students (residual MLP, "
    "AdamW, 8000 updates, b = 64) in 8 and 128 dimensions: the calibrated angle to the pairing that each start has as "
    "its own. Marks: means over seeds with 95 % t-intervals ({counts} seeds from left to right); "
    "hollow would be a law that is not near its teacher's by convention; at d = 128 all can be told from their "
    "teacher's at n = 1000. Bars of the fitted starts: the angle after the first update. From the teacher's one-step "
    "map at 1e-4 students end closer to their pairing in 128 dimensions than in 8; from fitted starts, which are not "
    "equally good in both, they do not, but where both begin equally far: by a fit of 250 iterations in 8 dimensions, "
    "of 20 000 in 128. Hardware and commits: docs/answers-cells.md."
)


def dimension_figure(found: Mapping[str, Sequence[Record]]) -> Drawing:
    """Angles to the pairing that each start has as its own, a panel for each rate."""
    first = [*found["rate-length-batch"], *found["dimension-again"]]
    groups = [first, found["rate-controls"], *(found[name] for name in FITTED)]
    styles = line_styles("law.dim", [FEW, MANY])
    with new_figure(PAPER.double, 2.6, PAPER) as figure:
        for i, (axes, rate) in enumerate(zip(figure.subplots(1, len(RATES), sharey=True), RATES, strict=True)):
            for x, init, records in zip(range(len(STARTS)), INITS, groups, strict=True):
                own = by_keys([c for c in cells(records) if c.init == init], *PLACE)
                for dim, side in ((FEW, -SPREAD), (MANY, SPREAD)):
                    _mark(axes, x + side, own[rate, *LENGTH, dim], styles[dim])
            axes.set_title(f"({'ab'[i]}) learning rate {short(rate)}", loc="left")
            axes.set_xticks(range(len(STARTS)), STARTS)
            axes.set(ylim=(0, 34), xlim=(-0.5, len(STARTS) - 0.5), yticks=(0, 10, 20, 30))
            if not i:
                axes.set_ylabel("angle to its own pairing (degrees)")
                for style in styles.values():
                    axes.plot([], [], style.marker, color=style.colour, label=style.label)
                axes.plot([], [], "_", color=GREY, ms=9, label="where it began")
                axes.legend(fontsize=PAPER.small, loc="lower left", handletextpad=0.3)
    counts = ", ".join(str(len({record.config["seed"] for record in own})) for own in groups)
    return Drawing(figure, CAPTION.format(counts=counts))


def _mark(axes: Axes, x: float, cell: Cell, style: LineStyle) -> None:
    key = "remap_angle" if cell.init == "teacher" else "own_angle"
    own = cell.interval(key)
    axes.plot([x, x], [own.low, own.high], color=style.colour, lw=0.8)
    axes.plot(x, own.mean, style.marker, color=style.colour, mfc=style.colour if near(cell) else "none")
    if cell.init == "regressed" and math.isfinite(begin := mean_interval(begun_angles(cell)).mean):
        axes.plot(x, begin, "_", color=style.colour, ms=9)
