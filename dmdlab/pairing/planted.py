"""Calibration by planted remaps: what every measure reads when the amount of remapping is known.

`G_theta(z) = Phi_K(R_theta z)`, with R_theta turning by theta in floor(d/2) random planes (see `bases`). The prior is
invariant under rotations, so the outputs have exactly the teacher's law whatever theta is: only the pairing is damaged,
and by a known amount. No training is involved. For a linear teacher of isotropic covariance S the shared-noise cost is
`e_dt = 2 tr(S) (1 - tr(R) / d)`, and pair_cosine is tr(R) / d.

Next to the planted angles stand the null (the teacher at independent noise), the partial mixture (a share of the rows
at independent noise), the collapsed student, and the floor (e_ot between two samples of the teacher's law).
"""

from collections.abc import Callable, Sequence

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.bases import random_basis, turned
from dmdlab.pairing.calibration import Calibration
from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.metrics import measure_pairs
from dmdlab.pairing.pairs import Pairs
from dmdlab.transport import transport_cost

TeacherMap = Callable[[np.ndarray], np.ndarray]

# 5 degrees is there for teachers whose map has edges, where pair_cosine falls linearly from the start.
ANGLES_DEGREES = (0.0, 5.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 120.0, 150.0, 180.0)
SHARES = (0.1, 0.25, 0.5, 0.75)


def calibrate(
    teacher_map: TeacherMap,
    noise: np.ndarray,
    *,
    fresh_noise: np.ndarray,
    rng: np.random.Generator,
    angles_degrees: Sequence[float] = ANGLES_DEGREES,
    shares: Sequence[float] = SHARES,
    bases: int = 4,
) -> Calibration:
    """Every measure of the glossary under known truth, for one teacher map and sample size.

    Args:
        teacher_map: Phi_K, from (n, d) noise to (n, ...) outputs, deterministic.
        noise: (n, d) draws z_i of a rotation-invariant prior.
        fresh_noise: (m, d) further draws, m >= 2 n: n rows make the reference, the others the null.
        rng: for the bases, and for which fresh rows meet which pairs in the null and the mixtures.
        angles_degrees: planted angles; 0 and 90 must be among them.
        shares: shares of rows at independent noise in the partial mixtures, in (0, 1].
        bases: random bases to average over, and draws of the null and of each mixture.

    Raises:
        InputError: too little fresh noise, angles without 0 and 90, shares outside (0, 1], no bases, or a teacher map
            whose outputs are no (n, ...) arrays of finite numbers.
        TransportError: an assignment solver failed.
    """
    angles, parts = np.unique(np.asarray(angles_degrees, float)), np.asarray(shares, float)
    _check(noise, fresh_noise, angles, parts, bases)
    n, d = noise.shape
    outputs = Pairs.of(teacher_map(noise), teacher_map(fresh_noise[:n]), data=teacher_map(fresh_noise[n:]))
    assert outputs.data is not None
    P, Q, others = outputs.teacher, outputs.student, outputs.data  # (n, D), (n, D), (m - n, D)
    floor = transport_cost(Q, P)

    def read(student: np.ndarray) -> dict[str, float]:
        return measure_pairs(Pairs.of(P, student, reference=Q), floor=floor).values()

    def read_turned() -> list[dict[str, float]]:
        basis = random_basis(d, rng)
        return [read(teacher_map(turned(noise, basis, a))) for a in angles]

    planted = [list(row) for row in zip(*(read_turned() for _ in range(bases)), strict=True)]  # [angle][basis]
    independent = [others[rng.permutation(len(others))[:n]] for _ in range(bases)]
    return Calibration(
        n=n,
        d=d,
        angles_degrees=angles,
        shares=parts,
        planted=_table(planted),
        mixture=_table([[read(_mixed(P, other, s, rng)) for other in independent] for s in parts]),
        null={key: values[0] for key, values in _table([[read(other) for other in independent]]).items()},
        collapsed=read(np.broadcast_to(P.mean(axis=0), P.shape)),
        floor=floor.cost,
    )


def _mixed(P: np.ndarray, other: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """P (n, D) with a random `share` of its rows replaced by rows of `other`, which has the same law."""
    rows = rng.permutation(len(P))[: round(share * len(P))]
    mixed = P.copy()
    mixed[rows] = other[rows]
    return mixed


def _table(readings: list[list[dict[str, float]]]) -> dict[str, np.ndarray]:
    """key -> (settings, bases) from the values of each setting and basis."""
    return {key: np.array([[values[key] for values in row] for row in readings]) for key in METRICS}


def _check(noise: np.ndarray, fresh_noise: np.ndarray, angles: np.ndarray, shares: np.ndarray, bases: int) -> None:
    """Raises InputError unless a calibration can be made of these."""
    if noise.ndim != 2 or fresh_noise.ndim != 2 or noise.shape[1] != fresh_noise.shape[1]:
        raise InputError(f"noise and fresh_noise must be (n, d) and (m, d), got {noise.shape}, {fresh_noise.shape}.")
    if len(fresh_noise) < 2 * len(noise):
        raise InputError(
            f"fresh_noise has {len(fresh_noise)} rows for {len(noise)} pairs; give at least {2 * len(noise)}: "
            "one half makes the reference, the other the student without memory."
        )
    if not {0.0, 90.0} <= set(angles.tolist()):
        raise InputError(f"angles_degrees must hold 0 and 90 to be inverted, got {angles.tolist()}.")
    if len(shares) and not (shares.min() > 0 and shares.max() <= 1):
        raise InputError(f"shares of re-paired rows must lie in (0, 1], got {shares.tolist()}.")
    if bases < 1:
        raise InputError(f"bases must be at least 1, got {bases}; 4 is usual.")
