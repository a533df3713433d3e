"""Ensembles on several processes of one machine. Each writes its own runs; the parent hears how it goes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import torch

from dmdlab.config import Experiment, InputError
from dmdlab.device.allocator import tune_allocator
from dmdlab.device.limits import release_memory, threads_each
from dmdlab.lab.plan import shape_name

if TYPE_CHECKING:
    from dmdlab.lab.sweep import Event

KILLED = -9
"""Exit code of a process that SIGKILL ended: Linux sends it when RAM or a control group's share of it runs out."""

NAMED = 5
"""Unfinished ensembles that are named when a worker was killed."""

_events: Any = None
"""In a worker: the queue to the parent."""


def share_out(
    groups: list[list[Experiment]], out: Path, device: torch.device, workers: int, graph: bool | None = None
) -> Iterator[tuple[int, "Event"]]:
    """Run the ensembles on `workers` processes; yields (index, event) as they come in.

    An error in a worker is raised here after the others' finished runs are written. Interrupting stops all workers, and
    so does a worker that is killed: `InputError`.
    """
    context = multiprocessing.get_context("spawn")  # a forked process could not use a GPU that this one has touched
    events = context.Queue()
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_enter, initargs=(events, threads_each(workers))
    )
    try:
        jobs = [pool.submit(_work, index, group, out, device, graph) for index, group in enumerate(groups)]
        yield from _listen(events, jobs)
        pool.shutdown()
    except BaseException as error:
        broken, processes = isinstance(error, BrokenProcessPool), list((pool._processes or {}).values())
        pool.shutdown(wait=broken, cancel_futures=True)  # a broken pool ends its workers itself
        for process in processes:
            process.terminate()
        if broken and KILLED in [process.exitcode for process in processes]:
            raise InputError(_killed(groups, out)) from error
        raise


def _listen(events: Any, jobs: "list[Future[None]]") -> Iterator[tuple[int, "Event"]]:
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


def _killed(groups: list[list[Experiment]], out: Path) -> str:
    """The sentence for a worker that was killed."""
    from dmdlab.lab.sweep import missing

    left = [(group[0], len(group), len(todo)) for group in groups if (todo := missing(group, out))]
    runs = sum(map(len, groups))
    kept = runs - sum(todo for *_, todo in left)
    named = ", ".join(f"{shape_name(e)} (lacks {todo} of {size} runs)" for e, size, todo in left[:NAMED])
    more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
    return (
        f"a worker was killed, probably because memory ran out; {kept} of {runs} runs are finished and kept in {out}; "
        f"unfinished ensembles: {named}{more}; the same command goes on: give it fewer --workers or a smaller --memory"
    )


def _enter(events: Any, threads: int) -> None:
    """A worker's start: Ctrl-C is the parent's business, and the cores are shared."""
    global _events
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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


def _work(index: int, group: list[Experiment], out: Path, device: torch.device, graph: bool | None) -> None:
    from dmdlab.lab.sweep import work

    release_memory(device)
    for event in work(group, out, device, graph):
        _events.put((index, event))
