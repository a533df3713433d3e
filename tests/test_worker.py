"""Workers that drain a sweep without a server, and the scripts that start them on Slurm."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from small import TINY, experiments
from store_made import put

from dmdlab.lab.store import Store
from dmdlab.records.leases import Leases

Command = Callable[..., tuple[int, str, str]]
WORKER = ("worker", "--preset", "smoke", *TINY, "--device", "cpu")
SCRIPTS = sorted((Path(__file__).parents[1] / "docs/slurm").glob("*.sbatch"))


def test_a_worker_does_what_nobody_is_at_and_says_what_stands(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    wanted = experiments("seed={stop = 9}")
    assert all(put(tmp_path, e) for e in wanted[:7])
    with Leases(tmp_path).held([wanted[8].id]):
        code, out, err = dmdlab(*WORKER, "seed={stop = 9}", "--no-wait", "--out", tmp_path)
    assert (code, out) == (0, f"8 of 9 runs are published in {tmp_path}.\n")
    assert "9 runs for 2 workers, on cpu" in err
    assert "9 runs in 2 ensembles" in err
    assert Store(tmp_path).missing(wanted) == [wanted[8]]


def test_a_number_of_workers_that_slurm_says_is_a_number(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "many")
    code, _, err = dmdlab(*WORKER, "--out", tmp_path / "out")
    assert (code, err.count("\n"), "give --of N" in err) == (2, 1, True)
    assert not (tmp_path / "out").exists()
    assert "expected an experiment file" in dmdlab("worker")[2]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_for_slurm_are_scripts(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert "set -euo pipefail" in script.read_text()


def test_there_are_scripts_for_both_ways() -> None:
    assert [path.stem for path in SCRIPTS] == ["ray", "workers"]
