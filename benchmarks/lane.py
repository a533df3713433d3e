"""A process of its own for each contestant, as a user would run it.

dmdlab tunes its process (glibc's allocator), the peer's is left as it is; TF32 is a switch of the whole process; and a
peak of memory belongs to a process. So contestants live apart and take turns: while one works, the others wait.
"""

import gc
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar
from unittest.mock import patch

from benchmarks.contestants import Contestant, Job
from benchmarks.measure import Options

R = TypeVar("R")

BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""How many threads numpy's products take is asked of the environment, when numpy is imported."""

_contestant: Contestant | None = None
"""In a lane: who is on it."""


class Lane:
    """A process with one contestant at a time. A context manager: leaving it ends the process.

    tuned: whether the allocator is tuned as `dmdlab` does it. With `options.quick` all stays in this process, as it is.
    """

    def __init__(self, options: Options, tuned: bool) -> None:
        self.pool: ProcessPoolExecutor | None = None
        self.own: Contestant | None = None  # on a lane in this process
        if not options.quick:
            spawn = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(1, spawn, initializer=_enter, initargs=(options.threads, tuned))
            with patch.dict(os.environ, dict.fromkeys(BLAS, str(options.threads))):
                self.pool.submit(int)  # starts the process

    def __enter__(self) -> "Lane":
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool:
            self.pool.shutdown()

    def call(self, function: Callable[..., R], *args: Any) -> R:
        """`function` of a module, run over there; its error is raised here."""
        global _contestant
        if self.pool:
            return self.pool.submit(function, *args).result()
        _contestant = self.own
        result = function(*args)
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


def _enter(threads: int, tuned: bool) -> None:
    import torch

    from dmdlab.device.allocator import tune_allocator

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
