"""A solved transport problem, and the error of one that was not solved."""

from dataclasses import dataclass

import numpy as np


class TransportError(RuntimeError):
    """A transport solver did not return an optimal pairing; an unconverged cost is no cost."""


@dataclass(frozen=True, eq=False)
class Transport:
    """A solved transport problem with the status of its solver.

    Attributes:
        cost: mean matched squared distance, recomputed from the coordinates in float64.
        permutation: (n,) row i of the student is matched with row permutation[i] of the teacher; None when the two
            clouds differ in size and mass is split.
        solver: "identity", "sort", "argmin", "lapjvr", "emd" or "certified".
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
        return {key: getattr(self, key) for key in ("cost", "solver", "gap", "lower", "upper")}


def is_permutation(candidate: np.ndarray, n: int) -> bool:
    """Whether `candidate` holds each of 0..n-1 once."""
    in_range = len(candidate) == n and candidate.min() >= 0 and candidate.max() < n
    return in_range and len(np.unique(candidate)) == n
