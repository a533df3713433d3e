"""The numbers of docs/answers.md: what the angle grows with, what theory says of linear students, paired contrasts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmdlab.networks.linear import paces
from dmdlab.pairing import Interval, mean_interval
from dmdlab.pairing.glossary import LOW_FIDELITY, POOR_FIDELITY
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


def near(cell: Cell) -> bool:
    """Whether a cell's fidelity is within the bounds by convention, a weaker demand than being inside its null."""
    return bool(LOW_FIDELITY <= cell.interval("fidelity").mean <= POOR_FIDELITY)


# --- powers


@dataclass(frozen=True)
class Powers:
    """Lambda = C_d eta^a T^t b^c: the powers in the order of `LEARNED` and ln C_d, each with its interval over
    seeds; the scatter of cells' ln Lambda around a C for each d and around one for all; how many cells entered."""

    powers: tuple[Interval, ...]
    constants: dict[int, Interval]
    scatter: float
    scatter_common: float
    cells: int

    def variable(self, record: Record) -> float:
        """eta^a T^t b^c of a run, 1 at `UNIT`."""
        return float(np.exp(sum(p.mean * x for p, x in zip(self.powers, _place(record), strict=True))))

    def angle(self, x: float) -> float:
        """What one curve for all dimensions says at the variable x, in degrees."""
        middle = float(np.mean([c.mean for c in self.constants.values()]))
        return angle_of(math.exp(middle) * x)


def powers_of(cells: Sequence[Cell]) -> Powers:
    """Fitted for every seed by least squares in logarithms, one set of powers for all dimensions."""
    dims = sorted({cell.dim for cell in cells})
    held = {i: [r for r in cell.records if lost(r.row.get("remap_angle")) > 0] for i, cell in enumerate(cells)}
    runs = [r for own in held.values() for r in own]
    seeds = sorted({int(r.config["seed"]) for r in runs})
    fitted = np.array([_fit([r for r in runs if r.config["seed"] == seed], dims) for seed in seeds])  # (seeds, 3 + d)
    powers, constants = fitted[:, :3].mean(axis=0), fitted[:, 3:].mean(axis=0)
    levels = {i: np.mean([_log_lost(r) - powers @ _place(r) for r in own]) for i, own in held.items() if own}
    return Powers(
        tuple(mean_interval(fitted[:, i]) for i in range(3)),
        {dim: mean_interval(fitted[:, 3 + i]) for i, dim in enumerate(dims)},
        float(np.std([level - constants[dims.index(cells[i].dim)] for i, level in levels.items()])),
        float(np.std(list(levels.values()))),
        len(levels),
    )


def _place(record: Record) -> np.ndarray:
    """ln of rate, steps and batch, over `UNIT`."""
    c = record.config
    return np.log(np.array([c["student.learning_rate"], steps(record), c["student.batch"]]) / np.array(UNIT))


def _log_lost(record: Record) -> float:
    return math.log(lost(record.row["remap_angle"]))


def _fit(runs: Sequence[Record], dims: Sequence[int]) -> np.ndarray:
    """The three powers, and ln C of each dimension."""
    design = [[*_place(r), *(float(r.config["law.dim"] == dim) for dim in dims)] for r in runs]
    return np.linalg.lstsq(np.array(design), np.array([_log_lost(r) for r in runs]), rcond=None)[0]


# --- theory


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
        updates=int(c["fake_score.updates"]) if c["fake_score.kind"] == "network" else 0,
        decay=c["student.decay"],
        sigma_max=sigma_max,
        levels=tuple(c["student.levels"]),
    )


# --- contrasts


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
    """Of a - b, paired over the seeds that both have resolved."""
    from scipy.stats import ttest_1samp

    sides = [
        {int(r.config["seed"]): r.row.get(key) for r in c.records if r.done}
        for c, key in zip((a, b), keys, strict=True)
    ]
    both = sorted(set(sides[0]) | set(sides[1]))
    values = [
        math.nan if (x := sides[0].get(seed)) is None or (y := sides[1].get(seed)) is None else x - y for seed in both
    ]
    present = [v for v in values if math.isfinite(v)]
    p = float(ttest_1samp(present, 0.0).pvalue) if len(present) > 1 and np.std(present) > 0 else math.nan
    return Contrast(name, mean_interval(values), p)


def corrected(found: Sequence[Contrast]) -> list[Contrast]:
    """The same with Holm's step-down p within these (Scandinavian Journal of Statistics 6, 1979)."""
    known = sorted((c.p, i) for i, c in enumerate(found) if math.isfinite(c.p))
    holm, largest = dict[int, float](), 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        holm[i] = largest
    return [Contrast(c.name, c.difference, c.p, holm.get(i, math.nan)) for i, c in enumerate(found)]
