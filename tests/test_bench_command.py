"""`dmdlab bench`: what it lists and what it refuses."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import suite
from benchmarks.__main__ import bench
from dmdlab.config import InputError


def call(names: list[str], **given: Any) -> None:
    settings = {"device": "cpu", "threads": 1, "quick": False, "full": False, "listing": False, "out": None}
    bench(names, **(settings | given))


def test_the_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    call([], listing=True)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(suite.BENCHMARKS)


def test_bad_words_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no benchmark 'troughput'; did you mean 'throughput'"):
        call(["limits", "troughput"], out=tmp_path)
    with pytest.raises(InputError, match="--quick needs --out"):
        call(["transport"], quick=True)
    with pytest.raises(InputError, match="--device cuda:99"):
        call([], device="cuda:99")
    assert not list(tmp_path.iterdir())


def test_without_a_checkout_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmarks.__main__.__file__", str(tmp_path / "site" / "dmdlab" / "cli" / "bench.py"))
    with pytest.raises(InputError, match="clone the repository"):
        call([])
