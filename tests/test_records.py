"""Runs read back from their folders, in both formats; what is lost or damaged; cells; writing whole or not at all."""

import contextlib
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import made, write_run

from dmdlab.config import RESULT_VERSION, InputError
from dmdlab.pairing import calibrate
from dmdlab.records import writing
from dmdlab.records.catalogue import chosen, none_chosen
from dmdlab.records.record import ARRAYS, load_calibrated, load_record, load_records
from dmdlab.records.writing import prepare, replacing, write_json, write_text
from dmdlab.trouble import Unwritable

FORMATS = (1, 2)


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A finished run's folder of the format that the test asks for."""
    return write_run(tmp_path, made(dim=3), getattr(request, "param", 2))


# --- a run read back


@pytest.mark.parametrize("run", FORMATS, indirect=True)
def test_a_run_of_either_format_reads_the_same(run: Path, tmp_path: Path) -> None:
    (record,) = load_records(tmp_path)
    arrays = record.arrays()
    assert tuple(arrays) == ARRAYS
    for name, array in made(dim=3).arrays().items():
        np.testing.assert_array_equal(arrays[name], array)
    np.testing.assert_array_equal(record.pairs().teacher, arrays["teacher"])
    assert record.curve()["dm_loss"].tolist() == [0.5, 0.25]
    assert record.row["law.dim"] == 3
    assert record.row["pair_cosine"] == record.summary["metrics"]["pair_cosine"]["value"]
    assert record.row["result_version"] == record.summary["format"]
    assert list(record.row)[:6] == ["id", "status", "failed_at", "law.name", "law.dim", "result_version"]
    assert record.calibration() is None
    assert load_record(run).row == record.row == load_records(str(run))[0].row


@pytest.mark.parametrize("run", FORMATS, indirect=True)
def test_a_run_finds_its_calibration_beside_the_runs(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found = calibrate(np.tanh, rng.normal(size=(20, 3)), fresh_noise=rng.normal(size=(40, 3)), rng=rng, bases=2)
    path = tmp_path / "calibration" / "c.npz"
    path.parent.mkdir()
    np.savez(path, about=np.array(json.dumps({"calibration": "c", "law.dim": 3})), **found.to_arrays())
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"calibration": "c.npz"}))
    held = load_record(run).calibration()
    assert held is not None
    np.testing.assert_array_equal(held.curve("delta_e"), found.curve("delta_e"))
    kept = load_calibrated(path)
    assert kept.row == {"calibration": "c", "law.dim": 3}
    assert kept.calibration().d == 3
    np.savez(path, **found.to_arrays())
    with pytest.raises(InputError, match="without its settings"):
        load_calibrated(path)


@pytest.mark.parametrize("layout", FORMATS)
def test_a_failed_run_has_no_arrays(tmp_path: Path, layout: int) -> None:
    record = load_record(write_run(tmp_path, made(status="failed"), layout))
    assert (record.done, record.arrays()) == (False, {})
    with pytest.raises(InputError, match="this run failed"):
        record.pairs()


def a_pickle(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([{}]), allow_pickle=True)


def a_claim(path: Path) -> None:
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)}
        np.lib.format.write_array_header_1_0(file, header)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-6]),
    "empty": lambda path: path.write_bytes(b""),
    "another": lambda path: path.write_bytes(b"\xff\xfe nothing\n of ours, 3"),
    "a pickle": a_pickle,
    "a claim": a_claim,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    ("run", "file"),
    [(1, "pairs.npz"), (1, "curve.csv"), (2, "student.npy"), (2, "../../pairs/mixture-s0.npz"), (2, "curve.csv")],
    indirect=["run"],
)
def test_a_lost_or_damaged_part_is_a_sentence(run: Path, file: str, damage: str) -> None:
    """Within memory, whatever a header claims, and no pickle is opened."""
    path, record = run / file, load_record(run)
    DAMAGE[damage](path)
    told = f"{path.name}: {'not there' if damage == 'gone' else 'damaged'}.*run the sweep again"
    with pytest.raises(InputError, match=told) as error:
        record.curve() if file == "curve.csv" else record.arrays()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 0},
        {"format": 4},
        {"result_version": 0},
        {"result_version": RESULT_VERSION + 1},
        {"result_version": None},
    ],
)
def test_a_record_from_another_version_is_refused(run: Path, tmp_path: Path, change: dict[str, int]) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | change))
    for read in (lambda: load_record(run), lambda: load_records(tmp_path)):
        with pytest.raises(InputError, match="written by another version"):
            read()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pairs": None}, "pairs"),
        ({"metrics": None}, "metrics"),
        ({"student": None}, "student"),
        ({"teacher": {"reasons": []}}, "teacher.ok"),
        ({"teacher": 3, "pairs": None}, "teacher.ok, pairs"),
    ],
)
def test_a_finished_run_that_lacks_what_it_is_read_for_is_damaged(
    run: Path, change: dict[str, object], told: str
) -> None:
    summary = json.loads((run / "summary.json").read_text()) | change
    kept = {key: value for key, value in summary.items() if change.get(key, "") is not None}
    (run / "summary.json").write_text(json.dumps(kept))
    with pytest.raises(InputError, match=rf"damaged \(summary\.json lacks {told}\); delete the folder and run"):
        load_record(run)


def test_a_failed_run_needs_no_more_than_it_has(tmp_path: Path) -> None:
    run = write_run(tmp_path, made(status="failed"))
    summary = json.loads((run / "summary.json").read_text())
    kept = {key: summary[key] for key in summary if key not in ("pairs", "metrics", "student")}
    (run / "summary.json").write_text(json.dumps(kept))
    assert not load_record(run).done


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_records(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no finished run"):
        load_records(tmp_path)
    with pytest.raises(InputError, match=r"no summary\.json"):
        load_record(tmp_path)
    for text in ('{"format": 1', "\x00"):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(InputError, match="damaged"):
            load_records(tmp_path)
    for name in ("summary", "experiment", "environment"):
        (tmp_path / f"{name}.json").write_text("[]")
    with pytest.raises(InputError, match="holds no object"):
        load_records(tmp_path)


def test_what_is_still_being_written_is_no_run_and_a_copied_one_counts_once_and_is_told(
    run: Path, tmp_path: Path
) -> None:
    with replacing(tmp_path / "runs" / "z-copy") as partial:
        shutil.copytree(run, partial)
        assert len(load_records(tmp_path)) == 1
    with pytest.warns(UserWarning, match=f"z-copy is the same run as .*{run.name}; it counts once"):
        (record,) = load_records(tmp_path)
    assert record.folder == run


def test_records_come_in_the_order_of_their_configuration_and_can_be_selected(tmp_path: Path) -> None:
    places = list(itertools.product((2, 3), ("teacher", "rotated"), (0, 1)))
    for dim, init, seed in reversed(places):
        write_run(tmp_path, made("mixture", dim, init, seed))
    records = load_records(tmp_path)
    assert [tuple(r.config[key] for key in ("law.dim", "student.init", "seed")) for r in records] == places
    assert len(chosen(records, ["law.dim=2", "student.init=rotated"])) == 2
    assert chosen(records, ["law.dim=4"]) == []
    assert none_chosen(records, ["law.dim=4"]).endswith("is chosen by law.dim=4: law.dim is 2, 3; choose among these")
    assert none_chosen(records, ["law.dim=2", "law.dim=3"]).endswith("together; give fewer, or look at `dmdlab table`")
    with pytest.raises(InputError, match=r"no run has a key 'law\.dmi'"):
        chosen(records, ["law.dmi=2"])


def test_reading_and_drawing_need_no_torch() -> None:
    words = "import sys, dmdlab.plots, dmdlab.pages.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


# --- writing


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "one")
    write_json(path, {"value": float("nan"), "n": np.int64(3), "rows": np.array([1.0, np.inf]), "t": (1, None)})
    assert json.loads(path.read_text()) == {"value": None, "n": 3, "rows": [1.0, None], "t": [1, None]}
    with contextlib.suppress(ValueError), replacing(path) as partial:
        assert (partial.parent, partial.suffix, partial.name[0]) == (tmp_path, ".json", ".")
        partial.write_text("half")
        raise ValueError("broke")
    assert json.loads(path.read_text())["n"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    place = tmp_path / "run"
    for turn in ("first", "second"):
        with replacing(place) as partial:
            partial.mkdir()
            (partial / turn).write_text(turn)
        assert [p.name for p in place.iterdir()] == [turn]
    with contextlib.suppress(ValueError), replacing(place) as partial:
        partial.mkdir()
        (partial / "third").write_text("half")
        raise ValueError("broke")
    assert [p.name for p in place.iterdir()] == ["second"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_another_put_there_while_the_old_one_was_moved_away_stays(tmp_path: Path) -> None:
    """What stood there when it was asked for had to go; what is found to have been moved has not."""
    place, asked = tmp_path / "run", list[str]()
    place.mkdir()

    def stays(folder: Path) -> bool:
        asked.append(folder.name)
        if folder == place:
            (place / "theirs").touch()
            return False
        return (folder / "theirs").exists()

    with replacing(place, stays) as partial:
        partial.mkdir()
    assert [p.name for p in place.iterdir()] == ["theirs"]
    assert len(asked) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_put_in_its_place_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often another's stands there in the same moment."""

    def taken(*names: Path) -> None:
        raise OSError(errno.ENOTEMPTY, "another's stands there")

    monkeypatch.setattr(writing.os, "rename", taken)
    with pytest.raises(OSError, match="another's"), replacing(tmp_path / "run") as partial:
        partial.mkdir()
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_new_one_cannot_be_put_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, place = os.rename, tmp_path / "run"
    place.mkdir()
    (place / "old").touch()

    def full(old: Path, new: Path) -> None:
        if (Path(old) / "new").exists():
            raise OSError(errno.ENOSPC, "full")
        plain(old, new)

    monkeypatch.setattr(writing.os, "rename", full)
    with pytest.raises(Unwritable, match="the disk is full"), replacing(place) as partial:
        (partial / "new").mkdir(parents=True)
    assert [path.name for path in place.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_of_two_who_make_a_file_that_stays_one_puts_it_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a link, which is made for one alone, and not by a rename over what another has put there since."""
    monkeypatch.setattr(writing.os, "replace", lambda *names: pytest.fail("renamed over whatever stands there"))
    for turn in ("first", "second"):
        with replacing(tmp_path / "a", lambda old: True) as partial:
            partial.write_text(turn)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "first")]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with replacing(path) as ours, replacing(path) as theirs:
        assert ours != theirs
        np.savez(ours, x=np.ones(2))
        np.savez(theirs, x=np.zeros(2))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    with np.load(path) as stored:
        assert stored["x"].tolist() == [1.0, 1.0]


def test_a_folder_is_prepared_or_refused_before_anything_is_computed(tmp_path: Path) -> None:
    assert prepare(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="this is a file"):
        prepare(tmp_path / "file")
    with pytest.raises(InputError, match="cannot write there"):
        prepare(tmp_path / "file" / "below")
