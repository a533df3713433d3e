"""A process of its own for each contestant, as a user would run it.

dmdlab tunes its process (glibc's allocator), the peer's is left as it is; TF32 is a switch of the whole process; and a
peak of memory belongs to a process. So contestants live apart and take turns: while one works, the others wait.
"""

import gc
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

from benchmarks.contestants import Contestant, Job

P, R = ParamSpec("P"), TypeVar("R")

_contestant: Contestant | None = None
"""In a lane: who is on it."""


class Lane:
    """A process with one contestant at a time. A context manager: leaving it ends the process.

    threads: of torch there. tuned: whether the allocator is tuned as `dmdlab` does it. apart: False stays in this
    process, as it is, for tests that want to know that a benchmark runs and not how fast.
    """

    def __init__(self, threads: int, tuned: bool, apart: bool = True) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = (
            ProcessPoolExecutor(1, mp_context=context, initializer=_enter, initargs=(threads, tuned)) if apart else None
        )
        self.own: Contestant | None = None  # on a lane in this process

    def __enter__(self) -> "Lane":
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool:
            self.pool.shutdown()

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`function` of a module, run over there; its error is raised here."""
        global _contestant
        if self.pool:
            return self.pool.submit(function, *args, **kwargs).result()
        _contestant = self.own
        result = function(*args, **kwargs)
        self.own = _contestant
        return result

    def enter(self, job: Job) -> float:
        """Put a new contestant on the lane; the seconds that building it took."""
        return self.call(_build, job)

    def seconds(self, units: int) -> float:
        """A turn: the time of so many units of work."""
        return self.call(_seconds, units)


def current() -> Contestant:
    """In a lane: the contestant there."""
    assert _contestant is not None, "no contestant has entered this lane"
    return _contestant


def peak_bytes(device: str) -> int:
    """In a lane: the most memory so far, of the device's allocator on a GPU, else of the process."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def _enter(threads: int, tuned: bool) -> None:
    import torch

    from dmdlab.lab.environment import tune_allocator

    torch.set_num_threads(threads)
    if tuned:
        tune_allocator()


def _build(job: Job) -> float:
    import torch

    from benchmarks.contestants import build

    global _contestant
    _contestant = None
    gc.collect()
    if job.device.startswith("cuda"):
        torch.cuda.empty_cache()
    start = time.perf_counter()
    _contestant = build(job)
    return time.perf_counter() - start


def _seconds(units: int) -> float:
    return current().seconds(units)
