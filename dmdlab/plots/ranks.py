"""Where a student output's own partner stands among all teacher outputs: its rank by distance, 1 = nearest.

Without memory of the pairing every rank is as likely as any other: the histogram is flat and the share of partners
among the k nearest is k / n. The area under that second curve is pair_auc, its height at k = 1 is recall_at_1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from dmdlab.pairing.ranks import Ranks
from dmdlab.plots.samples import Sample
from dmdlab.plots.style import GREY, PAPER, Drawing, Size, new_figure

BINS = 20
_LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 2)))


def draw_ranks(samples: Sequence[Sample], source: str, scale: Size = PAPER) -> Drawing:
    """One line for each of `samples` in both panels."""
    with new_figure(scale.double, min(scale.height, 0.42 * scale.double), scale) as figure:
        left, right = figure.subplots(1, 2)
        for sample, line in zip(samples, _LINES, strict=False):
            n, style = sample.pairs.n, {"color": sample.colour, "ls": line, "lw": scale.line}
            ranks, edges = Ranks.of(sample.pairs.teacher, sample.pairs.student), np.linspace(0.0, 1.0, BINS + 1)
            # Rank r fills the places from (r - 1) / n to r / n, so bars are differences of (b), between whole k too.
            bars = np.diff([ranks.recall(k) for k in n * edges])
            left.stairs(bars, edges, label=sample.name, gid="histogram", **style)
            at = np.unique(np.round(np.geomspace(1, n, 200)))
            right.plot(at, [ranks.recall(k) for k in at], gid="cumulative", **style)
        _finish(left, right, max(sample.pairs.n for sample in samples), scale)
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return Drawing(figure, _caption(samples, source))


def _finish(left: Axes, right: Axes, n: int, scale: Size) -> None:
    """Chance lines, scales and labels."""
    chance: dict[str, Any] = {"color": GREY, "lw": 0.6 * scale.line, "zorder": 1, "label": "chance"}
    left.axhline(1 / BINS, **chance)
    left.set(xlim=(0, 1), ylim=(0, None), xlabel="rank of the true partner / $n$", ylabel="share of outputs")
    left.set_title("(a) at the left, the partner is nearest", loc="left")
    k = np.geomspace(1, n, 100)
    right.plot(k, k / n, **chance)
    right.set(xscale="log", xlim=(1, n), ylim=(0, 1.02), xlabel="$k$ nearest teacher outputs")
    right.set_ylabel("partner among them")
    right.set_title("(b) partner found among the $k$ nearest", loc="left")
    for axes in (left, right):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _caption(samples: Sequence[Sample], source: str) -> str:
    sizes = ", ".join(str(n) for n in dict.fromkeys(sample.pairs.n for sample in samples))
    return (
        "Rank of the true partner: for each student output the teacher outputs are ordered by distance, and the rank "
        f"is the place of the one from the same noise (1 = nearest, n = {sizes}; ties are shared out evenly). (a) "
        f"Histogram in {BINS} bins; a student without memory of the pairing is flat. (b) Share of outputs whose "
        "partner is among the k nearest: recall_at_1 at the left end; the area under it on a linear axis is pair_auc. "
        f"{source}"
    )
