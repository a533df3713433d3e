"""Measures that need the maps, for the members of a group: each gets its own, by its own seed's teacher."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, do, experiment, experiments, group_of, law_of, start_denoiser

from dmdlab.config import experiment_from
from dmdlab.diffusion import flow, karras_grid
from dmdlab.lab.calibrate import teacher_map
from dmdlab.lab.evaluate import flow_map, teacher_pairs
from dmdlab.lab.local import gaussian_readings, local_readings, teacher_answers
from dmdlab.lab.turns import turn_readings
from dmdlab.pairing import planted_rotation, planted_turns, rotation_explained
from dmdlab.randomness import latents, stream
from dmdlab.training.student import LATER

MEMBERS = [
    experiment(seed=seed, measure__samples=150, teacher__steps=6, student__learning_rate=rate)
    for seed, rate in ((1, 1e-3), (0, 1e-3), (1, 2e-3))
]
GROUP = group_of(*MEMBERS)
NOISE = torch.stack([latents(s, 150, 4, 80.0) for s in GROUP.seeds])  # (2, 150, 4)
PLACE = torch.tensor(GROUP.place)
SIGNS = torch.tensor([1.0, -1.0, 0.5])[:, None, None]


def test_each_member_is_compared_with_its_own_seeds_teacher() -> None:
    teacher = start_denoiser(GROUP.origins)  # another map for either seed
    phi = flow_map(GROUP.shared, teacher)
    answers = teacher_answers(GROUP.seeds, phi, NOISE)
    found = local_readings(GROUP, lambda z: SIGNS * phi(torch.stack([z[1], z[0]]))[PLACE], answers, NOISE)
    read = [tuple(measured.value for measured in member.values()) for member in found]
    for values, expected in zip(read, [(1.0, 1.0), (-1.0, 1.0), (1.0, 0.5)], strict=True):
        assert values == pytest.approx(expected, abs=1e-5)
    assert list(found[0]) == ["local_cosine", "local_gain"]


@pytest.mark.parametrize(
    ("settings", "low", "high"),
    [({"name": "mixture", "components": 4}, 0.5, 0.98), ({"name": "gaussian", "spectrum": "power"}, 0.999, 1.0)],
)
def test_the_gaussian_of_each_seed_and_of_a_law_that_is_one(
    settings: dict[str, object], low: float, high: float
) -> None:
    law_settings = {f"law.{key}": value for key, value in settings.items()}
    chosen = {"law.dim": 4, "measure.samples": 200} | law_settings
    group = group_of(*(experiment_from(chosen | {"seed": s}) for s in (0, 1)))
    law = law_of(group.shared)
    found = gaussian_readings(group, law, teacher_pairs(group, law, law.denoise, CPU), CPU)
    assert len(found) == 2
    for reading in found:
        assert low < reading["pair_cosine_gaussian"].value <= high


def test_a_turned_student_is_explained_for_each_member() -> None:
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    law, grid = law_of(GROUP.shared), karras_grid(6, GROUP.shared.noise)
    teachers = [teacher_map(e, CPU) for e in GROUP.origins]  # exact ones
    lost = torch.tensor([1.0, torch.nan, 1.0])[:, None, None]
    asked: list[tuple[int, str]] = []

    def later(n: int, name: str) -> tuple[()]:
        asked.append((n, name))
        return ()

    found = turn_readings(GROUP, lambda z: lost * flow(law.denoise, z @ turn, grid), teachers, NOISE, CPU, later)
    assert asked == [(150, LATER), (200, asked[1][1])]
    assert asked[1][1] != LATER  # rows of the fit have later noises of their own
    assert "not finite" in str(found[1][0].reason)
    for share, beside in (found[0], found[2]):
        assert share.value > 0.85
        assert share.value == pytest.approx((beside["recovered"] - beside["plain"]) / (1 - beside["plain"]))
        assert all(beside[f"planted_{angle}"] > 0.85 for angle in (45, 90))
    assert found[0] == found[2]  # one seed


def test_a_turn_is_read_with_the_noise_and_the_teacher_of_the_members_own_seed() -> None:
    """Both its own, fitted on further rows of that seed, and those of the planted turns beside it."""
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(4, 4)) * s for s in ([3, 1, 1, 1], [1, 1, 4, 2])]  # one an origin
    teachers = [lambda z, m=m: np.tanh(z @ m / 80) for m in maps]
    turn = planted_rotation(4, 70.0, rng)
    own = torch.from_numpy(np.stack([turn @ maps[at] for at in GROUP.place])).float()  # of the members
    found = turn_readings(GROUP, lambda z: torch.tanh(z @ own / 80), teachers, NOISE, CPU)
    for (share, beside), at in zip(found, GROUP.place, strict=True):
        teacher, seed, z = teachers[at], GROUP.seeds[at], NOISE[at].numpy()
        fit = latents(seed, 200, 4, 80.0, "turn latents").numpy()
        by_hand = rotation_explained(teacher, z, teacher(z @ turn), fit_noise=fit, fit_student=teacher(fit @ turn))
        planted = planted_turns(teacher, z, fit_noise=fit, rng=stream(seed, "turns", "bases"), bases=1)
        values = [share.value, *(beside[key] for key in ("plain", "recovered", "planted_45", "planted_90"))]
        expected = [by_hand.share.value, by_hand.plain.value, by_hand.recovered.value, *planted[:, 0]]
        assert values == pytest.approx(expected, abs=1e-4)


def test_no_turn_is_fitted_where_its_rows_are_too_many_or_maps_are_told_a_class() -> None:
    for settings, reason in (({"law__dim": 290}, "14500 rows"), ({"teacher__condition": True}, "told a class")):
        group = group_of(experiment(**settings))
        ((share, beside),) = turn_readings(group, lambda z: z, [], torch.zeros(1, 5, group.shared.law.dim), CPU)
        assert reason in str(share.reason)
        assert all(np.isnan(value) for value in beside.values())


def test_a_run_holds_its_turn_where_it_is_asked_for(tmp_path: Path) -> None:
    (record,) = do(experiments("law.dim=2", "student.init=rotated", "measure.turns=true"), tmp_path)
    metric = record.summary["metrics"]["rotation_explained"]
    turns = {key: record.row[f"turn_{key}"] for key in ("plain", "recovered", "planted_45", "planted_90")}
    assert turns == record.summary["turns"]
    assert metric["value"] == pytest.approx((turns["recovered"] - turns["plain"]) / (1 - turns["plain"]))
    told = [sentence for sentence in record.summary["in_words"] if "turn" in sentence and "gives back" in sentence]
    assert len(told) == 2
