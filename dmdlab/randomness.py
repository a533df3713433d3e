"""Named random streams and the latents z_i. Nothing here, or anywhere in dmdlab, seeds globally.

A stream is named by a seed and words, as in `stream(3, "latents")`. Streams of different names are independent;
a stream does not depend on the batch, on the ensemble around it or on the engine. Latents come from NumPy's Philox
on the CPU whatever the device, and row i is the same however many rows are drawn.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def _key(seed: int, names: Sequence[str]) -> int:
    text = "/".join((str(seed), *names)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:16], "little")


def stream(seed: int, *names: str) -> np.random.Generator:
    """The NumPy generator of this name."""
    return np.random.Generator(np.random.Philox(key=_key(seed, names)))


def generator(seed: int, *names: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The torch generator of this name on `device` (CPU and CUDA streams of one name differ).

    torch's CPU generator keeps 32 bits of its seed, so two given names share a stream with probability 2^-32.
    """
    return torch.Generator(device).manual_seed(_key(seed, names) >> 65)


def latents(seed: int, n: int, dim: int, sigma_max: float, name: str = "latents") -> Tensor:
    """Prior noise z ~ N(0, sigma_max^2 I), (n, d) float32 on the CPU; row i does not depend on n."""
    rows = stream(seed, name).standard_normal((n, dim), dtype=np.float32)
    return torch.from_numpy(rows * np.float32(sigma_max))
