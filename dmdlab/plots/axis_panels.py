"""The panels of a figure along a swept setting: what is drawn into one, and the range of its axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.markers import CARETDOWN, CARETUP
from matplotlib.transforms import Affine2D, ScaledTranslation, Transform

from dmdlab.pairing import Metric
from dmdlab.pairing.calibration import Calibration
from dmdlab.plots.axes import MARGIN, across, guide_lines, places, swept_axis, value_axis, zero_log_axis
from dmdlab.plots.calibration import LEVELS_DEGREES, draw_levels
from dmdlab.plots.style import GREY, PALE, LineStyle, Size
from dmdlab.records.cells import Cell, parts
from dmdlab.records.layout import Layout, distinct, numeric

DODGE, ASIDE = 1.3, 0.85
"""In marks: the shift from one line to the next, whose error bars stand side by side, and of the seeds from their mean,
away from the other lines."""

MOST_DODGED = 4.0
"""In marks: how far the first and the last line stand apart at most."""

FEW_LINES = 4
"""Lines whose marks and seeds stand beside their places within the usual margin."""

WITHIN = 0.6
"""The same where places are many, in places."""

DASHED = (0, (5, 2))

FEW_DEGREES = (30.0, 60.0)
"""The planted angles that are shown where every line has levels of its own."""

OF_TEACHER = ("law", "noise", "teacher", "measure")
"""Sections of which every teacher and sample has its own: lines that differ in one share no levels."""


@dataclass(frozen=True)
class Shown:
    """What a figure along a setting shows.

    Attributes:
        cells: every cell of the figure.
        layout: the settings along x, lines and rows.
        metrics: the measures, a panel each in every row.
        values: of the setting along x, in their order.
        styles: the style of each value of the setting that has lines.
        calibrations: by their ids, those of the runs.
        scale: the size.
    """

    cells: Sequence[Cell]
    layout: Layout
    metrics: Sequence[Metric]
    values: Sequence[Any]
    styles: Mapping[Any, LineStyle]
    calibrations: Mapping[str, Calibration]
    scale: Size

    @property
    def joined(self) -> bool:
        """Whether a line joins the marks: words have no order between them."""
        return numeric(self.values)

    @property
    def course(self) -> str:
        """How guides go from place to place, as matplotlib's drawstyle: as steps where no order is between these."""
        return "default" if self.joined else "steps-mid"

    @property
    def margin(self) -> float:
        """The share of the x axis that is free at either end: more where many lines stand beside their places."""
        return MARGIN if len(self.styles) <= FEW_LINES else 0.27

    @property
    def together(self) -> bool:
        """Whether settings that change together stand along x."""
        return len(parts(self.layout.x)) > 1

    def rows(self) -> dict[Any, list[Cell]]:
        """The cells of each row of panels."""
        key = self.layout.rows
        found = distinct(cell.value(key) if key else None for cell in self.cells)
        return {row: [c for c in self.cells if not key or c.value(key) == row] for row in found}

    def of_line(self, cells: Sequence[Cell], line: Any) -> list[Cell]:
        """Those of one line, along x."""
        found = [cell for cell in cells if cell.value(self.layout.by) == line]
        return sorted(found, key=lambda cell: self.values.index(cell.value(self.layout.x)))

    def along(self, cells: Sequence[Cell]) -> dict[float, list[Cell]]:
        """The cells at each place of the x axis."""
        at = places(self.values)
        grouped = {at[v]: [c for c in cells if c.value(self.layout.x) == v] for v in self.values}
        return {place: found for place, found in grouped.items() if found}

    def ids(self, cells: Sequence[Cell]) -> set[str]:
        """The ids of the calibrations of these cells."""
        found = {str(r.row["calibration"]) for c in cells for r in c.records if r.row.get("calibration") is not None}
        return found & set(self.calibrations)

    @property
    def one_ceiling(self) -> bool:
        """Whether delta_e has one ceiling for all lines. It depends on the students' spread, which starts share."""
        return self.layout.by == "student.init" or len(self.styles) == 1

    @property
    def shared(self) -> bool:
        """Whether the lines of every row share their calibrated levels."""
        return all(len(self.backgrounds(cells)) == 1 for cells in self.rows().values())

    @property
    def angles(self) -> Sequence[float]:
        """The planted angles whose levels are drawn: fewer where every line has its own."""
        return LEVELS_DEGREES if self.shared else FEW_DEGREES

    def backgrounds(self, cells: Sequence[Cell]) -> list[tuple[list[Cell], str]]:
        """The cells that share calibrated levels, with a colour: all of a row's, in grey, unless its
        lines differ in the teacher, in what it is taught, or in n."""
        lines = {line: self.of_line(cells, line) for line in self.styles}
        lines = {line: found for line, found in lines.items() if found}
        if len(lines) < 2 or self.layout.by.split(".")[0] not in (*OF_TEACHER, "network"):
            return [(list(cells), GREY)]
        held = [self.ids(found) for found in lines.values()]
        shared = set.intersection(*held) if all(held) else self.layout.by.startswith("network")
        return [(list(cells), GREY)] if shared else [(found, self.styles[line].colour) for line, found in lines.items()]


def draw_row(panels: Sequence[Axes], cells: Sequence[Cell], shown: Shown) -> None:
    """One row: a panel for each measure, with its scale, its guides, the ceiling of delta_e, the lines, and the
    calibrated levels."""
    for axes, metric in zip(panels, shown.metrics, strict=True):
        _scale_axes(axes, metric, cells, shown)
        guide_lines(axes, metric, shown.scale)
        if metric.key == "delta_e":
            _draw_ceilings(axes, cells, shown)
        for line in shown.styles:
            _draw_line(axes, metric, shown.of_line(cells, line), line, shown)
        axes.set_ylabel(metric.label)
        named: list[float] = []
        for sharing, colour in shown.backgrounds(cells):
            ids = {place: sorted(shown.ids(found)) for place, found in shown.along(sharing).items()}
            held = {place: [shown.calibrations[id] for id in own] for place, own in ids.items() if own}
            draw_levels(axes, held, metric.key, shown.scale, shown.angles, colour, named, shown.course)


def _scale_axes(axes: Axes, metric: Metric, cells: Sequence[Cell], shown: Shown) -> None:
    """Axes that hold every seed, and the intervals as far as they mean something."""
    swept_axis(axes, shown.layout.x, shown.values, shown.margin)
    values = np.concatenate([cell.column(metric.key) for cell in cells])
    if metric.scale == "zero_log":
        ceilings = [cell.column("delta_e_ceiling") for cell in cells]
        zero_log_axis(axes, float(np.nanmax(np.concatenate([values, *ceilings, [0.0]]))))
    else:
        intervals = [cell.interval(metric.key) for cell in cells]
        value_axis(axes, metric, values, np.array([(i.low, i.high) for i in intervals]).ravel())


def _draw_ceilings(axes: Axes, cells: Sequence[Cell], shown: Shown) -> None:
    """One ceiling in black for all starts; one for each line, in its colour, where the lines are of another kind."""
    if shown.one_ceiling:
        _draw_ceiling(axes, cells, shown, "black")
        return
    for line, style in shown.styles.items():
        _draw_ceiling(axes, shown.of_line(cells, line), shown, style.colour)


def _draw_ceiling(axes: Axes, cells: Sequence[Cell], shown: Shown, colour: str) -> None:
    """delta_e of a student without memory: mean over every run at that place; the band spans the runs."""
    resolved = {}
    for place, found in shown.along(cells).items():
        column = np.concatenate([cell.column("delta_e_ceiling") for cell in found])
        if not np.isnan(column).all():
            resolved[place] = column[~np.isnan(column)]
    spans = [[float(f(column)) for column in resolved.values()] for f in (np.min, np.mean, np.max)]
    at, low, mean, high = across(axes, list(resolved), *spans)
    band: dict[str, Any] = {"color": PALE} if colour == "black" else {"color": colour, "alpha": 0.12}
    step: Any = None if shown.joined else "mid"
    axes.fill_between(at, low, high, linewidth=0, zorder=1, gid="ceiling band", step=step, **band)
    axes.plot(at, mean, color=colour, ls=DASHED, lw=shown.scale.line * 0.8, zorder=2, gid="ceiling", ds=shown.course)


def _draw_line(axes: Axes, metric: Metric, cells: Sequence[Cell], line: Any, shown: Shown) -> None:
    """Seeds, intervals, line and marks of one line in one panel, beside those of the others."""
    style, scale = shown.styles[line], shown.scale
    place, aside = _beside(axes, list(shown.styles).index(line), shown)
    at = places(shown.values)
    drawn = [(at[c.value(shown.layout.x)], c, interval) for c in cells if (interval := c.interval(metric.key)).n]
    here: dict[str, Any] = {"color": style.colour, "transform": place, "zorder": 3}
    dots: dict[str, Any] = here | {"transform": aside, "mew": 0, "ms": 0.42 * scale.marker}
    joined = style.line if shown.joined else "none"
    axes.plot([x for x, *_ in drawn], [i.mean for *_, i in drawn], ls=joined, gid=f"{line} line", **here)
    for x, cell, interval in drawn:
        _draw_interval(axes, metric, cell, x, here | {"clip_on": False}, str(line), scale)
        seeds = cell.column(metric.key)
        axes.plot(np.full(len(seeds), x), seeds, "o", gid=f"{line} seeds", **dots)
        kind, face = ("hollow", "white") if cell.poor else ("solid", style.colour)
        mark = here | {"mfc": face, "mew": scale.line * 0.8, "zorder": 4}
        axes.plot(x, interval.mean, style.marker, gid=f"{line} {kind}", **mark)
        if cell.flagged:
            cross = here | {"color": "black", "mew": scale.line, "ms": scale.marker * 1.8, "zorder": 5}
            axes.plot(x, interval.mean, "x", gid=f"{line} teacher failed", **cross)


def _beside(axes: Axes, order: int, shown: Shown) -> tuple[Transform, Transform]:
    """Where the line of this order has its marks, and its seeds, beside those of the others: so many marks away from
    the place; where settings change together, and places are many, within the place."""
    last = max(1, len(shown.styles) - 1)
    way = order - (len(shown.styles) - 1) / 2
    if shown.together:
        step = min(WITHIN / last, WITHIN / 3)
        shifts = (step * way, step * (way + (0.35 if way > 0 else -0.35)))
        near, far = (Affine2D().translate(shift, 0) + axes.transData for shift in shifts)
        return near, far
    steps = min(DODGE, MOST_DODGED / last) * way
    inches = axes.get_figure(root=True).dpi_scale_trans  # type: ignore[union-attr]
    near, far = (
        axes.transData + ScaledTranslation(marks * shown.scale.marker / 72, 0, inches)
        for marks in (steps, steps + (ASIDE if steps > 0 else -ASIDE))
    )
    return near, far


def _draw_interval(
    axes: Axes, metric: Metric, cell: Cell, x: float, style: dict[str, Any], line: str, scale: Size
) -> None:
    """An interval as far as the measure's range and the panel go; an arrow where it goes on."""
    interval, (bottom, top) = cell.interval(metric.key), axes.get_ylim()
    ends = np.array([interval.low, interval.high])
    shown = np.clip(ends, max(metric.lowest, bottom), min(metric.highest, top))
    axes.vlines(x, *shown, linewidth=scale.line * 0.9, gid=f"{line} interval", **style)
    for end, stop, arrow in zip(ends, shown, (CARETDOWN, CARETUP), strict=True):
        if end != stop and not np.isnan(end):
            axes.plot(x, stop, marker=arrow, ms=0.8 * scale.marker, mew=0, gid=f"{line} arrow", **style)
