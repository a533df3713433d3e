"""The cost of the best pairing of two clouds, by the solver that its size and structure ask for.

One dimension: sort. A student whose outputs are nearest to their own teacher outputs: nothing to solve. Up to about ten
thousand rows: an exact assignment. Beyond: few distinct points as weighted points, and in general a certified interval.
Every answer says which solver gave it and how far from the optimum it can be.
"""

import numpy as np

from dmdlab.config import InputError
from dmdlab.transport.certified import certified_interval
from dmdlab.transport.distances import matched_distances, or_identity
from dmdlab.transport.engine import Engine
from dmdlab.transport.exact import best_pairing, identity_is_optimal
from dmdlab.transport.solution import Transport
from dmdlab.transport.weighted import repeated_points, unequal_sizes

# Above this n the full matrix (400 MB in float32) is not stored any more.
DENSE_LIMIT = 10_000


def assignment(
    P: np.ndarray,
    G: np.ndarray,
    *,
    cost: np.ndarray | None = None,
    relative_gap: float = 1e-3,
    engine: Engine | None = None,
) -> Transport:
    """The optimal one-to-one pairing of two clouds of equal size, chosen by n, d and structure.

    Args:
        P: teacher outputs, (n, d).
        G: student outputs, (n, d).
        cost: the matrix `|P_j - G_i|^2` (row i student, column j teacher) where the caller has it already.
        relative_gap: for n above `DENSE_LIMIT`, the certified gap at which to stop.
        engine: for n above `DENSE_LIMIT`, who makes the passes over all pairs; numpy when None.

    Returns:
        The Transport. Where the shared-noise pairing is as cheap as the solver's, it is the one returned.

    Raises:
        InputError: clouds of unequal shape.
        TransportError: the solver failed or returned something that is no permutation.
    """
    P, G = np.asarray(P), np.asarray(G)
    if P.ndim != 2 or P.shape != G.shape:
        raise InputError(f"assignment needs two (n, d) clouds of equal shape, got {P.shape} and {G.shape}.")
    if len(P) <= DENSE_LIMIT or P.shape[1] == 1 or cost is not None:
        return _finish(P, G, *best_pairing(P, G, cost))
    if identity_is_optimal(P, G):
        return _finish(P, G, np.arange(len(P)), "identity", 0.0)
    if repeats := repeated_points(P, G):
        permutation, lower = repeats
        upper = float(matched_distances(P, G, permutation).mean())
        return _finish(P, G, permutation, "emd", max(0.0, upper - lower) / upper if upper > 0 else 0.0)
    return certified_interval(P, G, relative_gap=relative_gap, engine=engine)


def transport_cost(a: np.ndarray, b: np.ndarray, *, engine: Engine | None = None) -> Transport:
    """The exact transport cost between two uniform clouds (n, d) and (m, d); n and m may differ.

    Raises:
        InputError: unequal dimension.
        TransportError: the solver did not converge.
    """
    if a.shape[1] != b.shape[1]:
        raise InputError(f"transport_cost needs equal dimensions, got clouds of shape {a.shape} and {b.shape}.")
    return assignment(a, b, engine=engine) if len(a) == len(b) else unequal_sizes(a, b)


def _finish(P: np.ndarray, G: np.ndarray, permutation: np.ndarray, solver: str, gap: float) -> Transport:
    """The Transport of `permutation`, or of the identity when that is as cheap (ties, rounding)."""
    permutation, cost = or_identity(P, G, permutation)
    return Transport(cost, permutation, solver, gap, cost * (1.0 - gap), cost)
