"""The cost of the best pairing of two clouds, by the solver that its size and structure ask for.

One dimension: sort. A student whose outputs are nearest to their own teacher outputs: nothing to solve. Up to about ten
thousand rows: an exact assignment. Beyond: few distinct points as weighted points, and in general a certified interval.
Every answer says which solver gave it and how far from the optimum it can be. All of them see the clouds in one frame:
each about its own mean, in units of its spread.
"""

import numpy as np

from dmdlab.config import InputError
from dmdlab.transport.certified import certified_interval
from dmdlab.transport.engine import Engine
from dmdlab.transport.exact import best_pairing, identity_is_optimal
from dmdlab.transport.frame import Frame
from dmdlab.transport.solution import Transport
from dmdlab.transport.weighted import repeated_points, unequal_sizes

# Above this n the full matrix (400 MB in float32) is not stored any more.
DENSE_LIMIT = 10_000
# Clouds of different sizes have no other way than all their distances, in float64: 800 MB of them.
UNEQUAL_LIMIT = DENSE_LIMIT**2


def assignment(P: np.ndarray, G: np.ndarray, *, relative_gap: float = 1e-3, engine: Engine | None = None) -> Transport:
    """The optimal one-to-one pairing of two clouds of equal size, chosen by n, d and structure.

    Args:
        P: teacher outputs, (n, d).
        G: student outputs, (n, d).
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
    return solved(Frame.of(P, G), relative_gap=relative_gap, engine=engine)


def solved(
    frame: Frame, cost: np.ndarray | None = None, *, relative_gap: float = 1e-3, engine: Engine | None = None
) -> Transport:
    """`assignment` for whoever has the frame, and perhaps its cost matrix, already.

    Args:
        frame: of two clouds of equal shape (n, d).
        cost: `|p_j - g_i|^2` of the frame, (n, n): row i student, column j teacher.
        relative_gap, engine: as for `assignment`.

    Raises:
        TransportError: the solver failed or returned something that is no permutation.
    """
    n, d = frame.P.points.shape
    if n <= DENSE_LIMIT or d == 1 or cost is not None:
        return Transport.of(frame, *best_pairing(frame, cost))
    if identity_is_optimal(frame):
        return Transport.of(frame, np.arange(n), "identity", 0.0)
    if repeats := repeated_points(frame):
        permutation, slack = repeats
        return Transport.of(frame, permutation, "emd", slack)
    return certified_interval(frame, relative_gap=relative_gap, engine=engine)


def transport_cost(a: np.ndarray, b: np.ndarray, *, engine: Engine | None = None) -> Transport:
    """The exact transport cost between two uniform clouds (n, d) and (m, d); n and m may differ.

    Raises:
        InputError: unequal dimension, or as `check_sizes`.
        TransportError: the solver did not converge.
    """
    if a.shape[1] != b.shape[1]:
        raise InputError(f"transport_cost needs equal dimensions, got clouds of shape {a.shape} and {b.shape}.")
    check_sizes(len(a), len(b))
    return assignment(a, b, engine=engine) if len(a) == len(b) else unequal_sizes(Frame.of(a, b))


def check_sizes(n: int, m: int) -> None:
    """Raises `InputError` where clouds of n and m rows differ in size and are too large for all their distances."""
    if n != m and n * m > UNEQUAL_LIMIT:
        raise InputError(
            f"a reference of {n:,} rows against {m:,} outputs: at different sizes all their {n * m:,} distances are "
            f"needed at once ({8 * n * m / 2**30:.3g} GiB), and that is tried up to {UNEQUAL_LIMIT:,}; give one of "
            f"as many rows, or of at most {UNEQUAL_LIMIT // m:,}"
        )
