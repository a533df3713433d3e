"""What several runs of the page share: rows of a teacher, a calibration, the glossary."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dmdlab.pages.explorer.packing import greys, packed, rounded
from dmdlab.pairing import METRICS, Calibration
from dmdlab.pairing.calibration import FINE_ANGLES, monotone_curve, remap_angle
from dmdlab.plots.components import FIT, SHOWN, correlations, noise_directions, principal_frame
from dmdlab.plots.panels import has_plane
from dmdlab.plots.pictures import chosen_rows
from dmdlab.records.record import Record

POINTS = ("noise", "teacher", "one_step", "reference", "data")
"""Arrays of a teacher that travel, in the order of the payload."""

PICTURES = 8
"""Rows of pictures."""

LARGEST_SIDE = 32
"""Pixels along a picture's side; larger ones are averaged down."""

EVERY = 10
"""Of the fine angles of a calibration's curve one in so many travels: half a degree."""


class View:
    """How the points of a teacher's runs are seen in a plane: themselves for d = 2, else two coordinates.

    Attributes:
        words: what the coordinates are, and how well the noise's tell the outputs'; None for the points themselves.
    """

    def __init__(self, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        teacher, d = arrays["teacher"], arrays["teacher"].shape[1]
        self.words: dict[str, Any] | None = None
        self.frame = self.directions = np.eye(d, 2)
        self.centre = np.zeros(d)
        if d == 2:
            return
        if has_plane(record.row):
            self.words = {"words": "the first two coordinates, which hold the law", "correlations": [1.0, 1.0]}
            return
        self.frame, self.centre = principal_frame(teacher)
        seen = (teacher - self.centre) @ self.frame
        self.directions = noise_directions(arrays["noise"][FIT], seen[FIT])
        told = correlations(arrays["noise"][SHOWN] @ self.directions, seen[SHOWN])
        words = "two leading principal components of the teacher's outputs; noise in the two directions that tell them"
        self.words = {"words": words, "correlations": rounded(told)}

    def of(self, name: str, points: np.ndarray) -> dict[str, Any]:
        """An array (n, d) by its name in the record, packed (n, 2): exactly where the page computes with it."""
        points = points.astype(np.float64)
        seen = points @ self.directions if name == "noise" else (points - self.centre) @ self.frame
        return packed(seen, "f32" if self.words is None else "i16")


def pairs_section(record: Record, arrays: Mapping[str, np.ndarray], view: View, rows: int) -> dict[str, Any]:
    """The rows that all students of a teacher share."""
    n = min(rows, len(arrays["noise"]))
    found = {"n": n, "rows": len(arrays["noise"]), "dim": arrays["teacher"].shape[1], "view": view.words}
    found |= {name: view.of(name, arrays[name][:n]) for name in POINTS}
    shape = record.summary.get("law_facts", {}).get("shape", [])
    found["pictures"] = None
    if len(shape) == 3:
        at, limits = chosen_rows(record, len(arrays["teacher"]))[:PICTURES], limits_of(arrays)
        found["pictures"] = {"rows": at.tolist(), "shape": small(arrays["data"][:1], shape)[1], "range": list(limits)}
        found["pictures"] |= {key: greys(small(arrays[key][at], shape)[0], limits) for key in ("one_step", "teacher")}
    return found


def limits_of(arrays: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Black and white: the range of the data."""
    return float(arrays["data"].min()), float(arrays["data"].max())


def small(pictures: np.ndarray, shape: list[int]) -> tuple[np.ndarray, list[int]]:
    """Pictures (m, d) averaged down to `LARGEST_SIDE` at most, and their shape."""
    channels, height, width = shape
    factor = math.ceil(max(height, width) / LARGEST_SIDE)
    h, w = height // factor, width // factor
    whole = pictures.reshape(-1, channels, height, width)[:, :, : h * factor, : w * factor]
    averaged = whole.reshape(-1, channels, h, factor, w, factor).mean(axis=(3, 5))
    return averaged.reshape(len(pictures), -1), [channels, h, w]


def calibration_section(calibration: Calibration) -> dict[str, Any]:
    """What every measure reads under planted turns, and the curve that angles are read from; `fine` is None where it
    cannot tell 0 from 90 degrees."""
    keys = [key for key in METRICS if key in calibration.planted]
    curve, _ = monotone_curve(calibration)
    fine = {"angles": FINE_ANGLES[::EVERY], "pair_cosine": curve[::EVERY]}
    with np.errstate(invalid="ignore"):
        chance = {key: float(np.mean(value)) for key, value in calibration.null.items() if key in METRICS}
    return {
        "n": calibration.n,
        "d": calibration.d,
        "angles": rounded(calibration.angles_degrees),
        "curves": rounded({key: calibration.curve(key) for key in keys}),
        "chance": rounded(chance),
        "law_null": rounded({key: list(limits) for key, limits in calibration.law_null().items()}),
        "fine": rounded(fine, 9) if remap_angle(calibration, 1.0).resolved else None,
    }


def glossary() -> dict[str, Any]:
    """Every measure: what it is, how it reads, its range."""
    parts = ("label", "definition", "reads_as", "chance", "best", "title", "scale", "lowest")
    return {
        key: {part: getattr(metric, part) for part in parts}
        | {"highest": metric.highest if math.isfinite(metric.highest) else None}
        for key, metric in METRICS.items()
    }
