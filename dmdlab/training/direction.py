"""The direction of distribution matching, and losses whose gradients are directions."""

from collections.abc import Callable

import torch
from torch import Tensor


def normaliser(x: Tensor, d_teacher: Tensor, kind: str) -> Tensor | float:
    """What the direction is divided by: x, d_teacher (e, n, d) -> (e, n, 1), (e, 1, 1) or 1.

    'sample': each sample's mean abs(x - D_teacher) over coordinates (DMD eq. 8, DMD2), no floor; 'floored': the same
    + 1e-6; 'batch': the mean over samples too; 'none': 1.
    """
    if kind == "none":
        return 1.0
    size = (x - d_teacher).abs()
    if kind == "batch":
        return size.mean(dim=(1, 2), keepdim=True)
    return size.mean(dim=2, keepdim=True) + (1e-6 if kind == "floored" else 0.0)


def dmd_direction(x: Tensor, d_teacher: Tensor, d_fake: Tensor, kind: str) -> Tensor:
    """The direction (D_fake - D_teacher) / normaliser in which the loss grows, (e, n, d); zero in expectation when the
    student's law is the teacher's. x = G(z), d_teacher and d_fake the two x0 predictions at x_sigma."""
    return (d_fake - d_teacher) / normaliser(x, d_teacher, kind)


def dmd_surrogate(x: Tensor, direction: Tensor, reduction: str) -> Tensor:
    """A loss per member (e,) whose gradient in x is direction / n ('sum') or direction / (n d) ('mean', DMD2)."""
    return reduced(x * direction.detach(), reduction)


def reduced(values: Tensor, reduction: str) -> Tensor:
    """values (e, n, d) -> (e,): over coordinates their mean or their sum, over samples the mean."""
    inner = values.sum(dim=2)  # (e, n)
    return inner.mean(dim=1) / (values.shape[2] if reduction == "mean" else 1)


def gradient_at(x: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient (e, n, d) of `loss`, which maps outputs (e, n, d) to (e,), at the outputs x."""
    at = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(loss(at).sum(), at)
    return found
