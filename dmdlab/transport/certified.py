"""Transport beyond the reach of a dense solver: a certified interval for e_ot in O(n d) memory.

Linear programming duality gives both ends. For any v, `mean_j v_j + mean_i min_j (C_ij - v_j) <= e_ot`, and any
permutation costs at least e_ot; C is never stored, only passed over in blocks (`engine`). Three steps make the interval
tight:

1. Entropic duals. Sinkhorn's updates `u_i = -eps log sum_j exp((v_j - C_ij) / eps)`, with eps halved from stage to
   stage (Cuturi 2013; Schmitzer, SIAM J. Sci. Comput. 41, 2019). With a sum instead of a mean in the logarithm, u and
   v stay dual feasible, so their means already bound e_ot from below.
2. Pricing. One pass over the rows and one over the columns makes v the best it can be for its u (a double c-transform)
   and keeps, for every row and column, the few partners with the smallest reduced cost C_ij - u_i - v_j.
3. Column generation. The assignment problem restricted to the pairs kept so far is solved exactly (lapx), which gives a
   permutation; its own duals follow from shortest paths (Bellman and Ford), started at the last v. Pricing them again
   finds the pairs that violate them. When there is none left, the interval has closed and the permutation is optimal.

Usually two to five rounds of 2 and 3 close it. The certificate does not depend on that: it is computed in float64 from
the best bounds seen, with the rounding of a d-term inner product taken off the lower one.

The duals bound more than the cost. With reduced costs r_ij = C_ij - u_i - v_j >= 0 every permutation pi has
`sum_i r_i,pi(i) = n (cost of pi - mean u - mean v)`, which for an optimal one is at most n (upper - lower). So an
optimal pairing leaves at most as many rows in place as the smallest r_ii add up to that, and moves at most as many as
the smallest `min over j != i of r_ij` do. Where many pairings cost nearly the same, these two are far apart although
the cost itself is known to a part in a thousand.
"""

import math
import time
from dataclasses import dataclass

import numpy as np

from dmdlab.config import InputError
from dmdlab.transport.distances import matched_distances
from dmdlab.transport.engine import NUMPY, Engine, NearestReduced, SoftMinimum
from dmdlab.transport.frame import Frame
from dmdlab.transport.solution import Transport, TransportError, is_permutation

_NEIGHBOURS = 12
_FIRST_EPS = 0.1  # of the mean cost
_LAST_EPS = 0.03  # of the lower bound
_STAGES = 14
ROUNDS = 60
_CLOSED = 1e-9  # a slack below this share of a typical row's cost leaves nothing to bound


def certified_interval(
    frame: Frame, *, relative_gap: float = 1e-3, budget_seconds: float = 600.0, engine: Engine | None = None
) -> Transport:
    """A certified interval [lower, upper] for e_ot of two clouds of equal size.

    Args:
        frame: of teacher and student outputs, (n, d).
        relative_gap: stop when (upper - lower) / upper, about the means, is at most this.
        budget_seconds: start no further round after this time; the interval is certified whenever it stops.
        engine: who makes the passes over all pairs; `NUMPY` when None.

    Returns:
        A Transport with solver "certified": cost = upper is the cost of `permutation`, gap the relative width, kept the
        bounds of the identity fraction of an optimal pairing where the interval has not closed.

    Raises:
        InputError: clouds of unequal shape.
        TransportError: the restricted assignment problem could not be solved.
    """
    if frame.P.points.shape != frame.G.points.shape:
        shapes = f"{frame.P.points.shape} and {frame.G.points.shape}"
        raise InputError(f"certified_interval needs two (n, d) clouds of equal shape, got {shapes}.")
    started, n = time.monotonic(), len(frame.P.points)
    # Rows in random order, both clouds alike: pricing looks at groups of neighbours in memory.
    order = np.random.default_rng(0).permutation(n)
    p, g = frame.P.rows(order), frame.G.rows(order)  # (n, d) float64
    engine = engine or NUMPY
    v = _entropic_duals(p, g, engine.soft, started + 0.5 * budget_seconds)
    problem, best = _Restricted.diagonal(p, g), _Bounds(np.zeros(n), np.zeros(n), 0.0, math.inf, np.arange(n))
    for _ in range(ROUNDS):
        u, v, edges = _price(p, g, v, engine.nearest, min(_NEIGHBOURS, n))
        problem = problem.extended(edges, p, g)
        found = problem.solve(u, v)
        best = best.improved(u, v, float(u.mean() + v.mean()), found, float(matched_distances(p, g, found).mean()))
        if best.slack <= relative_gap * best.upper or time.monotonic() - started > budget_seconds:
            break
        v = problem.duals(found, v)
    error = _rounding(p, g)
    slack = max(0.0, best.slack) + error
    # Rows far out make the cost, and what is no part of it can still leave all the others open.
    typical = min(best.upper, float(np.median(matched_distances(p, g, best.permutation))))
    kept = _kept(p, g, best, engine.nearest, slack, error) if slack > _CLOSED * typical else None
    original = np.empty(n, np.int64)  # in the caller's order of rows
    original[order] = order[best.permutation]
    return Transport.of(frame, original, "certified", slack, kept)


@dataclass(frozen=True, eq=False)
class _Bounds:
    """The best duals and the best permutation seen: `lower` is mean u + mean v, `upper` the cost of `permutation`."""

    u: np.ndarray
    v: np.ndarray
    lower: float
    upper: float
    permutation: np.ndarray

    @property
    def slack(self) -> float:
        """The width of the interval."""
        return self.upper - self.lower

    def improved(self, u: np.ndarray, v: np.ndarray, lower: float, permutation: np.ndarray, upper: float) -> "_Bounds":
        """With these where they are better. u = v = 0 is a dual, too, of bound 0."""
        duals = (u, v, lower) if lower > self.lower else (self.u, self.v, self.lower)
        return _Bounds(*duals, *((upper, permutation) if upper < self.upper else (self.upper, self.permutation)))


def _kept(
    p: np.ndarray, g: np.ndarray, best: _Bounds, nearest: NearestReduced, slack: float, error: float
) -> tuple[float, float]:
    """Bounds of the share of rows that an optimal pairing leaves in place, from the reduced costs; see the module."""
    n = len(p)
    stay = matched_distances(p, g) - best.u - best.v  # (n,) r_ii
    move = nearest(g, p, best.v, 1, False)[0] - best.u  # (n,) the smallest r_ij, j != i
    staying, moving = (
        int(np.searchsorted(np.cumsum(np.sort(np.maximum(r - error, 0.0))), n * slack, side="right"))
        for r in (stay, move)
    )
    return 1.0 - moving / n, staying / n


def _rounding(p: np.ndarray, g: np.ndarray) -> float:
    """A bound on the float64 error of any reduced cost, from `d u |x| |y|` for an inner product."""
    longest = max(float(np.einsum("id,id->i", x, x).max()) for x in (p, g))
    return 4.0 * (p.shape[1] + 8) * 2.0**-53 * 2.0 * longest


def _entropic_duals(p: np.ndarray, g: np.ndarray, soft: SoftMinimum, deadline: float) -> np.ndarray:
    """Duals v (n,) of the teacher side after annealed Sinkhorn steps, one a stage, in float32."""
    student, teacher = g.astype(np.float32), p.astype(np.float32)
    eps = _FIRST_EPS * float((p**2).sum(axis=1).mean() + (g**2).sum(axis=1).mean())
    v = np.zeros(len(p), np.float32)
    for _ in range(_STAGES if eps > 0 else 0):
        u = soft(student, teacher, v, eps)
        v = soft(teacher, student, u, eps)
        bound = float(u.mean(dtype=np.float64) + v.mean(dtype=np.float64))
        if eps <= _LAST_EPS * bound or time.monotonic() > deadline:
            break
        eps *= 0.5
    return v.astype(np.float64)


def _price(
    p: np.ndarray, g: np.ndarray, v: np.ndarray, nearest: NearestReduced, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The double c-transform of v, and the pairs of smallest reduced cost as keys `i n + j` (i student, j teacher)."""
    n = len(p)
    u, teachers = nearest(g, p, v, k)  # (n,), (n, k)
    v, students = nearest(p, g, u, k)
    rows = np.arange(n, dtype=np.int64)[:, None]
    return u, v, np.concatenate([(rows * n + teachers).ravel(), (students * n + rows).ravel()])


@dataclass(frozen=True, eq=False)
class _Restricted:
    """The assignment problem on the pairs kept so far; the diagonal among them makes it feasible.

    Attributes:
        keys: (edges,) `i n + j`, sorted, i student and j teacher.
        cost: (edges,) squared distances in float64 from the coordinates.
        n: rows.
    """

    keys: np.ndarray
    cost: np.ndarray
    n: int

    @staticmethod
    def diagonal(p: np.ndarray, g: np.ndarray) -> "_Restricted":
        """Only the shared-noise pairs."""
        n = len(p)
        return _Restricted(np.arange(n, dtype=np.int64) * (n + 1), matched_distances(p, g), n)

    def extended(self, keys: np.ndarray, p: np.ndarray, g: np.ndarray) -> "_Restricted":
        """With the pairs `keys` as well."""
        new = np.setdiff1d(keys, self.keys)
        i, j = new // self.n, new % self.n
        every = np.concatenate([self.keys, new])
        order = np.argsort(every, kind="stable")
        cost = np.concatenate([self.cost, matched_distances(p[j], g[i])])
        return _Restricted(every[order], cost[order], self.n)

    def solve(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The optimal permutation, (n,): student i is matched with teacher permutation[i]."""
        import lap

        i, j = self.keys // self.n, self.keys % self.n
        reduced = np.maximum(self.cost - u[i] - v[j], 0.0)  # the same optimum, and most entries near 0
        reduced /= max(float(reduced.max()), np.finfo(float).tiny)  # lapx takes 10^6 for infinity
        starts = np.searchsorted(i, np.arange(self.n + 1)).astype(np.int32)
        tried = f"{self.n} rows and {len(j)} pairs"
        try:
            columns, _ = lap.lapmod(self.n, reduced, starts, j.astype(np.int32), return_cost=False)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise TransportError(f"lapmod failed on {tried}: {error}; e_ot is unknown.") from error
        permutation = np.asarray(columns).astype(np.int64)
        if not is_permutation(permutation, self.n):
            raise TransportError(f"lapmod returned no permutation for {tried}; its cost is not used.")
        return permutation

    def duals(self, permutation: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Potentials v (n,) that certify `permutation` on the kept pairs, by shortest paths from the given v.

        Lowers v until `v_j <= v_pi(i) + C_ij - C_i,pi(i)` on every pair. As pi is optimal there is no negative cycle,
        so at most n sweeps are needed, and from a good start some tens; any v is a valid dual, so rounding on a cycle
        of weight 0 only costs tightness.
        """
        i, j = self.keys // self.n, self.keys % self.n
        matched = np.empty(self.n)
        own = permutation[i] == j
        matched[i[own]] = self.cost[own]
        by_column = np.argsort(j, kind="stable")
        source = permutation[i][by_column]
        length = (self.cost - matched[i])[by_column]
        starts = np.searchsorted(j[by_column], np.arange(self.n))
        still = 1e-13 * max(float(np.abs(v).max()), float(matched.max()), np.finfo(float).tiny)
        for _ in range(self.n):
            lowered = np.minimum(v, np.minimum.reduceat(v[source] + length, starts))
            if float((v - lowered).max()) <= still:
                break
            v = lowered
        return v
