"""`measure` and `resolve` as a user meets them: what they print, write and refuse."""

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made import made, sample, write_run

from dmdlab.pages import measurement
from dmdlab.pairing import METRICS, calibrate, measure
from dmdlab.pairing.analysis import boundary
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.words import analyses

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    teacher, other, reference = rng.normal(size=(3, 60, 2, 4)).astype(np.float32)
    return {"teacher": teacher, "student": 0.9 * teacher + 0.4 * other, "reference": reference, "one_step": 0.1 * other}


@pytest.fixture
def npz(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(tmp_path / "pairs.npz", **arrays)  # type: ignore[arg-type]
    return tmp_path / "pairs.npz"


# --- measure


def test_measure_ends_with_its_reading_and_every_measure(dmdlab: Command, npz: Path) -> None:
    code, out, err = dmdlab("measure", npz)
    assert (code, err) == (0, "")
    assert "60 pairs in 8 dimensions" in out
    assert all(key in out for key in METRICS)
    assert "within its range" in out


def test_measure_as_json_is_what_the_library_says(dmdlab: Command, npz: Path, arrays: dict[str, np.ndarray]) -> None:
    code, out, err = dmdlab("measure", npz, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    expected = measure(arrays["teacher"], arrays["student"], reference=arrays["reference"])
    assert set(found["metrics"]) == set(METRICS)
    assert {"value", "low", "high", "reason"} <= set(found["metrics"]["r2"])
    for key, value in expected.values().items():
        told = found["metrics"][key]["value"]
        assert told is None if math.isnan(value) else told == pytest.approx(value)
    assert found["in_words"][: len(expected.in_words())] == expected.in_words()
    assert found["verdicts"] == expected.verdicts()


def test_two_files_and_an_option_are_the_same_as_one_npz(
    dmdlab: Command, npz: Path, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    from_npy = dmdlab("measure", tmp_path / "teacher.npy", tmp_path / "student.npy",
                      "--reference", tmp_path / "reference.npy", "--json")  # fmt: skip
    from_npz = dmdlab("measure", npz, "--json")
    assert json.loads(from_npy[1])["metrics"] == json.loads(from_npz[1])["metrics"]


def test_a_calibration_gives_the_remap_angle(dmdlab: Command, npz: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(120, 8))
    made = calibrate(lambda x: x, z, fresh_noise=rng.normal(size=(240, 8)), rng=rng, bases=3)
    np.savez(tmp_path / "calibration.npz", **made.to_arrays())  # type: ignore[arg-type]
    code, out, _ = dmdlab("measure", npz, "--calibration", tmp_path / "calibration.npz", "--json")
    angle = json.loads(out)["metrics"]["remap_angle"]
    assert code == 0
    assert angle["value"] == pytest.approx(math.degrees(math.atan2(0.4, 0.9)), abs=6.0)


class Tags(HTMLParser):
    """Collects tags, and whatever they would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_report_is_one_page_that_fetches_nothing(dmdlab: Command, npz: Path, tmp_path: Path) -> None:
    strange = npz.rename(tmp_path / "pairs <b> & co.npz")
    code, out, _ = dmdlab("measure", strange, "--report", tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    page = Tags()
    page.feed(text)
    assert code == 0
    assert f"Report: {tmp_path / 'out.html'}" in out
    assert page.tags.count("img") == 3  # heat map, ranks, displacement
    assert all(source.startswith("data:image/png;base64,") for source in page.fetched)
    assert "b" not in page.tags
    assert "&lt;b&gt; &amp; co.npz" in text
    assert all(f"<code>{key}</code>" in text for key in METRICS)
    assert not re.search(r"https?://|@import|url\(", text)


def test_a_report_without_one_step_outputs_has_two_figures(
    dmdlab: Command, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    del arrays["one_step"]
    np.savez(tmp_path / "p.npz", **arrays)  # type: ignore[arg-type]
    assert dmdlab("measure", tmp_path / "p.npz", "--report", tmp_path / "out.html")[0] == 0
    assert (tmp_path / "out.html").read_text(encoding="utf-8").count("<img") == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"student": np.zeros((59, 8))}, "student has 59 rows and teacher has 60"),
        ({"student": np.full((60, 8), np.nan)}, "60 of 60 rows (0, 1, 2, 3, 4, ...)"),
        ({"student": np.full((60, 8), "x")}, "text array"),
        ({"student": np.zeros((60, 8), complex)}, "complex array"),
        ({"student": np.full((60, 8), None)}, "pickle"),
        ({"teacher": np.zeros((1, 8)), "student": np.zeros((1, 8))}, "n >= 2"),
    ],
)
def test_what_is_no_pairing_is_one_sentence_and_status_2(
    dmdlab: Command, tmp_path: Path, arrays: dict[str, np.ndarray], change: dict[str, np.ndarray], words: str
) -> None:
    np.savez(tmp_path / "p.npz", **(arrays | change))  # type: ignore[arg-type]
    code, out, err = dmdlab("measure", tmp_path / "p.npz", "--report", tmp_path / "out.html")
    assert (code, out) == (2, "")
    assert err.startswith("dmdlab: ")
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out.html").exists()


def test_names_files_and_reports_that_are_not_there(dmdlab: Command, npz: Path, tmp_path: Path) -> None:
    whole = npz.read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez(tmp_path / "other.npz", teachers=np.eye(3), student=np.eye(3))
    for words, sentence in [
        ((tmp_path / "pair.npz",), "did you mean 'pairs.npz'"),
        ((tmp_path / "cut.npz",), "cut short"),
        ((tmp_path / "other.npz",), "rename 'teachers' to 'teacher'"),
        ((npz, npz, npz), "got 3 paths"),
        ((npz, "--reference", tmp_path / "none.npy"), "no such file"),
        ((npz, "--calibration", npz), "no calibration"),
        ((npz, "--report", tmp_path / "out.pdf"), "ends in .html"),
        ((npz, "--report", tmp_path / "nowhere" / "out.html"), "existing folder"),
    ]:
        code, out, err = dmdlab("measure", *words)
        assert (code, out) == (2, "")
        assert sentence in err


def test_notes_on_conversions_are_told(dmdlab: Command, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    halves = {name: array.astype(np.float16) for name, array in arrays.items()}
    np.savez(tmp_path / "p.npz", labels=np.arange(60), **halves)  # type: ignore[arg-type]
    code, out, _ = dmdlab("measure", tmp_path / "p.npz")
    assert code == 0
    assert "Note: teacher was float16" in out
    assert "Note: 'labels' in p.npz is not used." in out


@pytest.mark.parametrize(("k", "d"), [(1, 1), (4, 4), (4, 40), (30, 30)])
def test_the_number_of_directions_is_that_of_the_spectrum(k: int, d: int) -> None:
    """k equal variances among d coordinates: the participation ratio is k."""
    rng = np.random.default_rng(k)
    teacher = np.pad(rng.normal(size=(800, k)), ((0, 0), (0, d - k)))
    student = np.pad(rng.normal(size=(800, k)), ((0, 0), (0, d - k)))
    assert measure(teacher, student).directions() == pytest.approx(k, rel=0.1)


def test_every_line_of_the_table_is_of_the_glossary(arrays: dict[str, np.ndarray]) -> None:
    lines = measure(arrays["teacher"], arrays["teacher"]).lines()
    assert [line.key for line in lines] == list(METRICS)
    by_key = {line.key: line for line in lines}
    assert by_key["fidelity"].verdict == "unresolved"
    assert by_key["pair_cosine"].value == "1"
    assert by_key["pair_auc"].chance == "0.5"


def test_every_measure_that_has_a_value_has_an_interval(dmdlab: Command, npz: Path) -> None:
    found = json.loads(dmdlab("measure", npz, "--json")[1])["metrics"]
    for key, measured in found.items():
        assert (measured["value"] is None) == (measured["low"] is None), key
        if measured["value"] is not None:
            assert measured["low"] <= measured["value"] <= measured["high"]


def test_the_analyses_follow_from_the_arrays_that_are_given(arrays: dict[str, np.ndarray]) -> None:
    data = np.random.default_rng(3).normal(size=(80, 2, 4))
    bare = Pairs.of(arrays["teacher"], arrays["student"])
    full = Pairs.of(**arrays, data=data, noise=arrays["teacher"])
    assert set(analyses(bare)[0]) == {"components"}
    numbers, words = analyses(full)
    assert set(numbers) == {"components", "boundary", "memorisation", "monge_gap"}
    assert len(words) == 4
    assert numbers["monge_gap"]["teacher"] == 0.0  # the identity is optimal
    assert numbers["boundary"]["spearman"]["value"] == pytest.approx(boundary(full).spearman.value)
    assert numbers["memorisation"]["student"]["chance"] == pytest.approx((1 / 3) ** 8)
    assert analyses(Pairs.of(np.ones((9, 2)), np.eye(9, 2)))[0] == {}  # a constant teacher has no components


def test_an_image_of_the_latents_shape_only_has_a_monge_gap_where_both_live_in_one_space(
    arrays: dict[str, np.ndarray],
) -> None:
    pairs = Pairs.of(arrays["teacher"], arrays["student"], noise=np.ones((60, 3)))
    assert "monge_gap" not in analyses(pairs)[0]


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
    np.savez(npz, **arrays, noise=np.ones((60, 2)))  # type: ignore[arg-type]
    assert measurement.read([npz], {}).noise is not None
    monkeypatch.setattr(measurement, "LARGE", 1)
    assert measurement.read([npz], {}).noise is None


@pytest.mark.parametrize("layout", [1, 2])
def test_a_runs_folder_is_measured_whatever_its_format(dmdlab: Command, tmp_path: Path, layout: int) -> None:
    given = sample(3, 0)
    folder = write_run(tmp_path / "sweep", made(dim=3), given, layout)
    code, out, err = dmdlab("measure", folder, "--json")
    assert (code, err) == (0, "")
    expected = measure(given["teacher"], given["student"], reference=given["reference"]).values()
    assert json.loads(out)["metrics"]["fidelity"]["value"] == pytest.approx(expected["fidelity"])
    assert set(json.loads(out)["analyses"]) == {"components", "boundary", "memorisation", "monge_gap"}
    np.save(tmp_path / "other.npy", given["data"])
    other = json.loads(dmdlab("measure", folder, "--reference", tmp_path / "other.npy", "--json")[1])
    assert other["metrics"]["fidelity"]["value"] != pytest.approx(expected["fidelity"])
    broken = write_run(tmp_path / "sweep", made(dim=3, seed=1, status="failed"), given, layout)
    code, out, err = dmdlab("measure", broken)
    assert (code, out) == (2, "")
    assert "this run failed" in err


# --- resolve


def test_resolve_tells_the_thresholds(dmdlab: Command) -> None:
    code, out, err = dmdlab("resolve", "--n", 1000, "--dim", 16, "--theory", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["almost_all"] == pytest.approx(math.sqrt(1 - 1000 ** (-2 / 16)))
    assert found["every"] == pytest.approx(math.sqrt(1 - 1000 ** (-4 / 16)))
    assert found["windows"] == {}


def test_resolve_simulates_a_window_for_every_measure(dmdlab: Command) -> None:
    code, out, err = dmdlab("resolve", "--n", 40, "--dim", 3, "--draws", 3)
    assert code == 0
    assert "Simulating" in err
    for key in ("delta_e", "pair_cosine", "pair_auc", "r2"):
        assert re.search(rf"│ {key}\b", out)
    assert dmdlab("resolve", "--n", 40, "--dim", 3, "--draws", 3)[1] == out  # nothing here depends on the day


@pytest.mark.parametrize("words", [("--n", 1, "--dim", 3), ("--n", 10, "--dim", 0)])
def test_resolve_refuses_what_is_no_sample(dmdlab: Command, words: tuple[str | int, ...]) -> None:
    code, out, err = dmdlab("resolve", *words, "--theory")
    assert (code, out) == (2, "")
    assert "n >= 2" in err
