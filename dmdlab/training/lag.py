"""How far a fake score lags behind its student: its excess denoising risk, without knowing the best denoiser.

The best denoiser of the student's present law is unknown, but it has a property that can be tested: its error x - D is
uncorrelated with everything known at x_sigma. So at each of `LEVELS` levels the error is regressed on what the teacher
would add, D_r - D_f, on what the input would, x_sigma - D_f, and on a constant, on one half of the rows, and the risk
that this correction saves is counted on the other half. What it saves is a lower bound of the excess risk.
"""

import torch
from torch import Tensor

from dmdlab.config import NoiseConfig
from dmdlab.diffusion.denoiser import Denoiser, conditioned
from dmdlab.diffusion.noise import edm_weight, levels_in

LEVELS = 8
"""Noise levels, even in the Karras index of the student's matching (ours)."""


@torch.no_grad()
def score_excess(
    fake: Denoiser,
    teacher: Denoiser,
    x: Tensor,
    eps: Tensor,
    bounds: tuple[float, float],
    noise: NoiseConfig,
    sigma_data: float,
    label: Tensor | None = None,
) -> Tensor:
    """What a correction saves of the fake score's risk on its student's outputs, over the risk that it leaves, (e,).

        sum_l w_l (R_l - R'_l) / sum_l w_l R'_l,      R = mean |x - D_f|^2, w = 1/sigma^2 + 1/sigma_data^2

    x, eps: outputs and unit noise (e, n, d), n >= 4 LEVELS. bounds: of the Karras index. label: classes (e, n) or None.
    0: nothing to correct; 1: half of the risk is the fake score's own fault. Scale-free, about 0 for an exact score in
    any dimension (above or below it by about the share of its own coefficients, (2 + d) LEVELS / (n d)).
    """
    rows = len(x[0]) // (2 * LEVELS) * 2 * LEVELS
    places = ((torch.arange(LEVELS) + 0.5) / LEVELS).repeat(rows // LEVELS).to(x)  # row i has level i mod LEVELS
    sigma = levels_in(places[:, None], bounds, noise).expand(len(x), rows, 1)
    x, x_sigma, label = x[:, :rows], x[:, :rows] + sigma * eps[:, :rows], None if label is None else label[:, :rows]
    d_fake, d_teacher = (conditioned(d, label)(x_sigma, sigma) for d in (fake, teacher))
    parts = [_by_level(part) for part in (x - d_fake, d_teacher - d_fake, x_sigma - d_fake)]
    halves = [[part[:, :, :, half] for part in parts] for half in (slice(0, None, 2), slice(1, None, 2))]
    before = torch.stack([own[0].square().mean(dim=(2, 3)) for own in halves])  # (halves, e, LEVELS)
    after = torch.stack([_corrected(a, b).square().mean(dim=(2, 3)) for a, b in (halves, halves[::-1])])
    weight = edm_weight(levels_in(places[:LEVELS].double(), bounds, noise), sigma_data)
    own, left = ((weight * risk.mean(dim=0)).sum(dim=1) for risk in (before, after))
    return (own - left) / left


def _by_level(part: Tensor) -> Tensor:
    """(e, rows, d) -> (e, LEVELS, d, rows of the level), in float64."""
    return part.double().unflatten(1, (-1, LEVELS)).permute(0, 2, 3, 1)


def _corrected(fitted_on: list[Tensor], used_on: list[Tensor]) -> Tensor:
    """The error left of `used_on` by the regression of `fitted_on`; each [error, what the teacher adds, the input]."""
    centres = [part.mean(dim=3, keepdim=True) for part in fitted_on]
    error, *known = (part - centre for part, centre in zip(fitted_on, centres, strict=True))
    aa, ab, bb, ae, be = (
        (known[i] * right).sum(dim=(2, 3))  # (e, LEVELS)
        for i, right in ((0, known[0]), (0, known[1]), (1, known[1]), (0, error), (1, error))
    )
    ridge = 1e-9 * torch.maximum(aa, bb) + 1e-300  # a fake score that still is the teacher has no first direction
    aa, bb = aa + ridge, bb + ridge
    shares = [(top / (aa * bb - ab * ab))[..., None, None] for top in (bb * ae - ab * be, aa * be - ab * ae)]
    error, *known = (part - centre for part, centre in zip(used_on, centres, strict=True))
    return error - shares[0] * known[0] - shares[1] * known[1]
