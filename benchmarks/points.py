"""What is measured: points, each an experiment and a number of students, and the ways in which they are trained."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.measure import Options, say
from dmdlab.config import flatten
from dmdlab.device.precision import Precision, precision_on
from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab.trial import Tried, tried
from dmdlab.networks import network_settings

PLAIN, PLAIN_COMPILED = "plain loop", "plain loop, torch.compile"
JAX = JAX_MAP, JAX_VMAP = "JAX, map", "JAX, vmap"
OWN = EAGER, RECORDED, GRAPH, COMPILED = "eager", "recorded", "graph", "compiled"
"""Who trains: the plain loop (one student at a time), JAX's program in two forms, and dmdlab in its ways."""

MEMBERS, WIDTH, DEPTH = "members", "network.width", "network.depth"
BATCH, DIM, UPDATES = "student.batch", "law.dim", "fake_score.updates"
COSTLY = ("law.name", DIM, "teacher.kind", "network.kind", WIDTH, DEPTH, BATCH, UPDATES)
"""The settings that a cycle's cost depends on."""


@dataclass(frozen=True)
class Point:
    """`settings` on top of `preset`, and how many `members`. axes: setting (or 'members') -> its values; they lead away
    from the point one at a time."""

    name: str
    preset: str
    settings: dict[str, object]
    members: int = 1
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def at(self, axis: str, value: int) -> "Point":
        """The point with this value on one axis."""
        if axis == MEMBERS:
            return replace(self, members=value)
        return replace(self, settings={**self.settings, axis: value})

    def along_axes(self) -> Iterator[tuple[str, "Point"]]:
        """('', this point), then (axis, point) for every other value of its axes."""
        yield "", self
        for axis, values in self.axes.items():
            own = self.members if axis == MEMBERS else self.settings[axis]
            yield from ((axis, self.at(axis, value)) for value in values if value != own)

    def group(self, members: int | None = None) -> Group:
        """Its experiments, which differ in their seeds, 0 ... members - 1."""
        words = [f"{k}={v}" for k, v in self.settings.items()]
        seeds = f"seed={{start=0, stop={members or self.members}}}"
        return Group(tuple(load(None, self.preset, [*words, seeds]).experiments()))

    def tried(self) -> Tried:
        """What a trial counts of its shape."""
        return tried(self.group())

    def about(self) -> dict[str, Any]:
        """What a record says of it."""
        shared = self.group(1).shared
        network = {f"network.{key}": value for key, value in network_settings(shared.network)}
        flat = flatten(shared) | network
        return {"point": self.name, MEMBERS: self.members, **{key: flat[key] for key in COSTLY if key in flat}}


@dataclass(frozen=True)
class Job:
    """A point, and who trains it."""

    point: Point
    who: str
    device: str = "cpu"

    @property
    def students(self) -> int:
        """Students that one of its cycles trains."""
        return 1 if self.who.startswith(PLAIN) else self.point.members

    @property
    def tuned(self) -> bool:
        """Whether its process's allocator is tuned, as dmdlab tunes its own."""
        return self.who in OWN

    @property
    def precision(self) -> Precision:
        """Of its networks' products."""
        return precision_on(torch.device(self.device), self.point.group(1).shared.network.precision)


QUICKSTART = Point("quickstart", "quickstart", {DIM: 32, WIDTH: 64, BATCH: 128})
"""The quickstart at d = 32: an exact teacher, the residual network 64 x 3, k = 2."""

CHESSBOARD: dict[str, object] = {"law.name": "chessboard", "law.embedding": "axes"}
PAPER = Point("paper", "paper", CHESSBOARD | {DIM: 4, WIDTH: 384, BATCH: 512})
"""The paper's chessboard in R^4: a network teacher, the plain MLP 384 x 5, k = 5."""

WIDE = Point("wide", "quickstart", {DIM: 64, WIDTH: 256, DEPTH: 4, BATCH: 1024, UPDATES: 5}, 256)
"""The network of experiments/dimension.toml at d = 64, batch 1024: an exact teacher, residual 256 x 4, k = 5."""

TINY = Point("quickstart", "smoke", {DIM: 2, WIDTH: 8, BATCH: 16, UPDATES: 1}, 2)


def points(options: Options) -> list[Point]:
    """Where all contestants meet."""
    if options.quick:
        return [TINY]
    if options.cuda:
        return [PAPER, PAPER.at(MEMBERS, 64), WIDE]
    return [*(QUICKSTART.at(MEMBERS, e) for e in (1, 4, 16, 64)), PAPER]


def grid(options: Options) -> list[Point]:
    """Where growth is measured from, and along what."""
    if options.quick:
        return [replace(TINY, axes={MEMBERS: (1, 2), DIM: (2, 4)})]
    if options.cuda:
        axes = {MEMBERS: (1, 16, 64, 256), WIDTH: (128, 384, 1024), BATCH: (128, 512, 2048), DIM: (4, 64, 1024)}
        return [replace(PAPER, members=64, axes=axes)]
    small = {MEMBERS: (1, 4, 16, 64), WIDTH: (64, 128, 256), BATCH: (64, 128, 512), DIM: (32, 512, 4096)}
    large = {WIDTH: (128, 384, 1024), BATCH: (64, 512, 1024), DIM: (4, 512, 4096)}
    return [replace(QUICKSTART, members=16, axes=small), replace(PAPER, axes=large)]


def contestants(options: Options) -> list[str]:
    """Who takes part on this device. `quick` leaves out what takes tens of seconds to compile."""
    jax = JAX if not options.cuda and find_spec("jax") else ()
    if not jax:
        say("Without JAX: not installed (pip install 'dmdlab[bench]'), or this is a GPU, where it is not compared.")
    if options.quick:
        return [PLAIN, *jax[:1], EAGER]
    if options.cuda:
        return [PLAIN, EAGER, GRAPH, COMPILED]
    return [PLAIN, PLAIN_COMPILED, *jax, EAGER, RECORDED, COMPILED]
