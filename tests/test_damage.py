"""Folders of runs as they come: written to by two sweeps at once, copied in part, damaged; files with odd contents."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small import CPU, TINY, do, experiments, group_of
from store_made import published, put

from dmdlab.cli.run import draw_figures
from dmdlab.config import InputError
from dmdlab.group import start_owner
from dmdlab.lab import store as module
from dmdlab.lab.run import run_group
from dmdlab.lab.store import RunResult, Store
from dmdlab.pairing import Pairs, measure
from dmdlab.records.checksums import read_checksums, save_npz
from dmdlab.records.record import load_records
from dmdlab.records.writing import replacing, replacing_in

Command = Callable[..., tuple[int, str, str]]
CODE = "from dmdlab.cli import main; main()"
SMALL = ("--preset", "smoke", *TINY)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds."""
    out = tmp_path_factory.mktemp("swept")
    do(experiments("seed=[0, 1]"), out)
    return out


# --- two at once


def finished(out: Path) -> tuple[Store, RunResult]:
    (experiment,) = experiments()
    store = Store(out)
    (result,) = (e for e in run_group(group_of(experiment), store, CPU) if isinstance(e, RunResult))
    return store, result


def at_once(work: Callable[[int], object], workers: int = 6) -> list[BaseException]:
    """Everything that goes wrong where so many threads do the same at the same time."""
    errors: list[BaseException] = []
    start = threading.Barrier(workers)

    def one(worker: int) -> None:
        start.wait()
        try:
            work(worker)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_sweeps_that_finish_the_same_run_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    store, result = finished(tmp_path)
    row = torch.arange(5.0)
    pairs = store.pairs(result.experiment)
    assert pairs is not None

    def publish(worker: int) -> None:
        for _ in range(10):
            store.put(result, {})
            store.keep_start(result.experiment, row)
            store.keep_pairs(result.experiment, pairs)

    assert at_once(publish) == []
    (record,) = load_records(tmp_path)
    assert set(record.arrays()) >= {"teacher", "student"}
    assert store.start(result.experiment) is not None
    assert not list(tmp_path.rglob(".*"))


def test_folders_put_in_one_place_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    def put(worker: int) -> None:
        for _ in range(30):
            with replacing(tmp_path / "run") as partial:
                partial.mkdir()
                for name in "ab":
                    (partial / name).write_text(str(worker))

    assert at_once(put, 4) == []
    assert len({path.read_text() for path in (tmp_path / "run").iterdir()}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_that_another_sweep_finished_stays(tmp_path: Path) -> None:
    store, result = finished(tmp_path)
    store.put(result, {"commit": "theirs"})
    folder = store.folder(result.experiment)
    store.put(result, {"commit": "ours"})
    assert json.loads((folder / "environment.json").read_text())["commit"] == "theirs"


def test_a_run_that_another_sweep_finishes_while_it_is_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (e,) = experiments()
    theirs, plain = list[bool](), module.write_checksums

    def written(folder: Path, shared: dict[str, str | None]) -> None:
        plain(folder, shared)
        if not theirs:
            theirs.append(True)
            theirs.append(put(tmp_path, e))

    monkeypatch.setattr(module, "write_checksums", written)
    assert not put(tmp_path, e)
    assert theirs == [True, True]


def test_a_run_whose_pairs_are_gone_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (e,) = experiments()
    monkeypatch.setattr(Store, "keep_pairs", lambda self, e, arrays: True)
    with pytest.raises(InputError, match="gone while a run was measured against it"):
        put(tmp_path, e)
    assert Store(tmp_path).standing_ids() == set()


def test_a_run_names_all_that_it_shares(tmp_path: Path) -> None:
    """So that it is copied out with it, and nothing removes it: the networks that it starts at, its calibration."""
    store = Store(tmp_path)
    for init, keep in (("other", lambda e, row: store.keep_start(start_owner(e), row)), ("regressed", store.keep_fit)):
        (e,) = experiments(f"student.init={init}")
        keep(e, torch.ones(3))
        (network,) = (path.name for path in (tmp_path / "teachers").iterdir())
        kept = store.calibration_path(e, "c")
        with replacing_in(kept) as partial:
            save_npz(partial, {"about": np.zeros(1)})
        assert put(tmp_path, e, calibration=kept.name)
        shared = read_checksums(store.folder(e))[1]
        assert {f"teachers/{network}", f"teachers/{e.teacher_id}.safetensors", f"calibration/{kept.name}"} < set(shared)
        assert len(shared) == 4
        shutil.rmtree(tmp_path / "teachers")


def test_a_run_that_another_sweep_is_just_putting_in_its_place_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (e,) = published(tmp_path)
    summary, looks = Store(tmp_path).folder(e) / "summary.json", list[float]()
    whole = summary.read_text()
    summary.write_text(whole[:20])

    def put(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            summary.write_text(whole)

    monkeypatch.setattr("dmdlab.lab.store.time.sleep", put)
    assert Store(tmp_path).finished(e)
    summary.write_text(whole[:20])
    with pytest.raises(InputError, match="damaged"):
        Store(tmp_path).finished(e)


@pytest.mark.slow
def test_two_sweeps_in_one_folder_both_come_to_their_end(tmp_path: Path) -> None:
    words = [sys.executable, "-c", CODE, "sweep", *SMALL, "--device", "cpu", "--workers", "1"]
    call = [*words, "--json", "--out", str(tmp_path)]
    both = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert len(json.loads(out)) == 1
    assert len(load_records(tmp_path)) == 1


def test_a_copied_run_counts_once_and_is_named(dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    run_folder = next((tmp_path / "s" / "runs").iterdir())
    shutil.copytree(run_folder, tmp_path / "s" / "runs" / "z-copy")
    code, out, err = dmdlab("table", tmp_path / "s", "--format", "json")
    assert (code, len(json.loads(out))) == (0, 2)
    assert f"z-copy is the same run as {run_folder}; it counts once" in " ".join(err.split())
    code, _, err = dmdlab("plot", "curve", tmp_path / "s")
    assert code == 0
    assert "it counts once" in err


# --- files as they come


@pytest.mark.parametrize("text", ["a = " + 3000 * "[", "law.dim = " + 3000 * "[" + 3000 * "]"])
def test_brackets_without_end_are_a_sentence(text: str, dmdlab: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(text)
    for words in ((tmp_path / "e.toml",), ("--preset", "smoke", text.replace(" ", ""))):
        code, _, err = dmdlab("sweep", *words, "--out", tmp_path / "out")
        assert (code, err.count("\n")) == (2, 1)
        assert "nested too deeply" in err


def test_a_byte_order_mark_is_no_part_of_an_experiment(dmdlab: Command, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text('question = "Why?"\n[law]\ndim = 3\n', encoding="utf-8-sig")
    code, out, _ = dmdlab("config", "show", tmp_path / "e.toml", "--json")
    assert code == 0
    assert json.loads(out)["settings"]["law.dim"] == 3


def tensors() -> Iterator[tuple[torch.Tensor, str]]:
    yield torch.eye(4).to_sparse(), "Sparse"
    yield torch.empty(4, 4, device="meta"), "meta"


def test_tensors_that_are_no_arrays_are_sentences_and_float8_is_read() -> None:
    for tensor, told in tensors():
        with pytest.raises(InputError, match=rf"student is a tensor that cannot be read.*{told}"):
            measure(torch.eye(4), tensor)
    pairs = Pairs.of(torch.eye(4), torch.eye(4).to(torch.float8_e4m3fn))
    np.testing.assert_array_equal(pairs.student, np.eye(4))
    assert any("float8_e4m3fn" in note for note in pairs.notes)


def test_points_behind_the_first_array_of_a_laws_file_are_not_dropped(dmdlab: Command, tmp_path: Path) -> None:
    words = ("config", "show", "law.name=empirical", "law.dim=2", f'law.path="{tmp_path / "p.npy"}"')
    with (tmp_path / "p.npy").open("wb") as file:
        np.save(file, np.eye(2))
        file.flush()
        assert dmdlab(*words)[0] == 0
        np.save(file, np.eye(2))
    code, _, err = dmdlab(*words)
    assert (code, err.count("\n")) == (2, 1)
    assert "bytes behind its array" in err


DAMAGED = {"cut": b"\x08\x00\x00", "another's": b"hello, I am no tensor", "empty": b""}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_start_network_is_named(damage: str, dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    path = sorted((tmp_path / "s" / "teachers").iterdir())[0]
    words = ("sweep", *SMALL, "seed=[0, 1]", "student.init=rotated", "--device", "cpu", "--out", tmp_path / "s")
    path.write_bytes(DAMAGED[damage])
    code, _, err = dmdlab(*words)
    assert code == 2
    assert f"{path}: damaged" in err
    assert "delete it, and it is trained anew" in err
    save_file({"parameters": torch.ones(2, 3)}, path)
    code, _, err = dmdlab(*words)
    assert code == 2
    assert f"{path}: damaged (parameters (2, 3)" in err


def test_a_lost_or_damaged_calibration_is_named(dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    (path,) = (tmp_path / "s" / "calibration").iterdir()
    with np.load(path) as stored:
        arrays = dict(stored)
    damages: dict[str, Callable[[], object]] = {
        "damaged or cut short": lambda: path.write_bytes(path.read_bytes()[:-40]),
        "damaged: planted/pair_cosine has shape (2,)": lambda: np.savez(
            path, **(arrays | {"planted/pair_cosine": np.zeros(2)})
        ),
        "this is no calibration: planted/pair_cosine missing": lambda: np.savez(
            path, **{key: arrays[key] for key in arrays if key != "planted/pair_cosine"}
        ),
    }
    for told, damage in damages.items():
        damage()
        code, out, err = dmdlab("plot", "dimension", tmp_path / "s")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{path}: {told}" in err
    np.savez(path, **(arrays | {"about": np.array("{ no JSON")}))
    code, _, err = dmdlab("calibrate", *SMALL, "--device", "cpu", "--out", tmp_path / "s")
    assert code == 2
    assert f"{path}: damaged" in err
    path.unlink()
    code, _, err = dmdlab("plot", "dimension", tmp_path / "s")
    assert code == 0
    assert f"Note: {path}: not there" in " ".join(err.split())


def test_a_sweep_refuses_a_damaged_calibration_before_it_trains(dmdlab: Command, swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "s")
    (path,) = (tmp_path / "s" / "calibration").iterdir()
    words = ("sweep", *SMALL, "seed=[0, 1]", "--device", "cpu", "--out", tmp_path / "s")
    path.write_bytes(path.read_bytes()[:-40])
    code, _, err = dmdlab(*words, "student.init=rotated")
    assert code == 2
    assert f"{path}: damaged or cut short" in err
    assert "; delete it, a sweep makes it anew" in err
    assert "write or copy" not in err
    assert len(list((tmp_path / "s" / "runs").iterdir())) == 2


def test_a_figure_at_a_sweeps_end_notes_a_lost_calibration(
    swept: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    shutil.copytree(swept, tmp_path / "s")
    (path,) = (tmp_path / "s" / "calibration").iterdir()
    path.unlink()
    draw_figures(["dimension"], load_records(tmp_path / "s"), tmp_path / "s" / "figures")
    out, err = capfd.readouterr()
    assert "Figure:" in out
    assert err.count("Note:") == 1
    assert f"Note: {path}: not there" in err
    assert f"`dmdlab calibrate` with the sweep's settings and --out {tmp_path / 's'}" in err
    assert not recwarn.list


@pytest.mark.parametrize("file", ["summary", "experiment"])
def test_a_record_that_lacks_what_a_row_is_made_of_is_named(
    file: str, dmdlab: Command, swept: Path, tmp_path: Path
) -> None:
    shutil.copytree(swept, tmp_path / "s")
    path = next((tmp_path / "s").rglob(f"{file}.json"))
    held = json.loads(path.read_text())
    path.write_text(json.dumps({key: held[key] for key in held if key not in ("status", "law.dim")}))
    code, out, err = dmdlab("table", tmp_path / "s")
    assert (code, out) == (2, "")
    assert f"damaged ({file}.json lacks" in err
    path.write_text(3000 * "[")
    assert "damaged" in dmdlab("table", tmp_path / "s")[2]
