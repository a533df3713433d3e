"""`measure` and `resolve` as a user meets them: what they print, write and refuse."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import made, write_run

from dmdlab.pages import measurement
from dmdlab.pairing import METRICS, calibrate, local_from_differences, measure, metrics
from dmdlab.pairing.analyses_in_words import analyses
from dmdlab.pairing.analysis import boundary
from dmdlab.pairing.pairs import Pairs
from dmdlab.transport import solve

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    teacher, other, reference = rng.normal(size=(3, 60, 2, 4)).astype(np.float32)
    return {"teacher": teacher, "student": 0.9 * teacher + 0.4 * other, "reference": reference, "one_step": 0.1 * other}


@pytest.fixture
def npz(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(tmp_path / "pairs.npz", **arrays)
    return tmp_path / "pairs.npz"


@pytest.fixture(scope="module")
def calibration() -> dict[str, np.ndarray]:
    """The arrays of a small one of eight dimensions."""
    rng = np.random.default_rng(1)
    made_of = {"noise": rng.normal(size=(20, 8)), "fresh_noise": rng.normal(size=(40, 8))}
    return calibrate(np.tanh, **made_of, rng=rng, bases=2).to_arrays()


def told(dmdlab: Command, *words: str | Path) -> dict[str, Any]:
    """What `measure --json` says, and nothing but that."""
    code, out, err = dmdlab("measure", *words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


# --- measure


def test_measure_ends_with_its_reading_its_notes_and_every_measure(
    dmdlab: Command, npz: Path, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(npz, labels=np.arange(60), **{name: array.astype(np.float16) for name, array in arrays.items()})
    code, out, err = dmdlab("measure", npz)
    assert (code, err) == (0, "")
    for words in ("60 pairs in 8 dimensions", "within its range", *METRICS):
        assert words in out
    assert "Note: teacher was float16" in out
    assert "Note: 'labels' in pairs.npz is not used." in out


def test_measure_as_json_is_what_the_library_says_with_an_interval_round_every_value(
    dmdlab: Command, npz: Path, arrays: dict[str, np.ndarray]
) -> None:
    found = told(dmdlab, npz)
    expected = measure(arrays["teacher"], arrays["student"], reference=arrays["reference"])
    assert set(found["metrics"]) == set(METRICS)
    for key, value in expected.values().items():
        measured = found["metrics"][key]
        if math.isnan(value):
            assert (measured["value"], measured["low"], measured["high"]) == (None, None, None)
            assert measured["reason"]
        else:
            assert measured["value"] == pytest.approx(value)
            assert measured["low"] <= measured["value"] <= measured["high"]
    assert found["in_words"][: len(expected.in_words())] == expected.in_words()
    assert found["verdicts"] == expected.verdicts()


def test_two_files_and_an_option_are_the_same_as_one_npz(
    dmdlab: Command, npz: Path, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    paths = {name: tmp_path / f"{name}.npy" for name in arrays}
    for name, path in paths.items():
        np.save(path, arrays[name])
    from_npy = told(dmdlab, paths["teacher"], paths["student"], "--reference", paths["reference"])
    assert from_npy["metrics"] == told(dmdlab, npz)["metrics"]


def test_differences_and_another_teacher_have_options(
    dmdlab: Command, npz: Path, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    p, g = np.random.default_rng(3).normal(size=(2, 20, 2, 4)).astype(np.float32)
    more = {"teacher_differences": p, "student_differences": p + g, "other_teacher": -arrays["teacher"]}
    words: list[str | Path] = []
    for name, array in more.items():
        np.save(tmp_path / f"{name}.npy", array)
        words += [f"--{name.replace('_', '-')}", tmp_path / f"{name}.npy"]
    found = told(dmdlab, npz, *words, "--quick")["metrics"]
    for key, measured in local_from_differences(p, p + g).items():
        assert found[key]["value"] == pytest.approx(measured.value), key
    assert found["pair_cosine_teachers"]["value"] == pytest.approx(-1.0)
    code, _, err = dmdlab("measure", npz, *words[:2])
    assert code == 2
    assert "stand alone" in err


def test_a_calibration_gives_the_remap_angle(dmdlab: Command, npz: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise, fresh = rng.normal(size=(120, 8)), rng.normal(size=(240, 8))
    np.savez(tmp_path / "c.npz", **calibrate(lambda x: x, noise, fresh_noise=fresh, rng=rng, bases=3).to_arrays())
    angle = told(dmdlab, npz, "--calibration", tmp_path / "c.npz")["metrics"]["remap_angle"]
    assert angle["value"] == pytest.approx(math.degrees(math.atan2(0.4, 0.9)), abs=6.0)


@pytest.mark.parametrize("pictures", [3, 2])  # heat map, ranks, and displacement where there are one-step outputs
def test_a_report_is_one_page_that_fetches_nothing(
    dmdlab: Command, arrays: dict[str, np.ndarray], tmp_path: Path, pictures: int
) -> None:
    if pictures == 2:
        del arrays["one_step"]
    np.savez(strange := tmp_path / "pairs <b> & co.npz", **arrays)
    code, out, _ = dmdlab("measure", strange, "--report", tmp_path / "out.html")
    assert code == 0
    assert f"Report: {tmp_path / 'out.html'}" in out
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    fetched = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(fetched) == text.count("<img") == pictures
    assert all(source.startswith("data:image/png;base64,") for source in fetched)
    assert not re.search(r"https?://|@import|url\(|<b>", text)
    assert "&lt;b&gt; &amp; co.npz" in text
    assert all(f"<code>{key}</code>" in text for key in METRICS)


def test_what_cannot_be_measured_is_one_sentence_and_status_2_before_a_report_is_written(
    dmdlab: Command, npz: Path, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    whole, page = npz.read_bytes(), tmp_path / "out.html"
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(tmp_path / "names.npz", teachers=np.eye(3), student=np.eye(3))
    np.savez(tmp_path / "nan.npz", **(arrays | {"student": np.full((60, 8), np.nan)}))
    np.savez(tmp_path / "objects.npz", **(arrays | {"student": np.full((60, 8), None)}))
    for words, sentence in [
        ((tmp_path / "pair.npz",), "did you mean 'pairs.npz'"),
        ((tmp_path / "cut.npz",), "cut short"),
        ((tmp_path / "names.npz",), "rename 'teachers' to 'teacher'"),
        ((tmp_path / "nan.npz", "--report", page), "60 of 60 rows (0, 1, 2, 3, 4, ...)"),
        ((tmp_path / "objects.npz", "--report", page), "pickle"),
        ((npz, npz, npz), "got 3 paths"),
        ((npz, "--reference", tmp_path / "none.npy"), "no such file"),
        ((npz, "--calibration", npz, "--report", page), "no calibration"),
        ((npz, "--report", tmp_path / "out.pdf"), "ends in .html"),
        ((npz, "--report", tmp_path / "nowhere" / "out.html"), "existing folder"),
    ]:
        code, out, err = dmdlab("measure", *words)
        assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
        assert err.startswith("dmdlab: ")
        assert sentence in err
    assert not page.exists()


@pytest.mark.parametrize(("k", "d"), [(1, 1), (4, 4), (4, 40), (30, 30)])
def test_the_number_of_directions_is_that_of_the_spectrum(k: int, d: int) -> None:
    """k equal variances among d coordinates: the participation ratio is k."""
    clouds = np.random.default_rng(k).normal(size=(2, 800, k))
    assert measure(*np.pad(clouds, ((0, 0), (0, 0), (0, d - k)))).directions == pytest.approx(k, rel=0.1)


@pytest.mark.parametrize("correlation", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("uneven", [0.0, 0.5])
def test_the_number_of_directions_does_not_follow_how_much_is_copied(correlation: float, uneven: float) -> None:
    """Of a copy it was n d / (n + d), and of rows of unequal length less."""
    rng = np.random.default_rng(0)
    P, E = np.exp(uneven * rng.standard_normal((2, 100, 1))) * rng.standard_normal((2, 100, 200))
    found = measure(P, correlation * P + (1 - correlation**2) ** 0.5 * E).directions
    assert found == pytest.approx(200, rel=0.1)


def test_outputs_that_are_all_the_same_spread_over_no_direction() -> None:
    P = np.random.default_rng(0).standard_normal((50, 5))
    for report in (measure(np.ones_like(P), P), measure(P, np.ones_like(P)), measure(P, P * 1e-9 + np.float64(1e8))):
        assert report.directions is None
        assert report.resolution_in_words().startswith("The outputs of one of the two spread over no direction")


def test_every_line_of_the_table_is_of_the_glossary(arrays: dict[str, np.ndarray]) -> None:
    lines = {line.key: line for line in measure(arrays["teacher"], arrays["teacher"]).lines()}
    assert list(lines) == list(METRICS)
    assert lines["fidelity"].verdict == "unresolved"
    assert lines["pair_cosine"].value == "1"
    assert lines["pair_auc"].chance == "0.5"


def test_the_analyses_follow_from_the_arrays_that_are_given(arrays: dict[str, np.ndarray]) -> None:
    data = np.random.default_rng(3).normal(size=(80, 2, 4))
    bare = {"teacher": arrays["teacher"], "student": arrays["student"]}
    full = Pairs.of(**arrays, data=data, noise=arrays["teacher"])
    assert set(analyses(Pairs.of(**bare))[0]) == {"components"}
    numbers, words = analyses(full)
    assert set(numbers) == {"components", "boundary", "memorisation", "monge_gap"}
    assert len(words) == 4
    assert numbers["monge_gap"]["teacher"] == 0.0  # the identity is optimal
    assert numbers["boundary"]["spearman"]["value"] == pytest.approx(boundary(full).spearman.value)
    assert numbers["memorisation"]["student"]["chance"] == pytest.approx((1 / 3) ** 8)
    assert analyses(Pairs.of(np.ones((9, 2)), np.eye(9, 2)))[0] == {}  # a constant teacher has no components
    elsewhere = Pairs.of(**bare, noise=np.ones((60, 3)))  # a gap needs noise and outputs in one space
    assert "monge_gap" not in analyses(elsewhere)[0]


def test_a_large_measurement_says_so_and_leaves_out_what_multiplies_it(
    dmdlab: Command, npz: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "SLOW", 1.0)
    code, out, err = dmdlab("measure", npz, "--json")
    found = json.loads(out)
    assert code == 0
    assert "takes a while" in err
    assert found["analyses"] == {}
    assert found["metrics"]["delta_e"]["low"] is None
    np.savez(npz, **arrays, noise=np.ones((60, 2)))
    assert measurement.read([npz], {}).noise is not None
    monkeypatch.setattr(measurement, "LARGE", 1)
    assert measurement.read([npz], {}).noise is None


@pytest.mark.parametrize("layout", [1, 2])
def test_a_runs_folder_is_measured_whatever_its_format(dmdlab: Command, tmp_path: Path, layout: int) -> None:
    given = made(dim=3).arrays()
    folder = write_run(tmp_path / "sweep", made(dim=3), layout)
    found = told(dmdlab, folder)
    expected = measure(given["teacher"], given["student"], reference=given["reference"]).values()
    assert found["metrics"]["fidelity"]["value"] == pytest.approx(expected["fidelity"])
    assert set(found["analyses"]) == {"components", "boundary", "memorisation", "monge_gap"}
    np.save(tmp_path / "other.npy", given["data"])
    other = told(dmdlab, folder, "--reference", tmp_path / "other.npy")
    assert other["metrics"]["fidelity"]["value"] != pytest.approx(expected["fidelity"])
    broken = write_run(tmp_path / "sweep", made(dim=3, seed=1, status="failed"), layout)
    code, out, err = dmdlab("measure", broken)
    assert (code, out) == (2, "")
    assert "this run failed" in err


# --- resolve


def test_resolve_tells_the_thresholds_and_refuses_what_is_no_sample(dmdlab: Command) -> None:
    code, out, err = dmdlab("resolve", "--n", 1000, "--dim", 16, "--theory", "--json")
    found = json.loads(out)
    assert (code, err, found["windows"]) == (0, "", {})
    assert found["almost_all"] == pytest.approx(math.sqrt(1 - 1000 ** (-2 / 16)))
    assert found["every"] == pytest.approx(math.sqrt(1 - 1000 ** (-4 / 16)))
    for n, dim in ((1, 3), (10, 0)):
        code, out, err = dmdlab("resolve", "--n", n, "--dim", dim, "--theory")
        assert (code, out) == (2, "")
        assert "n >= 2" in err


def test_resolve_simulates_a_window_for_every_measure(dmdlab: Command) -> None:
    code, out, err = dmdlab("resolve", "--n", 40, "--dim", 3, "--draws", 3)
    assert code == 0
    assert "Simulating" in err
    for key in ("delta_e", "pair_cosine", "pair_auc", "r2"):
        assert re.search(rf"│ {key}\b", out)
    assert dmdlab("resolve", "--n", 40, "--dim", 3, "--draws", 3)[1] == out  # nothing here depends on the day


def test_a_large_reference_of_another_size_is_refused_before_anything_is_solved(
    dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solve, "UNEQUAL_LIMIT", 50**2)
    P, G, Q = np.random.default_rng(0).normal(size=(3, 60, 4))
    for rows, code in ((60, 0), (59, 2), (40, 0)):
        np.savez(tmp_path / "p.npz", teacher=P, student=G, reference=Q[:rows])
        monkeypatch.setattr(metrics, "solved", solve.solved if code == 0 else lambda *_, **__: pytest.fail("solved"))
        found = dmdlab("measure", tmp_path / "p.npz", "--quick")
        assert found[0] == code
    assert "Traceback" not in found[2]
    np.savez(tmp_path / "p.npz", teacher=P, student=G, reference=Q[:59])
    assert "give one of as many rows" in " ".join(dmdlab("measure", tmp_path / "p.npz")[2].split())


def _without(name: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


def _cut(arrays: dict[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    return arrays | {k: v[rows] for k, v in arrays.items() if k == "angles_degrees" or k.startswith("planted/")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: _cut(a, slice(4)), "rising angles with 0 and 90 among them"),
        (lambda a: _cut(a, slice(1, None)), "rising angles with 0 and 90 among them"),
        (lambda a: _cut(a, slice(None, None, -1)), "rising angles with 0 and 90 among them"),
        (lambda a: a | {"angles_degrees": a["angles_degrees"] * np.nan}, "rising angles"),
        (lambda a: a | {"angles_degrees": np.array(90.0)}, "angles_degrees has shape ()"),
        (lambda a: a | {"angles_degrees": a["angles_degrees"].astype(str)}, "expected real numbers"),
        (lambda a: a | {"planted/pair_cosine": a["planted/pair_cosine"].astype(str)}, "expected a row of real numbers"),
        (lambda a: a | {"planted/pair_cosine": a["planted/pair_cosine"] + 0j}, "type complex128"),
        (lambda a: a | {"planted/pair_cosine": a["planted/pair_cosine"][:, :0]}, "shape (11, 0)"),
        (lambda a: a | {"planted/delta_e": a["planted/delta_e"][:-1]}, "shape (10, 2)"),
        (lambda a: a | {"independent/e_ot": np.ones(3)}, "a row and a column of real numbers for each sample"),
        (lambda a: a | {"independent/debiased_cost": np.ones((3, 2))}, "a row and a column of real numbers"),
        (lambda a: a | {"independent/spread": np.ones((3, 3))}, "real numbers with 1 axes"),
        (lambda a: a | {"collapsed/r2": np.ones(2)}, "real numbers with 0 axes"),
        (lambda a: a | {"n": np.array("many")}, "n has shape () and type <U4, expected whole numbers"),
        (lambda a: a | {"d": np.array(np.inf)}, "expected whole numbers"),
        (_without("floor"), "this is no calibration: floor missing"),
    ],
)
def test_a_calibration_that_cannot_be_inverted_is_refused(
    dmdlab: Command,
    npz: Path,
    calibration: dict[str, np.ndarray],
    change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
    said: str,
    tmp_path: Path,
) -> None:
    np.savez(tmp_path / "c.npz", **change(calibration))
    code, out, err = dmdlab("measure", npz, "--quick", "--calibration", tmp_path / "c.npz")
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'c.npz'}: " in err
    assert said in " ".join(err.split())
    assert "make it anew" in err


def test_a_calibration_without_a_usable_cosine_leaves_the_angle_unresolved(
    dmdlab: Command, npz: Path, calibration: dict[str, np.ndarray], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    flat = calibrate(np.zeros_like, rng.normal(size=(20, 8)), fresh_noise=rng.normal(size=(40, 8)), rng=rng, shares=())
    holed = calibration | {"planted/pair_cosine": calibration["planted/pair_cosine"].copy()}
    holed["planted/pair_cosine"][3, 1] = np.nan
    for arrays in (flat.to_arrays(), holed):
        np.savez(tmp_path / "c.npz", **arrays)
        found = told(dmdlab, npz, "--quick", "--calibration", tmp_path / "c.npz")["metrics"]["remap_angle"]
        assert found["value"] is None
        assert "the calibration's own pair_cosine is not known at every angle" in found["reason"]
