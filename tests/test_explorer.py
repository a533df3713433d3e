"""The explorer's data and numerics: what a page computes is what Python computes, within its bytes and in its words."""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explored import HARDWARE, explored
from explorer_cases import cases
from made import made, write_run
from typer.testing import CliRunner

from dmdlab.cli.app import app
from dmdlab.config import InputError
from dmdlab.lab.for_pages import maps_for
from dmdlab.pages.explorer.assemble import page, page_bytes
from dmdlab.pages.explorer.packing import greys, packed
from dmdlab.pages.explorer.payload import Contents, payload
from dmdlab.records.record import load_records

ROOT = Path(__file__).parents[1]
INITS = 'student.init=["teacher", "rotated", "turned", "twisted"]'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explored")
    explored(out, "law.dim=2", INITS, "student.turn_degrees=30")
    explored(out, "law.dim=8", "student.turn_degrees=30", calibrated=False)
    return out


@pytest.fixture(scope="module")
def known(store: Path) -> dict[str, Any]:
    return payload(Contents(load_records(store), maps_for))


def test_a_page_computes_what_python_computes(store: Path, known: dict[str, Any], tmp_path: Path) -> None:
    """Under Node: laws, networks, flows, measures, angles, colours, and whole runs."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("no `node` on this machine: the explorer's numerics are not tested")
        pytest.skip("no `node` on this machine (Node 20 or later)")
    (tmp_path / "cases.json").write_text(cases(store, known))
    tests = sorted(str(path) for path in (ROOT / "tests" / "js").glob("*.test.mjs"))
    done = subprocess.run(
        [node, "--test", *tests],
        env=os.environ | {"DMDLAB_CASES": str(tmp_path / "cases.json")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"^# skipped 0$", done.stdout, re.M)


def test_a_payload_names_what_varies_and_opens_in_the_plane(known: dict[str, Any]) -> None:
    axes = {axis["key"]: axis["values"] for axis in known["axes"]}
    assert axes == {"law.dim": [2, 8], "student.init": ["teacher", "turned", "twisted", "rotated"]}
    runs = {run["id"]: run for run in known["runs"]}
    opening = runs[known["opening"]]
    assert (opening["settings"]["law.dim"], opening["settings"]["student.init"]) == (2, "teacher")
    assert [moment["iteration"] for moment in opening["moments"]] == [0, 10, 20]
    assert opening["curve"]["pair_cosine"][1] == 0.5
    assert opening["curve"]["remap_angle"][2] < opening["curve"]["remap_angle"][0]
    for run in runs.values():
        assert {run["law"]} <= known["laws"].keys()
        assert {run["pairs"]} <= known["pairs"].keys()
        assert sum(run["distances"]["paired"]) == 40
    (wide,) = (run for run in runs.values() if run["settings"]["law.dim"] == 8)
    assert wide["network"] is None
    assert "principal" in known["pairs"][wide["pairs"]]["view"]["words"]
    assert known["left_out"] == []
    assert opening["label"] == "teacher start, d = 2"
    assert opening["asks_for_pairs"] is False
    assert known["laws"][opening["law"]]["words"] == "a mixture of 16 Gaussians in 2 dimensions"


def test_a_setting_that_some_runs_lack_is_a_cause_like_any_other(tmp_path: Path) -> None:
    explored(tmp_path, "law.dim=2", "seed=[0, 1]", calibrated=False)
    for weight in ("0.003", "0.00025"):
        explored(tmp_path, "law.dim=2", f"terms.gan.weight={weight}", calibrated=False)
    records = load_records(tmp_path)
    found = payload(Contents(records, maps_for))
    axes = {axis["key"]: axis for axis in found["axes"]}
    assert axes.keys() == {"terms.gan.weight", "seed"}
    assert axes["terms.gan.weight"]["values"] == [None, 0.00025, 0.003]
    assert axes["terms.gan.weight"]["words"] == ["none", "2.5e-4", "0.003"]
    assert {run["label"]: run["settings"]["terms.gan.weight"] for run in found["runs"]} == {
        "teacher start, seed 0, d = 2": None,
        "teacher start, seed 1, d = 2": None,
        "teacher start, seed 0, gan weight 0.003, d = 2": 0.003,
        "teacher start, seed 0, gan weight 2.5e-4, d = 2": 0.00025,
    }
    assert all(key in run["settings"] for run in found["runs"] for key in axes)
    few = payload(Contents(records, maps_for, most=found["bytes"]["payload"] + 10_000 - _bytes_of_moments(found)))
    assert len(few["runs"]) < 4
    for axis in few["axes"]:  # what is left is what its runs have
        assert {run["settings"][axis["key"]] for run in few["runs"]} == set(axis["values"])
        assert len(axis["words"]) == len(axis["values"])


def test_labels_leave_out_what_follows_from_the_law_or_the_networks_kind(tmp_path: Path) -> None:
    explored(tmp_path, "law.dim=2", "student.learning_rate=[0.0005, 0.001]", calibrated=False)
    mlp = ("network.kind=mlp", "network.depth=3", "network.time_features=16")
    explored(tmp_path, "law.name=ring", "law.dim=2", "student.learning_rate=0.001", *mlp, calibrated=False)
    explored(tmp_path, "law.name=ring", "law.dim=2", "law.radius=3.0", *mlp, calibrated=False)
    found = payload(Contents(load_records(tmp_path), maps_for))
    assert {run["label"] for run in found["runs"]} == {
        "teacher start, law mixture, network kind residual, rate 5e-4, d = 2",
        "teacher start, law mixture, network kind residual, rate 0.001, d = 2",
        "teacher start, law ring, network kind mlp, rate 0.001, law radius 2, d = 2",
        "teacher start, law ring, network kind mlp, rate 5e-4, law radius 3, d = 2",
    }
    keys = ["law.name", "network.kind", "student.learning_rate", "law.radius"]
    assert [axis["key"] for axis in found["axes"]] == keys


def test_no_measure_travels_without_its_floor_and_ceiling(known: dict[str, Any]) -> None:
    for run in known["runs"]:
        own = run["metrics"]
        assert own["delta_e"]["ceiling"] == own["delta_e_ceiling"]["value"]
        assert (own["delta_e"]["floor"], own["copy_index"]["floor"], own["copy_index"]["ceiling"]) == (0, 0, 1)
    assert known["runs"][0]["metrics"]["remap_angle"]["copy"] == 0


def test_points_beyond_the_plane_are_seen_along_principal_components(store: Path, known: dict[str, Any]) -> None:
    (wide,) = (run for run in known["runs"] if run["settings"]["law.dim"] == 8)
    (record,) = (record for record in load_records(store) if record.summary["id"] == wide["id"])
    own, teacher = known["pairs"][wide["pairs"]]["teacher"], record.arrays()["teacher"].astype(float)
    raw = np.frombuffer(base64.b64decode(own["data"]), "<i2").reshape(own["shape"])
    seen = np.array(own["offset"]) + own["scale"] * raw
    best = np.linalg.svd(teacher - teacher.mean(axis=0), compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(seen, axis=0), best, rtol=1e-3)


def test_what_does_not_fit_is_left_out_and_said(store: Path, known: dict[str, Any]) -> None:
    records = load_records(store)
    less = payload(Contents(records, maps_for, most=known["bytes"]["payload"] + 18_000))
    assert re.search(r"\d+ networks on the way .* left out", " ".join(less["left_out"]))
    by_id = {run["id"]: run for run in less["runs"]}
    assert len(by_id[less["opening"]]["moments"]) == 3  # the last to lose any
    assert 5 <= _networks(less) < _networks(known) == 24
    few = payload(Contents(records, maps_for, most=62_000))
    assert re.search(r"\d of 5 runs do not fit", few["left_out"][0])
    assert few["opening"] in {run["id"] for run in few["runs"]}
    assert len(few["runs"]) < 5
    assert {run["pairs"] for run in few["runs"]} == few["pairs"].keys()
    for limit, found in ((known["bytes"]["payload"] + 18_000, less), (62_000, few)):
        assert found["bytes"]["payload"] <= limit
    with pytest.raises(InputError, match="one run alone"):
        payload(Contents(records, maps_for, most=25_000))


def _bytes_of_moments(found: dict[str, Any]) -> int:
    """Of all networks but students at their end, which are left out first."""
    early = [moment for run in found["runs"] for moment in run["moments"][:-1]]
    late = [run["moments"][-1]["fake"] for run in found["runs"]]
    return len(json.dumps([early, late]))


def _networks(found: dict[str, Any]) -> int:
    """How many travel."""
    moments = [moment for run in found["runs"] for moment in run["moments"]]
    return sum(moment[name] is not None for moment in moments for name in ("student", "fake"))


def test_a_page_is_no_larger_than_it_may_be(store: Path) -> None:
    """Its own parts are a small share of three megabytes, and data fill what is left at most."""
    taken = page_bytes()
    assert taken < 500_000
    limit = taken + 100_000
    found = page(payload(Contents(load_records(store), maps_for, most=limit, taken=taken)))
    assert len(found.encode()) <= limit


def test_a_record_without_weights_is_shown_without_its_maps(tmp_path: Path) -> None:
    told = "terms.regression.weight=0.25"
    (record,) = explored(tmp_path, "law.dim=2", told, keep=False, calibrated=False)
    (record.folder / "student.safetensors").unlink()
    found = payload(Contents([record], maps_for))
    assert found["runs"][0]["asks_for_pairs"] is True
    assert found["runs"][0]["network"] is None
    assert found["runs"][0]["why_no_network"] == "the record has no weights"
    assert found["runs"][0]["moments"] == []
    assert found["runs"][0]["metrics"]["remap_angle"]["value"] is None  # no calibration, no angle


def test_a_law_that_no_page_can_denoise_keeps_its_maps_to_itself(tmp_path: Path) -> None:
    (record,) = explored(tmp_path, "law.name=chessboard", "law.dim=2", "law.embedding=random", calibrated=False)
    (run,) = payload(Contents([record], maps_for))["runs"]
    assert run["why_no_network"] == "the law 'chessboard' has no exact denoiser that a page knows"


def test_a_trained_teacher_travels_in_the_plane(tmp_path: Path) -> None:
    (record,) = explored(tmp_path, "law.dim=2", "teacher.kind=network", calibrated=False)
    found = payload(Contents([record], maps_for))
    assert found["pairs"][found["runs"][0]["pairs"]]["teacher_network"]["dtype"] == "f16"
    next((tmp_path / "teachers").iterdir()).unlink()
    assert "teacher's network is not" in payload(Contents([record], maps_for))["runs"][0]["why_no_network"]


def test_pictures_travel_as_rows_and_as_a_path_between_two_noises(tmp_path: Path) -> None:
    (record,) = explored(tmp_path, "law.name=field", "law.side=4", "student.init=rotated", calibrated=False)
    found = payload(Contents([record], maps_for))
    run, pairs = found["runs"][0], found["pairs"][found["runs"][0]["pairs"]]
    assert pairs["pictures"]["shape"] == [1, 4, 4]
    assert run["pictures"]["student"]["shape"] == pairs["pictures"]["teacher"]["shape"] == [8, 16]
    assert run["slice"]["t"] == sorted(run["slice"]["t"])
    first = maps_for(record)["slice"]
    for name in ("teacher", "student"):  # it leads from the first row to the second
        np.testing.assert_allclose(first[name][[0, -1]], record.arrays()[name][:2], atol=1e-4)


def test_what_cannot_be_shown_is_refused_or_left_out(tmp_path: Path) -> None:
    failed, foreign = made(status="failed"), made(dim=2, network__kind="none")
    with pytest.raises(InputError, match=r"no run to show: .*failed and left no student"):
        payload(Contents([failed], maps_for))
    found = payload(Contents([failed, foreign], maps_for))
    assert found["left_out"] == [f"Left out: {failed.folder.name}: the run failed and left no student"]
    assert "'none', which is not a network" in found["runs"][0]["why_no_network"]
    old = load_records(write_run(tmp_path, made(dim=1), layout=1).parent)  # a line, and no pair_cosine in its curve
    assert payload(Contents(old, maps_for))["runs"][0]["curve"].keys() == {"iteration", "dm_loss"}


def test_numbers_are_packed_as_pages_read_them() -> None:
    values = np.array([[1.0, -200.0], [3.0, 200.0]])
    own = packed(values, "i16")
    raw = np.frombuffer(base64.b64decode(own["data"]), "<i2").reshape(2, 2)
    np.testing.assert_allclose(np.array(own["offset"]) + own["scale"] * raw, values, atol=own["scale"])
    with pytest.raises(InputError, match="NaN"):
        packed(np.array([np.nan]), "f32")
    with pytest.raises(InputError, match="too large"):
        packed(np.array([1e5]), "f16")
    steps = np.frombuffer(base64.b64decode(greys(np.array([[-9.0, 0.5, 9.0]]), (0.0, 1.0))["data"]), "u1")
    assert steps.tolist() == [0, 128, 255]


# --- the command


def explore(*words: str) -> Any:
    return CliRunner().invoke(app, ["explore", *words], catch_exceptions=True)


def test_the_command_writes_one_file_that_names_cannot_break(store: Path, tmp_path: Path) -> None:
    hostile, out = "</script><b>&\u2028", tmp_path / "page.html"
    done = explore(str(store), "law.dim=2", "--out", str(out), "--title", hostile)
    assert done.exit_code == 0, done.output
    text = out.read_text(encoding="utf-8")
    assert "</script><b>" not in text
    assert "onerror=alert(1)>" not in text
    assert "\u2028" not in text.partition("</head>")[2]
    (data,) = re.findall(r'<script type="application/json" id="payload">(.*?)</script>', text, re.S)
    held = json.loads(data)
    assert held["title"] == hostile
    assert held["made"]["hardware"] == HARDWARE
    assert {run["settings"]["law.dim"] for run in held["runs"]} == {2}
    code = re.sub(r"^\s*//.*$| // .*$", "", text.replace(data, ""), flags=re.M)  # without comments
    assert "//" not in code.replace("//www.w3.org/", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["{store}", "-o", "{tmp}"], "this is a folder"),
        (["{store}", "-o", "{tmp}/none/page.html"], "there is no folder"),
        (["{tmp}", "-o", "{tmp}/page.html"], "no finished run"),
        (["{tmp}/none", "-o", "{tmp}/page.html"], "no such folder"),
        (["law.dim=2", "-o", "{tmp}/page.html"], "name the folder"),
        (["{store}", "law.dim=3", "-o", "{tmp}/page.html"], "law.dim"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(store: Path, tmp_path: Path, words: list[str], expected: str) -> None:
    done = explore(*(word.format(store=store, tmp=tmp_path) for word in words))
    assert isinstance(done.exception, InputError)
    assert expected in str(done.exception)
    assert not (tmp_path / "page.html").exists()


def test_an_unfinished_sweep_is_said(tmp_path: Path) -> None:
    explored(tmp_path, "law.dim=2", calibrated=False)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "some.safetensors").write_bytes(b"")
    done = explore(str(tmp_path), "--out", str(tmp_path / "page.html"))
    assert done.exit_code == 0
    assert "still at it, or was interrupted" in done.output
