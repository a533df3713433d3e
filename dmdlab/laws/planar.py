"""Laws in the plane, embedded in R^d: a ring of Gaussians and a chessboard (moons and spiral: `curves.py`).

A planar law knows its samples, denoiser and density in R^2, in float64; `Planar` carries them to R^d through
`embedding.py`.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dmdlab.laws.checks import NonNegative, Positive, Seed, checked
from dmdlab.laws.embedding import Embedding, Placement
from dmdlab.laws.law import Law
from dmdlab.laws.mixture import log_normal, log_weights_at
from dmdlab.laws.truncated import truncated_moments


class Planar(Law):
    """A law of R^2 in R^d; a child implements `_draw_plane`, `_denoise_plane`, `_log_density_plane` in R^2.

    Args:
        dim: d, at least 2.
        plane_variance: trace of the covariance in the plane.
        embedding: the plane of the first two "axes" (as in the paper), or a "random" one drawn from `seed`.
        thickness: std of Gaussian noise in each of the other d - 2 directions, in absolute units.
        seed: of the random plane.
    """

    min_dim = 2

    def __init__(self, dim: int, plane_variance: float, embedding: Placement, thickness: float, seed: int) -> None:
        super().__init__(dim)
        self.embedding = Embedding(2, dim, embedding, thickness, seed)
        self.intrinsic_dim = 2
        self.sigma_data = math.sqrt((plane_variance + (dim - 2) * thickness**2) / dim)

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        y, labels = self._draw_plane(n, generator)
        return self.embedding.thicken(self.embedding.lift(y), generator), labels

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        y = self.embedding.coordinates(x)  # (..., 2)
        return self.embedding.denoise(self._denoise_plane(y.double(), sigma.double()), x, sigma)

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        plane = self._log_density_plane(self.embedding.coordinates(x), sigma)
        return plane + self.embedding.off_log_density(x, sigma)

    def _draw_plane(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        raise NotImplementedError

    def _denoise_plane(self, y: Tensor, sigma: Tensor) -> Tensor:
        raise NotImplementedError

    def _log_density_plane(self, y: Tensor, sigma: Tensor) -> Tensor:
        raise NotImplementedError


class PlanarMixture(Planar):
    """Gaussians N(mu_j, std^2 I_2) of given weights in the plane: a ring, or the nodes along a curve.

    Args:
        means: mu_j, (J, 2) float64, in absolute units; moved here so that the law has mean 0.
        weights: (J,) float64, positive, of sum 1.
        std: of each Gaussian, in absolute units.
        dim, embedding, thickness, seed: as for `Planar`.
    """

    centre: Tensor
    means: Tensor
    log_weights: Tensor

    def __init__(
        self, dim: int, means: Tensor, weights: Tensor, std: float, embedding: Placement, thickness: float, seed: int
    ) -> None:
        centre = weights @ means  # (2,)
        variance = float(weights @ (means - centre).square().sum(-1)) + 2 * std**2
        super().__init__(dim, variance, embedding, thickness, seed)
        self.std = std
        self._keep(centre=centre, means=means - centre, log_weights=weights.log())

    def _blur(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """In-plane noise of this std on clean points (n, 2)."""
        return y + self.std * torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)

    def _denoise_plane(self, y: Tensor, sigma: Tensor) -> Tensor:
        means, v = self.means.to(y), self.std**2 + sigma**2
        w = log_weights_at(y, v, means, self.log_weights.to(y)).softmax(-1)  # (..., J)
        return (self.std**2 / v) * y + (sigma**2 / v) * (w @ means)

    def _log_density_plane(self, y: Tensor, sigma: Tensor) -> Tensor:
        v = self.std**2 + sigma**2
        logits = log_weights_at(y, v, self.means.to(y), self.log_weights.to(y))
        return logits.logsumexp(-1) + log_normal(y, v).squeeze(-1)


class Ring(PlanarMixture):
    """Gaussians evenly spaced on a circle; class labels count them from angle 0.

    Defaults: the paper's 32 Gaussians of std 0.2 on radius 2 (arXiv 2606.02237).

    Args:
        components: how many.
        radius: of the circle.
        std: of each Gaussian.
        scale: multiplies every length, the thickness included.
        dim, embedding, thickness, seed: as for `Planar`.
    """

    name = "ring"
    summary = "32 Gaussians on a circle in a plane of R^d"

    @checked
    def __init__(
        self,
        *,
        dim: int,
        components: Annotated[int, Field(ge=2)] = 32,
        radius: Positive = 2.0,
        std: Positive = 0.2,
        embedding: Placement = "axes",
        thickness: NonNegative = 0.0,
        scale: Positive = 1.0,
        seed: Seed = 0,
    ) -> None:
        angles = torch.arange(components, dtype=torch.float64) * (2 * math.pi / components)
        means = radius * scale * torch.stack([angles.cos(), angles.sin()], dim=-1)  # (J, 2)
        weights = torch.full((components,), 1 / components, dtype=torch.float64)
        super().__init__(dim, means, weights, std * scale, embedding, thickness * scale, seed)
        self.classes = components

    def _draw_plane(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        labels = torch.randint(self.classes, (n,), generator=generator, device=generator.device)
        return self._blur(self.means.to(generator.device, torch.float32)[labels], generator), labels


class Chessboard(Planar):
    """Uniform on the dark squares of a chessboard on [-2, 2]^2; class labels count them row by row.

    Noised, a square is a product of two truncated Gaussians, so the law is a mixture of such products.

    Args:
        cells: squares along a side, even; the paper's board has 4, hence 8 dark squares.
        scale: multiplies every length, the thickness included.
        dim, embedding, thickness, seed: as for `Planar`.
    """

    name = "chessboard"
    summary = "the dark squares of a 4x4 chessboard in a plane of R^d"

    edges: Tensor
    rows: Tensor
    columns: Tensor

    @checked
    def __init__(
        self,
        *,
        dim: int,
        cells: Annotated[int, Field(ge=2, multiple_of=2)] = 4,
        embedding: Placement = "axes",
        thickness: NonNegative = 0.0,
        scale: Positive = 1.0,
        seed: Seed = 0,
    ) -> None:
        half_side = 2.0 * scale
        # every row and column holds as many dark squares, so each coordinate is uniform on the whole side
        super().__init__(dim, 2 * half_side**2 / 3, embedding, thickness * scale, seed)
        rows, columns = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
        dark = (rows + columns) % 2 == 0
        self.side = 2 * half_side / cells
        self.classes = cells**2 // 2
        edges = -half_side + self.side * torch.arange(cells, dtype=torch.float64)
        self._keep(edges=edges, rows=rows[dark], columns=columns[dark])  # (cells,), (classes,), (classes,)

    def _draw_plane(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        labels = torch.randint(self.classes, (n,), generator=generator, device=device)
        cells = torch.stack([self.rows, self.columns], dim=-1).to(device)[labels]  # (n, 2)
        u = torch.rand(n, 2, generator=generator, device=device)
        return self.edges.to(u)[cells] + self.side * u, labels

    def _denoise_plane(self, y: Tensor, sigma: Tensor) -> Tensor:
        log_mass, mean = self._squares(y, sigma)
        return (log_mass.softmax(-1)[..., None, :] * mean).sum(-1)  # (..., 2)

    def _log_density_plane(self, y: Tensor, sigma: Tensor) -> Tensor:
        log_mass, _ = self._squares(y, sigma)
        return log_mass.logsumexp(-1) - math.log(self.classes * self.side**2)

    def _squares(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The log mass of every dark square, (..., classes), and the posterior mean on it, (..., 2, classes)."""
        edges = self.edges.to(y)
        log_mass, mean = truncated_moments(y[..., None], sigma[..., None], edges, edges + self.side)  # (..., 2, cells)
        mean = torch.stack([mean[..., 0, self.rows], mean[..., 1, self.columns]], dim=-2)
        return log_mass[..., 0, self.rows] + log_mass[..., 1, self.columns], mean
