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


def truncated_moments(
    x: Tensor, sigma: Tensor, low: Tensor | float, high: Tensor | float
) -> tuple[Tensor, Tensor]:
    """log P(low < x + sigma eps < high) and E[x + sigma eps | low < x + sigma eps < high], float64.

    All arguments broadcast (x and sigma in float64, sigma > 0, low < high); both results have the broadcast
    shape and are differentiable.
    """
    signed = ((low + high) / 2 - x) / sigma
    side = torch.where(signed < 0, -1.0, 1.0).to(x.dtype)
    m, h = signed.abs(), (high - low) / (2 * sigma)
    m, h = torch.broadcast_tensors(m, h)
    flat = (h <= 0.5) & (m * h <= 0.5)
    tail = ~flat & (m > h)
    inside = ~flat & ~tail
    # each formula sees harmless numbers where it is not used: a NaN there would reach the gradient of where()
    log_z_flat, t_flat = _flat(torch.where(flat, m, 0.0), torch.where(flat, h, 0.5))
    log_z_tail, t_tail = _tail(torch.where(tail, m, 2.0), torch.where(tail, h, 1.0))
    log_z_inside, t_inside = _inside(torch.where(inside, m, 0.0), torch.where(inside, h, 1.0))
    log_z = torch.where(flat, log_z_flat, torch.where(tail, log_z_tail, log_z_inside))
    t = torch.where(flat, t_flat, torch.where(tail, t_tail, t_inside))
    return log_z, x + side * sigma * t


def _flat(m: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """u = m + h s with s in [-1, 1] of density exp(-h^2 s^2 / 2 - m h s); +s and -s are taken together."""
    mass, first = torch.zeros_like(m), torch.zeros_like(m)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        common = weight * torch.exp(-0.5 * (h * node) ** 2)
        mass = mass + common * torch.cosh(m * h * node)
        first = first - common * node * torch.sinh(m * h * node)
    log_z = torch.log(2 * h * mass) - 0.5 * m**2 - 0.5 * math.log(2 * math.pi)
    return log_z, m + h * first / mass


def _tail(m: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    mills_a, mills_b = _mills(m - h), _mills(m + h)
    z = mills_a - torch.exp(-2 * m * h) * mills_b  # Z / phi(a)
    log_z = torch.log(z) - 0.5 * (m - h) ** 2 - 0.5 * math.log(2 * math.pi)
    return log_z, -torch.expm1(-2 * m * h) / z


def _inside(m: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    z = 0.5 * (torch.erf((m + h) / math.sqrt(2)) + torch.erf((h - m) / math.sqrt(2)))
    phi = torch.exp(-0.5 * (m - h) ** 2) / math.sqrt(2 * math.pi)
    return torch.log(z), -phi * torch.expm1(-2 * m * h) / z


def _mills(a: Tensor) -> Tensor:
    return math.sqrt(math.pi / 2) * torch.special.erfcx(a / math.sqrt(2))
