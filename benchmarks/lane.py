"""A process of its own for each contestant, as a user would run it.

dmdlab tunes its process (glibc's allocator), the peers' are left as they are; TF32 and threads are switches of a whole
process; and a peak of memory belongs to a process. So contestants live apart and take turns: while one works, the
others wait.
"""

import gc
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar
from unittest.mock import patch

from benchmarks.contestants import Contestant, build
from benchmarks.measure import Options, Turn
from benchmarks.points import JAX, Job

R = TypeVar("R")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NPROC")
"""Where libraries look for how many threads they may take when they are loaded; the last is XLA's."""


class Lane:
    """A process with one contestant at a time. A context manager: leaving it ends the process.

    tuned: whether the allocator is tuned as dmdlab does it. cache: a folder for compiled code, '' for the user's own.
    With `options.quick` all stays in this process, as it is.
    """

    job: Job | None = None

    def __init__(self, options: Options, tuned: bool, cache: str = "") -> None:
        self.pool: ProcessPoolExecutor | None = None
        self.own: Contestant | None = None  # on a lane in this process
        if not options.quick:
            spawn = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(1, spawn, initializer=_enter, initargs=(options.threads, tuned))
            kept = {"TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch", "JAX_COMPILATION_CACHE_DIR": f"{cache}/jax"}
            kept |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
            with patch.dict(os.environ, dict.fromkeys(THREADS, str(options.threads)) | (kept if cache else {})):
                self.pool.submit(int)  # starts the process

    def __enter__(self) -> "Lane":
        return self

    def __exit__(self, *error: object) -> None:
        if self.pool:
            self.pool.shutdown()

    def call(self, function: Callable[..., R], *args: Any) -> R:
        """`function` of a module, run over there; its error is raised here."""
        return self.pool.submit(function, *args).result() if self.pool else function(*args)

    def enter(self, job: Job) -> float:
        """Put a contestant on the lane, if it is another; the seconds until its first cycle was done."""
        if job == self.job:
            return 0.0
        self.job, start = job, time.perf_counter()
        if self.pool:
            return self.call(_build, job)
        self.own = build(job)
        return time.perf_counter() - start

    @property
    def turn(self) -> Turn:
        """A turn of the contestant on the lane: the time of so many cycles, in seconds."""
        return (lambda units: self.call(_seconds, units)) if self.own is None else self.own.seconds


_contestant: Contestant | None = None
"""In a lane's process: who is on it."""


def _enter(threads: int, tuned: bool) -> None:
    import torch

    from dmdlab.device.allocator import tune_allocator

    torch.set_num_threads(threads)
    if tuned:
        tune_allocator()


def _build(job: Job) -> float:
    import torch

    global _contestant
    _contestant = None
    gc.collect()
    if job.device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(job.device)
    if job.who in JAX:
        importlib.import_module("benchmarks.jax_loop")
    start = time.perf_counter()
    _contestant = build(job)
    return time.perf_counter() - start


def allocated(device: str) -> int:
    """In a lane: bytes that a GPU's allocator gave out at most since the contestant entered."""
    import torch

    return int(torch.cuda.max_memory_allocated(device))


def _seconds(units: int) -> float:
    assert _contestant is not None, "no contestant has entered this lane"
    return _contestant.seconds(units)
