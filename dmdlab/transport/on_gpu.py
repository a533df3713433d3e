"""The certified transport solver's passes over all pairs on a torch device, a GPU above all.

They compute what `soft_minimum` and `nearest_reduced` of `dmdlab.transport.engine` do, block by block in O(n d) memory;
the certificate itself stays numpy's, in float64. Squared distances never use TF32.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dmdlab.transport.engine import Engine

BLOCK_NUMBERS = {"cpu": 1 << 22, "cuda": 1 << 28}
"""Distances that one block may hold: 32 MiB of float64 on a CPU, 2 GiB on a GPU (ours)."""

GROUP = 32
"""At most one candidate column of so many consecutive ones, as in the numpy engine."""


def torch_engine(device: torch.device) -> Engine:
    """The engine whose blocks live on `device`."""

    def soft(rows: np.ndarray, columns: np.ndarray, potential: np.ndarray, eps: float) -> np.ndarray:
        x, y, v = (torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (rows, columns, potential))
        parts = [-eps * torch.logsumexp((v - cost) / eps, dim=1) for cost in _costs(x, y)]
        return torch.cat(parts).cpu().numpy()

    def nearest(
        rows: np.ndarray, columns: np.ndarray, potential: np.ndarray, k: int, own: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        x, y, v = (torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (rows, columns, potential))
        found, start = [], 0
        for cost in _costs(x, y):
            if not own:
                cost.diagonal(start).fill_(torch.inf)
            found.append(_best_of_groups(cost - v, k))
            start += len(cost)
        return torch.cat([f[0] for f in found]).cpu().numpy(), torch.cat([f[1] for f in found]).cpu().numpy()

    return Engine(soft, nearest)


def _costs(rows: Tensor, columns: Tensor) -> Iterator[Tensor]:
    """Squared distances of a few rows to all columns at a time, (part, m)."""
    norms = columns.square().sum(dim=1)
    step = max(1, BLOCK_NUMBERS[rows.device.type] // len(columns))
    for part in rows.split(step):
        yield torch.addmm(norms, part, columns.mT, alpha=-2.0) + part.square().sum(dim=1, keepdim=True)


def _best_of_groups(reduced: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each row's smallest entry (n,), and k columns (n, k): the best of the groups of `GROUP` columns."""
    m = reduced.shape[1]
    group = max(1, min(GROUP, m // k))
    padded = torch.nn.functional.pad(reduced, (0, -m % group), value=torch.inf)
    best, within = padded.unflatten(1, (-1, group)).min(dim=2)  # (n, groups)
    smallest, groups = best.topk(k, dim=1, largest=False)
    return smallest[:, 0], groups * group + within.gather(1, groups)
