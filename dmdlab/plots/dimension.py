"""Copying against dimension: the lab's main figure.

One row of four panels for each law, over the ambient dimension d on a logarithmic axis: (a) delta_e with its ceiling,
(b) copy_index, (c) pair_cosine, (d) pair_auc. Four, because each alone can be read as copying where there is none: a
collapsed student has delta_e = 0, the range of delta_e shrinks with d, and copy_index and pair_auc saturate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dmdlab.config import InputError
from dmdlab.pairing import METRICS, POOR_FIDELITY
from dmdlab.plots import captions
from dmdlab.plots.axes import LINEAR_BELOW, dimension_axis, name_line, octaves, value_axis, zero_log_axis
from dmdlab.plots.calibration import draw_levels, levels_in_words
from dmdlab.plots.records import Cell, Record, cells, dims_of, failed, finished, inits_of, laws_of
from dmdlab.plots.style import GREY, INIT_STYLES, PALE, Drawing, Size, new_figure, settle, size_of, styled

LOW_FIDELITY = 0.8
"""Mean fidelity below which a student's law counts as not reached, too. A student that shrinks towards the mean costs
*less* to match than the teacher's own fresh samples (a constant one about half, in high dimension), which no student
of the right law does beyond sampling noise. The upper limit is the glossary's `POOR_FIDELITY`."""

DODGE = 0.022
"""Shift between neighbouring inits, as a share of the axis: their error bars stand side by side."""


@dataclass(frozen=True)
class Panel:
    """One measure: how to read it, and the values to read it against, each with its name."""

    key: str
    reading: str
    guides: tuple[tuple[float, str], ...]


PANELS = (
    Panel("delta_e", "0 = as good as optimal", ()),
    Panel("copy_index", "1 = optimal, 0 = random", ((1.0, "optimal"), (0.0, "random"))),
    Panel("pair_cosine", "1 = same pairing, 0 = none", ((1.0, ""), (0.0, "chance"))),
    Panel("pair_auc", "1 = partner nearest", ((1.0, ""), (0.5, "chance"))),
)


def reached(cell: Cell) -> bool:
    """Whether the students' law is close enough to the teacher's to speak of copying: mean fidelity resolved and
    between `LOW_FIDELITY` and `POOR_FIDELITY`."""
    return LOW_FIDELITY <= cell.interval("fidelity").mean <= POOR_FIDELITY


def dimension_figure(records: Sequence[Record], *, size: str = "paper") -> Drawing:
    """Draw `records` as one row of panels a law.

    Marks: mean over seeds with its 95 % t-interval; faint dots: the seeds. Hollow: not `reached`. Crossed out: a
    teacher that failed its own check. Failed runs and unresolved values are not drawn, and counted in a note.

    Raises `InputError`: no finished run, more laws than fit, runs of one cell that differ in more than the seed, or
    sample sizes that differ within a law (delta_e and its ceiling depend on n).
    """
    scale = size_of(size)
    groups = cells(finished(records))
    laws = laws_of(groups)
    if len(laws) > scale.rows:
        raise InputError(
            f"{len(laws)} laws ({', '.join(laws)}) do not fit into one {size} figure, which holds {scale.rows}; "
            "choose one with law.name=NAME"
        )
    for law in laws:
        _same_sample_size([cell for cell in groups if cell.law == law])
    with styled(scale):
        figure, grid = _grid(len(laws), size, scale)
        for axes_row, law in zip(grid, laws, strict=True):
            _draw_law(axes_row, [cell for cell in groups if cell.law == law], scale)
        _finish(figure, grid, groups, _note(groups, failed(records)), scale)
    return Drawing(figure, _caption(groups, failed(records)))


def _same_sample_size(groups: Sequence[Cell]) -> None:
    sizes = captions.common([r for cell in groups for r in cell.records], "measure.samples")
    if len(sizes) > 1:
        raise InputError(
            f"runs of {groups[0].law} were measured on different sample sizes (n = {', '.join(sizes)}), and delta_e "
            "depends on n; choose one with measure.samples=N"
        )


def _grid(laws: int, size: str, scale: Size) -> tuple[Figure, list[list[Axes]]]:
    """A row of four panels a law; two by two where a slide holds a single law."""
    square = size == "slide" and laws == 1
    rows, columns = (2, 2) if square else (laws, 4)
    height = scale.height if size == "slide" else min(scale.height, rows * scale.row + 0.55)
    figure = new_figure(scale.double, height, scale)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    return figure, [list(grid.flat)] if square else [list(row) for row in grid]


def _draw_law(row: Sequence[Axes], groups: Sequence[Cell], scale: Size) -> None:
    """The four panels of one law."""
    for axes, panel in zip(row, PANELS, strict=True):
        for value, name in panel.guides:
            name_line(axes, value, name, scale)
        if panel.key == "delta_e":
            _draw_ceiling(axes, groups, scale)
        for init in inits_of(groups):
            _draw_init(axes, panel.key, [cell for cell in groups if cell.init == init], _shift(init, groups), scale)
        axes.set_ylabel(METRICS[panel.key].label)
        dimension_axis(axes, dims_of(groups))
        values = np.concatenate([cell.column(panel.key) for cell in groups])
        if panel.key == "delta_e":
            ceilings = np.concatenate([cell.column("delta_e_ceiling") for cell in groups])
            zero_log_axis(axes, float(np.nanmax([*values, *ceilings, 0.0])))
        else:
            value_axis(axes, values, [value for value, _ in panel.guides])
        draw_levels(axes, [record for cell in groups for record in cell.records], panel.key, scale)
    row[0].annotate(
        groups[0].law,
        (0, 0.5),
        (-0.5 * scale.font, 0),
        xycoords=(row[0].yaxis.label, "axes fraction"),
        textcoords="offset points",
        fontweight="bold",
        rotation=90,
        ha="right",
        va="center",
    )


def _shift(init: str, groups: Sequence[Cell]) -> float:
    """Factor on d that sets this init beside the others."""
    present = inits_of(groups)
    steps = present.index(init) - (len(present) - 1) / 2
    return float(2.0 ** (steps * DODGE * octaves(dims_of(groups))))


def _draw_ceiling(axes: Axes, groups: Sequence[Cell], scale: Size) -> None:
    """delta_e of a student without memory: mean over every run at that d; the band spans the runs."""
    columns = {
        dim: np.concatenate([cell.column("delta_e_ceiling") for cell in groups if cell.dim == dim])
        for dim in dims_of(groups)
    }
    resolved = {dim: column[~np.isnan(column)] for dim, column in columns.items() if not np.isnan(column).all()}
    dims, ceilings = list(resolved), list(resolved.values())
    low, mean, high = ([float(f(c)) for c in ceilings] for f in (np.min, np.mean, np.max))
    axes.fill_between(dims, low, high, color=PALE, linewidth=0, zorder=1, gid="ceiling band")
    axes.plot(dims, mean, color="black", ls=(0, (5, 2)), lw=scale.line * 0.8, zorder=2, gid="ceiling")


def _draw_init(axes: Axes, key: str, groups: Sequence[Cell], shift: float, scale: Size) -> None:
    """Seeds, intervals, line and marks of one init in one panel."""
    init, style = groups[0].init, INIT_STYLES[groups[0].init]
    drawn = [(cell, cell.dim * shift, interval) for cell in groups if (interval := cell.interval(key)).n]
    x = [position for _, position, _ in drawn]
    axes.plot(x, [i.mean for *_, i in drawn], color=style.colour, ls=style.line, zorder=3, gid=f"{init} line")
    axes.vlines(
        x,
        [i.low for *_, i in drawn],
        [i.high for *_, i in drawn],
        color=style.colour,
        linewidth=scale.line * 0.9,
        zorder=3,
        gid=f"{init} intervals",
    )
    for cell, position, interval in drawn:
        seeds = cell.column(key)
        dots: dict[str, Any] = {"color": style.colour, "alpha": 0.35, "mew": 0, "ms": scale.marker * 0.8, "zorder": 2}
        axes.plot(np.full(len(seeds), position), seeds, ".", gid=f"{init} seeds", **dots)
        kind, face = ("solid", style.colour) if reached(cell) else ("hollow", "white")
        mark: dict[str, Any] = {"color": style.colour, "mfc": face, "mew": scale.line * 0.8, "zorder": 4}
        axes.plot(position, interval.mean, style.marker, gid=f"{init} {kind}", **mark)
        if cell.teacher_failed:
            cross: dict[str, Any] = {"color": "black", "mew": scale.line, "ms": scale.marker * 1.8, "zorder": 5}
            axes.plot(position, interval.mean, "x", gid=f"{init} teacher failed", **cross)


def _finish(figure: Figure, grid: Sequence[Sequence[Axes]], groups: Sequence[Cell], note: str, scale: Size) -> None:
    """Titles over the first row, the axis label under the last, legend above, note below."""
    for axes, panel, letter in zip(grid[0], PANELS, "abcd", strict=True):
        axes.set_title(f"({letter}) {panel.reading}", loc="left")
    for axes in grid[0][2:] if _is_square(grid) else grid[-1]:
        axes.set_xlabel("dimension $d$")
    figure.legend(handles=_legend(groups, scale), loc="outside upper center", ncols=6, columnspacing=1.4)
    if note:
        figure.supxlabel(note, x=0.995, ha="right", fontsize=0.85 * scale.font, color=GREY)
    settle(figure)


def _is_square(grid: Sequence[Sequence[Axes]]) -> bool:
    return grid[0][0].get_subplotspec().get_gridspec().ncols == 2  # type: ignore[union-attr]


def _legend(groups: Sequence[Cell], scale: Size) -> list[Line2D]:
    """An entry for each init, for the ceiling, and for the special marks that occur."""
    entries = [
        Line2D([], [], color=s.colour, marker=s.marker, ls=s.line, label=s.label)
        for s in (INIT_STYLES[init] for init in inits_of(groups))
    ]
    ceiling: dict[str, Any] = {"color": "black", "ls": (0, (5, 2)), "lw": scale.line * 0.8}
    entries.append(Line2D([], [], label=r"ceiling of $\Delta_E$: no memory", **ceiling))
    if not all(reached(cell) for cell in groups):
        hollow: dict[str, Any] = {"marker": "o", "mfc": "white", "mew": scale.line * 0.8, "ls": "none"}
        entries.append(Line2D([], [], color="black", label="poor fidelity", **hollow))
    if any(cell.teacher_failed for cell in groups):
        crossed: dict[str, Any] = {"marker": "x", "mew": scale.line, "ms": scale.marker * 1.8, "ls": "none"}
        entries.append(Line2D([], [], color="black", label="teacher failed its check", **crossed))
    return entries


def _note(groups: Sequence[Cell], failures: int) -> str:
    """What is not drawn: failed runs, and unresolved values with their place."""
    parts = [captions.left_out(failures)] if failures else []
    for panel in PANELS:
        gaps = [(cell, missing) for cell in groups if (missing := cell.interval(panel.key).missing)]
        if gaps:
            places = ", ".join(dict.fromkeys(f"{cell.init} d = {cell.dim}" for cell, _ in gaps))
            parts.append(f"{sum(m for _, m in gaps)} unresolved {METRICS[panel.key].key} not drawn ({places})")
    return "; ".join(parts)


def _caption(groups: Sequence[Cell], failures: int) -> str:
    """What is shown, how it was made, what the marks mean, which runs."""
    records = [record for cell in groups for record in cell.records]
    inits = ", ".join(INIT_STYLES[init].label for init in inits_of(groups))
    laws = ", ".join(laws_of(groups))
    crossed = "Crossed out: the teacher failed its own check. " if any(c.teacher_failed for c in groups) else ""
    note = _note(groups, failures)
    return (
        f"Copying against dimension: {captions.experiment_name(records)}law {laws}; {inits}. "
        f"Marks: mean over {captions.seeds(groups)} with its 95 % t-interval; faint dots: the seeds. "
        "Dashed: the delta_e of a student with no memory of the pairing (band: over the runs). The delta_e axis is "
        f"linear below {LINEAR_BELOW:g}. Hollow marks: mean fidelity unresolved or outside {LOW_FIDELITY:g} to "
        f"{POOR_FIDELITY:g}: the student's law is not close enough to that of the teacher's flow, or this n "
        "cannot tell, and no claim of copying or remapping should rest on the mark. "
        f"{crossed}{levels_in_words(records)}{captions.setting(records)} {note + '. ' if note else ''}"
        f"{captions.provenance(records)}"
    )
