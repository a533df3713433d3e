"""Names in figures that are laid out: those of lines within panels, moved to where nothing of the runs is drawn over
them, and whether titles and names of axes have room."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

NAME = "guide name"
"""The gid of a guide line's name."""

OF_RUNS = ("line", "interval", "seeds", "solid", "hollow", "arrow", "failed", "alone", "collapsed")
"""How the gids end of what is drawn of runs and calibrations."""

BANDS = ("bases", "band")
"""How those of the areas behind them end, on which a name is read, though less well."""

INSIDE = 0.02
"""The share of a panel's width between its axis and a name at its left end."""


def clear_names(figure: Figure) -> None:
    """Move each name along its line, from the right end to the left one or to between two places, where fewer
    intervals, marks and lines meet it there, or as many and fewer bands. For a figure that is laid out: nothing else
    moves."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for axes in figure.axes:
        drawn, bands, ends = list(_drawn(axes)), list(_bands(axes)), _ends(axes)
        for name in (text for text in axes.texts if isinstance(text, Annotation) and text.get_gid() == NAME):
            struck = []
            for end in ends:
                box = _moved(name, *end).get_window_extent(renderer)
                outside = end != ends[0] and not axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1
                lines = sum(_meets(path, box.padded(around)) for path, around in drawn)
                struck.append((outside, lines, sum(path.intersects_bbox(box) for path in bands)))
            _moved(name, *ends[min(range(len(ends)), key=struck.__getitem__)])


def crowded(figure: Figure) -> bool:
    """Whether titles, or names of axes, meet each other or leave the figure, which is laid out."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [
        text
        for axes in figure.axes
        for text in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label)  # type: ignore[attr-defined]
        if text.get_text() and text.get_visible() and axes.axison
    ]
    boxes = [text.get_window_extent(renderer) for text in texts]
    inside = figure.bbox.padded(figure.dpi / 72)
    if any(box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1 for box in boxes):
        return True
    return any(one.overlaps(other) for one, other in combinations(boxes, 2))


def _ends(axes: Axes) -> list[tuple[float, Any]]:
    """Where a name may stand, the wanted place first: a share of the panel's width, and what of the name is there."""
    ticks = axes.transData.transform([(x, axes.get_ylim()[1]) for x in axes.get_xticks()])
    places = axes.transAxes.inverted().transform(ticks)[:, 0]
    between = ((places[1:] + places[:-1]) / 2)[::-1]
    return [(1.0, "right"), (INSIDE, "left"), *((float(x), "center") for x in between)]


def _moved(name: Annotation, x: float, side: Any) -> Annotation:
    name.xy = (x, name.xy[1])
    name.set_horizontalalignment(side)
    return name


def _drawn(axes: Axes) -> Iterator[tuple[Path, float]]:
    """What is drawn of runs, in pixels, and how far its marks reach around their places."""
    dot = axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    for line in axes.lines:
        if str(line.get_gid()).endswith(OF_RUNS):
            places = line.get_transform().transform(np.asarray(line.get_xydata()))
            if line.get_marker() == "None":
                yield Path(places), 0.0
            else:
                yield from ((Path([place]), line.get_markersize() * dot / 2) for place in places)
    for collection in axes.collections:
        if str(collection.get_gid()).endswith(OF_RUNS):
            yield from ((collection.get_transform().transform_path(path), 0.0) for path in collection.get_paths())


def _bands(axes: Axes) -> Iterator[Path]:
    """Bands, in pixels."""
    for collection in axes.collections:
        if str(collection.get_gid()).endswith(BANDS):
            yield from (collection.get_transform().transform_path(path) for path in collection.get_paths())


def _meets(path: Path, box: Bbox) -> bool:
    """Whether a line crosses the box, or a place lies in it."""
    if len(path) == 1:
        return bool(box.contains(*np.asarray(path.vertices)[0]))
    return bool(len(path) and path.intersects_bbox(box, filled=False))
