"""The remap angle: how much a student scrambled the noise, in degrees that mean the same at every dimension.

A calibration holds what every measure reads when the truth is known: the student is the teacher after turning the noise
by a known angle. `remap_angle` inverts its pair_cosine curve, which does not depend on n and does not saturate.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.measured import Measured, jsonable
from dmdlab.pairing.statistics import quotient_limits, ratio_limits, student_quantile, zero_mean_limits

# Beyond a right angle the curve flattens or turns back (two planes turned by 180 degrees are a point reflection).
_RIGHT_ANGLE = METRICS["remap_angle"].highest
# The axes of its arrays. Mixtures of no shares have one only, and nothing reads them.
_AXES = {"n": 0, "d": 0, "floor": 0, "collapsed": 0, "angles_degrees": 1, "shares": 1, "null": 1}
_AXES |= {"planted": 2, "independent": 2}
FINE_ANGLES = np.linspace(0.0, _RIGHT_ANGLE, 1801)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What every measure reads under known truth, for one teacher map, n and d.

    Attributes:
        n, d: rows and dimension it was made at.
        angles_degrees: (a,) planted angles, increasing, 0 and 90 among them.
        shares: (s,) shares of rows at other noise in the partial mixtures.
        planted: key -> (a, bases), the student is the teacher after the planted rotation of the noise.
        mixture: key -> (s, bases), the student is the teacher, but a share of its rows comes from other noise.
        null: key -> (bases,), the student is the teacher at independent noise: its law, nothing of its pairing.
        collapsed: key -> value for the student that always answers the teacher's mean.
        floor: e_ot between two samples of the teacher's own law, the denominator of fidelity.
        independent: what S independent samples of the teacher's law read against each other: "e_ot" and
            "debiased_cost", (S, S) with NaN on the diagonal, and "spread", (S,) traces of their covariances. Empty in
            a calibration of an older version.
    """

    n: int
    d: int
    angles_degrees: np.ndarray
    shares: np.ndarray
    planted: dict[str, np.ndarray]
    mixture: dict[str, np.ndarray]
    null: dict[str, np.ndarray]
    collapsed: dict[str, float]
    floor: float
    independent: dict[str, np.ndarray] = field(default_factory=dict)

    def law_null(self) -> dict[str, tuple[float, float]]:
        """Where 95 % of the students of exactly the teacher's law fall at this n and d, independent of the teacher's
        outputs: (low, high) of "fidelity", "debiased_cost" and "variance_ratio", NaN where it is unknown."""
        limits = {"fidelity": ("e_ot", ratio_limits), "debiased_cost": ("debiased_cost", zero_mean_limits)}
        limits |= {"variance_ratio": ("spread", quotient_limits)}
        found, unknown = self.independent, (math.nan, math.nan)
        return {key: of(found[name]) if name in found else unknown for key, (name, of) in limits.items()}

    def curve(self, key: str) -> np.ndarray:
        """Mean over bases of a measure at each angle, (a,); NaN where any basis left it unresolved, and where it is
        younger than the calibration."""
        return self.planted[key].mean(axis=1) if key in self.planted else np.full(len(self.angles_degrees), np.nan)

    def at(self, key: str, angle_degrees: float) -> float:
        """The mean of a measure at one angle between the planted ones, linearly interpolated."""
        return float(np.interp(angle_degrees, self.angles_degrees, self.curve(key)))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """A flat dict of numeric arrays for `np.savez`, keys joined by slashes; no pickles."""
        flat = {"n": np.array(self.n), "d": np.array(self.d), "floor": np.array(self.floor)}
        flat |= {"angles_degrees": self.angles_degrees, "shares": self.shares}
        for group in ("planted", "mixture", "null", "collapsed", "independent"):
            flat |= {f"{group}/{key}": np.asarray(value) for key, value in getattr(self, group).items()}
        return flat

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> "Calibration":
        """The inverse of `to_arrays`, also from an opened npz file.

        Raises:
            InputError: a missing key, an array of another kind or shape, angles that cannot be inverted.
        """
        if missing := {"n", "d", "floor", "angles_degrees", "shares", "planted/pair_cosine"} - set(arrays):
            raise InputError(f"this is no calibration: {', '.join(sorted(missing))} missing; make it anew.")
        angles = np.asarray(arrays["angles_degrees"])
        for name in ("angles_degrees", *arrays):  # that one first: it says how many rows others have
            if wrong := _unlike(name, np.asarray(arrays[name]), angles):
                raise InputError(f"damaged: {name} {wrong}; delete it, and make it anew")
        if not ({0.0, _RIGHT_ANGLE} <= set(angles.tolist()) and (np.diff(angles.astype(float)) > 0).all()):
            held = ", ".join(f"{angle:g}" for angle in angles)
            raise InputError(
                f"damaged: angles_degrees is {held}, expected rising angles with 0 and {_RIGHT_ANGLE:g} among them, "
                "without which no remap angle can be read; delete it, and make it anew"
            )
        planted, mixture, null, collapsed, independent = (
            {name.removeprefix(group): np.asarray(arrays[name]) for name in arrays if name.startswith(group)}
            for group in ("planted/", "mixture/", "null/", "collapsed/", "independent/")
        )
        return Calibration(
            n=int(arrays["n"]),
            d=int(arrays["d"]),
            angles_degrees=angles,
            shares=np.asarray(arrays["shares"]),
            planted=planted,
            mixture=mixture,
            null=null,
            collapsed={key: float(value) for key, value in collapsed.items()},
            floor=float(arrays["floor"]),
            independent=independent,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: lists, NaN as null."""
        return jsonable(self.to_arrays())


def _unlike(name: str, array: np.ndarray, angles: np.ndarray) -> str:
    """What an array of a calibration is and what was expected; empty where it is that, or nothing that is read."""
    group, kind = name.partition("/")[0], "whole numbers" if name in ("n", "d") else "real numbers"
    axes = 1 if name == "independent/spread" else _AXES.get(group, array.ndim)
    fits, expected = array.ndim == axes, f"{kind} with {axes} axes"
    if group == "planted":
        fits = fits and len(array) == len(angles) and array.size > 0
        expected = f"a row of {kind} for each of {len(angles)} angles, one a basis"
    elif group == "independent" and axes == 2:
        fits, expected = fits and len(array) == len(array.T), f"a row and a column of {kind} for each sample"
    fits = fits and array.dtype.kind in ("iu" if kind == "whole numbers" else "iuf")
    return "" if fits or group not in _AXES else f"has shape {array.shape} and type {array.dtype}, expected {expected}"


def remap_angle(calibration: Calibration, pair_cosine: float | Measured) -> Measured:
    """The planted angle, in degrees, that lowers pair_cosine as much as this student did.

    Args:
        calibration: at the student's dimension.
        pair_cosine: the student's, with its sampling interval where a Measured is given.

    Returns:
        A Measured in 0..90. Its interval joins the spread over the random bases (95 %, Student) with the sampling
        interval of pair_cosine. 90 with a reason means "90 or more". NaN with a reason where the curve cannot tell 0
        from 90 degrees, as in one dimension, where there is no plane to turn, or is itself unresolved.
    """
    given = pair_cosine if isinstance(pair_cosine, Measured) else Measured(float(pair_cosine))
    if not given.resolved:
        return Measured.unresolved(f"pair_cosine is unresolved: {given.reason or 'it is NaN'}")
    low = given.value if given.low is None else given.low
    high = given.value if given.high is None else given.high
    curve, spread = monotone_curve(calibration)
    if not np.isfinite(curve).all():
        return Measured.unresolved(
            "the calibration's own pair_cosine is not known at every angle up to 90 degrees, as where all outputs of "
            "its teacher are the same; make it anew, of this teacher"
        )
    if curve[0] - curve[-1] <= 2.0 * (spread.max() + 0.5 * (high - low)):
        return Measured.unresolved(
            f"turning the noise by 90 degrees lowers pair_cosine only from {curve[0]:.2f} to {curve[-1]:.2f} at "
            f"d = {calibration.d}, n = {calibration.n}, within what bases and sampling vary by"
        )
    # A lower curve gives a smaller angle for the same cosine, and so does a larger cosine. Less or more a spread that
    # few bases make uneven, the curve can rise again: then the least and the largest of the angles count.
    lowest, highest = np.minimum.accumulate(curve - spread), np.maximum.accumulate((curve + spread)[::-1])[::-1]
    angle_low, angle_high = _invert(lowest, high), _invert(highest, low)
    if given.value <= curve[-1]:
        reason = "90 degrees or more: nothing is left that a rotation by 90 degrees would destroy"
        return Measured(_RIGHT_ANGLE, angle_low, None, reason)
    angle = _invert(curve, given.value)
    return Measured(angle, min(angle, angle_low), max(angle, angle_high))


def monotone_curve(calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """pair_cosine and its half-width over bases on `FINE_ANGLES`, 0..90 degrees, made non-increasing; NaN where a basis
    left it unresolved."""
    from scipy.interpolate import PchipInterpolator

    inside = (calibration.angles_degrees >= 0) & (calibration.angles_degrees <= _RIGHT_ANGLE)
    angles = calibration.angles_degrees[inside]
    values = calibration.planted["pair_cosine"][inside]  # (a, bases)
    if not np.isfinite(values).all():
        return np.full(len(FINE_ANGLES), math.nan), np.full(len(FINE_ANGLES), math.nan)
    bases = values.shape[1]
    error = values.std(axis=1, ddof=1) / np.sqrt(bases) if bases > 1 else np.zeros(len(angles))
    half = student_quantile(0.975, bases - 1) * error if bases > 1 else error
    # In 1 - cos(theta) the curve of a linear teacher is a straight line, and a smooth teacher's nearly one.
    curve = PchipInterpolator(_haversine(angles), values.mean(axis=1))(_haversine(FINE_ANGLES))
    return np.minimum.accumulate(curve), np.interp(FINE_ANGLES, angles, half)


def _haversine(angles_degrees: np.ndarray) -> np.ndarray:
    return 1.0 - np.cos(np.radians(angles_degrees))


def _invert(curve: np.ndarray, value: float) -> float:
    """The angle at which a non-increasing curve on the fine grid takes `value`, clipped to 0..90."""
    return float(np.interp(-value, -curve, FINE_ANGLES))
