"""What is said where the options of an engine make no sense, and what a cluster's machines have room for."""

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from small import TINY

from dmdlab.lab.on_ray import Machine, Terms

Command = Callable[..., tuple[int, str, str]]
SWEEP = ("sweep", "--preset", "smoke", *TINY)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--engine", "rya"), "--engine rya: expected local or ray; did you mean 'ray'"),
        (("--address", "h:1"), "--address is for a Ray cluster: give --engine ray"),
        (("--collect",), "--collect is for a Ray cluster: give --engine ray"),
        (("--gpu-share", "0.5"), "--gpu-share is for a Ray cluster"),
        (("--engine", "ray", "--gpu-share", "2"), "--gpu-share 2: expected a part of one GPU"),
    ],
)
def test_options_that_do_not_go_together_are_a_sentence(
    words: tuple[str, ...], told: str, dmdlab: Command, tmp_path: Path
) -> None:
    code, out, err = dmdlab(*SWEEP, *words, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert not (tmp_path / "out").exists()


def test_an_address_where_no_cluster_is_is_a_sentence_soon(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ray", "ray.exceptions"):  # of which nothing is asked
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setattr("dmdlab.lab.joining.WAIT", 0.2)
    silent, rude = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        line, _ = rude.accept()
        with line:
            line.recv(100)
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    with silent, rude:
        places = {f"127.0.0.1:{s.getsockname()[1]}": told for s, told in ((silent, "nobody"), (rude, "no Ray cluster"))}
        places |= {
            "127.0.0.1:1": "nobody answers there",
            "head": "expected host:port",
            "ray://head:1": "expected host:port",
        }
        for place, told in places.items():
            code, _, err = dmdlab(*SWEEP, "--engine", "ray", "--address", place, "--out", tmp_path / "out")
            assert (code, err.count("\n")) == (2, 1)
            assert f"--address {place}: " in err
            assert told in err
    assert not (tmp_path / "out").exists()


def test_without_ray_it_says_which_extra(dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = dmdlab(*SWEEP, "--engine", "ray", "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install 'dmdlab[ray]'" in err


@pytest.mark.parametrize(
    ("terms", "room"),
    [
        (Terms(), 16),
        (Terms(cpus=3), 5),
        (Terms(cpus=1, gpus=1), 4),
        (Terms(cpus=1, gpus=0.3333), 12),
        (Terms(cpus=4, gpus=0.5), 4),
        (Terms(memory=2**31), 2),
        (Terms(memory=2**33), 0),
    ],
)
def test_a_machine_holds_as_many_tasks_as_cores_gpus_and_memory_allow(terms: Terms, room: int) -> None:
    assert Machine("a", 16, 4, 2**32).room(terms) == room
