"""Runs read back from their folders, in both formats; what is lost or damaged; cells; writing whole or not at all."""

import contextlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import made, write_run

from dmdlab.config import InputError
from dmdlab.pairing import calibrate
from dmdlab.records.cells import cell_row, cell_value, cells, cells_of_starts, paired, short, told, varying
from dmdlab.records.record import ARRAYS, load_calibrated, load_record, load_records, select
from dmdlab.records.writing import prepare, replacing, write_json, write_text

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
    assert load_record(run).row == record.row == load_records(run)[0].row


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


@pytest.mark.parametrize("change", [{"format": 0}, {"format": 3}, {"result_version": 99}, {"result_version": None}])
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
    assert len(select(records, {"law.dim": 2, "student.init": "rotated"})) == 2
    assert select(records, {"law.dim": 4}) == []
    with pytest.raises(InputError, match=r"unknown column 'law\.dmi'"):
        select(records, {"law.dmi": 2})


def test_reading_and_drawing_need_no_torch() -> None:
    words = "import sys, dmdlab.plots, dmdlab.pages.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


# --- cells


def test_two_settings_are_compared_seed_by_seed() -> None:
    values = {"teacher": (5.0, 7.0, 9.0), "rotated": (1.0, 2.0, None)}
    places = itertools.product(values, range(3))
    records = [made("ring", 2, init, seed, copy_index=values[init][seed]) for init, seed in places]
    ((name, difference),) = paired(records, "student.init", "teacher", "rotated", "copy_index")
    assert name == "ring d=2"
    assert difference.mean == pytest.approx(4.5)
    assert (difference.n, difference.missing) == (2, 1)
    assert not paired(records, "student.init", "teacher", "random", "copy_index")


def test_teachers_taken_at_the_end_of_trainings_of_different_length_are_compared_by_length_alone() -> None:
    settings = ({"teacher__iterations": t, "teacher__snapshot": t} for t in (10, 20))
    records = [
        made(seed=seed, copy_index=seed + own["teacher__iterations"], **own) for own in settings for seed in (0, 1)
    ]
    assert varying(records) == ["teacher.iterations", "seed"]
    ((_, difference),) = paired(records, "teacher.iterations", 20, 10, "copy_index")
    assert (difference.mean, difference.n) == (10.0, 2)


def test_a_run_from_before_a_key_has_its_default(tmp_path: Path) -> None:
    """Its id says so, too; what another version of results took for a default nobody knows any more."""
    folder = write_run(tmp_path, made(teacher__iterations=30))
    config = json.loads((folder / "experiment.json").read_text())
    for key in ("teacher.snapshot", "teacher.condition", "measure.bases"):
        del config[key]
    (folder / "experiment.json").write_text(json.dumps(config))
    found = load_record(folder).config
    assert (found["teacher.snapshot"], found["teacher.condition"], found["measure.bases"]) == (30, False, 4)


def test_cells_average_over_seeds_and_count_what_is_missing() -> None:
    records = [
        made("ring", 2, seed=2, status="failed"),
        made("ring", 4, seed=0, copy_index=5.0),
        made("ring", 2, seed=0, copy_index=1.0),
        made("ring", 2, seed=1, copy_index=3.0, ok=False),
        made("ring", 4, seed=1, copy_index=None, remap_angle=90.0, reason="a bound"),
    ]
    two, four = cells(records)  # in order of first appearance
    assert two.keys == {"law.name": "ring", "law.dim": 2, "student.init": "teacher"}
    assert (two.law, two.dim, two.init) == ("ring", 2, "teacher")
    assert [r.config["seed"] for r in two.records] == [0, 1, 2]
    assert (two.failed, two.flagged) == (1, 1)
    assert (four.failed, four.flagged) == (0, 0)
    assert two.column("copy_index").tolist() == [1.0, 3.0]
    interval = four.interval("copy_index")
    assert (interval.mean, interval.n, interval.missing) == (5.0, 1, 1)
    assert varying(records) == ["law.dim", "seed"]
    assert (two.bounded("remap_angle"), four.bounded("remap_angle")) == (False, True)
    assert "3 (1 failed) teacher!" in cell_row(two)
    assert cell_value(four, "copy_index") == "5 (n = 1)"
    assert cell_value(four, "remap_angle").startswith("≥ ")


@pytest.mark.parametrize(("fidelity", "poor"), [(1.1, False), (1.8, True), (0.5, True), (None, True)])
def test_a_fidelity_that_no_claim_should_rest_on_is_poor(fidelity: float | None, poor: bool) -> None:
    (cell,) = cells([made(seed=seed, fidelity=fidelity) for seed in (0, 1)])
    assert cell.poor == poor
    assert ("(poor)" in cell_value(cell, "fidelity")) == (poor and fidelity is not None)


@pytest.mark.parametrize(
    ("null", "values", "outside", "text"),
    [
        ({"fidelity": (0.98, 1.02)}, {"fidelity": 1.01}, [], "1.01"),
        ({"fidelity": (0.98, 1.02)}, {"fidelity": 1.1}, ["fidelity"], "1.1 ± 0 (poor)"),
        ({"fidelity": (0.4, 2.5)}, {"fidelity": 1.8}, [], "1.8"),  # beyond the old limits, as equal laws are here
        ({"fidelity": (0.98, 1.02)}, {"fidelity": 0.9}, ["fidelity"], "(poor)"),
        ({"variance_ratio": (0.98, 1.02)}, {"fidelity": 1.0}, ["variance_ratio"], "(poor: variance_ratio)"),
        ({"debiased_cost": (-0.01, 0.01)}, {"debiased_cost": None}, ["debiased_cost"], "(poor: debiased_cost)"),
    ],
)
def test_a_law_is_judged_by_what_equal_laws_read_on_both_sides(
    null: dict[str, tuple[float, float]], values: dict[str, float | None], outside: list[str], text: str
) -> None:
    (cell,) = cells([made(seed=seed, null=null, **values) for seed in (0, 1)])
    assert (cell.outside, cell.poor) == (outside, bool(outside))
    assert text in cell_value(cell, "fidelity")
    assert ("poor" in cell_value(cell, "fidelity")) == cell.poor


def test_limits_of_a_cell_are_those_of_all_its_runs_or_none() -> None:
    runs = [made(seed=seed, null={"fidelity": (0.9 + 0.05 * seed, 1.1)}) for seed in (0, 1)]
    failed = made(seed=2, status="failed")
    (cell,) = cells([*runs, failed])
    assert cell.law_limits["fidelity"] == pytest.approx((0.925, 1.1))
    (mixed,) = cells([*runs, made(seed=3)])
    assert mixed.law_limits == {}


def test_results_of_two_versions_are_never_averaged() -> None:
    mixed = [made(seed=seed, result_version=version) for seed in (0, 1) for version in (1, 2)]
    assert [cell.keys["result_version"] for cell in cells(mixed)] == [1, 2]
    assert varying(mixed) == ["result_version", "seed"]
    with pytest.raises(InputError, match=r"differ in result_version \(1, 2\).*result_version=VALUE"):
        cells_of_starts(mixed)
    assert len(cells_of_starts(select(mixed, {"result_version": 2}))) == 1


def test_where_a_file_lies_tells_no_cells_apart_once_its_digest_is_there() -> None:
    moved = [made("images", seed=seed, law__path=f"at {seed}", law__labels="x", law__digest="d") for seed in (0, 1)]
    assert varying(moved) == ["seed"]
    assert len(cells(moved)) == 1
    assert [record.row["law.path"] for record in moved] == ["at 0", "at 1"]
    other = [made("images", law__path=path) for path in ("here", "there")]
    assert varying(other) == ["law.path"]


def test_settings_are_told_as_one_would_type_them() -> None:
    values = {"law.name": "ring", "law.dim": 8, "student.init": "random", "student.learning_rate": 5e-5}
    assert [told(*item) for item in values.items()] == ["ring", "d = 8", "random init", "student.learning_rate = 5e-5"]
    assert [short(v) for v in (5e-4, 0.002, 80.0, 2.5e6, 0.0, (16, 32), True)] == [
        "5e-4", "0.002", "80", "2.5e6", "0", "16, 32", "True"]  # fmt: skip


def test_a_figure_has_one_cell_for_each_law_dimension_and_start_with_every_finished_run_once() -> None:
    records = [made("ring", d, i, s) for d in (8, 2) for i in ("rotated", "teacher") for s in (2, 0)]
    found = cells_of_starts([*records, made("ring", 8, seed=0), made("ring", 8, seed=1, status="failed")])
    assert [(cell.dim, cell.init) for cell in found] == [(2, "teacher"), (2, "rotated"), (8, "teacher"), (8, "rotated")]
    assert all([r.config["seed"] for r in cell.records] == [0, 2] for cell in found)
    mixed = [made(seed=0), made(seed=1, noise__sigma_max=5.0)]
    with pytest.raises(InputError, match=r"differ in noise\.sigma_max \(5\.0, 80\.0\).*noise\.sigma_max=VALUE"):
        cells_of_starts(mixed)
    assert len(cells(mixed)) == 2


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
