"""How stochastic gradients move a linear student along its flat directions (docs/theory.md, part 3).

The student is G(z) = W z with z ~ N(0, 1), its data law N(0, S), x_sigma = W z + sigma eps. Denoisers are matrices: the
fake score's K_fake, the teacher's K_S = S (S + sigma^2)^-1, both of x_sigma. A sample's gradient is

    g = (K_fake - K_S) x_sigma z^T     (no normaliser, reduction 'sum'),     W -> W - eta mean_b g                   (5)

and its flat part A (Eq. 3) has in the plane (i, j) a variance from three sources: the error E = K_fake - K_W of the
fake score, the finite batch of z, and eps. With E = 0 at W W^T = S the gradient of *every* sample is 0.

All variances are (d, d), of A_ij per unit of eta^2 and per step, symmetric; those of a batch are to be divided by b.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dmdlab.config import InputError


class PlaneVariances(NamedTuple):
    """Variances of the flat part's entries: `score` (the mean over a batch, which an error of the fake score moves),
    `latents` and `noise` (of one sample, from z and from eps), each (d, d)."""

    score: Tensor
    latents: Tensor
    noise: Tensor


def sample_gradients(w: Tensor, fake: Tensor, teacher: Tensor, z: Tensor, eps: Tensor, sigma: float) -> Tensor:
    """Eq. 5 for every row of z, eps (n, d), with denoisers' matrices fake, teacher (d, d): (n, d, d)."""
    direction = (z @ w.mT + sigma * eps) @ (fake - teacher).mT
    return direction.unsqueeze(2) * z.unsqueeze(1)


def batch_variances(w: Tensor, differences: Tensor, levels: Tensor) -> tuple[PlaneVariances, Tensor]:
    """Exact, for given W (d, d) and K_fake - K_S, `differences` (m, d, d), at `levels` (m,), one of them drawn for each
    sample: the variances in the basis of the axes of W^T W, and these axes (d, d), columns (Eqs. 6 and 7).

    With H = W^T (K_fake - K_S) W and J = W^T (K_fake - K_S) on the axes, p the eigenvalues of W^T W, for i != j:

        z:   [(H H^T)_ii + (H H^T)_jj + H_ij^2 + H_ji^2 - 2 H_ii H_jj] / (p_i + p_j)^2                     (6)
        eps: sigma^2 [(J J^T)_ii + (J J^T)_jj] / (p_i + p_j)^2                                            (7)

    averaged over the levels; z's includes the variance of H_ij - H_ji over the levels. `score` is the mean's square.
    """
    w, differences, squares = w.double(), differences.double(), levels.double()[:, None, None] ** 2
    p, axes = torch.linalg.eigh(w.mT @ w)
    j = axes.mT @ w.mT @ differences  # (m, d, d)
    h = j @ w @ axes
    mean = h - h.mT
    own = h.diagonal(dim1=1, dim2=2)
    latents = _pairs(h.square().sum(2)) + h.square() + h.mT.square() - 2 * own.unsqueeze(2) * own.unsqueeze(1)
    between = mean.square().mean(0) - mean.mean(0).square()
    sums = (p.unsqueeze(0) + p.unsqueeze(1)) ** 2
    found = (
        mean.mean(0).square() / sums,
        (latents.mean(0) + between) / sums,
        (squares * _pairs(j.square().sum(2))).mean(0) / sums,
    )
    return PlaneVariances(*(_off_diagonal(part) for part in found)), axes


def regression_moments(spectrum: Tensor, sigma: float, samples: int) -> Tensor:
    """E[E_ij^2] of a fake score fitted by least squares to `samples` fresh pairs (x_0, x_sigma): (d, d) (Eq. 8).

        x_0 = K_S x_sigma + r,   var r_i = s_i sigma^2 / (s_i + sigma^2),   r independent of x_sigma:
        E[E_ij^2] = s_i sigma^2 / ((s_i + sigma^2) (s_j + sigma^2) (samples - d - 1)),    all entries uncorrelated  (8)

    Raises InputError unless samples > d + 1 (the mean of the inverse Wishart matrix needs as many).
    """
    s = spectrum.double()
    if samples <= len(s) + 1:
        raise InputError(
            f"a fake score fitted to {samples} samples in d = {len(s)} has an error of no finite variance; "
            f"give at least {len(s) + 2} samples."
        )
    return _residual_over_input(s, sigma) / (samples - len(s) - 1)


def wishart_moments(spectrum: Tensor, sigma: float, samples: int) -> Tensor:
    """E[E_ij^2] of a fake score that is the exact one of a covariance estimated from `samples`: (d, d) (Eq. 9).

    E = sigma^2 (S + sigma^2)^-1 (S_hat - S) (S + sigma^2)^-1 to first order: symmetric,
    E[E_ij^2] = sigma^4 s_i s_j (1 + delta_ij) / (samples (s_i + sigma^2)^2 (s_j + sigma^2)^2)              (9)
    """
    s = spectrum.double()
    ratio = s / (s + sigma**2) ** 2
    return sigma**4 / samples * ratio.unsqueeze(1) * ratio.unsqueeze(0) * (1 + torch.eye(len(s)).double())


def expected_variances(spectrum: Tensor, moments: Tensor, sigma: float, symmetric: bool = False) -> PlaneVariances:
    """Mean over errors of the fake score at the matching law W W^T = S = diag(spectrum) at one level (Eq. 10).

    moments (d, d): E[E_ij^2] of errors of mean 0, all entries uncorrelated, or E = E^T where `symmetric`.

        score: s_i s_j (kappa_ij + kappa_ji) / (s_i + s_j)^2,    0 where E is symmetric
        z:     [s_i sum_k kappa_ik s_k + s_j sum_k kappa_jk s_k + s_i s_j (kappa_ij + kappa_ji)] / (s_i + s_j)^2
        eps:   sigma^2 [s_i sum_k kappa_ik + s_j sum_k kappa_jk] / (s_i + s_j)^2                           (10)

    `score` is the variance of one step; errors that last for several add up (see `trained_score_rates`).
    """
    s, kappa = spectrum.double(), moments.double()
    sums = (s.unsqueeze(0) + s.unsqueeze(1)) ** 2
    both = s.unsqueeze(1) * s.unsqueeze(0) * (kappa + kappa.mT)
    score = torch.zeros_like(both) if symmetric else both
    latents, noise = _pairs(s * (kappa @ s)) + both, sigma**2 * _pairs(s * kappa.sum(1))
    return PlaneVariances(*(_off_diagonal(part / sums) for part in (score, latents, noise)))


def trained_score_rates(
    spectrum: Tensor, levels: Tensor, weights: Tensor | None = None, *, batch: int = 1, rate: float = 0.0
) -> Tensor:
    """The walk that a *trained* fake score causes: variance of A_ij per student step, times b k / eta^2 (Eq. 11).

    (d, d). The fake score is linear at each level and takes k updates of plain SGD a student step, each on b fresh
    samples of the student. `weights` (m,) multiply the direction at `levels` (m,).

        v_ij = eta^2 / (b k) s_i s_j / (s_i + s_j) mean_m weights^2 sigma^2 / ((s_i + sigma^2) (s_j + sigma^2))     (11)

    for a small learning rate, which does not enter: it sets how large the error is and, inversely, how long it lasts.
    At a given `rate` var r_i grows as `trained_score_moments` says, each level as if `batch` and rate were all its own;
    where m levels share b samples, each has about b / m at rate / m. What z and eps of the student's own batch
    add is left out (`expected_variances` of these moments, over b).
    """
    s = spectrum.double()
    factors = [1.0] * len(levels) if weights is None else (weights.double() ** 2).tolist()
    found = torch.zeros(len(s), len(s)).double()
    for sigma, factor in zip(levels.tolist(), factors, strict=True):
        c = s + sigma**2
        own = _residual_over_input(s, sigma)
        if rate:
            kappa = trained_score_moments(s, sigma, batch, rate)
            own = own + ((kappa @ c).unsqueeze(1) + c * kappa) / c
        found += factor / len(levels) * (own + own.mT)
    return _off_diagonal(found * s.unsqueeze(1) * s.unsqueeze(0) / (s.unsqueeze(1) + s.unsqueeze(0)) ** 2)


def trained_score_moments(spectrum: Tensor, sigma: float, batch: int, rate: float) -> Tensor:
    """E[E_ij^2] of that fake score at rest, at learning rate `rate`, the student at rest: (d, d) (Eq. 12).

    With c_j = s_j + sigma^2 and r as in Eq. 8, an entry loses the share rate c_j an update, and is pushed by the noise
    of r x_sigma^T and by that of x_sigma x_sigma^T on the error there is. By Gaussian moments the balance is

        E[E_ij^2] = rate var r_i / (b (1 - u) (2 - rate (1 + 1 / b) c_j)),
        u = sum_k rate c_k / (b (2 - rate (1 + 1 / b) c_k))                                                (12)

    Over time its entries add up as if new at each update with the variance (var r_i + sum_k c_k E[E_ik^2] + c_j
    E[E_ij^2]) / (b c_j): for a small rate var r_i / (b c_j), as if all samples had gone into one fit.

    Raises InputError for a rate at which the error grows without limit.
    """
    s = spectrum.double()
    c = s + sigma**2
    room = 2 - rate * (1 + 1 / batch) * c
    u = float((rate * c / (batch * room)).sum())
    if room.min() <= 0 or u >= 1:
        raise InputError(
            f"a fake score trained at a rate of {rate:g} on {batch} samples diverges at the level {sigma:g}; give a "
            f"rate well below {2 / float(c.max() + c.sum() / batch):.3g}."
        )
    return _residual_over_input(s, sigma) * c * rate / (batch * (1 - u) * room)


def adam_rates(spectrum: Tensor) -> Tensor:
    """Under Adam: variance of A_ij per step and eta^2, (d, d), where gradients are noise, new at each step (Eq. 13).

    Every entry of W then moves by eta times a number of unit variance, whatever the gradients' size, and so

        v_ij = eta^2 (s_i + s_j) / (s_i + s_j)^2 = eta^2 / (s_i + s_j)                                     (13)

    Neither batch, levels nor the fake score's error enter. It takes the entries' noises as uncorrelated.
    """
    s = spectrum.double()
    return _off_diagonal((s.unsqueeze(0) + s.unsqueeze(1)).reciprocal())


def frozen_variance(
    start: float, variance: float, levels: Tensor, weights: Tensor | None = None, points: int = 4000
) -> float:
    """All that exact scores ever turn: V b / eta, V each plane's variance from W = start to W W^T = variance (Eq. 14).

    For S = s, isotropic, and W = w on its way there, with delta = sigma^2 (1 / (s + sigma^2) - 1 / (w^2 + sigma^2)): z
    turns nothing, eps by Eq. 7, and w' = -mean_m(weights delta) w, so that the number of steps cancels:

        V = eta / b integral_start^sqrt(s) mean_m(weights^2 sigma^2 delta^2) / (2 w^3 mean_m(-weights delta)) dw    (14)
    """
    low, high = torch.tensor([start, variance**0.5], dtype=torch.float64).log()
    w = (low + (high - low) * (torch.arange(points, dtype=torch.float64) + 0.5) / points).exp()  # midpoints in ln w
    squares = levels.double()[:, None] ** 2
    factor = torch.ones(len(levels), 1).double() if weights is None else weights.double()[:, None]
    delta = factor * squares * ((variance + squares).reciprocal() - (w**2 + squares).reciprocal())  # (m, points)
    slope = (squares * delta**2).mean(0) / (-2 * w**2 * delta.mean(0))
    return float(slope.mean() * (high - low))


def _residual_over_input(s: Tensor, sigma: float) -> Tensor:
    """var r_i / var (x_sigma)_j of Eq. 8, (d, d)."""
    residual, total = s * sigma**2 / (s + sigma**2), s + sigma**2
    return residual.unsqueeze(1) / total.unsqueeze(0)


def _pairs(rows: Tensor) -> Tensor:
    """rows_i + rows_j, (..., d) -> (..., d, d)."""
    return rows.unsqueeze(-1) + rows.unsqueeze(-2)


def _off_diagonal(planes: Tensor) -> Tensor:
    """The same with 0 on the diagonal, where there is no plane."""
    return planes - planes.diagonal().diag_embed()
