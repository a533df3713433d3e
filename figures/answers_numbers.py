"""The numbers of docs/answers.md: what the angle grows with, what theory says of linear students, paired contrasts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dmdlab.networks.mlp import Fourier
from dmdlab.pairing import Interval, mean_interval
from dmdlab.pairing.law import CONVENTION
from dmdlab.pairing.words import interval
from dmdlab.records.cells import Cell
from dmdlab.records.record import Record
from dmdlab.theory import expected_loss

LEARNED = ("student.learning_rate", "steps", "student.batch")
"""What the powers are of; `steps` are the student's own."""

UNIT = (3e-4, 2000.0, 64.0)
"""Where the combined variable is 1."""


def steps(record: Record) -> int:
    """The student's updates: `student.iterations` counts those of the fake score."""
    return -(-int(record.config["student.iterations"]) // int(record.config["fake_score.updates"]))


def lost(angle: float | None) -> float:
    """Lambda = -ln cos(angle), NaN from 90 degrees on, where nothing is left."""
    return -math.log(math.cos(math.radians(angle))) if angle is not None and angle < 90 else math.nan


def angle_of(lambda_: float) -> float:
    """The inverse of `lost`, in degrees."""
    return math.degrees(math.acos(math.exp(-lambda_)))


NEAR = ("fidelity", "variance_ratio")
"""The measures of the law that are held against the bounds by convention: each is blind where the other sees."""


def near(cell: Cell) -> bool:
    """Whether a cell's law is near the teacher's by convention, a weaker demand than being inside its null."""
    means = {key: cell.interval(key).mean for key in NEAR}
    return all(CONVENTION[key][0] <= mean <= CONVENTION[key][1] for key, mean in means.items())


# --- powers


@dataclass(frozen=True)
class Powers:
    """Lambda = L_d + C_d eta^a T^t b^c: the powers in the order of `LEARNED`, ln C_d and L_d (0 unless fitted), each
    with its interval over seeds, unknown for what does not vary; the power of d - 1, the planes that a direction lies
    in, in C_d; the scatter of ln Lambda of cells around what the fit says, and around what it says with one C and one L
    for all d; how many cells, and how many were left out."""

    powers: tuple[Interval, ...]
    constants: dict[int, Interval]
    floors: dict[int, Interval]
    of_planes: Interval
    scatter: float
    scatter_common: float
    cells: int
    left_out: int

    def variable(self, record: Record) -> float:
        """eta^a T^t b^c of a run, 1 at `UNIT`."""
        return float(np.exp(sum(p.mean * x for p, x in zip(self.powers, _place(record), strict=True))))

    def angle(self, x: float) -> float:
        """What one curve for all dimensions says at the variable x, in degrees."""
        constant, floor = (float(np.mean([i.mean for i in own.values()])) for own in (self.constants, self.floors))
        return angle_of(math.exp(constant) * x + floor)


def powers_of(cells: Sequence[Cell], floor: bool = False) -> Powers:
    """Fitted for every seed by least squares in logarithms, one set of powers for all dimensions; floor: with an L_d,
    such as a start's own share, that no training takes away. A cell of which a seed has no angle, or one that is a
    bound, is left out whole: leaving out that seed alone would choose among outcomes. So is a seed that lacks cells
    which the fit cannot do without.

    Raises ValueError when no seed is left.
    """
    dims = sorted({cell.dim for cell in cells})
    whole = [cell for cell in cells if all(known_angle(r) is not None for r in cell.records)]
    held = {i: list(cell.records) for i, cell in enumerate(whole)}
    runs = [r for own in held.values() for r in own]
    seeds = sorted({int(r.config["seed"]) for r in runs})
    own = [part for seed in seeds if _determined(part := [r for r in runs if r.config["seed"] == seed], dims)]
    if not own:
        raise ValueError("no seed has the cells that a fit of powers needs")
    fitted = np.array([_fit_above(part, dims) if floor else _fit(part, dims) for part in own])  # (seeds, 3 + 2 dims)
    powers, constants, floors = np.split(fitted.mean(axis=0), [3, 3 + len(dims)])
    common = constants.mean(), floors.mean()

    def scatter(of: Callable[[int], tuple[float, float]]) -> float:
        """Of cells' ln Lambda around what the fit says with the constant and floor of a dimension's place."""
        said = {
            i: [_log_lost(r) - math.log(math.exp(c + powers @ _place(r)) + low) for r in own]
            for i, own in held.items()
            if own
            for c, low in (of(dims.index(whole[i].dim)),)
        }
        return float(np.sqrt(np.mean([np.mean(values) ** 2 for values in said.values()])))

    middle, varied = slice(3, 3 + len(dims)), np.ptp([_place(r) for r in runs], axis=0) > 0
    return Powers(
        tuple(mean_interval(np.where(varied[i], fitted[:, i], math.nan)) for i in range(3)),
        {dim: mean_interval(fitted[:, 3 + i]) for i, dim in enumerate(dims)},
        {dim: mean_interval(fitted[:, 3 + len(dims) + i]) for i, dim in enumerate(dims)},
        mean_interval([np.polyfit(np.log(np.array(dims) - 1.0), row, 1)[0] for row in fitted[:, middle]]),
        scatter(lambda i: (constants[i], floors[i])),
        scatter(lambda i: common),
        len(whole),
        len(cells) - len(whole),
    )


def known_angle(record: Record, key: str = "remap_angle") -> float | None:
    """An angle in degrees that is known, and no bound."""
    part, name = ("own", "angle") if key == "own_angle" else ("metrics", key)
    own = record.summary.get(part, {}).get(name, {})
    return None if own.get("value") is None or own.get("reason") else float(own["value"])


def _place(record: Record) -> np.ndarray:
    """ln of rate, steps and batch, over `UNIT`."""
    c = record.config
    return np.log(np.array([c["student.learning_rate"], steps(record), c["student.batch"]]) / np.array(UNIT))


def _log_lost(record: Record) -> float:
    return math.log(lost(known_angle(record)))


def _determined(runs: Sequence[Record], dims: Sequence[int]) -> bool:
    """Whether these determine the power of all that varies among them, and a constant for each dimension."""
    places = np.array([_place(r) for r in runs])
    places = places - places.mean(axis=0)
    design = np.hstack([places, [[float(r.config["law.dim"] == dim) for dim in dims] for r in runs]])
    return bool(np.linalg.matrix_rank(design) == int((np.ptp(places, axis=0) > 0).sum()) + len(dims))


def _fit(runs: Sequence[Record], dims: Sequence[int]) -> np.ndarray:
    """The three powers, ln C of each dimension, and its floor, 0."""
    design = [[*_place(r), *(float(r.config["law.dim"] == dim) for dim in dims)] for r in runs]
    found = np.linalg.lstsq(np.array(design), np.array([_log_lost(r) for r in runs]), rcond=None)[0]
    return np.concatenate([found, np.zeros(len(dims))])


def _fit_above(runs: Sequence[Record], dims: Sequence[int]) -> np.ndarray:
    """The same with a floor of each dimension, from 0 to the smallest Lambda there is."""
    from scipy.optimize import least_squares

    places, y = np.array([_place(r) for r in runs]), np.array([_log_lost(r) for r in runs])
    at = np.array([dims.index(int(r.config["law.dim"])) for r in runs])
    least = np.array([np.exp(y[at == i].min()) for i in range(len(dims))])

    def left(p: np.ndarray) -> np.ndarray:
        powers, constants, floors = np.split(p, [3, 3 + len(dims)])
        return np.log(np.exp(constants[at] + places @ powers) + floors[at]) - y

    start = _fit(runs, dims)
    start[-len(dims) :] = 0.5 * least
    low = np.concatenate([np.full(3 + len(dims), -np.inf), np.zeros(len(dims))])
    high = np.concatenate([np.full(3 + len(dims), np.inf), least])
    return np.asarray(least_squares(left, start, bounds=(low, high)).x)


# --- theory


def paces(time_features: int, c_noise: float) -> tuple[float, float]:
    """How much faster the map W of a linear network moves than each of the parameters that make it, at one level: under
    gradient descent, where their steps add up weighted by the features (|f|^2), and under Adam, where they are of one
    size (sum of abs f)."""
    f = Fourier(time_features)(torch.tensor(c_noise).reshape(1, 1, 1))
    return 1 + time_features / 2, 1 + float(f.abs().sum())


def predicted(record: Record) -> float:
    """Lambda of a linear student of N(0, 1) by docs/theory.md; no number of it is fitted."""
    c = record.config
    sigma_max, optimiser = float(c["noise.sigma_max"]), c["student.optimiser"]
    descent, adam = paces(int(c["network.time_features"]), 0.25 * math.log(sigma_max))
    return expected_loss(
        int(c["law.dim"]),
        optimiser,
        float(c["student.learning_rate"]) * (adam if optimiser == "adamw" else descent),
        batch=int(c["student.batch"]),
        steps=steps(record),
        updates=int(c["fake_score.updates"]) if c["fake_score.kind"] != "exact" else 0,
        estimated=c["fake_score.kind"] == "estimated",
        at_law=c["student.init"] == "regressed",
        decay=c["student.decay"],
        sigma_max=sigma_max,
        levels=tuple(c["student.levels"]),
    )


def share_lost(cell: Cell) -> Interval:
    """Lambda = -ln mean pair_cosine of a cell of linear students, which need no calibration: the logarithm of the mean,
    which the theory is about, and no mean of logarithms, which lies above it. Its interval by the delta method."""
    return _log_of_means([(_cosines(cell), -1.0)])


def ratios(cells: Sequence[Cell]) -> list[float]:
    """Measured over predicted Lambda of each cell of linear students that has one."""
    found = [(share_lost(cell).mean, cell) for cell in cells]
    return [mean / predicted(cell.records[0]) for mean, cell in found if math.isfinite(mean)]


def more_lost(long: Cell, short: Cell) -> Interval:
    """Lambda of one cell less that of another, paired over seeds."""
    return _log_of_means([(_cosines(long), -1.0), (_cosines(short), 1.0)])


def _cosines(cell: Cell) -> dict[int, float]:
    return {int(r.config["seed"]): float(r.row["pair_cosine"]) for r in cell.records if r.done}


def _log_of_means(parts: Sequence[tuple[dict[int, float], float]]) -> Interval:
    """sum of sign * ln mean(values) over the seeds that all have, with Student's interval of its influences; unknown
    where a mean is not above 0."""
    seeds = sorted(set.intersection(*(set(values) for values, _ in parts)))
    means = [float(np.mean([values[seed] for seed in seeds])) if seeds else math.nan for values, _ in parts]
    if not all(mean > 0 for mean in means):
        return mean_interval([math.nan])
    middle = sum(sign * math.log(mean) for (_, sign), mean in zip(parts, means, strict=True))
    influences = [
        middle + sum(sign * (values[seed] / mean - 1) for (values, sign), mean in zip(parts, means, strict=True))
        for seed in seeds
    ]
    return mean_interval(influences)


# --- contrasts


def ends(own: Interval) -> tuple[float, float, float]:
    """Mean, low and high."""
    return own.mean, own.low, own.high


def in_words(own: Interval) -> str:
    """'20.6 ± 0.8'."""
    return interval(*ends(own))


def by_keys(found: Sequence[Cell], *keys: str) -> dict[tuple[object, ...], Cell]:
    """Cells by the values of these settings."""
    return {tuple(cell.value(key) for key in keys): cell for cell in found}


@dataclass(frozen=True)
class Contrast:
    """A paired difference in degrees, with its p by Student's t and, in its family, by Holm's correction."""

    name: tuple[Any, ...]
    difference: Interval
    p: float
    holm: float = math.nan


def contrast(
    name: tuple[Any, ...], a: Cell, b: Cell, keys: tuple[str, str] = ("remap_angle", "remap_angle")
) -> Contrast:
    """Of a - b, paired over the seeds of which both have an angle that is no bound."""
    sides = [
        {int(r.config["seed"]): known_angle(r, key) for r in c.records} for c, key in zip((a, b), keys, strict=True)
    ]
    both = sorted(set(sides[0]) | set(sides[1]))
    values = [
        math.nan if (x := sides[0].get(seed)) is None or (y := sides[1].get(seed)) is None else x - y for seed in both
    ]
    return contrast_of(name, values)


def contrast_of(name: tuple[Any, ...], differences: Sequence[float]) -> Contrast:
    """Of each seed's difference in degrees, NaN where there is none."""
    from scipy.stats import ttest_1samp

    present = [v for v in differences if math.isfinite(v)]
    p = float(ttest_1samp(present, 0.0).pvalue) if len(present) > 1 and np.std(present) > 0 else math.nan
    return Contrast(name, mean_interval(differences), p)


def corrected(found: Sequence[Contrast]) -> list[Contrast]:
    """The same with Holm's step-down p within these (Scandinavian Journal of Statistics 6, 1979)."""
    known = sorted((c.p, i) for i, c in enumerate(found) if math.isfinite(c.p))
    holm, largest = dict[int, float](), 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        holm[i] = largest
    return [Contrast(c.name, c.difference, c.p, holm.get(i, math.nan)) for i, c in enumerate(found)]
