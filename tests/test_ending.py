"""Sweeps that are ended from outside: what is said, and that no process stays behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from small import TINY

T = TypeVar("T")
Command = Callable[..., tuple[int, str, str]]
LONG = ("--preset", "smoke", *TINY, "seed={ stop = 8 }", "student.iterations=100000", "--no-compile", "--device", "cpu")
CODE = "import sys; from dmdlab.cli import main; main()"


def children(process: int) -> list[int]:
    """The processes that this one started and that still live."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if parent(path) == process]


def parent(folder: Path) -> int | None:
    try:
        state, above = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(above)


@pytest.mark.chaos
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="the system does not list processes")
def test_a_sweep_that_is_killed_takes_its_workers_with_it(tmp_path: Path) -> None:
    words = (sys.executable, "-c", CODE, "sweep", *LONG, "--workers", "2", "--out", str(tmp_path / "out"))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as sweep:
        workers = wait_for(lambda: found if len(found := children(sweep.pid)) >= 3 else [])  # and multiprocessing's own
        sweep.kill()
        assert sweep.wait(30) == -signal.SIGKILL
    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() and parent(Path(f"/proc/{pid}")) for pid in workers))


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("name", "status", "told"), [("SIGTERM", 143, "Stopped: "), ("SIGHUP", 129, "Hung up: ")])
def test_a_signal_from_outside_ends_a_sweep_as_ctrl_c_does(
    name: str, status: int, told: str, dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(signal, name):
        pytest.skip("the system has no such signal")

    def signalled(*everything: object, **more: object) -> Iterator[None]:
        os.kill(os.getpid(), getattr(signal, name))
        yield time.sleep(10)

    monkeypatch.setattr("dmdlab.lab.sweep.sweep", signalled)
    code, _, err = dmdlab("sweep", *LONG, "--out", tmp_path)
    assert code == status
    assert f"{told}0 of 8 runs are finished and kept in {tmp_path}" in err
    assert "Go on with: dmdlab sweep --preset smoke" in err
    assert "Traceback" not in err


def wait_for(what: Callable[[], T], seconds: float = 60.0) -> T:
    """The first true value of `what()`."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found
