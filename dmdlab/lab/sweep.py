"""Many runs into one store: what is planned is trained, measured and kept.

On a CPU the groups are shared out among worker processes, a core or more each: small matrix products use several
processes far better than several threads. On a GPU a few processes share it, so that one trains while others measure.
Every worker publishes its own runs; the parent only watches. An ensemble that is refused memory after all goes on as
two halves. A system that kills instead, as Linux does when RAM runs out, ends the sweep; the same command goes on.
Where an ensemble ends in an error, the others go on, and all such errors are told again at the end.

Several sweeps into one store share the work by leases (`dmdlab.records.leases`): a worker leaves out the runs that
somebody else is at. At the end a sweep waits for those, and takes over what its owner has left.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from dmdlab.config import Experiment, InputError
from dmdlab.device.compiling import Way
from dmdlab.device.environment import environment
from dmdlab.device.limits import out_of_memory, peak_bytes, release_memory
from dmdlab.device.precision import precision_on
from dmdlab.group import Group
from dmdlab.lab import engines
from dmdlab.lab.beside import beside
from dmdlab.lab.engines import At, Lost, Raised
from dmdlab.lab.plan import Plan, shape_name, split, too_large
from dmdlab.lab.run import Clock, Progress, run_group
from dmdlab.lab.store import Store
from dmdlab.records.leases import Leases
from dmdlab.trouble import Unwritable, first_names

LOOK_SECONDS = 1.0
"""Time between two looks at what others are at, when nothing else is left to do (ours)."""


@dataclass(frozen=True)
class Started:
    """An ensemble begins, or a part of one that was split."""

    group: Group


@dataclass(frozen=True)
class Taken:
    """The most memory that this process, or the GPU, has taken so far, in bytes. host: the machine's name."""

    process: int
    bytes: int
    host: str = ""


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


Event = Started | Progress | Taken | Split | Finished | Elsewhere | At | Lost | Raised
Engine = Callable[["Work", Sequence[Group]], Iterator[tuple[int, Event]]]


class EnsemblesFailed(RuntimeError):
    """Some of a sweep's ensembles ended in an error; the others' runs are kept. failed: each with its error."""

    def __init__(self, failed: Sequence[tuple[Group, Exception]]) -> None:
        self.failed = list(failed)
        super().__init__("; ".join(f"{shape_name(group)}: {error_text(error)}" for group, error in failed))


def error_text(error: BaseException) -> str:
    """One line: a sentence as it is, and of other errors their kind, too."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def sweep(planned: Plan, store: Store, engine: Engine | None = None, retries: int = 0) -> Iterator[tuple[int, Event]]:
    """Run what is planned and publish each run as it is measured; yields (index of the part, what happened).

    Start networks, pairs, calibrations and checkpoints of long trainings are kept in the store, so that an interrupted
    sweep goes on where it was. engine: where; by default on this machine. retries: times that all goes on after the
    system killed a worker of this machine.

    Raises as `to_the_end`, and `InputError` when the system killed a worker once too often.
    """
    work = Work(store, planned.device, planned.way, planned.calibrated_beside)
    groups = [part.group for part in planned.parts]
    again = 0
    while True:
        try:
            yield from to_the_end(work, groups, engine or on_this_machine(planned))
            return
        except engines.WorkerKilled as error:
            if again == retries:
                raise InputError(_killed(str(error), groups, store)) from error
            again += 1
            for index, group in enumerate(groups):
                if store.missing(group.members):
                    yield index, Lost(f"a worker was {error}", again, retries)


def on_this_machine(planned: Plan) -> Engine:
    """Processes where several are planned, each on its GPU where there are several; else this one."""

    def engine(work: Work, groups: Sequence[Group]) -> Iterator[tuple[int, Event]]:
        workers = min(planned.processes, len(groups))
        return engines.processes(work, groups, workers, planned.gpus) if workers > 1 else engines.here(work, groups)

    return engine


def to_the_end(
    work: "Work", groups: Sequence[Group], engine: Engine = engines.here, wait: bool = True
) -> Iterator[tuple[int, Event]]:
    """Do the work of these groups; then wait for what others are at, and do what they leave. Yields (index of the
    group, what happened). wait: False leaves to others what they are at.

    Raises where ensembles ended in an error, when all others are done: the error of the only one, or
    `EnsemblesFailed`; and `Unwritable` as soon as those at work are done.
    """
    leases, ready = Leases(work.store.out), list(enumerate(groups))
    waiting: list[tuple[int, Group]] = []
    failed: dict[int, Exception] = {}
    while ready or waiting:
        for place, event in engine(work, [group for _, group in ready]) if ready else ():
            index = ready[place][0]
            yield index, event
            if isinstance(event, Elsewhere) and event.held and wait:
                waiting.append((index, Group(event.held)))
            if isinstance(event, Raised):
                failed[index] = event.error
        for error in failed.values():
            if isinstance(error, Unwritable):
                raise error
        held, ready, waiting = waiting, [], []
        free = set(leases.free([own for _, group in held for own in group.ids]))
        for index, group in held:
            left = work.store.missing(group.members)
            if done := _without(group.members, left):
                yield index, Elsewhere(done, tuple(left))
            if left:
                rest = Group(tuple(left))
                (waiting if free.isdisjoint(rest.ids) else ready).append((index, rest))
        if waiting and not ready:
            time.sleep(LOOK_SECONDS)
    if failed and len(groups) == 1:
        raise failed[0]
    if failed:
        raise EnsemblesFailed([(groups[index], error) for index, error in sorted(failed.items())])


@dataclass(frozen=True)
class Work:
    """Train, measure and publish a group, by halves where it does not fit the memory; without what others have made or
    are at.

    beside: ids of runs whose teachers are calibrated beside their training (`dmdlab.lab.beside`).

    Raises `InputError` when a run does not fit even alone.
    """

    store: Store
    device: torch.device
    way: Way | None = None
    beside: frozenset[str] = frozenset()

    def __call__(self, group: Group) -> Iterator[Event]:
        """What happens, as it does."""
        left, leases = self.store.missing(group.members), Leases(self.store.out)
        if not left or not leases.free([e.id for e in left]):  # which no lease is needed to see
            yield Elsewhere(_without(group.members, left), tuple(left))
            return
        with leases.held(group.ids) as ours:
            free = [e for e in group.members if e.id in ours]
            todo = self.store.missing(free)  # which another may have published before this lease
            held, done = _without(group.members, free), _without(free, todo)
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
        with beside(group, self.store) if self.beside.issuperset(group.ids) else nullcontext():
            for event in run_group(group, self.store, self.device, self.way, clock):
                if isinstance(event, Progress):
                    yield event
                    if (most := peak_bytes(self.device)) is not None:
                        yield Taken(os.getpid(), most, socket.gethostname())
                    continue
                place = environment(self.device, clock.share(len(group)), precision, clock.ways)
                ours = self.store.put(event, place)
                yield Finished(event.experiment, self.store.folder(event.experiment), event.summary["status"], ours)
        self.store.checkpoint(group, self.device).clear()


def _without(experiments: Sequence[Experiment], others: Sequence[Experiment]) -> tuple[Experiment, ...]:
    """Those that are not among others."""
    ids = {e.id for e in others}
    return tuple(e for e in experiments if e.id not in ids)


def _killed(how: str, groups: Sequence[Group], store: Store) -> str:
    """The sentence for a worker that was ended from outside."""
    left = [(group, len(todo)) for group in groups if (todo := store.missing(group.members))]
    runs = sum(map(len, groups))
    kept = runs - sum(todo for _, todo in left)
    named = first_names([f"{shape_name(g)} (lacks {todo} of {len(g)} runs)" for g, todo in left])
    return (
        f"a worker was {how}; {kept} of {runs} runs are finished and kept in "
        f"{store.out}; unfinished ensembles: {named}; the same command goes on: give it fewer --workers or a "
        "smaller --memory"
    )
