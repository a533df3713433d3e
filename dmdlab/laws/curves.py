"""Laws around a curve: two moons and a spiral, each a curve plus isotropic Gaussian noise *in the plane*.

With y0 = c(u) + std eps, u of some density, the noised law is a continuous mixture of Gaussians of variance std^2 +
sigma^2 along c. Its integrals over u are cut into Gauss-Legendre panels of 16 nodes, at most 3 std of curve each: a
discrete mixture that agrees with the continuous one to float64 rounding, at every sigma, wherever a noised sample can
land and half as far out again (a test holds it to a dense integral). Farther out the error of the denoiser
stays below the spacing of the nodes. About 6 nodes per std of curve length is the cost, hence the lower bound on std.
"""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from dmdlab.laws.checks import NonNegative, Positive, Seed, checked
from dmdlab.laws.embedding import Placement
from dmdlab.laws.planar import PlanarMixture

_NODES = 16  # of a panel
_PANEL_STDS = 3.0  # longest panel, in std

Noise = Annotated[float, Field(ge=0.01, allow_inf_nan=False)]


def composite_legendre(arc: np.ndarray, std: float) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, 1] in panels of equal curve length, float64, (J,) each.

    `arc` (m,) is the length of the curve up to each of m evenly spaced parameters from 0 to 1, `std` the noise.
    """
    panels = math.ceil(arc[-1] / (_PANEL_STDS * min(std, 0.5)))  # 0.5: the curve itself bends too
    edges = np.interp(np.linspace(0, arc[-1], panels + 1), arc, np.linspace(0, 1, len(arc)))  # (panels + 1,)
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    width = np.diff(edges)[:, None]  # (panels, 1)
    nodes = edges[:-1, None] + width * (node + 1) / 2  # (panels, 16)
    return torch.from_numpy(nodes.ravel()), torch.from_numpy((width * weight / 2).ravel())


class Moons(PlanarMixture):
    """Two interleaved half circles of radius 1; class labels tell them apart.

    The coordinates are scikit-learn's `make_moons`, moved to mean 0: the upper moon (label 0) is
    (cos a - 1/2, sin a - 1/4), the lower (label 1) its reflection through the origin, a uniform on [0, pi].

    Args:
        std: of the in-plane noise around the curve, at least 0.01.
        scale: multiplies every length, the thickness included.
        dim, embedding, thickness, seed: as for `Planar`.
    """

    name = "moons"
    summary = "two interleaved half circles with Gaussian noise in a plane of R^d"

    @checked
    def __init__(
        self,
        *,
        dim: int,
        std: Noise = 0.1,
        embedding: Placement = "axes",
        thickness: NonNegative = 0.0,
        scale: Positive = 1.0,
        seed: Seed = 0,
    ) -> None:
        u, weights = composite_legendre(np.array([0.0, math.pi]), std)
        upper = self._upper(u)
        means, weights = torch.cat([upper, -upper]), torch.cat([weights, weights]) / 2
        super().__init__(dim, scale * means, weights, std * scale, embedding, thickness * scale, seed)
        self.scale = scale
        self.classes = 2

    def _draw_plane(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        labels = torch.randint(2, (n,), generator=generator, device=device)
        upper = self._upper(torch.rand(n, generator=generator, device=device))
        return self._blur(self.scale * upper * (1 - 2 * labels[:, None]), generator), labels

    @staticmethod
    def _upper(u: Tensor) -> Tensor:
        """The upper moon at u in [0, 1], (..., 2), at scale 1."""
        return torch.stack([(math.pi * u).cos() - 0.5, (math.pi * u).sin() - 0.25], dim=-1)


class Spiral(PlanarMixture):
    """An Archimedean spiral from its centre to radius 2, moved to mean 0.

    At angle a = 2 pi turns sqrt(u) the radius is 2 sqrt(u), u uniform on [0, 1]: points are nearly uniform in
    arc length away from the centre.

    Args:
        turns: how often it winds around its centre.
        std: of the in-plane noise around the curve, at least 0.01.
        scale: multiplies every length, the thickness included.
        dim, embedding, thickness, seed: as for `Planar`.
    """

    name = "spiral"
    summary = "an Archimedean spiral with Gaussian noise in a plane of R^d"

    @checked
    def __init__(
        self,
        *,
        dim: int,
        turns: Annotated[float, Field(gt=0, le=20)] = 1.5,
        std: Noise = 0.1,
        embedding: Placement = "axes",
        thickness: NonNegative = 0.0,
        scale: Positive = 1.0,
        seed: Seed = 0,
    ) -> None:
        # in r = sqrt(u), of density 2 r, the curve is smooth
        cr = 2 * math.pi * turns * np.linspace(0, 1, 10_001)
        arc = (cr * np.hypot(1, cr) + np.arcsinh(cr)) / (2 * math.pi * turns)  # its length up to r
        r, weights = composite_legendre(arc, std)
        weights = 2 * r * weights
        super().__init__(dim, scale * self._curve(r, turns), weights, std * scale, embedding, thickness * scale, seed)
        self.turns, self.scale = turns, scale

    def _draw_plane(self, n: int, generator: torch.Generator) -> tuple[Tensor, None]:
        r = torch.rand(n, generator=generator, device=generator.device).sqrt()
        return self._blur(self.scale * self._curve(r, self.turns) - self.centre.to(r), generator), None

    @staticmethod
    def _curve(r: Tensor, turns: float) -> Tensor:
        """The spiral at r = radius / 2 in [0, 1], (..., 2), at scale 1 and not yet centred."""
        angle = 2 * math.pi * turns * r
        return 2 * r[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
