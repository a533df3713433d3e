"""Ensembles in mid-training, kept so that an interrupted one goes on to the same end.

    OUT/checkpoints/<hash of the runs>.safetensors      every member a row of every tensor

Rows belong to members, so any part of an ensemble finds its rows again, however the runs are grouped next time. A file
is used only by the same versions, on the same kind of device; it goes when all its runs are finished.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dmdlab.config import RESULT_VERSION, Experiment, fingerprint
from dmdlab.device.environment import versions
from dmdlab.lab.store import finished

EVERY_SECONDS = 15.0
"""Time between two checkpoints of one ensemble at least (ours: shorter trainings never write one)."""

COST = 0.05
"""Part of that time which writing may take; what takes longer is written less often (ours)."""

State = dict[str, Tensor]


class Checkpoint:
    """The checkpoints in `out` that concern these runs, on this device."""

    def __init__(
        self, out: Path, experiments: Sequence[Experiment], device: torch.device, every: float = EVERY_SECONDS
    ) -> None:
        self.out, self.experiments, self.every = out, list(experiments), every
        self.folder = out / "checkpoints"
        self.ids = [e.id for e in experiments]
        self.path = self.folder / f"{fingerprint(dict.fromkeys(self.ids))}.safetensors"
        self.maker = json.dumps({"result_version": RESULT_VERSION, "device": device.type, **versions()}, sort_keys=True)
        self.last, self.wait = time.monotonic(), every

    def load(self) -> State | None:
        """What was kept of these runs, a row for each in their order; None when nothing usable was."""
        found = [state for path in sorted(self.folder.glob("*.safetensors")) if (state := self._read(path))]
        return max(found, key=lambda state: int(state["place"][0, 0]), default=None)

    def offer(self, state: Callable[[], State]) -> None:
        """Keep `state()` if the last one is old enough."""
        if time.monotonic() - self.last >= self.wait:
            started = time.monotonic()
            self.save(state())
            self.wait = self.every * max(1.0, (self.last - started) / (COST * EVERY_SECONDS))

    def save(self, state: State) -> None:
        """Keep this state, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        rows = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
        save_file(rows, partial, metadata={"ids": json.dumps(self.ids), "maker": self.maker})
        partial.replace(self.path)
        self.last = time.monotonic()

    def clear(self) -> None:
        """Remove the files that only finished runs still have a row in."""
        done = {e.id for e in self.experiments if finished(self.out, e)}
        for path in self.folder.glob("*.safetensors"):
            if set(_ids(path)) <= done:
                path.unlink(missing_ok=True)

    def _read(self, path: Path) -> State | None:
        ids = _ids(path)
        if not set(self.ids) <= set(ids):
            return None
        with safe_open(path, "pt") as file:
            if file.metadata()["maker"] != self.maker:
                return None
            rows = [ids.index(own) for own in self.ids]
            names = file.keys()
            return {name: file.get_tensor(name)[rows] for name in names}


def _ids(path: Path) -> list[str]:
    """The runs of a file; none for one that is no checkpoint."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get("ids", "[]"))
    except (SafetensorError, OSError):
        return []
