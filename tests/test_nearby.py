"""What a teacher's flow is like near its noise: made once, kept, and made again where it is lost."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, experiment, group_of, law_of, start_denoiser
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.diffusion import Denoiser
from dmdlab.group import Group
from dmdlab.lab.evaluate import asymmetries, flow_steps, teacher_pairs
from dmdlab.lab.nearby import Nearby, keep_nearby, teachers_nearby
from dmdlab.lab.store import Store
from dmdlab.randomness import latents
from dmdlab.records.verify import verify

MEMBERS = [experiment(seed=seed, measure__samples=40, teacher__steps=3) for seed in (1, 0)]


def found(group: Group, store: Store, teacher: Denoiser | None = None) -> Nearby:
    """Of a group's exact teachers, as a run asks for it."""
    law = law_of(group.shared)
    pairs = teacher_pairs(group, law, law.denoise, CPU)
    steps = teachers_nearby(group, teacher or law.denoise, pairs["noise"], pairs.get("label"), store, CPU)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Nearby = end.value
            return result


def unwanted(x_sigma: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
    pytest.fail("the teacher was asked again")


def test_it_is_made_once_and_is_each_seeds_own(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    group, store = group_of(*MEMBERS), Store(tmp_path)
    made, again = found(group, store), found(group, store, unwanted)
    assert made.asymmetry.shape == (2,)
    assert made.answers.shape == (2, 2, 40, 4)
    np.testing.assert_array_equal(made.asymmetry, again.asymmetry)
    assert torch.equal(made.answers, again.answers)
    own = found(group_of(MEMBERS[0]), store, unwanted)
    assert own.asymmetry[0] == made.asymmetry[group.place[0]] != made.asymmetry[group.place[1]]
    assert torch.equal(own.answers[:, 0], made.answers[:, group.place[0]])
    assert [one.state for one in verify(tmp_path).shared] == ["whole"] * 2
    for seed, share in zip(group.seeds, made.asymmetry, strict=True):  # whoever is beside it, and along its own vectors
        flow = flow_steps(group.shared, law_of(group.shared).denoise)
        assert share == pytest.approx(asymmetries([seed], flow, latents(seed, 40, 4, 80.0)[None])[0], rel=1e-4)


def test_lost_or_cut_it_is_made_again_and_damaged_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    group, store = group_of(MEMBERS[0]), Store(tmp_path)
    made = found(group, store)
    (path,) = (tmp_path / "nearby").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-70])
    with pytest.raises(pytest.fail.Exception):
        found(group, store, unwanted)
    assert torch.equal(found(group, store).answers, made.answers)
    assert path.read_bytes() == whole
    at = len(whole) // 2
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(InputError, match=path.name):
        found(group, store)
    (told,) = verify(tmp_path).damaged
    assert told.wrong[0].endswith("what needs it makes it anew")


@pytest.mark.parametrize("condition", [False, True])
def test_another_process_makes_what_the_run_would(condition: bool, tmp_path: Path) -> None:
    settings = {"teacher__kind": "network", "teacher__condition": True} if condition else {}
    e = experiment(seed=3, measure__samples=40, teacher__steps=3, **settings)
    group, law = group_of(e), law_of(e)
    denoiser = start_denoiser([e])
    teacher: Denoiser = denoiser if condition else law.denoise
    beside, alone = Store(tmp_path / "beside"), Store(tmp_path / "alone")
    beside.keep_start(e, denoiser.network.flat.detach()[0])
    keep_nearby(beside, e, CPU)
    there = found(group, beside, unwanted)
    pairs = teacher_pairs(group, law, teacher, CPU)
    assert (pairs.get("label") is not None) == condition
    here = found(group, alone, teacher)
    np.testing.assert_array_equal(there.asymmetry, here.asymmetry)
    assert torch.equal(there.answers, here.answers)
