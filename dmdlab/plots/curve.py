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
from dmdlab.plots.style import INIT_STYLES, VERMILLION, Drawing, Size, new_figure, settle, size_of, styled
from dmdlab.records.cells import Cell, cells_of_starts, dims_of, inits_of, laws_of
from dmdlab.records.record import Record

ROWS = ("dm_loss", "score_loss", "variance_ratio", "pair_cosine")
LABELS = {"dm_loss": "DM loss", "score_loss": "fake-score loss"}
LOGARITHMIC = ("dm_loss", "score_loss")
MOST = 6
"""Columns (dimensions) that stay legible on a page."""


def curve_figure(records: Sequence[Record], *, size: str = "paper") -> Drawing:
    """Draw the training curves of `records`: a row for each quantity, a column for each dimension.

    Line: mean over seeds; band: from the lowest to the highest seed. Raises `InputError`: no finished run, several
    laws, or more dimensions than fit.
    """
    scale = size_of(size)
    groups = cells_of_starts(records)
    laws, dims = laws_of(groups), dims_of(groups)
    if len(laws) > 1:
        raise InputError(f"training curves of {len(laws)} laws ({', '.join(laws)}); choose one with law.name=NAME")
    if len(dims) > MOST:
        listed = ", ".join(map(str, dims))
        raise InputError(
            f"{len(dims)} dimensions do not fit; choose at most {MOST}, one by one with law.dim=N ({listed})"
        )
    rows = ROWS if size == "paper" else ("dm_loss", "pair_cosine")
    with styled(scale):
        width = scale.single if len(dims) == 1 and size == "paper" else scale.double
        height = min(scale.height, len(rows) * scale.row * 0.85 + 0.6)
        figure = new_figure(width, height, scale)
        grid = figure.subplots(len(rows), len(dims), sharex=True, sharey="row", squeeze=False)
        for column, dim in zip(grid.T, dims, strict=True):
            for axes, key in zip(column, rows, strict=True):
                for cell in groups:
                    if cell.dim == dim:
                        _draw_cell(axes, key, cell, scale)
                _finish_axes(axes, key, scale)
            column[0].set_title(f"$d = {dim}$")
            column[-1].set_xlabel("iteration")
        for axes, key in zip(grid[:, 0], rows, strict=True):
            axes.set_ylabel(LABELS.get(key) or METRICS[key].label)
        handles = [
            Line2D([], [], color=s.colour, ls=s.line, label=s.label) for s in (INIT_STYLES[i] for i in inits_of(groups))
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
        if warning := captions.flagged([record for cell in groups for record in cell.records]):
            figure.supxlabel(warning.strip(), x=0.995, ha="right", fontsize=0.85 * scale.font, color=VERMILLION)
        settle(figure)
    return Drawing(figure, _caption(groups, rows))


def curves_of(cell: Cell, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Iterations (c,) and the seeds' curves (seeds, c)."""
    tables = [record.curve() for record in cell.records]
    return tables[0]["iteration"], np.array([table[key] for table in tables])


def _draw_cell(axes: Axes, key: str, cell: Cell, scale: Size) -> None:
    """Mean and range over the seeds of one init."""
    style = INIT_STYLES[cell.init]
    iterations, curves = curves_of(cell, key)
    axes.plot(iterations, curves.mean(axis=0), color=style.colour, ls=style.line, gid=f"{cell.init} line")
    if len(curves) > 1:
        low, high = curves.min(axis=0), curves.max(axis=0)
        axes.fill_between(iterations, low, high, color=style.colour, alpha=0.18, linewidth=0, gid=f"{cell.init} band")


def _finish_axes(axes: Axes, key: str, scale: Size) -> None:
    axes.set_xscale("log")
    if key in LOGARITHMIC:
        axes.set_yscale("log")
    if key in METRICS:
        guide_lines(axes, METRICS[key], scale)


def _caption(groups: Sequence[Cell], rows: Sequence[str]) -> str:
    records = [record for cell in groups for record in cell.records]
    shown = ", ".join(LABELS.get(key) or METRICS[key].key for key in rows)
    return (
        f"Training curves ({shown}) of law {laws_of(groups)[0]}. Lines: mean over {captions.seeds(groups)}; bands: "
        "from the lowest to the highest seed. Losses are averages since the checkpoint before. The DM loss rises "
        "while the fake score leaves the teacher's and catches up with the student, and falls after; it does not "
        f"measure quality. {captions.flagged(records)}{captions.setting(records)} {captions.provenance(records)}"
    )
