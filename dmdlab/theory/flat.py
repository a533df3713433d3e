"""The flat directions of a linear student G(z) = W z: W -> W exp(A) with A skew leaves its law N(0, W W^T), and so
every loss that sees laws only. Matrices are (..., d, d), float64; docs/theory.md, part 2."""

import torch
from torch import Tensor


def flat_part(w: Tensor, step: Tensor) -> Tensor:
    """The skew A of a step V = W A + N: what V turns; N, with W^T N symmetric, is orthogonal to every W A (Eq. 3).

        P A + A P = W^T V - V^T W,  P = W^T W;     on the axes of P:  A_ij = (W^T V - V^T W)_ij / (p_i + p_j)    (3)

    A turn between two latents that W does not use moves nothing and counts as none.
    """
    w, step = w.double(), step.double()
    moment = w.mT @ step
    squares, axes = torch.linalg.eigh(w.mT @ w)
    turned = axes.mT @ (moment - moment.mT) @ axes
    return axes @ _over(turned, squares.clamp(min=0)) @ axes.mT


def polar(w: Tensor) -> tuple[Tensor, Tensor]:
    """W = R O with R symmetric, positive and O orthogonal: the law (R^2 = W W^T) and the pairing."""
    left, values, right = torch.linalg.svd(w.double())
    return left @ (values.unsqueeze(-1) * left.mT), left @ right


def polar_drift(w: Tensor, velocity: Tensor) -> Tensor:
    """Omega of O' = Omega O, skew, for W = R O that moves by W' = `velocity` (Eq. 4).

        R Omega + Omega R = W' O^T - O W'^T;   on the axes of R:  Omega_ij = (W' O^T - O W'^T)_ij / (r_i + r_j),
        which for W' = M W with M symmetric is  M_ij (r_j - r_i) / (r_i + r_j)                                   (4)

    It is 0 where M commutes with R: with M of Eq. (2), where W W^T commutes with the teacher's covariance.
    """
    w, velocity = w.double(), velocity.double()
    left, values, right = torch.linalg.svd(w)
    moment = velocity @ (left @ right).mT
    turned = left.mT @ (moment - moment.mT) @ left
    return left @ _over(turned, values) @ left.mT


def turned_degrees(turn: Tensor) -> Tensor:
    """How far Q (..., d, d) turns, in degrees: arccos(tr Q / d), the one angle that does to the trace what Q's do."""
    return (turn.diagonal(dim1=-2, dim2=-1).mean(-1)).clamp(-1, 1).acos().rad2deg()


def _over(skew: Tensor, values: Tensor) -> Tensor:
    """skew_ij / (values_i + values_j), 0 where both values are 0."""
    sums = values.unsqueeze(-1) + values.unsqueeze(-2)
    none = sums <= 1e-14 * values.amax(-1)[..., None, None]
    return torch.where(none, 0.0, skew / sums.masked_fill(none, 1.0))
