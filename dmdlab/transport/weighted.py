"""Transport between clouds of weighted points, by POT's network simplex with a dual certificate.

Two structures need weights: clouds of unequal size, and clouds that repeat few distinct points many times,
where an assignment of all copies would be a large problem with a small one inside.
"""

import os
import warnings

import numpy as np

from dmdlab.transport.distances import filled
from dmdlab.transport.frame import Frame, Matched
from dmdlab.transport.solution import Transport, TransportError

_ITERATIONS = 10**8  # POT's default of 10^5 stops early: costs up to 4 % too high, with only a warning
_LARGEST_GAP = 1e-6  # of the mean square of both clouds, which is what a random pairing costs in the frame
# Distinct points of each cloud up to which the dense simplex is quick, and how often a point must repeat for it.
DISTINCT_LIMIT = 4000
_REPEATS = 4


def weighted_plan(frame: Frame, mass_p: np.ndarray, mass_g: np.ndarray) -> tuple[np.ndarray, float]:
    """The optimal plan between weighted clouds.

    Args:
        frame: of clouds (n, d) and (m, d).
        mass_p, mass_g: (n,), (m,) positive masses, each summing to 1.

    Returns:
        plan (m, n), row student, column teacher; and how far above the optimum it can be, in units of the frame, by the
        simplex's own duals.

    Raises:
        TransportError: the simplex stopped before it converged.
    """
    for backend in ("JAX", "TENSORFLOW", "CUPY"):  # POT imports every backend it finds
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    import ot

    n, m = len(frame.P.points), len(frame.G.points)
    cost = filled(frame.blocks(), m, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its status is read from the log below, and is an error there
        plan, log = ot.emd(mass_g, mass_p, cost, numItermax=_ITERATIONS, log=True)
    if log["warning"] is not None:
        raise TransportError(
            f"POT's emd did not converge on {m} x {n} points, so its cost is not used: {log['warning']}"
        )
    v = np.asarray(log["v"])
    slack = max(0.0, float((plan * cost).sum()) - float((cost - v).min(axis=1) @ mass_g + v @ mass_p))
    if slack > _LARGEST_GAP * (float(mass_p @ frame.P.squares) + float(mass_g @ frame.G.squares)):
        raise TransportError(
            f"POT's emd left a gap of {slack:.1e} on {m} x {n} points, where a random pairing costs about 2; "
            "its cost is not used."
        )
    return plan, slack


def unequal_sizes(frame: Frame) -> Transport:
    """The transport cost between uniform clouds (n, d) and (m, d); mass is split, so there is no permutation.

    Raises:
        TransportError: the simplex stopped before it converged.
    """
    n, m = len(frame.P.points), len(frame.G.points)
    plan, slack = weighted_plan(frame, np.full(n, 1.0 / n), np.full(m, 1.0 / m))
    students, teachers = np.nonzero(plan)
    weight = plan[students, teachers]
    split = Frame(frame.P.only(frame.P.points[teachers]), frame.G.only(frame.G.points[students]))
    return Transport.at(Matched(split, None, weight), None, "emd", frame.exchange * slack)


def repeated_points(frame: Frame) -> tuple[np.ndarray, float] | None:
    """The optimal permutation of two clouds (n, d) of few distinct points, and its slack in units of the frame.

    None where the points do not repeat enough for it: some thousands of distinct points at most, and several
    copies of each. Masses are whole copies, so the optimal plan moves whole copies as well.
    """
    P, G = frame.P.points, frame.G.points
    n = len(P)
    limit = min(DISTINCT_LIMIT, n // _REPEATS)
    if max(len({row.tobytes() for row in x}) for x in (P, G)) > limit:
        return None
    clouds = [np.unique(x, axis=0, return_inverse=True, return_counts=True) for x in (G, P)]
    (g, of_g, count_g), (p, of_p, count_p) = clouds
    distinct = Frame(frame.P.only(p), frame.G.only(g))
    plan, slack = weighted_plan(distinct, count_p / n, count_g / n)
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
    return permutation, slack
