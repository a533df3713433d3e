"""What a cycle moves between memory and arithmetic, counted operator by operator.

Each operator reads its inputs and writes its outputs once, whoever used them last: that is what happens when they are
too large for caches and nothing is fused (`dmdlab.device.fusing`). Beside a copy's rate these bytes are a time, as the
counted arithmetic is one beside a large product's rate.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.operator_kinds import OVERHEAD, kind_of
from dmdlab.config import Experiment
from dmdlab.group import Group
from dmdlab.lab.trial import random_start

OVERWRITES = {"copy_", "fill_", "zero_", "normal_", "uniform_"}
"""Operators that write in place without a look at what was there."""


class Traffic(TorchDispatchMode):
    """Within it, counts bytes by kind of operator (`benchmarks.operator_kinds`), and operators that move any."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        kind = kind_of(f"aten::{name}")
        if kind != OVERHEAD and not func.is_view:
            given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
            # AdamW writes its gradients only to unscale them, which nobody asks for here
            written = [
                given.get(a.name)
                for a in func._schema.arguments
                if a.alias_info and a.alias_info.is_write and a.name != "grads"
            ]
            unread = {"self"} if name in OVERWRITES else set()
            read = [given.get(a.name) for a in func._schema.arguments if not a.is_out and a.name not in unread]
            made = [] if written else [result]
            moved = sum(size(leaf) for leaf in tree_leaves([read, written, made]) if isinstance(leaf, Tensor))
            self.bytes[kind] += moved
            self.operators[kind] += 1
        return result


def size(tensor: Tensor) -> int:
    """Bytes of a tensor's numbers; those that it repeats by a stride of 0 count once."""
    numbers = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        numbers *= length if stride else 1
    return numbers * tensor.element_size()


def cycle_traffic(experiment: Experiment, device: torch.device) -> Traffic:
    """What one member's cycle moves on `device`, eager and unfused. An ensemble moves as much for each, in as many
    operators as one."""
    loop = random_start(Group((experiment,)), device, False, False)
    numbers = next(loop.draws)
    with Traffic() as found:
        loop._cycle(*numbers)
    return found
