"""Row sums of a pairing: everything that needs no distance between different rows, in O(n d).

With p_i = P_i - mean P and g_i = G_i - mean G, four numbers a row (|p_i|^2, |g_i|^2, <p_i, g_i>, |P_i - G_i|^2) and the
distance of the means determine e_dt, e_independent, pair_cosine, r2 and variance_ratio, *and* what each of them would
be without row k, in closed form. The leave-one-out values give jackknife intervals (Efron and Stein, Annals of
Statistics 9, 1981) at no further cost: dropping row k changes a centred sum S = sum_i a_i b_i to
S - n / (n - 1) a_k b_k, and a difference of means delta to delta - (p_k - g_k) / (n - 1).
"""

from dataclasses import dataclass

import numpy as np

_BLOCK_BYTES = 64 * 2**20
# A cloud whose root mean square spread is below this share of its distance from the origin is constant: what is left is
# the rounding of the mean. Float32 inputs that differ at all differ by far more (6e-8).
_CONSTANT = 1e-12


@dataclass(frozen=True, eq=False)
class Moments:
    """The row sums of a pairing; with a leading replicate axis after `leave_one_out`.

    Attributes:
        n: rows.
        teacher, student, cross: sum_i |p_i|^2, sum_i |g_i|^2, sum_i <p_i, g_i>, scalars or (replicates,).
        matched: sum_i |P_i - G_i|^2.
        shift: |mean P - mean G|^2.
    """

    n: int
    teacher: np.ndarray
    student: np.ndarray
    cross: np.ndarray
    matched: np.ndarray
    shift: np.ndarray

    @property
    def e_dt(self) -> np.ndarray:
        """Mean squared distance of the shared-noise pairs."""
        return self.matched / self.n

    @property
    def e_independent(self) -> np.ndarray:
        """Mean of |P_j - G_i|^2 over i != j: all n^2 pairs, less the matched ones."""
        every_pair = (self.teacher + self.student) / self.n + self.shift
        return (self.n * every_pair - self.e_dt) / (self.n - 1)

    @property
    def pair_cosine(self) -> np.ndarray:
        """<p, g> / (|p| |g|), all entries as one vector."""
        return np.clip(self.cross / np.sqrt(self.teacher * self.student), -1.0, 1.0)

    @property
    def r2(self) -> np.ndarray:
        """1 - sum |P - G|^2 / sum |p|^2."""
        return 1.0 - self.matched / self.teacher

    @property
    def variance_ratio(self) -> np.ndarray:
        """trace cov G / trace cov P."""
        return self.student / self.teacher


@dataclass(frozen=True, eq=False)
class RowMoments:
    """The same quantities before summation over rows.

    Attributes:
        teacher, student, cross, matched: (n,) |p_i|^2, |g_i|^2, <p_i, g_i>, |P_i - G_i|^2.
        shift: |mean P - mean G|^2.
        teacher_constant, student_constant: whether all rows of that array are the same up to rounding.
    """

    teacher: np.ndarray
    student: np.ndarray
    cross: np.ndarray
    matched: np.ndarray
    shift: float
    teacher_constant: bool
    student_constant: bool

    @staticmethod
    def of(P: np.ndarray, G: np.ndarray) -> "RowMoments":
        """Row moments of two (n, d) arrays, summed in float64 without a float64 copy of either."""
        n, d = P.shape
        mean_P, mean_G = P.mean(axis=0, dtype=np.float64), G.mean(axis=0, dtype=np.float64)  # (d,)
        sums = np.empty((4, n))
        step = max(1, _BLOCK_BYTES // (8 * d))
        for start in range(0, n, step):
            block = slice(start, start + step)
            p, g = P[block] - mean_P, G[block] - mean_G  # (block, d)
            difference = np.subtract(P[block], G[block], dtype=np.float64)
            for out, x, y in zip(sums, (p, g, p, difference), (p, g, g, difference), strict=True):
                np.einsum("id,id->i", x, y, out=out[block])
        teacher, student, cross, matched = sums
        shift = float(((mean_P - mean_G) ** 2).sum())
        constant = [
            bool(spread.sum() <= _CONSTANT**2 * n * (mean**2).sum())
            for spread, mean in ((teacher, mean_P), (student, mean_G))
        ]
        return RowMoments(teacher, student, cross, matched, shift, *constant)

    def total(self) -> Moments:
        """The moments of the whole sample."""
        teacher, student, cross, matched = (
            np.asarray(x.sum()) for x in (self.teacher, self.student, self.cross, self.matched)
        )
        return Moments(len(self.teacher), teacher, student, cross, matched, np.asarray(self.shift))

    def leave_one_out(self) -> Moments:
        """The moments of the n samples of n - 1 rows that miss one row each, (n,)."""
        n = len(self.teacher)
        grow = n / (n - 1)
        u = self.teacher + self.student - 2.0 * self.cross  # (n,) |p_k - g_k|^2
        along = 0.5 * (self.matched - self.shift - u)  # <delta, p_k - g_k>, as P_k - G_k = delta + p_k - g_k
        shift = self.shift - 2.0 * along / (n - 1) + u / (n - 1) ** 2
        teacher, student, cross = (x.sum() - grow * x for x in (self.teacher, self.student, self.cross))
        matched = self.matched.sum() - self.matched
        return Moments(n - 1, teacher, student, cross, matched, np.maximum(shift, 0.0))
