"""What a curve resembles: the bounds, the rules, and the page and figures of healthy and sick runs."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import Made, made, write_run
from small import do

from dmdlab.config import flatten
from dmdlab.diagnosis import BOUNDS, VERDICTS, Curve, diagnose, evidence, judge, of_record
from dmdlab.experiments import load
from dmdlab.pairing import Calibration
from dmdlab.pairing.coverage import LAW_ROWS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "figures"))

import healthy  # noqa: E402
import healthy_figure  # noqa: E402
import healthy_kept  # noqa: E402

RUNS, MAP, ABOUT = healthy.stored()
GOOD = {"score_excess": -0.02, "variance_ratio": 1.0, "fidelity": 1.05, "coverage": 0.93, "lost": 0.0}
GOOD |= {"student_step": 0.05, "updates_ratio": 5.0}

Command = Callable[..., tuple[int, str, str]]


def test_the_page_comes_out_of_the_kept_curves_to_the_byte() -> None:
    text = healthy.PAGE.read_text(encoding="utf-8")
    assert healthy.page(text, RUNS, MAP, ABOUT) == text


def test_kept_curves_hold_every_kind_and_every_experiment() -> None:
    assert {run.kind for run in RUNS if not run.kind.startswith(healthy_kept.CUT)} == set(healthy_kept.KINDS)
    assert {run.experiment for run in RUNS} == set(ABOUT) - {healthy.MAP} <= set(healthy.EXPERIMENTS)
    assert {run.seed for run in RUNS if run.tuned_on} == {0, 1, 2}
    assert set(healthy_kept.KINDS) < set(VERDICTS)


def test_each_run_that_bounds_were_read_off_is_named_and_most_others_are() -> None:
    """How many is in the page; here that the share does not fall unseen."""
    known = [run for run in RUNS if run.kind in healthy_kept.KINDS]
    right = [(run.tuned_on, diagnose(run.curve).verdict == run.kind) for run in known]
    assert np.mean([so for tuned, so in right if tuned]) >= 0.9
    assert np.mean([so for tuned, so in right if not tuned]) >= 0.75


def test_no_held_out_run_that_is_sick_is_called_healthy() -> None:
    sick = [run for run in RUNS if run.kind in set(healthy_kept.KINDS) - {"healthy"}]
    wrong = [run.curve.source for run in sick if diagnose(run.curve).verdict == "healthy"]
    assert wrong == ["ring-2 gan-weight 1"]  # whose GAN does not lead: its gradient is a third of matching's


def test_equal_laws_decide_where_fidelity_is_good_if_a_calibration_tells_and_a_convention_otherwise() -> None:
    """In the plane one law's samples cost several times as much to match as others of it; in d = 8 hardly more."""
    at = {"coverage": 0.9, "variance_ratio": 1.0, "lost": 0.0, "score_excess": 0.0, "student_step": 0.05}
    named = {
        (fidelity, limit): judge(
            at | {"fidelity": fidelity} | ({} if limit is None else {"fidelity_limit": limit})
        ).verdict
        for fidelity in (1.2, 4.0)
        for limit in (None, 1.05, 8.3)
    }
    assert [named[1.2, limit] for limit in (None, 1.05, 8.3)] == ["healthy", "unfinished", "healthy"]
    assert [named[4.0, limit] for limit in (None, 1.05, 8.3)] == ["unfinished", "unfinished", "healthy"]
    far = at | {"fidelity": 1.0, "teacher_excess_risk": 0.0, "teacher_transport_ratio": 2.8}
    assert judge(far).verdict == "unknown"  # a flow that is off the law, or chance
    assert judge(far | {"transport_limit": 8.3}).verdict == "healthy"
    off = at | {"fidelity": 1.0, "teacher_excess_risk": 0.05, "teacher_transport_ratio": 1.3, "transport_limit": 1.05}
    assert judge(off).verdict == "healthy"  # a teacher may be that far off the data


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("score_excess", "lagging"),
        ("score_excess", "few-updates"),
        ("student_step", "learning-rate"),
        ("gan_share", "gan-weight"),
        ("teacher_excess_risk", "teacher-bad"),
    ],
)
def test_a_bound_lies_between_the_runs_that_it_parts(key: str, kind: str) -> None:
    tuned = [(run.kind, evidence(run.curve)) for run in RUNS if run.tuned_on]
    well = [at[key] for made, at in tuned if made == "healthy" and key in at]
    sick = [at[key] for made, at in tuned if made == kind]
    assert max(well, default=0.0) < BOUNDS[key].value < min(sick)


@pytest.mark.parametrize(
    ("changed", "verdict", "said"),
    [
        ({}, "healthy", "coverage 0.93"),
        ({"teacher_excess_risk": 0.5, "score_excess": 3.0}, "teacher-bad", "adds 0.5"),
        ({"teacher_transport_ratio": 2.0}, "teacher-bad", "2 times as much"),
        (
            {"teacher_transport_ratio": 6.9, "teacher_excess_risk": 0.0, "fidelity": 4.0},
            "unknown",
            "raise teacher.steps",
        ),
        (
            {"teacher_transport_ratio": 6.9, "teacher_excess_risk": 0.0, "score_excess": 3.0},
            "lagging",
            "excess risk is 3",
        ),
        ({"teacher_transport_ratio": 2.0, "teacher_excess_risk": 0.0}, "unknown", "raise teacher.steps"),
        ({"teacher_transport_ratio": 2.0, "teacher_excess_risk": 0.0, "lost": 1.0}, "collapsed", "1 of the law"),
        ({"gan_share": 30.0, "fidelity": 3.0}, "gan-weight", "30 times as long"),
        ({"gan_share": 30.0}, "healthy", "fidelity 1.05"),
        ({"student_step": 0.5, "coverage": 0.2}, "learning-rate", "by up to 0.5"),
        ({"student_step": 0.5}, "healthy", "fidelity 1.05"),
        ({"score_excess": 3.0, "variance_ratio": 0.001, "lost": 1.0}, "lagging", "excess risk is 3"),
        ({"score_excess": 3.0, "updates_ratio": 1.0}, "few-updates", "has 1 updates"),
        ({"variance_ratio": 0.05}, "collapsed", "0.05 of the teacher's variance"),
        ({"lost": 0.95, "coverage": 0.04}, "collapsed", "0.95 of the law"),
        ({"lost": 0.25, "coverage": 0.7, "fidelity": 2.0}, "mode-lost", "0.25 of the law"),
        ({"lost": 0.25, "coverage": 0.3, "fidelity": 2.0}, "unfinished", "coverage 0.3"),
        ({"variance_ratio": 1.6}, "unfinished", "variance_ratio 1.6"),
        ({"variance_ratio": 0.6}, "unfinished", "variance_ratio 0.6"),
        ({"gan_share": 30.0, "score_excess": 3.0}, "gan-weight", "30 times as long"),  # though the law is reached
        ({"student_step": 0.5, "score_excess": 3.0}, "learning-rate", "by up to 0.5"),
        ({"score_excess": 3.0, "updates_ratio": 2.0}, "lagging", "excess risk is 3"),  # two are not too few
        ({"teacher_transport_ratio": 2.0, "lost": 0.25, "coverage": 0.7}, "teacher-bad", "2 times as much"),
        ({"gan_share": 30.0, "student_step": 0.5, "fidelity": 3.0}, "gan-weight", "30 times as long"),
    ],
)
def test_one_thing_wrong_is_named(changed: dict[str, float], verdict: str, said: str) -> None:
    found = judge(GOOD | changed)
    assert found.verdict == verdict
    assert said in " ".join(found.in_words())
    assert not any(sentence[0].islower() for sentence in found.in_words())


def test_what_was_not_measured_is_not_judged() -> None:
    found = judge({})
    assert found.verdict == "unknown"
    assert "score_excess, fidelity, coverage, variance_ratio would tell" in found.reasons[0]
    assert {"score_excess", "student_updates", "lost"} <= set(found.lacking)
    behind = judge({"score_excess": 2.0})
    assert behind.verdict == "unknown"
    assert "student_step and student_updates would tell" in " ".join(behind.reasons)
    assert "was not measured" in " ".join(judge({"fidelity": 1.0, "coverage": 0.95}).reasons)
    assert judge({"fidelity": 1.0, "lost": 0.25}).verdict == "unfinished"  # what covers the rest was not measured
    limits = judge({"teacher_excess_risk": 0.01, "fidelity_limit": 1.2, "transport_limit": 1.1})
    assert limits.reasons[0].startswith("teacher_excess_risk 0.01 could be looked at")  # no limit is evidence


def test_evidence_is_of_the_late_half_and_of_the_largest_step() -> None:
    iteration = np.arange(1.0, 11.0)
    gan = np.where(iteration > 5, 3.0, 99.0)
    table = {
        "iteration": iteration,
        "score_excess": np.where(iteration < 5, 50.0, 0.1),
        "student_updates": iteration / 2,
    }
    table |= {"gan_gradient_norm": gan, "dmd_gradient_norm": np.full(10, 2.0)}
    table |= {"student_step": np.where(iteration == 2, 0.4, 0.1), "lost": np.full(10, math.nan)}
    found = evidence(Curve("here", table))
    assert found == {"score_excess": 0.1, "student_step": 0.4, "updates_ratio": 2.0, "gan_share": 1.5}


def test_a_gan_without_a_gradient_has_no_share_and_where_matching_has_none_there_is_nothing_to_share() -> None:
    rows = {"iteration": np.arange(1.0, 9.0), "gan_gradient_norm": np.zeros(8), "dmd_gradient_norm": np.full(8, 2.0)}
    assert evidence(Curve("here", rows)) == {"gan_share": 0.0}
    rows |= {"gan_gradient_norm": np.full(8, 3.0), "dmd_gradient_norm": np.where(np.arange(8) == 6, 0.0, 2.0)}
    assert evidence(Curve("here", rows)) == {"gan_share": 1.5}
    assert evidence(Curve("here", rows | {"dmd_gradient_norm": np.zeros(8)})) == {}


# --- figures


def test_figures_show_every_kind_and_every_cell() -> None:
    some = ("healthy", "gan-weight")  # all eight take seconds
    figure = healthy_figure.curves_figure([run for run in RUNS if run.tuned_on and run.kind in some]).figure
    assert len(figure.axes) == len(some) * len(healthy_figure.ROWS)
    drawn = healthy.said(healthy_figure.map_figure(MAP), [healthy.MAP], ABOUT)
    assert drawn.caption + "\n" == (healthy.HERE / "stability.txt").read_text(encoding="utf-8")
    texts = [text.get_text() for axes in drawn.figure.axes for text in axes.texts]
    cells = {tuple(row[key] for key in healthy_kept.MAP_KEYS) for row in MAP}
    assert len(texts) == len(cells) == len(MAP) // 3


def test_a_run_shown_says_so_where_its_curve_is_not_healthy(dmdlab: Command, tmp_path: Path) -> None:
    folder = write_run(tmp_path, made())
    said = "Its curve resembles a fake score that lags behind its student"
    assert said not in dmdlab("runs", "show", tmp_path, folder.name)[1]
    lagging = "iteration,score_excess,student_step,student_updates\n1,3,0.1,0\n10,3,0.1,2\n"
    (folder / "curve.csv").write_text(lagging, encoding="utf-8")
    assert said in dmdlab("runs", "show", tmp_path, folder.name)[1]
    (folder / "curve.csv").write_text("iteration,dm_loss\n1,3\n10,2\n", encoding="utf-8")  # tells nothing
    assert "Its curve resembles" not in dmdlab("runs", "show", tmp_path, folder.name)[1]


class Calibrated(Made):
    """A run whose calibration knows that equal laws of n rows cost 1 and 2.718 to match."""

    n = LAW_ROWS

    def calibration(self) -> Calibration:
        costs = {"e_ot": np.exp([[math.nan, 0, 1], [0, math.nan, 0], [1, 0, math.nan]])}
        empty = np.empty(0)
        return Calibration(self.n, 8, empty, empty, {}, {}, {}, {}, math.nan, costs)


def test_a_runs_record_says_what_its_teacher_is_and_where_equal_laws_fall() -> None:
    """The upper end of their limits: a student is looked at with at most `LAW_ROWS` rows, the teacher with all."""
    run = made()
    run.summary["teacher"].update(excess_risk=0.01, transport_ratio=1.5)
    own = Calibrated(run.folder, run.summary, run.config, run.environment)
    below, above = own.calibration().law_null()["fidelity"]
    assert below < 1 < above
    found = evidence(of_record(own))
    assert (found["teacher_excess_risk"], found["teacher_transport_ratio"]) == (0.01, 1.5)
    assert found["fidelity_limit"] == found["transport_limit"] == above
    own.n = LAW_ROWS + 1
    found = evidence(of_record(own))
    assert (found.get("fidelity_limit"), found["transport_limit"]) == (None, above)
    own.summary.update(status="failed", failed_at=40)
    assert of_record(own).broke == 40


@pytest.mark.slow
def test_sick_runs_made_anew_at_another_seed_are_named(tmp_path: Path) -> None:
    """All eight kinds of the training law; no bound has seen this seed."""
    files = [ROOT / "experiments" / "healthy" / f"{name}.toml" for name in healthy_kept.TUNED]
    wanted = [e for file in files for e in load(file, None, ["seed=[7]"]).experiments()]
    wanted = [e for e in wanted if healthy_kept.kind_of(flatten(e)) in healthy_kept.KINDS]
    found = [(healthy_kept.kind_of(r.config), diagnose(of_record(r)).verdict) for r in do(wanted, tmp_path)]
    assert {kind for kind, _ in found} == set(healthy_kept.KINDS)
    assert [pair for pair in found if pair[0] != pair[1]] == []


def test_one_row_tells_nothing_of_a_training() -> None:
    columns = {"iteration": np.array([0.0, 5.0]), "variance_ratio": np.array([0.0, 0.0])}
    found = diagnose(Curve("here", columns))
    assert found.verdict == "unknown"
    assert "fewer than two rows" in found.reasons[0]
