"""Squared Euclidean distances between two clouds, in float64 blocks, so that near-copies keep their digits."""

import numpy as np

from dmdlab.transport.frame import BLOCK_BYTES, Blocks, Cloud, Frame, blocks_of


def distance_blocks(a: np.ndarray, b: np.ndarray) -> Blocks:
    """Squared distances between all rows of `a` (n, d) and `b` (m, d), block by block in float64.

    About the common mean, because `|x|^2 + |y|^2 - 2 <x, y>` cancels for near-copies far from the origin.

    Yields:
        rows, columns: slices of `a` and `b`.
        distances: (rows, columns), never negative.
        norms: `|x|^2` (rows,) and `|y|^2` (columns,) about the common mean, the size of which sets the rounding.
    """
    n, m = len(a), len(b)
    x, y = Cloud.of(a), Cloud.of(b)
    apart = y.centre - x.centre  # (d,) mean b - mean a
    centre = x.centre + m / (n + m) * apart
    return blocks_of(x.about(centre), y.about(centre))


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """All squared Euclidean distances, (n, m), between the rows of `a` (n, d) and `b` (m, d).

    In float64 about the common mean, never negative.
    """
    return filled(distance_blocks(a, b), len(a), len(b))


def filled(blocks: Blocks, n: int, m: int, dtype: type = np.float64) -> np.ndarray:
    """The matrix (n, m) that these blocks make up."""
    matrix: np.ndarray = np.empty((n, m), dtype)
    for rows, columns, distances, _ in blocks:
        matrix[rows, columns] = distances
    return matrix


def nearest_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The row of `b` (m, d) that is nearest to each row of `a` (n, d), (n,); the first of several as near.

    However far the clouds are from each other: what all rows of `b` have in common is never added.
    """
    frame = Frame.of(b, a)
    advantage = ordering_terms(frame)[0]
    best, found = np.full(len(a), np.inf), np.zeros(len(a), np.int64)
    for rows, columns, distances, _ in frame.blocks():
        distances += advantage[columns]
        at = distances.argmin(axis=1)
        smallest = np.take_along_axis(distances, at[:, None], axis=1)[:, 0]
        nearer = smallest < best[rows]
        best[rows] = np.where(nearer, smallest, best[rows])
        found[rows] = np.where(nearer, columns.start + at, found[rows])
    return found


def ordering_terms(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """What a frame leaves out of a comparison of two teacher outputs by their distance to one student output.

    `|P_j - G_i|^2 = s_p s_g (|p_j - g_i|^2 + c_j) + r_i`: to order the P_j by their distance to G_i, c_j has to be
    added.

    Returns:
        c: (n,), `2 <p_j, mean P - mean G> / s_g + (s_p / s_g - 1) |p_j|^2`.
        size: (n,) the sum of the absolute values of its terms, which sets its rounding.
    """
    towards = frame.between / frame.G.unit  # (d,)
    parts = [(2.0 * (p @ towards), 2.0 * (np.abs(p) @ np.abs(towards))) for p in map(frame.P.rows, frame.P.parts())]
    along, size = (np.concatenate(x) for x in zip(*parts, strict=True))
    wider = frame.P.unit / frame.G.unit - 1.0
    return along + wider * frame.P.squares, size + abs(wider) * frame.P.squares


def matched_distances(P: np.ndarray, G: np.ndarray, permutation: np.ndarray | None = None) -> np.ndarray:
    """`|P_pi(i) - G_i|^2`, (n,), from the coordinates in float64; pi = identity without `permutation`."""
    out = np.empty(len(G))
    step = max(1, BLOCK_BYTES // (8 * G.shape[1]))
    for start in range(0, len(G), step):
        rows = slice(start, start + step)
        partner = P[rows] if permutation is None else P[permutation[rows]]
        difference = np.subtract(partner, G[rows], dtype=np.float64)
        out[rows] = np.einsum("id,id->i", difference, difference)
    return out
