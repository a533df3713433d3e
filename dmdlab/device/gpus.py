"""Several GPUs of this machine."""

import os
from collections.abc import Sequence

import torch

from dmdlab.device.limits import SHARING, default_workers, granted_cores


def visible_gpus(device: torch.device) -> tuple[str, ...]:
    """All GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them, where `device` is any of several."""
    count = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 0
    if count < 2:
        return ()
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(visible[:count]) if len(visible) >= count else tuple(map(str, range(count)))


def shared_out(device: torch.device, workers: int | None) -> tuple[int, tuple[str, ...]]:
    """Workers of this machine's device, or of each of several GPUs, and those. workers: all together, if stated."""
    gpus = visible_gpus(device)[:workers]
    if len(gpus) < 2:
        return workers or default_workers(device), ()
    return max(1, (workers or workers_each(granted_cores(), gpus)) // len(gpus)), gpus


def workers_each(cores: int, gpus: Sequence[str]) -> int:
    """Workers of all these GPUs by default, as `default_workers` has them of one: one each at least."""
    return len(gpus) * max(1, min(SHARING, cores // (2 * len(gpus))))
