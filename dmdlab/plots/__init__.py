"""Figures from records: numpy and matplotlib in, a figure and its caption out, never torch.

`PLOTS` is the catalogue; `draw(name, records)` makes one, `save` writes it, `save_plot` does both.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from dmdlab.config import InputError, did_you_mean
from dmdlab.plots.axis import Choice, axis_figure
from dmdlab.plots.boundary import draw_boundaries
from dmdlab.plots.calibration import calibration_figure
from dmdlab.plots.curve import curve_figure
from dmdlab.plots.dimension import dimension_figure
from dmdlab.plots.displacement import draw_displacements
from dmdlab.plots.heatmap import draw_heatmaps
from dmdlab.plots.names import crowded
from dmdlab.plots.panels import components_figure, panels_figure
from dmdlab.plots.pictures import pictures_figure
from dmdlab.plots.ranks import draw_ranks
from dmdlab.plots.samples import of_samples
from dmdlab.plots.style import SIZES, Drawing, Size, save
from dmdlab.records.record import Record

__all__ = ["PLOTS", "Choice", "Drawing", "draw", "save", "save_plot"]

PLOTS: dict[str, Callable[[Sequence[Record], Size], Drawing]] = {
    "dimension": dimension_figure,
    "axis": axis_figure,
    "panels": panels_figure,
    "components": components_figure,
    "pictures": pictures_figure,
    "curve": curve_figure,
    "calibration": calibration_figure,
    "heatmap": of_samples(draw_heatmaps, paper=4, slide=2),  # every box stays visible
    "ranks": of_samples(draw_ranks, paper=6, slide=6),  # there are six kinds of lines
    "displacement": of_samples(draw_displacements, paper=6, slide=3),
    "boundary": of_samples(draw_boundaries, paper=6, slide=3),
}


def draw(
    name: str, records: Sequence[Record], size: str = "paper", choice: Choice | None = None, width: str | None = None
) -> Drawing:
    """Draw the figure `name` of the catalogue from `records`, for 'paper' or 'slide'.

    choice: what the plot 'axis' shows, where that is not left to the runs. width: of the figure, as of `Size.at`.

    Raises `InputError` for an unknown plot, size or width, a choice for another plot, where the records do not make
    that figure, and where its names do not fit into the width.
    """
    if name not in PLOTS:
        raise InputError(f"unknown plot {name!r}{did_you_mean(name, PLOTS)}")
    if size not in SIZES:
        raise InputError(f"unknown figure size {size!r}; expected one of: {', '.join(SIZES)}")
    if choice is not None and name != "axis":
        raise InputError(f"--x, --by, --panels and --measures are for the plot 'axis'; {name!r} takes none of them")
    scale = SIZES[size].at(width)
    drawing = PLOTS[name](records, scale) if choice is None else axis_figure(records, scale, choice)
    if width is not None and crowded(drawing.figure):
        raise InputError(
            f"--width {width}: names in the plot {name!r} of these runs collide at {scale.double:g} inches; give more, "
            "or fewer runs by filters"
        )
    return drawing


def save_plot(
    name: str,
    records: Sequence[Record],
    path: Path,
    size: str = "paper",
    choice: Choice | None = None,
    width: str | None = None,
) -> list[Path]:
    """Draw one figure to `path` with the suffixes .pdf and .png, and its caption to .txt; of the plots 'dimension' and
    'axis' also its numbers to `path`-numbers.csv; returns the paths.

    Raises `InputError` as `draw`, and where the folder is not writable.
    """
    return save(draw(name, records, size, choice, width), path)
