"""A sweep, or its worker, killed or stopped anywhere: its store is valid, and the same command comes to the same end.

Counts go to the file that `DMDLAB_CHAOS_RESULTS` names (docs/reliability.md).
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import (
    ALL,
    MAKING,
    always_kept,
    at_cycle,
    at_operations,
    child,
    comes_to,
    counted,
    goes_on,
    killed_at,
    operations,
    published,
    work,
)
from small import CPU, experiments

from dmdlab.config import InputError
from dmdlab.device import stopping
from dmdlab.lab.plan import plan
from dmdlab.lab.run import DISTILLING, Progress
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Taken, sweep
from dmdlab.records.verify import verify

pytestmark = [pytest.mark.chaos, pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")]


def test_a_kill_before_every_operation_on_files(tmp_path: Path, straight: list[object]) -> None:
    """So also with a file that is whole and not yet renamed, and between two renames."""
    steps = operations(tmp_path / "all", tmp_path / "count", MAKING + ALL)
    with counted("killed between writes", "SIGKILL before each operation on files") as counts:
        for number in range(1, steps + 1):
            out = tmp_path / "out"

            def killed(out: Path = out, number: int = number) -> None:
                always_kept()
                at_operations(out, killed_at(number), MAKING + ALL)
                work(out)

            assert child(killed) == -signal.SIGKILL, number
            goes_on(out, straight, counts, number)


def test_a_driver_that_is_killed_in_mid_training(tmp_path: Path, straight: list[object]) -> None:
    with counted("driver killed", "SIGKILL of the process that trains, in each of its cycles") as counts:
        for number in range(1, 5):

            def killed(number: int = number) -> None:
                always_kept()
                at_cycle(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
                work(tmp_path / f"out{number}")

            out = tmp_path / f"out{number}"
            assert child(killed) == -signal.SIGKILL
            counts["injected"] += 1
            assert published(out) == []
        comes_to(out, straight, counts, [])
        assert verify(out).sound


LONGER = experiments("law.dim=[2, 3]", "student.iterations=30000", "student.batch=16")


def test_workers_that_are_killed_or_stopped_and_a_sweep_that_goes_on(tmp_path: Path) -> None:
    """Two processes: one is killed in mid-training; then all are asked to stop; then others finish shorter runs."""
    store, planned = Store(tmp_path), plan(LONGER, CPU, workers=2)
    with counted("worker killed", "SIGKILL of one of two workers, and SIGTERM of a sweep, in mid-training") as counts:
        workers: dict[int, int] = {}

        def until(act: Callable[[], object]) -> Iterator[object]:
            training = set[int]()
            for index, event in sweep(planned, store):
                if isinstance(event, Taken):
                    workers[index] = event.process
                if isinstance(event, Progress) and event.stage == DISTILLING and event.done and len(training) < 2:
                    training.add(index)
                    if len(training) == 2:
                        act()
                yield event

        with pytest.raises(InputError, match=r"killed.*0 of 2 runs are finished"):
            list(until(lambda: os.kill(max(workers.values()), signal.SIGKILL)))
        counts["injected"] += 1
        assert published(tmp_path) == []
        with pytest.raises(KeyboardInterrupt):
            list(until(lambda: stopping.stop(KeyboardInterrupt())))
        counts["injected"] += 1
        assert not stopping.asked()
        assert len(list((tmp_path / "checkpoints").glob("[!.]*.safetensors"))) == 2  # of both
        assert not (tmp_path / "leases").exists()
        assert published(tmp_path) == []
