"""What a sweep leaves behind, from its folders back to its parts, and what a second sweep does with it."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import CPU, do, experiments

from dmdlab.config import experiment_from
from dmdlab.diffusion import flow, karras_grid
from dmdlab.experiments import spelled_out
from dmdlab.lab.store import Store
from dmdlab.laws import make_law
from dmdlab.networks import make_denoiser
from dmdlab.pairing import assignment, measure
from dmdlab.pairing.glossary import unasked
from dmdlab.pairing.law import LAW_KEYS
from dmdlab.randomness import latents
from dmdlab.records.record import ARRAYS, SHARED, folder_name, load_records
from dmdlab.training.student import Student
from dmdlab.training.turn import Turn

SWEEP = ("law.dim=[2, 3]", 'student.init=["teacher", "rotated"]', "seed=[0, 1]")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dimensions, two inits, two seeds."""
    out = tmp_path_factory.mktemp("swept")
    do(experiments(*SWEEP), out)
    return out


def test_a_run_folder_holds_what_it_says(swept: Path) -> None:
    files = ["checksums.json", "curve.csv", "environment.json", "experiment.json"]
    files += ["student.npy", "student.safetensors", "summary.json"]
    for record in load_records(swept):
        assert sorted(p.name for p in record.folder.iterdir()) == files
        again = experiment_from(record.config)
        assert record.config == spelled_out(again)
        assert record.folder.name.startswith(f"mixture-d{again.law.dim}-{again.student.init}-s{again.seed}-")
        for key in ("versions", "commit", "device", "hardware", "cores", "seconds"):
            assert record.environment[key]
        assert {"torch", "numpy", "python"} <= set(record.environment["versions"])
        facts = record.summary["law_facts"]
        assert (facts["shape"], facts["train_rows"], facts["digest"]) == ([again.law.dim], None, None)
        assert record.row["law_sigma_data"] == facts["sigma_data"] == make_law(again.law.model_dump()).sigma_data
    assert {folder_name(e) for e in experiments(*SWEEP)} == {p.name for p in (swept / "runs").iterdir()}
    assert len(list((swept / "pairs").iterdir())) == 4  # two dimensions, two seeds
    assert len(list((swept / "calibration").iterdir())) == 2  # an exact teacher needs one a dimension
    assert len({record.summary["pairs"] for record in load_records(swept)}) == 4


def test_a_records_arrays_can_be_made_again_from_its_parts(swept: Path) -> None:
    """The whole chain: latents, exact flow, the stored student with its turned noise, the numbers in the summary and
    at the end of the curve."""
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
        denoiser = make_denoiser(1, law, e.network, CPU)
        named = dict(denoiser.network.named_parameters())
        assert set(named) == set(weights)
        with torch.no_grad():
            for name, p in named.items():
                p[0] = weights[name]
        turn = Turn([e.seed], [True], d) if e.student.init == "rotated" else None
        student = Student(denoiser, [e.noise.sigma_max], turn)
        np.testing.assert_allclose(arrays["student"], student(z[None])[0].detach().numpy(), rtol=1e-4, atol=1e-4)

        calibration = record.calibration()
        report = measure(arrays["teacher"], arrays["student"], reference=arrays["reference"], calibration=calibration)
        for key, value in report.values().items():
            stored = record.summary["metrics"][key]["value"]
            if key in unasked():  # what needs the maps, or more than these arrays
                continue
            assert (stored is None and math.isnan(value)) or stored == pytest.approx(value, rel=1e-6)
            assert record.row[key] == stored
        for key in ("local_cosine", "local_gain", "pair_cosine_gaussian"):
            assert math.isfinite(record.row[key])
        law = record.summary["law"]  # by its own calibration: what tables and figures judge it by
        assert law["limits"] == "calibration"
        assert {key: law[key][2] for key in LAW_KEYS} == {key: part.side for key, part in report.law.parts.items()}
        curve = record.curve()
        assert curve["iteration"].tolist() == [5, 20]  # log-spaced, and the end
        losses, measures = {"dm_loss", "score_loss", "gap"}, {"variance_ratio", "pair_cosine"}
        health = {"student_updates", "student_step", "score_excess", "fidelity", "coverage", "lost"}
        norms = {"student_gradient_norm", "score_gradient_norm"}
        assert set(curve) == {"iteration"} | losses | norms | measures | health
        too_few = {"score_excess"}  # which needs 32 rows
        assert all(np.isfinite(column).all() == (key not in too_few) for key, column in curve.items())
        assert [curve[key][-1] for key in measures] == pytest.approx([record.row[key] for key in measures], rel=1e-4)
        near = assignment(arrays["student"], arrays["data"]).cost / record.row["teacher_transport_fresh"]
        assert record.row["student_transport_ratio"] == pytest.approx(near, rel=1e-6)


def test_arrays_are_different_draws_and_seeds_and_inits_share_what_they_should(swept: Path) -> None:
    found = {(r.config["law.dim"], r.config["student.init"], r.config["seed"]): r.arrays() for r in load_records(swept)}
    for d, seed in itertools.product((2, 3), (0, 1)):
        teacher, rotated = found[d, "teacher", seed], found[d, "rotated", seed]
        for name in SHARED:
            np.testing.assert_array_equal(teacher[name], rotated[name])
        assert not any(np.allclose(teacher[a], teacher[b]) for a, b in itertools.combinations(ARRAYS, 2))
        assert not np.allclose(teacher["student"], rotated["student"])
        assert not np.allclose(teacher["noise"], found[d, "teacher", 1 - seed]["noise"])


def test_a_second_sweep_does_only_what_is_missing(swept: Path) -> None:
    wanted = experiments(*SWEEP)
    assert Store(swept).missing(wanted) == []
    made = [*swept.glob("runs/*/summary.json"), *swept.glob("teachers/*")]
    before = {path: path.stat().st_mtime_ns for path in made}
    lost = load_records(swept)[3]
    old = lost.arrays()["student"]
    (lost.folder / "summary.json").unlink()
    assert [e.id for e in Store(swept).missing(wanted)] == [lost.summary["id"]]
    redone = do(wanted, swept)[3]
    changed = [path for path in made if path.stat().st_mtime_ns != before[path]]
    assert changed == [lost.folder / "summary.json"]  # and no network was trained anew
    assert (redone.folder, redone.summary["id"]) == (lost.folder, lost.summary["id"])
    np.testing.assert_allclose(redone.arrays()["student"], old, rtol=1e-4, atol=1e-5)
