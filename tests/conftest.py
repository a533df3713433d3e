"""Every test runs on one thread, so that timings and last bits do not depend on the machine, and without a display."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

torch.set_num_threads(1)

pytest_plugins = ["page_opened"]


def pytest_collection_finish() -> None:
    """Leave what the tests imported out of every later garbage collection, of which each group of runs makes one."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def dmdlab(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command in this process: exit status, stdout, stderr. No figures, which take longer than the runs."""
    from dmdlab.cli import main
    from dmdlab.cli import run as running

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(running, "draw_figures", lambda names, records, folder: None)

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dmdlab", *map(str, words)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capfd.readouterr()

    return call


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The runs of `faults.WANTED` without a fault."""
    from faults import results, work

    out = tmp_path_factory.mktemp("straight")
    work(out)
    return results(out)


@pytest.fixture
def heard() -> Iterator[object]:
    """Python's own handling of Ctrl-C, which is off where a shell started the tests in its background, and the system's
    of a hang-up, which is off under nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hung_up = signal.signal(signal.SIGHUP, signal.SIG_DFL) if hasattr(signal, "SIGHUP") else None
    yield
    signal.signal(signal.SIGINT, before)
    if hung_up is not None:
        signal.signal(signal.SIGHUP, hung_up)
