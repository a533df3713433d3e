"""Students of several steps through the lab: what is measured of them, and what they cost."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import CPU, do, experiments, group_of, law_of
from terms import loop_of, member

from dmdlab.config import experiment_from
from dmdlab.lab.counting import Operations
from dmdlab.lab.distil import distil
from dmdlab.lab.steps import REDRAWS, step_outputs
from dmdlab.lab.trial import tried
from dmdlab.networks import make_denoiser
from dmdlab.pairing.context_in_words import steps_in_words
from dmdlab.pairing.steps import StepOutputs
from dmdlab.records.record import Record
from dmdlab.training.levels import levels_of
from dmdlab.training.student import Student, later_noises

FEW = {"fake_score.updates": 2, "student.batch": 8}
READINGS = ("first_pair_cosine", "first_angle", "redrawn_pair_cosine", "redrawn_angle", "redraw_agreement")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Runs of 2 and 4 steps by their sampler and start."""
    out = tmp_path_factory.mktemp("steps")
    es = [
        *experiments("law.dim=2", "student.steps=2", "student.sampler=ode", "student.start_level=2.0"),
        *experiments("law.dim=2", "student.steps=4", "student.init=random", "measure.turns=true"),
    ]
    records = do(es, out)
    return {f"{r.config['student.sampler']} {r.config['student.init']}": r for r in records}


def rebuilt(record: Record) -> Student:
    """The student of a record, by its weights alone."""
    e = experiment_from(record.config)
    denoiser, weights = make_denoiser(1, law_of(e), e.network, CPU), load_file(record.folder / "student.safetensors")
    with torch.no_grad():
        for name, p in denoiser.network.named_parameters():
            p[0] = weights[name]
    return Student(denoiser, levels_of(e), sigma_max=e.noise.sigma_max, sampler=e.student.sampler)


@pytest.mark.parametrize("name", [pytest.param("ode teacher", marks=pytest.mark.long), "sde random"])
def test_a_recorded_student_is_a_map_of_its_noise(name: str, swept: dict[str, Record]) -> None:
    """By its weights and its seed alone, whole and in part."""
    record = swept[name]
    student, arrays = rebuilt(record), record.arrays()
    z = torch.from_numpy(arrays["noise"])[None]
    later = later_noises(student, [record.config["seed"]], 2, z.shape[1])
    assert len(later) == (0 if "ode" in name else 3)
    with torch.no_grad():
        found = student(z, later)[0].numpy()
        few = student(z[:, :5], later_noises(student, [record.config["seed"]], 2, 5))[0].numpy()
    np.testing.assert_allclose(found, arrays["student"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(few, arrays["student"][:5], rtol=1e-4, atol=1e-5)
    (outputs,) = step_outputs(student, [record.config["seed"]], z, CPU)
    assert outputs is not None
    assert len(outputs.redrawn) == (0 if "ode" in name else REDRAWS)
    assert all(not np.allclose(a, b) for a, b in combinations([found, *outputs.redrawn], 2))
    for key, measured in outputs.measured(arrays["teacher"], record.calibration()).items():
        stored = record.summary["steps"][key]["value"]
        assert (stored is None and not measured.resolved) or stored == pytest.approx(measured.value, abs=1e-3)


def test_runs_of_several_steps_hold_their_readings(swept: dict[str, Record]) -> None:
    for name, record in swept.items():
        row = record.row
        assert record.done
        assert row["pair_cosine"] == pytest.approx(record.curve()["pair_cosine"][-1], abs=1e-4)  # one map all along
        assert -1 <= row["steps_first_pair_cosine"] <= 1
        assert {key for key in row if key.startswith("steps_")} == {f"steps_{key}" for key in READINGS}
        assert (row["steps_redraw_agreement"] is None) == name.startswith("ode")
        assert row["student.start_level"] == (2.0 if name.startswith("ode") else 0.0)
        for key in ("local_cosine", "student_kernel_change", "student_antisymmetric_share", "own_pair_cosine"):
            assert row[key] is not None
        said = " ".join(record.summary["in_words"])
        assert "Its first step alone" in said
        assert ("drawn anew" in said) == name.startswith("sde")
    assert swept["sde random"].row["own_pair_cosine_start"] == pytest.approx(1)
    assert swept["sde random"].row["turn_plain"] is not None


def test_a_student_of_one_step_has_none_of_them() -> None:
    student = Student(make_denoiser(1, law_of(member()), member().network, CPU), [5.0])
    assert step_outputs(student, [0], torch.zeros(1, 3, 4), CPU) == [None]


def test_an_own_teachers_student_takes_the_later_noises_of_its_run(tmp_path: Path) -> None:
    law = law_of(member())
    settings = {"student.steps": 2, "student.iterations": 10, "student.batch": 8, "teacher.iterations": 5}
    settings |= {"network.width": 8, "measure.samples": 24, "teacher.steps": 2, "measure.bases": 2}
    data = law.sample(100, torch.Generator().manual_seed(0))
    found = distil(law.denoise, (4,), data=data, settings=settings, out=tmp_path)
    arrays = found.record.arrays()
    z = torch.from_numpy(arrays["noise"])
    torch.testing.assert_close(found.student(z), torch.from_numpy(arrays["student"]), rtol=0, atol=1e-5)


# --- readings of outputs whose answer is known


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_redraws_say_how_much_the_later_noises_decide(share: float) -> None:
    """G = sqrt(share) f(z) + sqrt(1 - share) w: two draws agree in `share`, and f has the largest cosine that a map of
    z can have."""
    rng = np.random.default_rng(0)
    f, *w = rng.standard_normal((5, 4000, 3))
    teacher = -2 * f + 7
    redrawn = [np.sqrt(share) * f + np.sqrt(1 - share) * own for own in w]
    found = StepOutputs(-f, redrawn).measured(teacher, None)
    assert found["redraw_agreement"].value == pytest.approx(share, abs=0.03)
    assert -found["redrawn_pair_cosine"].value == pytest.approx(np.sqrt(share), abs=0.03)
    assert found["first_pair_cosine"].value == pytest.approx(1)
    low, high = found["redraw_agreement"].low, found["redraw_agreement"].high
    assert low - 0.01 <= share <= high + 0.01
    assert high - low < 0.05
    assert "no calibration" in str(found["first_angle"].reason)
    (whole, first, anew) = steps_in_words(found)
    assert "later noises held fixed" in whole
    assert "1" in first
    assert "steps_redraw_agreement" in anew


def test_what_cannot_be_resolved_says_why() -> None:
    rng = np.random.default_rng(0)
    teacher, flat = rng.standard_normal((30, 2)), np.zeros((30, 2))
    found = StepOutputs(flat, []).measured(teacher, None)
    assert "all the same" in str(found["first_pair_cosine"].reason)
    assert "student.sampler = 'ode'" in str(found["redraw_agreement"].reason)
    assert steps_in_words(found) == []
    assert not StepOutputs(teacher, [flat, flat]).measured(teacher, None)["redrawn_pair_cosine"].resolved


# --- costs


def flops(**settings: object) -> int:
    """Of a cycle of two batches with eight rows."""
    loop = loop_of([member(**FEW, **settings)])
    loop.cycle()
    with Operations() as done:
        loop.cycle()
    return done.count


def test_a_step_more_costs_one_call_more_for_every_batch() -> None:
    one, two, three, four = (flops(**{"student.steps": m}) for m in (1, 2, 3, 4))
    assert four - three == three - two
    assert four - three >= 2 * 2 * 8 * (4 * 8 + 2 * 8 * 8 + 8 * 4)  # at least: products of a call
    fixed = {"student.steps": 4, "student.rollout": "fixed"}
    assert flops(**fixed) - one == 3 * (four - three)
    assert flops(**fixed, **{"student.rollout_step": 1}) == one
    assert tried(group_of(member(**FEW, **{"student.steps": 4}))).cycle_flops == four
