"""How an ensemble convolves: the ways of `dmdlab.networks.unet_blocks` and those that were left out, taking turns.

One layer, of 3 x 3 to as many channels, to few or to one, and of 1 x 1, forward and backward, in this process; ms for
each member. On a GPU in a CUDA graph and in TF32, as trainings run there. What `convolve` chooses was chosen from these
numbers.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from benchmarks.contestants import Contestant
from benchmarks.measure import WARM_UP, Options, alternate, middle, say
from benchmarks.peers import Record
from dmdlab.device.capture import Replayed
from dmdlab.device.precision import arithmetic, precision_on
from dmdlab.networks.unet_blocks import by_member, convolve

BATCH = 32
LAYERS = {
    "cpu": ((16, 16, 3), (16, 8, 3), (16, 4, 3), (16, 1, 3), (16, 16, 1)),
    "cuda": ((16, 16, 3), (64, 64, 3), (256, 256, 3), (16, 1, 3), (16, 16, 1)),
}
"""Channels in and out, and the side of the kernel."""

SIDES = {"cpu": (4, 8, 16, 32), "cuda": (8, 16)}
ENSEMBLES = {"cpu": (1, 4), "cuda": (4, 16)}

Layer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (n, e in, h, w), weight (e, out, in, k, k), bias (e, out) -> (n, e out, h, w)."""


def grouped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One convolution, every member's channels a group."""
    around = weight.shape[-1] // 2
    return conv2d(x, weight.flatten(0, 1), bias.flatten(), padding=around, groups=len(weight))


def loop(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution for each member, one after another."""
    parts = zip(x.chunk(len(weight), dim=1), weight, bias, strict=True)
    return torch.cat([conv2d(*part, padding=weight.shape[-1] // 2) for part in parts], dim=1)


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
    "chosen": convolve,
    "grouped": grouped,
    "loop": loop,
    "unfolded": unfolded,
    "shifted": shifted,
}


def run(options: Options) -> dict[str, Any]:
    """A record for each number of channels, kernel, side and size of ensemble."""
    kind = torch.device(options.device).type
    sides, ensembles, layers = SIDES[kind], ENSEMBLES[kind], LAYERS[kind]
    if options.quick:
        sides, ensembles, layers = sides[:1], (2,), layers[:1]
    places = itertools.product(layers, sides, ensembles)
    return {"records": [compare(side, members, layer, options) for layer, side, members in places]}


def ways(kernel: int) -> dict[str, Layer]:
    """Those that a kernel of such a side has: neighbours are of 3 x 3."""
    return {name: way for name, way in WAYS.items() if kernel == 3 or name not in ("unfolded", "shifted")}


def compare(side: int, members: int, layer: tuple[int, int, int], options: Options) -> Record:
    """All ways at one shape."""
    device, g = torch.device(options.device), torch.Generator().manual_seed(0)
    channels, outputs, kernel = layer
    shape = (members, outputs, channels, kernel, kernel)
    shapes = ((BATCH, members * channels, side, side), shape, shape[:2])
    inputs = [torch.randn(shape, generator=g).to(device) for shape in shapes]

    rounds, seconds = options.effort
    turns = {name: Contestant(repeated(way, inputs), device).seconds for name, way in ways(kernel).items()}
    taken = alternate(turns, rounds, seconds)
    record: Record = {"side": side, "members": members, "channels": channels, "outputs": outputs, "batch": BATCH}
    record |= {"kernel": kernel}
    record |= {"seconds": {name: [times] for name, times in taken.items()}}
    record |= {"figures": figures(record)}
    told = ", ".join(f"{name.removesuffix(', ms')} {ms:.3f}" for name, ms in record["figures"].items())
    say(f"side {side}, {members} members, {channels} to {outputs} by {kernel} x {kernel}: {told} ms for each")
    return record


def repeated(layer: Layer, inputs: list[Tensor]) -> Callable[[], None]:
    """A layer's forward and backward, as trainings on the inputs' device run."""
    device, precision = inputs[0].device, precision_on(inputs[0].device, "auto")

    def step(*given: Tensor) -> None:
        own = [tensor.detach().requires_grad_() for tensor in given]
        with arithmetic(precision, device):
            torch.autograd.grad(layer(*own).square().sum(), own)

    repeat = partial(Replayed(step, graph=device.type == "cuda"), *inputs)
    for _ in range(WARM_UP):  # until its graph is captured
        repeat()
    return repeat


def figures(record: Record) -> dict[str, float]:
    """Milliseconds for each member by way, forward and backward."""
    return {f"{name}, ms": 1e3 * middle(times) / record["members"] for name, times in record["seconds"].items()}
