"""The command line as a user meets it: what it prints where, how it ends and what it writes."""

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small import TINY, do, experiments

from dmdlab import __version__
from dmdlab.cli import run as running
from dmdlab.cli import show
from dmdlab.cli.run import draw_figures
from dmdlab.config import known_keys
from dmdlab.laws import LAWS
from dmdlab.pairing import METRICS
from dmdlab.records.record import load_records

Command = Callable[..., tuple[int, str, str]]
SMALL = ("--preset", "smoke", *TINY)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept")
    do(experiments("law.dim=[2, 3]", "seed=[0, 1]"), out)
    return out


def files_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


# --- run


def test_run_ends_with_its_reading_in_words_and_its_folder(dmdlab: Command, tmp_path: Path) -> None:
    code, out, err = dmdlab("run", *SMALL, "--out", tmp_path)
    assert code == 0
    (record,) = load_records(tmp_path)
    for sentence in record.summary["in_words"]:
        assert f"- {sentence}" in out
    assert f"Record: {record.folder}" in out
    assert "1 run, 0 already" in err
    assert "already" not in out


def test_run_as_json_prints_nothing_else_on_stdout(dmdlab: Command, tmp_path: Path) -> None:
    code, out, _ = dmdlab("run", *SMALL, "--out", tmp_path, "--json", "seed=3")
    assert code == 0
    found = json.loads(out)
    assert found["status"] == "done"
    assert found["config"]["seed"] == 3
    assert set(found["metrics"]) == set(METRICS)
    assert Path(found["folder"]).is_dir()
    again, same, _ = dmdlab("run", *SMALL, "--out", tmp_path, "--json", "seed=3")
    assert again == 0
    assert json.loads(same) == found


def test_run_of_a_sweep_takes_the_first_of_each_axis_and_says_so(dmdlab: Command, tmp_path: Path) -> None:
    code, out, err = dmdlab("run", *SMALL, "--out", tmp_path, "--json", "law.dim=[3, 4]", "seed=[5, 6]")
    assert code == 0
    config = json.loads(out)["config"]
    assert (config["law.dim"], config["seed"]) == (3, 5)
    assert "law.dim=3" in err
    assert "seed=5" in err
    assert len(load_records(tmp_path)) == 1


# --- sweep


def test_a_sweep_ends_with_a_table_and_a_second_one_does_nothing(dmdlab: Command, tmp_path: Path) -> None:
    words = ("sweep", *SMALL, "law.dim=[2, 3]", "seed=[0, 1]", "--out", tmp_path, "--workers", "1")
    code, out, err = dmdlab(*words)
    assert code == 0
    assert "4 runs, 0 already" in err
    for heading in ("copy_index", "ceiling", "pair_cosine", "fidelity", "seeds"):
        assert heading in out
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    code, again, err = dmdlab(*words)
    assert code == 0
    assert "4 already" in err
    assert "0 to do" in err
    assert again == out
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before

    lost = next(tmp_path.rglob("summary.json"))
    lost.unlink()
    code, _, err = dmdlab(*words)
    assert code == 0
    assert "1 to do" in err
    after = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("summary.json")}
    assert {p for p in after if after[p] != before[p]} == {lost}


def test_a_sweep_as_json_is_one_row_a_run(dmdlab: Command, swept: Path) -> None:
    code, out, _ = dmdlab("sweep", *SMALL, "law.dim=[2, 3]", "seed=[0, 1]", "--out", swept, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(r["law.dim"], r["seed"]) for r in rows] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert all(set(METRICS) < set(r) for r in rows)


def test_a_file_is_swept_into_a_folder_of_its_name(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('preset = "smoke"\nquestion = "Why?"\n[sweep]\nseed = [0, 1]\n')
    code, out, _ = dmdlab("sweep", "mine.toml", *TINY, "--workers", "1")
    assert code == 0
    assert "Why?" in out
    assert len(load_records(Path("runs/mine"))) == 2


def test_a_failed_run_is_told_and_the_status_is_3(dmdlab: Command, tmp_path: Path) -> None:
    words = ("sweep", *SMALL, "student.iterations=50", "student.learning_rate=[1e-3, 1e30]", "--out", tmp_path)
    code, out, err = dmdlab(*words)
    assert code == 3
    assert "failed at iteration" in err
    assert "1 of 2 runs failed; the others are kept" in err
    assert "copy_index" in out
    assert sorted(r.summary["status"] for r in load_records(tmp_path)) == ["done", "failed"]
    code, out, _ = dmdlab(*words, "--json")
    assert code == 3
    assert sorted(r["status"] for r in json.loads(out)) == ["done", "failed"]


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_a_single_run_that_fails_says_at_which_iteration(dmdlab: Command, tmp_path: Path) -> None:
    code, out, err = dmdlab("run", *SMALL, "student.iterations=50", "student.learning_rate=1e30", "--out", tmp_path)
    at = load_records(tmp_path)[0].summary["failed_at"]
    assert code == 3
    assert f"failed at iteration {at}" in out
    assert f"failed at iteration {at}" in err
    assert "had diverged before" not in out + err


# --- dry runs


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    out_folder = tmp_path / "new"
    code, out, _ = dmdlab("sweep", *SMALL, "law.dim=[2, 3]", "seed=[0, 1]", "--out", out_folder, "--dry-run")
    assert code == 0
    assert "4 to do" in out
    assert out.count("an ensemble of 2") == 2
    assert out.count("mixture-d2-teacher-s") == 2
    assert not out_folder.exists()

    before = files_below(swept)
    code, out, _ = dmdlab("sweep", *SMALL, "law.dim=[2, 4]", "--out", swept, "--dry-run", "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(r["law.dim"], r["done"]) for r in rows] == [(2, True), (4, False)]
    assert set(known_keys()) <= set(rows[0])
    code, _, _ = dmdlab("run", *SMALL, "--out", out_folder, "--dry-run")
    assert code == 0
    assert files_below(swept) == before
    assert not out_folder.exists()


# --- reading


def test_a_table_holds_every_run_in_three_formats(dmdlab: Command, swept: Path) -> None:
    code, text, _ = dmdlab("table", swept)
    assert code == 0
    code, out, err = dmdlab("table", swept, "--format", "json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    code, out, err = dmdlab("table", swept, "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert (code, err) == (0, "")
    assert len(rows) == len(lines) == 4
    for row, line in zip(rows, lines, strict=True):
        assert row["id"] in text
        assert set(row) == set(line)
        assert set(known_keys()) | set(METRICS) <= set(row)
        for key in ("copy_index", "e_dt", "noise.sigma_max"):
            assert line[key] == ("" if row[key] is None else str(row[key]))
        assert json.loads(line["student.levels"]) == row["student.levels"]


def test_a_table_can_be_narrowed(dmdlab: Command, swept: Path) -> None:
    code, out, _ = dmdlab("table", swept, "law.dim=3", "seed=1", "--format", "json")
    assert code == 0
    assert [(r["law.dim"], r["seed"]) for r in json.loads(out)] == [(3, 1)]


def test_laws_and_metrics_are_the_catalogues(dmdlab: Command) -> None:
    code, out, _ = dmdlab("laws")
    assert code == 0
    assert all(name in out for name in LAWS)
    code, out, _ = dmdlab("laws", "--json")
    found = json.loads(out)
    assert code == 0
    assert list(found) == list(LAWS)
    assert found["ring"]["min_dim"] == 2
    assert found["mixture"]["parameters"]["components"] == 16

    code, out, _ = dmdlab("metrics")
    assert code == 0
    assert all(key in out for key in METRICS)
    code, out, _ = dmdlab("metrics", "--json")
    assert code == 0
    assert list(json.loads(out)) == list(METRICS)
    assert all(m["definition"] for m in json.loads(out).values())


def test_config_show_tells_every_setting_after_all_overrides(dmdlab: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('question = "Why?"\nseed = 4\n[law]\nname = "ring"\n[sweep]\n"law.dim" = [2, 8]\n')
    code, out, _ = dmdlab("config", "show", file, "teacher.steps=9", "--preset", "smoke", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["question"] == "Why?"
    assert found["sweep"] == {"law.dim": [2, 8]}
    settings = found["settings"]
    assert set(known_keys()) < set(settings)
    assert (settings["teacher.steps"], settings["seed"], settings["network.width"]) == (9, 4, 16)
    assert settings["law.radius"] == 2.0

    code, out, _ = dmdlab("config", "show", file)
    assert code == 0
    assert all(key in out for key in known_keys())
    assert "swept" in out


def test_version_and_help(dmdlab: Command) -> None:
    assert dmdlab("--version")[:2] == (0, f"dmdlab {__version__}\n")
    as_module = subprocess.run([sys.executable, "-m", "dmdlab", "--version"], capture_output=True, text=True)
    assert (as_module.returncode, as_module.stdout) == (0, f"dmdlab {__version__}\n")
    code, out, _ = dmdlab("--help")
    assert code == 0
    for command in ("run", "sweep", "table", "plot", "laws", "metrics", "config"):
        assert command in out
    for words in (["run"], ["sweep"], ["table"], ["plot"], ["laws"], ["metrics"], ["config"], ["config", "show"]):
        assert dmdlab(*words, "--help")[0] == 0


def test_a_table_of_numbers_is_whole_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show.plain_table(["one measure", "another measure", "a third one"], [[0.123, 4.56, 78.9]], whole=True)
    assert [cell.strip() for cell in capsys.readouterr().out.splitlines()[3].strip("│").split("│")] == [
        "0.123",
        "4.56",
        "78.9",
    ]


def test_the_list_of_commands_cuts_no_sentence_in_a_terminal(dmdlab: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for group in ([], ["config"], ["runs"]):
        listed = dmdlab(*group, "--help")[1].partition("Commands:\n")[2].rstrip().splitlines()
        assert listed
        assert all(line.endswith(".") and not line.endswith("...") for line in listed), listed


# --- figures


def test_plot_writes_pdf_png_caption_and_numbers(dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    code, out, _ = dmdlab("plot", "dimension", swept, "--out", tmp_path / "figure")
    assert code == 0
    assert [Path(line).name.removeprefix("figure") for line in out.split()] == [".pdf", ".png", ".txt", "-numbers.csv"]
    assert all(Path(line).stat().st_size > 100 for line in out.split())
    axis = ("--x", "law.dim", "--by", "student.init", "--panels", "law.name", "--measures", "fidelity, seconds")
    assert dmdlab("plot", "axis", swept, *axis, "--out", tmp_path / "axis")[0] == 0
    assert (tmp_path / "axis.txt").read_text().startswith("Copying against dimension: law ")
    assert "are for the plot 'axis'" in " ".join(dmdlab("plot", "curve", swept, "--x", "law.dim")[2].split())


def test_run_and_sweep_draw_their_figures_and_say_where(
    dmdlab: Command, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "draw_figures", draw_figures)
    sweep = ("sweep", *SMALL, "law.dim=[2, 3]", "seed=[0, 1]", "--out", swept)
    for words, folder in ((("run", *SMALL, "--out", tmp_path), tmp_path), (sweep, swept / "figures")):
        code, out, _ = dmdlab(*words)
        assert code == 0
        drawn = [Path(name) for line in out.splitlines() if line.startswith("Figure: ") for name in line.split()[1:]]
        assert len([p for p in drawn if p.suffix in (".pdf", ".png", ".txt")]) == 6
        assert [p for p in drawn if p.suffix == ".csv"] == [p for p in drawn if p.name == "dimension-numbers.csv"]
        assert all(p.is_relative_to(folder) and p.stat().st_size > 100 for p in drawn)


# --- as a process of its own


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from dmdlab.cli import main; main()", *map(str, words)]


def all_gone(group: int) -> bool:
    """Whether the last process of this group ends within ten seconds."""
    with contextlib.suppress(ProcessLookupError):
        for _ in range(100):
            os.killpg(group, 0)
            time.sleep(0.1)
        return False
    return True


@pytest.mark.chaos
@pytest.mark.usefixtures("heard")
def test_ctrl_c_keeps_finished_runs_stops_all_workers_and_says_how_to_go_on(dmdlab: Command, tmp_path: Path) -> None:
    """One of two workers has a short run, the other an endless one; the terminal interrupts all of them at once."""
    words = ("sweep", *SMALL, "student.iterations=[20, 100000]", "--no-compile", "--out", tmp_path, "--workers", "2")
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + 90
            while not list(tmp_path.rglob("summary.json")):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.5)
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert all_gone(process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "Interrupted: 1 of 2 runs are finished and kept" in " ".join(err.split())
    assert "Go on with: dmdlab sweep --preset smoke" in err
    assert "Traceback" not in err
    code, out, _ = dmdlab(*words, "--dry-run")
    assert code == 0
    assert "1 already" in out
    assert "1 to do" in out
