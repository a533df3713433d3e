"""The training curve: the two stages of the DM loss, and what the student does meanwhile.

The DM loss is no measure of quality: it rises while the fake score leaves the teacher's and catches up with the
student, then falls (the paper's figure 4). So variance_ratio, pair_cosine and, where it is calibrated, the remap
angle are drawn under it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dmdlab.config import InputError
from dmdlab.pairing import COLLAPSED_VARIANCE_RATIO, METRICS
from dmdlab.pairing.calibration import Calibration, remap_angle
from dmdlab.plots import captions
from dmdlab.plots.axes import degree_axis, fit_label, guide_lines, log_ticks, place_names
from dmdlab.plots.calibration import once
from dmdlab.plots.names import clear_names
from dmdlab.plots.style import (
    GREY,
    LETTER,
    PAPER,
    VERMILLION,
    Drawing,
    LineStyle,
    Size,
    in_figure,
    line_styles,
    new_figure,
)
from dmdlab.records.cells import Cell, cells_along, laws_of, parts, records_of, setting_label, short
from dmdlab.records.layout import Layout, distinct, layout_of
from dmdlab.records.record import Record

ROWS = ("dm_loss", "score_loss", "variance_ratio", "pair_cosine")
_READ = {"remap_angle": ("pair_cosine", "variance_ratio")}
"""The columns of a curve that a quantity is read from, where it is not one itself."""

LABELS = {"dm_loss": "DM loss", "score_loss": "fake-score loss"}
MOST = 6
"""Columns that stay legible on a page."""


def curve_figure(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """Draw the training curves of `records`: a row for each quantity, a column for each dimension, or for each value of
    what varies instead (`layout_of`), a line for each start or value of a second setting. The panels of a lone column
    stand in two lines.

    Line: mean over seeds; band: from the lowest to the highest seed. The last row is the remap angle, where runs have a
    calibration. Raises `InputError`: no finished run, several laws or values of a third setting, or more columns than
    fit.
    """
    layout = layout_of(records)
    groups = cells_along(records, layout.keys)
    _one_row(groups, layout)
    values = distinct(cell.value(layout.x) for cell in groups)
    styles = line_styles(layout.by, distinct(cell.value(layout.by) for cell in groups))
    held = {str(h.row["calibration"]): h.found for h in once(records_of(groups))}
    rows = ("dm_loss", "pair_cosine") if scale.slide else ROWS
    rows = (*rows, "remap_angle") if held else rows
    titles = _titles(layout.x, values)
    alone = len(values) == 1 and not scale.slide  # its panels stand in two lines
    lines = 2 if alone else len(rows)
    height = min(scale.height, lines * scale.row * 0.85 + 0.6)
    width = scale.double
    with new_figure(width, height, scale) as figure:
        if alone:
            grid = _in_two_lines(figure, len(rows))
        else:
            grid = figure.subplots(len(rows), len(values), sharex=True, sharey="row", squeeze=False)
        for column, value in zip(grid.T, values, strict=True):
            here = [cell for cell in groups if cell.value(layout.x) == value]
            for axes, key in zip(column, rows, strict=True):
                _draw(axes, key, {cell.value(layout.by): cell for cell in here}, styles, held, scale)
            column[0].set_title(titles[value], fontsize=_fitting(titles.values(), width, scale))
            column[-1].set_xlabel("iteration")
        for axes in grid.ravel():
            log_ticks(axes.xaxis)
        for axes, key in zip(grid[:, 0], rows, strict=True):
            axes.set_ylabel(LABELS.get(key) or METRICS[key].label)
            if axes.get_yscale() == "log":
                log_ticks(axes.yaxis)  # of the row: its panels share the axis
            if scale.slide:
                fit_label(axes, 0.7 * height / len(rows), scale)
        handles = [Line2D([], [], color=s.colour, ls=s.line, label=s.label) for s in styles.values()]
        figure.legend(handles=handles, loc="outside upper center", ncols=3 if len(values) > 1 else 2)
        if warning := captions.flagged(records_of(groups)):
            figure.supxlabel(warning.strip(), x=0.995, ha="right", fontsize=scale.small, color=VERMILLION)
    clear_names(figure)
    return Drawing(figure, _caption(groups, layout, rows))


def _in_two_lines(figure: Figure, count: int) -> np.ndarray:
    """So many panels, (count, 1), the lowest of each column with the numbers and the name of the x axis."""
    columns = -(-count // 2)
    panels = figure.subplots(2, columns, sharex=True).ravel()
    for axes in panels[count:]:
        axes.set_axis_off()
    for axes in panels[count - columns : count]:
        axes.xaxis.set_tick_params(labelbottom=True)
        axes.set_xlabel("iteration")
    return np.asarray(panels[:count, None])


def _one_row(groups: Sequence[Cell], layout: Layout) -> None:
    """Raises InputError for what would need several figures, or a wider one."""
    laws, key = laws_of(groups), layout.rows or "law.name"
    if len(laws) > 1:
        raise InputError(f"training curves of {len(laws)} laws ({', '.join(laws)}); choose one with law.name=NAME")
    if len(rest := distinct(cell.value(key) for cell in groups)) > 1:
        listed = "; ".join(map(short, rest))
        raise InputError(f"training curves along {layout.x} and {layout.by}, for {key} ({listed}): choose one of these")
    if len(values := distinct(cell.value(layout.x) for cell in groups)) > MOST:
        many = "dimensions" if layout.x == "law.dim" else f"values of {layout.x}"
        how = f"one by one with {layout.x}=N ({', '.join(map(short, values))})"
        how = f"with KEY=VALUE for one of {layout.x}" if len(parts(layout.x)) > 1 else how
        raise InputError(f"{len(values)} {many} do not fit; choose at most {MOST}, {how}")


def _titles(key: str, values: Sequence[Any]) -> dict[Any, str]:
    """The columns' titles: a setting with its value; of several that change together, the names of their places."""
    if len(parts(key)) == 1:
        return {value: in_figure(key, value) for value in values}
    return {value: "\n".join(pieces) for value, pieces in zip(values, place_names(key, values), strict=True)}


def _fitting(titles: Collection[str], width: float, scale: Size) -> float:
    """The font size at which the columns' titles stay apart."""
    letters = max(len(line) for title in titles for line in title.split("\n")) + 2
    return min(scale.font, 72 * 0.9 * width / len(titles) / (LETTER * letters))


def _draw(
    axes: Axes,
    key: str,
    groups: Mapping[Any, Cell],
    styles: Mapping[Any, LineStyle],
    calibrations: Mapping[str, Calibration],
    scale: Size,
) -> None:
    """One quantity in one column: mean and range over the seeds of each line, of those whose curves hold it."""
    for value, cell in groups.items():
        colour, line = styles[value].colour, styles[value].line
        held = [(record, table) for record in cell.records if not _lacking(table := record.curve(), [key])]
        if not held:
            continue
        tables = [table for _, table in held]
        iterations = tables[0]["iteration"]
        if key == "remap_angle":
            own = [calibrations.get(str(record.row["calibration"])) for record, _ in held]
            curves = np.array([_angles(c, t["pair_cosine"]) for c, t in zip(own, tables, strict=True)])
            faint: dict[str, Any] = {"color": colour, "ls": line, "alpha": 0.35, "lw": 0.7 * scale.line}
            axes.plot(iterations, curves.mean(axis=0), gid=f"{value} collapsed", **faint)
            collapsed = np.array([table["variance_ratio"] < COLLAPSED_VARIANCE_RATIO for table in tables])
            curves = np.where(collapsed, np.nan, curves)
        else:
            curves = np.array([table[key] for table in tables])  # (seeds, checkpoints)
            if key not in METRICS:  # a loss of 0, as before a student's first move, has no place on a logarithmic axis
                curves = np.where(curves == 0, np.nan, curves)
        mean = curves.mean(axis=0)
        axes.plot(iterations, mean, color=colour, ls=line, gid=f"{value} line")
        alone = _alone(mean)
        axes.plot(iterations[alone], mean[alone], ".", color=colour, ms=4 * scale.line, gid=f"{value} alone")
        if len(curves) > 1:
            ends, band = (curves.min(axis=0), curves.max(axis=0)), f"{value} band"
            axes.fill_between(iterations, *ends, color=colour, alpha=0.18, linewidth=0, gid=band)
    axes.set_xscale("log")
    if key == "remap_angle":
        degree_axis(axes)
    if not axes.lines:
        _say(axes, "not kept")
    elif key in METRICS:
        axes.set_ymargin(0.28)  # room for the names of guides
        axes.update_datalim([(1.0, value) for value, _ in METRICS[key].guides], updatex=False)
        axes.autoscale_view(scalex=False)
        guide_lines(axes, METRICS[key], scale)
    elif any((np.asarray(line.get_ydata()) > 0).any() for line in axes.lines):
        axes.set_yscale("log")
    else:
        _say(axes, "there is none")


def _alone(values: np.ndarray) -> np.ndarray:
    """Which values (checkpoints,) stand between gaps, where a line has no length."""
    beside = np.pad(np.isfinite(values), 1)
    return beside[1:-1] & ~beside[:-2] & ~beside[2:]


def _say(axes: Axes, why: str) -> None:
    """Why a panel holds no line."""
    axes.set_yticks([])
    axes.annotate(why, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=GREY)


def _lacking(table: Collection[str], rows: Sequence[str]) -> list[str]:
    """Those of the quantities for which this table, by its columns, has not what they are read from."""
    return [key for key in rows if any(column not in table for column in _READ.get(key, (key,)))]


def _angles(calibration: Calibration | None, cosines: np.ndarray) -> np.ndarray:
    """The remap angle at each checkpoint, (checkpoints,) degrees; 90 for 90 and more, NaN where it is unresolved."""
    if calibration is None:
        return np.full(len(cosines), np.nan)
    return np.array([remap_angle(calibration, cosine).value for cosine in cosines])


def _caption(groups: Sequence[Cell], layout: Layout, rows: Sequence[str]) -> str:
    records = records_of(groups)
    shown = ", ".join(LABELS.get(key) or METRICS[key].key for key in rows)
    fixed = [setting_label(key, groups[0].value(key)) for key in ("law.dim", "student.init") if key not in layout.keys]
    lacking = [own for record in records if (own := _lacking(record.curve(), rows))]
    names = [key for key in rows if any(key in own for own in lacking)]
    runs = f"{len(lacking)} run{'s' if len(lacking) > 1 else ''}"
    without = f"Not in the curves of {runs}, and so not drawn: {', '.join(names)}. " if lacking else ""
    angle = (
        "The remap angle reads pair_cosine by the run's own calibration: 90 stands for 90 or more, a gap for a value "
        "that it cannot resolve, a dot for one between gaps. Thin and pale: a seed's student is collapsed (variance "
        f"ratio below {COLLAPSED_VARIANCE_RATIO:g}), and its record would leave the angle unresolved. "
    )
    one = all(len(cell.records) == 1 for cell in groups)
    mean = f"Lines: mean over {captions.seeds(groups)}; bands: from the lowest to the highest seed."
    lines = "Lines: one seed each." if one else mean
    return (
        f"Training curves ({shown}) of law {', '.join([laws_of(groups)[0], *fixed])}. "
        f"{lines} Losses are averages since the checkpoint before. The DM loss rises "
        "while the fake score leaves the teacher's and catches up with the student, and falls after; it does not "
        f"measure quality. {without}{angle if 'remap_angle' in rows else ''}{captions.flagged(records)}"
        f"{captions.setup(records)} {captions.provenance(records)}"
    )
