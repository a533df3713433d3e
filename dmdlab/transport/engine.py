"""The two passes over all pairs of a certified solve, which are nearly all of its work, here in numpy.

With C_ij the squared distance of row i and column j: a soft minimum of C_ij - v_j over j, and the smallest of these
with the columns where they are small. C is made in blocks and never kept. `on_gpu` computes the same on a torch device.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_BLOCK_BYTES = 16 * 2**20  # of distances, so that a block stays in the cache between its passes
_GROUP = 32

# (rows (n, d), columns (m, d), potential (m,), eps) -> (n,); see `soft_minimum`.
SoftMinimum = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]


class NearestReduced(Protocol):
    """See `nearest_reduced`."""

    def __call__(
        self, rows: np.ndarray, columns: np.ndarray, potential: np.ndarray, k: int, own: bool = True, /
    ) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class Engine:
    """Who makes the two passes: `NUMPY`, or a torch device (`dmdlab.transport.on_gpu`)."""

    soft: SoftMinimum
    nearest: NearestReduced


def soft_minimum(rows: np.ndarray, columns: np.ndarray, potential: np.ndarray, eps: float) -> np.ndarray:
    """`-eps log sum_j exp((potential_j - C_ij) / eps)`, (n,): at most the minimum over j of C_ij - potential_j.

    Args:
        rows, columns: clouds (n, d) and (m, d), float32.
        potential: (m,).
        eps: temperature, in the units of the cost.
    """
    out = np.empty(len(rows), np.float32)
    for part, cost in _cost_blocks(rows, columns):
        exponent = np.subtract(potential, cost, out=cost)  # (part, m)
        exponent *= np.float32(1.0 / eps)
        largest = exponent.max(axis=1)
        exponent -= largest[:, None]
        out[part] = -np.float32(eps) * (largest + np.log(np.exp(exponent, out=exponent).sum(axis=1)))
    return out


def nearest_reduced(
    rows: np.ndarray, columns: np.ndarray, potential: np.ndarray, k: int, own: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """`min_j C_ij - potential_j`, (n,), and k columns (n, k) where it is small, the smallest among them.

    The k are the best of groups of consecutive columns, at most one of a group: a fast stand-in for the k
    smallest, which pricing does not need.

    Args:
        rows, columns: clouds (n, d) and (m, d), float64.
        potential: (m,).
        k: at most m.
        own: whether row i may choose column i; without it, n = m, and the minimum is infinite for n = 1.
    """
    n, m = len(rows), len(columns)
    group = max(1, min(_GROUP, m // k))
    whole = m // group * group
    smallest, chosen = np.empty(n), np.empty((n, k), np.int64)
    for part, cost in _cost_blocks(rows, columns):
        cost -= potential
        if not own:
            cost[np.arange(len(cost)), np.arange(part.start, part.stop)] = np.inf
        grouped = cost[:, :whole].reshape(len(cost), -1, group)  # (part, groups, group)
        within = grouped.argmin(axis=2)
        best = np.take_along_axis(grouped, within[:, :, None], axis=2)[:, :, 0]
        at = within + group * np.arange(best.shape[1])
        if whole < m:  # the last, shorter group
            last = whole + cost[:, whole:].argmin(axis=1)[:, None]
            at = np.concatenate([at, last], axis=1)
            best = np.concatenate([best, np.take_along_axis(cost, last, axis=1)], axis=1)
        pick = np.argpartition(best, k - 1, axis=1)[:, :k]
        smallest[part], chosen[part] = best.min(axis=1), np.take_along_axis(at, pick, axis=1)
    return smallest, chosen


def _cost_blocks(rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of a few rows to all columns, block by block, in the type of the clouds."""
    norms = np.einsum("jd,jd->j", columns, columns)
    step = max(16, _BLOCK_BYTES // (columns.itemsize * len(columns)))
    for start in range(0, len(rows), step):
        part = slice(start, min(start + step, len(rows)))
        cost = rows[part] @ columns.T  # (part, m)
        cost *= -2.0
        cost += norms
        cost += np.einsum("id,id->i", rows[part], rows[part])[:, None]
        yield part, cost


NUMPY = Engine(soft_minimum, nearest_reduced)
