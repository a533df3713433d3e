"""Operations and bytes of whatever torch does, counted while it does it, on real tensors or on fake ones."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

DEVICE = torch.ops.prim.device.default
"""Autograd asks every fake tensor for its device, by an operator, more often than it computes: answered at once."""

ITEM = torch.ops.aten._local_scalar_dense.default
"""Asks a tensor for its number, as a training does whether anything finite is left. A fake one has none: 0, or no."""


class Watching(TorchDispatchMode):
    """Within it, `saw` is told of every operation but autograd's questions for devices, and those for numbers of
    tensors that have none."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler, which takes a second or two, only to keep it from these few lines."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is DEVICE and hasattr(args[0], "fake_device"):
            return args[0].fake_device
        if func is ITEM and hasattr(args[0], "fake_device"):
            return False
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.saw(func, args, kwargs, result)
        return result

    def saw(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """After each operation: the operator, what it was given and what it gave."""
        raise NotImplementedError


class LiveBytes(Watching):
    """Within it, counts every new tensor from the operation that made it until nobody holds it, autograd included.

    `live` now and `peak` at most, in bytes. What an operation takes and returns inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def saw(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        for leaf in [result] if isinstance(result, Tensor) else tree_leaves(result):  # most are one, and trees are slow
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key, size).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


class Placed(TorchDispatchMode):
    """Within it, no fake tensor is on the device 'meta'.

    Forward mode through a group norm whose scales have no tangents makes such ones (torch 2.13), which go with
    no other: what comes as an argument from there is told that it is on a CPU.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if hasattr(leaf, "fake_device") and leaf.fake_device.type == "meta":
                leaf.fake_device = torch.device("cpu")
        return func(*args, **(kwargs or {}))


class Operations(Watching):
    """Within it, `count` grows as torch's FlopCounterMode counts.

    That one tells modules apart, too, by hooks that keep tensors alive and do not go together with forward mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def saw(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        if formula := flop_registry.get(func._overloadpacket):
            self.count += formula(*args, **kwargs, out_val=result)
