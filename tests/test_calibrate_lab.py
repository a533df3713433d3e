"""From an experiment to its calibration: the right teacher, once for all runs that share it, kept and found again."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, do, experiments, group_of, law_of

from dmdlab.config import Experiment, InputError
from dmdlab.lab.calibrate import (
    calibrate_experiment,
    calibrated_once,
    calibrating_once,
    calibration_id,
    stored_calibrated,
    teacher_map,
    train_row,
)
from dmdlab.lab.evaluate import teacher_pairs
from dmdlab.lab.store import Store
from dmdlab.pairing import measure
from dmdlab.records.leases import Leases, of_kind
from dmdlab.records.record import load_calibrated


def one(*words: str) -> Experiment:
    return experiments(*words)[0]


def calibration_path(store: Store, e: Experiment) -> Path:
    return store.calibration_path(e, calibration_id(e))


def test_the_map_is_the_one_that_runs_are_measured_against() -> None:
    e = one("law.dim=3", "seed=4")
    law = law_of(e)
    pairs = teacher_pairs(group_of(e), law, law.denoise, CPU)
    again = teacher_map(e, CPU)(pairs["noise"][0].numpy())
    np.testing.assert_allclose(again, pairs["teacher"][0].numpy(), atol=1e-5)


TRAINED = ("law.dim=2", "seed=[0, 1]", "teacher.kind=network")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two runs of trained teachers."""
    out = tmp_path_factory.mktemp("trained")
    do(experiments(*TRAINED), out)
    return Store(out)


def test_a_trained_teacher_is_the_one_that_the_sweep_trained(
    trained: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains = "dmdlab.lab.start_networks.train_teacher"
    monkeypatch.setattr(trains, lambda *_, **how: pytest.fail("the stored teacher was trained again"))
    e, row = experiments(*TRAINED)[0], trained.start(experiments(*TRAINED)[0])
    assert row is not None
    arrays = trained.record(e).arrays()
    np.testing.assert_allclose(teacher_map(e, CPU, row)(arrays["noise"]), arrays["teacher"], atol=1e-4)
    store = Store(tmp_path)
    store.keep_start(e, row)
    found, swept = stored_calibrated(store, e, CPU), trained.calibrated(e, calibration_id(e))
    assert swept is not None
    np.testing.assert_allclose(found.found.curve("delta_e"), swept.found.curve("delta_e"), rtol=1e-3)


def test_a_teacher_that_a_sweep_trains_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    e, store = experiments(*TRAINED)[0], Store(tmp_path)
    monkeypatch.setattr("dmdlab.lab.once.time.sleep", lambda seconds: None)
    with Leases(tmp_path).held([of_kind("network", e.teacher_id)]):
        steps = calibrating_once(store, e, CPU)
        assert [next(steps) for _ in range(3)] == [None] * 3
        assert store.start(e) is None
        steps.close()


def test_a_missing_trained_teacher_is_trained_as_the_sweep_does_and_kept(trained: Store, tmp_path: Path) -> None:
    e, alone = experiments(*TRAINED)[1], Store(tmp_path)
    stored_calibrated(alone, e, CPU)
    kept, swept = alone.start(e), trained.start(e)
    assert kept is not None
    torch.testing.assert_close(kept, swept, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("d", [2, 5])
def test_an_isotropic_gaussian_has_its_closed_form(d: int) -> None:
    """Its flow is a multiple of the identity, so pair_cosine is tr(R) / d and e_dt = 2 tr(S) (1 - tr(R) / d)."""
    e = one("law.name=gaussian", f"law.dim={d}", "measure.samples=200")
    found = calibrate_experiment(e, CPU)
    assert (found.n, found.d) == (200, d)
    trace = 2 * (d // 2) * np.cos(np.radians(found.angles_degrees)) + d % 2
    np.testing.assert_allclose(found.curve("pair_cosine"), trace / d, atol=0.06)
    variance = found.curve("e_independent")[0] / 2
    np.testing.assert_allclose(found.curve("e_dt"), 2 * variance * (1 - trace / d), atol=0.1 * variance)
    cos = np.cos(np.radians(found.angles_degrees))  # nearby: the same along every direction, where no axis rests
    np.testing.assert_allclose(found.curve("local_cosine"), cos + d % 2 * (1 - cos) / d, atol=0.2 if d % 2 else 1e-5)
    np.testing.assert_allclose(found.curve("local_gain"), 1.0, atol=1e-5)
    np.testing.assert_allclose(found.null["local_cosine"], 1.0, atol=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ("student.init=rotated",),
        ("student.iterations=33",),
        ("network.width=16",),
        ("teacher.iterations=20",),
        ("seed=3",),
    ],
)
def test_runs_of_one_exact_teacher_share_one_calibration(words: tuple[str, ...]) -> None:
    assert calibration_id(one("law.dim=4", *words)) == calibration_id(one("law.dim=4"))


@pytest.mark.parametrize(
    "words",
    [
        ("law.dim=5",),
        ("law.components=3",),
        ("noise.sigma_max=6.0",),
        ("teacher.steps=5",),
        ("teacher.solver=euler",),
        ("measure.samples=25",),
        ("teacher.kind=network",),
    ],
)
def test_what_changes_the_teacher_map_or_n_changes_the_calibration(words: tuple[str, ...]) -> None:
    assert calibration_id(one("law.dim=4", *words)) != calibration_id(one("law.dim=4"))


def test_every_seed_of_a_trained_teacher_has_its_own() -> None:
    runs = experiments("law.dim=[2, 3]", "seed=[0, 1, 2]", 'student.init=["teacher", "rotated"]')
    trained = [Experiment.model_validate({**e.model_dump(), "teacher": {**e.teacher.model_dump(), "kind": "network"}})
               for e in runs]  # fmt: skip
    assert [e.law.dim for e in calibrated_once(runs)] == [2, 3]
    assert len(calibrated_once(trained)) == 6


def test_a_calibration_is_made_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    e, rotated, store = one("law.dim=3"), one("law.dim=3", "student.init=rotated", "seed=7"), Store(tmp_path)
    first = stored_calibrated(store, e, CPU).found
    monkeypatch.setattr("dmdlab.lab.calibrate.calibrate_experiment", lambda *_: pytest.fail("it was made again"))
    again = stored_calibrated(store, rotated, CPU).found
    kept = again.to_arrays()
    for key, array in first.to_arrays().items():
        np.testing.assert_array_equal(array, kept[key])
    assert [p.name for p in (tmp_path / "calibration").iterdir()] == [calibration_path(store, e).name]


def test_the_same_experiment_gives_the_same_calibration_anywhere() -> None:
    e = one("law.dim=3")
    a, b = calibrate_experiment(e, CPU), calibrate_experiment(e, CPU)
    np.testing.assert_array_equal(a.planted["delta_e"], b.planted["delta_e"])


def test_a_stored_calibration_says_what_it_is_of(tmp_path: Path) -> None:
    e, store = one("law.dim=2"), Store(tmp_path)
    stored_calibrated(store, e, CPU)
    found = load_calibrated(calibration_path(store, e))
    assert found.row["law.dim"] == 2
    assert found.row["calibration"] == calibration_id(e)
    assert found.calibration().d == 2
    assert {"law.components", "noise.sigma_max", "teacher.steps", "measure.samples", "commit"} <= set(found.row)


def test_a_run_gets_its_angle_from_the_calibration(tmp_path: Path) -> None:
    """The rotated start scrambles the noise by 90 degrees or more; the teacher itself reads 0."""
    e = one("law.dim=4", "measure.samples=200")
    law = law_of(e)
    teacher = teacher_pairs(group_of(e), law, law.denoise, CPU)["teacher"][0].numpy()
    found = stored_calibrated(Store(tmp_path), e, CPU).found
    assert measure(teacher, teacher, calibration=found).values()["remap_angle"] == 0.0
    shuffled = measure(teacher, np.roll(teacher, 1, axis=0), calibration=found)
    assert shuffled.values()["remap_angle"] > 70.0


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing", b"text"])
def test_a_damaged_calibration_is_a_sentence(tmp_path: Path, damage: bytes) -> None:
    e, store = one("law.dim=2"), Store(tmp_path)
    path = calibration_path(store, e)
    path.parent.mkdir()
    path.write_bytes(damage)
    with pytest.raises(InputError, match=path.name):
        stored_calibrated(store, e, CPU)


def test_what_is_no_calibration_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", teacher=np.eye(3), student=np.eye(3))
    with pytest.raises(InputError, match=r"p\.npz: this is no calibration"):
        load_calibrated(tmp_path / "p.npz")


def test_an_unfinished_teacher_is_an_error_not_a_number() -> None:
    e = one("law.dim=2", "teacher.kind=network")
    with pytest.raises(InputError, match="NaN or infinite"):
        calibrate_experiment(e, CPU, torch.full_like(train_row(e, law_of(e), CPU), math.nan))


def test_fresh_noise_has_classes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With those of the noise, equal laws would cost less to match than they do."""
    given: dict[str, np.ndarray] = {}
    monkeypatch.setattr("dmdlab.lab.calibrate.calibrate", lambda *_, **named: given.update(named))
    calibrate_experiment(one("law.dim=2", "teacher.condition=true"), CPU)
    labels, fresh = given["labels"], given["fresh_labels"]
    assert (fresh[: len(labels)] == labels).mean() < 0.8


def test_a_teacher_that_diverged_is_named(tmp_path: Path) -> None:
    e, store = one(*TRAINED), Store(tmp_path)
    store.keep_start(e, torch.full((3,), math.nan))
    with pytest.raises(InputError, match=r"mixture, d = 2, seed 0: its trained teacher is not finite"):
        stored_calibrated(store, e, CPU)
