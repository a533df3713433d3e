"""Phi_K: the probability-flow ODE, which pairs each noise vector with one data point.

    dx / dsigma = (x - D(x, sigma)) / sigma,        from sigma_max down to 0                (EDM eq. 1, with s(t) = 1)

solved on the Karras grid by Euler or by Heun's second-order method (EDM algorithm 1, no stochastic churn; the last
step, to sigma = 0, is an Euler step, which lands on D(x, sigma_min)).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from dmdlab.config import InputError, did_you_mean
from dmdlab.diffusion.denoiser import Denoiser

SOLVERS = ("heun", "euler")


def steps(denoiser: Denoiser, sigmas: Sequence[float], solver: str = "heun") -> list[Callable[[Tensor], Tensor]]:
    """The flow's steps in their order, each a differentiable map of x (..., d); Phi_K is their composition.

    sigmas: K + 1 falling levels, 0 allowed last. solver: 'heun' (2K - 1 denoiser calls when the grid ends at 0) or
    'euler' (K calls). Raises `InputError` for another.
    """
    if solver not in SOLVERS:
        raise InputError(f"unknown solver {solver!r}{did_you_mean(solver, SOLVERS)}")

    def step(x: Tensor, here: float, there: float) -> Tensor:
        slope = (x - denoiser(x, here)) / here
        guess = x + (there - here) * slope
        if solver == "euler" or there == 0:
            return guess
        slope = (slope + (guess - denoiser(guess, there)) / there) / 2
        return x + (there - here) * slope

    return [partial(step, here=here, there=there) for here, there in pairwise(sigmas)]


def path(denoiser: Denoiser, z: Tensor, sigmas: Sequence[float], solver: str = "heun") -> Iterator[Tensor]:
    """The states x at every level of `sigmas`, z (..., d) first; arguments and errors as of `steps`."""
    x = z
    yield x
    for step in steps(denoiser, sigmas, solver):
        x = step(x)
        yield x


@torch.no_grad()
def flow(denoiser: Denoiser, z: Tensor, sigmas: Sequence[float], solver: str = "heun") -> Tensor:
    """Phi_K(z), (..., d), for prior noise z (..., d) at sigmas[0]; see `path`."""
    x = z
    for state in path(denoiser, z, sigmas, solver):
        x = state
    return x
