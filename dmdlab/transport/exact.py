"""The best pairing of two clouds of equal size, exactly, from the full matrix of distances where it is needed.

`e_ot = min over permutations pi of mean_i |P_pi(i) - G_i|^2`. The linear program behind it has the dual
`max over v of mean_j v_j + mean_i min_j (C_ij - v_j)`, and v = 0 already settles one structure: when the row
minimisers of C are a permutation, the cost of that permutation *equals* the dual value at v = 0, so it is optimal.
(The same holds for columns; there the solver's own first phase finds it.) The identity is the case of a student whose
every output is nearest to its own teacher output. What is left goes to the Jonker-Volgenant solver of lapx.

Source of the solver: Jonker and Volgenant, Computing 38 (1987). On the line the sorted pairing is optimal for every
convex cost (Santambrogio, "Optimal Transport for Applied Mathematicians", Theorem 2.9).
"""

import numpy as np

from dmdlab.transport.distances import squared_distances
from dmdlab.transport.solution import TransportError, is_permutation

# Above this n the matrix is stored in float32: distances are still summed in float64 and then rounded, so a permutation
# that is optimal for the rounded matrix is optimal for the true one up to the ratio (1 + u) / (1 - u), u = 2^-24;
# measured to be 1.2 to 1.7 times faster and half the memory.
_FLOAT64_LIMIT = 1500
_FLOAT32_GAP = 2.0**-22
_ACCEPT_ROWS = 256


def cost_dtype(n: int) -> type:
    """The type in which an (n, n) cost matrix is stored for the solver; see `_FLOAT64_LIMIT`."""
    return np.float64 if n <= _FLOAT64_LIMIT else np.float32


def best_pairing(P: np.ndarray, G: np.ndarray, cost: np.ndarray | None = None) -> tuple[np.ndarray, str, float]:
    """The optimal permutation of two (n, d) clouds, the solver that found it, and its certified relative gap.

    Args:
        P, G: teacher and student outputs, (n, d).
        cost: the matrix `|P_j - G_i|^2` (row i student, column j teacher) where the caller has it already.

    Raises:
        TransportError: the solver failed or returned something that is no permutation.
    """
    if P.shape[1] == 1:
        permutation = np.empty(len(P), np.int64)  # equal ranks meet
        permutation[np.argsort(G[:, 0], kind="stable")] = np.argsort(P[:, 0], kind="stable")
        return permutation, "sort", 0.0
    if cost is None:
        if identity_is_optimal(P, G):
            return np.arange(len(P)), "identity", 0.0
        cost = squared_distances(G, P, cost_dtype(len(P)))
    gap = 0.0 if cost.dtype == np.float64 else _FLOAT32_GAP
    nearest_teacher = cost.argmin(axis=1)
    if is_permutation(nearest_teacher, len(cost)):
        return nearest_teacher, "argmin", gap
    return _solve(cost), "lapjvr", gap


def identity_is_optimal(P: np.ndarray, G: np.ndarray) -> bool:
    """Whether every `G_i` is certainly nearest to its own `P_i`, so that the identity is an optimal assignment.

    Sufficient, not necessary. Costs at most one float32 product and stops at the first block that says no. In float32
    the inner product of two d-vectors is wrong by at most about `(d + 4) u |x| |y|`, u = 2^-24; a row is accepted only
    when it wins by more than that, so rounding cannot produce a wrong yes.
    """
    n, d = P.shape
    if n > 2 * _ACCEPT_ROWS and not identity_is_optimal(P[:_ACCEPT_ROWS], G[:_ACCEPT_ROWS]):
        return False  # most students fail here, before anything of size n is made
    centre = P.mean(axis=0, dtype=np.float64)
    step = min(_ACCEPT_ROWS, n)
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


def _solve(cost: np.ndarray) -> np.ndarray:
    """The optimal column of every row, (n,), by lapx; raises TransportError unless it is a permutation."""
    import lap

    n = len(cost)
    try:
        rows, columns = lap.lapjvr(cost, return_cost=False)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise TransportError(f"lapjvr failed on a {n} x {n} assignment: {error}") from error
    rows, columns = np.asarray(rows), np.asarray(columns)
    if not np.array_equal(rows, np.arange(n)) or not is_permutation(columns, n):
        raise TransportError(f"lapjvr returned no permutation for a {n} x {n} assignment; its cost is not used.")
    return columns.astype(np.int64)
