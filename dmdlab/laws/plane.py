"""What a law of the plane needs to be denoised exactly somewhere else, in plain numbers (`dmdlab explore`)."""

import math
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from dmdlab.laws.cube import Cube
from dmdlab.laws.gaussian import Gaussian
from dmdlab.laws.law import Law
from dmdlab.laws.mixture import Mixture
from dmdlab.laws.planar import Chessboard, PlanarMixture
from dmdlab.laws.sphere import Sphere


def in_the_plane(law: Law) -> dict[str, Any] | None:
    """An exact denoiser of a law of R^2 as numbers; None where d is not 2, or none of these kinds is the law.

    "gaussians": log_weights (k), means (k, 2) and covariances (k or 1, 3: xx, xy, yy) of sum_k w_k N(mu_k, C_k).
    "boxes": (k, 4: x0, y0, x1, y1), uniform on all of them together. "circle": radius and thickness.
    """
    return _numbers(law) if law.dim == 2 else None


@singledispatch
def _numbers(law: Law) -> dict[str, Any] | None:
    return None


@_numbers.register
def _(law: Gaussian) -> dict[str, Any]:
    return _gaussians(torch.zeros(1), torch.zeros(1, 2), law.covariance()[None])


@_numbers.register
def _(law: Mixture) -> dict[str, Any]:
    covariances = law.floor * torch.eye(2, dtype=torch.float64).expand(law.classes if law.rank else 1, 2, 2)
    if law.rank:
        frames = law.directions.unflatten(0, (-1, law.rank))  # (k, r, 2)
        covariances = covariances + law.ridge * frames.mT @ frames
    return _gaussians(law.log_weights, law.means, covariances)


@_numbers.register
def _(law: PlanarMixture) -> dict[str, Any]:
    basis = torch.eye(2, dtype=torch.float64) if law.embedding.basis is None else law.embedding.basis
    covariance = law.std**2 * torch.eye(2, dtype=torch.float64)[None]
    return _gaussians(law.log_weights, law.means @ basis, covariance)


@_numbers.register
def _(law: Chessboard) -> dict[str, Any] | None:
    if law.embedding.basis is not None:  # a turned board is no boxes
        return None
    low = torch.stack([law.edges[law.rows], law.edges[law.columns]], dim=1)  # (k, 2)
    return {"kind": "boxes", "boxes": torch.cat([low, low + law.side], dim=1).tolist()}


@_numbers.register
def _(law: Cube) -> dict[str, Any]:
    h = law.half_side
    return {"kind": "boxes", "boxes": [[-h, -h, h, h]]}


@_numbers.register
def _(law: Sphere) -> dict[str, Any]:
    return {"kind": "circle", "radius": law.radius, "thickness": law.thickness}


def _gaussians(log_weights: Tensor, means: Tensor, covariances: Tensor) -> dict[str, Any]:
    known = [c.tolist() for c in covariances]
    triples = [[xx, xy, yy] for (xx, xy), (_, yy) in known]
    logs = [value if math.isfinite(value) else -1e300 for value in log_weights.tolist()]  # JSON has no infinity
    return {"kind": "gaussians", "log_weights": logs, "means": means.tolist(), "covariances": triples}
