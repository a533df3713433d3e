"""Faults that are really done to a sweep: afterwards its store is valid, and the same command comes to the same end.

Counts go to the file that `DMDLAB_CHAOS_RESULTS` names (docs/reliability.md).
"""

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import (
    ALL,
    FINISHED,
    MAKING,
    REFUSED,
    WANTED,
    account,
    always_kept,
    at_operations,
    child,
    counted,
    full_from,
    killed_at,
    mounted,
    no_file_above,
    operations,
    published,
    unmounted,
    work,
)
from small import CPU, do, experiments
from store_made import flip

from dmdlab.config import Experiment, InputError
from dmdlab.device import stopping
from dmdlab.group import Group
from dmdlab.lab import run as running
from dmdlab.lab.plan import plan
from dmdlab.lab.run import DISTILLING, Progress
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Finished, Split, Taken, Work, sweep, to_the_end
from dmdlab.records.leases import Leases
from dmdlab.records.record import load_records
from dmdlab.records.verify import set_aside, verify
from dmdlab.training.distill import Distillation

pytestmark = [pytest.mark.chaos, pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")]

RESUMED = 9
"""After every so many faults of one kind the work is done to its end, too."""

IDS = [e.id for e in WANTED]


def results(out: Path) -> list[object]:
    """What the runs of a store come to."""
    return [(r.summary["id"], r.summary.get("metrics"), r.student().tolist()) for r in load_records(out)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The same runs without a fault."""
    out = tmp_path_factory.mktemp("straight")
    work(out)
    return results(out)


# --- the disk


def test_a_full_disk_at_every_write_of_a_run(tmp_path: Path, straight: list[object]) -> None:
    writes = operations(tmp_path / "all", tmp_path / "count", MAKING)
    with counted("full disk", "ENOSPC from each operation on that makes a file, a folder or a name") as counts:
        for number in range(1, writes + 1):
            out, says = tmp_path / "out", tmp_path / "says"

            def failing(out: Path = out, number: int = number) -> None:
                always_kept()
                at_operations(out, full_from(number))
                work(out)

            status = child(failing, says)
            assert status in (FINISHED, REFUSED), number  # what only a lease wanted is not missed at the end
            if status == REFUSED:
                assert "the disk is full: make room on it" in says.read_text()
            counts["injected"] += 1
            before = published(out)
            assert (status == FINISHED) == (before == IDS)
            if number % RESUMED == 0:
                work(out)
                account(counts, before, published(out))
                assert results(out) == straight
            shutil.rmtree(out, ignore_errors=True)


@pytest.mark.parametrize("kill", [False, True], ids=["an error", "a kill"])
def test_a_write_that_ends_within_a_file(kill: bool, tmp_path: Path, straight: list[object]) -> None:
    """By the system's own limit on a file's size: whatever is larger is cut at this byte."""
    name = "killed within a write" if kill else "write cut short"
    with counted(name, "RLIMIT_FSIZE: every file is cut at this byte") as counts:
        for size in (0, 1, 100, 300, 600, 1000, 1900, 3000, 7000, 20_000):
            out, says = tmp_path / f"out{size}", tmp_path / "says"

            def failing(out: Path = out, size: int = size) -> None:
                always_kept()
                no_file_above(size, kill)
                work(out)

            status = child(failing, says)
            assert status == (-signal.SIGXFSZ if kill else REFUSED)
            if not kill:
                assert "so large a file is not allowed here" in says.read_text()
            counts["injected"] += 1
            assert published(out) == []
        work(out)
        account(counts, [], published(out))
        assert results(out) == straight
        assert verify(out).sound


def test_a_disk_that_is_really_full_and_then_larger(tmp_path: Path, straight: list[object]) -> None:
    disk, says = tmp_path / "disk", tmp_path / "says"
    if not mounted(disk, "16k"):
        pytest.skip("a small disk can be mounted by root only")
    try:
        with counted("small disk", "a tmpfs too small for a run, larger each time") as counts:
            for size in range(8, 200, 16):
                assert os.system(f"mount -o remount,size={size}k '{disk}'") == 0
                if child(lambda: work(disk / "out"), says) == FINISHED:
                    break
                assert "the disk is full: make room on it" in says.read_text()
                counts["injected"] += 1
                assert published(disk / "out") == []
            assert counts["injected"] >= 2
            assert os.system(f"mount -o remount,size=10m '{disk}'") == 0
            work(disk / "out")
            account(counts, [], published(disk / "out"))
            assert results(disk / "out") == straight
            assert verify(disk / "out").sound
    finally:
        unmounted(disk)


def test_a_store_that_can_only_be_read_or_is_gone(tmp_path: Path) -> None:
    disk, says = tmp_path / "disk", tmp_path / "says"
    if not mounted(disk, "10m"):
        pytest.skip("a disk can be mounted, and rights be given up, by root only")
    try:
        with counted("no store", "permission denied, a read-only and a vanished store") as counts:
            done = experiments("seed=7")
            work(disk / "out", done)
            before = published(disk / "out")

            def nobody() -> None:
                os.setgid(65534)
                os.setuid(65534)
                work(disk / "out")

            os.chmod(tmp_path, 0o755)
            os.chmod(disk, 0o755)
            assert child(nobody, says) in (REFUSED, 4)  # it may not even say so in a file of ours
            for end, told in (
                ("remount,ro", "can only be read"),
                ("remount,rw", ""),
            ):
                assert os.system(f"mount -o {end} '{disk}'") == 0
                if told:
                    assert child(lambda: work(disk / "out"), says) == REFUSED
                    assert told in says.read_text()
                counts["injected"] += 1
                account(counts, before, published(disk / "out"))

            def gone() -> None:
                at_cycle(2, lambda: shutil.rmtree(disk / "out"))
                work(disk / "out")

            shutil.copytree(disk / "out", tmp_path / "copy")
            assert child(gone, says) == REFUSED
            assert "the same command goes on" in says.read_text()
            counts["injected"] += 1
            assert published(disk / "out") == []
            account(counts, before, published(tmp_path / "copy"))

            def unplugged() -> None:
                at_cycle(2, lambda: unmounted(disk))
                work(disk / "out")

            assert child(unplugged, says) == REFUSED
            assert published(disk / "out") == []
            counts["injected"] += 1
    finally:
        unmounted(disk)


def at_cycle(number: int, act: Callable[[], object]) -> None:
    """In a child: `act` in the cycle of this number of a training."""
    seen, plain = [0], Distillation.cycle

    def cycle(self: Distillation) -> None:
        seen[0] += 1
        if seen[0] == number:
            act()
        plain(self)

    Distillation.cycle = cycle  # type: ignore[method-assign]


# --- kills


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
            counts["injected"] += 1
            before = published(out)
            if number % RESUMED == 0 or before:
                work(out)
                account(counts, before, published(out))
                assert results(out) == straight
            shutil.rmtree(out, ignore_errors=True)


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
        work(out)
        account(counts, [], published(out))
        assert results(out) == straight
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


# --- runs


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


# --- clocks


def test_clocks_that_jump_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A taker whose clock leaps sees living leases as stale: some work is done twice, counted, and stands once."""
    from store_made import put

    monkeypatch.setattr("dmdlab.records.leases._machine", lambda: "")  # everybody is on a machine of their own
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
