"""A CUDA graph's behaviour on a CPU: record a step's kernels without running them for good, replay them as they stand.

What a real graph would bake in is baked in here: every Python number of the recorded calls, every tensor's address. So
a step that keeps its state in Python (a counter, a learning rate) or makes new tensors for it shows at once.
"""

from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dmdlab.device import capture


class Recording(TorchDispatchMode):
    """Stands for a `torch.cuda.CUDAGraph` and its capture."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, list[Tensor]]] = []
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a captured step asked the device for a value")
        if func._schema.is_mutable:
            for given in tensors((args, kwargs)):
                storage = given.untyped_storage()
                self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        given = {t.untyped_storage().data_ptr() for t in tensors((args, kwargs))}
        out = func(*args, **kwargs)
        fresh = [t if t.untyped_storage().data_ptr() not in given else None for t in tensors(out)]
        self.calls.append((func, args, kwargs, fresh))
        return out

    def undo(self) -> None:
        """What ran in order to be recorded has not happened."""
        for storage, old in self.before.values():
            storage.copy_(old)

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, fresh in self.calls:
            for recorded, new in zip(fresh, tensors(func(*args, **kwargs)), strict=True):
                if recorded is not None:
                    recorded.copy_(new)


def tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class _Stream:
    def wait_stream(self, other: "_Stream") -> None:
        pass


@contextmanager
def _capture(recording: Recording, stream: _Stream):
    with recording:
        yield
    recording.undo()


@contextmanager
def _stream(stream: _Stream):
    yield


def pretend(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """Let `dmdlab.device.capture` find these instead of CUDA; returns the graphs made from now on."""
    made: list[Recording] = []

    def graph() -> Recording:
        made.append(Recording())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(torch.cuda, "graph", _capture)
    monkeypatch.setattr(torch.cuda, "stream", _stream)
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    monkeypatch.setattr(capture, "side_stream", lambda device: _Stream())
    return made
