"""What the paper's claims are judged by: numbers derived from a run's arrays; which runs and signs a verdict takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Made, made
from test_reproduce import run, seeds

from dmdlab.pairing import calibrate
from dmdlab.pairing.calibration import Calibration
from dmdlab.paper.claims import CLAIMS, Evidence, cells_of
from dmdlab.paper.kept import SECTION, Kept, derived
from dmdlab.paper.page import page
from dmdlab.paper.verdicts import copies, difference_by_seed, value
from dmdlab.records.cells import cells
from dmdlab.records.further import further_path, save_further
from dmdlab.records.record import Record

PICTURE: dict[str, Any] = {"law__name": "digits", "law__dim": 64}


class Stored(Made):
    """A run with a calibration, a loss that rises and falls, and a teacher's further arrays in a store."""

    def calibration(self) -> Calibration:
        rng = np.random.default_rng(3)
        noise, fresh = rng.normal(size=(60, 4)), rng.normal(size=(120, 4))
        settings: dict[str, Any] = {"angles_degrees": (0, 30, 60, 90), "shares": (), "local_points": 20}
        return calibrate(np.tanh, noise, fresh_noise=fresh, rng=rng, bases=2, **settings)

    def curve(self) -> dict[str, np.ndarray]:
        return super().curve() | {"dm_loss": np.array([2.0, 7.0, 1.0])}


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Stored, dict[str, np.ndarray]]:
    one = made("digits", 64)
    summary = one.summary | {"pairs": "pairs.npz", "calibration": "c"}
    record = Stored(tmp_path / "runs" / "one", summary, one.config | {"measure.samples": 40}, one.environment)
    rng = np.random.default_rng(5)
    near, fresh = rng.uniform(0.5, 1.0, (2, 40, 3)).astype(np.float32)
    near[:, 0], fresh[:, 0] = near[:, 1] * np.where(np.arange(40) < 10, 0.2, 0.9), 0.1 * fresh[:, 1]
    teacher = record.arrays()["teacher"]
    phi = (teacher + 0.3 * record.arrays()["student"]).astype(np.float32)
    held = {"training": near, "training_of_data": fresh, "phi_32": phi}
    (tmp_path / "further").mkdir()
    save_further(further_path(record), record, held)
    return record, held


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float) - a.mean(axis=0), b.astype(float) - b.mean(axis=0)
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_derived_numbers_are_those_of_a_plain_reading_of_the_arrays(
    stored: tuple[Stored, dict[str, np.ndarray]],
) -> None:
    record, held = stored
    arrays, found = record.arrays(), derived(record)
    P, G, P1 = (arrays[name].astype(float) for name in ("teacher", "student", "one_step"))
    student, start = (np.linalg.norm(x - P, axis=1) for x in (G, P1))
    distance = held["training"][:, 2]
    for key, other in (("boundary", student - start), ("boundary_error", student), ("boundary_copy", -start)):
        assert found[key] == pytest.approx(np.corrcoef(distance, other)[0, 1], abs=1e-6)
    assert (found["memorised"], found["memorised_data"]) == (0.25, 1.0)
    assert found["pair_cosine_k"] == pytest.approx(cosine(P, G), abs=1e-6)
    assert found["pair_cosine_32"] == pytest.approx(cosine(held["phi_32"], G), abs=1e-6)
    planted = record.calibration()
    for key in ("local_cosine", "pair_cosine"):
        half = (planted.at(key, 30.0) + planted.at(key, 60.0)) / 2
        assert found[f"{key}_half"] == pytest.approx(half)
    assert [found[f"loss_{key}"] for key in ("first", "peak", "last")] == [2.0, 7.0, 1.0]
    assert derived(made(status="failed")) == {}


def evidence(claim: int, **kept: list[Record]) -> Evidence:
    return CLAIMS[claim - 1].evidence(Kept({name.replace("_", "-"): records for name, records in kept.items()}, {}))


def test_a_teacher_is_not_memorised_where_it_exceeds_fresh_data_by_a_hundredth_at_most() -> None:
    for excess, verdict in ((0.005, "for"), (0.02, "against"), (-0.3, "for")):
        own = {"memorised": 0.4 + excess, "memorised_data": 0.4}
        found = evidence(5, pictures=seeds(20.0, 21.0, 22.0, own=own, **PICTURE))
        said = found.judged["teacher"]["without a ruler"]
        assert (said.verdict, said.interval.mean) == (verdict, pytest.approx(excess))
        assert [interval.mean for _, interval in found.numbers] == pytest.approx([0.4 + excess, 0.4])


def test_failed_runs_are_in_no_difference_and_in_no_line() -> None:
    records = seeds(20.0, 21.0, 22.0)
    records[2].summary["status"] = "failed"
    records[2].summary[SECTION]["local_cosine_half"] = 90.0
    assert difference_by_seed(records, seeds(10.0, 10.0, 10.0), value("remap_angle")).n == 2
    (cell,) = cells(records)
    assert copies(cell, "local_cosine").verdict == "for"
    for read, verdict in ((0.5, "for"), (0.3, "against")):  # the line is the mean of what the runs' teachers read
        halves = enumerate((0.1, 0.2, 0.8))
        uneven = [run(seed=s, local_cosine=read + s / 1000, own={"local_cosine_half": half}) for s, half in halves]
        assert copies(cells(uneven)[0], "local_cosine").verdict == verdict


def test_a_run_that_two_experiments_show_is_counted_once() -> None:
    shared = seeds(20.0, 21.0, 22.0, **PICTURE)
    (cell,) = cells_of(Kept({"pictures": shared, "ages": list(shared)}, {}), "pictures", "ages")
    assert len(cell.records) == 3


def test_a_manifold_that_stands_for_pictures_keeps_its_verdict_beside_the_one_that_is_told_the_class() -> None:
    plain = seeds(20.0, 21.0, 22.0, law__name="manifold", own={"pair_cosine_32": 0.5, "pair_cosine_k": 0.4})
    told = {"law__name": "manifold", "law__stripes": True, "teacher__condition": True}
    striped = seeds(80.0, 81.0, 82.0, own={"pair_cosine_32": 0.3, "pair_cosine_k": 0.4}, **told)
    found = evidence(2, pictures=plain, stripes=striped)
    verdicts = {name: by["remap_angle"].verdict for name, by in found.judged.items()}
    assert verdicts == {"manifold": "for", "manifold, told the class": "against"}
    assert [(name.partition(":")[0], round(interval.mean, 3)) for name, interval in found.numbers] == [
        ("manifold", 0.1),
        ("manifold, told the class", -0.1),
    ]
    assert list(evidence(2, stripes=striped).judged) == ["manifold"]
    assert list(evidence(2, pictures=plain, stripes=[]).judged) == ["manifold"]


def test_a_loss_rises_above_its_first_value_and_falls_below_its_peak() -> None:
    losses = ((2.0, 7.0, 1.0), (3.0, 7.0, 2.0), (2.0, 7.0, 3.0), (2.0, 7.0, 7.0), (2.0, 2.0, 1.0))
    own = [dict(zip(("loss_first", "loss_peak", "loss_last"), values, strict=True)) for values in losses]
    records = [run(seed=seed, own=one, **PICTURE) for seed, one in enumerate(own)]
    assert "| 4000 | 3 of 5 |" in page(Kept({"ages": records}, {}))
