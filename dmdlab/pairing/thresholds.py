"""Closed forms of what n pairs in d dimensions can resolve: where a measure leaves chance, and where delta_e ends.

For correlated Gaussians, G = rho P + sqrt(1 - rho^2) E with isotropic P and E, the identity is the optimal assignment
of almost all rows once rho^2 > 1 - n^(-2/d), and of all rows once rho^2 > 1 - n^(-4/d) (the planted matching: Kunisky
and Niles-Weed, "Strong recovery of geometric planted matchings", 2022). From there on delta_e is 0 and says no more. At
the other end a pair_cosine is told from 0 beyond 1.96 / sqrt(n d). For a teacher that is linear, rho is the cosine of
the planted angle. d counts directions of about equal variance: data of intrinsic dimension k saturates as d = k does.
"""

import math


def told_from_chance(n: int, d: int) -> float:
    """The correlation beyond which pair_cosine is told from 0."""
    return min(1.0, 1.96 / math.sqrt(n * d))


def almost_all_optimal(n: int, d: int) -> float:
    """The correlation from which the identity is optimal for almost all rows."""
    return math.sqrt(-math.expm1(-2.0 / d * math.log(n)))


def all_optimal(n: int, d: int) -> float:
    """The correlation from which it is optimal for all rows: delta_e is 0."""
    return math.sqrt(-math.expm1(-4.0 / d * math.log(n)))


def arccos_degrees(correlation: float) -> float:
    """The planted angle of a linear teacher that leaves this pair_cosine; NaN for NaN."""
    return math.degrees(math.acos(min(1.0, max(-1.0, correlation)))) if correlation == correlation else math.nan
