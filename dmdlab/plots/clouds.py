"""Clouds of points in the colours of their noise: noise, and what becomes of it, in one view.

The view is the law's plane where it has one, else two principal components of the teacher's outputs (`components`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.plots.components import FIT, SHOWN, correlations, noise_directions, principal_frame
from dmdlab.plots.style import Size

WIDEST = 3.0
"""How many times wider than the teacher's outputs need a student's may make the panels: theirs stay legible (ours)."""

OUTSIDE = (
    "which hold all but a thousandth of the coordinates of teacher and students on one scale, at most "
    f"{WIDEST:g} times as wide as the teacher's own"
)
"""Why, for `captions.outside`."""


@dataclass(frozen=True, eq=False)
class Clouds:
    """What the panels of one row show.

    Attributes:
        noise: (m, 2) in the plane, or in the two directions that predict the components.
        points: by name, (m, 2) each; the one-step outputs about their own mean.
        colours: (m, 3), of each row's noise.
        reach: half the width of a panel of outputs.
        zoom: how many times the one-step outputs are magnified; 1 where they are about as wide as the others.
        tells: (2,) how well the noise's directions tell the components; None in a plane.
    """

    noise: np.ndarray
    points: dict[str, np.ndarray]
    colours: np.ndarray
    reach: float
    zoom: float
    tells: np.ndarray | None

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray], plane: bool, names: tuple[str, ...] = ("student",)) -> "Clouds":
        """The view of a run's arrays, (n, d) each: noise, teacher, one_step and those of these names."""
        d = arrays["teacher"].shape[1]
        frame, centre = (np.eye(d, 2), np.zeros(d)) if plane else principal_frame(arrays["teacher"])
        flat = {key: (arrays[key] - centre) @ frame for key in ("teacher", "one_step", *names)}
        directions = frame if plane else noise_directions(arrays["noise"][FIT], flat["teacher"][FIT])
        shown = slice(None) if plane else SHOWN
        noise, flat = (arrays["noise"] @ directions)[shown], {key: points[shown] for key, points in flat.items()}
        flat["one_step"] = flat["one_step"] - flat["one_step"].mean(axis=0)  # its place is lost in the magnification
        wide = {key: 1.08 * float(np.quantile(np.abs(points), 0.999)) for key, points in flat.items()}
        reach = min(max(wide[key] for key in ("teacher", *names)), WIDEST * wide["teacher"])
        small = wide["one_step"]
        zoom = reach / small if 0 < small < 0.5 * reach else 1.0
        tells = None if plane else correlations(noise, flat["teacher"])
        return Clouds(noise, flat, noise_colours(noise), reach, zoom, tells)

    def draw(self, axes: Axes, name: str, scale: Size) -> None:
        """One cloud into a square panel without ticks: 'noise', or one of `points`."""
        points, limit = self._in_panel(name)
        within = ~self.outside(name)  # those are whole at the frame, too; of the others there is nothing
        dots: dict[str, Any] = {"s": (0.55 * scale.marker) ** 2, "linewidths": 0, "rasterized": True, "clip_on": False}
        axes.scatter(points[within, 0], points[within, 1], c=self.colours[within], gid="points", **dots)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_visible(True)

    def outside(self, name: str) -> np.ndarray:
        """Whether each of its points lies outside of its panel, (m,)."""
        points, limit = self._in_panel(name)
        return (np.abs(points) > limit).any(axis=1)

    def _in_panel(self, name: str) -> tuple[np.ndarray, float]:
        """The points of a panel, (m, 2), and half its width."""
        if name == "noise":
            return self.noise, 1.08 * float(np.abs(self.noise).max())
        return self.points[name], self.reach / self.zoom if name == "one_step" else self.reach


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
