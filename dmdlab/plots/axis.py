"""Measures along any setting of a sweep: a line for each value of a second setting, a row of panels a third.

By default the four of the lab's main figure: (a) delta_e with its ceiling, (b) copy_index, (c) pair_cosine, (d)
pair_auc. Four, because each alone can be read as copying where there is none: a collapsed student has delta_e = 0, the
range of delta_e shrinks with d, and copy_index and pair_auc saturate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dmdlab.config import InputError, did_you_mean
from dmdlab.pairing import METRICS, Metric
from dmdlab.plots import captions
from dmdlab.plots.axes import ASIDE, Names, fit_label, place_names, wrapped_names
from dmdlab.plots.axis_numbers import numbers
from dmdlab.plots.axis_panels import Shown, draw_row
from dmdlab.plots.axis_words import caption, legend_handles, note
from dmdlab.plots.calibration import once
from dmdlab.plots.names import clear_names
from dmdlab.plots.style import GREY, LETTER, PAPER, Drawing, Size, in_figure, line_styles, new_figure
from dmdlab.records.cells import cells_along, finished, records_of
from dmdlab.records.layout import distinct, layout_of, numeric
from dmdlab.records.record import Record

MEASURES = ("delta_e", "copy_index", "pair_cosine", "pair_auc")

ACROSS, ACROSS_SLIDE = 4, 3
"""Panels that stay legible side by side, at most."""

PANEL = 15.0
"""The width that a panel takes at least, in font sizes: narrower figures have fewer side by side."""

BESIDE = 0.6
"""Inches left of a panel: its numbers and the name of its measure."""

HIGH, HIGHEST = 1.0, 2.2
"""Inches of the names below a panel of settings that change together: from the first on fewer panels stand side by
side, and there are no more than the second."""

LONG = 22
"""Letters of a row's name from which on it takes two lines."""


@dataclass(frozen=True)
class Choice:
    """What a figure along a setting shows, where it is not left to the runs: see `layout_of`.

    Attributes:
        x, by, rows: the settings along x, with a line for each value, and with a row of panels for each.
        measures: keys of `METRICS`, or other columns of the runs that hold numbers.
    """

    x: str | None = None
    by: str | None = None
    rows: str | None = None
    measures: tuple[str, ...] = MEASURES


def axis_figure(records: Sequence[Record], scale: Size = PAPER, choice: Choice = Choice()) -> Drawing:
    """Draw `records` along a setting that differs between them.

    Marks: mean over seeds with its 95 % interval (`Cell.interval`), ended by an arrow where it leaves the measure's
    range or the panel; dots beside them: the seeds. Hollow: another law, or unknown. Crossed out: a teacher that failed
    its own check. Failed runs and unresolved values are not drawn, and counted in a note.

    Raises `InputError`: no finished run, no measure, an unknown one or an unknown setting, more rows, lines or panels
    than fit, runs that differ in more than these settings and the seed, or sample sizes that differ within a row
    (delta_e and its ceiling depend on n).
    """
    shown = _shown(records, scale, choice)
    failed = len({record.row["id"] for record in records if not record.done})
    rows, found = shown.rows(), note(shown, failed)
    lines, columns = _grid(len(rows), len(shown.metrics), scale, str(shown.layout.rows), list(rows))
    names = Names([], 0.0, 0.0)
    if shown.together or not shown.joined:
        columns, names = _room(shown, columns, len(rows))
        lines = len(rows) * -(-len(shown.metrics) // columns)
    height = scale.height if scale.slide else min(scale.height, lines * scale.row + 0.55 + names.height)
    width = _width(columns, shown)
    with new_figure(width, height, scale) as figure:
        grid = figure.subplots(lines, columns, sharex=True, squeeze=False)
        flat, wide = list(grid.flat), len(shown.metrics)
        for axes in flat[wide:] if len(rows) == 1 else ():
            axes.set_axis_off()
        for place, (value, cells) in enumerate(rows.items()):
            panels = flat[place * wide : (place + 1) * wide]
            draw_row(panels, cells, shown)
            if shown.layout.rows:
                _name_row(panels[0], in_figure(shown.layout.rows, value), 0.65 * height / lines, scale)
            for axes in panels if (scale.slide and lines > 2) or shown.together else ():
                fit_label(axes, 0.65 * (height - names.height) / lines, scale)
        for axes, metric, letter in zip(flat, shown.metrics, "abcdefghijkl", strict=False):
            above = {"pad": scale.small} if scale.slide and lines > 2 else {}  # the name of the guide at the top
            axes.set_title(f"({letter}) {metric.title}".strip(), loc="left", **above)
        for axes in flat[: wide * len(rows)][-columns:]:  # the lowest of each column
            axes.tick_params(labelbottom=True)
            if names.texts:
                axes.set_xticklabels(names.texts, rotation=names.rotation, linespacing=1.0)
            if not shown.together:
                axes.set_xlabel("dimension $d$" if shown.layout.x == "law.dim" else shown.layout.x)
        _add_legend(figure, shown, scale)
        if found:
            small = scale.small
            fits = len(found) * LETTER * small < 72 * width
            shortened = found if fits else note(shown, failed, places=False)
            figure.supxlabel(shortened, x=0.995, ha="right", fontsize=small, color=GREY)
    clear_names(figure)
    return Drawing(figure, caption(shown, found), numbers(shown))


def _shown(records: Sequence[Record], scale: Size, choice: Choice) -> Shown:
    """What is drawn. Raises `InputError` as `axis_figure`, but for what does not fit."""
    done = finished(records)
    if not choice.measures:
        raise InputError("--measures: names no measure; expected keys with commas between, as in pair_cosine,fidelity")
    metrics = [_metric(key, done) for key in choice.measures]
    layout = layout_of(done, choice.x, choice.by, choice.rows)
    cells = cells_along(done, layout.keys)
    styles = line_styles(layout.by, distinct(cell.value(layout.by) for cell in cells))
    values = distinct(cell.value(layout.x) for cell in cells)
    held = {str(held.row["calibration"]): held.found for held in once(records_of(cells))}
    shown = Shown(cells, layout, metrics, values, styles, held, scale)
    for row, own in shown.rows().items():
        sizes = captions.values(records_of(own), "measure.samples")
        if len(sizes) > 1 and "measure.samples" not in layout.keys:
            raise InputError(
                f"runs of {row} were measured on different sample sizes (n = {', '.join(sizes)}), and delta_e "
                "depends on n; choose one with measure.samples=N"
            )
    return shown


def _metric(key: str, records: Sequence[Record]) -> Metric:
    """The measure of this key, or a column of numbers as one. Raises `InputError` for neither."""
    if key in METRICS:
        return METRICS[key]
    columns = {name for record in records for name, value in record.row.items() if numeric([value])}
    if key in columns:
        return Metric(key, key, "", "", lowest=-math.inf)
    raise InputError(
        f"--measures {key}: no measure, and no column of numbers in these runs{did_you_mean(key, {*METRICS, *columns})}"
    )


def _grid(rows: int, measures: int, scale: Size, key: str, values: Sequence[object]) -> tuple[int, int]:
    """Lines and columns of panels. Raises `InputError` for more than fit."""
    place, most = ("slide", ACROSS_SLIDE) if scale.slide else ("paper", ACROSS)
    across = max(1, min(most, int(72 * scale.double / (PANEL * scale.font))))
    if rows > scale.rows:
        what = "laws" if key == "law.name" else f"values of {key}"
        raise InputError(
            f"{rows} {what} ({', '.join(map(str, values))}) do not fit into one {place} "
            f"figure, which holds {scale.rows}; choose one with {key}={'NAME' if key == 'law.name' else 'VALUE'}"
        )
    beside = ACROSS if across == most else across
    if rows > 1 and measures > beside:
        raise InputError(
            f"{measures} measures in {rows} rows do not fit into one figure, which holds {beside} side by side; "
            f"choose fewer with --measures, or one row with {key}=VALUE"
        )
    if rows > 1:
        return rows, measures
    columns = 2 if measures == 4 and across == 3 else min(measures, across)
    lines = -(-measures // columns)
    if lines > scale.rows:
        raise InputError(f"{measures} measures do not fit into one {place} figure, which holds {scale.rows * columns}")
    return lines, columns


def _width(columns: int, shown: Shown) -> float:
    """Of the figure, in inches, with so many panels side by side."""
    scale = shown.scale
    if columns > 2 or scale.slide or shown.together:
        return scale.double
    return scale.single if columns == 1 else max(scale.single, 0.75 * scale.double)


def _room(shown: Shown, columns: int, rows: int) -> tuple[int, Names]:
    """Panels side by side, and the names below them, where words or settings that change together stand along x: fewer
    than `columns` where names would be high. Raises `InputError` for more places than have legible names."""
    scale, pieces, count = shown.scale, place_names(shown.layout.x, shown.values), len(shown.metrics)
    free = 2 * ASIDE if shown.together else 2 * shown.margin * max(1, len(pieces) - 1)
    high, highest = (inches * scale.font / PAPER.font for inches in (HIGH, HIGHEST))
    for wide in sorted({columns, min(2, columns), 1}, reverse=True):
        if wide < columns and (rows * -(-count // wide) > scale.rows or (rows > 1 and count % wide)):
            continue  # more lines of panels than fit, or two rows in one line
        room = (_width(wide, shown) / wide - BESIDE) / (len(pieces) - 1 + free)
        found = wide, wrapped_names(pieces, room, 0.9 * scale.font, high)
        tight = 72 * room < 0.9 * scale.font
        if found[1].height <= high and not tight:
            break
    if tight or found[1].height > highest:
        each, fewer = ("combination", "KEY=VALUE for one of these") if shown.together else ("value", "KEY=VALUE")
        raise InputError(
            f"{len(pieces)} places along x, one for each {each} of {shown.layout.x}, do not fit; choose fewer with "
            f"{fewer}, or another setting with --x"
        )
    return found


def _name_row(axes: Axes, name: str, height: float, scale: Size) -> None:
    """The row's name in bold, left of its first panel; it takes no more than so many inches."""
    long = name.replace(" = ", "\n= ") if len(name) > LONG else name
    size = min(scale.font, 72 * height / (LETTER * max(map(len, long.split("\n")))))
    beside: dict[str, Any] = {"xycoords": (axes.yaxis.label, "axes fraction"), "textcoords": "offset points"}
    bold: dict[str, Any] = {"fontweight": "bold", "fontsize": size, "rotation": 90, "ha": "right", "va": "center"}
    axes.annotate(long, (0, 0.5), (-0.5 * scale.font, 0), **beside, **bold)


def _add_legend(figure: Figure, shown: Shown, scale: Size) -> None:
    """The legend above the panels, in as many columns as fit side by side."""
    entries = legend_handles(shown)
    for columns in range(min(6, len(entries)), 0, -1):
        box = figure.legend(handles=entries, loc="outside upper center", ncols=columns, columnspacing=1.4)
        width = box.get_window_extent(figure.canvas.get_renderer()).width / figure.dpi  # type: ignore[attr-defined]
        if width <= figure.get_figwidth() - scale.font / 72 or columns == 1:
            return
        box.remove()
