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

from dmdlab.transport.distances import filled
from dmdlab.transport.frame import Frame
from dmdlab.transport.solution import TransportError, is_permutation

# Above this n the matrix is stored in float32: distances are still summed in float64 and then rounded, so a permutation
# that is optimal for the rounded matrix is optimal for the true one up to the ratio (1 + u) / (1 - u), u = 2^-24;
# measured to be 1.2 to 1.7 times faster and half the memory.
FLOAT64_LIMIT = 1500
_FLOAT32_GAP = 2.0**-22
_ACCEPT_ROWS = 256
# A cloud whose mean square is this many times its median square has rows so far out that float32 loses the others.
_FAR_OUT = 100.0
# Rounding below this share of the cost is not worth a bound.
_NEGLIGIBLE = 1e-6


def cost_dtype(frame: Frame) -> type:
    """The type in which the (n, n) cost matrix of a frame is stored for the solver; see `FLOAT64_LIMIT`."""
    if len(frame.P.points) <= FLOAT64_LIMIT:
        return np.float64
    far_out = any(x.mean_square > _FAR_OUT * float(np.median(x.squares)) > 0 for x in (frame.P, frame.G))
    return np.float64 if far_out else np.float32


def rounding(frame: Frame) -> float:
    """A bound on the float64 error of the mean of matched entries of the cost matrix, in units of the frame.

    From `d u |x| |y|` for an inner product: it follows the mean square of the clouds, whatever pairing is meant.
    """
    d = frame.P.points.shape[1]
    return 4.0 * (d + 8) * 2.0**-53 * (frame.P.mean_square + frame.G.mean_square)


def best_pairing(frame: Frame, cost: np.ndarray | None = None) -> tuple[np.ndarray, str, float]:
    """The optimal permutation of two (n, d) clouds, the solver that found it, and how far it can be from the optimum.

    Args:
        frame: of the two clouds.
        cost: the matrix `|p_j - g_i|^2` of the frame (row i student, column j teacher) where the caller has it already.

    Returns:
        permutation, solver, slack: the last in units of the frame.

    Raises:
        TransportError: the solver failed or returned something that is no permutation.
    """
    P, G = frame.P.points, frame.G.points
    if P.shape[1] == 1:
        permutation = np.empty(len(P), np.int64)  # equal ranks meet
        permutation[np.argsort(G[:, 0], kind="stable")] = np.argsort(P[:, 0], kind="stable")
        return permutation, "sort", 0.0
    if cost is None:
        if identity_is_optimal(frame):
            return np.arange(len(P)), "identity", 0.0
        cost = filled(frame.blocks(), len(G), len(P), cost_dtype(frame))
    permutation, solver = cost.argmin(axis=1), "argmin"
    if not is_permutation(permutation, len(cost)):
        permutation, solver = optimal_columns(cost), "lapjvr"
    reached = float(cost[np.arange(len(cost)), permutation].mean(dtype=np.float64))
    slack = 0.0 if cost.dtype == np.float64 else _FLOAT32_GAP * reached
    lost = 2.0 * rounding(frame)
    return permutation, solver, slack + (lost if lost > _NEGLIGIBLE * reached else 0.0)


def identity_is_optimal(frame: Frame) -> bool:
    """Whether every `g_i` is certainly nearest to its own `p_i`, so that the identity is an optimal assignment.

    Sufficient, not necessary. Costs at most one float32 product and stops at the first block that says no. In float32
    the inner product of two d-vectors is wrong by at most about `(d + 4) u |x| |y|`, u = 2^-24; a row is accepted only
    when it wins by more than that, so rounding cannot produce a wrong yes.
    """
    n, d = frame.P.points.shape
    if n > 2 * _ACCEPT_ROWS and not _own_wins(frame, slice(0, _ACCEPT_ROWS), d):
        return False  # most students fail here, before anything of size n is made
    return _own_wins(frame, slice(0, n), d)


def _own_wins(frame: Frame, chosen: slice, d: int) -> bool:
    """Whether each student of the first rows is nearest to its own teacher output among these rows."""
    n = chosen.stop
    blocks = [slice(start, min(start + _ACCEPT_ROWS, n)) for start in range(0, n, _ACCEPT_ROWS)]
    p = np.empty((n, d), np.float32)
    for rows in blocks:  # no float64 copy of the whole array
        p[rows] = frame.P.rows(rows)
    half = 0.5 * np.einsum("id,id->i", p, p)  # (n,)
    longest = float(np.sqrt(2.0 * half.max()))
    unit = 2.0**-24 * (d + 4)
    for rows in blocks:
        g = frame.G.rows(rows).astype(np.float32)
        closeness = g @ p.T - half  # (rows, n): <g, p> - |p|^2 / 2, largest at the nearest teacher output
        at = (np.arange(len(g)), np.arange(n)[rows])
        own = closeness[at]
        closeness[at] = -np.inf
        error = 2.0 * unit * longest * (np.sqrt(np.einsum("id,id->i", g, g)) + longest)
        if not np.all(own - closeness.max(axis=1) > error):
            return False
    return True


def optimal_columns(cost: np.ndarray) -> np.ndarray:
    """The optimal column of every row, (n,), by lapx; raises TransportError unless it is a permutation."""
    import lap

    n = len(cost)
    try:
        rows, columns = lap.lapjvr(cost, return_cost=False)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise TransportError(f"lapjvr failed on a {n} x {n} assignment: {error}; e_ot is unknown.") from error
    rows, columns = np.asarray(rows), np.asarray(columns)
    if not np.array_equal(rows, np.arange(n)) or not is_permutation(columns, n):
        raise TransportError(f"lapjvr returned no permutation for a {n} x {n} assignment; its cost is not used.")
    return columns.astype(np.int64)
