"""Curves from files and folders: other names, what is refused, where a training broke, and the command."""

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import made, write_run

from dmdlab.config import InputError
from dmdlab.diagnosis import COLUMNS, curve_of, diagnose, read_csv

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "figures"))

import healthy  # noqa: E402

RUNS, MAP, ABOUT = healthy.stored()

Command = Callable[..., tuple[int, str, str]]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_other_names_is_read_by_a_mapping(tmp_path: Path) -> None:
    kept = next(run for run in RUNS if run.kind == "lagging" and not run.tuned_on)
    names = list(kept.curve.columns)
    rows = np.stack([kept.curve.columns[name] for name in names], axis=1)
    with (tmp_path / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"my_{name}" for name in names])
        writer.writerows([["" if math.isnan(x) else x for x in row] for row in rows.tolist()])
    mapping = {name: f"my_{name}" for name in names if name in COLUMNS}
    found = diagnose(read_csv(tmp_path / "log.csv", mapping))
    assert found == diagnose(kept.curve)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty; expected a header"),
        ("iteration,dm_loss\n", "no rows below its header"),
        ("step,loss\n1,2\n", "no column 'iteration' among step, loss; say which one"),
        ("iteration,loss\n1,2\n", r"none of its columns \(iteration, loss\) is known; expected some of dm_loss"),
        ("iteration,dm_loss\n1,2\n1,3\n", r"does not rise \(1, then 1 in row 2\); sort the rows"),
        ("iteration,dm_loss\n2,2\n1,3\n", r"does not rise \(2, then 1 in row 2\)"),
        ("iteration,dm_loss\n1,2\nnan,3\n", "'iteration' holds values that are no finite numbers"),
        ("iteration,dm_loss\n1,nan\n2,\n", "no finite number in any known column"),
        ("iteration,dm_loss\n1,much\n", "'much' in column 'dm_loss', row 1 below the header, is no number"),
    ],
)
def test_a_file_that_is_no_curve_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_csv(written(tmp_path / "log.csv", text))


def test_a_training_that_broke_is_said_to_have(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv", "iteration,dm_loss,fidelity\n1,2,3\n10,nan,\n20,nan,\n")
    found = diagnose(read_csv(log))
    assert found.verdict == "learning-rate"
    assert found.reasons == ("from iteration 10 on its numbers are not finite, or ran away.",)


@pytest.mark.parametrize("loss", ["dm_loss", "score_loss", "variance_ratio"])
@pytest.mark.parametrize(
    ("end", "broke"),
    [("3,", None), ("3,\n4,", None), ("3,nan", 3.0), ("3,\n4,inf", 4.0), ("3,nan\n4,", 3.0), ("3,nan\n4,1", None)],
)
def test_an_empty_cell_is_no_divergence_and_nan_or_inf_is(
    loss: str, end: str, broke: float | None, tmp_path: Path
) -> None:
    rows = end.replace("\n", ",1\n") + ",1"
    log = written(tmp_path / "log.csv", f"iteration,{loss},fidelity\n1,1,1\n2,1,1\n{rows}\n")
    assert read_csv(log).broke == broke


def test_a_training_broke_where_its_first_loss_did(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv", "iteration,dm_loss,score_loss\n1,1,1\n5,2,nan\n9,inf,nan\n")
    assert read_csv(log).broke == 5


def test_a_healthy_curve_whose_last_loss_was_not_measured_is_healthy(tmp_path: Path) -> None:
    row = "{},{},1.0,1.05,0.93,0,0.05,-0.02\n"
    head = "iteration,dm_loss,variance_ratio,fidelity,coverage,lost,student_step,score_excess\n"
    text = head + row.format(1, 0.5) + row.format(10, 0.4) + row.format(20, "{}")
    assert diagnose(read_csv(written(tmp_path / "a.csv", text.format("")))).verdict == "healthy"
    assert diagnose(read_csv(written(tmp_path / "b.csv", text.format("nan")))).verdict == "learning-rate"


def test_folders_that_hold_no_curve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        curve_of(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"no summary\.json; expected the folder of a finished run"):
        curve_of(tmp_path)
    run = write_run(tmp_path, made())
    (run / "curve.csv").unlink()
    with pytest.raises(InputError, match=r"curve\.csv: not there, though a finished run needs it"):
        curve_of(run)
    written(run / "curve.csv", "iteration,dm_loss\n")
    with pytest.raises(InputError, match=r"its curve\.csv has no rows"):
        curve_of(run)


def test_the_command_reads_runs_and_files(dmdlab: Command, tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv", "step,dm_loss,score_excess\n1,0.1,0.1\n10,0.3,2\n20,0.3,2.5\n")
    code, out, _ = dmdlab("diagnose", log, "--columns", "iteration=step")
    assert code == 0
    assert out.startswith("- It cannot be told: the fake score's excess risk is 2.25; healthy runs stay below 0.2.")
    code, out, _ = dmdlab("diagnose", log, "--columns", "iteration=step", "--json")
    assert '"verdict": "unknown"' in out
    run = write_run(tmp_path / "s", made())
    assert dmdlab("diagnose", run)[0] == 0
    for words, said in (
        ((log,), "say which one it is with --columns iteration=NAME"),
        ((log, "--columns", "step"), "expected KNOWN=NAME"),
        ((log, "--columns", "iteration=steps"), "did you mean 'step'?"),
        ((log, "--columns", "iterations=step"), "did you mean 'iteration'?"),
        ((run, "--columns", "iteration=step"), "leave out --columns"),
        ((tmp_path / "s",), "a folder of runs; name one of those"),
    ):
        code, out, err = dmdlab("diagnose", *words)
        assert (code, out) == (2, "")
        assert said in " ".join(err.split())
