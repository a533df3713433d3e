"""Many runs into one store: what is planned is trained, measured and kept.

On a CPU the groups are shared out among worker processes, a core or more each: small matrix products use several
processes far better than several threads. On a GPU a few processes share it, so that one trains while others measure.
Every worker publishes its own runs; the parent only watches. An ensemble that is refused memory after all goes on as
two halves. A system that kills instead, as Linux does when RAM runs out, ends the sweep; the same command goes on.

Several sweeps into one store share the work by leases (`dmdlab.records.leases`): a worker leaves out the runs that
somebody else is at. At the end a sweep waits for those, and takes over what its owner has left.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dmdlab.config import Experiment, InputError
from dmdlab.device.compiling import Way
from dmdlab.device.environment import environment
from dmdlab.device.limits import out_of_memory, release_memory, taken
from dmdlab.device.precision import precision_on
from dmdlab.group import Group
from dmdlab.lab import engines
from dmdlab.lab.plan import Plan, shape_name, split, too_large
from dmdlab.lab.run import Clock, Progress, run_group
from dmdlab.lab.store import Store
from dmdlab.records.leases import Leases

NAMED = 5
"""Unfinished ensembles that are named when a worker was killed."""

LOOK_SECONDS = 1.0
"""Time between two looks at what others are at, when nothing else is left to do (ours)."""


@dataclass(frozen=True)
class Started:
    """An ensemble begins, or a part of one that was split."""

    group: Group


@dataclass(frozen=True)
class Taken:
    """The most memory that this process, or the GPU, has taken so far, in bytes."""

    process: int
    bytes: int


@dataclass(frozen=True)
class Split:
    """An ensemble ran out of memory: `parts` of its unfinished runs go on one after the other. why: the error."""

    parts: list[Group]
    why: str


@dataclass(frozen=True)
class Finished:
    """One run was published: its folder and its status, 'done' or 'failed'. ours: not where another sweep had published
    it before, so that it was made in vain."""

    experiment: Experiment
    folder: Path
    status: str
    ours: bool = True


@dataclass(frozen=True)
class Elsewhere:
    """Of an ensemble's runs, another sweep has published `done`, and is at `held`."""

    done: tuple[Experiment, ...]
    held: tuple[Experiment, ...]


Event = Started | Progress | Taken | Split | Finished | Elsewhere
Engine = Callable[["Work", Sequence[Group]], Iterator[tuple[int, Event]]]


def sweep(planned: Plan, store: Store) -> Iterator[tuple[int, Event]]:
    """Run what is planned and publish each run as it is measured; yields (index of the part, what happened).

    Start networks, pairs, calibrations and checkpoints of long trainings are kept in the
    store, so that an interrupted sweep goes on where it was.

    Raises `InputError` when a run does not fit the memory after all, or when the system killed a worker.
    """
    work, groups = Work(store, planned.device, planned.way), [part.group for part in planned.parts]

    def engine(work: Work, groups: Sequence[Group]) -> Iterator[tuple[int, Event]]:
        workers = min(planned.workers, len(groups))
        return engines.processes(work, groups, workers) if workers > 1 else engines.here(work, groups)

    try:
        yield from to_the_end(work, groups, engine)
    except engines.WorkerKilled as error:
        raise InputError(_killed(str(error), groups, store)) from error


def to_the_end(work: "Work", groups: Sequence[Group], engine: Engine = engines.here) -> Iterator[tuple[int, Event]]:
    """Do the work of these groups; then wait for what others are at, and do what they leave. Yields (index of the
    group, what happened)."""
    leases, ready = Leases(work.store.out), list(enumerate(groups))
    waiting: list[tuple[int, Group]] = []
    while ready or waiting:
        for place, event in engine(work, [group for _, group in ready]) if ready else ():
            index = ready[place][0]
            yield index, event
            if isinstance(event, Elsewhere) and event.held:
                waiting.append((index, Group(event.held)))
        held, ready, waiting = waiting, [], []
        for index, group in held:
            left = work.store.missing(group.members)
            if done := tuple(e for e in group.members if e not in left):
                yield index, Elsewhere(done, tuple(left))
            if left:
                rest = Group(tuple(left))
                (ready if leases.free(rest.ids) else waiting).append((index, rest))
        if waiting and not ready:
            time.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Work:
    """Train, measure and publish a group, by halves where it does not fit the memory; without what others have made or
    are at.

    Raises `InputError` when a run does not fit even alone.
    """

    store: Store
    device: torch.device
    way: Way | None = None

    def __call__(self, group: Group) -> Iterator[Event]:
        """What happens, as it does."""
        with Leases(self.store.out).held(group.ids) as ours:
            free = [e for e in group.members if e.id in ours]
            todo = self.store.missing(free)  # which another may have published before this lease
            held = tuple(e for e in group.members if e not in free)
            done = tuple(e for e in free if e not in todo)
            if held or done:
                yield Elsewhere(done, held)
            if todo:
                yield from self._make(group if len(todo) == len(group) else Group(tuple(todo)))

    def _make(self, group: Group) -> Iterator[Event]:
        """These runs, whoever else may make them."""
        waiting = [group]
        while waiting:
            release_memory(self.device)
            part, why = waiting.pop(0), ""
            yield Started(part)
            try:
                yield from self._attempt(part)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                why = str(error).strip().partition("\n")[0] or type(error).__name__
            # here the error's traceback holds no tensors any more
            if why and (left := self.store.missing(part.members)):
                if len(part) == 1:
                    raise InputError(too_large(part, self.device, f"it ran out of memory ({why})"))
                rest = Group(tuple(left))
                parts = split(rest, 2, len(rest)) if len(rest) == len(part) else [rest]
                yield Split(parts, why)
                waiting = parts + waiting

    def _attempt(self, group: Group) -> Iterator[Event]:
        """One attempt; what is kept on the way and finished runs stay whatever happens."""
        clock = Clock()
        precision = precision_on(self.device, group.shared.network.precision)
        for event in run_group(group, self.store, self.device, self.way, clock):
            if isinstance(event, Progress):
                yield event
                if (most := taken(self.device)) is not None:
                    yield Taken(os.getpid(), most)
                continue
            place = environment(self.device, clock.share(len(group)), precision, clock.ways)
            ours = self.store.put(event, place)
            yield Finished(event.experiment, self.store.folder(event.experiment), event.summary["status"], ours)
        self.store.checkpoint(group, self.device).clear()


def _killed(how: str, groups: Sequence[Group], store: Store) -> str:
    """The sentence for a worker that was ended from outside."""
    left = [(group, len(todo)) for group in groups if (todo := store.missing(group.members))]
    runs = sum(map(len, groups))
    kept = runs - sum(todo for _, todo in left)
    named = ", ".join(f"{shape_name(g)} (lacks {todo} of {len(g)} runs)" for g, todo in left[:NAMED])
    more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
    return (
        f"a worker was {how}; {kept} of {runs} runs are finished and kept in "
        f"{store.out}; unfinished ensembles: {named}{more}; the same command goes on: give it fewer --workers or a "
        "smaller --memory"
    )
