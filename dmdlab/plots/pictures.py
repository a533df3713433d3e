"""Rows of pictures: what the same noise becomes in one step, by the teacher's flow, and by the student.

Columns are rows of the sample, drawn by the run's seed and never picked; the caption names them. All pictures have one
scale of grey or colour, the range of the data.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.config import InputError
from dmdlab.plots import captions
from dmdlab.plots.blocks import first_cells, name_block, name_width
from dmdlab.plots.style import GREY, PAPER, VERMILLION, Drawing, Size, new_figure
from dmdlab.records.cells import Cell, finished
from dmdlab.records.record import Record

COLUMNS = 12
"""Pictures side by side (ours)."""

MOST, MOST_SLIDE = 4, 2
"""Blocks of pictures, one for each setting."""

SHOWN = ("one_step", "teacher", "student")


def pictures_figure(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """A block of three rows (one step, teacher, student) for each setting among `records` (its lowest seed); the first
    4 of them, 2 on a slide.

    Raises `InputError`: no finished run, or none of a law of pictures.
    """
    done = finished(records)
    pictures = [record for record in done if picture_shape(record.row) is not None]
    if not pictures:
        laws = ", ".join(captions.values(done, "law.name"))
        raise InputError(
            f"nothing to draw: no picture in outputs of {laws}; `dmdlab laws` names the laws of pictures (law.side)"
        )
    cells, rest = first_cells(pictures, MOST_SLIDE if scale.slide else MOST)
    first = [cell.records[0] for cell in cells]
    arrays = [record.arrays() for record in first]
    rows = [chosen_rows(record, len(a["teacher"])) for record, a in zip(first, arrays, strict=True)]
    low, high = (float(of([of(a["data"]) for a in arrays])) for of in (np.min, np.max))
    block = len(SHOWN) * (scale.double - name_width(cells, scale) - 5.5 * scale.font / 72) / COLUMNS  # inches high
    height = min(scale.height, len(cells) * (block + 1.2 * scale.font / 72) + 1.2 * scale.font / 72)
    with new_figure(scale.double, height, scale) as figure:
        grid = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
        for axes, cell, own, at in zip(grid, cells, arrays, rows, strict=True):
            _draw(axes, cell, {key: own[key][at] for key in SHOWN}, (low, high), scale)
            name_block(axes, cell, block, scale)
        note = f"range of the data: {low:.3g} (black) to {high:.3g} (white)"
        figure.supxlabel(note, x=0.995, ha="right", fontsize=scale.small, color=GREY)
    return Drawing(figure, _caption(first, rows, (low, high), rest))


def picture_shape(row: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(channels, side, side) of a run's outputs, None for a law without pictures."""
    side, channels = row.get("law.side"), row.get("law.channels") or 1  # digits are grey, and have no such setting
    return (int(channels), int(side), int(side)) if side else None


def chosen_rows(record: Record, n: int, columns: int = COLUMNS) -> np.ndarray:
    """Which of a run's n rows are shown, (columns,), ascending: drawn by its seed, so that no one picks them."""
    drawn = np.random.default_rng(int(record.config["seed"])).choice(n, size=min(columns, n), replace=False)
    return np.sort(drawn)


def mosaic(outputs: Sequence[np.ndarray], shape: tuple[int, int, int], limits: tuple[float, float]) -> np.ndarray:
    """Rows of pictures as one, (height, width, 3) in 0..1: `outputs` (columns, d) each from left to right, `limits`
    black and white, with white gaps of `gap` pixels."""
    channels, side, between = *shape[:2], gap(shape[1])
    low, high = limits
    pitch = side + between
    whole = np.ones((len(outputs) * pitch - between, len(outputs[0]) * pitch - between, 3))
    for i, row in enumerate(outputs):
        for j, flat in enumerate(row):
            picture = np.moveaxis(flat.reshape(channels, side, side), 0, -1)  # grey is the same in all three colours
            whole[i * pitch : i * pitch + side, j * pitch : j * pitch + side] = (picture - low) / ((high - low) or 1.0)
    return np.clip(whole, 0.0, 1.0)


def gap(side: int) -> int:
    """Pixels between pictures of this side."""
    return max(1, side // 12)


def _draw(axes: Axes, cell: Cell, outputs: Mapping[str, np.ndarray], limits: tuple[float, float], scale: Size) -> None:
    """One block, with the names of its rows."""
    record = cell.records[0]
    shape = picture_shape(record.row)
    assert shape is not None
    image = mosaic([outputs[key] for key in SHOWN], shape, limits)
    axes.imshow(image, interpolation="nearest", gid="pictures")
    pitch = shape[1] + gap(shape[1])
    steps = captions.column_in_words([record], "teacher.steps")
    names = r"one step $\Phi_1$", rf"teacher $\Phi_{{{steps}}}$", "student $G$"
    axes.set_yticks([i * pitch + (shape[1] - 1) / 2 for i in range(3)], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if not record.teacher_ok:
        axes.get_yticklabels()[1].set_color(VERMILLION)


def _caption(records: Sequence[Record], rows: Sequence[np.ndarray], limits: tuple[float, float], rest: str) -> str:
    """What is shown, how it was chosen, and what black and white are."""
    drawn = {(int(r.config["seed"]), tuple(at.tolist())): r for r, at in zip(records, rows, strict=True)}
    chosen = "; ".join(f"seed {seed}: rows {', '.join(map(str, at))}" for seed, at in drawn)
    return (
        f"Pictures of law {', '.join(captions.values(records, 'law.name'))}: the teacher's one step, its flow and "
        "the student at the same noise in each column. Columns are rows of the sample, chosen at random by the "
        f"run's seed and not picked ({chosen}, counted from 0). One scale for all: the range of the data, "
        f"{limits[0]:.3g} (black) to {limits[1]:.3g} (white); what lies outside is cut off. "
        f"{rest}Lowest seed of each block. {captions.flagged(records)}{captions.setup(records)} "
        f"{captions.provenance(records)}"
    )
