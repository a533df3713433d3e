"""Row sums of a pairing: everything that needs no distance between different rows, in O(n d).

With p_i and g_i about their own means and in units s_p and s_g of their spread (`dmdlab.transport.frame`), four numbers
a row (|p_i|^2, |g_i|^2, <p_i, g_i>, and the squared distance of P_i - G_i from its mean) and the distance of the means
determine e_dt, e_independent, pair_cosine, r2 and variance_ratio, *and* what each of them would be without row k, in
closed form. The leave-one-out values give jackknife intervals (Efron and Stein, Annals of Statistics 9, 1981) at no
further cost: dropping row k changes a centred sum S = sum_i a_i b_i to S - n / (n - 1) a_k b_k, and a difference of
means delta to delta - h_k / (n - 1), h_k = P_k - G_k - delta.
"""

from dataclasses import dataclass

import numpy as np

from dmdlab.transport import Frame
from dmdlab.transport.frame import Cloud


@dataclass(frozen=True, eq=False)
class RowSums:
    """The row sums of a pairing; with a leading replicate axis after `leave_one_out`.

    Attributes:
        n: rows.
        units: s_p and s_g, the lengths in which the teacher's and the student's rows are counted.
        teacher, student, cross: sum_i |p_i|^2, sum_i |g_i|^2, sum_i <p_i, g_i>, scalars or (replicates,).
        apart: sum_i |P_i - G_i - mean (P - G)|^2, in units of max(s_p, s_g)^2.
        shift: |mean P - mean G|^2, in the caller's units.
    """

    n: int
    units: tuple[float, float]
    teacher: np.ndarray
    student: np.ndarray
    cross: np.ndarray
    apart: np.ndarray
    shift: np.ndarray

    @property
    def within(self) -> np.ndarray:
        """e_dt about the means: less the shift, which every pairing pays."""
        return self.apart / self.n * max(self.units) ** 2

    @property
    def gain(self) -> np.ndarray:
        """e_independent - e_dt, without their common part."""
        return 2.0 * self.units[0] * self.units[1] * self.cross / (self.n - 1)

    @property
    def e_dt(self) -> np.ndarray:
        """Mean squared distance of the shared-noise pairs."""
        return self.within + self.shift

    @property
    def e_independent(self) -> np.ndarray:
        """Mean of |P_j - G_i|^2 over i != j: all n^2 pairs, less the matched ones."""
        own = self.units[0] ** 2 * self.teacher + self.units[1] ** 2 * self.student
        # Of two rows it is the cost of exchanging them, which can be 0, and rounding would leave less.
        return np.maximum(own / self.n + self.gain / self.n + self.shift, 0.0)

    @property
    def pair_cosine(self) -> np.ndarray:
        """<p, g> / (|p| |g|), all entries as one vector."""
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN, as of one row that is left of two
            return np.clip(self.cross / np.sqrt(self.teacher * self.student), -1.0, 1.0)

    @property
    def r2(self) -> np.ndarray:
        """1 - sum |P - G|^2 / sum |p|^2."""
        return 1.0 - self.n * (self.e_dt / self.units[0] / self.units[0]) / self.teacher

    @property
    def variance_ratio(self) -> np.ndarray:
        """trace cov G / trace cov P."""
        return self.student / self.teacher * (self.units[1] / self.units[0]) ** 2


@dataclass(frozen=True, eq=False)
class RowMoments:
    """The same quantities before summation over rows.

    Attributes:
        frame: of teacher and student.
        cross: (n,) <p_i, g_i>, in units of s_p s_g.
        along: (n,) <mean P - mean G, h_i>, h_i = P_i - G_i - mean (P - G), in the caller's units.
    """

    frame: Frame
    cross: np.ndarray
    along: np.ndarray

    @staticmethod
    def of(P: np.ndarray, G: np.ndarray) -> "RowMoments":
        """Row moments of two (n, d) arrays, summed in float64 without a float64 copy of either."""
        return RowMoments.within(Frame.of(P, G))

    @staticmethod
    def within(frame: Frame) -> "RowMoments":
        """Row moments of two clouds of equal shape (n, d)."""
        cross, along = np.empty((2, len(frame.P.points)))
        for rows, h in frame.shared.about_the_mean():
            np.einsum("id,id->i", frame.P.rows(rows), frame.G.rows(rows), out=cross[rows])
            along[rows] = h @ frame.between * frame.unit
        return RowMoments(frame, cross, along)

    @property
    def apart(self) -> np.ndarray:
        """(n,) |h_i|^2, in units of max(s_p, s_g)^2."""
        return self.frame.shared.apart

    @property
    def shift(self) -> float:
        """|mean P - mean G|^2, in the caller's units."""
        return self.frame.shared.shift

    @property
    def teacher(self) -> np.ndarray:
        """(n,) |P_i - mean P|^2, in the caller's units."""
        return self.frame.P.squares * self.frame.P.unit**2

    def total(self) -> RowSums:
        """The sums over the whole sample."""
        return self._sums(len(self.cross), *(np.asarray(x.sum()) for x in self._summed), np.asarray(self.shift))

    def leave_one_out(self) -> RowSums:
        """The sums over the n samples of n - 1 rows that miss one row each, (n,)."""
        n = len(self.cross)
        moved = self.apart * self.frame.unit**2 / (n - 1) ** 2 - 2.0 * self.along / (n - 1)
        sums = (x.sum() - n / (n - 1) * x for x in self._summed)
        return self._sums(n - 1, *sums, np.maximum(self.shift + moved, 0.0))

    @property
    def _summed(self) -> tuple[np.ndarray, ...]:
        return self.frame.P.squares, self.frame.G.squares, self.cross, self.apart

    def _sums(self, n: int, *sums: np.ndarray) -> RowSums:
        return RowSums(n, (self.frame.P.unit, self.frame.G.unit), *sums)


def steps_of_spread(cloud: Cloud) -> float:
    """Over how many steps of its number type a cloud spreads: standard deviation over rounding, coordinates that vary.

    float32 has 2^-23 of a number as its step, so numbers near 10^7 that spread by 1 are spread over one step, and what
    was below it is gone. Infinite for a cloud that is exactly constant: nothing was lost.
    """
    if cloud.sum_of_squares == 0:
        return np.inf
    low, high = cloud.points.min(axis=0).astype(np.float64), cloud.points.max(axis=0).astype(np.float64)
    size = np.maximum(np.abs(low), np.abs(high))[high > low]
    step = float(np.finfo(cloud.points.dtype).eps) * size / cloud.unit
    return float(np.sqrt(cloud.mean_square / max(float(step @ step), np.finfo(float).tiny)))
