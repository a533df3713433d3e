"""What verify and gc know of a store beyond a flipped bit, what is seen at a glance, and what an export takes along."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made import made, write_run
from safetensors.torch import save_file
from small import experiments
from store_made import put

from dmdlab.config import InputError
from dmdlab.lab.store import Store
from dmdlab.pairing import calibrate
from dmdlab.records import checksums
from dmdlab.records.catalogue import entry_named, scan
from dmdlab.records.checksums import Damaged
from dmdlab.records.kept_arrays import npy_fits, npz_opens
from dmdlab.records.moving import export, unneeded
from dmdlab.records.record import load_calibrated, load_record
from dmdlab.records.verify import set_aside, verify


def changed(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


def with_calibration(out: Path, seed: int = 0) -> Path:
    """A run that names a calibration; where that lies."""
    (e,) = experiments(f"seed={seed}")
    path = Store(out).calibration_path(e, f"c{seed}")
    path.parent.mkdir(parents=True, exist_ok=True)
    checksums.save_npz(path, {"about": np.zeros(3)})
    assert put(out, e, calibration=path.name)
    return path


# --- at a glance


def test_what_a_glance_tells_of_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(5))
    whole = (tmp_path / "a.npy").read_bytes()
    for content, fits in ((whole, True), (whole[:-1], False), (whole + b"0", False), (whole[:20], False)):
        (tmp_path / "a.npy").write_bytes(content)
        assert npy_fits(tmp_path / "a.npy") == fits
    checksums.save_npz(tmp_path / "a.npz", {"x": np.ones(5), "y": np.ones(2)})
    for names, opens in ((["x"], True), (["x", "y"], True), (["x", "z"], False)):
        assert npz_opens(tmp_path / "a.npz", names) == opens
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:-20])
    assert not npz_opens(tmp_path / "a.npz", ["x"])


def test_a_failed_run_is_finished(tmp_path: Path) -> None:
    (e,) = experiments()
    put(tmp_path, e)
    folder = Store(tmp_path).folder(e)
    changed(folder / "summary.json", lambda held: held.update(status="failed", failed_at=3))
    (folder / "student.npy").unlink()
    assert Store(tmp_path).missing([e]) == []


def test_a_damaged_start_network_gives_way_to_a_new_one(tmp_path: Path) -> None:
    (e,), store = experiments(), Store(tmp_path)
    assert store.keep_start(e, torch.ones(4))
    assert not store.keep_start(e, torch.zeros(4))
    (path,) = (tmp_path / "teachers").iterdir()
    path.write_bytes(path.read_bytes()[:-4])
    assert store.keep_start(e, torch.zeros(4))
    assert torch.equal(store.start(e), torch.zeros(4))  # type: ignore[arg-type]


def test_a_number_of_a_summary_that_no_table_holds_is_damage(tmp_path: Path) -> None:
    folder = write_run(tmp_path, made())
    changed(folder / "summary.json", lambda held: held["metrics"]["copy_index"].update(value=2**63 - 1))  # type: ignore[index]
    assert load_record(folder).done
    changed(folder / "summary.json", lambda held: held["metrics"]["copy_index"].update(value=2**63))  # type: ignore[index]
    with pytest.raises(InputError, match="metrics of another kind"):
        load_record(folder)


def test_a_run_is_named_by_its_folder_too(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, made(seed=seed)) for seed in (0, 1)]
    assert [entry_named(scan(tmp_path), folder.name).folder for folder in folders] == folders
    ids = [made(seed=seed).row["id"] for seed in (0, 1)]
    with pytest.raises(InputError, match=rf"mix: the ids of 2 runs begin so \({ids[0]}, {ids[1]}\); give more"):
        entry_named(scan(tmp_path), "mix")


# --- verify


def test_a_link_in_place_of_a_file_is_seen(tmp_path: Path) -> None:
    (e,) = experiments()
    put(tmp_path, e)
    curve = Store(tmp_path).folder(e) / "curve.csv"
    curve.rename(tmp_path / "elsewhere.csv")
    curve.symlink_to(tmp_path / "elsewhere.csv")
    (run,) = verify(tmp_path).runs
    assert (run.state, run.wrong) == ("damaged", ["curve.csv is lost"])


@pytest.mark.parametrize("name", ["student.npy", "curve.csv"])
def test_a_lost_file_of_a_run_without_checksums_is_seen(name: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path, made())
    folder = folder.rename(folder.with_name(f"mixture-{made().summary['id']}"))
    assert verify(tmp_path).sound
    (folder / name).unlink()
    (run,) = verify(tmp_path).runs
    assert run.state == "damaged"
    assert name in run.wrong[0]


def test_a_link_in_place_of_pairs_is_no_whole_file(tmp_path: Path) -> None:
    (e,) = experiments()
    put(tmp_path, e)
    (pairs,) = (tmp_path / "pairs").iterdir()
    pairs.rename(tmp_path / "elsewhere.npz")
    pairs.symlink_to(tmp_path / "elsewhere.npz")
    (run,) = verify(tmp_path).runs
    assert (run.state, run.wrong) == ("damaged", [f"pairs/{pairs.name} is foreign"])


def test_a_lost_calibration_is_told_and_costs_no_run(tmp_path: Path) -> None:
    path = with_calibration(tmp_path)
    assert verify(tmp_path).sound
    path.unlink()
    found = verify(tmp_path)
    assert (found.sound, found.damaged) == (False, [])
    assert found.runs[0].notes == [f"calibration/{path.name} is lost; `dmdlab calibrate` with the sweep's settings "
                                   "makes it anew"]  # fmt: skip


def test_what_is_set_aside_twice_lies_there_twice(tmp_path: Path) -> None:
    (e,) = experiments()
    for turn in (0, 1):
        put(tmp_path, e)
        (pairs,) = (tmp_path / "pairs").iterdir()
        pairs.write_bytes(str(turn).encode())
        set_aside(tmp_path, verify(tmp_path).damaged)
    kept = sorted((tmp_path / "damaged" / "pairs").iterdir())
    assert [path.read_bytes() for path in kept] == [b"0", b"1"]
    assert len(list((tmp_path / "damaged" / "runs").iterdir())) == 2


def test_weights_with_another_head_or_bytes_behind_them_are_damaged(tmp_path: Path) -> None:
    path, rows = tmp_path / "x.safetensors", {"a": torch.zeros(2, 3)}
    save_file(rows, path)
    save_file(rows, path, metadata={checksums.KEY: checksums.of_weights(path)[0]})
    whole = path.read_bytes()
    assert checksums.check_weights(path) == "whole"
    for content, told in ((whole.replace(b"[2,3]", b"[3,2]"), "not those that"), (whole + b"0", "cut short")):
        path.write_bytes(content)
        with pytest.raises(Damaged, match=told):
            checksums.check_weights(path)


@pytest.mark.parametrize("shared", [{"pairs": None}, {"pairs/x.npz": 3}])
def test_checksums_that_are_none_are_damage(shared: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / checksums.NAME).write_text(json.dumps({"files": {}, "shared": shared}))
    with pytest.raises(Damaged, match=r"outside the store|a checksum that is none"):
        checksums.read_checksums(tmp_path)


def test_a_calibration_with_a_changed_number_is_damaged(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "c.npz"
    found = calibrate(np.tanh, rng.normal(size=(20, 3)), fresh_noise=rng.normal(size=(40, 3)), rng=rng, bases=2)
    checksums.save_npz(path, {"about": np.array("{}"), **found.to_arrays()})
    assert load_calibrated(path).row == {}
    held = path.read_bytes()
    path.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))  # of the checksum: what zip's own sums do not see
    with pytest.raises(InputError, match=r"damaged or cut short .*a sweep makes it anew"):
        load_calibrated(path)


# --- gc and export


def test_a_calibration_that_a_run_names_is_needed_and_goes_along(tmp_path: Path) -> None:
    """Also where the run's checksums do not say so, as those of older formats."""
    paths = [with_calibration(tmp_path / "s", seed) for seed in (0, 1)]
    for folder in (tmp_path / "s" / "runs").iterdir():
        changed(folder / checksums.NAME, lambda held: held.update(shared={}))
    (tmp_path / "s" / "calibration" / "left.npz").touch()
    unneeded_ = [one.path.name for one in unneeded(tmp_path / "s")[0] if one.path.parent.name == "calibration"]
    assert unneeded_ == ["left.npz"]
    files = export(tmp_path / "s", scan(tmp_path / "s")[:1], tmp_path / "new")
    assert [name for name in files if name.startswith("calibration/")] == [f"calibration/{paths[0].name}"]


def test_what_cannot_be_told_to_be_left_over_stays(tmp_path: Path) -> None:
    """A start network, where one run is of a version that did not note its own; all, where one cannot be read."""
    wanted = experiments("seed=[0, 1]")
    for e in wanted:
        put(tmp_path, e)
    for folder in ("teachers", "calibration"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "left.npz").touch()
    first, last = sorted((tmp_path / "runs").iterdir())
    assert [one.path.parent.name for one in unneeded(tmp_path)[0]] == ["calibration", "teachers"]
    (first / checksums.NAME).unlink()
    found, said = unneeded(tmp_path)
    assert [one.path.parent.name for one in found] == ["calibration"]
    assert "these stay" in said[0]
    (last / "summary.json").write_text("{")
    found, said = unneeded(tmp_path)
    assert (found, len(said)) == ([], 1)
    assert "shared files stay" in said[0]


def test_a_run_whose_pairs_are_lost_is_not_exported(tmp_path: Path) -> None:
    (e,) = experiments()
    put(tmp_path / "s", e)
    (pairs,) = (tmp_path / "s" / "pairs").iterdir()
    pairs.unlink()
    with pytest.raises(InputError, match=rf"{pairs.name}: lost"):
        export(tmp_path / "s", scan(tmp_path / "s"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
