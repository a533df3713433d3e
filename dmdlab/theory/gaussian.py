"""Everything about a Gaussian teacher and the gradient flow of its linear student, in float64.

The data law is N(0, C), C (d, d) symmetric and positive semi-definite (`law.covariance()` of a Gaussian law). Noised to
level sigma it is N(0, C + sigma^2 I), so its denoiser is linear (Wiener's filter) and its score is -(C + sigma^2)^-1 x:

    D(x, sigma) = C (C + sigma^2)^-1 x                                                                 (1)

A function f of a symmetric matrix acts on its eigenvalues; all of them here are functions of C and commute with it.
Linear maps are written for column vectors, W z; rows of an (n, d) array are mapped by `z @ W.mT`.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dmdlab.config import InputError


def _function(symmetric: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    """f of a symmetric matrix (d, d): f acts on its eigenvalues; those below 0 by rounding count as 0.

    Raises InputError for one that is not symmetric.
    """
    if (skew := (symmetric - symmetric.mT).abs().max()) > 1e-6 * symmetric.abs().max():
        raise InputError(f"a covariance must be symmetric; two mirrored entries differ by {float(skew):.3g}.")
    values, axes = torch.linalg.eigh(symmetric)
    return axes @ (f(values.clamp(min=0)).unsqueeze(-1) * axes.mT)


def denoiser_matrix(covariance: Tensor, sigma: float) -> Tensor:
    """The matrix of Eq. (1), (d, d); at sigma_max it is the one-step teacher Phi_1 and so the student's start W_0."""
    return _function(covariance.double(), lambda v: v / (v + sigma**2))


def flow_matrix(covariance: Tensor, start: float, stop: float = 0.0) -> Tensor:
    """The probability flow from level `start` to level `stop` as a symmetric matrix, (d, d).

    With Eq. (1) the flow (Karras et al. 2022, Eq. 1) is linear, and along an eigenvector of C with variance v it reads

        dx / dsigma = (x - D) / sigma = sigma x / (v + sigma^2),        so  x(sigma) = c sqrt(v + sigma^2)

    and the map is sqrt((v + stop^2) / (v + start^2)) on that axis. From the prior's start = sigma_max to stop = 0 it is
    Phi = C^1/2 (C + sigma_max^2)^-1/2: symmetric, positive, and therefore also the optimal-transport map between the
    laws of z and Phi(z) (its potential z^T Phi z / 2 is convex; Brenier 1991). Levels may be in either order.
    """
    return _function(covariance.double(), lambda v: ((v + stop**2) / (v + start**2)).sqrt())


def gaussian_flow(z: Tensor, covariance: Tensor, start: float, stop: float = 0.0, mean: Tensor | None = None) -> Tensor:
    """Phi(z) for the law N(mean, C), z (..., d) at level `start` -> (..., d) at level `stop`, float64.

    A mean m only moves the origin: D(x) = m + C (C + sigma^2)^-1 (x - m), so x - m flows as `flow_matrix` says.
    """
    origin = torch.zeros(covariance.shape[0], dtype=torch.float64) if mean is None else mean.double()
    return origin + (z.double() - origin) @ flow_matrix(covariance, start, stop).mT


def noised_kl(mean: Tensor, student: Tensor, teacher: Tensor, sigma: float) -> Tensor:
    """KL(N(mean, S + sigma^2) | N(0, C + sigma^2)) in nats, for S = `student`, C = `teacher`, (d, d): a scalar.

    This is what DMD descends at level sigma (Yin et al. 2024, Eq. 2), with A = C + sigma^2 and B = S + sigma^2:

        KL = (tr(A^-1 B) - d + mean^T A^-1 mean + log det A - log det B) / 2
    """
    noise = sigma**2 * torch.eye(len(mean), dtype=torch.float64)
    a, b = teacher.double() + noise, student.double() + noise
    m = mean.double()
    quadratic = torch.linalg.solve(a, b).trace() + m @ torch.linalg.solve(a, m)
    return (quadratic - len(m) + torch.logdet(a) - torch.logdet(b)) / 2


def distillation_velocity(w: Tensor, covariance: Tensor, sigma_max: float, levels: Tensor, weights: Tensor) -> Tensor:
    """W' of a linear student G(z) = W z distilled from the teacher N(0, C) with a perfect fake score: (d, d).

    The student's law is N(0, S) with S = sigma_max^2 W W^T. With x_sigma = W z + sigma eps and the exact scores of both
    laws, DMD's expected gradient at one level is

        E[(s_fake - s_teacher)(x_sigma) z^T] = ((C + sigma^2)^-1 - (S + sigma^2)^-1) E[x_sigma z^T]
                                             = sigma_max^2 ((C + sigma^2)^-1 - (S + sigma^2)^-1) W,

    the gradient of `noised_kl` in W. Averaged over `levels` (m,) with `weights` (m,), descent is, with
    h(v) = mean_j weights_j / (v + levels_j^2) as a function of a symmetric matrix,

        W' = M(W W^T) W,        M = sigma_max^2 (h(S) - h(C))                                          (2)

    DMD's direction without a normaliser is D_fake - D_teacher = sigma^2 (s_fake - s_teacher): weights = levels^2. M is
    symmetric and knows W through W W^T only: the inheritance lemma, since W Q has the same M for every orthogonal Q.
    """
    w, h = w.double(), _mean_precision(levels, weights)
    student = sigma_max**2 * w @ w.mT
    return sigma_max**2 * (_function(student, h) - _function(covariance.double(), h)) @ w


def _mean_precision(levels: Tensor, weights: Tensor) -> Callable[[Tensor], Tensor]:
    """h of Eq. (2), on eigenvalues (d,)."""
    squares, weights = levels.double() ** 2, weights.double()
    return lambda v: (weights / (v.unsqueeze(-1) + squares)).mean(-1)


def distillation_flow(
    w: Tensor,
    covariance: Tensor,
    sigma_max: float,
    levels: Tensor,
    weights: Tensor,
    times: Sequence[float],
    step: float = 0.05,
) -> Tensor:
    """W(t) of Eq. (2) at ascending `times`, from W(0) = w: (times, d, d), by the classical Runge-Kutta method.

    Time is in units of 1 / sigma_max^2, in which V = sigma_max W moves by V' = (h(V V^T) - h(C)) V: with DMD's own
    weights, levels^2, no rate exceeds 1, and `step` bounds the steps. Steps of fixed size keep the lemma to rounding:

    - W(t) = U(t) W(0) with U' = M U, and W(0) -> W(0) Q gives W(t) -> W(t) Q for every orthogonal Q;
    - from the one-step teacher, W(0) = C (C + sigma_max^2)^-1, everything is a function of C, so W(t) stays symmetric
      and positive, and V V^T -> C leaves W = C^1/2 / sigma_max. This is the teacher's own map Phi (`flow_matrix`) but
      for the factor (1 + C / sigma_max^2)^1/2 by which Phi(z), started from the prior instead of from noised data, has
      less than the data's variance: the student copies.
    """
    h = _mean_precision(levels, weights)
    target = _function(covariance.double(), h)

    def velocity(v: Tensor) -> Tensor:
        return (_function(v @ v.mT, h) - target) @ v

    v, now, states = sigma_max * w.double(), 0.0, []
    for time in times:
        count = max(1, math.ceil((time - now) / step))
        dt = (time - now) / count
        for _ in range(count):
            k1 = velocity(v)
            k2 = velocity(v + dt / 2 * k1)
            k3 = velocity(v + dt / 2 * k2)
            k4 = velocity(v + dt * k3)
            v = v + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        now = time
        states.append(v / sigma_max)
    return torch.stack(states)
