"""An engine for one of many workers that share a store: each chooses anew what nobody is at, whenever it is free.

A choice costs one look at the names of finished runs and one at the leases, whatever groups others do; only these lists
grow with the sweep (docs/scale.md).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dmdlab.group import Group
from dmdlab.lab.engines import Raised
from dmdlab.lab.sweep import Elsewhere, Event, Work
from dmdlab.records.leases import Leases
from dmdlab.trouble import Unwritable


@dataclass(frozen=True)
class Draining:
    """Groups in about their order, until nothing is free. among: workers in all: each takes one of the first so many
    that are free, so that they do not all reach for the same. poor: ids of runs that stand, and are to be made anew."""

    among: int = 1
    poor: frozenset[str] = frozenset()
    draws: random.Random = field(default_factory=random.Random)

    def __call__(self, work: Work, groups: Sequence[Group]) -> Iterator[tuple[int, Event]]:
        """As every engine."""
        leases, left = Leases(work.store.out), dict(enumerate(groups))
        while left:
            done = work.store.standing_ids() - self.poor
            for index in [i for i, group in left.items() if done.issuperset(group.ids)]:
                yield index, Elsewhere(left.pop(index).members, ())
            wanted = [own for group in left.values() for own in group.ids if own not in done]
            free = set(leases.unclaimed(wanted)) or set(leases.free(wanted))
            open_ = [i for i, group in left.items() if not free.isdisjoint(group.ids)]
            if not open_:
                for index, group in left.items():
                    there = tuple(e for e in group.members if e.id in done)
                    yield index, Elsewhere(there, tuple(e for e in group.members if e.id not in done))
                return
            index = self.draws.choice(open_[: self.among])
            try:
                for event in work(left.pop(index)):
                    yield index, event
            except Exception as error:
                yield index, Raised(error)
                if isinstance(error, Unwritable):
                    return
