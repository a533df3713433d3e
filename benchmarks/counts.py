"""What a cycle computes and moves, counted and not timed.

Products by their operations (`dmdlab.lab.trial`); bytes by a watch on every operator of one member's cycle on a CPU,
eager and in float32: each reads its inputs and writes its outputs once, whoever used them last, which is what happens
when they are too large for caches and nothing is joined. A machine's rates turn both into times.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.measure import Options, say
from benchmarks.peers import Record
from benchmarks.points import MEMBERS, PAPER, QUICKSTART, TINY, WIDE, Point
from dmdlab.config import Experiment
from dmdlab.group import Group
from dmdlab.lab.timing import random_start

MATRIX, REST = "matrix products", "the rest"
PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "mv", "dot"}
OVERWRITES = {"copy_", "fill_", "zero_", "normal_", "uniform_"}
"""Operators that write in place without a look at what was there."""
MOVE_NOTHING = {"_unsafe_view", "_local_scalar_dense", "detach", "lift_fresh", "alias"}
"""Operators that neither read nor write numbers, besides views and those whose name begins with 'empty' or so."""


def run(options: Options) -> dict[str, Any]:
    """A record for each point."""
    points = [QUICKSTART.at(MEMBERS, 16), PAPER, PAPER.at(MEMBERS, 64), WIDE]
    return {"records": [count(point) for point in ([TINY] if options.quick else points)]}


def count(point: Point) -> Record:
    """Operations, bytes by kind and operators of a cycle of the whole ensemble."""
    found = cycle_traffic(point.group(1).shared)
    record = {**point.about(), "flops": point.members * point.tried().cycle_flops}
    record |= {"bytes_by_kind": {name: point.members * found.bytes[name] for name in (MATRIX, REST)}}
    record |= {"operators": found.operators}
    say(f"{point.name}, {point.members} members: {record['flops'] / 1e9:.3g} GFLOP")
    return record | {"figures": figures(record)}


def figures(record: Record) -> dict[str, float]:
    """All bytes, and the operations for each of them."""
    total = sum(record["bytes_by_kind"].values())
    return {"bytes": total, "flops_per_byte": record["flops"] / total}


class Traffic(TorchDispatchMode):
    """Within it, counts bytes by kind, and operators that move any."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()
        self.operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if not (func.is_view or name in MOVE_NOTHING or name.startswith(("empty", "new_empty"))):
            given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | (kwargs or {})
            written = [
                given.get(a.name) for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write
            ]
            unread = {"self"} if name in OVERWRITES else set()
            read = [given.get(a.name) for a in func._schema.arguments if not a.is_out and a.name not in unread]
            moved = [leaf for leaf in tree_leaves([read, written or result]) if isinstance(leaf, Tensor)]
            self.bytes[MATRIX if name.removesuffix("_") in PRODUCTS else REST] += sum(map(size, moved))
            self.operators += 1
        return result


def size(tensor: Tensor) -> int:
    """Bytes of a tensor's numbers; those that it repeats by a stride of 0 count once."""
    numbers = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        numbers *= length if stride else 1
    return numbers * tensor.element_size()


def cycle_traffic(experiment: Experiment) -> Traffic:
    """What one member's cycle moves, eager. An ensemble moves as much for each, in as many operators as one."""
    loop = random_start(Group((experiment,)), torch.device("cpu"), "eager")
    loop.cycle()  # draws the numbers of many cycles
    with Traffic() as found:
        loop.cycle()
    return found
