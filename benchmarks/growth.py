"""How cost grows: exponents of a cycle's time in the ensemble's size, the batch, the width and the dimension.

Least squares of log time in log value along each axis of `benchmarks.throughput`. At small sizes a cycle costs its
calls and not its arithmetic, so the exponent over the whole range is below the one that large sizes come to: that
between the last two points is beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import exponent


@dataclass(frozen=True)
class Growth:
    """Time of a cycle ~ value^slope along one axis; `half`: of the slope's 95 % t-interval, NaN from two points."""

    base: str
    axis: str
    who: str
    values: list[int]
    slope: float
    half: float
    last: float


def growth(records: Sequence[dict[str, Any]]) -> Iterator[Growth]:
    """The exponents of every axis of every base, of dmdlab's whole ensemble and of the plain loop's one student."""
    cycles = [r for r in records if r["work"] == "cycle" and r["fits"]]
    for base in dict.fromkeys(r["base"] for r in cycles):
        for way in dict.fromkeys(r["way"] for r in cycles):
            own = [r for r in cycles if r["base"] == base and r["way"] == way]
            for axis in dict.fromkeys(r["axis"] for r in own if r["axis"]):
                points = sorted((r for r in own if r["axis"] in ("", axis)), key=lambda r: r[axis])
                values = [r[axis] for r in points]
                yield Growth(base, axis, f"dmdlab, {way}", values, **exponent(values, [r["own_ms"] for r in points]))
                if axis != "members" and way == "eager":
                    plain = exponent(values, [r["plain_ms"] for r in points])
                    yield Growth(base, axis, "plain loop", values, **plain)
