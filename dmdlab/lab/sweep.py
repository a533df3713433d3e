"""Many runs into one store: what is planned is trained, measured and kept.

On a CPU the groups are shared out among worker processes, a core or more each: small matrix products use several
processes far better than several threads. On a GPU a few processes share it, so that one trains while others measure.
Every worker publishes its own runs; the parent only watches. An ensemble that is refused memory after all goes on as
two halves. A system that kills instead, as Linux does when RAM runs out, ends the sweep; the same command goes on.
"""

import os
from collections.abc import Iterator, Sequence
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

NAMED = 5
"""Unfinished ensembles that are named when a worker was killed."""


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
    """One run was published: its folder and its status, 'done' or 'failed'."""

    experiment: Experiment
    folder: Path
    status: str


Event = Started | Progress | Taken | Split | Finished


def sweep(planned: Plan, store: Store) -> Iterator[tuple[int, Event]]:
    """Run what is planned and publish each run as it is measured; yields (index of the part, what happened).

    Start networks, pairs, calibrations and checkpoints of long trainings are kept in the
    store, so that an interrupted sweep goes on where it was.

    Raises `InputError` when a run does not fit the memory after all, or when the system killed a worker.
    """
    work, groups = Work(store, planned.device, planned.way), [part.group for part in planned.parts]
    workers = min(planned.workers, len(groups))
    if workers <= 1:
        yield from engines.here(work, groups)
        return
    try:
        yield from engines.processes(work, groups, workers)
    except engines.WorkerKilled as error:
        raise InputError(_killed(str(error), groups, store)) from error


@dataclass(frozen=True)
class Work:
    """Train, measure and publish a group, by halves where it does not fit the memory.

    Raises `InputError` when a run does not fit even alone.
    """

    store: Store
    device: torch.device
    way: Way | None = None

    def __call__(self, group: Group) -> Iterator[Event]:
        """What happens, as it does."""
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
            yield Finished(event.experiment, self.store.publish(event, place), event.summary["status"])
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
