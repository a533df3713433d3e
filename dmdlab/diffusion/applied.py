"""A map from noise to data, applied to many rows on a device, a block of them at a time."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from dmdlab.diffusion.denoiser import conditioned

BLOCK_NUMBERS = 1 << 20
"""Numbers of all members that a map is applied to at a time (ours: a network holds many times as many)."""


@torch.no_grad()
def applied(
    map_: Callable[..., Tensor],
    z: Tensor,
    device: torch.device | str,
    label: Tensor | None = None,
    later: Sequence[Tensor] = (),
) -> Tensor:
    """map_(z) for z (e, n, d), in float32 on the CPU; computed on `device`, a block of rows at a time. label: the rows'
    classes (e, n), which the map is told as its `label`, or None. later: the rows' later noises (e, n, d) each, told as
    its `later`, if there are any."""
    rows = max(1, BLOCK_NUMBERS // (z.shape[0] * z.shape[2]))
    found = []
    for start in range(0, z.shape[1], rows):
        own = slice(start, start + rows)
        call = conditioned(map_, None if label is None else label[:, own].to(device))
        if later:
            call = partial(call, later=[part[:, own].to(device) for part in later])
        found.append(call(z[:, own].to(device)).float().cpu())
    return torch.cat(found, dim=1)
