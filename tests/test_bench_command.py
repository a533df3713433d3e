"""`python -m benchmarks`: what it lists and what it refuses; `dmdlab bench` says where it went."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import suite
from dmdlab.cli.bench import app as old
from dmdlab.config import InputError


def test_the_list_names_every_benchmark() -> None:
    done = CliRunner().invoke(suite.app, ["--list"])
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(suite.BENCHMARKS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["counts", "growht", "--device", "cpu"], "no benchmark 'growht'; did you mean 'growth'"),
        (["transport", "--device", "cuda:99"], "--device cuda:99: "),
    ],
)
def test_bad_words_are_refused_before_anything_runs(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words, "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        suite.main()
    assert ended.value.code == 2
    assert f"benchmarks: {said}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_quick_numbers_do_not_take_the_place_of_measured_ones() -> None:
    done = CliRunner().invoke(suite.app, ["transport", "--quick", "--device", "cpu"])
    assert isinstance(done.exception, InputError)
    assert "--quick needs --out" in str(done.exception)


def test_the_command_of_version_0_1_says_what_took_its_place() -> None:
    for words in ([], ["limits", "--quick", "--out", "x"]):
        done = CliRunner().invoke(old, words)
        assert isinstance(done.exception, InputError)  # which the application turns into status 2
        assert "python -m benchmarks" in str(done.exception)
