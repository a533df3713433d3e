"""Copying against dimension: the lab's main figure.

One row of four panels for each law, over the ambient dimension d on a logarithmic axis: (a) delta_e with its ceiling,
(b) copy_index, (c) pair_cosine, (d) pair_auc. Four, because each alone can be read as copying where there is none: a
collapsed student has delta_e = 0, the range of delta_e shrinks with d, and copy_index and pair_auc saturate.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import CARETDOWN, CARETUP
from matplotlib.transforms import ScaledTranslation

from dmdlab.config import InputError
from dmdlab.pairing import METRICS, POOR_FIDELITY, Metric
from dmdlab.pairing.glossary import LOW_FIDELITY
from dmdlab.plots import captions
from dmdlab.plots.axes import LINEAR_BELOW, dimension_axis, guide_lines, value_axis, zero_log_axis
from dmdlab.plots.calibration import draw_levels, levels_in_words
from dmdlab.plots.style import GREY, INIT_STYLES, PALE, PAPER, Drawing, Size, new_figure
from dmdlab.records.cells import Cell, cells_of_starts, dims_of, inits_of, laws_of, records_of
from dmdlab.records.record import Record

PANELS = tuple(METRICS[key] for key in ("delta_e", "copy_index", "pair_cosine", "pair_auc"))

DODGE, ASIDE = 1.3, 0.85
"""In marks: the shift from one init to the next, whose error bars stand side by side, and of the seeds from their mean,
away from the other inits."""

DASHED = (0, (5, 2))


def dimension_figure(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """Draw `records` as one row of panels a law.

    Marks: mean over seeds with its 95 % t-interval, ended by an arrow where it leaves the measure's range or the panel;
    dots beside them: the seeds. Hollow: another law, or unknown. Crossed out: a teacher that failed its own check.
    Failed runs and unresolved values are not drawn, and counted in a note.

    Raises `InputError`: no finished run, more laws than fit, runs of one cell that differ in more than the seed, or
    sample sizes that differ within a law (delta_e and its ceiling depend on n).
    """
    groups = cells_of_starts(records)
    by_law = {law: [cell for cell in groups if cell.law == law] for law in laws_of(groups)}
    if len(by_law) > scale.rows:
        raise InputError(
            f"{len(by_law)} laws ({', '.join(by_law)}) do not fit into one {'slide' if scale.slide else 'paper'} "
            f"figure, which holds {scale.rows}; choose one with law.name=NAME"
        )
    for law, cells in by_law.items():
        sizes = captions.values(records_of(cells), "measure.samples")
        if len(sizes) > 1:
            raise InputError(
                f"runs of {law} were measured on different sample sizes (n = {', '.join(sizes)}), and delta_e "
                "depends on n; choose one with measure.samples=N"
            )
    note = _note(groups, len({record.row["id"] for record in records if not record.done}))
    square = scale.slide and len(by_law) == 1
    rows, columns = (2, 2) if square else (len(by_law), 4)
    height = scale.height if scale.slide else min(scale.height, rows * scale.row + 0.55)
    with new_figure(scale.double, height, scale) as figure:
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for axes_row, cells in zip(grid.reshape(-1, 4), by_law.values(), strict=True):
            _draw_law(list(axes_row), cells, scale)
        for axes, metric, letter in zip(grid.flat, PANELS, "abcd", strict=False):
            axes.set_title(f"({letter}) {metric.title}", loc="left")
        for axes in grid[-1]:
            axes.set_xlabel("dimension $d$")
        figure.legend(handles=_legend(groups, scale), loc="outside upper center", ncols=6, columnspacing=1.4)
        if note:
            figure.supxlabel(note, x=0.995, ha="right", fontsize=0.85 * scale.font, color=GREY)
    return Drawing(figure, _caption(groups, note))


def _draw_law(row: Sequence[Axes], groups: Sequence[Cell], scale: Size) -> None:
    """The four panels of one law."""
    for axes, metric in zip(row, PANELS, strict=True):
        _scale_axes(axes, metric, groups)
        guide_lines(axes, metric, scale)
        if metric.key == "delta_e":
            _draw_ceiling(axes, groups, scale)
        for init in inits_of(groups):
            _draw_init(axes, metric, groups, init, scale)
        axes.set_ylabel(metric.label)
        draw_levels(axes, records_of(groups), metric.key, scale)
    beside: dict[str, Any] = {"xycoords": (row[0].yaxis.label, "axes fraction"), "textcoords": "offset points"}
    bold: dict[str, Any] = {"fontweight": "bold", "rotation": 90, "ha": "right", "va": "center"}
    row[0].annotate(groups[0].law, (0, 0.5), (-0.5 * scale.font, 0), **beside, **bold)


def _scale_axes(axes: Axes, metric: Metric, groups: Sequence[Cell]) -> None:
    """Axes that hold every seed, and the intervals as far as they mean something."""
    dimension_axis(axes, dims_of(groups))
    values = np.concatenate([cell.column(metric.key) for cell in groups])
    if metric.scale == "zero_log":
        ceilings = [cell.column("delta_e_ceiling") for cell in groups]
        zero_log_axis(axes, float(np.nanmax(np.concatenate([values, *ceilings, [0.0]]))))
    else:
        intervals = [cell.interval(metric.key) for cell in groups]
        value_axis(axes, metric, values, np.array([(i.low, i.high) for i in intervals]).ravel())


def _draw_ceiling(axes: Axes, groups: Sequence[Cell], scale: Size) -> None:
    """delta_e of a student without memory: mean over every run at that d; the band spans the runs."""
    resolved = {}
    for dim in dims_of(groups):
        column = np.concatenate([cell.column("delta_e_ceiling") for cell in groups if cell.dim == dim])
        if not np.isnan(column).all():
            resolved[dim] = column[~np.isnan(column)]
    dims = list(resolved)
    low, mean, high = ([float(f(column)) for column in resolved.values()] for f in (np.min, np.mean, np.max))
    axes.fill_between(dims, low, high, color=PALE, linewidth=0, zorder=1, gid="ceiling band")
    axes.plot(dims, mean, color="black", ls=DASHED, lw=scale.line * 0.8, zorder=2, gid="ceiling")


def _draw_init(axes: Axes, metric: Metric, groups: Sequence[Cell], init: str, scale: Size) -> None:
    """Seeds, intervals, line and marks of one init in one panel, beside those of the others."""
    style, present = INIT_STYLES[init], inits_of(groups)
    steps = DODGE * (present.index(init) - (len(present) - 1) / 2)
    inches = axes.get_figure(root=True).dpi_scale_trans  # type: ignore[union-attr]
    place, aside = (
        axes.transData + ScaledTranslation(marks * scale.marker / 72, 0, inches)
        for marks in (steps, steps + (ASIDE if steps > 0 else -ASIDE))
    )
    drawn = [(c, interval) for c in groups if c.init == init and (interval := c.interval(metric.key)).n]
    here: dict[str, Any] = {"color": style.colour, "transform": place, "zorder": 3}
    dots: dict[str, Any] = here | {"transform": aside, "mew": 0, "ms": 0.42 * scale.marker}
    axes.plot([c.dim for c, _ in drawn], [i.mean for _, i in drawn], ls=style.line, gid=f"{init} line", **here)
    for cell, interval in drawn:
        _draw_interval(axes, metric, cell, here | {"clip_on": False}, scale)
        seeds = cell.column(metric.key)
        axes.plot(np.full(len(seeds), cell.dim), seeds, "o", gid=f"{init} seeds", **dots)
        kind, face = ("hollow", "white") if cell.poor else ("solid", style.colour)
        mark = here | {"mfc": face, "mew": scale.line * 0.8, "zorder": 4}
        axes.plot(cell.dim, interval.mean, style.marker, gid=f"{init} {kind}", **mark)
        if cell.flagged:
            cross = here | {"color": "black", "mew": scale.line, "ms": scale.marker * 1.8, "zorder": 5}
            axes.plot(cell.dim, interval.mean, "x", gid=f"{init} teacher failed", **cross)


def _draw_interval(axes: Axes, metric: Metric, cell: Cell, style: dict[str, Any], scale: Size) -> None:
    """An interval as far as the measure's range and the panel go; an arrow where it goes on."""
    interval, (bottom, top) = cell.interval(metric.key), axes.get_ylim()
    ends = np.array([interval.low, interval.high])
    shown = np.clip(ends, max(metric.lowest, bottom), min(metric.highest, top))
    axes.vlines(cell.dim, *shown, linewidth=scale.line * 0.9, gid=f"{cell.init} interval", **style)
    for end, stop, arrow in zip(ends, shown, (CARETDOWN, CARETUP), strict=True):
        if end != stop and not np.isnan(end):
            axes.plot(cell.dim, stop, marker=arrow, ms=0.8 * scale.marker, mew=0, gid=f"{cell.init} arrow", **style)


def _legend(groups: Sequence[Cell], scale: Size) -> list[Line2D]:
    """An entry for each init, for the ceiling, and for the special marks that occur."""
    thin, styles = scale.line * 0.8, [INIT_STYLES[init] for init in inits_of(groups)]
    entries: list[dict[str, Any]] = [
        {"label": style.label, "color": style.colour, "marker": style.marker, "ls": style.line} for style in styles
    ]
    entries.append({"label": r"ceiling of $\Delta_E$: no memory", "ls": DASHED, "lw": thin})
    if any(cell.poor for cell in groups):
        entries.append({"label": "another law, or unknown", "marker": "o", "mfc": "white", "mew": thin, "ls": "none"})
    if any(cell.flagged for cell in groups):
        cross = {"marker": "x", "mew": scale.line, "ms": scale.marker * 1.8, "ls": "none"}
        entries.append({"label": "teacher failed its check", **cross})
    return [Line2D([], [], **{"color": "black"} | entry) for entry in entries]


def _note(groups: Sequence[Cell], failed: int) -> str:
    """What is not drawn: failed runs, and unresolved values with their place."""
    parts = [f"{failed} failed run{'s' if failed > 1 else ''} not drawn"] if failed else []
    for metric in PANELS:
        gaps = [(cell, missing) for cell in groups if (missing := cell.interval(metric.key).missing)]
        if gaps:
            places = ", ".join(dict.fromkeys(f"{cell.init} d = {cell.dim}" for cell, _ in gaps))
            parts.append(f"{sum(m for _, m in gaps)} unresolved {metric.key} not drawn ({places})")
    return "; ".join(parts)


def _caption(groups: Sequence[Cell], note: str) -> str:
    """What is shown, how it was made, what the marks mean, which runs."""
    records = records_of(groups)
    inits = ", ".join(INIT_STYLES[init].label for init in inits_of(groups))
    laws = ", ".join(laws_of(groups))
    crossed = "Crossed out: the teacher failed its own check. " if any(c.flagged for c in groups) else ""
    return (
        f"Copying against dimension: law {laws}; {inits}. "
        f"Marks: mean over {captions.seeds(groups)} with its 95 % t-interval, ended by an arrow where it goes beyond "
        "the measure's range or the panel; dots beside them: the seeds. Dashed: the delta_e of a student with no "
        f"memory of the pairing (band: over the runs). The delta_e axis is linear below {LINEAR_BELOW:g}. "
        f"{_hollow(groups)}"
        f"{crossed}{levels_in_words(records)}{captions.setting(records)} {note + '. ' if note else ''}"
        f"{captions.provenance(records)}"
    )


def _hollow(groups: Sequence[Cell]) -> str:
    """By which limits marks are hollow, and what that means."""
    judged = [bool(cell.law_limits) for cell in groups]
    null = (
        "the mean of fidelity, debiased_cost or variance_ratio unresolved, or outside of where 95 % of single runs of "
        "exactly the teacher's law fall at this n and d (by the runs' calibrations)"
    )
    fixed = f"mean fidelity unresolved, or outside {LOW_FIDELITY:g} to {POOR_FIDELITY:g} (a convention"
    fixed += ", for runs without such limits)" if any(judged) else ": these runs do not hold where equal laws fall)"
    by = null if all(judged) else f"{null}; or {fixed}" if any(judged) else fixed
    return (
        f"Hollow marks: {by}: the student's law can be told from that of the teacher's flow, or this n cannot tell, "
        "and no claim of copying or remapping should rest on the mark. "
    )
