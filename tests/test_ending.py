"""Sweeps that are ended from outside: what is said, and that no process stays behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from small import TINY

from dmdlab.cli.ending import status_of

T = TypeVar("T")
LONG = ("--preset", "smoke", *TINY, "seed={ stop = 8 }", "student.iterations=1000000", "--device", "cpu")
CODE = "import sys; from dmdlab.cli import main; main()"

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="the system does not list processes")


def children(process: int) -> list[int]:
    """The processes that this one started and that still live."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if parent(path) == process]


def parent(folder: Path) -> int | None:
    try:
        state, above = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state == "Z" else int(above)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_sweep_that_is_ended_takes_its_workers_with_it(how: signal.Signals, tmp_path: Path) -> None:
    words = (sys.executable, "-c", CODE, "sweep", *LONG, "--workers", "2", "--out", str(tmp_path / "out"))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as sweep:
        workers = wait_for(lambda: found if len(found := children(sweep.pid)) >= 3 else [])  # and multiprocessing's own
        sweep.send_signal(how)
        assert sweep.stderr is not None
        told, status = sweep.stderr.read(), sweep.wait(30)
    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() and parent(Path(f"/proc/{pid}")) for pid in workers))
    if how == signal.SIGKILL:
        assert status == -signal.SIGKILL
        return
    hung_up = how == signal.SIGHUP
    assert status == (129 if hung_up else 130)
    assert f"{'Hung up' if hung_up else 'Interrupted'}: 0 of 8 runs are finished and kept" in told
    assert "Go on with: dmdlab sweep --preset smoke" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("handler", "status", "said"),
    [(signal.SIG_DFL, 129, "\nHung up.\n"), (signal.SIG_IGN, 0, "")],
    ids=["alone", "nohup"],
)
def test_a_hang_up_ends_a_command_unless_it_is_ignored(
    handler: signal.Handlers, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert status_of(lambda: os.kill(os.getpid(), signal.SIGHUP)) == status
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capsys.readouterr().err == said


def wait_for(what: Callable[[], T], seconds: float = 60.0) -> T:
    """The first true value of `what()`."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found
