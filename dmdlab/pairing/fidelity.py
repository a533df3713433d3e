"""Fidelity by other costs than exact transport: sliced and Sinkhorn, each as the same ratio to the teacher's
own noise.

Exact transport between samples is dominated by sampling noise in high dimension, so its fidelity is slow to
leave 1. The sliced cost (mean of one-dimensional transport costs over random directions; Bonneel et al. 2015)
converges at a rate that does not depend on d but sees only marginals; the Sinkhorn divergence (Feydy et al.
2019) lies between. All three read 1 for a student whose law is the teacher's.
"""

import os
from typing import Any

import numpy as np

from dmdlab.pairing.measured import Measured
from dmdlab.transport.distances import squared_distances
from dmdlab.transport.solution import TransportError

_SINKHORN_ITERATIONS = 5_000
_SINKHORN_TOLERANCE = 1e-4  # of the masses; the cost is then wrong by its square, 1e-8 eps


def sliced_cost(a: np.ndarray, b: np.ndarray, directions: np.ndarray) -> float:
    """Mean over directions of the one-dimensional transport cost between the projected clouds.

    Args:
        a, b: (n, d), (m, d).
        directions: (d, count) of unit length, see `random_directions`.
    """
    return float(_pot().sliced_wasserstein_distance(a, b, projections=directions) ** 2)


def random_directions(d: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Directions uniform on the sphere, (d, count)."""
    directions = rng.standard_normal((d, count))
    return directions / np.linalg.norm(directions, axis=0)


def sliced_fidelity(
    P: np.ndarray, G: np.ndarray, Q: np.ndarray, *, rng: np.random.Generator, count: int = 200
) -> Measured:
    """`sliced(Q, G) / sliced(Q, P)` over the same random directions; 1 for equal laws.

    Args:
        P, G: teacher and student outputs, (n, d).
        Q: teacher outputs at fresh noise, (m, d).
        rng: draws the directions.
        count: of directions.
    """
    directions = random_directions(P.shape[1], count, rng)
    clouds = [np.asarray(x, np.float64) for x in (Q, G, P)]
    return _ratio(sliced_cost(clouds[0], clouds[1], directions), sliced_cost(clouds[0], clouds[2], directions))


def sinkhorn_divergence(a: np.ndarray, b: np.ndarray, eps: float) -> float:
    """`W_eps(a, b) - (W_eps(a, a) + W_eps(b, b)) / 2` between uniform clouds, at least 0, and 0 for equal
    clouds.

    W_eps is the transport cost plus eps times the relative entropy of the plan, for squared distances.

    Args:
        a, b: (n, d), (m, d).
        eps: temperature, in the units of the cost.

    Raises:
        TransportError: Sinkhorn's iteration did not converge.
    """
    return max(0.0, _entropic_cost(a, b, eps) - 0.5 * (_self_cost(a, eps) + _self_cost(b, eps)))


def sinkhorn_fidelity(P: np.ndarray, G: np.ndarray, Q: np.ndarray, *, relative_eps: float = 0.05) -> Measured:
    """`S_eps(Q, G) / S_eps(Q, P)` of Sinkhorn divergences; 1 for equal laws, and far above 1 sooner than
    `fidelity`.

    Args:
        P, G: teacher and student outputs, (n, d).
        Q: teacher outputs at fresh noise, (m, d).
        relative_eps: temperature as a share of the mean squared distance between Q and P.

    Raises:
        TransportError: Sinkhorn's iteration did not converge.
    """
    eps = relative_eps * float(squared_distances(Q, P).mean())
    if eps == 0:
        return Measured.unresolved("all teacher outputs are the same")
    return _ratio(sinkhorn_divergence(Q, G, eps), sinkhorn_divergence(Q, P, eps))


def _entropic_cost(a: np.ndarray, b: np.ndarray, eps: float) -> float:
    """W_eps(a, b) as its dual value, the mean of both potentials, by Sinkhorn's iteration with falling temperature."""
    cost, g = squared_distances(a, b), np.zeros(len(b))
    level = max(eps, float(cost.max()))
    while True:
        f, error = _soft_minimum(cost, g, level), np.inf
        for _ in range(_SINKHORN_ITERATIONS if level == eps else 1):
            g = _soft_minimum(cost.T, f, level)
            previous, f = f, _soft_minimum(cost, g, level)
            error = float(np.abs(np.expm1((previous - f) / level)).mean())  # what the rows' masses were wrong by
            if error <= _SINKHORN_TOLERANCE:
                break
        if level == eps:
            break
        level = max(eps, 0.5 * level)
    return _converged(f.mean() + g.mean(), error, eps)


def _self_cost(a: np.ndarray, eps: float) -> float:
    """W_eps(a, a): both potentials are equal, and averaging converges in some tens of steps (Feydy et al. 2019)."""
    cost, f, error = squared_distances(a, a), np.zeros(len(a)), np.inf
    for _ in range(_SINKHORN_ITERATIONS):
        update = _soft_minimum(cost, f, eps)
        error = float(np.abs(np.expm1((f - update) / eps)).mean())
        f = 0.5 * (f + update)
        if error <= _SINKHORN_TOLERANCE:
            break
    return _converged(2.0 * f.mean(), error, eps)


def _soft_minimum(cost: np.ndarray, potential: np.ndarray, eps: float) -> np.ndarray:
    """`-eps log mean_j exp((potential_j - C_ij) / eps)`, (n,)."""
    exponent = (potential - cost) / eps  # (n, m)
    largest = exponent.max(axis=1)
    exponent -= largest[:, None]
    return -eps * (largest + np.log(np.exp(exponent, out=exponent).mean(axis=1)))


def _converged(value: float, error: float, eps: float) -> float:
    """The value, unless the masses are still wrong by more than the tolerance: TransportError."""
    if not error <= _SINKHORN_TOLERANCE:
        raise TransportError(
            f"Sinkhorn did not converge at eps = {eps:.3g}: after {_SINKHORN_ITERATIONS} steps the masses are still "
            f"wrong by {error:.1e}; raise eps."
        )
    return float(value)


def _ratio(student: float, teacher: float) -> Measured:
    """A fidelity from the two costs."""
    if teacher <= 0:
        return Measured.unresolved("the reference repeats the teacher's outputs; it must come from fresh noise")
    return Measured(student / teacher)


def _pot() -> Any:
    """POT without the backends that it would import for nothing."""
    for backend in ("JAX", "TENSORFLOW", "CUPY"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    import ot

    return ot
