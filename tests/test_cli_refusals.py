"""Bad input on the command line: status 2, one sentence that says what to do, nothing written, nothing lost."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import TINY, do, experiments

from dmdlab.records.record import load_records

Command = Callable[..., tuple[int, str, str]]
SMALL = ("--preset", "smoke", *TINY)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept")
    do(experiments(), out)
    return out


def assert_refused(answer: tuple[int, str, str], *words: str) -> None:
    """Exit status 2, nothing on stdout, one sentence on stderr with these words."""
    code, out, err = answer
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("dmdlab: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


WRONG = {
    "unknown key": (["student.lerning_rate=1"], ["student.lerning_rate", "did you mean 'student.learning_rate'"]),
    "wrong type": (["law.dim=two"], ["law.dim", "integer", "'two'"]),
    "dim 0": (["law.dim=0"], ["law.dim", "greater than or equal to 1"]),
    "dim below the law's": (["law.name=ring", "law.dim=1"], ["law.dim is 1", "'ring'"]),
    "unknown law": (["law.name=rnig"], ["'rnig'", "did you mean 'ring'"]),
    "empty axis": (["law.dim=[]"], ["law.dim", "axis is empty"]),
    "zero seeds": (["seed={ start = 0, stop = 0 }"], ["seed", "axis is empty"]),
    "negative sigma": (["noise.sigma_min=-1.0"], ["noise.sigma_min", "greater than 0"]),
    "no key=value": (["seed=1", "seed"], ["'seed': expected key=value"]),
    "a key alone": (["law.dim"], ["law.dim: no such file", "or a setting with its value, as in law.dim=..."]),
    "noise beyond float32": (["noise.sigma_max=1e308"], ["noise.sigma_max", "1e-15 to 1e15", "float32"]),
    "an option as a setting": (["preset=paper"], ["preset=paper", "no setting but an option", "--preset paper"]),
    "values without brackets": (["law.dim=2,3"], ["law.dim", "several values are a list, [2,3]"]),
    "unknown preset": (["--preset", "smok"], ["unknown preset 'smok'", "did you mean 'smoke'"]),
    "no such file": (["nowhere.toml"], ["nowhere.toml: no such file"]),
    "no such device": (["--device", "gpu"], ["--device gpu", "auto, cpu, cuda or cuda:N"]),
}


@pytest.mark.parametrize("command", ["run", "sweep"])
@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_refused_before_anything_is_written(
    case: str, command: str, dmdlab: Command, tmp_path: Path
) -> None:
    words, expected = WRONG[case]
    preset = [] if "--preset" in words else ["--preset", "smoke"]
    assert_refused(dmdlab(command, *words, *preset, "--out", tmp_path / "out"), *expected)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_of_nothing_is_refused(dmdlab: Command) -> None:
    assert_refused(dmdlab("sweep", "seed=1"), "expected an experiment file", "--preset NAME")


def test_a_word_of_nothing_is_no_path(dmdlab: Command, swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was the folder where one stands, which here holds runs."""
    monkeypatch.chdir(swept)
    before = set(swept.rglob("*"))
    for words in (["run"], ["table"], ["runs", "ls"], ["plot", "curve"], ["sweep", *SMALL, "--out"], ["explore"]):
        assert_refused(dmdlab(*words, ""), f"the word after '{words[-1]}' is empty", "a script's variable is not set")
    assert_refused(dmdlab("sweep", *SMALL, "--out="), "--out= has no value")
    for law, key in (("images", "path"), ("empirical", "path"), ("images", "labels")):
        words = [f"law.name={law}", f"law.{key}=", *(["law.path=x"] if key == "labels" else [])]
        assert_refused(dmdlab("config", "show", *words), f"law.{key} is empty: give the path of a file")
    assert_refused(
        dmdlab("config", "show", "law.name=images", 'law.path="a\\u0000b"'), "law.path is 'a\\x00b', which holds"
    )
    assert set(swept.rglob("*")) == before


def test_an_option_of_the_home_directory_is_below_it(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell puts it there behind an equals sign; a word of its own is the shell's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    assert_refused(dmdlab("run", *SMALL, "--out=~/file"), f"{tmp_path / 'file'}: this is a file")
    assert_refused(dmdlab("table", "~/file"), "~/file: no such folder")


def test_an_out_that_is_a_file_is_refused_and_left_alone(dmdlab: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    for words in (["run"], ["sweep"], ["sweep", "--dry-run"]):
        assert_refused(dmdlab(*words, *SMALL, "--out", file), "--out", str(file), "this is a file; expected a folder")
    assert_refused(dmdlab("run", *SMALL, "--out", file / "below"), "--out", "below")
    assert file.read_text() == "precious"


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_an_out_that_cannot_be_written_is_refused(dmdlab: Command, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert_refused(dmdlab("run", *SMALL, "--out", tmp_path), "--out", "cannot write there", "choose a folder you own")


def test_what_the_machine_lacks_is_said_before_anything_is_trained(dmdlab: Command, tmp_path: Path) -> None:
    for words, told in (
        (["network.precision=tf32", "--device", "cpu"], ("network.precision is 'tf32'", "set it to auto or one of")),
        (["--device", "cuda:99"], ("--device cuda:99",)),
        (["--memory", "200KiB"], ("needs", "by estimate", "smaller", "more --memory")),
        (["--memory", "8 gigs"], ("--memory 8 gigs", "8GiB")),
    ):
        for command in ("run", "sweep"):
            assert_refused(dmdlab(command, *SMALL, *words, "--out", tmp_path / command), *told)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_folders_that_hold_no_runs_are_refused(dmdlab: Command, tmp_path: Path) -> None:
    assert_refused(dmdlab("table", tmp_path / "nowhere"), "no such folder")
    assert_refused(dmdlab("table", tmp_path), "no finished run", f"`dmdlab sweep FILE --out {tmp_path}` makes some")
    (tmp_path / "b.png").touch()
    (tmp_path / "a.png").touch()
    assert_refused(dmdlab("table", tmp_path), "no finished run", "it holds files such as a.png; expected a folder")
    assert_refused(dmdlab("table", tmp_path, "--format", "cvs"), "--format cvs", "did you mean 'csv'")


def test_a_file_in_place_of_a_folder_of_runs_is_called_one(dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seed = 1")
    for words in (["table"], ["plot", "curve"], ["explore"], ["runs", "ls"], ["runs", "gc"], ["runs", "verify"]):
        said = ("mine.toml: this is a file; expected a folder", "a sweep of it is in runs/mine")
        assert_refused(dmdlab(*words, file), *said)
        assert_refused(dmdlab(*words, tmp_path / "none"), "none: no such folder; expected one")
    assert_refused(dmdlab("runs", "show", file, "1a2b"), "this is a file")
    (run, *_) = (swept / "runs").iterdir()
    assert_refused(dmdlab("runs", "ls", run), "no store of runs", f"this is one run of {swept.resolve()}")


def test_runs_of_another_version_are_refused_and_left_alone(dmdlab: Command, tmp_path: Path) -> None:
    do(experiments(), tmp_path)
    path = next(tmp_path.rglob("summary.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))
    before = path.read_bytes()
    for words in (["table", tmp_path], ["run", *SMALL, "--out", tmp_path], ["sweep", *SMALL, "--out", tmp_path]):
        assert_refused(dmdlab(*words), "written by another version", "format 0")
    assert path.read_bytes() == before


def test_a_wrong_filter_is_refused(dmdlab: Command, swept: Path) -> None:
    assert_refused(dmdlab("table", swept, "law.dmi=3"), "no run has a key 'law.dmi'")
    assert_refused(dmdlab("table", swept, "law.dim"), "expected a filter such as law.dim>=32")


def test_filters_that_choose_nothing_are_told_what_there_is(dmdlab: Command, swept: Path) -> None:
    before = set(swept.rglob("*"))
    rows = [record.row for record in load_records(swept)]
    there = ", ".join(sorted({str(row["student.init"]) for row in rows}))
    said = f"none of the {len(rows)} runs is chosen by student.init=rotatd: student.init is {there}; choose among these"
    for words in (["plot", "curve"], ["explore"]):
        assert_refused(dmdlab(*words, swept, "student.init=rotatd"), said)
    assert set(swept.rglob("*")) == before
    code, out, err = dmdlab("table", swept, "student.init=rotatd", "--format", "json")  # which is an answer, too
    assert (code, json.loads(out), said in err) == (0, [], True)


def test_runs_are_not_put_among_the_pictures_that_they_are_made_of(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "mine"
    pictures.mkdir()
    for i in range(9):
        Image.fromarray(np.full((4, 4), 20 * i, np.uint8)).save(pictures / f"{i}.png")
    few = ("--preset", "smoke", "law.name=images", "law.side=4", "measure.samples=2")
    few += ("teacher.kind=network", "teacher.target=data")
    monkeypatch.chdir(pictures)
    for path, out in ((".", []), (pictures, ["--out", "."]), ("../mine", ["--out", pictures / "runs"])):
        for command in ("run", "sweep", "worker", "calibrate"):
            assert_refused(
                dmdlab(command, *few, f"law.path={path}", *out), f"it lies in law.path {path}", "choose another"
            )
    assert len(list(pictures.iterdir())) == 9
    assert dmdlab("run", *few, "law.path=.", "--out", "../runs", "--dry-run")[0] == 0


def test_an_unknown_plot_is_refused(dmdlab: Command, swept: Path) -> None:
    before = set(swept.rglob("*"))
    assert_refused(dmdlab("plot", "dimensoin", swept), "unknown plot 'dimensoin'", "did you mean 'dimension'")
    assert set(swept.rglob("*")) == before
