"""A measure of each start along the ages of the teacher: seeds, means and intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.pairing import METRICS
from dmdlab.paper.figures.chosen import STARTS, Runs
from dmdlab.plots.style import INIT_STYLES, Size
from dmdlab.records.cells import cells


def draw_cells(axes: Axes, runs: Runs, law: str, ages: Sequence[int], key: str, scale: Size) -> None:
    """The cells of both starts, at places 0, 1, 2 ... for the ages; an interval ends at the measure's range."""
    low, high = METRICS[key].bounds
    for init, aside in zip(STARTS, (-0.13, 0.13), strict=True):
        style, at, means = INIT_STYLES[init], list[float](), list[float]()
        for place, age in enumerate(ages):
            found = runs.of(init, law, age)
            if not found:
                continue
            (cell,) = cells(found)
            own, x = cell.interval(key), place + aside
            if not own.n:
                continue
            here: dict[str, Any] = {"color": style.colour, "clip_on": False}
            seeds = cell.column(key)
            axes.plot(
                np.full(len(seeds), x + 0.6 * aside), seeds, "o", ms=0.42 * scale.marker, mew=0, gid="seeds", **here
            )
            axes.vlines(x, *np.clip([own.low, own.high], low, high), lw=0.9 * scale.line, gid="interval", **here)
            mark: dict[str, Any] = {"mfc": "white" if cell.poor else style.colour, "mew": 0.8 * scale.line, "zorder": 4}
            axes.plot(x, own.mean, style.marker, gid=f"{init} {'hollow' if cell.poor else 'solid'}", **here | mark)
            at, means = [*at, x], [*means, own.mean]
        axes.plot(at, means, ls=style.line, color=style.colour, lw=0.7 * scale.line, gid=f"{init} line")
    axes.set_xticks(range(len(ages)), [str(age) for age in ages])
    axes.set_xlim(-0.5, len(ages) - 0.5)
