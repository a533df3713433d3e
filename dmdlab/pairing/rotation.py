"""Did the student only turn its noise? What one orthogonal turn gives back of the pairing that was lost.

A student G(z) = P(z R), with R orthogonal, has the teacher's law and none of its pairing, and yet nothing is scrambled:
one matrix explains everything. Rows are samples, and z R has the law of z, so with y = z R

    C_G = E[z^T G(z)] = E[R y^T P(y)] = R C_P,      C_P = E[z^T P(z)],      (d, D) both
    C_G C_P^T = R C_P C_P^T,    so    R = polar(C_G C_P^T) = U V^T   with   U S V^T = C_G C_P^T

is the turn wherever C_P has full rank (where it lacks directions, any turn of these fits, and the one taken explains
nothing there). R is fitted on rows of its own, and judged on others, held out, by

    rotation_explained = (c_R - c) / (1 - c),   c = pair_cosine(P(z), G(z)),   c_R = pair_cosine(P(z R), G(z)):

the share of the lost pairing that it gives back. 1: the student turned. 0: no single turn helps. Reflections count as
turns: the prior does not see them either.

It cannot be had cheaply. C_P and C_G are estimated with an error of about sd(z) sd(P) / sqrt(N) in each of d^2 numbers,
against a signal that nonlinear maps spread thin, so even an exactly turned teacher reads below 1, the more so the
larger d and the smaller the angle (what the fit loses is a larger part of a smaller loss). Hence at least
`ROWS_PER_DIMENSION` d fitting rows, and never a value without `planted_turns` at about the student's own pair_cosine:
what an exactly turned teacher reads there. And where little was lost, the share is 0 / 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.baselines import pair_cosine_of
from dmdlab.pairing.bases import random_basis, turned
from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.independence import Overlap
from dmdlab.pairing.local import NumpyMap
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.moments import RowMoments
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.statistics import jackknife_interval
from dmdlab.pairing.words import percent

ROWS_PER_DIMENSION = 50
"""Fitting rows for each dimension of the noise, at least (ours)."""

LEAST_LOST = 0.1
"""The share is unresolved where pair_cosine is above 1 less this (ours): the fit itself loses up to a tenth or more for
an exactly turned teacher, which would be most of so little. A linear teacher turned by 26 degrees loses as much."""


@dataclass(frozen=True, eq=False)
class Explained:
    """What one turn of the noise explains.

    Attributes:
        share: `rotation_explained`, with a 95 % jackknife interval over the held-out rows, the turn taken as known.
        plain, recovered: pair_cosine of the held-out rows without the turn and with it.
        turn: R, (d, d), orthogonal: the student is compared with P(z R). None where none was fitted.
    """

    share: Measured
    plain: Measured
    recovered: Measured
    turn: np.ndarray | None


def rotation_explained(
    teacher_map: NumpyMap, noise: Any, student: Any, *, fit_noise: Any, fit_student: Any
) -> Explained:
    """The share of the lost pairing that one orthogonal turn of the noise gives back; see above.

    Args:
        teacher_map: P, from (n, d) noise to (n, ...) outputs, deterministic.
        noise, student: (n, d) and (n, ...), held-out draws of a rotation-invariant prior and the student's outputs.
        fit_noise, fit_student: (N, d) and (N, ...), further ones for the fit; N of at least `ROWS_PER_DIMENSION` d.

    Returns:
        Explained; its share is unresolved with fewer fitting rows, where pair_cosine is above 1 - `LEAST_LOST`, and
        where an array is constant. The teacher is asked for 2 n + N rows, and for nothing where rows are too few.

    Raises:
        InputError: arrays that are no pairs, noise of unequal dimensions, fitting rows among the held-out ones.
    """
    z, fit_z = _noises(noise, fit_noise)
    d, N = z.shape[1], len(fit_z)
    if ROWS_PER_DIMENSION * d > N:
        return _unresolved(f"a turn in {d} dimensions needs {ROWS_PER_DIMENSION * d} rows for its fit, there are {N}")
    held = Pairs.of(teacher_map(z), student, noise=z)
    plain = pair_cosine_of(held.teacher, held.student)
    if not plain.resolved:
        return _unresolved(str(plain.reason), plain)
    if plain.value > 1.0 - LEAST_LOST:
        reason = f"pair_cosine is {plain.value:.3g}: too little of the pairing was lost to ask what explains the loss"
        return _unresolved(reason, plain)
    fitting = Pairs.of(teacher_map(fit_z), fit_student, noise=fit_z)
    turn = fitted_turn(fit_z, fitting.teacher, fitting.student)
    back = Pairs.of(teacher_map((z @ turn).astype(z.dtype)), held.student).teacher
    recovered = pair_cosine_of(back, held.student)
    if not recovered.resolved:
        return _unresolved(str(recovered.reason), plain)
    return Explained(_share(plain, recovered, held, back), plain, recovered, turn)


def fitted_turn(noise: np.ndarray, teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """R = polar(C_G C_P^T), (d, d), orthogonal, of noise (N, d) and outputs (N, D) at it; N is not judged here."""
    z = noise.astype(np.float64)
    z /= np.sqrt(np.mean(z**2))  # no scale enters R
    C_P, C_G = (z.T @ _centred(x) for x in (teacher, student))  # (d, D)
    U, _, Vt = np.linalg.svd(C_G @ C_P.T)
    return U @ Vt


def planted_turns(
    teacher_map: NumpyMap,
    noise: np.ndarray,
    *,
    fit_noise: np.ndarray,
    rng: np.random.Generator,
    angles_degrees: Sequence[float] = (45.0, 90.0),
    bases: int = 2,
) -> np.ndarray:
    """What `rotation_explained` reads for the teacher itself after a known turn: (angles, bases), NaN if unresolved.

    The nearest to 1 that any student can be expected to come at this teacher, d and number of rows. It is less at small
    angles: take the student's own `remap_angle`, where there is one.

    Args:
        teacher_map, noise, fit_noise: as for `rotation_explained`.
        rng: for the bases.
        angles_degrees: of the turns, in floor(d/2) planes of random bases (`planted_rotation`).
        bases: for each angle. The price is the teacher at 2 N + 3 n rows, angles times bases times.
    """
    found = np.empty((len(angles_degrees), bases))
    for b in range(bases):
        basis = random_basis(noise.shape[1], rng)
        for a, angle in enumerate(angles_degrees):
            student, fit_student = (teacher_map(turned(z, basis, angle)) for z in (noise, fit_noise))
            read = rotation_explained(teacher_map, noise, student, fit_noise=fit_noise, fit_student=fit_student)
            found[a, b] = read.share.value
    return found


def _share(plain: Measured, recovered: Measured, held: Pairs, back: np.ndarray) -> Measured:
    """(c_R - c) / (1 - c) with its jackknife interval over rows."""

    def of(c_R: Any, c: Any) -> Any:
        return (c_R - c) / (1.0 - c)

    without = (RowMoments.of(P, held.student).leave_one_out().pair_cosine for P in (back, held.teacher))
    value, bounds = of(recovered.value, plain.value), METRICS["rotation_explained"].bounds
    return Measured(value, *jackknife_interval(value, of(*without), bounds))


def _centred(x: np.ndarray) -> np.ndarray:
    """x (n, D) about its mean, in float64 and in units of its largest entry: no scale enters the turn."""
    centred = x - x.mean(axis=0, dtype=np.float64)
    return centred / (np.abs(centred).max() or 1.0)


def _noises(noise: Any, fit_noise: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both as validated (n, d) and (N, d). Raises InputError where dimensions differ or rows are shared."""
    z, fit_z = (Pairs.of(x, x).teacher for x in (noise, fit_noise))
    if z.shape[1] != fit_z.shape[1]:
        raise InputError(f"noise and fit_noise must have one dimension, got {z.shape} and {fit_z.shape}.")
    overlap = Overlap.of(z, fit_z)
    if overlap.too_large:
        raise InputError(
            f"{percent(overlap.share)} of the rows of noise and fit_noise are the same; a turn is judged on rows that "
            "it was not fitted on: draw fit_noise with another seed."
        )
    return z, fit_z


def _unresolved(reason: str, plain: Measured | None = None) -> Explained:
    missing = Measured.unresolved(reason)
    return Explained(missing, plain or missing, missing, None)
