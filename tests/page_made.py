"""A small payload of the explorer whose every number is known: a ring of Gaussians, linear students, numpy alone.

The schema is that of `dmdlab.pages.explorer`; the maps are so simple that tests can compute each answer anew.
"""

import base64
import math
from itertools import pairwise
from typing import Any

import numpy as np

from dmdlab.pairing import METRICS, Calibration, calibrate, measure
from dmdlab.pairing.measured import jsonable
from dmdlab.records.cells import short

Array = np.ndarray
SPREAD, WIDTH, STEPS = 1.5, 0.25, 12
ANGLES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 135.0, 180.0)
HOSTILE = "</script><img src=x onerror=alert(1)><b>bold</b> & =cmd|' /C calc'!A0"
KEPT = ("pair_cosine", "delta_e", "copy_index", "pair_auc", "recall_at_1", "identity_fraction")


def means(d: int) -> Array:
    """(8, d) on a circle in the first two coordinates."""
    angle = 2 * np.pi * np.arange(8) / 8
    found = np.zeros((8, d))
    found[:, 0], found[:, 1] = 2 * np.cos(angle), 2 * np.sin(angle)
    return found


def denoise(x: Array, sigma: float) -> Array:
    """E[x0 | x] of the ring, (n, d)."""
    centres, total = means(x.shape[1]), WIDTH**2 + sigma**2
    logits = -((x[:, None] - centres) ** 2).sum(-1) / (2 * total)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return weights @ centres * sigma**2 / total + x * WIDTH**2 / total


def karras(sigma_max: float, sigma_min: float = 0.002, rho: float = 7.0) -> Array:
    """(STEPS + 1,) levels, the last 0."""
    ramp = np.arange(STEPS) / (STEPS - 1)
    ends = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return np.append((ends[0] + ramp * (ends[1] - ends[0])) ** rho, 0.0)


def teacher(z: Array, sigma_max: float = 80.0) -> Array:
    """Phi by Heun's method."""
    x, grid = z, karras(sigma_max)
    for here, there in pairwise(grid):
        slope = (x - denoise(x, here)) / here
        ahead = x + (there - here) * slope
        if there > 0:
            slope = (slope + (ahead - denoise(ahead, there)) / there) / 2
        x = x + (there - here) * slope
    return x


def linear(x: Array, sigma: float, matrix: Array) -> Array:
    """The linear network under EDM's preconditioning."""
    total = sigma**2 + SPREAD**2
    return x * SPREAD**2 / total + sigma * SPREAD / math.sqrt(total) * (x / math.sqrt(total)) @ matrix


def packed(array: Array, kind: str = "f32") -> dict[str, Any]:
    """An array as the payload holds it."""
    raw = np.ascontiguousarray(array, {"f32": "<f4", "f16": "<f2", "u8": "u1"}[kind])
    return {"dtype": kind, "shape": list(array.shape), "data": base64.b64encode(raw.tobytes()).decode()}


def turn(degrees: float) -> Array:
    """(2, 2), for row vectors."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, s], [-s, c]])


def pair(text: str | None) -> list[float]:
    """The numbers of an attribute that joins them by commas."""
    return [float(part) for part in (text or "").split(",")]


def axis(key: str, label: str, values: list[Any]) -> dict[str, Any]:
    """A setting that varies, as the payload holds it."""
    return {"key": key, "label": label, "values": values, "words": ["none" if v is None else short(v) for v in values]}


class Made:
    """The payload and the arrays behind it."""

    def __init__(
        self, n: int = 60, dims: tuple[int, ...] = (2, 8, 32), hostile: bool = False, pictures: bool = False
    ) -> None:
        self.n = n
        self.noise: dict[int, Array] = {}
        self.teacher: dict[int, Array] = {}
        self.student: dict[str, Array] = {}
        self.weights: dict[str, list[Array]] = {}
        self.calibration: dict[int, Calibration] = {}
        runs, pairs = [], {}
        for d in dims:
            rng = np.random.default_rng(d)
            z, fresh = 80 * rng.normal(size=(n, d)), 80 * rng.normal(size=(2 * n, d))
            z = z.astype(np.float32).astype(float)
            self.noise[d], self.teacher[d] = z, teacher(z)
            self.calibration[d] = calibrate(
                teacher, z, fresh_noise=fresh, rng=rng, angles_degrees=ANGLES, shares=(1.0,), bases=1
            )
            reference = teacher(fresh[:n])
            pairs[f"ring-{d}"] = self._pairs(d, reference)
            for init in ("teacher", "rotated", "random") if d == 2 else ("teacher", "rotated"):
                for rate in (0.001, 0.00025) if d == 2 and init == "teacher" else (0.001,):
                    runs.append(self._run(d, init, rate, reference, HOSTILE if hostile else ""))
        self.payload = {
            "format": 1,
            "title": f"Explorer {HOSTILE}" if hostile else "Explorer",
            "made": {"version": "0", "commit": "0" * 40, "hardware": "none", "date": "2026-11-27", "command": "test"},
            "bytes": {"limit": 3000000, "payload": 0},
            "left_out": [f"Nothing {HOSTILE}" if hostile else "Nothing of note."],
            "glossary": {key: self._word(key) for key in METRICS},
            "axes": [
                axis("student.init", "start", ["teacher", "rotated", "random"]),
                axis("student.learning_rate", "learning rate", [0.001, 0.00025]),
                axis("law.dim", "dimension", list(dims)),
            ],
            "opening": runs[0]["id"],
            "laws": {f"ring-{d}": self._law(d) for d in dims},
            "pairs": pairs,
            "networks": {"linear": _network()},
            "calibrations": {f"ring-{d}": self._calibration(d) for d in dims},
            "runs": runs,
        }
        if pictures:
            self._pictures(runs[0], pairs[runs[0]["pairs"]])

    def weights_at(self, moment: int) -> Array:
        """(2, 2) of the first run's student."""
        return self.weights["teacher-2-0.001"][moment]

    def student_of(self, z: Array) -> Array:
        """What the first run's student makes of noise (n, 2) at its end."""
        return linear(z, 80.0, self.weights_at(-1))

    def _pairs(self, d: int, reference: Array) -> dict[str, Any]:
        view = None if d == 2 else {"words": "the first two coordinates", "correlations": None}
        arrays = {"noise": self.noise[d], "teacher": self.teacher[d], "one_step": denoise(self.noise[d], 80.0)}
        arrays |= {"reference": reference, "data": reference}
        flat = {key: packed(array[:, :2]) for key, array in arrays.items()}
        return {"n": self.n, "rows": self.n, "dim": d, "view": view, **flat, "teacher_network": None, "pictures": None}

    def _run(self, d: int, init: str, rate: float, reference: Array, name: str) -> dict[str, Any]:
        matrix = {"teacher": turn(20.0 if rate == 0.001 else 8.0), "rotated": turn(20.0), "random": turn(200.0)}[init]
        start = turn(90.0) if init == "rotated" else np.eye(2)
        z, run_id = self.noise[d], f"{init}-{d}-{rate:g}"
        moments = [(k, 0.05 + 0.95 * k / 4) for k in range(5)]
        if d == 2:
            weights = [(1.2 * share * matrix).astype(np.float16).astype(float) for _, share in moments]
            student, self.weights[run_id] = linear(z @ start, 80.0, weights[-1]), weights
        else:
            student = self.teacher[d] @ np.kron(np.eye(d // 2), start @ matrix)
        self.student[run_id] = student
        report = measure(self.teacher[d], student, reference=reference, calibration=self.calibration[d])
        values, chance = report.values(), {**dict.fromkeys(METRICS), **_chance(report.values(), self.n)}
        metrics = {key: self._metric(key, report.metrics[key], chance[key], d) for key in METRICS}
        apart = np.linalg.norm(student - self.teacher[d], axis=1)
        shuffled = np.linalg.norm(student - np.roll(self.teacher[d], 1, axis=0), axis=1)
        edges = np.linspace(0, max(apart.max(), shuffled.max()), 21)
        curve = {"iteration": [100 * k for k, _ in moments], "dm_loss": [0.1, 0.9, 0.5, 0.3, 0.2]}
        curve |= {"score_loss": [1.0] * 5, "variance_ratio": [share**2 for _, share in moments]}
        curve |= {"pair_cosine": [values["pair_cosine"]] * 5, "remap_angle": [jsonable(values["remap_angle"])] * 5}
        return {
            "id": run_id,
            "name": name or run_id,
            "label": f"{init} start, rate {rate:g}, d = {d}{' ' + name if name else ''}",
            "settings": {"law.dim": d, "student.init": init, "student.learning_rate": rate, "seed": 0},
            "law": f"ring-{d}",
            "pairs": f"ring-{d}",
            "calibration": f"ring-{d}",
            "noise": {"sigma_min": 0.002, "sigma_max": 80.0, "rho": 7.0},
            "flow": {"steps": STEPS, "solver": "heun"},
            "metrics": metrics,
            "law_agrees": report.law.agrees,
            "law_by_convention": bool(report.law.convention),
            "asks_for_pairs": False,
            "distances": {
                "edges": edges.tolist(),
                "paired": np.histogram(apart, edges)[0].tolist(),
                "shuffled": np.histogram(shuffled, edges)[0].tolist(),
            },
            "student": packed(student[:, :2]),
            "curve": curve,
            "network": "linear" if d == 2 else None,
            "why_no_network": None if d == 2 else "its networks are for more than two dimensions",
            "turn": {"kind": "matrix", "matrix": start.tolist()} if init == "rotated" and d == 2 else None,
            "level": 80.0,
            "moments": []
            if d > 2
            else [
                {
                    "iteration": 100 * k,
                    "student": packed(w.ravel(), "f16"),
                    "fake": None if k == 3 else packed(w.ravel(), "f16"),  # one that did not fit
                }
                for (k, _), w in zip(moments, weights, strict=True)
            ],
            "checks": {"fake": []},
            "pictures": None,
            "slice": None,
        }

    def _pictures(self, run: dict[str, Any], pairs: dict[str, Any]) -> None:
        """Three pictures a row of one channel and side 4, and a slice of five, as of an image law."""
        rng = np.random.default_rng(0)
        self.pictures = {key: rng.integers(0, 256, (3, 16)) for key in ("one_step", "teacher", "student")}
        scaled = {"scale": 2 / 255, "offset": [-1.0]}
        packed_rows = {key: packed(rows, "u8") | scaled for key, rows in self.pictures.items()}
        student = packed_rows.pop("student")
        pairs["pictures"] = {"rows": [0, 1, 2], "shape": [1, 4, 4], "range": [-1, 1], **packed_rows}
        run["pictures"] = {"student": student}
        run["slice"] = {"t": [0, 1], **{key: packed(self.pictures[key][:2], "u8") for key in ("teacher", "student")}}

    def _metric(self, key: str, measured: Any, chance: float | None, d: int) -> dict[str, Any]:
        copy = METRICS[key].best if key not in KEPT else self.calibration[d].at(key, 0.0)
        known = [x for x in (copy, chance) if x is not None and math.isfinite(x)]
        floor, ceiling = (min(known), max(known)) if len(known) == 2 else (None, None)
        told = {"copy": copy, "chance": chance, "floor": floor, "ceiling": ceiling}
        return jsonable({**measured.to_dict(), **told})

    def _word(self, key: str) -> dict[str, Any]:
        metric = METRICS[key]
        return {
            "label": metric.label,
            "definition": metric.definition,
            "reads_as": metric.reads_as,
            "chance": metric.chance,
            "best": metric.best,
            "title": metric.title,
            "lowest": jsonable(metric.lowest),
            "highest": jsonable(metric.highest),
            "scale": metric.scale,
        }

    def _law(self, d: int) -> dict[str, Any]:
        exact = {"kind": "gaussians", "log_weights": [0.0] * 8, "means": means(2).tolist()}
        exact["covariances"] = [[WIDTH**2, 0.0, WIDTH**2]]
        words = f"a ring of 8 Gaussians in {d} dimensions"
        return {
            "name": "ring",
            "dim": d,
            "sigma_data": SPREAD,
            "words": words,
            "exact": exact if d == 2 else None,
            "shape": [d],
        }

    def _calibration(self, d: int) -> dict[str, Any]:
        known = self.calibration[d]
        fine = np.arange(0.0, 90.5, 0.5)
        falling = np.minimum.accumulate(np.interp(fine, known.angles_degrees, known.curve("pair_cosine")))
        chance = _chance({key: known.at(key, 90.0) for key in METRICS if key in known.planted}, self.n)
        return jsonable(
            {
                "n": self.n,
                "d": d,
                "angles": known.angles_degrees,
                "curves": {key: known.curve(key) for key in KEPT},
                "chance": {key: chance.get(key) for key in KEPT},
                "law_null": {key: list(ends) for key, ends in known.law_null().items()},
                "fine": {"angles": fine, "pair_cosine": falling},
            }
        )


def _network() -> dict[str, Any]:
    layout = [{"name": "matrices.weight", "shape": [1, 4], "start": 0}]
    return {
        "kind": "linear",
        "width": 0,
        "depth": 0,
        "time_features": 0,
        "sigma_data": SPREAD,
        "layout": layout,
    }


def _chance(values: dict[str, float], n: int) -> dict[str, float]:
    found = {key: METRICS[key].chance_at(n) for key in METRICS}
    found["delta_e"] = values.get("delta_e_ceiling")
    return {key: value for key, value in found.items() if value is not None}
