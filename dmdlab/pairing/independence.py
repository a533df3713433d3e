"""Are samples that a measure takes for independent independent? Rows that two arrays share say that they are not.

A reference that was drawn with some of the teacher's own seeds makes e_ot(Q, P) small, and a student of exactly the
teacher's law then reads as one of another law. So arrays are compared row by row, by a hash of the bytes in the
narrowest type that either was stored in. Draws of an empirical law share rows by nature: a row of one is then found in
the other about as often as a row of the other is found among the rest of its own array. So the share of the *distinct*
rows of one that the other holds is compared with the rows that repeat within that other, in both directions: an array
that only repeats itself excuses nothing (each of its rows counts once), nor does a student that answers few atoms
accuse itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.words import percent
from dmdlab.transport import DENSE_LIMIT, matched_distances

SHARED_ROWS = 0.01
"""A larger share of common rows, beyond what the arrays repeat by nature, leaves a measure unresolved (ours)."""

NEAR = 1e-4
"""Two rows are near-duplicates below this share of the typical squared distance (ours), less in few dimensions."""

INDEPENDENT = (("reference", "teacher"), ("reference", "student"), ("data", "teacher"), ("data", "student"))
"""The pairs of arrays that are taken for independent: by fidelity and debiased_cost, memorisation and the boundary."""


@dataclass(frozen=True)
class Overlap:
    """What two arrays have in common.

    Attributes:
        share: of the distinct rows of one that are rows of the other.
        natural: the share of rows of the other that repeat another row of it.
        rows: distinct ones of the one or all of the other, whichever are fewer.
        same: whether both hold the same rows in the same order.
    """

    share: float
    natural: float
    rows: int
    same: bool

    @staticmethod
    def of(a: np.ndarray, b: np.ndarray, *stored: np.dtype) -> "Overlap":
        """Of arrays (n, d) and (m, d), of which one or both were `stored` in these types: in the direction in which
        they have more in common than is natural."""
        dtype = min(a.dtype, b.dtype, *stored, key=lambda kind: kind.itemsize)
        one, other = row_hashes(a, dtype), row_hashes(b, dtype)
        same = np.array_equal(one, other)
        return max(_held(one, other, same), _held(other, one, same), key=lambda found: found.share - found.allowed)

    @property
    def allowed(self) -> float:
        """The share that the rows that repeat within one array, three standard errors (of one more repeat) and
        `SHARED_ROWS` explain. Repeats come in pairs, which doubles the error: then 2 % of the draws of empirical laws
        of 50 to 400 rows are refused, 5 % at worst (simulated)."""
        error = 2.0 * math.sqrt((self.natural + 1.0 / self.rows) / self.rows)
        return self.natural + max(SHARED_ROWS, 3.0 * error)

    @property
    def too_large(self) -> bool:
        """Whether these cannot be taken for independent: the same array twice, or more in common than is `allowed`; of
        few rows, which that says nothing about, all in common where none repeats."""
        return self.same or self.share > self.allowed or (self.share == 1 and self.natural == 0)


def dependent(pairs: Pairs) -> dict[tuple[str, str], Overlap]:
    """The overlap of each of the pairs of arrays in `INDEPENDENT` that are there and have any row in common."""
    found = {}
    for one, other in INDEPENDENT:
        a, b = getattr(pairs, one), getattr(pairs, other)
        stored = [pairs.stored[name] for name in (one, other) if name in pairs.stored]
        if a is not None and b is not None and (overlap := Overlap.of(a, b, *stored)).share > 0:
            found[one, other] = overlap
    return found


def nearly_dependent(pairs: Pairs) -> dict[tuple[str, str], Overlap]:
    """The pairs of arrays in `INDEPENDENT` with too many near-duplicates, and how many."""
    found = {}
    for one, other in INDEPENDENT:
        a, b = getattr(pairs, one), getattr(pairs, other)
        if a is not None and b is not None and (near := near_duplicates(a, b)).too_large:
            found[one, other] = near
    return found


def why_nearly_dependent(near: dict[tuple[str, str], Overlap]) -> str:
    """Why what takes the reference for independent is unresolved; empty where no such rows are nearly the same.

    Data that outputs come near to is what memorisation measures, so there it is a note only.
    """
    for (one, other), overlap in near.items():
        if one == "reference":
            return (
                f"{percent(overlap.share)} of the rows of {one} and {other} are nearly the same (though not exactly), "
                f"as rows from the same noise are, and the two have to be independent: {_ADVICE[one]}"
            )
    return ""


def why_dependent(overlaps: dict[tuple[str, str], Overlap], array: str) -> str:
    """Why what takes `array` for independent of both maps' outputs is unresolved; empty where it is not."""
    for (one, other), overlap in overlaps.items():
        if one == array and overlap.too_large:
            return (
                f"{percent(overlap.share)} of the rows of {one} and {other} are the same, and the two have to be "
                f"independent: {_ADVICE[one]}"
            )
    return ""


_ADVICE = {
    "reference": "draw the reference from fresh noise with another seed",
    "data": "give data that no output is part of (outputs that are training rows to the last digit, as those of an "
    "exact empirical denoiser, are memorised in that share)",
}


def notes_on(pairs: Pairs, overlaps: dict[tuple[str, str], Overlap], near: dict[tuple[str, str], Overlap]) -> list[str]:
    """Sentences on repeats within an array, rows in common that are few or natural, and near-duplicates."""
    notes = []
    for name in ("reference", "data"):
        array = getattr(pairs, name)
        if array is not None and (repeats := _repeats(row_hashes(array, array.dtype))):
            notes.append(f"{name}: {percent(repeats)} of its {len(array)} rows repeat another row.")
    for (one, other), overlap in overlaps.items():
        if not overlap.too_large:
            why = "as rows repeat within each by themselves" if overlap.natural else "too few to matter"
            notes.append(f"{one} and {other} have {percent(overlap.share)} of their rows in common, {why}.")
    for (one, other), overlap in near.items():
        if one != "reference":
            notes.append(
                f"{percent(overlap.share)} of the rows of {one} and {other} are nearly the same (though not exactly), "
                "as rows from the same noise are; the two are taken for independent."
            )
    return notes


def near_duplicates(a: np.ndarray, b: np.ndarray) -> Overlap:
    """The share of the rows of a (n, d) that nearly, but not exactly, are rows of b (m, d), and that by nature are
    others of their own array, the larger of the two.

    Only rows that are neighbours along one random direction are compared, so it misses some; none beyond `DENSE_LIMIT`.
    """
    rows = min(len(a), len(b))
    if max(len(a), len(b)) > DENSE_LIMIT or rows < 2:
        return Overlap(0.0, 0.0, rows, same=False)
    direction = np.random.default_rng(0).standard_normal((a.shape[1],))
    typical = float(np.median(matched_distances(a, np.roll(a, 1, axis=0))))
    # In d dimensions one row in a hundred has one of m rows by chance within this share of the typical distance.
    limit = typical * min(NEAR, (0.01 / (len(a) + len(b))) ** (2.0 / a.shape[1]))
    across = _near(a, b, direction, limit, (-2, -1, 0, 1))
    natural = max(_near(c, c, direction, limit, (-2, -1, 1, 2)) for c in (a, b))
    return Overlap(across, natural, rows, same=False)


def _near(a: np.ndarray, b: np.ndarray, direction: np.ndarray, limit: float, steps: Sequence[int]) -> float:
    """The share of rows of a within `limit`, but above 0, of one of the next rows of b along the direction."""
    along_a, along_b = a @ direction.astype(a.dtype), b @ direction.astype(b.dtype)
    order = np.argsort(along_b)
    place, close = np.searchsorted(along_b[order], along_a), np.zeros(len(a), bool)
    for step in steps:
        distance = matched_distances(b, a, order[np.clip(place + step, 0, len(b) - 1)])
        close |= (distance > 0) & (distance <= limit)
    return float(close.mean())


def row_hashes(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A hash of each row (n,), of its bytes in `dtype`; -0 is 0."""
    zero = dtype.type(0)
    with np.errstate(over="ignore"):  # what is infinite in `dtype` is in no array that was stored in it
        return np.array([hash((row.astype(dtype) + zero).tobytes()) for row in array])


def _held(one: np.ndarray, other: np.ndarray, same: bool) -> Overlap:
    """What of the distinct hashes of `one` is among those of `other`."""
    distinct = np.unique(one)
    rows = min(len(distinct), len(other))
    return Overlap(float(np.isin(distinct, other).mean()), _repeats(other), rows, same)


def _repeats(hashes: np.ndarray) -> float:
    """The share of rows that repeat another one of the same array."""
    _, inverse, count = np.unique(hashes, return_inverse=True, return_counts=True)
    return float((count[inverse] > 1).mean())
