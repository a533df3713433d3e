"""Calibrations beside a training: when, by whom, and that nothing is lost where that process is gone."""

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from small import CPU, experiments

from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab import beside as lab
from dmdlab.lab.beside import beside, worth
from dmdlab.lab.calibrate import calibration_id, stored_calibrated
from dmdlab.lab.plan import plan
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Work
from dmdlab.records.leases import Leases, of_kind


@pytest.fixture
def two_threads() -> object:
    """Within it torch has two threads, as on a machine with two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_worth_a_process_are_pictures_and_not_the_quickstart() -> None:
    pictures = load(None, "manifold", ["law.side=8"]).experiments()
    assert worth(Group(tuple(pictures)), 0)
    assert not worth(Group(tuple(pictures)), 10**15)  # a training that is much longer keeps its threads
    for small in (experiments("law.dim=2"), load(None, "quickstart", ["law.dim=2"]).experiments()[:1]):
        assert not worth(Group(tuple(small)), 0)


@pytest.mark.usefixtures("two_threads")
def test_a_plan_says_it_and_counts_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = experiments("law.dim=2")
    alone = plan(runs, CPU)
    monkeypatch.setattr(lab, "WORTH", 0)
    monkeypatch.setattr(lab, "SHARE", 0)
    both = plan(runs, CPU)
    assert not alone.calibrated_beside
    assert both.calibrated_beside == {runs[0].id}
    assert both.bytes == alone.bytes + both.parts[0].beside
    assert any("beside" in sentence for sentence in both.decisions)
    assert not plan(runs, CPU, workers=2).calibrated_beside  # a thread each
    assert not plan(runs, CPU, memory=alone.bytes + 2**24).calibrated_beside  # no room


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("lacks", ["a thread", "a process"])
def test_without_a_thread_or_a_process_to_spare_one_goes_alone(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: object) -> None:
        raise OSError("Resource temporarily unavailable")

    if lacks == "a thread":
        torch.set_num_threads(1)
    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", refused)
    with beside(Group(tuple(experiments("law.dim=2"))), Store(tmp_path)):
        assert torch.get_num_threads() == (1 if lacks == "a thread" else 2)


def test_more_calibrations_are_worth_a_process_beside_a_longer_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three teachers that were trained have three."""
    monkeypatch.setattr(lab, "tried", lambda _: SimpleNamespace(flow_flops=10**12))
    one, three = (
        Group(tuple(experiments("law.dim=2", "teacher.kind=network", f"seed={seeds}"))) for seeds in ("0", "[0, 1, 2]")
    )
    longest = 1
    while worth(one, 2 * longest):
        longest *= 2
    assert longest > 1
    assert worth(three, 2 * longest)
    assert not worth(three, 8 * longest)


class Recorded:
    """In place of another process."""

    made: ClassVar[list["Recorded"]] = []

    def __init__(self, *, target: object, args: tuple[Path, list[object], int], daemon: bool) -> None:
        self.args, self.ended = args, False
        self.made.append(self)

    def start(self) -> None:
        """It began."""

    def terminate(self) -> None:
        self.ended = True

    def join(self) -> None:
        assert self.ended


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """Processes that were made, of which none runs."""
    monkeypatch.setattr(multiprocessing.get_context("spawn"), "Process", Recorded, raising=False)
    monkeypatch.setattr(Recorded, "made", [])
    return Recorded.made


@pytest.mark.usefixtures("two_threads")
def test_both_processes_share_the_threads_and_the_other_ends_with_the_training(
    tmp_path: Path, recorded: list[Recorded]
) -> None:
    torch.set_num_threads(5)
    group = Group(tuple(experiments("law.dim=2", "teacher.kind=network", "seed=[0, 1]")))
    with suppress(KeyboardInterrupt), beside(group, Store(tmp_path)):
        assert torch.get_num_threads() == 3
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 5
    (other,) = recorded
    out, lacking, threads = other.args
    assert (out, threads, other.ended) == (tmp_path, 2, True)
    assert lacking == list(group.members)


@pytest.mark.usefixtures("two_threads")
def test_what_is_calibrated_already_needs_no_process(
    tmp_path: Path, recorded: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = experiments("law.dim=2", "teacher.kind=network", "seed=[0, 1]")
    monkeypatch.setattr(Store, "calibrated", lambda _, e, name: one if name == calibration_id(one) else None)
    with beside(Group((one,)), Store(tmp_path)):
        assert recorded == []
        assert torch.get_num_threads() == 2
    with beside(Group((one, two)), Store(tmp_path)):
        assert [each.args[1] for each in recorded] == [[two]]


@pytest.mark.chaos
@pytest.mark.usefixtures("two_threads")
def test_it_makes_the_calibration_that_the_run_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (e,), store, alone = experiments("law.dim=2", "teacher.kind=network"), Store(tmp_path / "a"), Store(tmp_path / "b")
    list(Work(alone, CPU, "eager")(Group((e,))))
    row = alone.start(e)
    assert row is not None
    store.keep_start(e, row)
    with beside(Group((e,)), store):
        assert torch.get_num_threads() == 1
        end = time.monotonic() + 60
        while store.calibrated(e, calibration_id(e)) is None or store.nearby(e) is None:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert torch.get_num_threads() == 2
    assert not multiprocessing.active_children()
    monkeypatch.setattr("dmdlab.lab.calibrate.calibrate_experiment", lambda *_: pytest.fail("it was made again"))
    monkeypatch.setattr("dmdlab.lab.nearby.teacher_answers", lambda *_: pytest.fail("it was made again"))
    list(Work(store, CPU, "eager")(Group((e,))))
    one, other = (s.calibrated(e, calibration_id(e)) for s in (store, alone))
    assert one is not None
    assert other is not None
    for key, array in one.found.to_arrays().items():
        np.testing.assert_array_equal(array, other.found.to_arrays()[key])
    assert store.record(e).summary["calibration"] == alone.record(e).summary["calibration"]


@pytest.mark.chaos
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.usefixtures("two_threads")
def test_killed_in_the_middle_of_it_the_run_makes_it(tmp_path: Path, how: signal.Signals) -> None:
    (e,) = experiments("law.dim=2", "measure.samples=500", "measure.bases=4", "teacher.steps=64")
    store, wanted = Store(tmp_path), [of_kind("calibration", calibration_id(e))]
    with beside(Group((e,)), store):
        end = time.monotonic() + 60
        while Leases(store.out).free(wanted):
            assert time.monotonic() < end
            time.sleep(0.02)
        (process,) = multiprocessing.active_children()
        assert process.pid is not None
        os.kill(process.pid, how)
        process.join()
        assert store.calibrated(e, calibration_id(e)) is None
        assert Leases(store.out).free(wanted) == wanted  # at once, not when its lease has been still for long
        assert stored_calibrated(store, e, CPU).found.n == 500
