"""Calibrations beside a training: when, by whom, and that nothing is lost where that process is gone."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

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
from dmdlab.records.leases import Leases


@pytest.fixture
def two_threads() -> object:
    """Within it torch has two threads, as on a machine with two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_worth_a_process_are_pictures_and_not_the_quickstart() -> None:
    pictures = load(None, "manifold", ["law.side=8"]).experiments()
    assert worth(Group(tuple(pictures)))
    for small in (experiments("law.dim=2"), load(None, "quickstart", ["law.dim=2"]).experiments()[:1]):
        assert not worth(Group(tuple(small)))


@pytest.mark.usefixtures("two_threads")
def test_a_plan_says_it_and_counts_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = experiments("law.dim=2")
    alone = plan(runs, CPU)
    monkeypatch.setattr(lab, "WORTH", 0)
    both = plan(runs, CPU)
    assert alone.beside == 0 < both.beside
    assert both.bytes == alone.bytes + both.beside
    assert any("beside" in sentence for sentence in both.decisions)
    assert plan(runs, CPU, workers=2).beside == 0  # a thread each
    assert plan(runs, CPU, memory=alone.bytes + 2**24).beside == 0  # no room


@pytest.mark.usefixtures("two_threads")
def test_who_is_not_worth_it_or_has_one_thread_goes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(tuple(experiments("law.dim=2")))
    with beside(group, Store(tmp_path)):
        assert not multiprocessing.active_children()
        assert torch.get_num_threads() == 2
    monkeypatch.setattr(lab, "WORTH", 0)
    torch.set_num_threads(1)
    with beside(group, Store(tmp_path)):
        assert not multiprocessing.active_children()


@pytest.mark.chaos
@pytest.mark.usefixtures("two_threads")
def test_it_makes_the_calibration_that_the_run_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "WORTH", 0)
    (e,), store, alone = experiments("law.dim=2", "teacher.kind=network"), Store(tmp_path / "a"), Store(tmp_path / "b")
    list(Work(alone, CPU, "eager")(Group((e,))))
    row = alone.start(e)
    assert row is not None
    store.keep_start(e, row)
    with beside(Group((e,)), store):
        assert torch.get_num_threads() == 1
        end = time.monotonic() + 60
        while store.calibrated(e, calibration_id(e)) is None:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert torch.get_num_threads() == 2
    assert not multiprocessing.active_children()
    monkeypatch.setattr("dmdlab.lab.calibrate.calibrate_experiment", lambda *_: pytest.fail("it was made again"))
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
def test_killed_in_the_middle_of_it_the_run_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    monkeypatch.setattr(lab, "WORTH", 0)
    (e,) = experiments("law.dim=2", "measure.samples=1000", "measure.bases=8", "teacher.steps=64")
    store = Store(tmp_path)
    with beside(Group((e,)), store):
        end = time.monotonic() + 60
        while Leases(store.out).free([calibration_id(e)]):
            assert time.monotonic() < end
            time.sleep(0.02)
        (process,) = multiprocessing.active_children()
        assert process.pid is not None
        os.kill(process.pid, how)
        process.join()
        assert store.calibrated(e, calibration_id(e)) is None
        begun = time.monotonic()
        assert stored_calibrated(store, e, CPU).found.n == 1000
        assert time.monotonic() - begun < 60
