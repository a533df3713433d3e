"""Transport between clouds of weighted points, by POT's network simplex with a dual certificate.

Two structures need weights: clouds of unequal size, and clouds that repeat few distinct points many times,
where an assignment of all copies would be a large problem with a small one inside.
"""

import os
import warnings

import numpy as np

from dmdlab.transport.distances import squared_distances
from dmdlab.transport.solution import Transport, TransportError

_ITERATIONS = 10**8  # POT's default of 10^5 stops early: costs up to 4 % too high, with only a warning
_LARGEST_GAP = 1e-6
# Distinct points of each cloud up to which the dense simplex is quick, and how often a point must repeat for it.
_DISTINCT_LIMIT = 4000
_REPEATS = 4


def weighted_plan(
    a: np.ndarray, b: np.ndarray, mass_a: np.ndarray, mass_b: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """The optimal plan (n, m) between weighted clouds (n, d), (m, d), and certified bounds of its cost.

    Args:
        a, b: clouds.
        mass_a, mass_b: (n,), (m,) positive masses, each summing to 1.

    Returns:
        plan, lower, upper; upper is the cost of the plan.

    Raises:
        TransportError: the simplex stopped before it converged.
    """
    for backend in ("JAX", "TENSORFLOW", "CUPY"):  # POT imports every backend it finds
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    import ot

    cost = squared_distances(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its status is read from the log below, and is an error there
        plan, log = ot.emd(mass_a, mass_b, cost, numItermax=_ITERATIONS, log=True)
    if log["warning"] is not None:
        raise TransportError(f"POT's emd did not converge on {len(a)} x {len(b)} points: {log['warning']}")
    upper = float((plan * cost).sum())
    v = np.asarray(log["v"])
    lower = min(upper, float((cost - v).min(axis=1) @ mass_a + v @ mass_b))
    if upper - lower > _LARGEST_GAP * float(cost.max()):
        raise TransportError(f"POT's emd left a gap of {upper - lower:.1e} on {len(a)} x {len(b)} points.")
    return plan, lower, upper


def unequal_sizes(a: np.ndarray, b: np.ndarray) -> Transport:
    """The transport cost between uniform clouds (n, d) and (m, d); mass is split, so there is no permutation."""
    mass_a, mass_b = np.full(len(a), 1.0 / len(a)), np.full(len(b), 1.0 / len(b))
    _, lower, upper = weighted_plan(a, b, mass_a, mass_b)
    gap = (upper - lower) / upper if upper > 0 else 0.0
    return Transport(upper, None, "emd", gap, lower, upper)


def repeated_points(P: np.ndarray, G: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The optimal permutation of two clouds (n, d) of few distinct points, and a lower bound of e_ot.

    None where the points do not repeat enough for it: some thousands of distinct points at most, and several
    copies of each. Masses are whole copies, so the optimal plan moves whole copies as well.
    """
    n = len(P)
    limit = min(_DISTINCT_LIMIT, n // _REPEATS)
    if max(len({row.tobytes() for row in x}) for x in (P, G)) > limit:
        return None
    clouds = [np.unique(x, axis=0, return_inverse=True, return_counts=True) for x in (G, P)]
    (g, of_g, count_g), (p, of_p, count_p) = clouds
    plan, lower, _ = weighted_plan(g, p, count_g / n, count_p / n)
    copies = np.rint(plan * n).astype(np.int64)
    if not (np.array_equal(copies.sum(axis=1), count_g) and np.array_equal(copies.sum(axis=0), count_p)):
        raise TransportError(f"POT's emd split copies on {len(g)} x {len(p)} distinct points; its plan is not used.")
    source, target = np.nonzero(copies)
    moved = copies[source, target]
    # The copies of a distinct point are handed out in order: students sorted by point and, for each, by its
    # target; teachers sorted by point and, for each, by the student point that they go to.
    students = np.argsort(of_g.ravel(), kind="stable")
    teachers = np.argsort(of_p.ravel(), kind="stable")
    to = np.repeat(target, moved)  # (n,) target point of each student in that order
    by_target = np.argsort(to, kind="stable")
    permutation = np.empty(n, np.int64)
    permutation[students[by_target]] = teachers
    return permutation, lower
