"""How an ensemble convolves: the ways of `dmdlab.networks.unet_blocks` and those that were left out, taking turns.

One layer, of 3 x 3 to as many channels, to few or to one, and of 1 x 1, forward and backward, in this process; ms for
each member. What `way_to_convolve` and `convolve` choose was chosen from these numbers.
"""

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from benchmarks.measure import Options, alternate, middle, say
from benchmarks.peers import Record
from dmdlab.device.environment import synchronise
from dmdlab.networks.unet_blocks import by_member, convolve

CHANNELS, BATCH = 16, 32
LAYERS = ((16, 3), (8, 3), (4, 3), (1, 3), (16, 1))
"""Channels out, and the side of the kernel."""

SIDES, ENSEMBLES = (4, 8, 16, 32), (1, 4)

Layer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (n, e in, h, w), weight (e, out, in, k, k), bias (e, out) -> (n, e out, h, w)."""


def grouped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One convolution, every member's channels a group."""
    around = weight.shape[-1] // 2
    return conv2d(x, weight.flatten(0, 1), bias.flatten(), padding=around, groups=len(weight))


def unfolded(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One product with all nine neighbours of every place, which are written out."""
    x = by_member(x, len(weight))
    n, e, inputs, h, w = x.shape
    around = pad(x, (1, 1, 1, 1))
    near = torch.stack([around[..., i : i + h, j : j + w] for i in range(3) for j in range(3)], dim=3)
    columns = near.permute(1, 2, 3, 0, 4, 5).reshape(e, 9 * inputs, n * h * w)
    out = torch.baddbmm(bias[..., None], weight.reshape(e, -1, 9 * inputs), columns)
    return out.unflatten(2, (n, h, w)).permute(2, 0, 1, 3, 4).flatten(1, 2)


def shifted(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Nine products of the padded pictures, laid end to end with the channels last, each from another place on."""
    x = by_member(x, len(weight))
    n, e, inputs, h, w = x.shape
    rows = pad(x.permute(1, 0, 3, 4, 2), (0, 0, 1, 1, 1, 1)).reshape(e, -1, inputs)
    places = rows.shape[1]
    rows, out = pad(rows, (0, 0, w + 3, w + 3)), bias.unsqueeze(1)
    for i in range(3):
        for j in range(3):
            first = i * (w + 2) + j
            out = torch.baddbmm(out, rows[:, first : first + places], weight[..., i, j].mT)
    return out.unflatten(1, (n, h + 2, w + 2))[:, :, 1:-1, 1:-1].permute(1, 0, 4, 2, 3).flatten(1, 2)


WAYS: dict[str, Layer] = {
    "chosen": partial(convolve, way="grouped"),
    "grouped": grouped,
    "loop": partial(convolve, way="loop"),
    "unfolded": unfolded,
    "shifted": shifted,
}


def run(options: Options) -> dict[str, Any]:
    """A record for each number of channels out, side and size of ensemble."""
    sides, ensembles = (SIDES[:1], (2,)) if options.quick else (SIDES, ENSEMBLES)
    layers = LAYERS[:1] if options.quick else LAYERS
    places = itertools.product(layers, sides, ensembles)
    return {"records": [compare(side, members, *layer, options) for layer, side, members in places]}


def ways(kernel: int) -> dict[str, Layer]:
    """Those that a kernel of such a side has: neighbours are of 3 x 3."""
    return {name: way for name, way in WAYS.items() if kernel == 3 or name not in ("unfolded", "shifted")}


def compare(side: int, members: int, outputs: int, kernel: int, options: Options) -> Record:
    """All ways at one shape."""
    device, g = torch.device(options.device), torch.Generator().manual_seed(0)
    shape = (members, outputs, CHANNELS, kernel, kernel)
    shapes = ((BATCH, members * CHANNELS, side, side), shape, shape[:2])
    inputs = [torch.randn(shape, generator=g).to(device).requires_grad_() for shape in shapes]

    def turn(layer: Layer, units: int) -> float:
        synchronise(device)
        started = time.perf_counter()
        for _ in range(units):
            torch.autograd.grad(layer(*inputs).square().sum(), inputs)
        synchronise(device)
        return time.perf_counter() - started

    rounds, seconds = options.effort
    taken = alternate({name: partial(turn, layer) for name, layer in ways(kernel).items()}, rounds, seconds)
    record: Record = {"side": side, "members": members, "channels": CHANNELS, "outputs": outputs, "batch": BATCH}
    record |= {"kernel": kernel}
    record |= {"seconds": {name: [times] for name, times in taken.items()}}
    record |= {"figures": figures(record)}
    told = ", ".join(f"{name.removesuffix(', ms')} {ms:.3f}" for name, ms in record["figures"].items())
    say(f"side {side}, {members} members, {CHANNELS} to {outputs} by {kernel} x {kernel}: {told} ms for each")
    return record


def figures(record: Record) -> dict[str, float]:
    """Milliseconds for each member by way, forward and backward."""
    return {f"{name}, ms": 1e3 * middle(times) / record["members"] for name, times in record["seconds"].items()}
