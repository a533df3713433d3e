"""An engine for one of many workers that share a store: each chooses anew what nobody is at, whenever it is free.

A choice costs one look at the names of finished runs and one at the leases, and ends at the first groups that are open:
only these lists grow with the sweep (docs/scale.md). It decides nothing: who has a run is a matter of leases, and which
one stands of publishing.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dmdlab.group import Group
from dmdlab.lab.engines import Raised
from dmdlab.lab.store import Store
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
            over, open_ = self._look(work.store, leases, left)
            for index in over:
                yield index, Elsewhere(left.pop(index).members, ())
            if not open_:
                done = self._done(work.store)
                for index, group in left.items():
                    there = tuple(e for e in group.members if e.id in done)
                    yield index, Elsewhere(there, tuple(e for e in group.members if e.id not in done))
                return
            index = self.draws.choice(open_)
            try:
                for event in work(left.pop(index)):
                    yield index, event
            except Exception as error:
                yield index, Raised(error)
                if isinstance(error, Unwritable):
                    return

    def _look(self, store: Store, leases: Leases, left: Mapping[int, Group]) -> tuple[list[int], list[int]]:
        """Of these groups in their order, those that are done, as far as the look went, and the first that are open."""
        done, claimed = self._done(store), leases.claimed()
        over, open_ = list[int](), list[int]()
        for index, group in left.items():
            wanted = [own for own in group.ids if own not in done]
            if not wanted:
                over.append(index)
            elif not all(own in claimed for own in wanted):
                open_.append(index)
                if len(open_) == self.among:
                    break
        if not open_:  # whoever claims the others may be gone
            free = set(leases.free([own for group in left.values() for own in group.ids if own not in done]))
            open_ = [index for index, group in left.items() if not free.isdisjoint(group.ids)][: self.among]
        return over, open_

    def _done(self, store: Store) -> set[str]:
        return store.standing_ids() - self.poor
