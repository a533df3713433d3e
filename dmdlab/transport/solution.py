"""A solved transport problem, and the error of one that was not solved."""

from dataclasses import dataclass

import numpy as np

from dmdlab.transport.frame import Frame, Matched


class TransportError(RuntimeError):
    """A transport solver did not return an optimal pairing; an unconverged cost is no cost.

    Its text is a sentence, with which the command line ends (exit status 2).
    """


@dataclass(frozen=True, eq=False)
class Transport:
    """A solved transport problem with the status of its solver.

    Attributes:
        cost: mean matched squared distance, recomputed from the coordinates in float64.
        permutation: (n,) row i of the student is matched with row permutation[i] of the teacher; None when the two
            clouds differ in size and mass is split.
        solver: "identity", "sort", "argmin", "lapjvr", "emd" or "certified".
        gap: certified relative distance to the optimum of the cost about the means, so that a shift of one cloud,
            which costs the same in every pairing, hides nothing; 0 when exact.
        lower, upper: certified bounds of the optimal cost; cost = upper.
        within: the cost about the means, `cost - |mean P - mean G|^2`.
        kept: certified bounds of the share of rows that an optimal pairing leaves in place; None where they were not
            computed, because `permutation` is optimal.
    """

    cost: float
    permutation: np.ndarray | None
    solver: str
    gap: float
    lower: float
    upper: float
    within: float
    kept: tuple[float, float] | None = None

    @staticmethod
    def of(
        frame: Frame,
        permutation: np.ndarray,
        solver: str,
        slack: float,
        kept: tuple[float, float] | None = None,
    ) -> "Transport":
        """The solution `permutation`, or the identity where that is as cheap (ties, rounding).

        Args:
            frame: of the two clouds.
            permutation: (n,).
            solver: who found it.
            slack: how far above the optimum its cost in the frame can be.
            kept: as in the attributes.
        """
        in_place = np.array_equal(permutation, np.arange(len(permutation)))
        shared = frame.shared
        found = shared if in_place else frame.matched(permutation)
        keep = shared.within <= found.within
        saved = max(0.0, found.within - shared.within)
        slack = max(0.0, frame.exchange * slack - saved)
        return Transport.at(
            shared if keep else found, np.arange(len(permutation)) if keep else permutation, solver, slack, kept
        )

    @staticmethod
    def at(
        matched: Matched,
        permutation: np.ndarray | None,
        solver: str,
        slack: float,
        kept: tuple[float, float] | None = None,
    ) -> "Transport":
        """The solution with these matched pairs, at most `slack` above the optimum in the caller's units."""
        within, shift = matched.within, matched.shift
        slack = min(slack, within)
        gap = slack / within if within > 0 else 0.0
        return Transport(within + shift, permutation, solver, gap, within - slack + shift, within + shift, within, kept)

    @property
    def best_within(self) -> float:
        """The lower bound of the cost about the means."""
        return self.within * (1.0 - self.gap)

    def to_dict(self) -> dict[str, float | str]:
        """The status without the permutation, JSON-ready."""
        return {key: getattr(self, key) for key in ("cost", "solver", "gap", "lower", "upper")}


def is_permutation(candidate: np.ndarray, n: int) -> bool:
    """Whether `candidate` holds each of 0..n-1 once."""
    in_range = len(candidate) == n and candidate.min() >= 0 and candidate.max() < n
    return in_range and len(np.unique(candidate)) == n
