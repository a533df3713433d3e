"""What a run leaves behind, what a second sweep does with it, and what is read back."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import CPU, do, experiments

from dmdlab.config import InputError, experiment_from, flatten
from dmdlab.diffusion import flow, karras_grid
from dmdlab.lab import run as lab_run
from dmdlab.lab import store
from dmdlab.lab.calibrate import stored_calibration
from dmdlab.lab.store import Record, load_record, load_records, select
from dmdlab.lab.sweep import missing, sweep
from dmdlab.laws import make_law
from dmdlab.pairing import assignment, measure
from dmdlab.randomness import latents
from dmdlab.records import cells as summary
from dmdlab.training.distill import Student
from dmdlab.training.teacher import denoiser_for, ensemble_of


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dimensions, two inits, two seeds."""
    out = tmp_path_factory.mktemp("swept")
    do(experiments("law.dim=[2, 3]", 'student.init=["teacher", "rotated"]', "seed=[0, 1]"), out)
    return out


# --- the record


def test_a_run_folder_holds_what_it_says(swept: Path) -> None:
    names = sorted(p.name for p in (swept / "runs").iterdir())
    assert len(names) == 8
    assert all(n.startswith(("mixture-d2-", "mixture-d3-")) for n in names)
    for record in load_records(swept):
        assert sorted(p.name for p in record.folder.iterdir()) == [
            "curve.csv",
            "environment.json",
            "experiment.json",
            "pairs.npz",
            "student.safetensors",
            "summary.json",
        ]
        again = experiment_from(record.config)
        assert again.id == record.summary["id"]
        assert record.folder.name == store.folder_name(again)
        assert flatten(again) == record.config
        for key in ("versions", "commit", "device", "hardware", "cores", "seconds"):
            assert record.environment[key]
        assert {"torch", "numpy", "python"} <= set(record.environment["versions"])


def test_a_records_arrays_can_be_made_again_from_its_parts(swept: Path) -> None:
    """The whole chain: latents, exact flow, the stored student with its rotation, and the numbers in the summary."""
    for record in load_records(swept):
        e, arrays = experiment_from(record.config), record.arrays()
        law, n, d = make_law(e.law.model_dump()), e.measure.samples, e.law.dim
        assert all(a.shape == (n, d) and a.dtype == np.float32 for a in arrays.values())
        z = latents(e.seed, n, d, e.noise.sigma_max)
        np.testing.assert_array_equal(arrays["noise"], z.numpy())
        grid = karras_grid(e.teacher.steps, e.noise)
        np.testing.assert_allclose(arrays["teacher"], flow(law.denoise, z, grid).numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(arrays["one_step"], law.denoise(z, e.noise.sigma_max).numpy(), rtol=1e-4, atol=1e-4)

        weights = load_file(record.folder / "student.safetensors")
        turn = weights.pop("rotation", None)
        assert (turn is not None) == (e.student.init == "rotated")
        denoiser = denoiser_for(1, e.network, law, CPU)
        named = dict(ensemble_of(denoiser).named_parameters())
        assert set(named) == set(weights)
        with torch.no_grad():
            for name, p in named.items():
                p[0] = weights[name]
        rotated = None if turn is None else torch.tensor([True])
        student = Student(denoiser, e.noise.sigma_max, None if turn is None else turn[None], rotated)
        np.testing.assert_allclose(arrays["student"], student(z[None])[0].detach().numpy(), rtol=1e-4, atol=1e-4)

        calibration = stored_calibration(swept, e, CPU)
        report = measure(arrays["teacher"], arrays["student"], reference=arrays["reference"], calibration=calibration)
        for key, value in report.values().items():
            stored = record.summary["metrics"][key]["value"]
            assert (stored is None and math.isnan(value)) or stored == pytest.approx(value, rel=1e-6)
            assert record.row[key] == stored
        near = assignment(arrays["student"], arrays["data"]).cost / record.row["teacher_transport_fresh"]
        assert record.row["student_transport_ratio"] == pytest.approx(near, rel=1e-6)


def test_arrays_of_a_record_are_different_draws(swept: Path) -> None:
    record = load_records(swept)[0]
    arrays = record.arrays()
    assert set(arrays) == set(store.ARRAYS)
    for a, b in itertools.combinations(arrays, 2):
        assert not np.allclose(arrays[a], arrays[b])


def test_seeds_and_inits_share_what_they_should(swept: Path) -> None:
    found = {(r.config["law.dim"], r.config["student.init"], r.config["seed"]): r.arrays() for r in load_records(swept)}
    for d, seed in itertools.product((2, 3), (0, 1)):
        teacher, rotated = found[d, "teacher", seed], found[d, "rotated", seed]
        for name in ("noise", "teacher", "reference", "data"):
            np.testing.assert_array_equal(teacher[name], rotated[name])
        assert not np.allclose(teacher["student"], rotated["student"])
        assert not np.allclose(teacher["noise"], found[d, "teacher", 1 - seed]["noise"])


def test_the_training_curve_is_log_spaced_and_ends_at_the_end(swept: Path) -> None:
    for record in load_records(swept):
        curve = record.curve()
        assert curve["iteration"].tolist() == [5, 20]
        expected = {"dm_loss", "score_loss", "gap", "student_gradient_norm", "score_gradient_norm"}
        assert set(curve) == {"iteration", "variance_ratio", "pair_cosine"} | expected
        assert all(np.isfinite(column).all() for column in curve.values())
        assert curve["pair_cosine"][-1] == pytest.approx(record.row["pair_cosine"], rel=1e-4)
        assert curve["variance_ratio"][-1] == pytest.approx(record.row["variance_ratio"], rel=1e-4)


# --- going on


def test_a_second_sweep_does_only_what_is_missing(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = experiments("law.dim=[2, 3]", 'student.init=["teacher", "rotated"]', "seed=[0, 1]")
    assert missing(wanted, swept) == []
    before = {r.folder: (r.folder / "summary.json").stat().st_mtime_ns for r in load_records(swept)}
    lost = load_records(swept)[3]
    text = (lost.folder / "pairs.npz").read_bytes()
    (lost.folder / "summary.json").unlink()
    assert [e.id for e in missing(wanted, swept)] == [lost.summary["id"]]
    monkeypatch.setattr(lab_run, "train_teacher", None)  # the start networks of the first sweep are kept
    again = do(wanted, swept)
    after = {r.folder: (r.folder / "summary.json").stat().st_mtime_ns for r in again}
    assert {f for f in before if after[f] != before[f]} == {lost.folder}
    redone = next(r for r in again if r.folder == lost.folder)
    assert redone.summary["id"] == lost.summary["id"]
    (lost.folder / "before.npz").write_bytes(text)
    with np.load(lost.folder / "before.npz") as old:
        np.testing.assert_allclose(redone.arrays()["student"], old["student"], rtol=1e-4, atol=1e-5)
    (lost.folder / "before.npz").unlink()


def test_an_interrupted_sweep_keeps_what_is_finished(tmp_path: Path) -> None:
    wanted = experiments("seed=[0, 1]", "law.dim=[2, 3]")
    events = sweep(wanted, tmp_path, CPU)
    for _ in events:
        if list(tmp_path.rglob("summary.json")):
            break
    events.close()
    assert len(load_records(tmp_path)) == 1
    assert len(missing(wanted, tmp_path)) == 3
    assert len(do(wanted, tmp_path)) == 4


def test_a_run_without_its_summary_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary is written last: whatever breaks before leaves a folder that the next sweep writes anew."""
    wanted = experiments()

    def full_disk(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store, "write_atomically", full_disk)
    with pytest.raises(OSError, match="no space"):
        do(wanted, tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.rglob("pairs.npz"))
    assert missing(wanted, tmp_path) == wanted
    assert len(do(wanted, tmp_path)) == 1


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write_atomically(path, "one")
    store.write_atomically(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


# --- reading back


def test_a_record_from_another_version_is_refused(swept: Path, tmp_path: Path) -> None:
    record = load_records(swept)[0]
    for change in ({"format": 0}, {"result_version": 99}):
        folder = tmp_path / next(iter(change))
        folder.mkdir()
        for name in ("experiment", "environment"):
            (folder / f"{name}.json").write_text((record.folder / f"{name}.json").read_text())
        (folder / "summary.json").write_text(json.dumps(record.summary | change))
        with pytest.raises(InputError, match="written by another version"):
            load_record(folder)
        with pytest.raises(InputError, match="written by another version"):
            load_records(tmp_path)


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_records(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no finished run"):
        load_records(tmp_path)
    with pytest.raises(InputError, match=r"no summary\.json"):
        load_record(tmp_path)
    (tmp_path / "summary.json").write_text('{"format": 1')
    with pytest.raises(InputError, match="damaged"):
        load_records(tmp_path)


def test_records_come_in_the_order_of_their_configuration_and_can_be_selected(swept: Path) -> None:
    records = load_records(swept)
    inits = ["teacher", "rotated", "random"]
    keys = [(r.config["law.dim"], inits.index(r.config["student.init"]), r.config["seed"]) for r in records]
    assert keys == sorted(keys)
    assert len(select(records, {"law.dim": 2, "student.init": "rotated"})) == 2
    assert select(records, {"law.dim": 4}) == []
    with pytest.raises(InputError, match=r"unknown column 'law\.dmi'"):
        select(records, {"law.dmi": 2})
    assert load_records(records[0].folder)[0].row == records[0].row


def record(config: dict[str, Any], value: float | None, status: str = "done", ok: bool = True) -> Record:
    metrics = {key: {"value": value} for key in summary.METRICS} if status == "done" else {}
    teacher = {"ok": ok, "reasons": []}
    text = {"id": "x", "status": status, "failed_at": None, "teacher": teacher, "metrics": metrics}
    place = {"seconds": 1.0, "device": "cpu", "hardware": "?", "commit": "none"}
    return Record(Path("nowhere"), text, config, place)


def test_two_cells_are_compared_seed_by_seed() -> None:
    base = {"law.name": "ring", "law.dim": 2}
    values = {"teacher": (5.0, 7.0, 9.0), "rotated": (1.0, 2.0, None)}
    records = [
        record(base | {"student.init": init, "seed": seed}, value)
        for init, row in values.items()
        for seed, value in enumerate(row)
    ]
    ((name, difference),) = summary.paired(records, "student.init", "teacher", "rotated", "copy_index")
    assert name == "ring d=2"
    assert difference.mean == pytest.approx(4.5)
    assert (difference.n, difference.missing) == (2, 1)
    assert not summary.paired(records, "student.init", "teacher", "random", "copy_index")


def test_cells_average_over_seeds_and_count_what_is_missing() -> None:
    base = {"law.name": "ring", "student.init": "teacher", "student.clip": 1.0}
    records = [
        record(base | {"law.dim": 2, "seed": 0}, 1.0),
        record(base | {"law.dim": 4, "seed": 0}, 5.0),
        record(base | {"law.dim": 2, "seed": 1}, 3.0, ok=False),
        record(base | {"law.dim": 4, "seed": 1}, None),
        record(base | {"law.dim": 2, "seed": 2}, None, status="failed"),
    ]
    two, four = summary.cells(records)
    assert two.keys == {"law.name": "ring", "student.init": "teacher", "law.dim": 2}
    assert (two.seeds, two.failed, two.flagged) == (3, 1, 1)
    assert (four.seeds, four.failed, four.flagged) == (2, 0, 0)
    assert two.metrics["copy_index"].mean == pytest.approx(2.0)
    assert four.metrics["copy_index"].mean == pytest.approx(5.0)
    assert summary.varying(records) == ["law.dim", "seed"]
