"""The networks that are trained on a law: every member's teacher, or the start of its student.

Each is trained by one sweep at a time, by a lease (`dmdlab.records.leases`); whoever needs it, too, waits for it. What
is in training is kept on the way (`dmdlab.lab.checkpoint`).
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.device import stopping
from dmdlab.device.compiling import Way
from dmdlab.group import Group
from dmdlab.lab.store import Store
from dmdlab.laws import Law
from dmdlab.networks import classes_told, make_denoiser
from dmdlab.records.leases import Leases
from dmdlab.training.teacher import TeacherStep, train_teacher

T = TypeVar("T")
K = TypeVar("K")

LOOK_SECONDS = 0.5
"""Time between two looks at what another trains (ours)."""


def train_starts(
    group: Group, law: Law, store: Store, device: torch.device, way: Way | None = None
) -> Generator[TeacherStep | None, None, list[Tensor]]:
    """The parameters (P,), on the CPU, of each of `group.networks`; those that the store lacks are trained and kept
    there. Yields progress, None while another sweep trains one of them."""
    own = {e.teacher_id: e for e in group.networks}

    def train(ids: Sequence[str]) -> Iterator[TeacherStep]:
        yield from _train([own[id] for id in ids], law, store, device, way)

    found = yield from made_once(store, list(own), lambda id: store.start(own[id]), train)
    return [found[e.teacher_id] for e in group.networks]


def made_once(
    store: Store,
    ids: Sequence[str],
    kept: Callable[[str], K | None],
    make: Callable[[Sequence[str]], Iterator[T]],
) -> Generator[T | None, None, dict[str, K]]:
    """What the store holds by these ids, by `kept`; what it lacks is made and kept there by `make`, or waited for where
    another sweep is at it. Yields what `make` does, None while it waits."""
    found, leases = dict[str, K](), Leases(store.out)
    while True:
        found |= {id: held for id in ids if id not in found and (held := kept(id)) is not None}
        lacking = [id for id in ids if id not in found]
        if not lacking:
            return found
        if leases.free(lacking):
            with leases.held(lacking) as ours:
                todo = [id for id in ours if kept(id) is None]  # which another may have kept before this lease
                if todo:
                    yield from make(todo)
        else:
            yield None
            time.sleep(LOOK_SECONDS)


def _train(
    own: Sequence[Experiment], law: Law, store: Store, device: torch.device, way: Way | None
) -> Iterator[TeacherStep]:
    """Train and keep these networks, all ages of a seed from one training."""
    first, seeds, ages = own[0], sorted({e.seed for e in own}), sorted({e.teacher.age for e in own})
    oldest = {e.seed: e for e in sorted(own, key=lambda e: e.teacher.age)}
    checkpoint = store.networks_checkpoint([oldest[seed].teacher_id for seed in seeds], device)
    fresh = make_denoiser(len(seeds), law, first.network, device, classes_told(first, law))
    training = train_teacher(first, seeds, law, fresh, way=way, ages=ages, kept=checkpoint.load(before=ages[0]))
    with stopping.until_kept(), checkpoint.going_on():
        for step in training:
            for e in own:
                if e.teacher.age == step.iteration:
                    store.keep_start(e, fresh.network.flat[seeds.index(e.seed)].detach().cpu().clone())
            yield step
            if step.iteration < ages[-1]:
                checkpoint.offer(step.state)
        checkpoint.clear()
