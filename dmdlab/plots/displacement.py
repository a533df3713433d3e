"""How far training moved each output: |P1 - P| against |G - P|, as in the paper (its figures 8 to 11).

P = Phi_K(z) is the teacher's output, P1 = Phi_1(z) its one-step output, where a student starts that starts at its
teacher, and G the student's. Below the diagonal the student is nearer to the teacher's own answer for this noise than
P1 is; on the line of random pairs it is as far from it as from any other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from dmdlab.config import InputError
from dmdlab.pairing.moments import RowMoments
from dmdlab.plots import captions
from dmdlab.plots.samples import Sample, squares
from dmdlab.plots.style import GREY, PAPER, Drawing, Size

SHOWN = 0.999
"""The quantile of the distances up to which the axes go, so that one far point leaves room for the others (ours)."""


def draw_displacements(samples: Sequence[Sample], source: str, scale: Size = PAPER) -> Drawing:
    """One panel for each of `samples`. Raises `InputError` where the one-step outputs are missing."""
    across, up = r"one step to teacher, $\|P_1 - P\|$", r"student to teacher, $\|G - P\|$"
    with squares(len(samples), scale, 0.9, across, up) as (figure, grid):
        outside = {sample.name: _draw(axes, sample, scale) for axes, sample in zip(grid, samples, strict=True)}
    return Drawing(figure, _caption(outside, source))


def _draw(axes: Axes, sample: Sample, scale: Size) -> np.ndarray:
    """The scatter of one sample with its two lines; which of its points lie outside."""
    nearer = draw_displacement(axes, [sample], scale)[0]
    axes.set_title(f"{sample.name}\n{100 * nearer:.0f} % nearer than $P_1$")
    return points_outside(axes)


def points_outside(axes: Axes) -> np.ndarray:
    """Which points of a scatter of displacements lie beyond its axes, which end at the `SHOWN` quantile, (points,)."""
    drawn = [np.asarray(line.get_xydata()) for line in axes.lines if line.get_gid() == "pairs"]
    return np.asarray((np.concatenate(drawn or [np.empty((0, 2))]) > axes.get_xlim()[1]).any(axis=1))


def draw_displacement(axes: Axes, samples: Sequence[Sample], scale: Size) -> list[float]:
    """The scatter of samples of one teacher with the line of equality and, for the first, that of random pairs; returns
    the share of each that is nearer than P1. Raises `InputError` where the one-step outputs are missing."""
    found, random = [_distances(sample) for sample in samples], 0.0
    for sample, (before, after) in zip(samples, found, strict=True):
        dots: dict[str, Any] = {"color": sample.colour, "ms": 0.85 * scale.marker, "mew": 0, "alpha": 0.45}
        axes.plot(before, after, ".", gid="pairs", rasterized=True, **dots)
        costs = RowMoments.of(sample.pairs.teacher, sample.pairs.student).total()
        random = random or float(np.sqrt(costs.e_independent))
    tops = [float(np.quantile(distances, SHOWN)) for own in found for distances in own]
    top = 1.06 * max(*tops, random)
    thin: dict[str, Any] = {"color": GREY, "lw": 0.6 * scale.line}
    axes.plot([0, top], [0, top], zorder=3, gid="equal", **thin)
    axes.axhline(random, ls=(0, (4, 2)), zorder=3, gid="random", **thin)
    over: dict[str, Any] = {"path_effects": [withStroke(linewidth=0.3 * scale.font, foreground="white")], "zorder": 4}
    axes.annotate("random pair", (0, random), (3, 2), textcoords="offset points", color=GREY, va="bottom", **over)
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    return [float((after < before).mean()) for before, after in found]


def _distances(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """|P1 - P| and |G - P|, (n,) each."""
    pairs = sample.pairs
    if pairs.one_step is None:
        raise InputError(f"{sample.name}: no one_step array (the teacher's one-step outputs at the same noise).")
    teacher = pairs.teacher.astype(np.float64)
    before, after = (np.sqrt(((outputs - teacher) ** 2).sum(axis=1)) for outputs in (pairs.one_step, pairs.student))
    return before, after


def outside_in_words(outside: Mapping[str, np.ndarray]) -> str:
    """How many points of each panel lie outside, as of `points_outside`."""
    return captions.outside(outside, f"whose distances are beyond the {SHOWN:g} quantile")


def _caption(outside: Mapping[str, np.ndarray], source: str) -> str:
    return (
        "Displacement by training: distance of the teacher's one-step output P1 (where a student of teacher init "
        "started; of another init elsewhere) from the teacher's output P at the same noise, against the distance of "
        "the student's output G from P. Below the line of equality the student is nearer to this very output than P1 "
        "is. Dashed: root mean square distance of a student output from another noise's teacher output. "
        f"{outside_in_words(outside)}{source}"
    )
