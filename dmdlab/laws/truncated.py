"""Moments of a Gaussian truncated to an interval: the posterior of a uniform law on it, once noised.

For u uniform on [low, high] and x = u + sigma eps, the posterior of u is N(x, sigma^2) cut to [low, high].
Take x to the left of the centre (else mirror) and measure from x in units of sigma: the interval is [a, b]
with a = m - h, b = m + h and m, h >= 0, and t = (u - x) / sigma has

    Z = Phi(b) - Phi(a),    E[t] = (phi(a) - phi(b)) / Z = phi(a) (1 - e^(-2 m h)) / Z.

No one formula is stable everywhere; three are, each on its part, with errors at float64 rounding:

    flat, h and m h <= 1/2: Gauss-Legendre over the interval, where the density hardly varies (differences
        of Phi would cancel);
    tail, a > 0: Z = phi(a) (M(a) - e^(-2 m h) M(b)) with Mills' ratio M(a) = sqrt(pi/2) erfcx(a / sqrt 2)
        (differences of Phi would underflow);
    inside, a <= 0: Z = (erf(b / sqrt 2) + erf(-a / sqrt 2)) / 2, a sum of positive numbers.
"""

import math

import numpy as np
import torch
from torch import Tensor

# Gauss-Legendre on [-1, 1] with 8 nodes, those above 0: exact to rounding on the flat part
_NODES, _WEIGHTS = (half[4:].tolist() for half in np.polynomial.legendre.leggauss(8))


def truncated_moments(x: Tensor, sigma: Tensor, low: Tensor | float, high: Tensor | float) -> tuple[Tensor, Tensor]:
    """log P(low < x + sigma eps < high) and E[x + sigma eps | low < x + sigma eps < high], float64.

    All arguments broadcast (x and sigma in float64, sigma > 0, low < high); both results have the broadcast shape
    and are differentiable.
    """
    signed = ((low + high) / 2 - x) / sigma
    side = torch.where(signed < 0, -1.0, 1.0).to(x)
    m, h = signed.abs(), (high - low) / (2 * sigma)
    a, b, skew = m - h, m + h, m * h
    flat = (h <= 0.5) & (skew <= 0.5)
    tail = ~flat & (a > 0)
    gap = -torch.expm1(-2 * skew)  # 1 - phi(b) / phi(a)
    phi = torch.exp(-0.5 * a**2) / math.sqrt(2 * math.pi)

    # each formula sees harmless numbers where it is not used: a NaN there would reach the gradient of where()
    mass, first = _symmetric_sums(h.clamp(max=0.5), skew.clamp(max=0.5))
    z_tail = _mills(torch.where(tail, a, 1.0)) - (1 - gap) * _mills(torch.where(tail, b, 2.0))  # Z / phi(a)
    z_inside = 0.5 * (torch.erf(b / math.sqrt(2)) - torch.erf(a / math.sqrt(2)))
    z = torch.where(flat, 1.0, torch.where(tail, z_tail, z_inside))

    t = torch.where(flat, m + h * first / mass, torch.where(tail, 1.0, phi) * gap / z)
    exponent = -0.5 * torch.where(flat, m, a) ** 2 - 0.5 * math.log(2 * math.pi)
    log_z = torch.log(torch.where(flat, 2 * h * mass, z)) + torch.where(flat | tail, exponent, 0.0)
    return log_z, x + side * sigma * t


def _symmetric_sums(h: Tensor, skew: Tensor) -> tuple[Tensor, Tensor]:
    """Half the integrals of 1 and s over s in [-1, 1] of exp(-h^2 s^2 / 2 - skew s), +s and -s taken together.

    In the interval t = m + h s, so with skew = m h this is its density up to phi(m).
    """
    mass, first = torch.zeros_like(skew), torch.zeros_like(skew)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        bell = weight * torch.exp(-0.5 * (h * node) ** 2)  # as small as h: one number a point, not one a coordinate
        up = torch.exp(skew * node)
        mass = mass + bell * (up + 1 / up) / 2
        first = first - bell * node * (up - 1 / up) / 2
    return mass, first


def _mills(a: Tensor) -> Tensor:
    """Mills' ratio (1 - Phi(a)) / phi(a)."""
    return math.sqrt(math.pi / 2) * torch.special.erfcx(a / math.sqrt(2))
