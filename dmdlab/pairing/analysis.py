"""Per-sample and per-direction analyses of a pairing: where the student copies, and whether a map is optimal transport.

Boundary and memorisation analyses are those of "Why Are DMD Students Lazy?" (arXiv 2606.02237); the Monge gap is that
of Uscidda and Cuturi, ICML 2023.
"""

import math
from dataclasses import dataclass

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.moments import RowMoments
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.statistics import Correlation, pearson, spearman, wilson_interval
from dmdlab.transport import Frame, distance_blocks, matched_distances, nearest_rows, solved
from dmdlab.transport.frame import Cloud

# A sample nearer to one training point than a third of its distance to the next counts as memorised (Bonnaire et al.,
# "Why diffusion models don't memorize", 2025).
MEMORISED_RATIO = 1.0 / 3.0
_SAME_POINT = 1e-13  # squared distance over squared norms below which two points differ by rounding only


@dataclass(frozen=True, eq=False)
class Boundary:
    """Are outlying samples copied more?

    Attributes:
        distance: (n,) D(z_i), mean distance of the teacher's output to the data.
        student, start: (n,) |G_i - P_i| and |P1_i - P_i|, how far the student and the one-step teacher are off.
        delta: (n,) student - start: below 0 where the student is nearer to the teacher than its start was.
        pearson, spearman: correlation of the two; the paper finds a moderately negative one.
    """

    distance: np.ndarray
    student: np.ndarray
    start: np.ndarray
    delta: np.ndarray
    pearson: Correlation
    spearman: Correlation


def boundary(pairs: Pairs, distance: np.ndarray | None = None) -> Boundary:
    """The boundary analysis of the paper.

    Args:
        pairs: with `one_step`, and with `data` unless the distance is given.
        distance: D(z_i), (n,), as of `neighbours` in the training set; by default the distances to `data`.

    Raises:
        InputError: one of the two is missing.
    """
    if pairs.one_step is None or (pairs.data is None and distance is None):
        raise InputError("the boundary analysis needs one_step (Phi_1 at the same noise) and data (training samples).")
    P = pairs.teacher
    if distance is None:
        assert pairs.data is not None
        distance = neighbours(P, pairs.data)[:, 2]
    student, start = (np.sqrt(matched_distances(P, x)) for x in (pairs.student, pairs.one_step))
    delta = student - start
    return Boundary(distance, student, start, delta, pearson(distance, delta), spearman(distance, delta))


def neighbours(outputs: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Where outputs (n, d) stand among data points (m, d): the distance of each to its nearest and its second nearest
    point, and its mean distance to all, (n, 3); the second is infinite for m = 1."""
    near, total = np.full((len(outputs), 2), np.inf), np.zeros(len(outputs))
    for rows, _, distances, (norms, norms_data) in distance_blocks(outputs, data):
        distances[distances <= _SAME_POINT * (norms[:, None] + norms_data)] = 0.0
        two = np.partition(distances, min(1, distances.shape[1] - 1), axis=1)[:, :2]
        near[rows] = np.sort(np.concatenate([near[rows], two], axis=1), axis=1)[:, :2]
        total[rows] += np.sqrt(distances).sum(axis=1)
    return np.column_stack([np.sqrt(near), total / len(data)])


@dataclass(frozen=True, eq=False)
class Memorisation:
    """Are outputs copies of training points?

    Attributes:
        ratios: (n,) distance to the nearest training point over that to the second nearest.
        share: of ratios below a third.
        low, high: its 95 % interval (Wilson).
        chance: the share without any memorisation, (1/3)^k in k dimensions.
        excess: share - chance.
    """

    ratios: np.ndarray
    share: float
    low: float
    high: float
    chance: float
    excess: float


def memorisation(outputs: np.ndarray, data: np.ndarray) -> Memorisation:
    """Memorisation ratios of outputs (n, d) against training data (m, d).

    Where the data has a density in k dimensions, the volumes of the balls around an output that reach its nearest and
    its second nearest point have a uniform ratio. So `ratio^k` is uniform, and a ratio below a third comes with chance
    (1/3)^k: one in nine in the plane, never in high dimension. Here k is d; `memorised` takes another.

    Args:
        outputs: (n, d).
        data: (m, d), m >= 2.

    Raises:
        InputError: unequal dimension, or fewer than two training points.
    """
    if outputs.shape[1] != data.shape[1] or len(data) < 2:
        raise InputError(
            f"memorisation needs (n, d) outputs and (m, d) data, m >= 2; got {outputs.shape}, {data.shape}."
        )
    return memorised(neighbours(outputs, data), data.shape[1])


def memorised(near: np.ndarray, intrinsic_dim: int) -> Memorisation:
    """The same from the distances to the nearest and the second nearest training point, columns of near (n, 2 or more);
    intrinsic_dim: k."""
    n, (first, second) = len(near), near.T[:2]
    ratios = np.divide(first, second, out=np.zeros(n), where=second > 0)  # on a repeated training point: memorised
    share = float((ratios < MEMORISED_RATIO).mean())
    chance = MEMORISED_RATIO**intrinsic_dim
    return Memorisation(ratios, share, *wilson_interval(share, n), chance=chance, excess=share - chance)


@dataclass(frozen=True, eq=False)
class ModeCopying:
    """Copying mode by mode, K modes.

    Attributes:
        count: (K,) teacher outputs in each mode.
        same: (K,) share of these whose student output lies in the same mode; NaN for an empty mode.
        chance: (K,) share of all student outputs in that mode.
        within_cosine: (K,) pair_cosine among the rows that both maps send into the mode; NaN below 3 rows.
        agreement, chance_agreement: share of rows in the same mode, and that of a random pairing.
        kappa: (agreement - chance_agreement) / (1 - chance_agreement) (Cohen 1960); NaN when all is one mode.
    """

    count: np.ndarray
    same: np.ndarray
    chance: np.ndarray
    within_cosine: np.ndarray
    agreement: float
    chance_agreement: float
    kappa: float


def by_mode(P: np.ndarray, G: np.ndarray, centres: np.ndarray) -> ModeCopying:
    """Does the student send each z into the teacher's mode, and to the same place within it?

    Args:
        P, G: teacher and student outputs, (n, d).
        centres: (K, d); an output belongs to the nearest one.

    Raises:
        InputError: unequal shapes.
    """
    if P.shape != G.shape or centres.ndim != 2 or centres.shape[1] != P.shape[1]:
        raise InputError(f"by_mode needs (n, d) twice and (K, d), got {P.shape}, {G.shape} and {centres.shape}.")
    modes, n, K = np.arange(len(centres)), len(P), len(centres)
    teacher, student = nearest_rows(P, centres), nearest_rows(G, centres)  # (n,) the nearest centre
    both = teacher == student
    count, in_mode = (np.bincount(x, minlength=K) for x in (teacher, student))
    kept = np.bincount(teacher[both], minlength=K)
    same = np.divide(kept, count, out=np.full(K, np.nan), where=count > 0)
    within = np.array([_cosine(P[rows], G[rows]) for rows in (both & (teacher == mode) for mode in modes)])
    agreement, by_chance = float(both.mean()), float((count / n) @ (in_mode / n))
    kappa = (agreement - by_chance) / (1.0 - by_chance) if by_chance < 1 else math.nan
    return ModeCopying(count, same, in_mode / n, within, agreement, by_chance, kappa)


def _cosine(P: np.ndarray, G: np.ndarray) -> float:
    """pair_cosine, NaN below three rows or for a constant array."""
    if len(P) < 3:
        return math.nan
    moments = RowMoments.of(P, G)
    constant = moments.frame.P.sum_of_squares == 0 or moments.frame.G.sum_of_squares == 0
    return math.nan if constant else float(moments.total().pair_cosine)


@dataclass(frozen=True, eq=False)
class ComponentCopying:
    """Copying along the teacher's principal components, `count` of them.

    Attributes:
        directions: (count, d) orthonormal, by decreasing variance.
        variance_share: (count,) of the teacher's variance.
        correlation: (count,) Correlation of teacher and student scores.
        amplitude: (count,) standard deviation of the student's scores over the teacher's.
    """

    directions: np.ndarray
    variance_share: np.ndarray
    correlation: tuple[Correlation, ...]
    amplitude: np.ndarray


def by_component(P: np.ndarray, G: np.ndarray, count: int = 10) -> ComponentCopying:
    """Along which directions of the teacher's variance does the student copy?

    Args:
        P, G: teacher and student outputs, (n, d).
        count: leading components, at most min(n - 1, d).

    Raises:
        InputError: unequal shapes, or a teacher whose outputs are all the same.
    """
    if P.shape != G.shape:
        raise InputError(f"by_component needs outputs of equal shape, got {P.shape} and {G.shape}.")
    teacher, student = Cloud.of(P), Cloud.of(G)
    p, g, total = teacher.rows(), student.rows(), teacher.sum_of_squares  # each in its unit
    if total == 0:
        raise InputError("the teacher's outputs are all the same: they have no principal components.")
    count = min(count, len(P) - 1, P.shape[1])
    directions = _leading_directions(p, count)
    scores_p, scores_g = p @ directions.T, g @ directions.T  # (n, count)
    spread_p, spread_g = np.sqrt((scores_p**2).sum(axis=0)), np.sqrt((scores_g**2).sum(axis=0))
    amplitude = np.divide(spread_g, spread_p, out=np.full(count, np.nan), where=spread_p > 0)
    amplitude *= student.unit / teacher.unit
    correlation = tuple(pearson(scores_p[:, c], scores_g[:, c]) for c in range(count))
    return ComponentCopying(directions, spread_p**2 / total, correlation, amplitude)


def _leading_directions(p: np.ndarray, count: int) -> np.ndarray:
    """The first right singular vectors of centred p (n, d), (count, d), with a positive largest entry."""
    if min(p.shape) <= max(500, 2 * count):
        directions = np.linalg.svd(p, full_matrices=False)[2][:count]
    else:
        from scipy.sparse.linalg import svds

        start = np.random.default_rng(0).standard_normal(min(p.shape))
        directions = svds(p, k=count, v0=start, return_singular_vectors="vh")[2][::-1]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return directions * np.sign(largest)


@dataclass(frozen=True, eq=False)
class MongeGap:
    """How far a map is from optimal transport between its own source and target samples.

    Attributes:
        gap: mean |z - T(z)|^2 less the cost of the best pairing of the same points; 0 for an optimal map.
        relative: the gap as a share of what a random pairing would cost more than the best one: 0 optimal, 1 random.
    """

    gap: float
    relative: float


def monge_gap(noise: np.ndarray, outputs: np.ndarray) -> MongeGap:
    """The Monge gap of the map that sent `noise` to `outputs`, for the squared Euclidean cost.

    The optimal pairing depends on inner products only, so neither a shift nor a positive scale of the noise
    changes which map is optimal, nor `relative`; `gap` is proportional to the scale.

    Args:
        noise: z, (n, d).
        outputs: T(z), (n, d).

    Raises:
        InputError: unequal shapes: transport needs noise and outputs in one space.
    """
    if noise.shape != outputs.shape or noise.ndim != 2:
        raise InputError(f"the Monge gap needs noise and outputs in one space, got {noise.shape} and {outputs.shape}.")
    frame = Frame.of(outputs, noise)
    best, total = solved(frame), RowMoments.within(frame).total()
    gap = max(0.0, float(total.within) - best.within)
    saving = gap + float(total.gain)
    return MongeGap(gap, gap / saving if saving > 0 else math.nan)
