"""The heat map of squared distances between teacher and student outputs, as in the paper (its figure 3).

Rows are teacher outputs, columns student outputs, the first 100 of the sample, in one order for both: the diagonal is
the pairing at shared noise. The order is that of a clustering of the teacher's outputs, so that neighbours in the
picture are near in space: dark blocks on the diagonal say that the student answers in the teacher's mode, a box in such
a block that the best pairing swaps within the mode.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from dmdlab.plots.samples import Sample, squares
from dmdlab.plots.style import PAPER, VERMILLION, Drawing, Size
from dmdlab.transport import assignment, squared_distances

ROWS = 100
"""Pairs shown (paper); the optimal assignment is that of these pairs among themselves."""


def draw_heatmaps(samples: Sequence[Sample], source: str, scale: Size = PAPER) -> Drawing:
    """One heat map for each of `samples`."""
    with squares(len(samples), scale, 0.8, "student output", "teacher output") as (figure, grid):
        shown = [draw_heatmap(axes, sample, scale) for axes, sample in zip(grid, samples, strict=True)]
    whole = shown == [sample.pairs.n for sample in samples]
    return Drawing(figure, f"{maps_in_words(shown, whole)} {source}")


def draw_heatmap(axes: Axes, sample: Sample, scale: Size) -> int:
    """One map, its title the sample's name with how many optimal partners lie on the diagonal; returns how many pairs
    it shows."""
    rows = min(ROWS, sample.pairs.n)
    order = leaf_order(sample.pairs.teacher[:rows])
    P, G = sample.pairs.teacher[order], sample.pairs.student[order]
    distances = np.sqrt(squared_distances(P, G))  # (teacher, student)
    partner = assignment(P, G).permutation
    assert partner is not None
    image = axes.imshow(distances, cmap="Greys_r", interpolation="nearest", rasterized=True)
    image.set_clim(0, float(distances.max()) or 1.0)
    boxes = [Rectangle((column - 0.5, row - 0.5), 1, 1) for column, row in enumerate(partner)]
    red: dict[str, Any] = {"facecolor": "none", "edgecolor": VERMILLION, "linewidth": 0.75 * scale.line}
    axes.add_collection(PatchCollection(boxes, gid="optimal", **red))
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label("distance", labelpad=0.2 * scale.font)
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])
    kept = int((partner == np.arange(rows)).sum())
    axes.set_title(f"{sample.name}\n{kept} of {rows} optimal partners on the diagonal")
    return rows


def leaf_order(P: np.ndarray) -> np.ndarray:
    """The order (n,) of the rows of P (n, d) as leaves of an average-linkage tree, neighbours as near as can be."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(P) < 3:
        return np.arange(len(P))
    return leaves_list(linkage(P.astype(np.float64), "average", optimal_ordering=True))


def maps_in_words(shown: Sequence[int], whole: bool = False) -> str:
    """What the maps show, of so many pairs each. whole: whether these are all that there are."""
    rows = " and ".join(str(count) for count in dict.fromkeys(shown))
    return (
        f"Distances between the first {rows} teacher outputs (rows) and student outputs (columns), dark is near; the "
        "colour is linear in the distance, not in its square. Row i and column i come from the same noise: the "
        "diagonal is the pairing that the noise makes. Red boxes: the cheapest one-to-one assignment of these points "
        "in squared distance. Both axes are in the order of a clustering of the teacher's outputs."
        + ("" if whole else f" With n = {rows} points more partners are optimal by chance than in the whole sample.")
    )
