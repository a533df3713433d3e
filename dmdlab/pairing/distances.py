"""Squared Euclidean distances between two clouds, in blocks of float64, so that near-copies keep their digits."""

from collections.abc import Iterator

import numpy as np

# One block of distances and of converted rows takes about this much memory.
_BLOCK_BYTES = 64 * 2**20


def distance_blocks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
    """Squared distances between all rows of `a` (n, d) and `b` (m, d), block by block in float64.

    `|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>` cancels for near-copies far from the origin, so both clouds are
    centred by their common mean first; what is left is an error of a few units in the last place of `|x|^2 +
    |y|^2`, which is yielded beside the distances for whoever has to tell a tie from rounding.

    Yields:
        rows, columns: slices of `a` and `b`.
        distances: (rows, columns), never negative.
        scale: (rows, columns), `|x|^2 + |y|^2` about the common mean.
    """
    n, m, d = len(a), len(b), a.shape[1]
    mean_a, mean_b = a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)
    centre = (n * mean_a + m * mean_b) / (n + m)  # (d,)
    step = int(np.clip(_BLOCK_BYTES // (8 * max(d, 1)), 64, 2048))
    for start_b in range(0, m, step):
        columns = slice(start_b, min(start_b + step, m))
        y = b[columns] - centre  # (columns, d), float64 because the centre is
        norms_y = np.einsum("jd,jd->j", y, y)
        for start_a in range(0, n, step):
            rows = slice(start_a, min(start_a + step, n))
            x = a[rows] - centre
            scale = np.einsum("id,id->i", x, x)[:, None] + norms_y  # (rows, columns)
            distances = x @ y.T
            distances *= -2.0
            distances += scale
            yield rows, columns, np.maximum(distances, 0.0, out=distances), scale


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
