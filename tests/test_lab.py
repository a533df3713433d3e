"""From experiments to results: who trains together, what each gets, and what happens when one fails."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import CPU, do, experiments

from dmdlab.config import Experiment, InputError
from dmdlab.device import environment
from dmdlab.diffusion import flow, karras_grid
from dmdlab.lab import check
from dmdlab.lab.run import Progress, run_ensemble
from dmdlab.lab.store import RunResult
from dmdlab.lab.sweep import missing
from dmdlab.laws import make_law
from dmdlab.randomness import rotation
from dmdlab.training.teacher import denoiser_for, ensemble_of

INITS = 'student.init=["teacher", "rotated", "random"]'


def results(wanted: Sequence[Experiment], **kwargs: Any) -> list[RunResult]:
    return [event for event in run_ensemble(wanted, CPU, **kwargs) if isinstance(event, RunResult)]


# --- one run's results


def test_members_of_any_init_and_rate_get_what_they_get_alone() -> None:
    wanted = experiments(INITS, "student.learning_rate=[1e-2, 1e-3]", "seed=[0, 1]", "student.iterations=50")
    together = results(wanted)
    assert [r.experiment.id for r in together] == [e.id for e in wanted]
    for e, member in list(zip(wanted, together, strict=True))[::5]:  # one of each init, both rates, both seeds
        (alone,) = results([e])
        assert alone.arrays.keys() == member.arrays.keys()
        for name, array in alone.arrays.items():
            np.testing.assert_allclose(array, member.arrays[name], rtol=1e-4, atol=1e-5, err_msg=name)
        for name, column in alone.curve.items():
            np.testing.assert_allclose(column, member.curve[name], rtol=1e-3, atol=1e-5, err_msg=name)
        for name, weight in alone.weights.items():
            torch.testing.assert_close(weight, member.weights[name], rtol=1e-4, atol=1e-5)


def test_inits_start_where_they_say() -> None:
    """With one tiny step at a negligible rate the student is still its start."""
    still = ["student.iterations=1", "student.learning_rate=1e-30", "student.weight_decay=0.0", "law.dim=3"]
    teacher, rotated, random = results(experiments(INITS, *still))
    law = make_law(teacher.experiment.law.model_dump())
    z = torch.from_numpy(teacher.arrays["noise"])
    for member, noise in ((teacher, z), (rotated, z @ rotation(0, 3))):
        network = denoiser_for(1, member.experiment.network, law, CPU)
        row = torch.cat([w.flatten() for name, w in teacher.weights.items() if name != "rotation"])
        ensemble_of(network).load_rows(row[None])
        torch.testing.assert_close(
            torch.from_numpy(member.arrays["student"]), network(noise[None], 5.0)[0].detach(), rtol=1e-4, atol=1e-5
        )
    assert "rotation" in rotated.weights
    assert "rotation" not in teacher.weights
    assert all(torch.equal(teacher.weights[n], rotated.weights[n]) for n in teacher.weights)
    assert not torch.equal(teacher.weights["out.weight"], random.weights["out.weight"])


def test_progress_comes_before_results_and_counts_up() -> None:
    events = list(run_ensemble(experiments("seed=[0, 1]"), CPU))
    stages = [e.stage for e in events if isinstance(e, Progress)]
    assert [stage for stage, _ in itertools.groupby(stages)][:3] == [
        "training start networks",
        "pairing noise with data",
        "distilling",
    ]
    for stage in set(stages):
        done = [e.done for e in events if isinstance(e, Progress) and e.stage == stage]
        assert done == sorted(done)
    assert isinstance(events[-1], RunResult)


def test_a_trained_teacher_is_the_students_start_and_its_own_flow() -> None:
    (member,) = results(experiments("teacher.kind=network", "student.learning_rate=1e-30", "student.weight_decay=0.0"))
    e = member.experiment
    network = denoiser_for(1, e.network, make_law(e.law.model_dump()), CPU)
    ensemble_of(network).load_rows(torch.cat([w.flatten() for w in member.weights.values()])[None])
    z = torch.from_numpy(member.arrays["noise"])[None]
    pairs = {
        "teacher": flow(network, z, karras_grid(4, e.noise)),
        "one_step": network(z, 5.0),
        "student": network(z, 5.0),
    }
    for name, expected in pairs.items():
        np.testing.assert_allclose(member.arrays[name], expected[0].detach().numpy(), rtol=1e-4, atol=1e-4)
    assert member.summary["teacher"]["excess_risk"] == member.summary["start_excess_risk"] > 0


def test_start_networks_given_are_used_and_new_ones_are_kept() -> None:
    wanted, kept = experiments("seed=[0, 1]"), {}
    first = results(wanted, keep=kept.update)
    assert sorted(kept) == [0, 1]
    again: dict[int, torch.Tensor] = {}
    second = results(wanted, rows={0: kept[0]}, keep=again.update)
    assert sorted(again) == [1]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.arrays["student"], b.arrays["student"], rtol=1e-4, atol=1e-5)
    spoilt = results(wanted, rows={0: 0 * kept[0]})
    assert not np.allclose(spoilt[0].arrays["student"], first[0].arrays["student"], atol=1e-3)


# --- failures


def test_a_diverging_member_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    wanted = experiments("student.learning_rate=[1e-3, 1e30]", "student.iterations=50")
    good, bad = do(wanted, tmp_path)
    if good.summary["status"] == "failed":
        good, bad = bad, good
    assert (good.summary["status"], good.summary["failed_at"]) == ("done", None)
    assert bad.summary["status"] == "failed"
    assert bad.summary["failed_at"] in range(5, 51, 5)
    assert bad.arrays() == {}
    assert bad.row["failed_at"] == bad.summary["failed_at"]
    assert not (bad.folder / "student.safetensors").exists()
    (alone,) = results([e for e in wanted if e.student.learning_rate == 1e-3])
    np.testing.assert_allclose(good.arrays()["student"], alone.arrays["student"], rtol=1e-4, atol=1e-5)
    assert missing(wanted, tmp_path) == []


def test_an_ensemble_of_which_every_member_fails_says_so_quietly() -> None:
    (member,) = results(experiments("student.learning_rate=1e30", "student.iterations=50"))
    assert member.summary["status"] == "failed"


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_a_diverging_teacher_is_a_failed_run_and_the_other_seeds_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed's network is spoilt after training, as by a rate too high for it."""
    wanted, kept = experiments("teacher.kind=network", "seed=[0, 1]"), {}
    results(wanted, keep=kept.update)
    good, bad = results(wanted, rows={0: kept[0], 1: kept[1] * math.nan})
    assert good.summary["status"] == "done"
    assert bad.summary["status"] == "failed"
    assert bad.summary["teacher"]["ok"] is False


def test_the_teachers_check_passes_data_and_flags_what_is_not() -> None:
    rng = np.random.default_rng(0)
    teacher, data, fresh = rng.standard_normal((3, 200, 2))
    good = check.check_teacher(teacher, data, fresh, 0.01)
    assert good["ok"]
    assert good["reasons"] == []
    assert good["transport_ratio"] == pytest.approx(good["transport"] / good["transport_fresh"])
    far = check.check_teacher(teacher + 3, data, fresh, 0.01)
    assert not far["ok"]
    assert "times as much to match with data" in far["reasons"][0]
    vague = check.check_teacher(teacher, data, fresh, 0.3)
    assert not vague["ok"]
    assert "excess risk is 0.3" in vague["reasons"][0]
    assert check.check_teacher(teacher, data, fresh, math.nan)["ok"]  # a law without an exact denoiser


# --- the machine


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "mps", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"--device {name}"):
        environment.choose_device(name)


def test_a_device_that_is_there_is_chosen() -> None:
    assert environment.choose_device("cpu") == CPU
    assert environment.choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("law", ["mixture", "cube"])
def test_an_ensemble_on_a_gpu_measures_the_same_noise(law: str) -> None:
    """A law with tensors of its own and one without; the teacher's pairs agree with the CPU's, as the latents do."""
    wanted = experiments(f"law.name={law}", "law.dim=3", 'student.init=["teacher", "rotated"]')
    on_gpu = [r for r in run_ensemble(wanted, torch.device("cuda")) if not isinstance(r, Progress)]
    on_cpu = [r for r in run_ensemble(wanted, torch.device("cpu")) if not isinstance(r, Progress)]
    for gpu, cpu in zip(on_gpu, on_cpu, strict=True):
        np.testing.assert_array_equal(gpu.arrays["noise"], cpu.arrays["noise"])
        np.testing.assert_allclose(gpu.arrays["teacher"], cpu.arrays["teacher"], rtol=1e-3, atol=1e-3)
        assert gpu.summary["status"] == "done"
