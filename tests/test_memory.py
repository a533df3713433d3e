"""Bytes of the machine and of a process, and what happens when the memory does not suffice after all."""

import os
import pickle
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, do, experiments

from dmdlab.cli.means import bytes_of
from dmdlab.config import InputError
from dmdlab.device import limits
from dmdlab.group import Group
from dmdlab.lab import sweep
from dmdlab.lab.plan import plan
from dmdlab.lab.run import DISTILLING, MEASURING, Progress, run_group
from dmdlab.lab.store import RunResult, Store
from dmdlab.records.record import load_records

GPU = torch.device("cuda")  # simulated: nothing below asks the device itself


# --- bytes of the machine


@pytest.mark.parametrize(("workers", "left"), [(1, 8.0), (2, 7.0), (3, 6.5), (40, 0.0)])
def test_workers_that_share_a_gpu_leave_room_for_each_others_setup(
    workers: int, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8 * 2**30, 80 * 2**30))
    assert limits.memory(GPU, workers) == int(limits.SHARE * left * 2**30)


@pytest.mark.parametrize(
    ("device", "workers", "left"),
    [(CPU, 1, 7.5), (CPU, 2, 6.5), (CPU, 16, 0.0), (GPU, 1, 0.9 * 7.5), (GPU, 3, 0.9 * 6.0), (GPU, 40, 0.0)],
)
def test_every_process_takes_its_part_of_what_is_stated(
    device: torch.device, workers: int, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers, and the process that started them."""
    monkeypatch.setattr(limits, "PROCESS", 2**29)
    assert limits.memory(device, workers, 8 * 2**30) == int(left * 2**30)


@pytest.mark.parametrize(("workers", "left"), [(1, 6.0), (4, 4.8), (20, 0.0)])
def test_workers_take_their_part_of_the_ram_that_is_free(
    workers: int, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROCESS", 2**29)
    monkeypatch.setattr(limits, "available", lambda: 10 * 2**30)
    assert limits.memory(CPU, workers) == int(left * 2**30)


@pytest.mark.parametrize(
    ("text", "size"), [("8GiB", 8 * 2**30), ("500 MB", 5 * 10**8), ("0.5tib", 2**39), ("1.5GB", 15 * 10**8)]
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "8", "8G", "GiB", "-1GiB", "0MiB", "1e3MiB", "8 gigabytes", "nan GiB"])
def test_other_words_are_no_size(text: str) -> None:
    with pytest.raises(InputError, match="expected a number and a unit, as in 8GiB"):
        bytes_of(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (2048, "2.0 KiB"), (12 * 2**20, "12 MiB"), (2**40, "1.0 TiB")]
)
def test_sizes_are_told_in_the_unit_that_fits(size: int, text: str) -> None:
    assert limits.size_text(size) == text


def test_no_size_is_what_the_machine_can_spare() -> None:
    assert bytes_of(None) is None


def test_this_process_has_taken_some_memory() -> None:
    most = limits.peak_bytes(CPU)
    assert most is None or most > 10 * 2**20


FREED = """
import os
import torch
from dmdlab.device import allocator

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20

def after_use():
    blocks = [torch.ones(2**22) for _ in range(16)]  # 256 MiB
    del blocks
    return resident()

print(resident(), after_use())
allocator.tune_allocator()
print(after_use())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc to tell what to keep")
def test_freed_blocks_are_kept_once_the_allocator_is_told_to() -> None:
    """In a process of its own, whose memory has no holes."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    before, given_back, kept = map(int, done.stdout.split())
    assert given_back < before + 128
    assert kept > before + 192


# --- out of memory


class Narrow:
    """`run_group` on a machine that holds `most` members at a time; remembers what was tried, and what it found."""

    def __init__(self, most: int, error: Exception, after: int = 0) -> None:
        self.most, self.error, self.after = most, error, after
        self.stage = MEASURING if after else DISTILLING
        self.tried: list[list[int]] = []
        self.started: list[list[int]] = []

    def __call__(self, group: Group, store: Store, *rest: object) -> Iterator[Progress | RunResult]:
        self.tried.append(group.seeds)
        self.started.append([e.seed for e in group.origins if store.start(e) is not None])
        results = 0
        for event in run_group(group, store, *rest):  # type: ignore[arg-type]
            if len(group) > self.most and results == self.after and getattr(event, "stage", "") == self.stage:
                raise self.error
            results += isinstance(event, RunResult)
            yield event


CPU_ERROR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)


def numbers(out: Path) -> dict[str, np.ndarray]:
    return {r.summary["id"]: r.arrays()["student"] for r in load_records(out)}


FIVE = experiments("seed={ stop = 5 }")


@pytest.mark.chaos
def test_an_ensemble_that_runs_out_of_memory_goes_on_by_halves_to_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(FIVE, tmp_path / "whole")
    whole, narrow = numbers(tmp_path / "whole"), Narrow(2, CPU_ERROR)
    monkeypatch.setattr(sweep, "run_group", narrow)
    events = [event for _, event in sweep.sweep(plan(FIVE, CPU), Store(tmp_path / "split"))]
    assert narrow.tried == [[0, 1, 2, 3, 4], [0, 1], [2, 3, 4], [2], [3, 4]]
    assert narrow.started[0] == []
    assert narrow.started[1:] == narrow.tried[1:]  # start networks are not trained again
    splits = [e for e in events if isinstance(e, sweep.Split)]
    assert [[len(part) for part in e.parts] for e in splits] == [[2, 3], [1, 2]]
    assert all(e.why and "\n" not in e.why for e in splits)
    found = numbers(tmp_path / "split")
    assert whole.keys() == found.keys()
    for key, array in whole.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-5)


def test_finished_runs_are_kept_when_memory_runs_out_while_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Narrow(2, MemoryError(), after=2)
    monkeypatch.setattr(sweep, "run_group", narrow)
    records = do(FIVE[:4], tmp_path)
    assert narrow.tried == [[0, 1, 2, 3], [2, 3]]
    assert [r.config["seed"] for r in records] == [0, 1, 2, 3]


def test_a_run_that_does_not_fit_alone_ends_the_sweep_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "run_group", Narrow(0, CPU_ERROR))
    with pytest.raises(InputError, match=r"one run of .* ran out of memory \(.*can't allocate memory.*\): make"):
        do(FIVE[:2], tmp_path)


def test_another_error_is_not_taken_for_a_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "run_group", Narrow(0, RuntimeError("CUDA error: an illegal memory access")))
    with pytest.raises(RuntimeError, match="illegal"):
        do(FIVE[:1], tmp_path)


LACKING = [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore"), CPU_ERROR, MemoryError()]
LACKING += [RuntimeError("CUDA error: out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")]


@pytest.mark.parametrize("cause", LACKING, ids=str)
def test_memory_that_ran_out_is_recognised_behind_a_failed_capture_too(cause: Exception) -> None:
    def failing(cause: Exception) -> BaseException:
        try:
            try:
                raise cause
            finally:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        except RuntimeError as error:
            return error

    assert limits.out_of_memory(cause)
    assert limits.out_of_memory(failing(cause))
    assert not limits.out_of_memory(failing(ValueError("a size")))


def test_what_workers_tell_survives_the_way_to_the_parent() -> None:
    halves = [Group(tuple(FIVE[:2])), Group(tuple(FIVE[2:]))]
    events = [sweep.Started(halves[0]), sweep.Taken(3, 2**30), sweep.Split(halves, "full")]
    assert pickle.loads(pickle.dumps(events)) == events
    assert str(pickle.loads(pickle.dumps(InputError("too large")))) == "too large"


@pytest.mark.chaos
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_a_worker_that_is_killed_ends_the_sweep_with_what_is_kept_and_what_to_do(tmp_path: Path) -> None:
    """As Linux does when memory runs out; the shorter of two runs is finished by then."""
    wanted, store = experiments("student.iterations=[20, 100000]"), Store(tmp_path)
    planned = plan(wanted, CPU, 2, 2**40)
    at_work: dict[int, int] = {}

    def watch() -> None:
        finished = killed = False
        for index, event in sweep.sweep(planned, store):
            if isinstance(event, sweep.Taken):
                at_work[index] = event.process
            finished |= isinstance(event, sweep.Finished)
            if finished and not killed and 0 in at_work:  # the longer one comes first
                os.kill(at_work[0], signal.SIGKILL)
                killed = True

    with pytest.raises(InputError) as error:
        watch()
    for words in (
        "a worker was killed, probably because memory ran out",
        f"1 of 2 runs are finished and kept in {tmp_path}",
        "unfinished ensembles: mixture d=2, residual 8 x 1 (lacks 1 of 1 runs)",
        "the same command goes on: give it fewer --workers or a smaller --memory",
    ):
        assert words in str(error.value)
    assert [e.student.iterations for e in store.missing(wanted)] == [100000]
