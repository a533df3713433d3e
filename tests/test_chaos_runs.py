"""Runs that raise, diverge, or are damaged once they stand, and clocks that jump: no other run is lost or made twice.

Counts go to the file that `DMDLAB_CHAOS_RESULTS` names (docs/reliability.md).
"""

import itertools
import os
import time
from pathlib import Path

import pytest
from faults import (
    account,
    counted,
    published,
    results,
    work,
)
from small import CPU, do, experiments
from store_made import flip, put

from dmdlab.config import Experiment
from dmdlab.group import Group
from dmdlab.lab import run as running
from dmdlab.lab.plan import plan
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Finished, Split, Work, sweep, to_the_end
from dmdlab.records.leases import Leases
from dmdlab.records.record import load_records
from dmdlab.records.verify import set_aside, verify
from dmdlab.training.distill import Distillation

pytestmark = pytest.mark.chaos


def test_a_run_that_raises_one_that_diverges_and_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = experiments("seed=[0, 1, 2]", "student.learning_rate=[1e-3, 1e30]")
    ids = sorted(e.id for e in wanted)
    with counted("runs that fail", "a run that raises, runs that diverge, memory that runs out") as counts:
        store, plain = Store(tmp_path), running.result_of
        groups = [Group(tuple(wanted[i : i + 2])) for i in (0, 2, 4)]

        def unlucky(experiment: Experiment, *more: object) -> object:
            if experiment.seed == 1:
                raise ValueError("unlucky")
            return plain(experiment, *more)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(running, "result_of", unlucky)
            with pytest.raises(Exception, match="unlucky"):
                list(to_the_end(Work(store, CPU, "eager"), groups))
        counts["injected"] += 1
        before = published(tmp_path)
        assert len(before) == 4  # the others'
        scarce = [True]

        def small(self: Distillation) -> None:
            if len(self.failed_at) > 1 and scarce:
                scarce.pop()
                raise MemoryError("not enough")
            cycle(self)

        cycle = Distillation.cycle
        with monkeypatch.context() as patch:
            patch.setattr(Distillation, "cycle", small)
            events = [event for _, event in to_the_end(Work(store, CPU, "eager"), groups)]
        assert any(isinstance(event, Split) for event in events)
        counts["injected"] += 1
        after = published(tmp_path)
        account(counts, before, after)
        assert sorted(after) == ids
        failed = [r for r in load_records(tmp_path) if not r.done]
        counts["injected"] += len(failed)
        assert {r.config["student.learning_rate"] for r in failed} == {1e30}
        assert len(failed) == 3
        assert verify(tmp_path).sound


def test_damage_is_found_and_a_sweep_repeats_just_those_runs(tmp_path: Path) -> None:
    wanted = experiments("seed={stop = 4}")
    do(wanted, tmp_path)
    expected = results(tmp_path)
    with counted("damage", "a truncated npz, one flipped bit in each kind of file of a run") as counts:
        folders = {e.seed: Store(tmp_path).folder(e) for e in wanted}
        pairs = sorted((tmp_path / "pairs").iterdir())
        broken = [(pairs[0], len(pairs[0].read_bytes()) // 2)]
        broken += [(folders[1] / name, None) for name in os.listdir(folders[1])]
        for path, keep in broken:
            kept = path.read_bytes()
            if keep is None:
                flip(path)
            else:
                path.write_bytes(kept[:keep])
            counts["injected"] += 1
            repeat = verify(tmp_path).repeat
            assert [int(r.path.name.split("-s")[1].split("-")[0]) for r in repeat] == [0 if keep is not None else 1]
            path.write_bytes(kept)
        assert verify(tmp_path).sound
        pairs[0].write_bytes(pairs[0].read_bytes()[:100])
        flip(folders[2] / "student.safetensors")
        set_aside(tmp_path, verify(tmp_path).damaged)
        events = [event for _, event in sweep(plan(Store(tmp_path).missing(wanted), CPU), Store(tmp_path))]
        assert sorted(e.experiment.seed for e in events if isinstance(e, Finished)) == [0, 2]
        account(counts, [e.id for e in wanted], published(tmp_path))
        assert results(tmp_path) == expected


def test_clocks_that_jump_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A taker whose clock leaps sees living leases as stale: some work is done twice, counted, and stands once."""
    monkeypatch.setattr("dmdlab.records.leases.this_machine", lambda: "")  # everybody is on a machine of their own
    wanted = experiments("seed={stop = 12}")
    with counted("clocks", "a taker's clock that leaps by 11 days at every look at the leases") as counts:
        leaps = itertools.count(0, 10**6)

        def leaping() -> float:
            counts["injected"] += 1
            return float(next(leaps))

        vain = 0
        for e in wanted:
            owner, taker = Leases(tmp_path), Leases(tmp_path, clock=leaping)
            with owner.held([e.id]) as first:
                for _ in range(3):
                    free = taker.free([e.id])
                assert (first, free) == ([e.id], [e.id])  # taken away, though its owner lives
                with taker.held([e.id]) as second:
                    assert second == [e.id]
                    assert put(tmp_path, e)
                vain += not put(tmp_path, e)
        assert vain == len(wanted)
        account(counts, [], published(tmp_path, wanted))
        assert sorted(published(tmp_path)) == sorted(e.id for e in wanted)
        assert not (tmp_path / "leases").exists()
        started = time.monotonic()
        monkeypatch.setattr(time, "time", lambda: -1e9)  # nobody asks the wall clock
        work(tmp_path, experiments("seed=99"))
        assert time.monotonic() - started < 60
