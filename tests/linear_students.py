"""Linear students G(z) = W z of N(0, diag(s)) in a few lines of torch: what the theory's walks are held against."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from dmdlab.theory import polar

Fake = Literal["exact", "regression", "covariance", "trained"]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exact(covariance: Tensor, sigma: Tensor | float) -> Tensor:
    """C (C + sigma^2)^-1 of covariances (..., d, d)."""
    return covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(covariance.shape[-1]).double())


def students(
    start: Tensor,
    spectrum: Sequence[float],
    *,
    eta: float,
    batch: int,
    steps: int,
    replicas: int,
    fake: Fake = "exact",
    samples: int = 0,
    rate: float = 0.0,
    levels: Sequence[float] = (1.0,),
    adam: bool = False,
    decay: float = 0.0,
    turn: Tensor | None = None,
    seed: int = 0,
) -> Iterator[Tensor]:
    """W (replicas, d, d) after every step, from `start` (d, d).

    fake: the exact score of the student's law; fitted by least squares to `samples` fresh pairs a step; exact for the
    covariance of so many samples; or trained by SGD at `rate`, one update a student step. Only exact scores take more
    than one level, one drawn per sample. turn: of the latents that are drawn.
    """
    g, d = torch.Generator().manual_seed(seed), len(spectrum)

    def draw(rows: int) -> Tensor:
        return torch.randn(replicas, rows, d, generator=g, dtype=torch.float64)

    def latents(rows: int) -> Tensor:
        return draw(rows) if turn is None else draw(rows) @ turn

    sigmas = torch.tensor(levels, dtype=torch.float64)[:, None, None]
    teacher = exact(torch.tensor(spectrum).double().diag(), sigmas)  # (m, d, d)
    w = start.expand(replicas, d, d).clone()
    trained = teacher[0].expand(replicas, d, d).clone()
    mean, square = torch.zeros_like(w), torch.zeros_like(w)
    for t in range(1, steps + 1):
        if fake == "exact":
            score = exact((w @ w.mT).unsqueeze(1), sigmas)  # (replicas, m, d, d)
        elif fake == "covariance":
            x0 = latents(samples) @ w.mT
            score = exact(x0.mT @ x0 / samples, sigmas[0]).unsqueeze(1)
        else:
            x0 = latents(batch if fake == "trained" else samples) @ w.mT
            y = x0 + sigmas[0] * draw(x0.shape[1])
            if fake == "trained":
                trained = trained - rate * (y @ trained.mT - x0).mT @ y / batch
            score = (trained if fake == "trained" else torch.linalg.solve(y.mT @ y, y.mT @ x0).mT).unsqueeze(1)
        z, eps = latents(batch), draw(batch)
        level = torch.randint(len(levels), (replicas, batch, 1), generator=g)
        x_sigma = z @ w.mT + sigmas.flatten()[level] * eps
        a = sum((level == m) * (x_sigma @ (score[:, m] - teacher[m]).mT) for m in range(len(levels)))
        gradient = a.mT @ z / batch
        if adam:
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            gradient = mean / (1 - 0.9**t) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)
        w = (1 - eta * decay) * w - eta * gradient
        yield w


def last(states: Iterator[Tensor]) -> Tensor:
    *_, end = states
    return end


def kept(w: Tensor, spectrum: Sequence[float], turn: Tensor | None = None) -> tuple[Tensor, float]:
    """tr(S Q) / tr S of every replica's polar factor Q (replicas,), behind a start's `turn`, and its mean's error."""
    s = torch.tensor(spectrum).double()
    q = polar(w)[1] if turn is None else polar(w)[1] @ turn.mT
    found = (q.diagonal(dim1=1, dim2=2) * s).sum(1) / s.sum()
    return found, float(found.std()) / len(found) ** 0.5
