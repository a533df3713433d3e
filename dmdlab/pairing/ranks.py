"""Where each student output's own partner stands among all teacher outputs: one pass over blocks of distances."""

from dataclasses import dataclass, replace

import numpy as np

from dmdlab.transport import Frame
from dmdlab.transport.distances import ordering_terms
from dmdlab.transport.exact import cost_dtype

# Squared distances closer than this share of the terms that they are summed from, each cloud about its own mean, are
# ties: about 450 units in the last place, above the rounding of the blocked inner products and far below what float32
# inputs can tell apart.
_TIE = 1e-13


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where each student output's own partner stands among all teacher outputs.

    Attributes:
        nearer, tied: (n,) how many other teacher outputs are nearer to G_i than P_i is, and as near.
        beaten_by_row: (n,) sum over j of [|P_j - G_i| > |P_i - G_i|], ties 1/2.
        beaten_by_column: (n,) the same summed over i for each j.
        cost: (n, n) |p_j - g_i|^2 of the frame for the assignment; row i student, column j teacher. None where it was
            not kept.
        inner_square: sum over i, j of <p_j, g_i>^2, p and g as in the frame.
    """

    nearer: np.ndarray
    tied: np.ndarray
    beaten_by_row: np.ndarray
    beaten_by_column: np.ndarray
    cost: np.ndarray | None
    inner_square: float

    @staticmethod
    def of(P: np.ndarray, G: np.ndarray) -> "Ranks":
        """Ranks of (n, d) arrays without the matrix."""
        return Ranks.within(Frame.of(P, G), keep_cost=False)

    @staticmethod
    def within(frame: Frame, *, keep_cost: bool = True) -> "Ranks":
        """Ranks and cost matrix of two clouds of equal shape (n, d)."""
        n = len(frame.P.points)
        nearer, farther, columns_won = np.zeros(n), np.zeros(n), np.zeros(n)
        row_sum, column_sum, square = np.zeros(n), np.zeros(n), 0.0
        cost: np.ndarray | None = np.empty((n, n), cost_dtype(frame)) if keep_cost else None
        own = own_distances(frame)
        # Of two teacher outputs P_j is the nearer to G_i if |p_j - g_i|^2 + c_j is smaller: `least` and `most` are the
        # ends of the tie about P_i itself, `below` and `above` what column j takes off them.
        c, size = ordering_terms(frame)
        slack_row, slack_column = _TIE * (size + frame.G.squares), _TIE * (size + frame.P.squares)
        least, most = own + c - slack_row, own + c + slack_row
        below, above = c - slack_column, c + slack_column
        for rows, columns, distances, _ in frame.blocks():
            if cost is not None:
                cost[rows, columns] = distances
            row_sum[rows] += distances.sum(axis=1)
            column_sum[columns] += distances.sum(axis=0)
            square += float(np.einsum("ij,ij->", distances, distances))
            is_farther = distances > most[rows, None] - below[columns]  # (rows, columns)
            is_nearer = distances < least[rows, None] - above[columns]
            # The partner itself, whose entry differs from `own` by rounding, counts as a tie and is taken out below.
            at = np.arange(max(rows.start, columns.start), min(rows.stop, columns.stop))
            is_nearer[at - rows.start, at - columns.start] = False
            is_farther[at - rows.start, at - columns.start] = False
            nearer[rows] += is_nearer.sum(axis=1)
            farther[rows] += is_farther.sum(axis=1)
            columns_won[columns] += 0.5 * (is_farther.sum(axis=0) + (len(distances) - is_nearer.sum(axis=0)))
        if cost is not None:
            np.fill_diagonal(cost, own)
        tied = n - 1 - nearer - farther
        # Centring D in rows and columns leaves -2 <p_j, g_i>, as in classical scaling.
        centred = square - (row_sum @ row_sum + column_sum @ column_sum - row_sum.sum() ** 2 / n) / n
        inner_square = max(0.0, 0.25 * float(centred))
        return Ranks(nearer, tied, farther + 0.5 * tied, columns_won - 0.5, cost, inner_square)

    def without_cost(self) -> "Ranks":
        """The ranks alone."""
        return replace(self, cost=None)

    def recall(self, k: float) -> float:
        """Share of i whose partner is among the k nearest, ties broken at random (in expectation); between whole k on a
        straight line."""
        return float(np.clip((k - self.nearer) / (1.0 + self.tied), 0.0, 1.0).mean())

    def auc(self) -> tuple[float, np.ndarray]:
        """pair_auc of the sample, and of the n samples that miss one row each, (n,)."""
        n, won = len(self.nearer), self.beaten_by_row.sum()
        without = won - self.beaten_by_row - self.beaten_by_column
        return float(won / (n * (n - 1))), without / max(1, (n - 1) * (n - 2))


def own_distances(frame: Frame) -> np.ndarray:
    """`|p_i - g_i|^2` of a frame, (n,)."""
    parts = [frame.P.rows(rows) - frame.G.rows(rows) for rows in frame.P.parts()]
    return np.concatenate([np.einsum("id,id->i", x, x) for x in parts])
