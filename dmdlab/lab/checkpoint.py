"""Trainings on the way, kept so that they go on after an interruption: of runs, of start networks, of fitted starts.

    OUT/checkpoints/<hash of the ids>.safetensors     every member a row of each tensor; its metadata: the members' ids,
                                                      what wrote it, a checksum of the tensors

What is not whole, is of another version or of another kind of device is passed over, and the training starts again.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dmdlab.config import RESULT_VERSION, InputError, fingerprint
from dmdlab.device import stopping
from dmdlab.device.environment import versions
from dmdlab.records.kept_json import check_depth
from dmdlab.records.writing import replacing_in
from dmdlab.training.draws import Foreign

EVERY_SECONDS = 15.0
"""Time between two checkpoints of one ensemble at least (ours: shorter trainings never write one)."""

COST = 0.05
"""Part of that time which writing may take; what takes longer is written less often (ours)."""

State = dict[str, Tensor]


class Checkpoint:
    """The checkpoints of the store `out` that concern the members `ids`, on this device.

    Rows belong to members, so any part of an ensemble finds its rows again, however runs are grouped next time. A file
    is used only by the same versions, on the same kind of device; it goes when all its members are finished.

    finished: the ids of all that are.
    """

    def __init__(
        self,
        out: Path,
        ids: Sequence[str],
        device: torch.device,
        finished: Callable[[], set[str]],
        every: float | None = None,
    ) -> None:
        self.ids, self.finished, self.every = list(ids), finished, EVERY_SECONDS if every is None else every
        self.folder = out / "checkpoints"
        self.path = self.folder / f"{fingerprint(dict.fromkeys(self.ids))}.safetensors"
        self.maker = json.dumps({"result_version": RESULT_VERSION, "device": device.type, **versions()}, sort_keys=True)
        self.last, self.wait = time.monotonic(), self.every

    def load(self, before: int | None = None) -> State | None:
        """What was kept of these members, a row for each in their order, where least is left to do; None when nothing
        usable was. before: not what has done so many steps or more."""
        found = [state for path in self._files() if (state := self._read(path)) is not None]
        usable = [state for state in found if before is None or _done(state) < before]
        return max(usable, key=_done, default=None)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Turn what taking up a state of another training raises into a sentence."""
        try:
            yield
        except Foreign as error:
            raise InputError(
                f"{self.folder}: what is kept of this training does not fit it ({error}); delete that folder, and it "
                "starts again"
            ) from None

    def offer(self, state: Callable[[], State]) -> None:
        """Keep `state()` if the last one is old enough, or somebody wishes to stop, which is raised then."""
        stopping.safe_point(lambda: self.save(state()))
        if time.monotonic() - self.last >= self.wait:
            started = time.monotonic()
            self.save(state())
            self.wait = self.every * max(1.0, (self.last - started) / (COST * EVERY_SECONDS))

    def save(self, state: State) -> None:
        """Keep this state."""
        rows = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
        about = {"ids": json.dumps(self.ids), "maker": self.maker, "digest": digest(rows)}
        with replacing_in(self.path) as partial:
            save_file(rows, partial, metadata=about)
        self.last = time.monotonic()

    def clear(self) -> None:
        """Remove the files of these members in which no unfinished one has a row."""
        own = set(self.ids)
        for path in self._files():
            ids = set(_about(path)[0])
            if ids & own and ids <= self.finished():
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return _files_in(self.folder)

    def _read(self, path: Path) -> State | None:
        """What a file holds of these members; None where it lacks one, is of another maker or not whole."""
        ids, about = _about(path)
        if about.get("maker") != self.maker or not set(self.ids) <= set(ids):
            return None
        rows = [ids.index(own) for own in self.ids]
        try:
            with safe_open(path, "pt") as file:
                held = {name: file.get_tensor(name) for name in list(file.keys())}
            if digest(held) != about.get("digest"):
                return None
            state = {name: tensor[rows] for name, tensor in held.items()}
            _done(state)
        except (SafetensorError, OSError, IndexError, KeyError, ValueError, TypeError):
            return None  # another sweep may have removed it by now
        return state


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.safetensors"))


def checkpoints_of(out: Path, ids: Set[str]) -> list[Path]:
    """The checkpoints of the store `out` in which any of these members has a row."""
    return [path for path in _files_in(out / "checkpoints") if not ids.isdisjoint(_about(path)[0])]


def digest(rows: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors, their names, types and shapes."""
    sha = hashlib.sha256()
    for name in sorted(rows):
        tensor = rows[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        sha.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _done(state: State) -> int:
    """The steps, or cycles, that a state has done."""
    return int(state["place"][0, 0])


def _about(path: Path) -> tuple[list[str], dict[str, str]]:
    """The members of a file and its metadata; nothing for one that is no checkpoint."""
    try:
        with safe_open(path, "pt") as file:
            head = file.metadata() or {}
        text = head.get("ids", "[]")
        check_depth(text.encode())
        ids = json.loads(text)
    except (SafetensorError, OSError, ValueError):
        return [], {}
    return (ids, head) if isinstance(ids, list) and all(isinstance(own, str) for own in ids) else ([], {})
