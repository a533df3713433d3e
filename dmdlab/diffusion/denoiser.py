"""One currency: a denoiser is any call D(x_sigma, sigma) = E[x0 | x_sigma].

Exact denoisers are the laws' own (`law.denoise`), network denoisers are an `EDMDenoiser` around a network
(`dmdlab.networks`); teacher, sampler, losses and tests take either. The score follows from Tweedie's formula,

    grad log p_sigma(x) = (D(x, sigma) - x) / sigma^2.                                      (EDM eq. 3)
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from torch import Tensor


class Denoiser(Protocol):
    """Anything that returns E[x0 | x_sigma], given a class where there is a label."""

    def __call__(self, x_sigma: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """x_sigma (..., d), sigma a number or (..., 1), label (...) of classes or None -> (..., d)."""
        ...


def conditioned(call: Callable[..., Any], label: Tensor | None) -> Callable[..., Any]:
    """A denoiser, or a map from noise to data, that is given these class labels with every call; as it is for None."""
    return call if label is None else partial(call, label=label)
