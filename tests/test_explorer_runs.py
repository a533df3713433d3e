"""The explorer's numbers of one run and of what stands beside it: readings, distances, verdicts, points, pictures."""

import base64
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made import made

from dmdlab.lab.for_pages import maps_for
from dmdlab.pages.explorer.packing import rounded
from dmdlab.pages.explorer.payload import Contents, payload
from dmdlab.pages.explorer.runs import distance_histograms, readings, run_section, unknown_maps
from dmdlab.pages.explorer.shared import LARGEST_SIDE, View, calibration_section, small
from dmdlab.pairing import Calibration, calibrate
from dmdlab.plots.components import correlations, noise_directions, principal_frame
from dmdlab.records.record import Record


def shown(*records: Record, **more: Any) -> dict[str, Any]:
    """The payload of runs."""
    return payload(Contents(records, maps_for, **more))


def decoded(own: dict[str, Any]) -> np.ndarray:
    """A packed array of single precision."""
    return np.frombuffer(base64.b64decode(own["data"]), "<f4").reshape(own["shape"])


def section(record: Record) -> dict[str, Any]:
    arrays = record.arrays()
    return run_section(record, arrays, View(record, arrays), unknown_maps(record, "why"), None, 20)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of a map that bends, at fewer samples than the runs have."""
    rng = np.random.default_rng(0)
    noise, fresh = rng.normal(size=(30, 8)), rng.normal(size=(60, 8))
    return calibrate(np.tanh, noise, fresh_noise=fresh, rng=rng, angles_degrees=(0, 45, 90), shares=(0.5,), bases=3)


def test_a_reading_is_the_records_with_its_interval_and_reason() -> None:
    record = made(remap_angle=90.0, pair_cosine=0.25)
    own = {"value": 0.25, "low": 0.125, "high": 0.5, "reason": "why"}
    record.summary["metrics"]["pair_cosine"] |= own
    found = readings(record, None)["pair_cosine"]
    assert {key: found[key] for key in own} == own
    assert (found["copy"], found["chance"], found["floor"], found["ceiling"]) == (1, 0, 0, 1)


def test_what_a_copy_and_chance_read_is_the_glossarys_and_else_the_calibrations(calibration: Calibration) -> None:
    flat = 0 * calibration.planted["pair_cosine"] + 0.7
    planted = calibration.planted | dict.fromkeys(("pair_cosine", "e_independent"), flat)
    null = calibration.null | {"pair_cosine": np.array([0.2, 0.4]), "e_independent": np.array([3.0, 5.0])}
    found = readings(made(), replace(calibration, planted=planted, null=null))
    ends = {key: tuple(found[key][part] for part in ("copy", "chance", "floor", "ceiling")) for key in found}
    assert ends["pair_cosine"] == (1, 0, 0, 1)  # as the glossary has it
    assert ends["e_independent"] == (0.7, 4.0, 0.7, 4.0)
    assert readings(made(), None)["e_dt"]["floor"] is None  # one end alone is no scale
    assert readings(made(), None)["e_dt"]["ceiling"] is None


def test_distances_are_counted_between_partners_and_between_all_others() -> None:
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(12) / 12
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    for teacher, other in (rng.normal(size=(2, 12, 3)), (circle, -circle)):  # on which no others are as far apart
        found = distance_histograms(teacher, other)
        edges = np.array(found["edges"])
        apart = np.linalg.norm(other[:, None] - teacher, axis=2)
        paired, others = np.diag(apart), apart[~np.eye(12, dtype=bool)]
        top = max(np.quantile(others, 0.999), paired.max())
        np.testing.assert_allclose(edges, np.linspace(0, top, 41), rtol=1e-4)
        assert found["paired"] == np.histogram(paired, 40, (0, top))[0].tolist()
        assert found["shuffled"] == np.histogram(others, 40, (0, top))[0].tolist()
        assert sum(found["paired"]) == 12


@pytest.mark.parametrize(
    ("sides", "agrees"),
    [
        (("inside", "inside", "inside"), True),
        (("above", "inside", "inside"), False),
        (("inside", "inside", "below"), False),
        (("inside", "unknown", "inside"), None),
        (("inside", "unknown", "below"), False),  # it is another law, whatever the second says
        ((), None),
    ],
)
def test_a_law_is_right_where_all_measures_say_so_and_wrong_where_one_does(
    sides: tuple[str, ...], agrees: bool | None
) -> None:
    record, keys = made(), ("fidelity", "debiased_cost", "variance_ratio")
    record.summary["law"] = {key: [0.9, 1.1, side] for key, side in zip(keys, sides, strict=False)}
    record.summary["law"]["limits"] = "calibration"
    assert (section(record)["law_agrees"], section(record)["law_by_convention"]) == (agrees, False)
    record.summary["law"]["limits"] = "there is no calibration"
    assert (section(record)["law_agrees"], section(record)["law_by_convention"]) == (agrees, True)


def test_a_failed_teacher_and_a_loss_that_asks_for_pairs_are_told() -> None:
    assert (section(made())["teacher_ok"], section(made(ok=False))["teacher_ok"]) == (True, False)
    asked = [section(made(**{"terms__regression__weight": weight}))["asks_for_pairs"] for weight in (0.5, 0.0)]
    assert asked == [True, False]


def test_only_so_many_rows_travel_and_all_are_counted() -> None:
    record = made(dim=2)
    found = shown(record, rows=16)
    (pairs,), (run,) = found["pairs"].values(), found["runs"]
    assert (pairs["n"], pairs["rows"], pairs["dim"]) == (16, 40, 2)
    arrays = record.arrays()
    np.testing.assert_array_equal(decoded(run["student"]), arrays["student"][:16])
    for name in ("noise", "teacher", "one_step", "reference", "data"):
        np.testing.assert_array_equal(decoded(pairs[name]), arrays[name][:16])
    assert sum(run["distances"]["paired"]) == 40


def test_correlations_are_those_of_rows_that_the_directions_were_not_fitted_on() -> None:
    record = made(dim=8)
    arrays = record.arrays()
    noise, teacher = arrays["noise"], arrays["teacher"].astype(float)
    frame, centre = principal_frame(teacher)
    seen = (teacher - centre) @ frame
    directions = noise_directions(noise[::2], seen[::2])
    view = View(record, arrays)
    assert view.words is not None
    assert view.words["correlations"] == pytest.approx(correlations(noise[1::2] @ directions, seen[1::2]), abs=1e-4)


def test_large_pictures_are_averaged_down_to_their_side() -> None:
    pictures = np.arange(2 * 3 * 40 * 40.0).reshape(2, -1)
    found, shape = small(pictures, [3, 40, 40])
    assert shape == [3, 20, 20]
    assert max(shape[1:]) <= LARGEST_SIDE
    expected = pictures.reshape(2, 3, 20, 2, 20, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(found.reshape(expected.shape), expected)
    same, shape = small(pictures[:, : 3 * 32 * 32], [3, 32, 32])
    assert (shape, same.shape) == ([3, 32, 32], (2, 3 * 32 * 32))


def test_a_calibration_travels_as_it_is_and_without_angles_where_it_tells_none(calibration: Calibration) -> None:
    found = calibration_section(calibration)
    assert (found["n"], found["d"]) == (30, 8)
    assert found["law_null"]["fidelity"] == pytest.approx(calibration.law_null()["fidelity"], rel=1e-4)
    assert found["law_null"]["fidelity"][0] < found["law_null"]["fidelity"][1]
    assert found["curves"]["delta_e"] == pytest.approx(calibration.curve("delta_e").tolist(), rel=1e-4)
    assert found["chance"]["e_ot"] == pytest.approx(calibration.null["e_ot"].mean(), rel=1e-4)
    assert found["fine"] is not None
    flat = calibration.planted | {"pair_cosine": 0 * calibration.planted["pair_cosine"] + 1}
    assert calibration_section(replace(calibration, planted=flat))["fine"] is None


def test_numbers_are_rounded_to_significant_digits() -> None:
    given = {"a": [1.23456789e-9, -98765.4321, math.nan], "b": (np.float64(2 / 3), np.arange(2), 7, "x")}
    assert rounded(given) == {"a": [1.2346e-9, -98765.0, None], "b": [0.66667, [0, 1], 7, "x"]}
