"""What a store holds for several runs, such as start networks, pairs and calibrations, is made by one process at a
time, by a lease; whoever needs it, too, waits for it."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeVar

from dmdlab.lab.store import Store
from dmdlab.records.leases import Kind, Leases, of_kind

T = TypeVar("T")
K = TypeVar("K")
R = TypeVar("R")

LOOK_SECONDS = 0.5
"""Time between two looks at what another makes (ours)."""


class Returning(Generic[T, R]):
    """The steps of a generator, one after the other; when they are through, `value` is what it returned."""

    value: R

    def __init__(self, steps: Generator[T, None, R]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[T]:
        self.value = yield from self.steps


def made_once(
    store: Store,
    kind: Kind,
    ids: Sequence[str],
    kept: Callable[[str], K | None],
    make: Callable[[Sequence[str]], Iterator[T]],
) -> Generator[T | None, None, dict[str, K]]:
    """What the store holds of a kind by these ids, by `kept`; what it lacks is made and kept there by `make`, or waited
    for where another sweep is at it. Yields what `make` does, None while it waits."""
    found, leases = dict[str, K](), Leases(store.out)
    names = {id: of_kind(kind, id) for id in ids}
    while True:
        found |= {id: held for id in ids if id not in found and (held := kept(id)) is not None}
        lacking = [id for id in ids if id not in found]
        if not lacking:
            return found
        wanted = [names[id] for id in lacking]
        if leases.free(wanted):
            with leases.held(wanted) as ours:
                free = [id for id in lacking if names[id] in ours]
                todo = [id for id in free if kept(id) is None]  # which another may have kept before this lease
                if todo:
                    yield from make(todo)
        else:
            yield None
            time.sleep(LOOK_SECONDS)
