"""Where groups are worked on: in this process, or shared out to several on this machine.

An engine is a function of `work` and groups. `work(group)` does what there is to do and yields what happens; an engine
yields it on as (index of the group, event). It knows nothing of what the work is.
"""

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import Empty
from typing import Any

import torch

from dmdlab.config import InputError
from dmdlab.device.allocator import tune_allocator
from dmdlab.device.limits import threads_each
from dmdlab.group import Group
from dmdlab.trouble import number_of, told

Work = Callable[[Group], Iterator[Any]]
"""What is done with a group; it must survive pickling."""

CAUSES = {
    "SIGKILL": "probably because memory ran out",  # Linux sends it when RAM or a control group's share of it does
    "SIGBUS": "as when /dev/shm or the disk under a mapped file is full or gone",
    "SIGXCPU": "as it used up the time that `ulimit -t` allows",
}
"""Signals by which the system ends a process, and what that is mostly about."""

_events: Any = None
"""In a worker: the queue to the parent."""


class WorkerKilled(RuntimeError):
    """A worker process was ended before its work was. The text: how, and the likely cause where one is known."""


def here(work: Work, groups: Sequence[Group]) -> Iterator[tuple[int, Any]]:
    """One group after the other, in this process."""
    tune_allocator()
    for index, group in enumerate(groups):
        for event in work(group):
            yield index, event


def processes(work: Work, groups: Sequence[Group], workers: int) -> Iterator[tuple[int, Any]]:
    """On so many worker processes of this machine.

    An error in a worker is raised here after the others' work is done. Interrupting stops all workers, and so does a
    worker that the system kills: `WorkerKilled`. Raises `InputError` where the system refuses what several processes
    share.
    """
    events, pool = _started(workers)
    try:
        jobs = [pool.submit(_do, work, index, group) for index, group in enumerate(groups)]
        yield from _listen(events, jobs)
        pool.shutdown()
    except BaseException as error:
        broken, workers_ = isinstance(error, BrokenProcessPool), list((pool._processes or {}).values())
        pool.shutdown(wait=broken, cancel_futures=True)  # a broken pool ends its workers itself
        for process in workers_:
            process.terminate()
        if broken:
            raise WorkerKilled(_how_ended([process.exitcode for process in workers_])) from error
        raise


def _how_ended(codes: "Sequence[int | None]") -> str:
    """'killed, probably because memory ran out': of the first worker, as the others are ended by SIGTERM after it."""
    ended = sorted((code for code in codes if code), key=lambda code: code == -signal.SIGTERM)
    if not ended or ended[0] > 0:
        return "ended, with exit code " + str(ended[0] if ended else 0)
    name = signal.Signals(-ended[0]).name if -ended[0] in set(signal.Signals) else f"signal {-ended[0]}"
    how = "killed" if name == "SIGKILL" else f"ended by {name}"
    return f"{how}, {CAUSES[name]}" if name in CAUSES else how


def _started(workers: int) -> tuple[Any, ProcessPoolExecutor]:
    """The queue that workers speak through, and a pool of them. Their semaphores lie in /dev/shm on Linux."""
    context = multiprocessing.get_context("spawn")  # a forked process could not use a GPU that this one has touched
    try:
        events = context.Queue()
        pool = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_enter, initargs=(events, threads_each(workers))
        )
    except (OSError, ImportError) as error:  # ImportError: a Python built without semaphores
        number = number_of(error)
        why = "it is full" if number == errno.ENOSPC else told(error, reading=True)
        raise InputError(
            f"{workers} workers need semaphores, which lie in /dev/shm on Linux, and cannot have them ({why}): give "
            "--workers 1, or a larger /dev/shm (as with `docker run --shm-size=1g`)"
        ) from error
    return events, pool


def _listen(events: Any, jobs: "list[Future[None]]") -> Iterator[tuple[int, Any]]:
    """Everything that the workers say until all jobs are done; then the first job's error, if there is one."""
    while True:
        over = all(job.done() for job in jobs)
        try:
            yield events.get(timeout=0.2)
        except Empty:
            if over:
                break
    for job in jobs:
        job.result()


def _enter(events: Any, threads: int) -> None:
    """A worker's start: Ctrl-C and a hang-up are the parent's business, and the cores are shared."""
    global _events
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):  # which a closed terminal sends to all of its processes
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(threads))  # else a process for each core of the machine
    torch.set_num_threads(threads)
    tune_allocator()
    _events = events


def _leave_with_parent() -> None:
    """End this process when the one that started it has: killed by a scheduler, it can tell nobody."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _do(work: Work, index: int, group: Group) -> None:
    for event in work(group):
        _events.put((index, event))
