"""Which part of a law a sample reaches: coverage, and what is lost in one piece.

A row of the reference is covered when the sample has a row within the distance to the reference's own `NEIGHBOURS`-th
nearest other row (Naeem et al. 2020, arXiv 2002.09797, eq. 9). For a sample of the reference's own law and size the
expected share, about 1 - 2^-k, is the same for every law and dimension, since which of two equal samples holds the k
nearest rows is chance. Rows that chance leaves uncovered lie scattered; a mode that is lost leaves whole
neighbourhoods empty, and `lost` counts the rows in their middle: about 0 by chance, about its weight for a lost mode.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

LAW_ROWS = 400
"""Rows that fidelity, coverage and lost are read from at a checkpoint of a training (ours)."""

NEIGHBOURS = 5
"""Of the reference, whose distance says what is near (the source's)."""

AROUND = 10
"""Nearest rows of the reference that are looked at for a loss in one piece (ours)."""

EMPTY = 0.2
"""Share of covered rows among a row and those around it up to which their place counts as lost (ours)."""


@dataclass(frozen=True, eq=False)
class Reach:
    """A reference (m, d) prepared for many samples: the radius (m,) of each row and the rows around it (m, around)."""

    reference: np.ndarray
    radius: np.ndarray
    around: np.ndarray

    @classmethod
    def of(cls, reference: np.ndarray) -> "Reach":
        """reference: (m, d), m >= 2; with few rows, fewer neighbours."""
        reference = np.asarray(reference, dtype=np.float64)
        distances = cdist(reference, reference)
        nearest = np.argsort(distances, axis=1, kind="stable")
        k = min(NEIGHBOURS, len(reference) - 1)
        radius = np.take_along_axis(distances, nearest, axis=1)[:, k]  # index 0 is the row itself
        return cls(reference, radius, nearest[:, : AROUND + 1])

    def read(self, sample: np.ndarray) -> tuple[float, float]:
        """(coverage, lost) of a sample (n, d); NaN for one that is not finite."""
        sample = np.asarray(sample, dtype=np.float64)
        if not np.isfinite(sample).all():
            return float("nan"), float("nan")
        covered = cdist(self.reference, sample).min(axis=1) <= self.radius
        return float(covered.mean()), float((covered[self.around].mean(axis=1) <= EMPTY).mean())
