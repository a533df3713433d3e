"""How cost grows: a cycle's time against the ensemble's size, the width, the batch and the dimension, one at a time.

At every point of `benchmarks.points.grid` the plain loop and dmdlab's ways take turns, each in one process. Exponents
are least squares of log time in log value. At small sizes a cycle costs its calls and not its arithmetic, so the
exponent over the whole range is below the one that large sizes come to: that between the last two points is beside it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.measure import Options
from benchmarks.peers import Record, figures, measured
from benchmarks.points import JAX, MEMBERS, PLAIN, PLAIN_COMPILED, contestants, grid

__all__ = ["exponent", "figures", "growth", "run"]


@dataclass(frozen=True)
class Growth:
    """Time of a cycle of the whole ensemble (of the plain loop's one student) ~ value^slope along one axis; `half`: of
    the slope's 95 % t-interval, NaN from two points; `last`: the slope between the last two points."""

    base: str
    axis: str
    who: str
    values: list[int]
    slope: float
    half: float
    last: float


def run(options: Options) -> dict[str, Any]:
    """A record for each point of the grid."""
    who, records = [name for name in contestants(options) if name not in (*JAX, PLAIN_COMPILED)], list[Record]()
    for base in grid(options):
        axes, where = zip(*base.along_axes(), strict=True)
        found = measured(where, who, options, 1)
        records += [{"axis": axis, **record} for axis, record in zip(axes, found, strict=True)]
    return {"records": records}


def growth(records: Sequence[Record]) -> Iterator[Growth]:
    """The exponents of every axis of every base."""
    for base in dict.fromkeys(r["point"] for r in records):
        own = [r for r in records if r["point"] == base]
        for axis in dict.fromkeys(r["axis"] for r in own if r["axis"]):
            on = sorted((r for r in own if r["axis"] in ("", axis)), key=lambda r: r[axis])
            values = [r[axis] for r in on]
            for who in on[0]["seconds"]:
                if (who, axis) != (PLAIN, MEMBERS):
                    times = [r["figures"][f"{who}, ms"] * (1 if who == PLAIN else r[MEMBERS]) for r in on]
                    yield Growth(base, axis, who, values, **exponent(values, times))


def exponent(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """The least-squares slope of log y in log x, half the width of its 95 % t-interval (NaN from two points), and the
    slope between the last two points."""
    u, v = np.log(x), np.log(y)
    du = u - u.mean()
    slope = float(du @ v / (du @ du))
    rest, free = v - v.mean() - slope * du, len(u) - 2
    error = math.sqrt(float(rest @ rest) / free / float(du @ du)) if free else math.nan
    last = float((v[-1] - v[-2]) / (u[-1] - u[-2]))
    return {"slope": slope, "half": float(stats.t.ppf(0.975, free)) * error, "last": last}
