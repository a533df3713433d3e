"""What a store keeps of a teacher after a sweep, for single figures: what the teacher and its training set say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, do, experiments

from dmdlab.config import InputError
from dmdlab.lab.calibrate import teacher_map
from dmdlab.lab.further import keep_further, training_points
from dmdlab.lab.store import Store
from dmdlab.laws import make_law
from dmdlab.pairing.analysis import memorisation, memorised, neighbours
from dmdlab.randomness import generator
from dmdlab.records.checksums import save_npz
from dmdlab.records.further import FIRST_ROWS, further, further_path
from dmdlab.records.kept_arrays import read_stored
from dmdlab.records.record import Record


def test_distances_to_data_are_those_of_a_loop_and_give_the_memorisation_ratios() -> None:
    rng = np.random.default_rng(0)
    outputs, data = rng.standard_normal((9, 3)), rng.standard_normal((20, 3))
    outputs[0] = data[5]
    slow = np.array([sorted(np.sqrt(((data - x) ** 2).sum(axis=1))) for x in outputs])
    found = neighbours(outputs, data)
    np.testing.assert_allclose(found, np.column_stack([slow[:, :2], slow.mean(axis=1)]), atol=1e-12)
    np.testing.assert_array_equal(memorised(found, 3).ratios, memorisation(outputs, data).ratios)
    assert memorised(found, 3).ratios[0] == 0


def changed(path: Path, **changes: object) -> None:
    """A file of ours in all but these entries."""
    save_npz(path, {**read_stored(path), **{name: np.asarray(value) for name, value in changes.items()}})


SPOILT: dict[str, tuple[str, Callable[[Path], object]]] = {
    "cut": ("cut short", lambda path: path.write_bytes(path.read_bytes()[:-40])),
    "flipped": ("not what its checksum", lambda path: path.write_bytes(path.read_bytes().replace(b"\0", b"\1", 1))),
    "older": ("older version", lambda path: np.savez(path, phi_32=read_stored(path)["phi_32"])),
    "version": (r"another version \(1, expected 2", lambda path: changed(path, made_of=["1", "", ""])),
    "silent": ("does not say which", lambda path: save_npz(path, {"phi_32": np.zeros((3, 4), np.float32)})),
    "pairs": ("other pairs than the run's", lambda path: changed(path, made_of=["2", path.name, "0" * 64])),
    "shape": (
        r"training is float32 of shape \(3, 3\)",
        lambda path: changed(path, training=np.ones((3, 3), np.float32)),
    ),
    "kind": ("phi_32 is float64", lambda path: changed(path, phi_32=np.zeros((40, 4)))),
}


def test_arrays_of_a_teacher_are_made_once_after_a_sweep_and_read_beside_its_runs(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", points := np.random.default_rng(1).standard_normal((30, 4)).astype(np.float32))
    wanted = experiments("law.name=empirical", f"law.path={tmp_path / 'points.npy'}", "law.dim=4", "seed=[0]",
                         "measure.samples=70", "teacher.kind=network",
                         "student.init=[\"teacher\", \"rotated\"]")  # fmt: skip
    records = do(wanted, out := tmp_path / "out")
    assert further(records[0]) == {}
    assert list(keep_further(Store(out), wanted, CPU)) == [(0, 1), (1, 1)]  # both students have one teacher
    first, second = map(further, records)
    np.testing.assert_array_equal(first["training"], second["training"])
    arrays = records[0].arrays()
    np.testing.assert_allclose(first["training"], neighbours(arrays["teacher"], points), rtol=1e-6)
    np.testing.assert_allclose(first["training_of_data"][:, 0], 0.0, atol=1e-6)  # all data are points of the law
    many = wanted[0].model_copy(update={"teacher": wanted[0].teacher.model_copy(update={"steps": 32})})
    again = teacher_map(many, CPU, Store(out).start(wanted[0]))(arrays["noise"][:FIRST_ROWS])
    np.testing.assert_allclose(first["phi_32"], again, rtol=1e-5, atol=1e-6)
    written = further_path(records[0]).stat().st_mtime_ns
    assert list(keep_further(Store(out), wanted, torch.device("cpu"))) == [(0, 1), (1, 1)]
    assert further_path(records[0]).stat().st_mtime_ns == written
    for name, (reason, spoil) in SPOILT.items():
        whole = further_path(records[0]).read_bytes()
        spoil(further_path(records[0]))
        with pytest.raises(InputError, match=reason) as refused:
            further(records[0])
        assert "`dmdlab reproduce` again" in str(refused.value)
        list(keep_further(Store(out), wanted, CPU))
        assert further_path(records[0]).read_bytes() == whole, name
    shutil.rmtree(out / "further")
    shutil.rmtree(out / "teachers")
    with pytest.raises(InputError, match="lacks its pairs or its teacher"):
        list(keep_further(Store(out), wanted, CPU))


def place(record: Record, device: str, ways: dict[str, str]) -> None:
    """Let a run have been made there."""
    path = record.folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": device, "ways": ways}))


def test_a_training_set_is_drawn_again_where_the_teacher_drew_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = experiments("teacher.train_samples=12", "seed=[1]", "teacher.kind=network",
                         "student.init=[\"teacher\", \"rotated\"]")  # fmt: skip
    first, second = do(wanted, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    place(first, "cuda:0", {"teacher": "graph"})
    place(second, "cpu", {"distillation": "eager"})  # took its teacher from the store
    with pytest.raises(InputError, match=r"teacher\.train_samples.* a GPU .*this torch"):
        list(keep_further(Store(tmp_path), wanted, CPU))
    place(first, "cpu", {"teacher": "eager"})
    place(second, "cuda:0", {"distillation": "graph"})
    list(keep_further(Store(tmp_path), wanted[::-1], CPU))  # in whatever order: who trained it says where
    points = make_law(wanted[0].law.model_dump()).training_set(12, generator(1, "teacher", "data"))[0].numpy()
    expected = neighbours(first.arrays()["teacher"], points)
    np.testing.assert_allclose(further(first)["training"], expected, rtol=1e-6)


def test_without_a_size_the_training_set_is_all_that_a_data_set_has_to_train_on(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(256, size=(40, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    law_keys = ("law.name=images", f"law.path={tmp_path / 'pictures.npy'}", "law.side=4", "measure.samples=8")
    (e,) = experiments(*law_keys, "teacher.kind=network", "teacher.target=data")
    law = make_law(e.law.model_dump())
    points = training_points(law, e, CPU)
    assert points is not None
    assert len(np.unique(points, axis=0)) == len(points) == law.available("train") > law.available("reference")
    (endless,) = experiments("seed=0")
    assert training_points(make_law(endless.law.model_dump()), endless, CPU) is None
