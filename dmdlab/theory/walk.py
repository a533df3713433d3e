"""What a random walk along the flat directions does to a pairing: E pair_cosine and the calibrated angle.

A walk W_t = S^1/2 Q_t takes steps Q -> exp(B) Q whose law does not depend on Q (docs/theory.md, part 4). `variances`
(d, d) are those of the entries B_ij, summed over the walk's steps, in the basis of the axes of S; the diagonal is not
used. Angles are in radians where they are not called degrees.
"""

import math
from typing import Literal

import torch
from torch import Tensor


def mean_turn(variances: Tensor) -> Tensor:
    """E Q_ii from Q = 1, (d,); the other entries are 0 in the mean (Eq. 15).

    E Q_ii = exp(-1/2 sum_{j != i} variances_ij),   and exp(-(d - 1) V / 2) where all planes have the variance V    (15)
    """
    planes = variances.double()
    return (-(planes.sum(1) - planes.diagonal()) / 2).exp()


def mean_pair_cosine(spectrum: Tensor, variances: Tensor) -> Tensor:
    """E pair_cosine of S^1/2 Q z with S^1/2 z, for S with eigenvalues `spectrum` (d,): a scalar (Eq. 16).

    pair_cosine = tr(S Q) / tr S,    E pair_cosine = sum_i s_i E Q_ii / sum_i s_i    (16)
    """
    s = spectrum.double()
    return (s * mean_turn(variances)).sum() / s.sum()


def trace_moments(d: int, variance: float) -> tuple[float, float]:
    """Mean and standard deviation of tr Q / d for isotropic Brownian motion on SO(d), d >= 2, from Q = 1 (Eq. 17).

    V = `variance` of the angle in every plane. The trace's square is the sum of the characters of the trivial, the
    skew and the symmetric traceless representation, and each decays at half its Casimir number (0, 2(d - 2), 2d):

        E tr Q = d exp(-(d - 1) V / 2)
        E (tr Q)^2 = 1 + d (d - 1) / 2 exp(-(d - 2) V) + (d + 2) (d - 1) / 2 exp(-d V)                    (17)
    """
    mean = math.exp(-(d - 1) * variance / 2)
    skew, symmetric = d * (d - 1) / 2 * math.exp(-(d - 2) * variance), (d + 2) * (d - 1) / 2 * math.exp(-d * variance)
    return mean, math.sqrt(max(0.0, (1 + skew + symmetric) / d**2 - mean**2))


def angle_degrees(pair_cosine: Tensor | float, d: int) -> Tensor:
    """The planted angle, 0 to 90, that gives a linear teacher this pair_cosine (Eq. 18).

    A planted turn has the angle theta in floor(d / 2) planes, and leaves an axis where d is odd; over random bases

        pair_cosine = (2 floor(d / 2) cos theta + d mod 2) / d                                             (18)

    whatever the spectrum. The angle of E pair_cosine is not the mean of angles, but close to it where the spread
    (`trace_moments`) is small.
    """
    cosine = torch.as_tensor(pair_cosine, dtype=torch.float64)
    return ((d * cosine - d % 2) / (d - d % 2)).clamp(0, 1).acos().rad2deg()


def squared_rates(steps: int, decay: Literal["constant", "cosine"] = "constant") -> float:
    """sum_t (eta_t / eta)^2 over the steps: what a variance per step at the peak rate eta is to be times (Eq. 19).

    eta_t / eta = (1 + cos(pi t / T)) / 2 for 'cosine', so that the sum is 3 T / 8 + 1 / 2, and T for 'constant'    (19)
    """
    if decay == "constant":
        return float(steps)
    return sum((1 + math.cos(math.pi * t / steps)) ** 2 / 4 for t in range(steps))
