"""The empirical law of a set of points: equal masses on y_1..y_m.

Its denoiser is a softmax over the points, the "memorising" teacher:

    E[x0 | x] = sum_i w_i(x) y_i,  log w_i(x) = (x . y_i - |y_i|^2 / 2) / sigma^2 + common terms    (1)

At sigma = 0.002 the exponents reach 1e9 and their differences decide, so Eq. (1) is computed in float64,
about the mean of the points, over chunks of points with a streaming log-sum-exp (as in online softmax:
Milakov & Gimelshein 2018), which bounds the memory.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.laws.arrays import read_npy
from dmdlab.laws.checks import Positive, checked
from dmdlab.laws.law import Law
from dmdlab.laws.mixture import log_normal

CHUNK_NUMBERS = 2**22
"""How many float64 numbers a chunk may hold, of points or of exponents: 32 MiB."""


class Empirical(Law):
    """Equal masses on the rows of an array, which is kept in float32.

    Args:
        dim: d; the points must have it.
        path: a .npy file with an array (m, d).
        points: the array itself, (m, d), numpy or torch, in place of a path (from Python only).
        digest: ten hex digits of the points' SHA-256; a resolved configuration holds it, so that a run's id knows the
            points and not only their path.
        scale: multiplies the points.

    Raises:
        InputError: not exactly one of `path` and `points`; the file cannot be read as .npy or holds Python
            objects; the array is not (m, d) of real numbers, is empty, or holds NaN or infinity; its digest is
            another than the one given.
    """

    name = "empirical"
    summary = "equal masses on the rows of a .npy array"
    python_only = frozenset({"points"})

    points: Tensor
    centre: Tensor

    @checked
    def __init__(
        self,
        *,
        dim: int,
        path: str | Path | None = None,
        points: Any = None,
        digest: str | None = None,
        scale: Positive = 1.0,
    ) -> None:
        super().__init__(dim)
        if (path is None) == (points is None):
            raise InputError(
                "law.path is missing: the law 'empirical' expects a .npy file of shape (m, d), "
                "or from Python an array `points`"
                if path is None
                else "law.path and points are both given: the law 'empirical' expects one of them"
            )
        array = (
            _as_points(points, dim, "points")
            if path is None
            else _as_points(read_npy(path, "law.path", "points (m, d)"), dim, str(path))
        )
        self.digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:10]
        if digest not in (None, self.digest):
            raise InputError(
                f"law.path: the points of {path or 'the array'} have digest {self.digest}, expected law.digest "
                f"{digest!r}: they have changed; leave law.digest out to take them as they are"
            )
        points = torch.from_numpy(array) * scale  # (m, d)
        exact = points.double()
        self._keep(points=points, centre=exact.mean(0))
        self.intrinsic_dim = dim
        self.sigma_data = math.sqrt(exact.var(0, correction=0).mean().item())

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, None]:
        rows = torch.randint(len(self.points), (n,), generator=generator, device=generator.device)
        return self.points[rows.to(self.points.device)].to(generator.device, torch.float32), None

    def denoise_among(self, x: Tensor, sigma: Tensor, labels: Tensor, label: Tensor) -> Tensor:
        """E[x0 | x_sigma = x, label] where point i has the class labels[i], (m,); x (..., d), sigma () or (..., 1) of
        its dtype, label broadcasting against x[..., 0]. NaN for a class without a point."""
        rows, v = self._rows(x, sigma)
        wanted = label.expand(x.shape[:-1]).reshape(-1, 1)  # (N, 1)
        return self._averaged(x, rows, self._of_class(rows, v, labels, wanted))

    def _of_class(self, rows: Tensor, v: Tensor, labels: Tensor, wanted: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """`_chunks`, without what is of another class than wanted (N, 1)."""
        start = 0
        for points, logits in self._chunks(rows, v):
            own = labels[start : start + len(points)].to(rows.device)
            start += len(points)
            yield points, logits.masked_fill(own != wanted, -math.inf)

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        rows, v = self._rows(x, sigma)
        return self._averaged(x, rows, self._chunks(rows, v))

    def _averaged(self, x: Tensor, rows: Tensor, chunks: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """Eq. (1) from points and their exponents, in the shape and dtype of x."""
        top = rows.new_full((len(rows), 1), torch.finfo(rows.dtype).min)  # the largest exponent so far
        mass, total = torch.zeros_like(top), torch.zeros_like(rows)
        for points, logits in chunks:
            higher = torch.maximum(top, logits.amax(-1, keepdim=True))
            w = torch.exp(logits - higher)  # (N, chunk)
            shrink = torch.exp(top - higher)
            mass = mass * shrink + w.sum(-1, keepdim=True)
            total = total * shrink + w @ points
            top = higher
        return (total / mass + self.centre.to(rows)).view(x.shape).to(x.dtype)

    def _log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        rows, v = self._rows(x, sigma)
        mass = torch.full_like(v, -math.inf)
        for _, logits in self._chunks(rows, v):
            mass = torch.logaddexp(mass, logits.logsumexp(-1, keepdim=True))
        return (mass - math.log(len(self.points)) + log_normal(rows, v)).reshape(x.shape[:-1])

    def _rows(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Centred points (N, d) and noise variances (N, 1), the leading axes flattened, in float64."""
        levels = sigma.double().expand(*x.shape[:-1], 1)
        return (x.double() - self.centre.to(x.device)).reshape(-1, self.dim), levels.reshape(-1, 1) ** 2

    def _chunks(self, rows: Tensor, v: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Centred points (chunk, d) and their exponents in Eq. (1), (N, chunk)."""
        for part in self.points.split(max(1, CHUNK_NUMBERS // max(len(rows), self.dim))):
            points = part.to(rows) - self.centre.to(rows)
            yield points, (rows @ points.mT - points.square().sum(-1) / 2) / v


def _as_points(data: Any, dim: int, source: str) -> np.ndarray:
    """The data as (m, d) float32, checked."""
    array = np.asarray(data.detach().cpu() if isinstance(data, Tensor) else data)
    if array.ndim != 2 or array.shape[0] == 0:
        raise InputError(
            f"{source} has shape {array.shape}, expected (m, {dim}) with at least one row: flatten each point"
        )
    if array.shape[1] != dim:
        raise InputError(f"{source} has shape {array.shape}, but law.dim is {dim}: set law.dim to {array.shape[1]}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{source} holds {array.dtype} entries, expected real numbers")
    with np.errstate(over="ignore"):  # the next line reports it
        points = array.astype(np.float32)
    if bad := int(np.count_nonzero(~np.isfinite(points))):
        row = int(np.argwhere(~np.isfinite(points))[0, 0])
        raise InputError(f"{source} holds {bad} entries that are NaN or infinite in float32, first in row {row}")
    return points
