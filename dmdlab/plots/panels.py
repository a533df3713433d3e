"""Pairing panels: where each noise vector is sent, by teacher and student (the paper's figures 2 and 7).

Four scatter panels a row: the noise z, the teacher's Phi_K(z), its one-step Phi_1(z), and the student's G(z). A point
has the colour of its noise in all of them: hue is the noise's direction in the plane, lightness its distance from the
centre. If the student copies, the second and fourth panel agree in colour; if it remaps, only in shape.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.plots import captions
from dmdlab.plots.style import INIT_STYLES, PAPER, VERMILLION, Drawing, Size, new_figure
from dmdlab.records.cells import cells_of_starts
from dmdlab.records.record import Record

PLANAR = ("ring", "chessboard", "moons", "spiral")
"""Laws whose first two coordinates are their plane when `law.embedding` is 'axes'."""


def panels_figure(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """One row for each law, dimension and init among `records` (its lowest seed); the first 4 of them, 2 on a slide.

    Raises `InputError`: no finished run, or runs of one row that differ in more than the seed.
    """
    first = [cell.records[0] for cell in cells_of_starts(records)[: 2 if scale.slide else 4]]
    steps = captions.shared(first, "teacher.steps")
    titles = "noise $z$", rf"teacher $\Phi_{{{steps}}}(z)$", r"one step $\Phi_1(z)$", "student $G(z)$"
    side = scale.double / 4
    height = min(scale.height, len(first) * (side + 1.4 * scale.font / 72) + 2.4 * scale.font / 72)
    with new_figure(scale.double, height, scale) as figure:
        grid = figure.subplots(len(first), 4, squeeze=False)
        for row, record in zip(grid, first, strict=True):
            _draw_row(row, record, scale)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title)
    return Drawing(figure, _caption(first))


def _draw_row(row: Sequence[Axes], record: Record, scale: Size) -> None:
    """The four panels of one run, teacher outputs and student on one scale."""
    arrays = record.arrays()
    frame, centre, name = view(record.row, arrays["teacher"])
    flat = {key: (arrays[key] - centre) @ frame for key in ("teacher", "one_step", "student")}
    noise = arrays["noise"] @ frame
    colours = noise_colours(noise)
    flat["one_step"] = flat["one_step"] - flat["one_step"].mean(axis=0)  # its place is lost in the magnification anyway
    reach, small = (1.08 * float(np.quantile(np.abs(flat[key]), 0.999)) for key in ("teacher", "one_step"))
    zoom = reach / small if 0 < small < 0.5 * reach else 1.0
    clouds = noise, flat["teacher"], flat["one_step"], flat["student"]
    limits = 1.08 * float(np.abs(noise).max()), reach, reach / zoom, reach
    dots: dict[str, Any] = {"s": (0.55 * scale.marker) ** 2, "linewidths": 0, "rasterized": True}
    for axes, points, limit in zip(row, clouds, limits, strict=True):
        axes.scatter(points[:, 0], points[:, 1], c=colours, gid="points", **dots)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
    values = record.row
    row[0].set_ylabel(f"{values['law.name']}, $d = {values['law.dim']}$\n{INIT_STYLES[values['student.init']].label}")
    row[0].set_xlabel(name)
    if not record.teacher_ok:
        row[1].set_xlabel("failed its own check", color=VERMILLION)
    row[2].set_xlabel(f"magnified {zoom:.0f} times" if zoom > 1 else "")
    row[3].set_xlabel(_reading(values), fontsize=0.9 * scale.font)


def _reading(row: Mapping[str, Any]) -> str:
    """The measures that belong under the student's panel."""

    def text(key: str) -> str:
        value = row.get(key)
        return "unresolved" if value is None else f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"

    return (
        rf"$\Delta_E$ {text('delta_e')}, ceiling {text('delta_e_ceiling')}" + "\n"
        f"pair cosine {text('pair_cosine')}, fidelity {text('fidelity')}"
    )


def view(row: Mapping[str, Any], teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """The plane to look at: two directions (d, 2), the centre (d,), and the plane's name.

    The first two coordinates where they hold the law (d = 2, and planar laws in the axes), else the first two principal
    components of the teacher's outputs (n, d).
    """
    teacher, d = teacher.astype(np.float64), teacher.shape[1]
    if d <= 2 or (row["law.name"] in PLANAR and row.get("law.embedding", "axes") == "axes"):
        return np.eye(d, 2), np.zeros(d), "first two coordinates" if d > 2 else ""
    centre = teacher.mean(axis=0)
    _, _, directions = np.linalg.svd(teacher - centre, full_matrices=False)
    return directions[:2].T, centre, "two principal components"


def noise_colours(noise: np.ndarray) -> np.ndarray:
    """A colour for each point of the plane (n, 2): hue its direction, lightness its distance; sRGB (n, 3).

    Hue turns at constant chroma in CIELAB, so equal angles look equally different and no direction stands out.
    """
    radius = np.linalg.norm(noise, axis=1) / np.sqrt(np.square(noise).mean() + 1e-300)
    angle = np.arctan2(noise[:, 1], noise[:, 0])
    lightness = 38 + 40 * (1 - np.exp(-0.5 * radius**2))
    return _srgb(lightness, 42 * np.cos(angle), 42 * np.sin(angle))


def _srgb(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """CIELAB (D65) to sRGB, clipped to what a screen can show (IEC 61966-2-1)."""
    y = (lightness + 16) / 116
    cube = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(cube > 6 / 29, cube**3, 3 * (6 / 29) ** 2 * (cube - 4 / 29)) * [0.95047, 1.0, 1.08883]
    to_rgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    linear = np.clip(xyz @ np.array(to_rgb).T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _caption(records: Sequence[Record]) -> str:
    return (
        "Pairing panels: noise, teacher, one-step teacher and student, each point in the colour of its noise (hue: "
        "direction, lightness: distance from the centre). Teacher and student agree in colour where the student "
        f"copies, and only in shape where it remaps. Lowest seed of each row: {captions.shared(records, 'seed')}. "
        f"{captions.flagged(records)}{captions.setting(records)} {captions.provenance(records)}"
    )
