"""Groups on a Ray cluster (Ray Core): a task for each, wherever there is room for it.

A task yields what happens as its results (a streaming generator), so that all of it comes to the driver in order. Only
settings and paths travel. Few more tasks are asked for than have room (back-pressure). Where a worker or its machine
dies, the group begins anew elsewhere, for what it has not published; an error of the work itself is never tried again.
"""

import math
import os
import pickle
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from dmdlab.config import InputError
from dmdlab.device import stopping
from dmdlab.group import Group
from dmdlab.lab.engines import At, Lost, Raised, WorkerKilled
from dmdlab.trouble import Unwritable

LOOK = 2.0
"""Seconds between two looks at what happens where nothing does (ours)."""

WITHOUT_ROOM = 120.0
"""Seconds that a cluster may have no machine for a task, as while one is replaced (ours)."""

GRACE = 20.0
"""Seconds that interrupted tasks have to leave as they should (ours)."""

STOP = getattr(signal, "SIGUSR1", signal.SIGINT)
"""What tells a task to stop: Ray's workers block SIGINT."""

Opened = Callable[[Group], AbstractContextManager[tuple[Sequence[Any], Any]]]
"""What is held here while a group is at work elsewhere; gives events that happen at once, and the task's job."""


@dataclass(frozen=True)
class Terms:
    """What a task asks of its machine, and how tasks go. memory: bytes, which Ray books. retries: times that a group
    begins anew. most: tasks at a time."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0
    threads: int = 1
    retries: int = 2
    most: int | None = None


@dataclass(frozen=True)
class Machine:
    """A living machine of a cluster. memory: bytes that tasks may book."""

    host: str
    cpus: float
    gpus: float
    memory: int

    def room(self, terms: Terms) -> int:
        """Tasks that it holds at a time."""
        room = [self.cpus // terms.cpus if terms.cpus else math.inf]
        room += [(self.gpus + 1e-3) // terms.gpus] if terms.gpus else []
        room += [self.memory // terms.memory] if terms.memory else []
        return int(min(room))


class Cluster:
    """A Ray cluster that this process has joined."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray

    def machines(self) -> list[Machine]:
        """Those alive."""
        found = []
        for node in self.ray.nodes():
            has = node["Resources"]
            if node["Alive"] and has:
                cpus, gpus, memory = (has.get(key, 0.0) for key in ("CPU", "GPU", "memory"))
                found.append(Machine(node["NodeManagerHostname"], cpus, gpus, int(memory)))
        return found

    def room(self, terms: Terms) -> int:
        """Tasks that all machines together hold at a time."""
        return sum(machine.room(terms) for machine in self.machines())

    def once(self, terms: Terms, call: Callable[..., Any], *given: Any) -> Any:
        """What `call` returns, on a machine of the cluster. Its error is raised."""
        task = self.ray.remote(_call).options(max_retries=0, **_asked(terms))
        try:
            return self.ray.get(task.remote(_variables(terms), pickle.dumps((call, given))))
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error


def tasks(
    cluster: Cluster,
    work: Callable[[Any], Iterator[Any]],
    groups: Sequence[Group],
    terms: Terms,
    opened: Opened = lambda group: nullcontext(((), group)),
) -> Iterator[tuple[int, Any]]:
    """Do the work of these groups on a cluster; yields as every engine does, and `At` and `Lost` among it. work, and
    what it is called with, survive pickling.

    A wish to stop (`dmdlab.device.stopping`) goes to all tasks. It is raised here when they have left and what they
    still said has been yielded, or when none says anything for `GRACE` seconds; a second one ends them at once. Raises
    `InputError` where no machine has room for a task.
    """
    sent = _Tasks(cluster, work, groups, terms, opened)
    since, heard = time.monotonic(), math.inf
    try:
        with stopping.until_kept():
            while sent.waiting or sent.running:
                if stopping.asked() and heard == math.inf:
                    sent.interrupt()
                    heard = time.monotonic()
                if time.monotonic() - heard > GRACE:
                    break
                if room := cluster.room(terms):
                    since = time.monotonic()
                elif time.monotonic() - since > (WITHOUT_ROOM if sent.again or sent.running else 0):
                    raise InputError(no_room(cluster, terms))
                yield from sent.send(room)
                for told in sent.hear():
                    heard = heard if heard == math.inf else time.monotonic()
                    yield told
    finally:
        sent.end(GRACE if heard == math.inf else 0.0)


class _Tasks:
    """The groups that wait, and the tasks at work on others, with what is held open for each.

    Attributes:
        waiting: (index, group) of those that are not yet sent.
        running: by task, its group's index, and what is closed when it ends.
        again: how often a group's task was lost, by index.
    """

    def __init__(
        self,
        cluster: Cluster,
        work: Callable[[Any], Iterator[Any]],
        groups: Sequence[Group],
        terms: Terms,
        opened: Opened,
    ) -> None:
        self._ray, self._groups, self._terms, self._opened = cluster.ray, groups, terms, opened
        self._task = self._ray.remote(_task).options(num_returns="streaming", max_retries=0, **_asked(terms))
        self._work, self._places = self._ray.put(pickle.dumps(work)), dict[Any, At]()
        self.waiting, self.again = deque(enumerate(groups)), Counter[int]()
        self.running: dict[Any, tuple[int, ExitStack]] = {}

    def send(self, room: int) -> Iterator[tuple[int, Any]]:
        """Send groups, where the cluster holds `room` at a time; yields what opening one says."""
        most = self._terms.most
        while self.waiting and len(self.running) < (min(room, most or room) if most else 2 * room):
            index, group = self.waiting.popleft()
            with ExitStack() as held:
                told, job = held.enter_context(self._opened(group))
                yield from ((index, event) for event in told)
                if job is not None:
                    one = self._task.remote(_variables(self._terms), self._work, pickle.dumps(job))
                    self.running[one] = index, held.pop_all()

    def hear(self) -> Iterator[tuple[int, Any]]:
        """Wait for `LOOK` seconds at most; yields what tasks say, and how they end."""
        if not self.running:
            time.sleep(LOOK if self.waiting else 0)
            return
        errors = self._ray.exceptions
        for one in self._ray.wait(list(self.running), timeout=LOOK)[0]:
            index, held = self.running[one]
            try:
                event = self._ray.get(next(one))
                if isinstance(event, At):
                    self._places[one] = event
                yield index, event
                continue
            except StopIteration:
                pass
            except errors.RayTaskError as error:
                cause = error.cause if isinstance(error.cause, Exception) else RuntimeError(str(error))
                yield index, Raised(cause)
                if isinstance(cause, Unwritable):
                    self.waiting.clear()
            except errors.RayError as error:
                if not stopping.asked():  # else it has left, as it should
                    yield index, self._lost(index, _how(error))
            del self.running[one]
            self._places.pop(one, None)
            held.close()

    def _lost(self, index: int, how: str) -> Raised | Lost:
        """Have a group that was lost wait once more, unless it was too often."""
        self.again[index] += 1
        if self.again[index] > self._terms.retries:
            return Raised(WorkerKilled(f"{how}, {self.again[index]} times; tried no more"))
        self.waiting.append((index, self._groups[index]))
        return Lost(how, self.again[index], self._terms.retries)

    def interrupt(self) -> None:
        """Send no more, and let the tasks end at their next safe point."""
        self.waiting.clear()
        _interrupt(self._ray, self.running, self._places)

    def end(self, grace: float) -> None:
        """Interrupt what is at work, and wait so many seconds until it has left; 0 ends it at once."""
        left, end = list(self.running), time.monotonic() + grace
        if grace:
            _cancel(self._ray, self.running)
        while left and time.monotonic() < end:
            for one in self._ray.wait(left, timeout=LOOK)[0]:
                try:
                    self._ray.get(next(one))
                except (Exception, StopIteration):
                    left.remove(one)
        _cancel(self._ray, left, force=True)
        for _, held in self.running.values():
            held.close()


def no_room(cluster: Cluster, terms: Terms) -> str:
    """The sentence for tasks that no machine has room for."""
    from dmdlab.device.limits import size_text

    needs = [f"{terms.cpus:g} CPUs"] + ([f"{terms.gpus:g} GPUs"] if terms.gpus else [])
    needs += [size_text(terms.memory)] if terms.memory else []
    there = [f"{m.host}: {m.cpus:g} CPUs, {m.gpus:g} GPUs, {size_text(m.memory)}" for m in cluster.machines()]
    return (
        f"no machine of the Ray cluster has room for an ensemble ({', '.join(needs)}); there are "
        f"{'; '.join(there) or 'none'}: start Ray on larger ones, or give a smaller --gpu-share or --memory"
    )


def _asked(terms: Terms) -> dict[str, Any]:
    """A task's options."""
    asked: dict[str, Any] = {"num_cpus": terms.cpus, "num_gpus": terms.gpus}
    return asked | ({"memory": terms.memory} if terms.memory else {})


def _variables(terms: Terms) -> dict[str, str]:
    """A worker's environment. Ray leaves all GPUs to a task that asks for none."""
    given = {"OMP_NUM_THREADS": str(terms.threads), "TORCHINDUCTOR_COMPILE_THREADS": str(terms.threads)}
    return given if terms.gpus else given | {"CUDA_VISIBLE_DEVICES": ""}


def _enter(variables: dict[str, str]) -> None:
    os.environ.update(variables)
    import torch

    from dmdlab.device.allocator import tune_allocator

    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))
    tune_allocator()


def _task(variables: dict[str, str], sent: bytes, job: bytes) -> Iterator[Any]:
    """In a worker of the cluster. Interrupted, it ends at the next safe point of a training."""

    def stop(number: int, frame: object) -> None:
        stopping.stop(KeyboardInterrupt())

    with suppress(ValueError):  # not in the main thread
        for number in (signal.SIGINT, STOP):
            signal.signal(number, stop)
    with suppress(KeyboardInterrupt):
        yield At(socket.gethostname(), os.getpid())
        _enter(variables)
        yield from pickle.loads(sent)(pickle.loads(job))


def _call(variables: dict[str, str], sent: bytes) -> Any:
    _enter(variables)
    call, given = pickle.loads(sent)
    return call(*given)


def _how(error: Exception) -> str:
    """In few words, how a task was lost."""
    name, text = type(error).__name__, " ".join(str(error).split())
    known = {
        "WorkerCrashedError": "its worker died",
        "NodeDiedError": "its machine left the cluster",
        "OutOfMemoryError": "its worker was killed, as its machine's memory ran out",
        "LocalRayletDiedError": "Ray on its machine died",
        "OwnerDiedError": "its machine left the cluster",
        "ObjectLostError": "its machine left the cluster",
    }
    return known.get(name, f"it was lost ({name}: {text[:200]})")


def _interrupt(ray: Any, running: Iterable[Any], places: Mapping[Any, At]) -> None:
    """Let tasks end at their next safe point. Of one that Ray itself cancels nothing is heard any more: so only of
    those that are not yet at work."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    nodes = {node["NodeManagerHostname"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}
    for one in running:
        place = places.get(one)
        if place is None or place.host not in nodes:
            _cancel(ray, [one])
            continue
        how = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": On(nodes[place.host], soft=False)}
        ray.remote(_signal).options(**how).remote(place.process)


def _signal(process: int) -> None:
    os.kill(process, STOP)


def _cancel(ray: Any, running: Iterable[Any], force: bool = False) -> None:
    """Wish that tasks stop. force: end their processes."""
    for one in running:
        with suppress(Exception):
            ray.cancel(one, force=force)
