"""The explorer's runs together: what they share, how they are told apart, which opens, what is left out first."""

import itertools
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explored import explored
from made import Made, made
from typer.testing import CliRunner

from dmdlab import __version__
from dmdlab.cli.app import app
from dmdlab.experiments import load
from dmdlab.lab.calibrate import teacher_map
from dmdlab.lab.for_pages import LEVELS, maps_for
from dmdlab.pages.explorer import payload as whole
from dmdlab.pages.explorer.fitting import SENTENCES, cut_to_size
from dmdlab.pages.explorer.payload import Contents, payload
from dmdlab.pages.templates import embedded
from dmdlab.records.record import Record, load_records


def shown(*records: Record, **more: Any) -> dict[str, Any]:
    """The payload of runs."""
    return payload(Contents(records, maps_for, **more))


def labels(*records: Record) -> list[str]:
    return [run["label"] for run in shown(*records)["runs"]]


def renamed(record: Made, id: str) -> Made:
    return Made(Path(id), record.summary | {"id": id}, record.config, record.environment)


# --- what runs share


def test_a_run_without_maps_hides_neither_the_law_nor_the_teacher_of_the_next_one(tmp_path: Path) -> None:
    """The first has lost its weights; its law and its trained teacher are those of the second, too."""
    starts = 'student.init=["teacher", "rotated"]'
    first, _ = explored(tmp_path / "lost", "law.dim=2", "teacher.kind=network", starts, calibrated=False)
    (first.folder / "student.safetensors").unlink()
    found = shown(*load_records(tmp_path / "lost"))
    assert [run["network"] is None for run in found["runs"]] == [True, False]
    assert found["pairs"][found["runs"][1]["pairs"]]["teacher_network"] is not None

    first, _ = explored(tmp_path / "odd", "law.dim=2", starts, calibrated=False)
    config = (first.folder / "experiment.json").read_text()
    (first.folder / "experiment.json").write_text(config.replace('"residual"', '"none"'))
    records = load_records(tmp_path / "odd")
    for order in (records, records[::-1]):
        found = shown(*order)
        (law,) = found["laws"].values()
        assert law["exact"] is not None
        assert law["sigma_data"] > 0


def test_a_run_that_is_given_twice_is_shown_once_and_more_than_so_many_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [made(seed=seed) for seed in range(4)]
    assert len(shown(*records, *records)["runs"]) == 4
    monkeypatch.setattr(whole, "MOST_RUNS", 3)
    found = shown(made(seed=9, status="failed"), *records)
    assert len(found["runs"]) == 3
    assert [re.sub(r"^Left out: \S+: ", "", sentence) for sentence in found["left_out"]] == [
        "the run failed and left no student",
        "more than 3 runs; choose some",
    ]


def test_a_page_names_the_program_its_command_and_what_made_its_first_run() -> None:
    record = made()
    made_by = shown(made(init="rotated", status="failed"), record, command="dmdlab explore x", version="9")["made"]
    assert {key: made_by[key] for key in ("version", "command")} == {"version": "9", "command": "dmdlab explore x"}
    assert {key: made_by[key] for key in ("commit", "hardware", "device")} == {
        key: record.environment[key] for key in ("commit", "hardware", "device")
    }


def test_measures_and_laws_are_named_in_plain_words() -> None:
    found = shown(made("cube", 1), made("sphere", 3))
    assert {law["words"] for law in found["laws"].values()} == {
        "a uniform cube in 1 dimension",
        "a uniform sphere in 3 dimensions",
    }
    names = [word["label"] for word in found["glossary"].values()]
    assert not any(set(name) & set("$\\{}") for name in names)
    assert found["glossary"]["delta_e"]["label"] == "pairing inefficiency Δ_E"


# --- how they are told apart


def test_a_dimension_is_an_axis_also_where_it_follows_from_the_law() -> None:
    found = shown(made("ring", 2), made("cube", 8))
    assert [axis["key"] for axis in found["axes"]] == ["law.name", "law.dim"]
    assert all(run["settings"]["seed"] == 0 for run in found["runs"])  # every run has its seed, axis or not


def test_how_runs_were_measured_is_no_axis_and_tells_them_apart_where_nothing_else_does() -> None:
    few, many = (renamed(made(measure__samples=n), f"n{n}") for n in (500, 1000))
    found = shown(few, many)
    assert found["axes"] == []
    assert sorted(labels(few, many)) == ["teacher start, d = 8, samples 1000", "teacher start, d = 8, samples 500"]
    assert labels(few) == ["teacher start, d = 8"]
    assert labels(*(made(result_version=version) for version in (1, 2))) == [
        "teacher start, d = 8, result version 1",
        "teacher start, d = 8, result version 2",
    ]


def test_it_opens_with_the_settings_that_most_runs_have() -> None:
    rates = {0.0001: (0,), 0.0005: (0, 1)}
    records = [renamed(made(seed=s, student__learning_rate=r), f"{r} {s}") for r, own in rates.items() for s in own]
    assert shown(*records)["opening"] == "0.0005 0"


# --- why a run has no maps, and which maps it has


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"student__steps": 2}, "its student takes 2 steps, and a page runs students of one step alone"),
        (
            {"student__steps": 2, "student__sampler": "ode"},
            "its student takes 2 steps, and a page runs students of one",
        ),
        ({"teacher__condition": True}, "its networks are told a class"),
        ({"network__kind": "unet"}, "a network of the kind 'unet' does not run in a page"),
    ],
)
def test_a_run_whose_maps_a_page_cannot_compute_says_why(settings: dict[str, Any], why: str) -> None:
    assert maps_for(made(dim=2, **settings))["why"].startswith(why)


def test_a_student_is_called_at_its_first_level() -> None:
    assert maps_for(made(dim=2, student__start_level=2.5))["level"] == 2.5
    assert maps_for(made(dim=2))["level"] == made(dim=2).config["noise.sigma_max"]


def test_answers_to_compare_are_at_levels_in_units_of_the_laws_spread(tmp_path: Path) -> None:
    (record,) = explored(tmp_path, "law.dim=2", "law.name=ring", "law.radius=6.0", calibrated=False)
    found = maps_for(record)
    spread = found["law"]["sigma_data"]
    assert spread > 2
    assert [own["sigma"] for own in found["checks"]["fake"]] == pytest.approx([level * spread for level in LEVELS])


def test_a_run_that_kept_its_end_alone_has_one_moment_at_the_last_iteration(tmp_path: Path) -> None:
    (record,) = explored(tmp_path, "law.dim=2", keep=False, calibrated=False)
    (run,) = shown(record)["runs"]
    assert [(moment["iteration"], moment["fake"]) for moment in run["moments"]] == [(20, None)]


def test_a_path_between_two_noises_keeps_their_norm_and_a_student_its_seeds_later_noise(tmp_path: Path) -> None:
    words = ("law.name=field", "law.side=4", "student.init=rotated", "student.steps=2", "seed=3")
    (record,) = explored(tmp_path, *words, calibrated=False)
    found, arrays = maps_for(record)["slice"], record.arrays()
    np.testing.assert_allclose(found["student"][0], arrays["student"][0], atol=1e-4)
    assert found["t"][4] == 0.5
    half = (arrays["noise"][:1] + arrays["noise"][1:2]) / math.sqrt(2)
    (e,) = load(None, "smoke", ["teacher.steps=4", "noise.sigma_max=5.0", *words]).experiments()
    expected = teacher_map(e, torch.device("cpu"))(half)[0]
    np.testing.assert_allclose(found["teacher"][4], expected, atol=1e-4)
    data = arrays["data"]
    pictures = next(iter(shown(record)["pairs"].values()))["pictures"]
    assert pictures["range"] == pytest.approx([data.min(), data.max()], rel=1e-4)


# --- what is left out first


def of_sizes(*settings: dict[str, Any], moments: int = 2) -> dict[str, Any]:
    """A payload of runs of so many moments each, whose networks are all of one size."""
    runs = [
        {"id": f"{i}", "name": f"run {i}", "settings": own}
        | {"law": "l", "pairs": "p", "network": "n", "calibration": None}
        | {"moments": [{"iteration": k, "student": f"{i}s{k}", "fake": f"{i}f{k}"} for k in range(moments)]}
        for i, own in enumerate(settings)
    ]
    for run, moment, name in itertools.product(runs, range(moments), ("student", "fake")):
        run["moments"][moment][name] = {"data": run["moments"][moment][name] + 5000 * "x"}
    shared: dict[str, Any] = {"laws": {"l": 1}, "pairs": {"p": 1}, "networks": {"n": 1}, "calibrations": {}}
    keys = list(dict.fromkeys(key for own in settings for key in own))
    axes = [{"key": key, "values": list(dict.fromkeys(own[key] for own in settings))} for key in keys]
    return shared | {"runs": runs, "opening": "0", "axes": [axis | {"words": axis["values"]} for axis in axes]}


def held(found: dict[str, Any]) -> set[str]:
    """The networks in it."""
    moments = [moment for run in found["runs"] for moment in run["moments"]]
    return {moment[name]["data"][:3] for moment in moments for name in ("student", "fake") if moment[name]}


def test_networks_on_the_way_are_left_out_from_the_least_wanted_on_and_counted() -> None:
    """First of the opening run, then of one of another start, then of the others; students at their end stay."""
    settings = [{"student.init": init, "rate": rate} for init, rate in (("teacher", 1), ("rotated", 1), ("teacher", 2))]
    whole_size, order, before = len(embedded(of_sizes(*settings))), list[str](), {"0s1", "1s1", "2s1"}
    for most in range(whole_size - 9 * 5000, whole_size + 10_000, 2500):
        found = of_sizes(*settings)
        said = cut_to_size(found, most + SENTENCES)
        assert len(embedded(found)) <= most
        now = held(found)
        assert now >= before
        order += sorted(now - before)
        told = re.match(r"(\d+) networks", " ".join(said))
        assert (int(told[1]) if told else 0) == 12 - len(now)
        before = now
    assert order == ["0s0", "0f1", "0f0", "1s0", "1f1", "2f1", "2s0", "1f0", "2f0"]


def test_networks_of_runs_that_are_left_out_are_not_counted_and_their_settings_are_no_choice() -> None:
    settings = [{"student.init": "teacher", "rate": rate} for rate in (1, 2)]
    found = of_sizes(*settings, moments=3)
    said = cut_to_size(found, SENTENCES + 6500)
    assert [run["id"] for run in found["runs"]] == ["0"]
    assert re.match(r"1 of 2 runs do not fit .* \(run 1\)", said[0])
    assert said[1].startswith("5 networks ")
    assert found["axes"] == []


# --- the command


def explore(*words: str) -> Any:
    return CliRunner().invoke(app, ["explore", *words], catch_exceptions=True)


def test_the_command_takes_several_folders_and_all_of_300_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dmdlab", "explore", "a", "b"])
    for name, init in (("a", "teacher"), ("b", "rotated")):
        explored(tmp_path / name, "law.dim=2", f"student.init={init}", "measure.samples=320", calibrated=False)
    out = tmp_path / "page.html"
    done = explore(str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out))
    assert done.exit_code == 0, done.output
    (data,) = re.findall(r'<script type="application/json" id="payload">(.*?)</script>', out.read_text(), re.S)
    found = json.loads(data)
    assert {run["settings"]["student.init"] for run in found["runs"]} == {"teacher", "rotated"}
    assert {(pairs["n"], pairs["rows"]) for pairs in found["pairs"].values()} == {(300, 320)}
    assert found["made"]["version"] == __version__
    assert found["made"]["command"] == "dmdlab explore a b"
    assert found["title"] == "Does the student copy its teacher?"


@pytest.mark.parametrize(("name", "files", "said"), [("leases", 1, True), ("checkpoints", 0, False)])
def test_a_sweep_that_has_ended_is_not_said_to_be_at_it(name: str, files: int, said: bool, tmp_path: Path) -> None:
    explored(tmp_path, "law.dim=2", calibrated=False)
    (tmp_path / name).mkdir()
    for i in range(files):
        (tmp_path / name / f"{i}").touch()
    done = explore(str(tmp_path), "--out", str(tmp_path / "page.html"))
    assert done.exit_code == 0
    assert ("still at it, or was interrupted" in done.output) == said
