"""The networks that are trained on a law: every member's teacher, or the start of its student.

Each is trained by one sweep at a time, by a lease (`dmdlab.records.leases`); whoever needs it, too, waits for it. What
is in training is kept on the way (`dmdlab.lab.checkpoint`).
"""

from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.device import stopping
from dmdlab.device.compiling import Way
from dmdlab.group import Group
from dmdlab.lab.once import made_once
from dmdlab.lab.store import Store
from dmdlab.laws import Law
from dmdlab.networks import fresh_networks
from dmdlab.training.supervised import Step
from dmdlab.training.teacher import train_teacher


def train_starts(
    group: Group, law: Law, store: Store, device: torch.device, way: Way | None = None
) -> Generator[Step | None, None, list[Tensor]]:
    """The parameters (P,), on the CPU, of each of `group.networks`; those that the store lacks are trained and kept
    there. Yields progress, None while another sweep trains one of them."""
    own = {e.teacher_id: e for e in group.networks}

    def train(ids: Sequence[str]) -> Iterator[Step]:
        yield from _train([own[id] for id in ids], law, store, device, way)

    found = yield from made_once(store, "network", list(own), lambda id: store.start(own[id]), train)
    return [found[e.teacher_id] for e in group.networks]


def _train(own: Sequence[Experiment], law: Law, store: Store, device: torch.device, way: Way | None) -> Iterator[Step]:
    """Train and keep these networks, all ages of a seed from one training."""
    first, seeds, ages = own[0], sorted({e.seed for e in own}), sorted({e.teacher.age for e in own})
    oldest = {e.seed: e for e in sorted(own, key=lambda e: e.teacher.age)}
    checkpoint = store.networks_checkpoint([oldest[seed].teacher_id for seed in seeds], device)
    fresh = fresh_networks(first, law, len(seeds), device)
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
