"""Measures that need the maps, for the members of a group: each gets its own, by its own seed's teacher."""

import pytest
import torch
from small import CPU, experiment, group_of, law_of, start_denoiser

from dmdlab.config import experiment_from
from dmdlab.diffusion import flow, karras_grid
from dmdlab.lab.calibrate import teacher_map
from dmdlab.lab.evaluate import flow_map, teacher_pairs
from dmdlab.lab.local import gaussian_readings, local_readings, turns_explained
from dmdlab.randomness import latents

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
    found = local_readings(GROUP, lambda z: SIGNS * phi(torch.stack([z[1], z[0]]))[PLACE], phi, NOISE)
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
    found = turns_explained(GROUP, lambda z: flow(law.denoise, z @ turn, grid), teachers, NOISE, CPU)
    assert len(found) == 3
    assert all(explained.share.value > 0.85 for explained in found)
    assert found[0].share == found[2].share  # one seed
