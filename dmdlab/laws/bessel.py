"""Modified Bessel functions I_nu of any order nu >= 0, for arguments from 0 to 1e12, in float64.

Both functions computed here are free of the singular factor kappa^nu, so kappa = 0 is nothing special:

    g_nu(kappa) = I_{nu+1}(kappa) / (kappa I_nu(kappa)),    l_nu(kappa) = log(I_nu(kappa) / kappa^nu) - kappa.

At orders mu >= 40 ten terms of Debye's uniform expansion (DLMF 10.41.3, 10.41.5) are exact to rounding. With
S = sqrt(mu^2 + kappa^2), t = 1 / S, q = (mu t)^2 and DLMF's u_k(p) = p^k U_k(p^2), the terms are
u_k / mu^k = t^k U_k(q): small at *any* kappa, not only at mu >> kappa. From v_k = u_k - (1 - p^2) w_k with
w_k = p (u_{k-1} / 2 + p u'_{k-1}) = p^k W_k(p^2), the ratio, written so that nothing cancels, is

    g_mu = 1 / (S + mu) - (sum_{k>=1} t^{k+1} W_k(q)) / (sum_{k>=0} t^k U_k(q)).        (1)

Lower orders follow by the backward recursion, which contracts errors (DLMF 10.29.1):

    g_nu = 1 / (2 (nu + 1) + kappa^2 g_{nu+1}),    l_nu = l_{nu+1} - log g_nu.          (2)
"""

import math
from fractions import Fraction

import torch
from torch import Tensor

_TERMS = 10
_DEBYE_ORDER = 40  # with these terms, ratios are within 4e-16 of arbitrary precision from here on


def log_bessel_and_ratio(order: float, kappa: Tensor) -> tuple[Tensor, Tensor]:
    """l_nu and g_nu of the module docstring, nu = order >= 0, at kappa >= 0 (...) in float64: both (...)."""
    shift = max(0, math.ceil(_DEBYE_ORDER - order))
    log_bessel, ratio = _debye(order + shift, kappa)
    for step in range(shift - 1, -1, -1):
        ratio = 1 / (2 * (order + step + 1) + kappa**2 * ratio)  # Eq. (2)
        log_bessel = log_bessel - torch.log(ratio)
    return log_bessel, ratio


def _debye(mu: float, kappa: Tensor) -> tuple[Tensor, Tensor]:
    s = torch.sqrt(mu**2 + kappa**2)
    t, q = 1 / s, (mu / s) ** 2
    numerator, denominator = torch.zeros_like(s), torch.zeros_like(s)
    for u, w in zip(reversed(_U), reversed(_W), strict=True):  # Horner's rule in t, and in q inside
        denominator = denominator * t + _horner(u, q)
        numerator = numerator * t + _horner(w, q)
    ratio = 1 / (s + mu) - t**2 * numerator / denominator  # Eq. (1)
    log_bessel = (
        mu**2 / (s + kappa) - mu * torch.log(mu + s) - 0.5 * torch.log(2 * math.pi * s) + torch.log(denominator)
    )
    return log_bessel, ratio


def _horner(coefficients: list[float], q: Tensor) -> Tensor:
    value = torch.full_like(q, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * q + coefficient
    return value


def _debye_polynomials() -> tuple[list[list[float]], list[list[float]]]:
    """Coefficients in q of U_0.. and of W_1.., by DLMF 10.41.9 in exact arithmetic."""
    u_k = [Fraction(1)]
    us, ws = [], []
    for k in range(_TERMS):
        us.append([float(c) for c in u_k])
        ws.append([float(c * (Fraction(1, 2) + k + 2 * j)) for j, c in enumerate(u_k)])  # W_{k+1}
        following = [Fraction(0)] * (k + 2)
        for j, c in enumerate(u_k):
            power = k + 2 * j  # of p in this term of u_k
            following[j] += c * (Fraction(power, 2) + Fraction(1, 8 * (power + 1)))
            following[j + 1] -= c * (Fraction(power, 2) + Fraction(5, 8 * (power + 3)))
        u_k = following
    return us, ws


_U, _W = _debye_polynomials()
