"""A mixture of Gaussians with random means: sum_k w_k N(mu_k, C_k), C_k = f I + g U_k^T U_k.

The r rows of U_k (r, d) are orthonormal, so Woodbury's identity is explicit: with v = f + sigma^2 and c = g / (g + v),

    (C_k + sigma^2 I)^-1 = (I - c U_k^T U_k) / v,   det(C_k + sigma^2 I) = v^(d-r) (v + g)^r         (1)
    log w_k(x) = log w_k - (|x - mu_k|^2 - c |U_k (x - mu_k)|^2) / (2 v) + the same for all k        (2)
    E[x0 | x]  = (f x + sigma^2 sum_k w_k(x) (mu_k + c U_k^T U_k (x - mu_k))) / v                    (3)

w_k(x) being Eq. (2) through a softmax, or given the class 1 for its component and 0 for the others. |x|^2 is common to
all k and is left out of Eq. (2): what remains are two matrix products, and nothing of shape (..., K, d) is ever formed.
This is the training loop's hot path: it runs in the dtype of x (in float32 keep TF32 off for it).
"""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.laws.checks import Count, Positive, Seed, checked
from dmdlab.laws.embedding import random_frame
from dmdlab.laws.law import Law


def log_weights_at(x: Tensor, v: Tensor, means: Tensor, log_weights: Tensor) -> Tensor:
    """Eq. (2) with r = 0, (..., K), for points x (..., d), variance v () or (..., 1) and means (K, d)."""
    return log_weights + (x @ means.mT - means.square().sum(-1) / 2) / v


def log_normal(x: Tensor, v: Tensor) -> Tensor:
    """log N(x; 0, v I), (..., 1), for x (..., d) and v () or (..., 1): what Eq. (2) leaves out."""
    return -0.5 * (x.square().sum(-1, keepdim=True) / v + x.shape[-1] * torch.log(2 * math.pi * v))


class Mixture(Law):
    """K Gaussians with random means; all variances together make scale^2 per coordinate.

    Means are drawn from N(0, I), centred by weight, and rescaled so that trace cov = d scale^2 exactly.

    Args:
        dim: d.
        components: K. With K = 1 the component carries all the variance, so `std` must be 1.
        std: root-mean-square standard deviation per coordinate *inside* a component; 1 puts all means at 0.
        intrinsic: k, the dimension of a random subspace that holds the means; None for all of R^d.
        rank: r. Above 0, `rank_share` of a component's variance lies along r random orthonormal directions of
            its own, the rest is isotropic. Its trace, d (std scale)^2, does not depend on r.
        rank_share: see `rank`.
        balanced: equal weights, or weights drawn uniformly from the simplex.
        scale: root-mean-square standard deviation of the law per coordinate.
        seed: of means, directions and weights.

    Raises:
        InputError: `intrinsic` or `rank` above d; one component and std < 1.
    """

    name = "mixture"
    summary = "K Gaussians with random means, optionally in a k-dimensional subspace, isotropic or low-rank"

    has_class_denoiser = True

    means: Tensor
    log_weights: Tensor
    directions: Tensor

    @checked
    def __init__(
        self,
        *,
        dim: int,
        components: Count = 16,
        std: Annotated[float, Field(gt=0, le=1)] = 0.3,
        intrinsic: Count | None = None,
        rank: Annotated[int, Field(ge=0)] = 0,
        rank_share: Annotated[float, Field(gt=0, lt=1)] = 0.9,
        balanced: bool = True,
        scale: Positive = 1.0,
        seed: Seed = 0,
    ) -> None:
        super().__init__(dim)
        for key, value in (("intrinsic", intrinsic or 0), ("rank", rank)):
            if value > dim:
                raise InputError(f"law.{key} is {value}, but the law 'mixture' expects at most law.dim = {dim}")
        if components == 1 and std != 1:
            raise InputError(
                f"law.std is {std}, but with law.components = 1 the only component carries all the variance: "
                "set law.std to 1, or take more components"
            )
        rng = np.random.default_rng(seed)
        weights = np.full(components, 1 / components) if balanced else rng.dirichlet(np.ones(components))
        means = rng.standard_normal((components, intrinsic or dim))
        means = means if intrinsic is None else means @ random_frame(intrinsic, dim, rng)
        means = _spread(means, weights, variance=dim * (1 - std**2)) * scale
        frames = [random_frame(rank, dim, rng) for _ in range(components if rank else 0)]
        directions = torch.from_numpy(np.concatenate(frames) if rank else np.empty((0, dim)))  # (K r, d)
        self._keep(means=torch.from_numpy(means), log_weights=torch.from_numpy(np.log(weights)), directions=directions)
        self.rank = rank
        self.floor = (std * scale) ** 2 * (1 - rank_share if rank else 1)  # f of Eq. (1)
        self.ridge = (std * scale) ** 2 * rank_share * dim / rank if rank else 0.0  # g of Eq. (1)
        self.intrinsic_dim = intrinsic or dim
        self.sigma_data = scale
        self.classes = components

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        weights = self.log_weights.to(device).exp()
        labels = torch.multinomial(weights, n, replacement=True, generator=generator)  # (n,)
        x = math.sqrt(self.floor) * torch.randn(n, self.dim, generator=generator, device=device)
        x = x + self.means.to(x)[labels]
        if self.rank:
            frames = self.directions.to(x).unflatten(0, (-1, self.rank))  # (K, r, d)
            along = math.sqrt(self.ridge) * torch.randn(n, 1, self.rank, generator=generator, device=device)
            for k in range(self.classes):  # one component at a time: (n, r, d) would not fit
                rows = labels == k
                x[rows] += along[rows, 0] @ frames[k]
        return x, labels

    def class_shares(self) -> Tensor:
        return self.log_weights.exp()

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        logits, along = self._posterior(x, self.floor + sigma**2)
        return self._combined(x, sigma, logits.softmax(-1), along)

    def _denoise_class(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        one_hot = (label[..., None] == torch.arange(self.classes, device=x.device)).to(x)  # (..., K)
        return self._combined(x, sigma, one_hot, self._along(x))

    def _combined(self, x: Tensor, sigma: Tensor, w: Tensor, along: Tensor | None) -> Tensor:
        """Eq. (3) with component weights w (..., K) and `_along`."""
        v = self.floor + sigma**2
        centre = w @ self.means.to(x)  # (..., d)
        if along is not None:
            share = w[..., None] * along * (self.ridge / (self.ridge + v))[..., None]  # (..., K, r)
            centre = centre + share.flatten(-2) @ self.directions.to(x)
        return (self.floor / v) * x + (sigma**2 / v) * centre

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        v = self.floor + sigma**2
        logits, _ = self._posterior(x, v)
        ridge = -0.5 * self.rank * torch.log1p(self.ridge / v)  # the determinant in Eq. (1)
        return (logits.logsumexp(-1, keepdim=True) + log_normal(x, v) + ridge).squeeze(-1)

    def _posterior(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
        """Eq. (2), (..., K), and `_along`."""
        logits, along = log_weights_at(x, v, self.means.to(x), self.log_weights.to(x)), self._along(x)
        if along is None:
            return logits, None
        c = self.ridge / (self.ridge + v)
        return logits + along.square().sum(-1) * (c / (2 * v)), along

    def _along(self, x: Tensor) -> Tensor | None:
        """U_k (x - mu_k), (..., K, r), or None when r = 0."""
        if not self.rank:
            return None
        directions = self.directions.to(x)
        frames = directions.unflatten(0, (-1, self.rank))  # (K, r, d)
        origin = torch.einsum("krd,kd->kr", frames, self.means.to(x))
        return (x @ directions.mT).unflatten(-1, (-1, self.rank)) - origin


def _spread(means: np.ndarray, weights: np.ndarray, variance: float) -> np.ndarray:
    """The means (K, d) moved and scaled to weighted mean 0 and weighted variance `variance` in total."""
    centred = means - weights @ means
    total = weights @ np.square(centred).sum(-1)
    return centred * math.sqrt(variance / total) if total > 0 else np.zeros_like(centred)
