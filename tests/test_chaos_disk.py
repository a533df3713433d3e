"""A disk that is full or gone, writes that end within a file: nothing half-written counts, the same command goes on.

Counts go to the file that `DMDLAB_CHAOS_RESULTS` names (docs/reliability.md).
"""

import os
import shutil
import signal
from pathlib import Path

import pytest
from faults import (
    FINISHED,
    IDS,
    MAKING,
    REFUSED,
    account,
    always_kept,
    at_cycle,
    at_operations,
    child,
    comes_to,
    counted,
    full_from,
    goes_on,
    mounted,
    no_file_above,
    operations,
    published,
    unmounted,
    work,
)
from small import experiments

from dmdlab.records.verify import verify

pytestmark = [pytest.mark.chaos, pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")]


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
            assert (status == FINISHED) == (goes_on(out, straight, counts, number) == IDS)


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
        comes_to(out, straight, counts, [])
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
            comes_to(disk / "out", straight, counts, [])
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
