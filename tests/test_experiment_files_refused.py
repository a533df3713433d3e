"""Experiment files and key=value words that are refused, each in a sentence."""

import re
from pathlib import Path

import pytest

from dmdlab.config import InputError
from dmdlab.experiments import load
from dmdlab.laws import LAWS, Cube

REFUSED_FILES = {
    "not TOML": ("[law\ndim = 2", ["not valid TOML"]),
    "unknown key": ("[student]\nbatchsize = 3", ["'student.batchsize'", "did you mean 'student.batch'"]),
    "wrong type": ('[law]\ndim = "2"', ["law.dim", "integer"]),
    "empty axis": ("[sweep]\nseed = []", ["sweep.seed", "empty", "at least one value"]),
    "zero seeds": ("[sweep]\nseed = { start = 0, stop = 0 }", ["sweep.seed", "empty"]),
    "axis that is a number": ("[sweep]\nseed = 4", ["sweep.seed", "expected a list or {start, stop}", "got 4"]),
    "range without an end": ("[sweep]\nseed = { start = 2 }", ["sweep.seed", "{start, stop, step}"]),
    "range of reals": ("[sweep]\nseed = { start = 0, stop = 1.5 }", ["sweep.seed", "integers"]),
    "range that stands still": ("[sweep]\nseed = { stop = 3, step = 0 }", ["sweep.seed", "{start, stop, step}"]),
    "range with a slip": ("[sweep]\nseed = { start = 0, stop = 3, stp = 2 }", ["sweep.seed", "'stp'"]),
    "a key that is set twice": ('"student.batch" = 20\n[student]\nbatch = 30', ["student.batch is set twice"]),
    "an axis that is set twice": ('[sweep]\n"law.dim" = [2]\n[sweep.law]\ndim = [3]', ["law.dim is set twice"]),
    "two axes that set the same": (
        '[sweep]\nnetwork = [{width = 8}, {depth = 1}]\n"network.depth" = [2, 3]',
        ["sweep.network.depth sets network.depth, which another axis sets"],
    ),
    "unknown axis": ('[sweep]\n"student.bach" = [1, 2]', ["student.bach", "did you mean 'student.batch'"]),
    "axis of wrong values": ('[sweep]\nseed = [0, "one"]', ["seed", "integer", "'one'"]),
    "a value out of range on an axis": ('[sweep]\n"law.dim" = [2, 0]', ["law.dim", "greater than or equal to 1"]),
    "sweep that is no table": ("sweep = 3", ["sweep", "table of axes", "3"]),
    "question that is no sentence": ("question = 3", ["question", "sentence", "3"]),
    "too many values": ("[sweep]\nseed = { stop = 100001 }", ["sweep.seed: more than 100000 values"]),
    "far too many values": ("[sweep]\nseed = { stop = 1" + "0" * 30 + " }", ["sweep.seed: more than 100000 values"]),
    "too many runs": (
        '[sweep]\nseed = { stop = 1000 }\n"law.dim" = { start = 1, stop = 200 }',
        ["199000 runs", "at most 100000"],
    ),
    "unknown preset": ('preset = "smok"', ["unknown preset 'smok'", "did you mean 'smoke'"]),
}


@pytest.mark.parametrize("case", REFUSED_FILES)
def test_a_wrong_file_is_refused_with_a_sentence(case: str, tmp_path: Path) -> None:
    text, expected = REFUSED_FILES[case]
    file = tmp_path / "question.toml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        load(file).experiments()
    if case != "unknown preset":
        assert "question.toml" in str(error.value)
    for words in expected:
        assert words in str(error.value)


class Opaque(Cube):
    """A law without an exact denoiser."""

    name = "opaque"
    has_denoiser = False


@pytest.mark.parametrize("key", ["teacher.kind=exact", "teacher.target=posterior"])
def test_what_needs_an_exact_denoiser_is_refused_for_a_law_without(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAWS, "opaque", Opaque)
    name, words = key.split("=")[0], ["law.name=opaque", "teacher.kind=network"]
    with pytest.raises(InputError, match=rf"{name}: the law 'opaque' has no exact denoiser; use a trained network"):
        load(None, None, [*words, key]).experiments()
    assert load(None, None, words).experiments()


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "question.toml"
    path.touch()
    with pytest.raises(InputError, match=r"qestion\.toml: no such file; .*did you mean 'question\.toml'"):
        load(path.with_name("qestion.toml"))
    with pytest.raises(InputError, match="cannot be read"):
        load(path.parent)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("law.dim", "'law.dim': expected key=value"),
        ("=3", "'=3': expected key=value"),
        ("lawdim=3", "command line: unknown key 'lawdim'; did you mean 'law.dim'"),
        ("seed=[]", "command line: sweep.seed: the axis is empty"),
        ("seed=0x", "command line: seed: Input should be a valid integer, got '0x'"),
        ("law.name=mixtrue", "did you mean 'mixture'"),
        ("noise.rho=1e8", "noise.rho: Input should be less than or equal to 100"),  # float32 has no such levels
        ("noise.rho=0.001", "noise.rho: Input should be greater than or equal to 1"),
        ("measure.checkpoints=100000000", "measure.checkpoints: Input should be less than or equal to 10000"),
        ("student.iterations=1000000000000", "student.iterations: Input should be less than or equal to 10000000"),
    ],
)
def test_a_wrong_word_is_refused_with_a_sentence(word: str, expected: str) -> None:
    with pytest.raises(InputError, match=re.escape(expected)):
        load(None, None, [word]).experiments()


@pytest.mark.parametrize("value", ["3", '["smoke"]'])
def test_a_preset_that_is_no_name_is_refused(value: str, tmp_path: Path) -> None:
    file = tmp_path / "slip.toml"
    file.write_text(f"preset = {value}")
    with pytest.raises(InputError, match="preset"):
        load(file)


def test_a_wrong_value_on_an_axis_made_by_a_word_names_the_command_line() -> None:
    with pytest.raises(InputError, match=r"^command line: law\.dim"):
        load(None, None, ["law.dim=[2, 0]"]).experiments()
