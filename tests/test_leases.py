"""Several sweeps into one store: who is at what, who has left, and each run published once. No training anywhere."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small import CPU, experiments
from store_made import put

from dmdlab.config import Experiment
from dmdlab.group import Group
from dmdlab.lab import sweep as module
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Elsewhere, Event, Finished, Work, to_the_end
from dmdlab.records import leases as leasing
from dmdlab.records import writing
from dmdlab.records.leases import Leases
from dmdlab.records.verify import verify

RUNS = ["a", "b", "c"]


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process seems to be on another machine, so that only heartbeats tell."""
    monkeypatch.setattr(leasing, "this_machine", lambda: "")


def names(out: Path) -> list[str]:
    folder = out / "leases"
    return sorted(p.name.partition(".")[2] for p in folder.iterdir()) if folder.is_dir() else []


def test_a_run_is_one_owners_and_free_again_when_that_one_leaves(tmp_path: Path) -> None:
    with Leases(tmp_path).held(RUNS[:2]) as ours:
        assert ours == RUNS[:2]
        assert Leases(tmp_path).free(RUNS) == ["c"]
        with Leases(tmp_path).held(RUNS) as theirs:
            assert theirs == ["c"]
        assert [who.split(" on ")[0] for who, _ in Leases(tmp_path).at_work()] == [f"process {os.getpid()}"]
    assert not (tmp_path / "leases").exists()


@pytest.mark.usefixtures("far")
def test_a_lease_is_stale_when_its_heartbeat_stands_still_as_the_taker_sees_it(tmp_path: Path) -> None:
    """Whatever the clock of the files says: one jumps by years."""
    clock = Clock()
    taker = Leases(tmp_path, stale=10, clock=clock)
    with Leases(tmp_path, beat=1e6).held(["a"]) as ours:  # paused: it never beats
        (lease,) = (tmp_path / "leases").glob("*.lease")
        os.utime(lease, (0, 0))
        assert taker.free(["a"]) == []
        clock.now = 9.0
        assert taker.free(["a"]) == []
        lease.rename(lease.with_name(lease.name.replace(".0.", ".1.")))  # it beat
        clock.now = 11.0
        assert taker.free(["a"]) == []
        clock.now = 21.0
        assert taker.free(["a"]) == ["a"]
        with taker.held(["a"]) as theirs:
            assert (ours, theirs) == (["a"], ["a"])
            assert Leases(tmp_path).free(["a"]) == []
    assert not (tmp_path / "leases").exists()


@pytest.mark.usefixtures("far")
def test_a_run_that_one_left_and_another_took_is_the_others(tmp_path: Path) -> None:
    """Who waited for the first, which did not finish it, waits for the second, and for that one's heartbeat."""
    clock = Clock()
    taker = Leases(tmp_path, stale=10, clock=clock)
    with Leases(tmp_path, beat=1e6).held(["a"]):
        assert taker.free(["a"]) == []
    with Leases(tmp_path, beat=1e6).held(["a"]) as ours:
        assert ours == ["a"]
        for number in range(4):
            assert taker.free(["a"]) == []
            (lease,) = (tmp_path / "leases").glob("*.lease")
            lease.rename(lease.with_name(lease.name.replace(f".{number}.", f".{number + 1}.")))  # it beats
            clock.now += 6.0
        clock.now += 6.0  # and no more
        assert taker.free(["a"]) == []
        clock.now += 11.0
        assert taker.free(["a"]) == ["a"]


@pytest.mark.usefixtures("far")
def test_a_lease_that_beats_while_it_is_broken_is_not(tmp_path: Path) -> None:
    with Leases(tmp_path, beat=1e6).held(["a"]):
        (lease,) = (tmp_path / "leases").glob("*.lease")

        def beating() -> float:
            """Seconds; long ago it was seen, and now it beats after all."""
            beats.append(1)
            if len(beats) == 2:
                lease.rename(lease.with_name(lease.name.replace(".0.", ".1.")))
            return 100.0 * len(beats)

        beats = list[int]()
        taker = Leases(tmp_path, stale=10, clock=beating)
        assert [taker.free(["a"]) for _ in range(3)] == [[], [], []]
        assert "broken" not in names(tmp_path)
        assert taker.free(["a"]) == ["a"]


@pytest.mark.usefixtures("far")
def test_a_heartbeat_goes_on_until_the_lease_is_broken(tmp_path: Path) -> None:
    with Leases(tmp_path, beat=0.01).held(["a"]):
        taker = Leases(tmp_path, stale=0.0)
        end = time.monotonic() + 5
        while "0.lease" in names(tmp_path) and time.monotonic() < end:
            time.sleep(0.01)
        assert "0.lease" not in names(tmp_path)
        while not taker.free(["a"]) and time.monotonic() < end:  # breaks it between two beats
            pass
        time.sleep(0.05)
        assert [name for name in names(tmp_path) if name.endswith("lease")] == []  # and it does not come back


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("kind", [FileNotFoundError, OSError])
def test_a_heartbeat_outlives_a_network_folder_that_fails_once(
    kind: type[OSError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which renames and loses the answer, or does nothing."""
    plain, failed = os.rename, list[bool]()

    def rename(old: Path, new: Path) -> None:
        if failed or kind is FileNotFoundError:
            plain(old, new)
        if not failed:
            failed.append(True)
            raise kind

    monkeypatch.setattr(leasing.os, "rename", rename)
    with Leases(tmp_path, beat=0.01).held(["a"]):
        end = time.monotonic() + 5
        while not {"2.lease", "3.lease", "4.lease"} & set(names(tmp_path)) and time.monotonic() < end:
            time.sleep(0.002)
        assert time.monotonic() < end
    assert not (tmp_path / "leases").exists()


def child(work: object) -> int:
    """Another process that does this and ends as if killed."""
    pid = os.fork()
    if not pid:
        try:
            work()  # type: ignore[operator]
        finally:
            os._exit(9)
    return pid


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_who_was_killed_on_this_machine_is_followed_at_once(tmp_path: Path) -> None:
    def killed() -> None:
        with Leases(tmp_path).held(RUNS):
            os._exit(9)

    pid = child(killed)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # its parent need not have asked how it ended
    assert names(tmp_path) == ["0.claim"] * 3 + ["0.lease"]
    assert Leases(tmp_path).at_work() == []
    with Leases(tmp_path).held(RUNS) as ours:
        assert ours == RUNS
    assert not (tmp_path / "leases").exists()
    os.waitpid(pid, 0)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_process_that_got_the_number_of_one_that_is_gone_is_not_taken_for_it(tmp_path: Path) -> None:
    with Leases(tmp_path).held(["a"]):
        (lease,) = (tmp_path / "leases").glob("*.lease")
        held = json.loads(lease.read_text())
        assert Leases(tmp_path).free(["a"]) == []
        lease.write_text(json.dumps(held | {"started": "1", "machine": "another"}))  # whose processes are not seen
        assert Leases(tmp_path).free(["a"]) == []
        lease.write_text(json.dumps(held | {"started": "1"}))
        assert Leases(tmp_path).free(["a"]) == ["a"]


@pytest.mark.usefixtures("far")
def test_who_wakes_after_another_has_left_removes_no_thirds_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, clock = os.listdir, Clock()
    first, third = Leases(tmp_path, beat=1e6).held(["a"]), Leases(tmp_path).held(["a"])
    first.__enter__()  # and is paused
    taker = Leases(tmp_path, stale=10, clock=clock)
    assert taker.free(["a"]) == []
    clock.now = 11.0
    with taker.held(["a"]) as theirs:
        assert theirs == ["a"]
        for backwards in (False, True):  # the last claim counts, in whatever order a folder tells its names
            monkeypatch.setattr(leasing.os, "listdir", lambda at, b=backwards: sorted(plain(at), reverse=b))
            assert taker.free(["a"]) == []
    assert third.__enter__() == ["a"]
    first.__exit__(None, None, None)
    assert Leases(tmp_path).free(["a"]) == []
    third.__exit__(None, None, None)
    assert not (tmp_path / "leases").exists()


def test_odd_files_among_leases_keep_a_run_until_they_are_stale(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "leases").mkdir()
    for name, text in {
        "a.0.claim": "",
        "b.7.claim": "../../x",
        "x.0.lease": "[" * 9999,
        "notes": "",
        "c.x.claim": "",
    }.items():
        (tmp_path / "leases" / name).write_text(text)
    leases = Leases(tmp_path, stale=5, clock=clock)
    assert leases.free(RUNS) == ["c"]
    clock.now = 6.0
    assert leases.free(RUNS) == RUNS
    with leases.held(RUNS) as ours:
        assert ours == RUNS
    assert (tmp_path / "leases" / "notes").exists()


# --- sweeps


class NoOp(Work):
    """Publishes what was never made, after a moment."""

    def _make(self, group: Group) -> Iterator[Event]:
        for e in group.members:
            time.sleep(0.002)
            ours = put(self.store.out, e)
            yield Finished(e, self.store.folder(e), "done", ours)


def work(out: Path) -> NoOp:
    return NoOp(Store(out), CPU)


def groups_of(wanted: list[Experiment], size: int) -> list[Group]:
    return [Group(tuple(wanted[i : i + size])) for i in range(0, len(wanted), size)]


WANTED = experiments("seed={start=0, stop=12}")


def test_a_sweep_waits_for_what_another_is_at_and_counts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            assert put(tmp_path, WANTED[0])  # by the other

    monkeypatch.setattr(module.time, "sleep", look)
    with Leases(tmp_path).held([WANTED[0].id]):
        events = [event for _, event in to_the_end(work(tmp_path), groups_of(WANTED[:4], 2))]
    assert [e.experiment.seed for e in events if isinstance(e, Finished)] == [1, 2, 3]
    others = [event for event in events if isinstance(event, Elsewhere)]
    assert [([e.seed for e in o.done], [e.seed for e in o.held]) for o in others] == [([], [0]), ([0], [])]


@pytest.mark.usefixtures("far")
def test_a_paused_owner_that_wakes_has_computed_in_vain_and_says_so(tmp_path: Path) -> None:
    clock = Clock()
    waking = work(tmp_path)(Group((WANTED[0], WANTED[1])))
    first = next(waking)  # and then it is paused
    taker = Leases(tmp_path, stale=1, clock=clock)
    assert taker.free([WANTED[1].id]) == []
    clock.now = 2.0
    with taker.held([WANTED[0].id, WANTED[1].id]) as ours:
        assert ours == [WANTED[0].id, WANTED[1].id]
        assert put(tmp_path, WANTED[1])
        last = next(waking)
    assert isinstance(first, Finished)
    assert isinstance(last, Finished)
    assert (first.ours, last.ours) == (True, False)
    assert list(waking) == []
    assert not (tmp_path / "leases").exists()


def test_killed_between_writing_and_renaming_leaves_a_store_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed() -> None:
        monkeypatch.setattr(writing.os, "rename", lambda *names: os._exit(9) if "runs" in str(names[1]) else None)
        list(work(tmp_path)(Group((WANTED[0],))))

    os.waitpid(child(killed), 0)
    (left,) = (tmp_path / "runs").iterdir()
    assert left.name.startswith(".")
    assert verify(tmp_path).runs == []
    (finished,) = [e for _, e in to_the_end(work(tmp_path), [Group((WANTED[0],))]) if isinstance(e, Finished)]
    assert finished.ours
    assert verify(tmp_path).sound


def test_several_sweeps_at_once_and_two_killed_publish_each_run_once(tmp_path: Path) -> None:
    """Four processes with groups of different sizes; two of them die in their work."""
    log = tmp_path / "log"

    def sweeping(size: int, most: int) -> None:
        lines, made = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY), 0
        for _, event in to_the_end(work(tmp_path), groups_of(WANTED, size)):
            if isinstance(event, Finished):
                made += 1
                os.write(lines, f"{event.experiment.seed} {event.ours}\n".encode())
                if made == most:
                    os._exit(9)
        os._exit(0)

    pids = [
        child(lambda size=size, most=most: sweeping(size, most)) for size, most in ((1, 99), (2, 2), (3, 99), (4, 3))
    ]
    assert sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)[:2] == [0, 0]
    published = [line.split()[0] for line in log.read_text().splitlines() if line.endswith("True")]
    assert sorted(map(int, published)) == list(range(12))
    found = verify(tmp_path)
    assert (found.sound, len(found.runs)) == (True, 12)
    assert Store(tmp_path).missing(WANTED) == []
