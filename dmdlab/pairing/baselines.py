"""What a pair_cosine is read beside: how much of the pairing any model of the law would have.

At a large sigma_max every probability flow moves the mean and the covariance alike, whatever else it does, so two
models that never met agree in part. Two baselines say in how large a part. Neither is a threshold: for a Gaussian law
the first is 1, and a student that turned the noise lies below it.

- `pair_cosine_gaussian`: the teacher with the flow of N(m, C), m and C the mean and covariance of its law;
- `pair_cosine_of(teacher, other_teacher)`: the teacher with another seed's teacher.
"""

from typing import Any

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.limits import unresolved
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.moments import RowMoments
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.statistics import jackknife_interval

ROWS_PER_DIMENSION = 10
"""Rows for each dimension that a covariance is estimated from, at least (ours): its eigenvalues are then within a
factor of 0.5 to 1.7 of the law's (Marchenko and Pastur, 1967, at d / n = 0.1), and the flow goes as their roots."""


def pair_cosine_of(teacher: np.ndarray, other: np.ndarray, name: str = "student") -> Measured:
    """pair_cosine of two (n, d) arrays with its 95 % jackknife interval over rows; unresolved where one is constant.

    name: of the other array, for the reason.
    """
    moments = RowMoments.of(teacher, other)
    if reason := unresolved(moments).get("pair_cosine"):
        return Measured.unresolved(reason.replace("the student", f"the {name.replace('_', ' ')}"))
    value = float(moments.total().pair_cosine)
    return Measured(
        value, *jackknife_interval(value, moments.leave_one_out().pair_cosine, METRICS["pair_cosine"].bounds)
    )


def pair_cosine_gaussian(
    noise: Any, teacher: Any, *, sigma_max: float, covariance: Any = None, rows: Any = None
) -> Measured:
    """pair_cosine of the teacher's outputs with the flow of a Gaussian of its law's covariance, at the same noise.

    The mean of the law is not asked for: it shifts all outputs alike, and pair_cosine is about the means.

    Args:
        noise: (n, d) z_i of standard deviation sigma_max, in the teacher's dimension.
        teacher: (n, ...) its outputs at z_i.
        sigma_max: the level at which the flow starts, in the units of the data.
        covariance: (d, d) of the law, where it is known.
        rows: (m, ...) else, from which it is estimated: outputs at fresh noise or data; by default the teacher's
            outputs themselves. Whose they are does not matter: a covariance knows nothing of a pairing.

    Returns:
        A Measured with its 95 % jackknife interval over rows, the covariance taken as known. Unresolved with fewer
        than `ROWS_PER_DIMENSION` d different rows: those that a small data set repeats add nothing.

    Raises:
        InputError: arrays that are no pairs, noise of another dimension, a covariance of another size, sigma_max <= 0.
    """
    given = Pairs.of(teacher, teacher, noise=noise, reference=rows)
    z, P, d = given.noise, given.teacher, given.d
    assert z is not None
    if z.shape[1] != d or sigma_max <= 0:
        raise InputError(f"expected noise in {d} dimensions and sigma_max > 0, got {z.shape[1]} and {sigma_max}.")
    if covariance is None:
        sample = P if given.reference is None else given.reference
        distinct = len({row.tobytes() for row in sample})
        if distinct < ROWS_PER_DIMENSION * d:
            return Measured.unresolved(
                f"a covariance in {d} dimensions needs {ROWS_PER_DIMENSION * d} different rows, there are {distinct}"
            )
        centred = sample - sample.mean(axis=0, dtype=np.float64)
        covariance = centred.T @ centred / (len(sample) - 1)
    matrix = np.asarray(covariance, np.float64)
    if matrix.shape != (d, d):
        raise InputError(f"expected a covariance ({d}, {d}), got {matrix.shape}.")
    return pair_cosine_of(P, gaussian_flow(z, matrix, sigma_max), "Gaussian")


def gaussian_flow(noise: np.ndarray, covariance: np.ndarray, sigma_max: float) -> np.ndarray:
    """Phi(z) of N(0, C) for each row of noise (n, d), in float64: z C^1/2 (C + sigma_max^2)^-1/2.

    The same closed form as `dmdlab.theory.flow_matrix`, where it is derived; measuring does without torch.
    """
    values, axes = np.linalg.eigh(covariance)
    values = np.maximum(values, 0.0)
    return ((noise.astype(np.float64) @ axes) * np.sqrt(values / (values + sigma_max**2))) @ axes.T
