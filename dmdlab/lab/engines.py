"""Where groups are worked on: in this process, or shared out to several on this machine.

An engine is a function of `work` and groups. `work(group)` does what there is to do and yields what happens; an engine
yields it on as (index of the group, event). It knows nothing of what the work is. Where the work of a group ends in an
error, it yields `Raised` and goes on with the others; but where the disk takes no more, it begins nothing new.
`dmdlab.lab.on_ray` is an engine for many machines.
"""

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from queue import Empty
from typing import Any

import torch

from dmdlab.config import InputError
from dmdlab.device import stopping
from dmdlab.device.allocator import tune_allocator
from dmdlab.device.limits import threads_each
from dmdlab.group import Group
from dmdlab.trouble import Unwritable, explained, number_of

PerGroup = Callable[[Group], Iterator[Any]]
"""What is done with a group; it must survive pickling."""

CAUSES = {
    "SIGKILL": "probably because memory ran out",  # Linux sends it when RAM or a control group's share of it does
    "SIGBUS": "as when /dev/shm or the disk under a mapped file is full or gone",
    "SIGXCPU": "as it used up the time that `ulimit -t` allows",
}
"""Signals by which the system ends a process, and what that is mostly about."""

_events: Any = None
"""In a worker: the queue to the parent."""

LAST_WORDS = 5.0
"""Seconds that a worker which stops waits until all is said: one killed as it spoke holds the queue for ever."""


class WorkerKilled(RuntimeError):
    """A worker process was ended before its work was. The text: how, and the likely cause where one is known."""


@dataclass(frozen=True)
class Raised:
    """The work of a group ended in an error, and is not tried again; the others' goes on."""

    error: Exception


@dataclass(frozen=True)
class At:
    """The work of a group begins, in this process of this machine."""

    host: str
    process: int


@dataclass(frozen=True)
class Lost:
    """A worker, or its machine, died at the work of a group, which begins anew: `again` of `most` times. why: how."""

    why: str
    again: int
    most: int


def here(work: PerGroup, groups: Sequence[Group]) -> Iterator[tuple[int, Any]]:
    """One group after the other, in this process."""
    tune_allocator()
    for index, group in enumerate(groups):
        try:
            for event in work(group):
                yield index, event
        except Exception as error:
            yield index, Raised(error)
            if isinstance(error, Unwritable):
                return


def processes(
    work: PerGroup, groups: Sequence[Group], workers: int, gpus: Sequence[str] = ()
) -> Iterator[tuple[int, Any]]:
    """On so many worker processes of this machine. gpus: as CUDA_VISIBLE_DEVICES names them; workers take them in turn,
    and each sees its own only.

    A wish to stop (`dmdlab.device.stopping`) goes to all workers, and is raised here when they have kept what they
    train; a second one ends them at once, and so does a worker that the system kills: `WorkerKilled`. Raises
    `InputError` where the system refuses what several processes share.
    """
    events, pool = _started(workers, gpus)
    try:
        with stopping.until_kept():
            for _ in range(workers):  # what ends early makes the pool look at its processes again, when all have begun:
                pool.submit(os.getpid)  # it may miss the death of one that began after its first look (Python 3.11)
            jobs = [pool.submit(_do, work, index, group) for index, group in enumerate(groups)]
            yield from _listen(events, jobs, pool)
        pool.shutdown()
    except BaseException as error:
        broken, workers_ = isinstance(error, BrokenProcessPool), list((pool._processes or {}).values())
        pool.shutdown(wait=broken, cancel_futures=True)  # a broken pool ends its workers itself
        for process in workers_:
            process.kill()
        if broken:
            raise WorkerKilled(_how_ended([process.exitcode for process in workers_])) from error
        raise


def _how_ended(codes: "Sequence[int | None]") -> str:
    """'killed, probably because memory ran out': of the first worker, as the others are ended by SIGTERM after it."""
    known = (-signal.SIGTERM if code == stopping.STOPPED else code for code in codes)
    ended = sorted((code for code in known if code), key=lambda code: code == -signal.SIGTERM)
    if not ended or ended[0] > 0:
        return "ended, with exit code " + str(ended[0] if ended else 0)
    name = signal.Signals(-ended[0]).name if -ended[0] in set(signal.Signals) else f"signal {-ended[0]}"
    how = "killed" if name == "SIGKILL" else f"ended by {name}"
    return f"{how}, {CAUSES[name]}" if name in CAUSES else how


def _started(workers: int, gpus: Sequence[str]) -> tuple[Any, ProcessPoolExecutor]:
    """The queue that workers speak through, and a pool of them. Their semaphores lie in /dev/shm on Linux."""
    context = multiprocessing.get_context("spawn")  # a forked process could not use a GPU that this one has touched
    try:
        events, own = context.Queue(), context.SimpleQueue()
        for worker in range(workers if gpus else 0):
            own.put(gpus[worker % len(gpus)])
        pool = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_enter,
            initargs=(events, threads_each(workers), own if gpus else None),
        )
    except (OSError, ImportError) as error:  # ImportError: a Python built without semaphores
        number = number_of(error)
        why = "it is full" if number == errno.ENOSPC else explained(error, reading=True)
        raise InputError(
            f"{workers} workers need semaphores, which lie in /dev/shm on Linux, and cannot have them ({why}): give "
            "--workers 1, or a larger /dev/shm (as with `docker run --shm-size=1g`)"
        ) from error
    return events, pool


def _listen(events: Any, jobs: "list[Future[None]]", pool: ProcessPoolExecutor) -> Iterator[tuple[int, Any]]:
    """Everything that the workers say until all jobs are done, the errors that they end with among it; where somebody
    wishes to stop, until all workers have."""
    left, stopped = dict(enumerate(jobs)), None
    while True:
        if stopping.asked() and stopped is None:
            stopped = list((pool._processes or {}).values())
            for process in stopped:
                process.terminate()  # for them a wish, `_stop`
        over = [index for index, job in left.items() if job.done()]
        if any(isinstance(_error(left[index]), Unwritable) for index in over):
            for job in left.values():
                job.cancel()
        try:
            yield events.get(timeout=0.2)
        except Empty:  # so that all is heard that those said who are done by now
            if stopped is not None:
                if not any(process.is_alive() for process in stopped):
                    stopping.safe_point()
                continue
            for index in over:
                error = _error(left.pop(index))
                if isinstance(error, BrokenProcessPool) or not isinstance(error, Exception | None):
                    raise error from None
                if error is not None:
                    yield index, Raised(error)
            if not left:
                break


def _error(job: "Future[None]") -> BaseException | None:
    """What a job that is over ended in; None where in nothing, or it was never begun."""
    return None if job.cancelled() else job.exception()


def _enter(events: Any, threads: int, gpus: Any) -> None:
    """A worker's start: Ctrl-C and a hang-up are the parent's business, and cores and GPUs are shared."""
    global _events
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    if hasattr(signal, "SIGHUP"):  # which a closed terminal sends to all of its processes
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus.get()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(threads))  # else a process for each core of the machine
    torch.set_num_threads(threads)
    tune_allocator()
    _events = events


def leave_with_parent() -> None:
    """End this process when the one that started it has: killed by a scheduler, it can tell nobody."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _stop(number: int, frame: object) -> None:
    """In a worker: end at the next safe point of a training, or at once where there is none. Once, as a scheduler may
    say it to every process, and the parent says it, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stopping.stop(SystemExit(stopping.STOPPED))


def _do(work: PerGroup, index: int, group: Group) -> None:
    try:
        for event in work(group):
            _events.put((index, event))
    except SystemExit:  # the pool would go on with the next job
        _events.close()
        said = threading.Thread(target=_events.join_thread, daemon=True)
        said.start()
        said.join(LAST_WORDS)
        os._exit(stopping.STOPPED)
