"""Squared Euclidean distances between two clouds, in float64 blocks, so that near-copies keep their digits."""

from collections.abc import Iterator

import numpy as np

# One block of distances and of converted rows takes about this much memory.
_BLOCK_BYTES = 128 * 2**20
_ROWS, _COLUMNS = 256, 4096


def distance_blocks(
    a: np.ndarray, b: np.ndarray
) -> Iterator[tuple[slice, slice, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """Squared distances between all rows of `a` (n, d) and `b` (m, d), block by block in float64.

    `|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>` cancels for near-copies far from the origin, so both clouds are centred by
    their common mean first; what is left is an error of a few units in the last place of `|x|^2 + |y|^2`, whose two
    terms are yielded beside the distances for whoever has to tell a tie from rounding. The sum is taken inside one
    matrix product, of `(-2 x, |x|^2, 1)` with `(y, 1, |y|^2)`, which saves three passes over the block.

    Yields:
        rows, columns: slices of `a` and `b`.
        distances: (rows, columns), never negative.
        norms: `|x|^2` (rows,) and `|y|^2` (columns,) about the common mean.
    """
    n, m, d = len(a), len(b), a.shape[1]
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    centre = (n * mean_a + m * mean_b) / (n + m)  # (d,)
    step = int(np.clip(_BLOCK_BYTES // (8 * d), 64, _COLUMNS))
    for start_b in range(0, m, step):
        columns = slice(start_b, min(start_b + step, m))
        y, norms_y = _centred(b[columns], centre)  # (columns, d + 2), (columns,)
        y[:, d], y[:, d + 1] = 1.0, norms_y
        for start_a in range(0, n, min(step, _ROWS)):
            rows = slice(start_a, min(start_a + min(step, _ROWS), n))
            x, norms_x = _centred(a[rows], centre)  # (rows, d + 2), (rows,)
            x *= -2.0
            x[:, d], x[:, d + 1] = norms_x, 1.0
            distances = x @ y.T
            yield rows, columns, np.maximum(distances, 0.0, out=distances), (norms_x, norms_y)


def _centred(block: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`block - centre` in float64 with room for two more columns, (rows, d + 2), and its squared norms, (rows,)."""
    d = block.shape[1]
    wide = np.zeros((len(block), d + 2))
    np.subtract(block, centre, out=wide[:, :d])
    return wide, np.einsum("id,id->i", wide[:, :d], wide[:, :d])


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


def or_identity(P: np.ndarray, G: np.ndarray, permutation: np.ndarray) -> tuple[np.ndarray, float]:
    """`permutation` and its cost, or the identity and its own where that is as cheap (ties, rounding)."""
    cost, shared = float(matched_distances(P, G, permutation).mean()), float(matched_distances(P, G).mean())
    return (np.arange(len(P)), shared) if shared <= cost else (permutation, cost)
