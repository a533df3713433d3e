"""The training curve: the two stages of the DM loss, and what the student does meanwhile.

The DM loss is no measure of quality: it rises while the fake score leaves the teacher's and catches up with the
student, then falls (the paper's figure 4). So variance_ratio and pair_cosine are drawn under it.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dmdlab.config import InputError
from dmdlab.pairing import METRICS
from dmdlab.plots import captions
from dmdlab.plots.axes import guide_lines
from dmdlab.plots.style import INIT_STYLES, PAPER, VERMILLION, Drawing, Size, new_figure
from dmdlab.records.cells import Cell, cells_of_starts, dims_of, inits_of, laws_of, records_of
from dmdlab.records.record import Record

ROWS = ("dm_loss", "score_loss", "variance_ratio", "pair_cosine")
LABELS = {"dm_loss": "DM loss", "score_loss": "fake-score loss"}
MOST = 6
"""Columns (dimensions) that stay legible on a page."""


def curve_figure(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """Draw the training curves of `records`: a row for each quantity, a column for each dimension.

    Line: mean over seeds; band: from the lowest to the highest seed. Raises `InputError`: no finished run, several
    laws, or more dimensions than fit.
    """
    groups = cells_of_starts(records)
    laws, dims = laws_of(groups), dims_of(groups)
    if len(laws) > 1:
        raise InputError(f"training curves of {len(laws)} laws ({', '.join(laws)}); choose one with law.name=NAME")
    if len(dims) > MOST:
        listed = ", ".join(map(str, dims))
        raise InputError(
            f"{len(dims)} dimensions do not fit; choose at most {MOST}, one by one with law.dim=N ({listed})"
        )
    rows = ("dm_loss", "pair_cosine") if scale.slide else ROWS
    width = scale.single if len(dims) == 1 and not scale.slide else scale.double
    with new_figure(width, min(scale.height, len(rows) * scale.row * 0.85 + 0.6), scale) as figure:
        grid = figure.subplots(len(rows), len(dims), sharex=True, sharey="row", squeeze=False)
        for column, dim in zip(grid.T, dims, strict=True):
            here = [cell for cell in groups if cell.dim == dim]
            for axes, key in zip(column, rows, strict=True):
                _draw(axes, key, here, scale)
            column[0].set_title(f"$d = {dim}$")
            column[-1].set_xlabel("iteration")
        for axes, key in zip(grid[:, 0], rows, strict=True):
            axes.set_ylabel(LABELS.get(key) or METRICS[key].label)
        styles = [INIT_STYLES[init] for init in inits_of(groups)]
        handles = [Line2D([], [], color=style.colour, ls=style.line, label=style.label) for style in styles]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
        if warning := captions.flagged(records_of(groups)):
            figure.supxlabel(warning.strip(), x=0.995, ha="right", fontsize=0.85 * scale.font, color=VERMILLION)
    return Drawing(figure, _caption(groups, rows))


def _draw(axes: Axes, key: str, groups: Sequence[Cell], scale: Size) -> None:
    """One quantity at one dimension: mean and range over the seeds of each init."""
    for cell in groups:
        colour, line = INIT_STYLES[cell.init].colour, INIT_STYLES[cell.init].line
        tables = [record.curve() for record in cell.records]
        iterations, curves = tables[0]["iteration"], np.array([table[key] for table in tables])  # (seeds, checkpoints)
        axes.plot(iterations, curves.mean(axis=0), color=colour, ls=line, gid=f"{cell.init} line")
        if len(curves) > 1:
            ends, band = (curves.min(axis=0), curves.max(axis=0)), f"{cell.init} band"
            axes.fill_between(iterations, *ends, color=colour, alpha=0.18, linewidth=0, gid=band)
    axes.set_xscale("log")
    if key in METRICS:
        guide_lines(axes, METRICS[key], scale)
    else:
        axes.set_yscale("log")


def _caption(groups: Sequence[Cell], rows: Sequence[str]) -> str:
    records = records_of(groups)
    shown = ", ".join(LABELS.get(key) or METRICS[key].key for key in rows)
    return (
        f"Training curves ({shown}) of law {laws_of(groups)[0]}. Lines: mean over {captions.seeds(groups)}; bands: "
        "from the lowest to the highest seed. Losses are averages since the checkpoint before. The DM loss rises "
        "while the fake score leaves the teacher's and catches up with the student, and falls after; it does not "
        f"measure quality. {captions.flagged(records)}{captions.setting(records)} {captions.provenance(records)}"
    )
