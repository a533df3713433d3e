"""Figures 2, 7, 1 and 9 in part: clouds of noise, teacher, one step and students in the colours of their noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.paper.figures.chosen import Runs, blank
from dmdlab.plots.clouds import Clouds
from dmdlab.plots.panels import has_plane, panel_number
from dmdlab.plots.style import GREY, PAPER, VERMILLION

ROTATED = "rotated student"

NAMES = {"noise": "noise", "teacher": "teacher", "one_step": "one step", "student": "student", "rotated": ROTATED}
"""Clouds, and the words of their panels' titles."""

CLOUDS = ("one_step", "teacher", "student", "rotated")
"""Those of figures 1 and 9, which leave the noise out."""

SYMBOLS = {"noise": "$z$", "one_step": r"$\Phi_1(z)$", "student": "$G(z)$", "rotated": "$G(z)$"}


def draw_clouds(
    row: Sequence[Axes], names: Sequence[str], runs: Runs, law: str, letters: str, prefix: str = ""
) -> dict[str, np.ndarray]:
    """A panel for each of `names` in a row: those of the first teacher start, and the student of the rotated start of
    the same seed; prefix: of the titles. A law without a finished teacher start keeps its place. Returns by panel
    whether each of its points lies outside."""
    age = runs.oldest(law)
    if (record := runs.first("teacher", law, age)) is None:
        for axes, name, letter in zip(row, names, letters, strict=True):
            blank(axes, f"({letter}) {prefix}{NAMES[name]}", "no finished run")
        return {}
    control = runs.control(record, law, age)
    arrays, shown = record.arrays(), ("student", *(["rotated"] if control else []))
    if control:
        arrays |= {"rotated": control.student()}
    clouds = Clouds.of(arrays, has_plane(record.row), shown)
    symbols = SYMBOLS | {"teacher": rf"$\Phi_{{{record.config['teacher.steps']}}}(z)$"}
    outside: dict[str, np.ndarray] = {}
    for axes, name, letter in zip(row, names, letters, strict=True):
        title = f"({letter}) {prefix}{NAMES[name]}"
        if name == "rotated" and not control:
            blank(axes, title, "no finished run")
            continue
        clouds.draw(axes, name, PAPER)
        outside[title] = clouds.outside(name)
        axes.set_title(title, loc="left")
        about = f"{symbols[name]}, magnified {clouds.zoom:.0f} times" if name == "one_step" and clouds.zoom > 1 else ""
        axes.set_xlabel(about or symbols[name], color=GREY)
        if name == "teacher" and not record.teacher_ok:
            axes.set_xlabel("failed its own check", color=VERMILLION)
        reads = {"student": record, "rotated": control}.get(name)
        if reads:
            axes.set_xlabel(_reading(reads.row), color=GREY)
    return outside


def _reading(row: dict[str, Any]) -> str:
    """Of one student: what delta_e reads, its ceiling, and the angle."""
    delta, ceiling, angle = (row.get(key) for key in ("delta_e", "delta_e_ceiling", "remap_angle"))
    text = rf"$\Delta_E$ {panel_number(delta)} (ceiling {panel_number(ceiling)})"
    return text if angle is None else f"{text}, {angle:.0f}°"


COLOURED = (
    "Each point has the colour of its noise (hue: direction, lightness: distance from the centre): where a student "
    "copies, it agrees with the teacher in colour, where it remaps, only in shape. Under a student: its delta_e, the "
    "delta_e of one without memory (ceiling), and the calibrated angle, 90 degrees for 90 and more. "
)
