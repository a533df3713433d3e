"""Figure 5: are outlying samples copied more? Boundary scatter of one seed, and the correlation of every seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.pairing.analysis import Boundary, boundary
from dmdlab.pairing.statistics import pearson
from dmdlab.paper.figures.chosen import STARTS, Runs
from dmdlab.plots.boundary import ACROSS, UP, draw_boundary
from dmdlab.plots.style import GREY, INIT_STYLES, PAPER, Drawing, new_figure
from dmdlab.records.further import further
from dmdlab.records.record import Record


def draw(records: Sequence[Record]) -> Drawing:
    """Scatter and correlations. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    law = (runs.laws(pictures=True) or runs.laws())[0]
    age = runs.oldest(law)
    first = runs.needed(law, age)
    found = {init: {_seed(r): _boundary(r) for r in runs.of(init, law, age)} for init in STARTS}
    with new_figure(PAPER.double, 0.43 * PAPER.double, PAPER) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.4, 1.0])
        runs.control(first, law, age)  # which is told where this seed has none
        for init in reversed(STARTS):
            if _seed(first) in found[init]:
                style = INIT_STYLES[init]
                draw_boundary(left, found[init][_seed(first)], style.colour, PAPER, init)
                left.plot([], [], style.marker, color=style.colour, label=style.label)
        left.set(xlabel=ACROSS, ylabel=UP)
        left.set_title(f"(a) boundary, {law}, seed {_seed(first)}", loc="left")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2, handletextpad=0.2)
        _draw_correlations(right, found)
        right.set_title("(b) all seeds", loc="left")
    trained = all("training" in further(record) for record in runs.used)
    to = "the training set" if trained else "data that nobody trained on (no distances to a training set are kept)"
    copies = ", ".join(f"{copied(own):.3f}" for own in found[STARTS[0]].values())
    told = _told({init: {seed: own.pearson.value for seed, own in of.items()} for init, of in found.items()})
    alone = _told({i: {s: pearson(b.distance, b.student).value for s, b in of.items()} for i, of in found.items()})
    none = ", and the rotated start is what one shows that copies none" if found[STARTS[1]] else ""
    return Drawing(
        figure,
        f"Boundary analysis (law {law}, teacher of age {age}). (a) Across: mean distance D(z) of the teacher's "
        f"output P to {to}; up: how much farther from P the student's output G is than the teacher's one step P1, "
        "where a student of teacher start began (one of rotated start elsewhere); below the line the student is nearer "
        "to the teacher's own answer than P1 is. Lines: least squares. (b) Pearson's correlation of the two for each "
        "seed and start, with its 95 % interval over rows (Fisher). The paper finds it moderately negative, and reads "
        "it as outlying samples being copied more. But P itself is in both axes: grey diamonds are what a perfect copy "
        f"(G = P) would show, which copies all samples alike{none}. Correlations: {told}; a perfect copy: "
        f"{copies}. Of D(z) with the distance of G from P alone: {alone}. {runs.in_words()}",
    )


def _told(values: dict[str, dict[int, float]]) -> str:
    """'teacher start: -0.90 (seed 0), ...', start by start."""
    of = {init: ", ".join(f"{value:.2f} (seed {seed})" for seed, value in own.items()) for init, own in values.items()}
    return "; ".join(f"{init} start: {said}" for init, said in of.items() if said)


def _seed(record: Record) -> int:
    return int(record.config["seed"])


def _boundary(record: Record) -> Boundary:
    """By the distances to the training set, where they are kept."""
    near = further(record).get("training")
    return boundary(record.pairs(), None if near is None else near[:, 2].astype(np.float64))


def copied(found: Boundary) -> float:
    """The correlation of a perfect copy, G = P."""
    return pearson(found.distance, -found.start).value


def _draw_correlations(axes: Axes, found: dict[str, dict[int, Boundary]]) -> None:
    """A mark for each seed of each start, side by side."""
    for place, (init, of) in enumerate(found.items()):
        style, x = INIT_STYLES[init], place + np.linspace(-0.18, 0.18, len(of))
        for at, own in zip(x, of.values(), strict=True):
            line: dict[str, Any] = {"color": style.colour, "lw": 0.9 * PAPER.line}
            axes.vlines(at, own.pearson.low, own.pearson.high, gid=f"{init} interval", **line)
            axes.plot(at, own.pearson.value, style.marker, color=style.colour, gid=f"{init} seed")
            if init == STARTS[0]:
                axes.plot(at, copied(own), "D", color=GREY, mfc="none", gid="perfect copy")
    axes.plot([], [], "D", color=GREY, mfc="none", ls="none", label="a perfect copy")
    axes.legend(loc="upper left", handletextpad=0.2)
    axes.axhline(0.0, color=GREY, lw=0.6 * PAPER.line, zorder=1)
    axes.set_xticks(range(len(found)), [INIT_STYLES[init].label for init in found])
    axes.set(xlim=(-0.5, len(found) - 0.5), ylim=(-1.05, 1.05), ylabel="correlation")
