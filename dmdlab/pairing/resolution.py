"""How many samples does a question need: which correlations and angles can be told from chance and from a copy.

The closed forms are those of `thresholds`; the windows of single measures come from simulated Gaussian pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.glossary import METRICS, PAIRING_KEYS
from dmdlab.pairing.measured import jsonable
from dmdlab.pairing.metrics import measure
from dmdlab.pairing.report import SATURATED_SHARE
from dmdlab.pairing.thresholds import all_optimal, almost_all_optimal, arccos_degrees, told_from_chance
from dmdlab.pairing.words import degrees, dimensions, near_one

CORRELATIONS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)


@dataclass(frozen=True)
class Window:
    """What one measure can tell at one n and d, as correlations in (0, 1); NaN where it can tell nothing.

    Attributes:
        key: the measure.
        from_chance: from this correlation on, one run is told from a random pairing.
        from_copy: up to this correlation, one run is told from a perfect copy.
    """

    key: str
    from_chance: float
    from_copy: float

    @property
    def angles_degrees(self) -> tuple[float, float]:
        """The planted angles between which the measure tells something: (smallest, largest)."""
        return arccos_degrees(self.from_copy), arccos_degrees(self.from_chance)


@dataclass(frozen=True)
class Resolution:
    """What n pairs in d dimensions can resolve.

    Attributes:
        n, d: sample size and dimension.
        chance: correlation below which pair_cosine cannot be told from 0, 1.96 / sqrt(n d).
        almost_all: correlation from which the identity is optimal for almost all rows.
        every: correlation from which it is optimal for all rows: delta_e is 0.
        windows: key -> Window by simulation; empty without it.
    """

    n: int
    d: int
    chance: float
    almost_all: float
    every: float
    windows: dict[str, Window]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; NaN becomes null."""
        return jsonable(asdict(self))

    def in_words(self) -> list[str]:
        """Sentences for someone who is to choose n."""
        sentences = [
            f"With {self.n} pairs in {dimensions(self.d)}, pair_cosine is told from 0 "
            f"beyond {near_one(self.chance)}, and delta_e is already 0 from a correlation of {near_one(self.every)} "
            f"on ({degrees(arccos_degrees(self.every))}); almost so from {near_one(self.almost_all)}."
        ]
        for window in self.windows.values():
            if math.isnan(window.from_chance) or math.isnan(window.from_copy):
                sentences.append(f"{window.key} tells nothing at this n and d.")
                continue
            low, high = window.angles_degrees
            sentences.append(
                f"{window.key} is told from chance from a correlation of {window.from_chance:.3g} on, and from a copy "
                f"up to {window.from_copy:.3g}: angles of {low:.0f} to {high:.0f} degrees."
            )
        return sentences


def resolvable(
    n: int,
    d: int,
    *,
    rng: np.random.Generator | None = None,
    draws: int = 8,
    correlations: Sequence[float] = CORRELATIONS,
) -> Resolution:
    """The range of correlations and angles that n pairs in d dimensions can tell from chance and from a copy.

    Args:
        n: pairs, at least 2.
        d: dimension (or the number of directions of about equal variance), at least 1.
        rng: for the simulation of correlated Gaussians; without it only the theory is given.
        draws: simulated samples at each correlation, at least 2.
        correlations: the grid, in (0, 1), on which windows are reported.

    Raises:
        InputError: n, d, draws or correlations outside their range.
    """
    if n < 2 or d < 1 or draws < 2:
        raise InputError(f"resolvable needs n >= 2, d >= 1 and draws >= 2, got n = {n}, d = {d}, draws = {draws}.")
    if not all(0 < rho < 1 for rho in correlations):
        raise InputError(f"correlations must lie between 0 and 1, got {list(correlations)}.")
    windows = {} if rng is None else _simulate(n, d, rng, draws, np.unique(correlations))
    return Resolution(n, d, told_from_chance(n, d), almost_all_optimal(n, d), all_optimal(n, d), windows)


def _simulate(n: int, d: int, rng: np.random.Generator, draws: int, grid: np.ndarray) -> dict[str, Window]:
    """The windows of all pairing measures; every correlation of a draw shares its Gaussians."""
    readings = np.empty((draws, len(grid) + 1, len(PAIRING_KEYS)))
    for draw in range(draws):
        P, E = rng.standard_normal((2, n, d))
        for column, rho in enumerate([0.0, *grid]):
            values = measure(P, rho * P + math.sqrt(1 - rho**2) * E).values()
            readings[draw, column] = [values[key] for key in PAIRING_KEYS]
    return {key: _window(key, grid, readings[:, :, k]) for k, key in enumerate(PAIRING_KEYS)}


def _window(key: str, grid: np.ndarray, readings: np.ndarray) -> Window:
    """The window of one measure from its readings (draws, 1 + correlations), the first column being rho = 0."""
    best = METRICS[key].best
    assert best is not None
    mean, sd = readings.mean(axis=0), readings.std(axis=0, ddof=1)
    # One run in twenty may fall on the wrong side: 1.64 standard deviations at rho, 1.96 at chance (two-sided).
    off_chance = np.abs(mean[1:] - mean[0]) > 1.96 * sd[0] + 1.64 * sd[1:]
    below = np.abs(best - mean[1:]) - 1.64 * sd[1:] > (1.0 - SATURATED_SHARE) * abs(best - mean[0])
    first = len(grid) - int(np.argmin(np.append(off_chance[::-1], False)))
    last = int(np.argmin(np.append(below, False)))
    from_chance = float(grid[first]) if first < len(grid) else math.nan
    from_copy = float(grid[last - 1]) if last > 0 else math.nan
    return Window(key, from_chance, from_copy)
