"""How many rows the best pairing leaves in place, where several pairings may be the best.

Copies of a row exchange partners at no cost, and on a lattice so do different points: two pairings cost the same as
soon as <p_a - p_b, g_i - g_j> is 0 for two of their rows. Which one a solver returns says nothing of the student. So
the share is that of the pairing that keeps most rows, as the shared noise itself is preferred where nothing is cheaper,
and the fewest that a pairing as cheap keeps is its lower bound.

Both come from solving once more, with every pair that would stay made a little cheaper, or dearer, than it is: by so
little that only pairings which cost the same change places, and by more than rounding. A lattice that was rounded when
it was stored, as k / 255 in float32, is none any more: there rounding has chosen one pairing.
"""

from collections import Counter

import numpy as np

from dmdlab.pairing.independence import row_hashes
from dmdlab.pairing.measured import Measured
from dmdlab.transport import Frame, Transport
from dmdlab.transport.exact import optimal_columns

# Costs that differ by less than this share of the spread are the same (ours): far above the rounding of a distance, far
# below the steps of 8-bit pictures.
_SAME = 1e-10
# Few rows are always solved again; of more, so many are looked through for distances that repeat, which those of points
# in general position do in fewer than one sample in ten thousand.
_ROWS, _REPEATED = 64, 1e-13


def in_place(frame: Frame, best: Transport, cost: np.ndarray | None) -> Measured:
    """identity_fraction: the largest of all pairings that cost no more, `certain` what they leave open.

    Args:
        frame: of teacher and student.
        best: their optimal pairing.
        cost: the matrix that it was solved from. Only one in float64 tells which pairings cost the same (that of larger
            samples is in float32, or none): else the share is that of the pairing found, its copies exchanged.
    """
    assert best.permutation is not None
    found = _with_copies_exchanged(frame, best.permutation)
    if cost is None or cost.dtype != np.float64 or frame.P.points.shape[1] == 1 or not _may_tie(frame, cost):
        return Measured(found, certain=best.kept)  # on the line only copies tie
    little = _SAME * (frame.P.mean_square + frame.G.mean_square)
    rows, stays = np.arange(len(cost)), _stays(frame)
    most = optimal_columns(cost - little * np.eye(len(cost)))
    fewest = optimal_columns(cost + little * stays)
    high = max(found, float((most == rows).mean()))
    low = float(stays[rows, fewest].mean())
    return Measured(high, certain=(low, high) if low < high - 0.5 / len(cost) else None)


def note_on_ties(best: Transport, identity_fraction: Measured) -> list[str]:
    """A sentence on best pairings that are not the only ones."""
    if best.kept is not None or identity_fraction.certain is None:
        return []
    low, high = identity_fraction.certain
    return [
        f"identity_fraction is that of the pairing that keeps most rows in place, {100 * high:.3g} %: other pairings "
        f"cost the same, as on a lattice, and one of them may keep no more than {100 * low:.3g} %."
    ]


def _may_tie(frame: Frame, cost: np.ndarray) -> bool:
    """Whether distances repeat within a row, as on a lattice and for copies, up to what the means' rounding moves."""
    n = len(cost)
    if n <= _ROWS:
        return True
    far = max(float(np.abs(x.centre).max()) / x.unit for x in (frame.P, frame.G))
    some = np.sort(cost[:: n // _ROWS], axis=1)  # (rows, n)
    return bool((np.diff(some, axis=1) <= (_REPEATED + 4.0 * np.finfo(float).eps * far) * some.mean()).any())


def _stays(frame: Frame) -> np.ndarray:
    """What a pair (i, j) counts for at least among rows that stay, (n, n): 1 for j = i, and less where both points have
    copies, which exchanged can keep no more than a share of the pairs of these two."""
    kinds = [np.unique(row_hashes(x.points, x.points.dtype), return_inverse=True) for x in (frame.G, frame.P)]
    (students, s), (teachers, t) = kinds
    own = np.zeros((len(students), len(teachers)))
    np.add.at(own, (s, t), 1.0)
    return (own / np.minimum.outer(own.sum(axis=1), own.sum(axis=0)))[np.ix_(s, t)]


def _with_copies_exchanged(frame: Frame, permutation: np.ndarray) -> float:
    """The share of rows that a pairing leaves in place, once copies of a row have exchanged their partners, at no cost,
    so that as many as can stay: it is arbitrary otherwise which copy a solver hands to whom."""
    n = len(permutation)
    moved = np.flatnonzero(permutation != np.arange(n))
    teacher, student = (row_hashes(x.points[moved], x.points.dtype).tolist() for x in (frame.P, frame.G))
    partners = np.searchsorted(moved, permutation[moved])
    own = Counter(zip(student, teacher, strict=True))
    found = Counter((s, teacher[j]) for s, j in zip(student, partners, strict=True))
    return (n - len(moved) + (own & found).total()) / n
