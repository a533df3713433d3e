"""What the theory says that a linear student of N(0, 1) loses, from its settings alone."""

from functools import cache
from typing import Literal

import torch
from torch import Tensor

from dmdlab.config import NoiseConfig
from dmdlab.diffusion import levels_in
from dmdlab.theory.noise import (
    adam_rates,
    expected_variances,
    frozen_variance,
    trained_score_rates,
    wishart_moments,
)
from dmdlab.theory.walk import squared_rates


def expected_loss(
    d: int,
    optimiser: Literal["sgd", "adamw"],
    eta: float,
    *,
    batch: int,
    steps: int,
    updates: int,
    estimated: bool = False,
    at_law: bool = False,
    decay: Literal["constant", "cosine"] = "constant",
    sigma_max: float = 80.0,
    levels: tuple[float, float] = (0.02, 0.98),
) -> float:
    """Lambda = -ln E pair_cosine of a linear student, against the teacher's pairing that it starts with.

    The settings are those of docs/theory.md: no normaliser, a sum over coordinates, no weight decay. Under SGD what is
    lost on the way to the law (Eq. 14) and by the walk at it: none with exact scores, or that of a fake score trained
    by SGD (Eq. 11, its rate small against the batch), or of one estimated anew at each step (Eqs. 9 and 10). Under Adam
    what a walk of steps that are noise throughout loses (Eq. 13).

    Args:
        d: the dimension.
        eta: the learning rate of W, for noise of unit variance.
        batch, steps: of the student.
        updates: of the fake score for each of them, on `batch` fresh samples each; 0 for exact scores.
        estimated: whether the fake score is not trained on these samples but has their covariance.
        at_law: whether it starts at the law and not at the teacher's one-step map Phi_1: nothing is lost on the way.
        decay: of eta.
        levels: range of the Karras index that the student's levels are drawn from.
    """
    total = squared_rates(steps, decay)
    if optimiser == "adamw":
        each = total * eta**2 * float(adam_rates(torch.ones(2))[0, 1])
    else:
        each = 0.0 if at_law else eta / batch * _before(sigma_max, levels)
        if estimated:
            each += total * eta**2 / batch * _estimated(d, batch * updates, sigma_max, levels)
        elif updates:
            each += total * eta**2 / (batch * updates) * _after(sigma_max, levels)
    return (d - 1) / 2 * each


@cache
def _before(sigma_max: float, levels: tuple[float, float]) -> float:
    return frozen_variance(sigma_max / (1 + sigma_max**2), 1.0, level_quadrature(levels, sigma_max))


@cache
def _after(sigma_max: float, levels: tuple[float, float]) -> float:
    return float(trained_score_rates(torch.ones(2), level_quadrature(levels, sigma_max))[0, 1])


@cache
def _estimated(d: int, samples: int, sigma_max: float, levels: tuple[float, float]) -> float:
    found = []
    for sigma in level_quadrature(levels, sigma_max).tolist():
        moments = wishart_moments(torch.ones(d), sigma, samples)
        of = expected_variances(torch.ones(d), moments, sigma, symmetric=True)
        found.append(float((of.latents + of.noise)[0, 1]))
    return sum(found) / len(found)


def level_quadrature(levels: tuple[float, float], sigma_max: float, points: int = 200) -> Tensor:
    """The levels that are drawn from this part of the Karras index, 0 to 1, as a midpoint rule: (points,), float64."""
    return levels_in((torch.arange(points).double() + 0.5) / points, levels, NoiseConfig(sigma_max=sigma_max))
