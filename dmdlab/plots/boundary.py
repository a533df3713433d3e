"""Are outlying samples copied more? The boundary analysis of the paper (its figure 5), drawn.

Across: D(z), the mean distance of the teacher's output to the training set. Up: delta(z) = |G - P| - |P1 - P|, below 0
where the student is nearer to the teacher's own answer than the teacher's one step is, at which it may have started.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.pairing.analysis import Boundary, boundary
from dmdlab.plots.samples import Sample, squares
from dmdlab.plots.style import GREY, PAPER, Drawing, Size

ACROSS, UP = "distance to the data, $D(z)$", r"$\|G - P\| - \|P_1 - P\|$"


def draw_boundaries(samples: Sequence[Sample], source: str, scale: Size = PAPER) -> Drawing:
    """One panel for each of `samples`. Raises `InputError` where one-step outputs or data are missing."""
    with squares(len(samples), scale, 0.9, ACROSS, UP) as (figure, grid):
        for axes, sample in zip(grid, samples, strict=True):
            found = boundary(sample.pairs)
            draw_boundary(axes, found, sample.colour, scale)
            r = found.pearson.value  # NaN where the student is the one step, as at its start
            axes.set_title(f"{sample.name}\ncorrelation {'unresolved' if np.isnan(r) else f'{r:.2f}'}")
    return Drawing(
        figure,
        "Boundary analysis: mean distance of the teacher's output P to the data, D(z), against how much farther from P "
        "the student's output G is than the teacher's one step P1, where a student of teacher init started (of another "
        "init elsewhere). Below the line the student is nearer to this very output than P1 is. Pearson's correlation; "
        "sloping line: least squares. The distance of P itself enters both axes, so read it beside that of a rotated "
        f"start. {source}",
    )


def draw_boundary(axes: Axes, found: Boundary, colour: str, scale: Size, name: str = "pairs") -> None:
    """The scatter of one sample, the line of no change, and the line of least squares. name: of its artists."""
    x, y = found.distance, found.delta
    dots: dict[str, Any] = {"color": colour, "ms": 0.85 * scale.marker, "mew": 0, "alpha": 0.45}
    axes.plot(x, y, ".", gid=name, rasterized=True, **dots)
    axes.axhline(0.0, color=GREY, lw=0.6 * scale.line, zorder=1, gid="equal")
    if np.ptp(found.distance) > 0:
        slope, start = np.polyfit(found.distance, found.delta, 1)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, start + slope * ends, color=colour, lw=0.8 * scale.line, zorder=3, gid=f"{name} line")
