"""Pairing panels: where each noise vector is sent, by teacher and student (the paper's figures 2 and 7).

Four scatter panels a row: the noise z, the teacher's Phi_K(z), its one-step Phi_1(z), and the student's G(z). A point
has the colour of its noise in all of them: hue is the noise's direction in the plane, lightness its distance from the
centre. If the student copies, the second and fourth panel agree in colour; if it remaps, only in shape.
Where no plane holds the law, see `components`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.config import InputError
from dmdlab.plots import captions
from dmdlab.plots.blocks import first_cells, name_block, name_width
from dmdlab.plots.clouds import OUTSIDE, Clouds
from dmdlab.plots.components import IN_WORDS
from dmdlab.plots.style import PAPER, VERMILLION, Drawing, Size, new_figure
from dmdlab.records.cells import Cell, finished
from dmdlab.records.record import Record

PLANAR = ("ring", "chessboard", "moons", "spiral")
"""Laws whose first two coordinates are their plane when `law.embedding` is 'axes'."""

SHOWN = ("noise", "teacher", "one_step", "student")

MOST, MOST_SLIDE = 4, 2
"""Rows of panels."""


def panels_figure(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """One row for each setting among `records` (its lowest seed); the first 4 of them, 2 on a slide.

    Raises `InputError`: no finished run.
    """
    cells, rest = first_cells(records, MOST_SLIDE if scale.slide else MOST)
    return _figure(cells, [has_plane(cell.records[0].row) for cell in cells], rest, scale)


def components_figure(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """The same in two principal components of the teacher's outputs, for runs in more than two dimensions.

    Raises `InputError`: no finished run, or none beyond two dimensions.
    """
    beyond = [record for record in finished(records) if record.row["law.dim"] > 2]
    if not beyond:
        raise InputError("two principal components: these runs have two dimensions or one; `dmdlab plot panels DIR`")
    cells, rest = first_cells(beyond, MOST_SLIDE if scale.slide else MOST)
    return _figure(cells, [False] * len(cells), rest, scale)


def _figure(cells: Sequence[Cell], planes: Sequence[bool], rest: str, scale: Size) -> Drawing:
    """A row for each cell, in its law's plane or in two principal components; `rest`: what is not shown."""
    first = [cell.records[0] for cell in cells]
    steps = captions.column_in_words(first, "teacher.steps")
    titles = "noise $z$", rf"teacher $\Phi_{{{steps}}}(z)$", r"one step $\Phi_1(z)$", "student $G(z)$"
    side = (scale.double - name_width(cells, scale)) / 4 - 0.6 * scale.font / 72
    height = min(scale.height, len(first) * (side + 4.1 * scale.font / 72) + 2.4 * scale.font / 72)
    outside: dict[str, np.ndarray] = {}
    with new_figure(scale.double, height, scale) as figure:
        grid = figure.subplots(len(first), 4, squeeze=False)
        for place, (row, cell, plane) in enumerate(zip(grid, cells, planes, strict=True), 1):
            clouds = _draw_row(row, cell, plane, scale)
            outside |= {f"row {place}, {name.replace('_', ' ')}": clouds.outside(name) for name in SHOWN}
            name_block(row[0], cell, side, scale)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title)
    said = ("" if all(planes) else IN_WORDS) + captions.outside(outside, OUTSIDE)
    return Drawing(figure, _caption(first, said, rest))


def _draw_row(row: Sequence[Axes], cell: Cell, plane: bool, scale: Size) -> Clouds:
    """The four panels of one cell's first run, teacher outputs and student on one scale; what they show."""
    record = cell.records[0]
    arrays, values = record.arrays(), record.row
    clouds = Clouds.of(arrays, plane)
    for axes, name in zip(row, SHOWN, strict=True):
        clouds.draw(axes, name, scale)
    beyond = "first two coordinates" if arrays["teacher"].shape[1] > 2 else ""
    row[0].set_xlabel(beyond if clouds.tells is None else _told(clouds.tells))
    if not plane:
        row[1].set_xlabel("two principal components")
    if not record.teacher_ok:
        row[1].set_xlabel("failed its own check", color=VERMILLION)
    row[2].set_xlabel(f"magnified {clouds.zoom:.0f} times" if clouds.zoom > 1 else "")
    row[3].set_xlabel(_reading(values), fontsize=0.9 * scale.font)
    return clouds


def _told(r: np.ndarray) -> str:
    """Under noise in the directions that tell the components."""
    return f"two directions that tell\nthe components, $r = {r[0]:.2f}$, ${r[1]:.2f}$"


def _reading(row: Mapping[str, Any]) -> str:
    """The measures that belong under the student's panel."""
    keys = ("delta_e", "delta_e_ceiling", "pair_cosine", "fidelity")
    delta, ceiling, cosine, fidelity = (panel_number(row.get(key)) for key in keys)
    return rf"$\Delta_E$ {delta}, ceiling {ceiling}" + f"\npair cosine {cosine}, fidelity {fidelity}"


def panel_number(value: float | None) -> str:
    """A measure under a panel, in two digits or whole."""
    return "unresolved" if value is None else f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def has_plane(row: Mapping[str, Any]) -> bool:
    """Whether the first two coordinates hold the law: d = 2, and planar laws in the axes."""
    return row["law.dim"] <= 2 or (row["law.name"] in PLANAR and row.get("law.embedding", "axes") == "axes")


def _caption(records: Sequence[Record], components: str, rest: str) -> str:
    return (
        "Pairing panels: noise, teacher, one-step teacher and student, each point in the colour of its noise (hue: "
        "direction, lightness: distance from the centre). Teacher and student agree in colour where the student "
        f"copies, and only in shape where it remaps. {components}"
        f"{rest}Lowest seed of each row: {captions.column_in_words(records, 'seed')}. "
        f"{captions.flagged(records)}{captions.setup(records)} {captions.provenance(records)}"
    )
