"""Calibration by planted remaps: what every measure reads when the amount of remapping is known.

`G_theta(z) = Phi_K(R_theta z)`, with R_theta turning by theta in floor(d/2) random planes (see `bases`). The prior is
invariant under rotations, so the outputs have exactly the teacher's law whatever theta is: only the pairing is damaged,
and by a known amount. No training is involved. For a linear teacher of isotropic covariance S the shared-noise cost is
`e_dt = 2 tr(S) (1 - tr(R) / d)`, and pair_cosine is tr(R) / d.

Next to the planted angles stand the null (the teacher at independent noise), the partial mixture (a share of the rows
at independent noise), the collapsed student, the floor (e_ot between two samples of the teacher's law), and what
independent samples of the teacher's law read against each other, by which a student's law is judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.bases import random_basis, turned
from dmdlab.pairing.calibration import Calibration
from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.independence import Overlap
from dmdlab.pairing.law import Halved, half_size, total_variance
from dmdlab.pairing.local import Answers, differences, planted_local
from dmdlab.pairing.metrics import measure_pairs
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.words import percent
from dmdlab.transport import transport_cost

TeacherMap = Callable[..., np.ndarray]

# 5 degrees is there for teachers whose map has edges, where pair_cosine falls linearly from the start.
ANGLES_DEGREES = (0.0, 5.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 120.0, 150.0, 180.0)
SHARES = (0.1, 0.25, 0.5, 0.75)

HALF_TURN = 180.0
"""Degrees of the turn that in an even number of dimensions is -z, whatever the basis."""


def calibrate(
    teacher_map: TeacherMap,
    noise: np.ndarray,
    *,
    fresh_noise: np.ndarray,
    rng: np.random.Generator,
    angles_degrees: Sequence[float] = ANGLES_DEGREES,
    shares: Sequence[float] = SHARES,
    bases: int = 4,
    local_points: int = 0,
    local_answers: Answers | None = None,
    labels: np.ndarray | None = None,
    fresh_labels: np.ndarray | None = None,
) -> Calibration:
    """Every measure of the glossary under known truth, for one teacher map and sample size.

    Args:
        teacher_map: Phi_K, from (n, d) noise to (n, ...) outputs, deterministic.
        noise: (n, d) draws z_i of a rotation-invariant prior.
        fresh_noise: (m, d) further draws, m >= 2 n: n rows make the reference, the others the null. Its draws share
            no rows where m >= (1 + bases) n; up to there every n rows more make the null of the law's measures surer,
            and further rows are not used.
        rng: for the bases, for which fresh rows meet which pairs in the null and the mixtures, and for halves.
        angles_degrees: planted angles; 0 and 90 must be among them.
        shares: shares of rows at independent noise in the partial mixtures, in (0, 1].
        bases: random bases to average over, and draws of the null and of each mixture.
        local_points: how many of the n rows to measure local_cosine and local_gain at, too (`planted_local`; 128 are
            enough); without any they are unresolved. Nothing else changes with them.
        local_answers: the map's answers J v to small changes of the noise, where they can be had exactly; by default
            its differences (`local.differences`).
        labels, fresh_labels: (n,) and (m,) classes of the noise, for maps that are told them as a further argument. A
            row keeps its class when its noise is turned.

    Raises:
        InputError: labels of other rows than the noise, too little fresh noise, or some that repeats the noise, angles
            without 0 and 90, shares outside (0, 1], no bases, or a teacher map whose outputs are no (n, ...) arrays of
            finite numbers.
        TransportError: an assignment solver failed.
    """
    angles, parts = np.unique(np.asarray(angles_degrees, float)), np.asarray(shares, float)
    _check(noise, fresh_noise, angles, parts, bases)
    n, d = noise.shape
    own, fresh = _labels(labels, len(noise), fresh_labels, len(fresh_noise))
    reference, other = (
        teacher_map(fresh_noise[rows], *(label[rows] for label in fresh)) for rows in (slice(n), slice(n, None))
    )
    outputs = Pairs.of(teacher_map(noise, *own), reference, data=other)
    assert outputs.data is not None
    P, Q, others = outputs.teacher, outputs.student, outputs.data  # (n, D), (n, D), (m - n, D)
    floor = transport_cost(Q, P)

    def read(student: np.ndarray) -> dict[str, float]:
        return measure_pairs(Pairs.of(P, student, reference=Q), floor=floor, planted=True).values()

    known = {0.0: read(P)}
    if HALF_TURN in angles and d % 2 == 0:
        known[HALF_TURN] = read(teacher_map(-noise, *own))

    def read_turned() -> list[dict[str, float]]:
        basis = random_basis(d, rng)
        return [known[a] if a in known else read(teacher_map(turned(noise, basis, a), *own)) for a in angles]

    planted = [list(row) for row in zip(*(read_turned() for _ in range(bases)), strict=True)]  # [angle][basis]
    blocks = np.split(others[: len(others) // n * n], len(others) // n)
    if len(blocks) < bases:  # they have to share rows
        independent = [others[rng.permutation(len(others))[:n]] for _ in range(bases)]
    else:
        independent = blocks[:bases]
    made = Calibration(
        n=n,
        d=d,
        angles_degrees=angles,
        shares=parts,
        planted=_table(planted),
        mixture=_table([[read(_mixed(P, other, s, rng)) for other in independent] for s in parts]),
        null={key: values[0] for key, values in _table([[read(other) for other in independent]]).items()},
        collapsed=read(np.broadcast_to(P.mean(axis=0), P.shape)),
        floor=floor.cost,
        independent=_against_each_other([P, Q, *blocks[:bases]], floor.cost, rng),
    )
    if not local_points:
        return made

    def differ(z: np.ndarray, v: np.ndarray, *told: np.ndarray) -> np.ndarray:
        return differences(lambda x: teacher_map(x, *told), z, v)

    first = slice(min(n, local_points))
    nearby, none = planted_local(
        local_answers or differ,
        noise[first],
        fresh_noise[first],
        rng=rng,
        angles_degrees=angles.tolist(),
        bases=bases,
        labels=[label[first] for label in (*own, *fresh)],
    )
    return replace(made, planted=made.planted | nearby, null=made.null | none)


def turned_maps(angles_degrees: Sequence[float], bases: int, d: int) -> int:
    """How often `calibrate` asks the teacher's map at n turned noises: once a basis, but never at angle 0, which is the
    teacher itself, and once for all bases at `HALF_TURN` in an even d."""
    angles = set(angles_degrees) - {0.0}
    once = {HALF_TURN} & angles if d % 2 == 0 else set()
    return bases * len(angles - once) + len(once)


def _against_each_other(samples: Sequence[np.ndarray], first: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`Calibration.independent` of these samples (n, D), of which the first two have the cost `first`."""
    S, spreads = len(samples), np.array([total_variance(sample) for sample in samples])
    found = {"e_ot": np.full((S, S), np.nan), "debiased_cost": np.full((S, S), np.nan), "spread": spreads}
    rows = half_size(len(samples[0]), len(samples[0]))
    halved = [Halved.of(sample, rows, rng) for sample in samples] if rows > 1 else []
    for i, j in combinations(range(S), 2):
        cost = first if (i, j) == (0, 1) else transport_cost(samples[i], samples[j]).cost
        found["e_ot"][[i, j], [j, i]] = cost
        if halved and spreads.min() > 0:
            found["debiased_cost"][[i, j], [j, i]] = halved[i].debiased_cost(halved[j]) / spreads.mean()
    return found


def _mixed(P: np.ndarray, other: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """P (n, D) with a random `share` of its rows replaced by rows of `other`, which has the same law."""
    rows = rng.permutation(len(P))[: round(share * len(P))]
    mixed = P.copy()
    mixed[rows] = other[rows]
    return mixed


def _table(readings: list[list[dict[str, float]]]) -> dict[str, np.ndarray]:
    """key -> (settings, bases) from the values of each setting and basis."""
    return {key: np.array([[values[key] for values in row] for row in readings]) for key in METRICS}


def _labels(
    labels: np.ndarray | None, n: int, fresh_labels: np.ndarray | None, m: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Both labels as what a map takes beside the noise: one array each, or none. Raises InputError as `calibrate`."""
    if labels is None and fresh_labels is None:
        return [], []
    if labels is None or fresh_labels is None or labels.shape != (n,) or fresh_labels.shape != (m,):
        shapes = [None if own is None else own.shape for own in (labels, fresh_labels)]
        raise InputError(f"labels and fresh_labels must be ({n},) and ({m},), one a row of noise, got {shapes}.")
    return [labels], [fresh_labels]


def _check(noise: np.ndarray, fresh_noise: np.ndarray, angles: np.ndarray, shares: np.ndarray, bases: int) -> None:
    """Raises InputError unless a calibration can be made of these."""
    if noise.ndim != 2 or fresh_noise.ndim != 2 or noise.shape[1] != fresh_noise.shape[1]:
        raise InputError(f"noise and fresh_noise must be (n, d) and (m, d), got {noise.shape}, {fresh_noise.shape}.")
    if len(fresh_noise) < 2 * len(noise):
        raise InputError(
            f"fresh_noise has {len(fresh_noise)} rows for {len(noise)} pairs; give at least {2 * len(noise)}: "
            "one half makes the reference, the other the student without memory."
        )
    overlap = Overlap.of(noise, fresh_noise)
    if overlap.too_large:
        raise InputError(
            f"{percent(overlap.share)} of the rows of noise and fresh_noise are the same, and the two have to be "
            "independent; draw fresh_noise with another seed."
        )
    if not {0.0, 90.0} <= set(angles.tolist()):
        raise InputError(f"angles_degrees must hold 0 and 90 to be inverted, got {angles.tolist()}.")
    if len(shares) and not (shares.min() > 0 and shares.max() <= 1):
        raise InputError(f"shares of re-paired rows must lie in (0, 1], got {shares.tolist()}.")
    if bases < 1:
        raise InputError(f"bases must be at least 1, got {bases}; 4 is usual.")
