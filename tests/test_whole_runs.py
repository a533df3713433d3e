"""A run's folder is whole or not there, and what was lost or cut short is made anew."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small import cut, experiments, results

from dmdlab.config import InputError
from dmdlab.lab.store import RunResult, Store
from dmdlab.records.record import load_records


def an_unfinished(tmp_path: Path) -> tuple[Store, RunResult]:
    store = Store(tmp_path)
    (result,) = results(experiments(), store)
    return store, result


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()], ids=["raised", "interrupted"])
def test_a_folder_that_cannot_be_written_whole_is_not_there(error: BaseException, tmp_path: Path) -> None:
    """It stops in the middle of the curve."""

    def half() -> Iterator[float]:
        yield 1.0
        raise error

    store, result = an_unfinished(tmp_path)
    broken = RunResult(result.experiment, result.summary, {"iteration": half()}, result.student, {})  # type: ignore[dict-item]
    with pytest.raises(type(error)):
        store.put(broken, {})
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(InputError, match="no finished run"):
        load_records(tmp_path)
    assert store.missing([result.experiment]) == [result.experiment]


def test_what_a_killed_process_left_is_taken_for_no_run(tmp_path: Path) -> None:
    """Under the name that a folder has while it is written."""
    store, result = an_unfinished(tmp_path)
    store.put(result, {})
    folder = store.folder(result.experiment)
    folder.rename(folder.with_name(f".{folder.name}.123-abc"))
    assert not store.finished(result.experiment)
    with pytest.raises(InputError, match="no finished run"):
        load_records(tmp_path)
    store.put(result, {})
    assert [r.summary["id"] for r in load_records(tmp_path)] == [result.experiment.id]


def test_a_folder_without_its_summary_is_replaced_whole(tmp_path: Path) -> None:
    store, result = an_unfinished(tmp_path)
    store.put(result, {})
    folder = store.folder(result.experiment)
    (folder / "summary.json").unlink()
    (folder / "left.txt").write_text("of an older run")
    assert store.missing([result.experiment]) == [result.experiment]
    store.put(result, {})
    assert not (folder / "left.txt").exists()
    assert store.finished(result.experiment)
    assert store.record(result.experiment).summary["pairs"] in {p.name for p in (tmp_path / "pairs").iterdir()}


def test_a_run_whose_pairs_are_lost_is_made_anew(tmp_path: Path) -> None:
    store, result = an_unfinished(tmp_path)
    store.put(result, {})
    (path,) = (tmp_path / "pairs").iterdir()
    path.unlink()
    assert store.missing([result.experiment]) == [result.experiment]
    for again in results([result.experiment], store):
        store.put(again, {})
    assert store.missing([result.experiment]) == []


@pytest.mark.parametrize("file", ["runs/*/student.npy", "pairs/*.npz"])
def test_a_run_whose_arrays_are_cut_short_is_made_anew(file: str, tmp_path: Path) -> None:
    store, result = an_unfinished(tmp_path)
    store.put(result, {})
    before = store.record(result.experiment).arrays()
    (path,) = tmp_path.glob(file)
    whole = path.read_bytes()
    for keep in (0, 100, -10):
        path.write_bytes(whole)
        assert store.missing([result.experiment]) == []
        cut(path, keep)
        assert store.missing([result.experiment]) == [result.experiment]
    for again in results([result.experiment], store):
        store.put(again, {})
    assert store.missing([result.experiment]) == []
    for name, array in store.record(result.experiment).arrays().items():
        np.testing.assert_allclose(array, before[name], rtol=1e-4, atol=1e-5)


def test_a_store_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="this is a file; expected a folder"):
        Store(tmp_path / "file")
