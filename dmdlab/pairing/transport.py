"""Squared distances and the exact cost of the best pairing of two clouds.

`e_ot = min over permutations pi of mean_i |P_pi(i) - G_i|^2`. The linear program behind it has the dual
`max over v of mean_j v_j + mean_i min_j (C_ij - v_j)`, and v = 0 already settles two structures: when the row
minimisers of C are a permutation, the cost of that permutation *equals* the dual value at v = 0, so it is
optimal (and likewise for columns). The identity is the case of a student whose every output is nearest to its
own teacher output. What is left goes to the Jonker-Volgenant solver of lapx.

Source of the solver: Jonker and Volgenant, Computing 38 (1987). On the line the sorted pairing is optimal for
every convex cost (Santambrogio, "Optimal Transport for Applied Mathematicians", Theorem 2.9).
"""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dmdlab.config import InputError

# One block of distances and of converted rows takes about this much memory.
_BLOCK_BYTES = 64 * 2**20
# Above this n the matrix is stored in float32: distances are still summed in float64 and then rounded, so a
# permutation that is optimal for the rounded matrix is optimal for the true one up to the ratio
# (1 + u) / (1 - u), u = 2^-24; measured to be 1.2 to 1.7 times faster and half the memory.
_FLOAT64_LIMIT = 1500
_FLOAT32_GAP = 2.0**-22
_POT_ITERATIONS = 10**8


class TransportError(RuntimeError):
    """A transport solver did not return an optimal pairing; an unconverged cost is no cost."""


@dataclass(frozen=True, eq=False)
class Transport:
    """A solved transport problem with the status of its solver.

    Attributes:
        cost: mean matched squared distance, recomputed from the coordinates in float64.
        permutation: (n,) row i of the student is matched with row permutation[i] of the teacher; None when
            the two clouds differ in size and mass is split.
        solver: "identity", "sort", "argmin", "lapjvr" or "emd".
        gap: certified relative distance to the optimum, (upper - lower) / upper; 0 when exact.
        lower, upper: certified bounds of the optimal cost; cost = upper.
    """

    cost: float
    permutation: np.ndarray | None
    solver: str
    gap: float
    lower: float
    upper: float

    def to_dict(self) -> dict[str, float | str]:
        """The status without the permutation, JSON-ready."""
        return {
            "cost": self.cost,
            "solver": self.solver,
            "gap": self.gap,
            "lower": self.lower,
            "upper": self.upper,
        }


def distance_blocks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
    """Squared distances between all rows of `a` (n, d) and `b` (m, d), block by block in float64.

    `|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>` cancels for near-copies far from the origin, so both clouds are
    centred by their common mean first; what is left is an error of a few units in the last place of `|x|^2 +
    |y|^2`, which is yielded beside the distances for whoever has to tell a tie from rounding.

    Yields:
        rows, columns: slices of `a` and `b`.
        distances: (rows, columns), never negative.
        scale: (rows, columns), `|x|^2 + |y|^2` about the common mean.
    """
    n, m, d = len(a), len(b), a.shape[1]
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    centre = (n * mean_a + m * mean_b) / (n + m)  # (d,)
    step = int(np.clip(_BLOCK_BYTES // (8 * max(d, 1)), 64, 2048))
    for start_b in range(0, m, step):
        columns = slice(start_b, min(start_b + step, m))
        y = b[columns] - centre  # (columns, d), float64 because the centre is
        norms_y = np.einsum("jd,jd->j", y, y)
        for start_a in range(0, n, step):
            rows = slice(start_a, min(start_a + step, n))
            x = a[rows] - centre
            scale = np.einsum("id,id->i", x, x)[:, None] + norms_y  # (rows, columns)
            distances = x @ y.T
            distances *= -2.0
            distances += scale
            yield rows, columns, np.maximum(distances, 0.0, out=distances), scale


def squared_distances(a: np.ndarray, b: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """All squared Euclidean distances, (n, m), between the rows of `a` (n, d) and `b` (m, d).

    Summed in float64 about the common mean, rounded to `dtype` at the end, never negative.
    """
    matrix: np.ndarray = np.empty((len(a), len(b)), dtype)
    for rows, columns, distances, _ in distance_blocks(a, b):
        matrix[rows, columns] = distances
    return matrix


def matched_distances(P: np.ndarray, G: np.ndarray, permutation: np.ndarray | None = None) -> np.ndarray:
    """`|P_pi(i) - G_i|^2`, (n,), from the coordinates in float64; pi = identity without `permutation`."""
    out = np.empty(len(G))
    step = max(1, _BLOCK_BYTES // (8 * G.shape[1]))
    for start in range(0, len(G), step):
        rows = slice(start, start + step)
        partner = P[rows] if permutation is None else P[permutation[rows]]
        difference = np.subtract(partner, G[rows], dtype=np.float64)
        out[rows] = np.einsum("id,id->i", difference, difference)
    return out


def cost_dtype(n: int) -> type:
    """The type in which an (n, n) cost matrix is stored for the solver; see `_FLOAT64_LIMIT`."""
    return np.float64 if n <= _FLOAT64_LIMIT else np.float32


def assignment(P: np.ndarray, G: np.ndarray, *, cost: np.ndarray | None = None) -> Transport:
    """The optimal one-to-one pairing of two clouds of equal size, chosen by structure.

    Args:
        P: teacher outputs, (n, d).
        G: student outputs, (n, d).
        cost: the matrix `|P_j - G_i|^2` (row i student, column j teacher) where the caller has it already.

    Returns:
        The Transport. Where the shared-noise pairing is as cheap as the solver's, it is the one returned.

    Raises:
        InputError: clouds of unequal shape.
        TransportError: the solver failed or returned something that is no permutation.
    """
    P, G = np.asarray(P), np.asarray(G)
    if P.ndim != 2 or P.shape != G.shape:
        raise InputError(f"assignment needs two (n, d) clouds of equal shape, got {P.shape} and {G.shape}.")
    if P.shape[1] == 1:
        return _finish(P, G, _sorted_pairing(P, G), "sort", 0.0)
    if cost is None:
        if identity_is_optimal(P, G):
            return _finish(P, G, np.arange(len(P)), "identity", 0.0)
        cost = squared_distances(G, P, cost_dtype(len(P)))
    gap = 0.0 if cost.dtype == np.float64 else _FLOAT32_GAP
    found = _argmin_pairing(cost)
    if found is not None:
        return _finish(P, G, found, "argmin", gap)
    return _finish(P, G, _solve(cost), "lapjvr", gap)


def transport_cost(a: np.ndarray, b: np.ndarray) -> Transport:
    """The exact transport cost between two uniform clouds (n, d) and (m, d); n and m may differ.

    Raises:
        InputError: unequal dimension.
        TransportError: the solver did not converge.
    """
    if a.shape[1] != b.shape[1]:
        raise InputError(f"transport_cost needs equal dimensions, got clouds of shape {a.shape} and {b.shape}.")
    return assignment(a, b) if len(a) == len(b) else _unequal_sizes(a, b)


def identity_is_optimal(P: np.ndarray, G: np.ndarray) -> bool:
    """Whether every `G_i` is certainly nearest to its own `P_i`, so that the identity is an optimal
    assignment.

    Sufficient, not necessary. Costs at most one float32 product and stops at the first block that says no. In
    float32 the inner product of two d-vectors is wrong by at most about `(d + 4) u |x| |y|`, u = 2^-24; a row
    is accepted only when it wins by more than that, so rounding cannot produce a wrong yes.
    """
    n, d = P.shape
    centre = P.mean(axis=0, dtype=np.float64)
    step = max(32, min(256, n // 8))
    blocks = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    p = np.empty((n, d), np.float32)
    for rows in blocks:  # no float64 copy of the whole array
        p[rows] = P[rows] - centre
    half = 0.5 * np.einsum("id,id->i", p, p)  # (n,)
    longest = float(np.sqrt(2.0 * half.max()))
    unit = 2.0**-24 * (d + 4)
    for rows in blocks:
        g = (G[rows] - centre).astype(np.float32)
        closeness = g @ p.T - half  # (rows, n): <g, p> - |p|^2 / 2, largest at the nearest teacher output
        at = (np.arange(len(g)), np.arange(n)[rows])
        own = closeness[at]
        closeness[at] = -np.inf
        error = 2.0 * unit * longest * (np.sqrt(np.einsum("id,id->i", g, g)) + longest)
        if not np.all(own - closeness.max(axis=1) > error):
            return False
    return True


def _sorted_pairing(P: np.ndarray, G: np.ndarray) -> np.ndarray:
    """The optimal permutation on the line: equal ranks meet."""
    permutation = np.empty(len(P), np.int64)
    permutation[np.argsort(G[:, 0], kind="stable")] = np.argsort(P[:, 0], kind="stable")
    return permutation


def _argmin_pairing(cost: np.ndarray) -> np.ndarray | None:
    """The permutation made by the row or column minimisers of (n, n) `cost`, None where they are none."""
    nearest_teacher = cost.argmin(axis=1)
    if _is_permutation(nearest_teacher, len(cost)):
        return nearest_teacher
    nearest_student = cost.argmin(axis=0)
    return np.argsort(nearest_student) if _is_permutation(nearest_student, len(cost)) else None


def _is_permutation(candidate: np.ndarray, n: int) -> bool:
    in_range = len(candidate) == n and candidate.min() >= 0 and candidate.max() < n
    return in_range and len(np.unique(candidate)) == n


def _solve(cost: np.ndarray) -> np.ndarray:
    """The optimal column of every row, (n,), by lapx; raises TransportError unless it is a permutation."""
    import lap

    n = len(cost)
    try:
        rows, columns = lap.lapjvr(cost, return_cost=False)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise TransportError(f"lapjvr failed on a {n} x {n} assignment: {error}") from error
    rows, columns = np.asarray(rows), np.asarray(columns)
    if not np.array_equal(rows, np.arange(n)) or not _is_permutation(columns, n):
        raise TransportError(f"lapjvr returned no permutation for a {n} x {n} assignment; its cost is not used.")
    return columns.astype(np.int64)


def _finish(P: np.ndarray, G: np.ndarray, permutation: np.ndarray, solver: str, gap: float) -> Transport:
    """The Transport of `permutation`, or of the identity when that is as cheap (ties, rounding)."""
    identity = np.arange(len(P))
    cost = float(matched_distances(P, G, permutation).mean())
    shared = float(matched_distances(P, G).mean())
    if shared <= cost:
        cost, permutation = shared, identity
    return Transport(cost, permutation, solver, gap, cost * (1.0 - gap), cost)


def _unequal_sizes(a: np.ndarray, b: np.ndarray) -> Transport:
    """Transport between uniform clouds of unequal size by POT's network simplex, with a certificate."""
    for backend in ("JAX", "TENSORFLOW", "CUPY"):  # POT imports every backend it finds
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    import ot

    cost = squared_distances(a, b)
    weights_a, weights_b = np.full(len(a), 1.0 / len(a)), np.full(len(b), 1.0 / len(b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its status is read from the log below, and is an error there
        plan, log = ot.emd(weights_a, weights_b, cost, numItermax=_POT_ITERATIONS, log=True)
    if log["warning"] is not None:
        raise TransportError(f"POT's emd did not converge on {len(a)} x {len(b)} points: {log['warning']}")
    upper = float((plan * cost).sum())
    v = np.asarray(log["v"])
    lower = min(upper, float((cost - v).min(axis=1).mean() + v.mean()))
    gap = (upper - lower) / upper if upper > 0 else 0.0
    if gap > 1e-6:
        raise TransportError(f"POT's emd left a gap of {gap:.1e} on {len(a)} x {len(b)} points.")
    return Transport(upper, None, "emd", gap, lower, upper)
