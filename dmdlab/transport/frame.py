"""Two clouds as every solver sees them: each about its own mean, in units of its spread, in float64.

The optimal pairing of two clouds depends on their inner products alone. So shifting either of them, or scaling either
by a positive number, changes no optimal pairing, only the numbers that a solver compares: a cloud far from the other
costs `|shift|^2` in every pair, which in float32 is all that is left of them. With `P_i = mean P + s_p p_i` and
`G_i = mean G + s_g g_i`,

    mean_i |P_pi(i) - G_i|^2 = |mean P - mean G|^2 + mean_i |s_p p_pi(i) - s_g g_i|^2,

and between two pairings the cost differs by `s_p s_g` times what `mean_i |p_pi(i) - g_i|^2` differs by. Solvers work on
p and g, and whatever they know of their own error is in units of `s_p s_g`. The cost itself is summed from the
coordinates that were given: the second term is the variance of the matched differences `P_pi(i) - G_i`, which is
exactly 0 for exact copies.

Units are powers of two, so that scaling rounds nothing, and the same for both clouds unless their spreads differ by
more than a factor of four. Means are taken about a row of the cloud, so that a constant cloud has a spread of
exactly 0.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

# One block of distances and of converted rows takes about this much memory.
BLOCK_BYTES = 128 * 2**20
_ROWS, _COLUMNS = 256, 4096
_PART_BYTES = 2**19  # large fresh arrays cost more than the arithmetic on them
_SAME_CENTRE = 1e-12
_COMMON_UNIT = 4.0

Blocks = Iterator[tuple[slice, slice, np.ndarray, tuple[np.ndarray, np.ndarray]]]
Rows = slice | np.ndarray


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points (n, d) about a centre and in a unit, in float64.

    Attributes:
        points: (n, d) as they were given, finite, the square of any of them within float64.
        centre: (d,), near the points, so that the difference to it is as exact as they are.
        unit: a power of two.
        known: (n,) `squares`, where somebody has them already.
    """

    points: np.ndarray
    centre: np.ndarray
    unit: float = 1.0
    known: np.ndarray | None = None

    @staticmethod
    def of(points: np.ndarray) -> "Cloud":
        """A cloud about its own mean, in units of its root mean square distance from it (1 for a constant cloud)."""
        cloud = Cloud(points, points[0].astype(np.float64))
        from_the_first = np.sum([cloud.rows(rows).sum(axis=0) for rows in cloud.parts()], axis=0) / len(points)
        cloud = Cloud(points, cloud.centre + from_the_first)
        return cloud.in_unit(_power_of_two(math.sqrt(cloud.mean_square))) if cloud.mean_square > 0 else cloud

    def in_unit(self, unit: float) -> "Cloud":
        """The same cloud in another unit."""
        return replace(self, unit=unit, known=self.squares * (self.unit / unit) ** 2)

    def about(self, centre: np.ndarray) -> "Cloud":
        """The same points about another centre (d,), in the units in which they were given."""
        return Cloud(self.points, centre)

    def only(self, points: np.ndarray) -> "Cloud":
        """Other points (m, d) from the same centre and in the same unit."""
        return Cloud(points, self.centre, self.unit)

    def rows(self, rows: Rows = slice(None)) -> np.ndarray:
        """The chosen rows about the centre and in the unit, float64."""
        x = np.subtract(self.points[rows], self.centre, dtype=np.float64)
        if self.unit != 1.0:
            x *= 1.0 / self.unit
        return x

    def parts(self) -> Iterator[slice]:
        """Slices of rows that take little memory each."""
        return _parts(*self.points.shape)

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared norms of the rows about the centre, (n,), in units of unit^2."""
        if self.known is not None:
            return self.known
        return np.concatenate([_squares(self.rows(rows)) for rows in self.parts()])

    @cached_property
    def sum_of_squares(self) -> float:
        """Their sum."""
        return float(self.squares.sum())

    @property
    def mean_square(self) -> float:
        """Their mean: near 1 for a cloud in its own unit, 0 for a constant one."""
        return self.sum_of_squares / len(self.points)


@dataclass(frozen=True, eq=False)
class Frame:
    """A teacher's cloud P (n, d) and a student's G (m, d), each about its own mean and in its unit."""

    P: Cloud
    G: Cloud

    @staticmethod
    def of(P: np.ndarray, G: np.ndarray) -> "Frame":
        """The frame of two clouds of equal dimension."""
        p, g = Cloud.of(P), Cloud.of(G)
        unit = max((x.unit for x in (p, g) if x.sum_of_squares > 0), default=1.0)
        one_is_constant = p.sum_of_squares == 0 or g.sum_of_squares == 0
        if one_is_constant or max(unit / p.unit, unit / g.unit) <= _COMMON_UNIT:
            p, g = (x if x.unit == unit else x.in_unit(unit) for x in (p, g))
        if not one_is_constant and float(np.abs(p.centre - g.centre).max()) <= _SAME_CENTRE * unit:
            g = Cloud(G, p.centre, g.unit)  # so that equal points stay equal
        return Frame(p, g)

    @property
    def between(self) -> np.ndarray:
        """mean P - mean G, (d,), in the units of the caller."""
        if len(self.P.points) == len(self.G.points):
            return self.shared.mean
        return self.P.centre - self.G.centre

    @property
    def unit(self) -> float:
        """The larger unit: the scale of the spread of differences."""
        return max(self.P.unit, self.G.unit)

    @property
    def exchange(self) -> float:
        """What one unit of `mean_i |p_pi(i) - g_i|^2` is worth in the caller's cost, s_p s_g."""
        return self.P.unit * self.G.unit

    def blocks(self) -> Blocks:
        """`|p_j - g_i|^2` block by block: rows are students, columns teachers; see `blocks_of`."""
        return blocks_of(self.G, self.P)

    @cached_property
    def shared(self) -> "Matched":
        """The shared-noise pairs."""
        return Matched(self, None)

    def matched(self, permutation: np.ndarray) -> "Matched":
        """The pairs of teacher permutation[i] and student i."""
        return Matched(self, permutation)


@dataclass(frozen=True, eq=False)
class Matched:
    """Differences `P_pi(i) - G_i` of matched rows, from the coordinates as they were given.

    So near-copies keep their digits, and between exact copies the mean and the rest are exactly 0.

    Attributes:
        frame: of the clouds.
        permutation: (n,) pi; the identity when None.
        weight: (n,) of the pairs, summing to 1; uniform when None.
    """

    frame: Frame
    permutation: np.ndarray | None
    weight: np.ndarray | None = None

    def about_the_mean(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The differences less their mean, in `frame.unit`, as (rows, (part, d))."""
        scale = 1.0 / self.frame.unit
        for rows, x in self._from_the_first():
            x -= self._rest
            x *= scale
            yield rows, x

    @cached_property
    def apart(self) -> np.ndarray:
        """Their squared norms, (n,), in units of frame.unit^2."""
        return np.concatenate([_squares(x) for _, x in self.about_the_mean()])

    @property
    def within(self) -> float:
        """The cost about the means, in the caller's units."""
        mean = self.apart.mean() if self.weight is None else self.weight @ self.apart
        return float(mean) * self.frame.unit**2

    @property
    def mean(self) -> np.ndarray:
        """mean P - mean G, (d,), up to rounding the same in every pairing; in the caller's units."""
        return self._first + self._rest

    @property
    def shift(self) -> float:
        """Its squared norm."""
        return float(self.mean @ self.mean)

    @cached_property
    def _first(self) -> np.ndarray:
        return self._differences(slice(0, 1))[0]

    @cached_property
    def _rest(self) -> np.ndarray:
        n = len(self.frame.G.points)
        if self.weight is None:
            return np.sum([x.sum(axis=0) for _, x in self._from_the_first()], axis=0) / n
        return np.sum([self.weight[rows] @ x for rows, x in self._from_the_first()], axis=0)

    def _from_the_first(self) -> Iterator[tuple[slice, np.ndarray]]:
        for rows in self.frame.G.parts():
            x = self._differences(rows)
            x -= self._first
            yield rows, x

    def _differences(self, rows: slice) -> np.ndarray:
        P = self.frame.P.points
        partners = P[rows] if self.permutation is None else P[self.permutation[rows]]
        return np.subtract(partners, self.frame.G.points[rows], dtype=np.float64)


def _parts(n: int, d: int) -> Iterator[slice]:
    """Slices of n rows of d numbers that stay in a processor's cache."""
    step = max(1, _PART_BYTES // (8 * d))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _squares(x: np.ndarray) -> np.ndarray:
    return np.einsum("id,id->i", x, x)


def blocks_of(a: Cloud, b: Cloud) -> Blocks:
    """Squared distances between all rows of `a` (n, d) and of `b` (m, d) as they see them, block by block in float64.

    `|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>` is wrong by a few units in the last place of `|x|^2 + |y|^2`, whose two terms
    are yielded beside the distances for whoever has to tell a tie from rounding. The sum is taken inside one matrix
    product, of `(-2 x, |x|^2, 1)` with `(y, 1, |y|^2)`, which saves three passes over the block.

    Yields:
        rows, columns: slices of `a` and `b`.
        distances: (rows, columns), never negative.
        norms: `|x|^2` (rows,) and `|y|^2` (columns,).
    """
    n, m, d = len(a.points), len(b.points), a.points.shape[1]
    step = int(np.clip(BLOCK_BYTES // (8 * d), 64, _COLUMNS))
    for start_b in range(0, m, step):
        columns = slice(start_b, min(start_b + step, m))
        y, norms_y = _with_norms(b.rows(columns))  # (columns, d + 2), (columns,)
        y[:, d], y[:, d + 1] = 1.0, norms_y
        for start_a in range(0, n, min(step, _ROWS)):
            rows = slice(start_a, min(start_a + min(step, _ROWS), n))
            x, norms_x = _with_norms(a.rows(rows))  # (rows, d + 2), (rows,)
            x *= -2.0
            x[:, d], x[:, d + 1] = norms_x, 1.0
            distances = x @ y.T
            yield rows, columns, np.maximum(distances, 0.0, out=distances), (norms_x, norms_y)


def _with_norms(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (rows, d) with room for two more columns, (rows, d + 2), and its squared norms, (rows,)."""
    wide = np.zeros((len(x), x.shape[1] + 2))
    wide[:, :-2] = x
    return wide, _squares(x)


def _power_of_two(size: float) -> float:
    """The power of two nearest below `size`, of which the reciprocal is finite, too."""
    return 2.0 ** min(max(math.frexp(size)[1] - 1, -1000), 1000)
