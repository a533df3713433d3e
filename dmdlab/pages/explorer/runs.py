"""One run of the page: its settings, readings, curve, points, and its networks at the moments that were kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmdlab.pages.explorer.packing import greys, packed, rounded
from dmdlab.pages.explorer.shared import PICTURES, View, limits_of, small
from dmdlab.pairing import METRICS, Calibration
from dmdlab.pairing.calibration import FINE_ANGLES, monotone_curve, remap_angle
from dmdlab.plots.pictures import chosen_rows
from dmdlab.records.kept_weights import in_order
from dmdlab.records.record import Record

BINS = 40
"""Of the histograms of distances."""

Maps = Mapping[str, Any]
"""What `dmdlab.lab.for_pages.maps_for` knows of a run's maps."""


def unknown_maps(record: Record, why: str) -> Maps:
    """What is known of a run whose maps cannot be made here."""
    config, facts = record.config, record.summary.get("law_facts", {})
    law = {"name": config["law.name"], "dim": config["law.dim"], "exact": None}
    law |= {key: facts.get(key) for key in ("sigma_data", "shape")}
    empty: dict[str, Any] = {"network": None, "teacher": None, "turn": None, "slice": None, "checks": {"fake": []}}
    return empty | {"law": law, "why": why, "level": config["noise.sigma_max"]}


def run_section(
    record: Record, arrays: Mapping[str, np.ndarray], view: View, maps: Maps, calibration: Calibration | None, rows: int
) -> dict[str, Any]:
    """Everything of one run but what it shares, its settings and its label; `moments` in full."""
    config, summary = record.config, record.summary
    curve = record.curve()
    if "pair_cosine" in curve:  # those of version 0.1 lack it
        curve["remap_angle"] = angles(calibration, curve["pair_cosine"])
    found = {
        "id": summary["id"],
        "name": record.folder.name,
        "noise": {key: config[f"noise.{key}"] for key in ("sigma_min", "sigma_max", "rho")},
        "flow": {"steps": config["teacher.steps"], "solver": config["teacher.solver"]},
        "metrics": readings(record, calibration),
        "law_agrees": _law_agrees(summary),
        "law_by_convention": summary.get("law", {}).get("limits", "calibration") != "calibration",
        "teacher_ok": record.teacher_ok,
        "asks_for_pairs": bool(config.get("terms.regression.weight")),
        "distances": distance_histograms(arrays["teacher"], arrays["student"]),
        "student": view.of("student", arrays["student"][:rows]),
        "curve": rounded(curve),
        "why_no_network": maps.get("why"),
        "turn": maps["turn"],
        "level": maps["level"],
        "moments": moments(record, maps, curve) if maps["network"] else [],
        "checks": {name: [_answer(own) for own in answers] for name, answers in maps["checks"].items()},
        "pictures": None,
        "slice": None,
    }
    shape = summary.get("law_facts", {}).get("shape", [])
    if len(shape) == 3:
        limits, at = limits_of(arrays), chosen_rows(record, len(arrays["teacher"]))[:PICTURES]
        found["pictures"] = {"student": greys(small(arrays["student"][at], shape)[0], limits)}
        if maps["slice"] is not None:
            own = {key: greys(small(maps["slice"][key], shape)[0], limits) for key in ("teacher", "student")}
            found["slice"] = {"t": rounded(maps["slice"]["t"])} | own
    return found


def readings(record: Record, calibration: Calibration | None) -> dict[str, Any]:
    """Every measure of a run with what a perfect copy and a student without memory of the pairing read, None where that
    is not known; `floor` and `ceiling` are the lower and the higher of both."""
    measured = record.summary.get("metrics", {})
    n = int(record.config["measure.samples"])
    found = {}
    for key, metric in METRICS.items():
        own = measured.get(key, {})
        copy, chance = metric.best, metric.chance_at(n)
        if calibration is not None and key in calibration.planted:
            planted, null = calibration.at(key, 0.0), float(np.mean(calibration.null[key]))
            copy = planted if copy is None and np.isfinite(planted) else copy
            chance = null if chance is None and np.isfinite(null) else chance
        if key == "delta_e":
            chance = measured.get("delta_e_ceiling", {}).get("value")
        ends = [end for end in (copy, chance) if end is not None]
        known = {part: own.get(part) for part in ("value", "low", "high", "reason")} | {"copy": copy, "chance": chance}
        both = len(ends) == 2
        known |= {"floor": min(ends) if both else None, "ceiling": max(ends) if both else None}
        found[key] = rounded(known, 6)
    return found


def angles(calibration: Calibration | None, cosines: np.ndarray) -> np.ndarray:
    """The planted angle of each pair_cosine, 90 for 90 or more; NaN where there is none."""
    if calibration is None or not remap_angle(calibration, 1.0).resolved:
        return np.full(len(cosines), np.nan)
    curve, _ = monotone_curve(calibration)
    return np.where(np.isnan(cosines), np.nan, np.interp(-cosines, -curve, FINE_ANGLES))


def distance_histograms(teacher: np.ndarray, student: np.ndarray) -> dict[str, Any]:
    """Histograms of |G_i - P_i|, and of |G_i - P_j| over all other pairs, in all d dimensions."""
    P, G = teacher.astype(np.float64), student.astype(np.float64)
    paired = np.linalg.norm(G - P, axis=1)
    square = (G**2).sum(axis=1)[:, None] + (P**2).sum(axis=1) - 2 * G @ P.T
    others = np.sqrt(np.maximum(square[~np.eye(len(P), dtype=bool)], 0))
    top = float(max(np.quantile(others, 0.999), paired.max())) or 1.0
    counts = {
        name: np.histogram(own, BINS, (0, top))[0].tolist() for name, own in (("paired", paired), ("shuffled", others))
    }
    return {"edges": rounded(np.linspace(0, top, BINS + 1)), **counts}


def moments(record: Record, maps: Maps, curve: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The student, and the fake score where it is kept, at each moment, as rows of 16-bit numbers; the end last. Raises
    `InputError` for weights that are lost or do not fit their network."""
    kept, order = record.moments(), maps["order"]
    if not kept:
        last = int(curve["iteration"][-1])
        return [{"iteration": last, "student": packed_row(record.weights(), order), "fake": None}]
    found = []
    for i, iteration in enumerate(kept["iteration"].tolist()):
        rows: dict[str, Any] = {"student": None, "fake": None}
        for name in rows:
            own = {key.removeprefix(f"{name}."): value[i] for key, value in kept.items() if key.startswith(f"{name}.")}
            rows[name] = packed_row(own, order) if own else None
        found.append({"iteration": iteration, **rows})
    return found


def packed_row(weights: Mapping[str, np.ndarray], order: Mapping[str, list[int]]) -> dict[str, Any]:
    """A network's parameters by name as one packed row."""
    return packed(in_order(weights, order), "f16")


def _answer(known: Mapping[str, Any]) -> dict[str, Any]:
    return {"sigma": known["sigma"], **{key: packed(known[key], "f32") for key in ("x", "answer")}}


def _law_agrees(summary: Mapping[str, Any]) -> bool | None:
    """Whether the student's law is inside all limits of the teacher's; None where that is not known. One measure
    outside is enough to know that it is not, whatever the others say."""
    sides = {own[2] for key, own in summary.get("law", {}).items() if key != "limits"}
    if sides & {"below", "above"}:
        return False
    return True if sides == {"inside"} else None
