"""How far training moved each output: |P1 - P| against |G - P|, as in the paper (its figures 8 to 11).

P = Phi_K(z) is the teacher's output, P1 = Phi_1(z) its one-step output, where the student started, and G the student's.
Below the diagonal training brought the student nearer to the teacher's own answer for this noise; on the line of random
pairs it is as far from it as from any other.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.config import InputError
from dmdlab.pairing.moments import RowMoments
from dmdlab.plots.samples import Sample, distances, samples_of, squares
from dmdlab.plots.style import GREY, Drawing, Size, settle, size_of, styled
from dmdlab.records.record import Record

MOST = 6
_POINTS = 2000


def displacement_figure(records: Sequence[Record], *, size: str = "paper") -> Drawing:
    """Scatter of the first seed of every law, dimension and init in `records`.

    Raises `InputError`: no finished run, or more combinations than fit.
    """
    size_of(size)
    samples, source = samples_of(records, MOST if size == "paper" else 3)
    return draw_displacements(samples, source, size=size)


def draw_displacements(samples: Sequence[Sample], source: str, *, size: str = "paper") -> Drawing:
    """One panel for each of `samples`. Raises `InputError` where the one-step outputs are missing."""
    scale = size_of(size)
    for sample in samples:
        if sample.pairs.one_step is None:
            raise InputError(f"{sample.name}: no one_step array (the teacher's one-step outputs at the same noise).")
    with styled(scale):
        figure, grid = squares(len(samples), scale, share=0.9)
        for axes, sample in zip(grid, samples, strict=True):
            _draw(axes, sample, scale)
            if axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
                axes.set_ylabel(r"student to teacher, $\|G - P\|$")
            axes.set_xlabel(r"one step to teacher, $\|P_1 - P\|$")
        settle(figure)
    return Drawing(figure, _caption(source))


def _draw(axes: Axes, sample: Sample, scale: Size) -> None:
    """The scatter of one sample with its two lines."""
    pairs = sample.pairs
    assert pairs.one_step is not None
    before, after = distances(pairs.one_step, pairs.teacher), distances(pairs.student, pairs.teacher)
    random = float(np.sqrt(RowMoments.of(pairs.teacher, pairs.student).total().e_independent))
    dots: dict[str, Any] = {
        "ms": 0.85 * scale.marker,
        "mew": 0,
        "alpha": 0.45,
        "color": sample.colour,
        "rasterized": True,
    }
    axes.plot(before[:_POINTS], after[:_POINTS], ".", gid="pairs", **dots)
    top = 1.06 * max(float(np.quantile(before, 0.999)), float(np.quantile(after, 0.999)), random)
    thin: dict[str, Any] = {"color": GREY, "lw": 0.6 * scale.line}
    axes.plot([0, top], [0, top], zorder=3, gid="equal", **thin)
    axes.axhline(random, ls=(0, (4, 2)), zorder=3, gid="random", **thin)
    axes.annotate("random pair", (0, random), (3, 2), textcoords="offset points", color=GREY, va="bottom")
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    nearer = float((after < before).mean())
    axes.set_title(f"{sample.name}\n{100 * nearer:.0f} % came nearer")


def _caption(source: str) -> str:
    return (
        "Displacement by training: distance of the teacher's one-step output P1 (where the student started) from the "
        "teacher's output P at the same noise, against the distance of the student's output G from P. Below the line "
        "of equality training brought the student nearer to this very output. Dashed: root mean square distance of a "
        f"student output from another noise's teacher output. {source}"
    )
