"""From a group to results: what each member gets, and what a failure is."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import CPU, INITS, STILL, do, experiments, group_of, law_of, outputs, results, start_denoiser
from torch import Tensor

from dmdlab.diffusion import flow, karras_grid
from dmdlab.group import Group
from dmdlab.lab import run as running
from dmdlab.lab.evaluate import check_teacher, excess_risks
from dmdlab.lab.run import DISTILLING, MEASURING, PAIRING, START_NETWORKS, Clock, Progress, run_group
from dmdlab.lab.store import RunResult, Store
from dmdlab.networks import EDMDenoiser, denoiser_of
from dmdlab.records.kept_summary import failure_in_words
from dmdlab.training.turn import Turn


def student_of(result: RunResult) -> EDMDenoiser:
    """The trained network that a result holds."""
    row = torch.cat([w.flatten() for w in result.weights.values()])
    return denoiser_of(row[None], law_of(result.experiment), result.experiment.network)


def noise_of(result: RunResult, store: Store) -> Tensor:
    pairs = store.pairs(result.experiment)
    assert pairs is not None
    return torch.from_numpy(pairs["noise"])[None]  # (1, n, d)


# --- one run's results


def test_members_seconds_add_up_to_those_of_their_ensemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of which every reading takes a second: what is done for all is shared, each is measured on its own."""
    readings = itertools.count()
    monkeypatch.setattr(running, "time", SimpleNamespace(perf_counter=lambda: next(readings)))
    wanted = experiments("seed=[0, 1, 2]", *STILL)
    shares = list[dict[str, float]]()
    clock = Clock()
    for event in run_group(group_of(*wanted), Store(tmp_path), CPU, clock=clock):
        if isinstance(event, RunResult):
            shares.append(clock.share(len(wanted)))
    assert list(shares[0]) == ["teacher", "flow", "distillation", "measures"]
    assert shares[0] == shares[1] == shares[2]
    assert sum(sum(share.values()) for share in shares) == pytest.approx(next(readings) - 1)


def test_members_of_any_init_and_rate_get_what_they_get_alone(tmp_path: Path) -> None:
    wanted = experiments(INITS, "student.learning_rate=[1e-2, 1e-3]", "seed=[0, 1]")
    together = results(wanted, Store(tmp_path / "together"))
    assert [r.experiment.id for r in together] == [e.id for e in wanted]
    for e, member in list(zip(wanted, together, strict=True))[::5]:  # one of each init, both rates, both seeds
        (alone,) = results([e], Store(tmp_path / e.id))
        np.testing.assert_allclose(outputs(alone), outputs(member), rtol=1e-4, atol=1e-5)
        for name, column in alone.curve.items():
            np.testing.assert_allclose(column, member.curve[name], rtol=1e-3, atol=1e-5, err_msg=name)
        for name, weight in alone.weights.items():
            torch.testing.assert_close(weight, member.weights[name], rtol=1e-4, atol=1e-5)
        for name, array in (Store(tmp_path / e.id).pairs(e) or {}).items():
            kept = Store(tmp_path / "together").pairs(e)
            assert kept is not None
            np.testing.assert_allclose(array, kept[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_inits_start_where_they_say(tmp_path: Path) -> None:
    store = Store(tmp_path)
    teacher, rotated, random = results(experiments(INITS, *STILL, "law.dim=3"), store)
    z = noise_of(teacher, store)
    for member, noise in ((teacher, z), (rotated, Turn([0], [True], 3)(z)), (random, z)):
        expected = student_of(member)(noise, 5.0)[0].detach()
        torch.testing.assert_close(torch.from_numpy(outputs(member)), expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(teacher.weights[n], rotated.weights[n]) for n in teacher.weights)
    assert not torch.equal(teacher.weights["out.weight"], random.weights["out.weight"])
    for member in (teacher, rotated, random):  # and have not moved from there
        assert member.summary["student"]["weight_movement"] < 1e-20
        assert member.summary["student"]["kernel_change"] == 0


def test_a_record_says_how_lazily_its_student_was_trained(tmp_path: Path) -> None:
    records = do(experiments("student.learning_rate=[1e-5, 1e-2]"), tmp_path)
    little, much = sorted(records, key=lambda record: record.row["student.learning_rate"])
    for key in ("student_weight_movement", "student_kernel_change"):
        assert 0 < little.row[key] < much.row[key]
    assert any("its weights moved by" in sentence for sentence in much.summary["in_words"])


def test_progress_comes_before_results_and_counts_up(tmp_path: Path) -> None:
    events = list(run_group(Group(tuple(experiments("seed=[0, 1]"))), Store(tmp_path), CPU))
    stages = [e.stage for e in events if isinstance(e, Progress)]
    assert [stage for stage, _ in itertools.groupby(stages)] == [START_NETWORKS, PAIRING, DISTILLING, MEASURING]
    for stage in set(stages):
        done = [e.done for e in events if isinstance(e, Progress) and e.stage == stage]
        assert done == sorted(done)
    measuring = [(e.done, e.text) for e in events if isinstance(e, Progress) and e.stage == MEASURING]
    assert all(measuring[i] != measuring[i + 1] for i in range(len(measuring) - 1))
    assert [done for done, text in measuring if text == "calibration"] == [0, 1]
    assert any("Jacobian of the teacher" in text for _, text in measuring)
    assert isinstance(events[-1], RunResult)


def test_a_trained_teacher_is_the_students_start_and_its_own_flow(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (member,) = results(experiments("teacher.kind=network", *STILL), store)
    e, z, network = member.experiment, noise_of(member, store), student_of(member)
    arrays = (store.pairs(e) or {}) | {"student": outputs(member)}
    expected = {
        "teacher": flow(network, z, karras_grid(4, e.noise)),
        "one_step": network(z, 5.0),
        "student": network(z, 5.0),
    }
    for name, made in expected.items():
        np.testing.assert_allclose(arrays[name], made[0].detach().numpy(), rtol=1e-4, atol=1e-4)
    assert member.summary["teacher"]["excess_risk"] == member.summary["start_excess_risk"] > 0


def test_a_student_of_a_younger_teacher_is_its_copy_at_that_age(tmp_path: Path) -> None:
    """Teachers of all ages train as one; each student starts at, and is paired with, its own."""
    young, old = experiments("teacher.kind=network", "teacher.snapshot=[4, 10]", *STILL)
    assert (young.teacher.age, old.teacher.age, old.teacher.snapshot) == (4, 10, 0)  # the end has one name
    together = Store(tmp_path)
    for result, e in zip(results([young, old], together), (young, old), strict=True):
        (alone,) = results([e], Store(tmp_path / e.id))
        np.testing.assert_allclose(outputs(alone), outputs(result), rtol=1e-4, atol=1e-5)
        row = together.start(e)
        assert row is not None
        held = torch.cat([w.flatten() for w in result.weights.values()])
        torch.testing.assert_close(held, row, rtol=1e-3, atol=1e-4)
    rows = [together.start(e) for e in (young, old)]
    assert not torch.equal(*rows)  # type: ignore[arg-type]


# --- failures


def test_a_diverging_member_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    wanted = experiments("student.learning_rate=[1e-3, 1e30]", "student.iterations=50")
    store = Store(tmp_path)
    for result in results(wanted, store):
        store.put(result, {})
    good, bad = (store.record(e) for e in wanted)
    assert (good.summary["status"], good.summary["failed_at"]) == ("done", None)
    assert bad.summary["status"] == "failed"
    assert bad.summary["failed_at"] in range(5, 51, 5)
    assert bad.arrays() == {}
    assert not (bad.folder / "student.safetensors").exists()
    (alone,) = results(wanted[:1], Store(tmp_path / "alone"))
    np.testing.assert_allclose(good.arrays()["student"], outputs(alone), rtol=1e-4, atol=1e-5)
    assert store.missing(wanted) == []


def test_an_ensemble_of_which_every_member_fails_says_so_quietly(tmp_path: Path) -> None:
    (member,) = results(experiments("student.learning_rate=1e30", "student.iterations=50"), Store(tmp_path))
    assert member.summary["status"] == "failed"


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_a_diverging_teacher_is_a_failed_run_and_the_other_seeds_go_on(tmp_path: Path) -> None:
    """One seed's network is spoilt after training, as by a rate too high for it."""
    wanted, store = experiments("teacher.kind=network", "seed=[0, 1]"), Store(tmp_path)
    results(wanted, store)
    kept = store.start(wanted[1])
    assert kept is not None
    other = Store(tmp_path / "other")
    other.keep_start(wanted[1], kept * math.nan)
    good, bad = results(wanted, other)
    assert good.summary["status"] == "done"
    assert bad.summary["status"] == "failed"
    assert bad.summary["teacher"]["ok"] is False


def test_a_start_that_diverged_beside_an_exact_teacher_is_named(tmp_path: Path) -> None:
    (wanted,) = experiments("student.iterations=50")
    store = Store(tmp_path)
    store.keep_start(wanted, start_denoiser([wanted]).network.flat[0].detach() * math.nan)
    (bad,) = results([wanted], store)
    assert (bad.summary["status"], bad.summary["failed_at"], bad.summary["start"]["ok"]) == ("failed", 5, False)
    first, *_, last = failure_in_words(bad.summary)
    assert first == "The run failed at iteration 5."
    assert last.startswith("Its start network had diverged before: the student's outputs before its training are not")
    assert "lower teacher.learning_rate" in last


def test_the_teachers_check_passes_data_and_flags_what_is_not() -> None:
    rng = np.random.default_rng(0)
    teacher, data, fresh = rng.standard_normal((3, 200, 2))
    good = check_teacher(teacher, data, fresh, 0.01)
    assert good["ok"]
    assert good["reasons"] == []
    assert good["transport_ratio"] == pytest.approx(good["transport"] / good["transport_fresh"])
    far = check_teacher(teacher + 3, data, fresh, 0.01)
    assert not far["ok"]
    assert "times as much to match with data" in far["reasons"][0]
    vague = check_teacher(teacher, data, fresh, 0.3)
    assert not vague["ok"]
    assert "excess risk is 0.3" in vague["reasons"][0]
    assert check_teacher(teacher, data, fresh, math.nan)["ok"]  # a law without an exact denoiser


def test_a_memorising_denoiser_is_compared_on_what_it_memorised() -> None:
    """There it knows the answer but for large noise, and any other is much worse; elsewhere both would be wrong."""
    (e,) = experiments("law.name=blobs", "law.side=4", "law.empirical=2", "network.kind=mlp")
    assert excess_risks(group_of(e), lambda x, sigma, label=None: 0 * x, law_of(e)) > 100
