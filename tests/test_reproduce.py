"""`dmdlab reproduce`: what it refuses, what it trains and trains no more, what it draws, and what the page says."""

import json
import math
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmdlab.cli.reproduce import PictureSettings, pictures_of, sweep_of
from dmdlab.config import Experiment, InputError, flatten
from dmdlab.lab.plan import Plan
from dmdlab.pairing import Interval
from dmdlab.paper.catalogue import CLAIMED, FIGURES, SCALES, TARGETS, experiment_file, experiments_of, targets
from dmdlab.paper.claims import CLAIMS
from dmdlab.paper.kept import SECTION, Kept, kept_text, read_kept
from dmdlab.paper.page import PAPER, numbers_table, page, table
from dmdlab.paper.verdicts import RULERS, beyond, copies, less_copied, opposite_verdict, together
from dmdlab.records.cells import cells
from dmdlab.records.record import Record

Command = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[1]
DIGITS = PictureSettings(("law.name=digits",), ("law.name=digits",), "pictures: digits")
LEAST = ("teacher.iterations=4", "teacher.batch=8", "student.iterations=6", "student.batch=8", "student.warmup=1")
TOYS = (*LEAST, "measure.samples=24", "measure.checkpoints=3", "network.width=4", "network.depth=1")
SMALL = (*LEAST, "measure.samples=24", "measure.checkpoints=3", "network.channels=[4]", "network.depths=[1]")


def run(angle: float = 20.0, seed: int = 0, own: dict[str, float] | None = None, **settings: Any) -> Record:
    """A finished run that nobody made; settings with '__' for the dot, measures among them without."""
    keys = {key.replace("__", "."): value for key, value in settings.items() if "__" in key}
    config = flatten(Experiment()) | {"seed": seed, "teacher.snapshot": 4000} | keys
    values = {"remap_angle": angle, "delta_e": 0.1, "local_cosine": 0.8, "fidelity": 1.0, "variance_ratio": 1.0}
    values |= {"delta_e_ceiling": 9.0, "pair_cosine": 0.9} | {k: v for k, v in settings.items() if "__" not in k}
    summary = {"id": repr(sorted(keys.items())) + str(seed), "status": "done", "failed_at": None, "result_version": 2}
    summary |= {"teacher": {"ok": True}, "metrics": {k: {"value": v} for k, v in values.items()}, "law": {}}
    summary |= {SECTION: {"local_cosine_half": 0.5} | (own or {})}
    return Record(Path("kept"), summary, config, {"seconds": 60.0, "hardware": "here", "commit": "c", "device": "cpu"})


def seeds(*angles: float, **settings: Any) -> list[Record]:
    return [run(angle, seed, **settings) for seed, angle in enumerate(angles)]


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans that take an hour an ensemble, without timing anything."""
    monkeypatch.setattr(Plan, "seconds", lambda self: [3600.0 for _ in self.parts])


# --- what is asked for


def test_nothing_or_all_asks_for_every_figure_and_the_table() -> None:
    assert targets([]) == targets(["all"]) == [*FIGURES, "table"]
    assert targets(["table", "fig7", "fig2"]) == ["fig2", "fig7", "table"]
    assert experiments_of(["fig3"]) == ["chessboard", "pictures"]
    assert experiments_of(["table"]) == list(CLAIMED)


def test_the_wheel_has_a_file_for_each_experiment_at_both_scales() -> None:
    for scale in SCALES:
        found = {path.stem for path in experiment_file("", scale).parent.glob("*.toml")}
        assert found == set(CLAIMED) == {name for figure in FIGURES.values() for name in figure.experiments} | {"gan"}


@pytest.mark.parametrize("name", CLAIMED)
def test_quick_experiments_have_three_seeds_and_a_a_rotated_control(name: str) -> None:
    pytest.importorskip("sklearn")
    found = sweep_of(name, "quick", DIGITS, []).experiments()
    assert {e.teacher.steps for e in found} == {8}
    assert {e.teacher.kind for e in found} == {"exact" if name == "chessboard" else "network"}
    assert {e.seed for e in found} == {0, 1, 2}
    assert {e.student.init for e in found} == {"teacher", "rotated"}


def test_figures_share_runs_and_the_oldest_teacher_is_the_one_without_a_snapshot() -> None:
    pytest.importorskip("sklearn")
    ages, pictures = (sweep_of(name, "quick", DIGITS, []).experiments() for name in ("ages", "pictures"))
    assert len({e.id for e in ages} & {e.id for e in pictures}) == 6


def test_ages_keep_their_share_of_a_shorter_training() -> None:
    assert sweep_of("ages", "quick", DIGITS, ["teacher.iterations=150"]).axes["teacher.snapshot"] == [19, 38, 75, 150]
    assert sweep_of("ages", "quick", DIGITS, ["teacher.snapshot=[3]"]).axes["teacher.snapshot"] == [3]


def test_pictures_without_labels_leave_the_classes_to_others(tmp_path: Path) -> None:
    (tmp_path / "a b.gz").write_bytes(b"")
    found = pictures_of(tmp_path / "a b.gz", None, "quick")
    assert found.plain == ("law.name=images", f'law.path="{tmp_path}/a b.gz"')
    assert found.classes == pictures_of(None, None, "quick").classes
    assert str(tmp_path) not in found.said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fig13"], "unknown figure 'fig13'; did you mean 'fig3'? (there are fig1 to fig12"),
        (["tabel"], "did you mean 'table'"),
        (["fig2", "--data", "none.gz"], "--data none.gz: no such file"),
        (["fig2", "--labels", __file__], "give --data"),
        (["fig2", "--scale", "quik"], "did you mean 'quick'"),
        (["fig2", "law.nam=x"], "law.nam is not a parameter of the law 'chessboard'"),
        (["fig2", "studnt.batch=3"], "unknown key 'studnt.batch'; did you mean 'student.batch'"),
        (["fig5", "student.learning_rate=[1e-4, 1e-3]"], "several values, and reproduce shows one of 'pictures'"),
        (
            ["table", "teacher.snapshot=[100, 200]"],
            "student.init, seed alone: its figures and claims average over seeds",
        ),
    ],
)
def test_bad_input_is_one_sentence(dmdlab: Command, tmp_path: Path, words: list[str], said: str) -> None:
    code, _, err = dmdlab("reproduce", *words, "--out", tmp_path / "out")
    assert code == 2
    assert said in err
    assert not (tmp_path / "out").exists()


# --- what is trained and drawn


def shown(path: Path) -> str:
    """The text of a PDF of one page by matplotlib, without the spaces between its pieces."""
    found = ""
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", path.read_bytes(), re.DOTALL):
        try:
            content = zlib.decompress(stream)
        except zlib.error:
            continue
        for text in re.findall(rb"\bBT\b(.*?)\bET\b", content, re.DOTALL):
            found += b"".join(re.findall(rb"\(((?:\\.|[^()\\])*)\)", text)).decode("latin-1") + "\n"
    return found.replace("\x00", "")  # two bytes a letter


def check_panels(name: str, folder: Path, law: str = "chessboard") -> None:
    text = shown(folder / f"{name}.pdf")
    for panel in FIGURES[name].panels:
        assert panel.format(law=law) in text, (panel, text)
    caption = (folder / f"{name}.txt").read_text()
    assert f"dmdlab reproduce {name}" in caption
    assert "commit" in caption


@pytest.mark.slow
@pytest.mark.usefixtures("untimed")
def test_a_second_call_trains_nothing_and_draws_the_same(dmdlab: Command, tmp_path: Path) -> None:
    words = ("reproduce", "fig2", *TOYS, "seed=0", "--device", "cpu", "--workers", "1", "--out", tmp_path)
    code, out, err = dmdlab(*words)
    assert code == 0, err
    assert "2 runs, 0 already" in err
    assert "measuring included" in out
    check_panels("fig2", tmp_path / "figures")
    first = (tmp_path / "figures" / "fig2.pdf").read_bytes()
    code, _, err = dmdlab(*words)
    assert (code, "2 already" in err, "0 to do" in err) == (0, True, True)
    assert (tmp_path / "figures" / "fig2.pdf").read_bytes() == first


@pytest.mark.slow
def test_every_target_at_a_tiny_size(dmdlab: Command, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    common = ("--device", "cpu", "--workers", "1", "--out", tmp_path)
    own = (*LEAST, "measure.samples=24", "measure.checkpoints=3", "seed=[0, 1]")
    for name in TARGETS[:-1]:
        size = TOYS[len(LEAST) + 2 :] if name in ("fig2", "fig7") else () if name in ("fig3", "table") else SMALL[-2:]
        code, _, err = dmdlab("reproduce", name, *own, *size, *common)
        assert code == 0, (name, err)
        assert "No fig" not in err
        if name in FIGURES:
            for law in ("digits", "manifold") if name in ("fig8", "fig9", "fig10") else ("digits",):
                check_panels(name, tmp_path / "figures", law)
    kept = read_kept(tmp_path / "kept")
    assert set(kept.runs) == set(CLAIMED)
    assert (tmp_path / "reproduction.md").read_text() == page(kept)
    assert "not run" not in numbers_table(kept)


# --- what the page says


def test_the_page_comes_out_of_the_kept_summaries_to_the_byte() -> None:
    kept = read_kept(ROOT / "figures" / "reproduce")
    assert kept.runs
    written = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    assert page(kept, "../figures/reproduce") == written
    assert f"| {PAPER['chessboard'][0]} |" in written
    assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp|Users)/", written)


def test_every_table_of_the_page_has_a_head_for_each_column() -> None:
    columns = 0
    for line in (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8").splitlines():
        own = line.count("|") if line.startswith("|") else 0
        assert not columns or own in (0, columns), line
        columns = own
    with pytest.raises(ValueError, match="zip"):
        table(["a", "b"], [["1"]])


def test_the_page_without_runs_says_so_and_invents_nothing() -> None:
    empty = page(Kept({}, {}))
    assert empty.count("not run") >= len(CLAIMS)
    assert not re.search(r"\b(for|against):", empty.split("## Its claims")[1].split("### 1")[0])


def test_kept_summaries_are_read_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "pictures.json").write_text(kept_text(seeds(10.0, 20.0, student__batch=3), "dmdlab reproduce fig1"))
    (tmp_path / "gan.json").write_text("{}")
    with pytest.raises(InputError, match=r"gan\.json"):
        read_kept(tmp_path)
    (tmp_path / "gan.json").unlink()
    kept = read_kept(tmp_path)
    assert kept.commands == {"pictures": "dmdlab reproduce fig1"}
    assert [r.row["remap_angle"] for r in kept.runs["pictures"]] == [10.0, 20.0]
    assert json.loads((tmp_path / "pictures.json").read_text())["shared"]["student.batch"] == 3


@pytest.mark.parametrize(
    ("low", "high", "above", "expected"),
    [
        (2.0, 3.0, True, "for"),
        (2.0, 3.0, False, "against"),
        (0.0, 0.5, True, "against"),
        (0.0, 0.5, False, "for"),
        (0.5, 2.0, True, "undecided"),
        (float("nan"), float("nan"), True, "undecided"),
    ],
)
def test_an_interval_speaks_only_where_it_lies_on_one_side(low: float, high: float, above: bool, expected: str) -> None:
    assert beyond(Interval((low + high) / 2, low, high, 3), 1.0, above) == expected


def test_each_ruler_has_its_line_between_a_copy_and_a_re_paired_student() -> None:
    (copied,) = cells(seeds(18.0, 20.0, 22.0))
    (lost,) = cells(seeds(80.0, 81.0, 82.0, delta_e=8.0, local_cosine=0.2))
    assert {ruler: copies(copied, ruler).verdict for ruler in RULERS} == dict.fromkeys(RULERS, "for")
    assert {ruler: copies(lost, ruler).verdict for ruler in RULERS} == dict.fromkeys(RULERS, "against")
    assert {ruler: less_copied(lost, copied, ruler).verdict for ruler in RULERS} == dict.fromkeys(RULERS, "for")
    assert {ruler: less_copied(copied, lost, ruler).verdict for ruler in RULERS} == dict.fromkeys(RULERS, "against")


def test_values_of_delta_e_that_leave_no_interval_on_its_scale_are_judged_on_their_own() -> None:
    for read, ends, verdict in (
        ([0, 0, 0], True, "for"),
        ([0, 0, 8e-5], False, "for"),
        ([0, 0, 2.9], False, "undecided"),
    ):
        (cell,) = cells([run(seed=seed, delta_e=float(value)) for seed, value in enumerate(read)])
        assert (not math.isnan(cell.interval("delta_e").low), copies(cell, "delta_e").verdict) == (ends, verdict)


def test_a_verdict_says_what_its_students_lack() -> None:
    (fine,), (poor,) = cells(seeds(18.0, 20.0, 22.0)), cells(seeds(18.0, 20.0, 22.0, fidelity=4.0))
    poor.records[0].summary["teacher"]["ok"] = False
    lost = seeds(18.0, 20.0, 22.0)
    lost[2].summary["status"] = "failed"
    assert [copies(c, "remap_angle").told for c in (fine, poor, *cells(lost))] == [
        "for",
        "for (poor, teacher!)",
        "for (failed)",
    ]
    assert (
        less_copied(fine, poor, "delta_e").doubts
        == opposite_verdict(copies(poor, "delta_e")).doubts
        == ("poor", "teacher!")
    )
    assert "for (poor): 20" in page(Kept({"pictures": seeds(18.0, 20.0, 22.0, fidelity=4.0)}, {}))
    for own in lost:
        own.summary["status"] = "failed"
    assert {copies(cells(lost)[0], ruler).verdict for ruler in RULERS} == {"undecided"}


def test_a_gan_is_contrasted_on_one_law_alone() -> None:
    plain = seeds(20.0, 21.0, 22.0, law__name="digits")
    for law, numbers in (("digits", 3), ("images", 0)):
        with_one = seeds(50.0, 51.0, 52.0, law__name=law, terms__gan__weight=0.003)
        assert len(CLAIMS[3].evidence(Kept({"pictures": plain, "gan": with_one}, {})).numbers) == numbers


def test_verdicts_of_several_laws_are_told_apart() -> None:
    assert together({"a": "for", "b": "for"}) == "for"
    assert together({"a": "for", "b": "against", "c": "for"}) == "against: b; for: a, c"


def test_claims_follow_what_was_kept() -> None:
    picture: dict[str, Any] = {"law__name": "digits", "law__dim": 64}
    young = seeds(80.0, 82.0, 81.0, teacher__snapshot=100, **picture)
    old = seeds(
        20.0,
        23.0,
        21.0,
        own={"boundary": -0.4, "boundary_error": 0.5, "boundary_copy": -1.0, "memorised": 0.02, "memorised_data": 0.02},
        **picture,
    )
    lone = seeds(88.0, 89.0, 90.0, student__init="rotated", own={"boundary": 0.3}, **picture)
    told = seeds(22.0, 25.0, 20.0, teacher__condition=True, **picture)
    kept = Kept({"pictures": [*old, *lone], "ages": [*young, *old], "classes": told}, {})
    found = [claim.evidence(kept).judged for claim in CLAIMS]
    assert found[0]["moons"]["delta_e"].verdict == "not run"
    assert found[1]["digits"]["remap_angle"].verdict == "for"
    assert found[2]["youngest less oldest"]["remap_angle"].verdict == "for"
    assert found[4]["teacher"]["without a ruler"].verdict == "for"
    assert found[5]["unconditional less conditional"]["remap_angle"].verdict == "undecided"
    assert found[6]["D(z) with delta(z)"]["without a ruler"].interval.mean == pytest.approx(-0.4)
    assert "against" not in page(kept).split("## Every cell")[0].split("### 5")[1].split("### 6")[0]
    old[0].summary[SECTION]["memorised"] = 0.9
    found_again = CLAIMS[4].evidence(kept).judged["teacher"]["without a ruler"]
    assert (found_again.verdict, found_again.interval.n) == ("undecided", 3)
