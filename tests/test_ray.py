"""The engine on a Ray cluster of several machines, which are processes of this one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from small import TINY, experiments

from dmdlab.group import Group
from dmdlab.lab import on_ray
from dmdlab.lab.engines import At, Lost, Raised
from dmdlab.lab.joining import ray_cluster
from dmdlab.lab.on_ray import Cluster, Terms, tasks
from dmdlab.records.record import load_records
from dmdlab.records.verify import verify

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'dmdlab[ray]'"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.xdist_group("ray"),
]
Command = Callable[..., tuple[int, str, str]]
TERMS = Terms(memory=2**20)
GROUPS = [Group(tuple(experiments(f"seed={seed}"))) for seed in range(4)]


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A head without cores, and two machines of one core each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for the work below, which they import
    from ray.cluster_utils import Cluster as Machines

    found = Machines(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=1, wait=False)
    found.wait_for_nodes()
    yield found
    found.shutdown()
    del os.environ["PYTHONPATH"]


@pytest.fixture
def cluster(machines: Any) -> Iterator[Cluster]:
    with ray_cluster(machines.address) as found:
        yield found


def files(out: Path) -> dict[str, bytes | dict]:
    """All that a store's runs are, but for where and how long they took."""
    found: dict[str, bytes | dict] = {}
    for path in sorted(out.glob("runs/*/*")):
        if path.name not in ("environment.json", "checksums.json"):
            found[f"{path.parent.name}/{path.name}"] = path.read_bytes()
    for path in sorted(out.glob("pairs/*")):
        found[path.name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes | dict]:
    """The same runs by this process."""
    from small import do

    out = tmp_path_factory.mktemp("local")
    do(experiments("law.dim=[2, 3]", 'student.init=["teacher", "rotated"]'), out)
    return files(out)


@pytest.mark.parametrize("way", [(), ("--collect",)], ids=["shared folder", "collected"])
def test_records_are_the_same_bit_for_bit_as_on_this_machine(
    way: tuple[str, ...], machines: Any, local: dict, dmdlab: Command, tmp_path: Path
) -> None:
    words = ("sweep", "--preset", "smoke", *TINY, "law.dim=[2, 3]", 'student.init=["teacher", "rotated"]')
    code, _, err = dmdlab(*words, "--engine", "ray", "--address", machines.address, *way, "--out", tmp_path / "out")
    assert code == 0, err
    assert "3 machines of the Ray cluster" in err
    assert files(tmp_path / "out") == local
    assert verify(tmp_path / "out").sound
    assert len(load_records(tmp_path / "out")) == 4
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@dataclass(frozen=True)
class Does:
    """Work that says its seed, after what a test does to it."""

    folder: Path
    what: str

    def __call__(self, group: Group) -> Iterator[int]:
        seed = group.shared.seed
        (self.folder / f"{seed}-{os.getpid()}").touch()
        yield seed
        if self.what == "die" and seed == 1 and len(list(self.folder.glob("1-*"))) < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "always die" and seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "raise" and seed == 1:
            raise ValueError("unlucky")
        if self.what == "long":
            time.sleep(2.0)
        yield 10 * seed

    def times(self, seed: int) -> int:
        """Times that a group was begun, by different processes."""
        return len(list(self.folder.glob(f"{seed}-*")))


def said(found: list[tuple[int, Any]]) -> list[tuple[int, int]]:
    return sorted(one for one in found if isinstance(one[1], int))


def test_a_killed_worker_is_followed_and_an_error_is_not(cluster: Cluster, tmp_path: Path) -> None:
    every = [(seed, value) for seed in range(4) for value in (seed, 10 * seed)]
    for what, retries, lost, raised in (
        ("die", 1, 1, ""),
        ("raise", 1, 0, "unlucky"),
        ("always die", 0, 0, "its worker died, 1 times; tried no more"),
    ):
        folder = tmp_path / what
        folder.mkdir()
        work = Does(folder, what)
        found = list(tasks(cluster, work, GROUPS, Terms(memory=2**20, retries=retries)))
        assert [event.again for _, event in found if isinstance(event, Lost)] == lost * [1]
        errors = [(index, str(event.error)) for index, event in found if isinstance(event, Raised)]
        assert [index for index, _ in errors] == [1] * bool(raised)
        assert all(raised in text for _, text in errors)
        expected = set(every) - ({(1, 10)} if raised else set())
        on_its_way = {(1, 1)} if what == "always die" else set()  # what a process said last may die with it
        assert expected - on_its_way <= set(said(found)) <= expected
        assert work.times(1) == 1 + lost
        assert {event.host for _, event in found if isinstance(event, At)}


def test_a_machine_that_leaves_is_followed(cluster: Cluster, machines: Any, tmp_path: Path) -> None:
    work, found, gone = Does(tmp_path, "long"), [], None
    for index, event in tasks(cluster, work, GROUPS, TERMS):
        found.append((index, event))
        if gone is None and sum(isinstance(e, At) for _, e in found) == 2:
            gone = machines.worker_nodes.copy().pop()
            machines.remove_node(gone, allow_graceful=False)
    assert [value for _, value in said(found) if value >= 10] == [10, 20, 30]
    assert {(index, 10 * index) for index in range(4)} <= set(said(found))
    assert sum(isinstance(event, Lost) for _, event in found) == 1
    assert not [event for _, event in found if isinstance(event, Raised)]
    machines.add_node(num_cpus=1)


def test_what_no_machine_has_room_for_is_a_sentence(cluster: Cluster, tmp_path: Path) -> None:
    from dmdlab.config import InputError

    with pytest.raises(InputError, match=r"no machine of the Ray cluster has room .*\(2 CPUs\); there are"):
        list(tasks(cluster, Does(tmp_path, ""), GROUPS, Terms(cpus=2)))


def test_what_is_interrupted_leaves_as_it_should(cluster: Cluster, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(on_ray, "GRACE", 10.0)
    doing = tasks(cluster, Does(tmp_path, "long"), GROUPS, TERMS)
    assert isinstance(next(doing)[1], At)
    began = time.monotonic()
    doing.close()
    assert time.monotonic() - began < 12
    assert json.loads(json.dumps(cluster.machines()[0].host))


@pytest.mark.parametrize("way", [(), ("--collect",)], ids=["shared folder", "collected"])
def test_a_stopped_sweep_keeps_what_is_finished_and_what_it_trains(
    way: tuple[str, ...], machines: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("sweep", "--preset", "smoke", *TINY, "student.iterations=[20, 1000000]", "--no-compile", "--out", str(out))
    code = "from dmdlab.cli import main; main()"
    command = (sys.executable, "-c", code, *words, "--engine", "ray", "--address", machines.address, *way)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sweep:
        end = time.monotonic() + 120
        while not list(out.glob("runs/*/summary.json")) and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(3.0)  # the other trains
        sweep.send_signal(signal.SIGTERM)
        _, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 143, err
    assert "Stopped: 1 of 2 runs are finished and kept in" in err
    assert "What was training goes on from its last checkpoint." in err
    assert len(list((out / "checkpoints").iterdir())) == 1
    assert verify(out).sound
    assert not (out / "leases").exists()
