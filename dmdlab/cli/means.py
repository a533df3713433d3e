"""What a command may use, as its options say it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmdlab.config import Experiment, InputError

if TYPE_CHECKING:
    import torch

    from dmdlab.device.compiling import Way
    from dmdlab.lab.plan import Plan

UNITS = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def bytes_of(memory: str | None, option: str = "--memory") -> int | None:
    """Bytes of --memory, as in '8GiB', '500 MB' or '0.5tib'. Raises `InputError` for anything else."""
    if memory is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?B)\s*", memory, re.IGNORECASE)
    size = int(float(found[1]) * UNITS[found[2].lower()]) if found else 0
    if size < 1:
        raise InputError(f"{option} {memory}: expected a number and a unit, as in 8GiB, 500MiB or 16GB")
    return size


@dataclass(frozen=True)
class Means:
    """What a command may use, as its options say it: --device, --workers, --memory, and how trainings run.

    `plan` raises `InputError` for any of them that makes no sense, or that this machine cannot do.
    """

    device: str
    workers: int | None
    memory: str | None
    eager: bool
    compile_: bool | None

    def plan(self, experiments: Sequence[Experiment], sharers: int | None = None) -> "Plan":
        """How these train. sharers: as for `dmdlab.lab.plan.plan`."""
        from dmdlab.device.environment import choose_device
        from dmdlab.device.gpus import shared_out
        from dmdlab.lab.plan import plan

        most, device = bytes_of(self.memory), choose_device(self.device)
        workers, gpus = shared_out(device, self.workers)
        return plan(experiments, device, workers, most, self.way(device), gpus, sharers)

    def way(self, device: "torch.device") -> "Way | None":
        """What --eager and --compile or --no-compile say; None for the rule."""
        from dmdlab.device.compiling import plain_way

        if self.eager and self.compile_:
            raise InputError("--eager trains operator by operator, --compile does not: give one of them")
        if self.eager:
            return "eager"
        if self.compile_ is None:
            return None
        return "compiled" if self.compile_ else plain_way(device)
