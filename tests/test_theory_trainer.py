"""The lab's own trainer against the theory: linear students of a Gaussian, exact scores, plain SGD, many seeds."""

import math

import pytest
import torch
from linear_students import kept
from small import group_of
from torch import Tensor

from dmdlab.config import experiment_from
from dmdlab.diffusion import levels_in
from dmdlab.diffusion.noise import edm_coefficients
from dmdlab.laws import make_law
from dmdlab.networks import make_denoiser
from dmdlab.theory import frozen_variance, polar, trace_moments
from dmdlab.training.distill import Distillation, distillation_from

D, START, BATCH, MEMBERS = 4, 0.1, 32, 48
ONES = [1.0] * D
FEATURES = 2


def distillation(rate: float, cycles: int, optimiser: str = "sgd", members: int = MEMBERS) -> Distillation:
    """Of seeds 100 on, from W = START in units of the noise, at all levels."""
    settings = {"law.name": "gaussian", "law.dim": D, "network.kind": "linear", "network.bias": False}
    settings |= {"network.time_features": FEATURES, "fake_score.kind": "exact", "fake_score.updates": 1}
    settings |= {f"student.{key}": 0 for key in ("weight_decay", "clip", "warmup")}
    settings |= {"student.normaliser": "none", "student.reduction": "sum", "student.optimiser": optimiser}
    settings |= {"student.learning_rate": rate, "student.iterations": cycles, "student.batch": BATCH}
    all_members = [experiment_from(settings | {"seed": 100 + i}) for i in range(members)]
    law, first = make_law(all_members[0].law.model_dump()), all_members[0]
    start = make_denoiser(members, law, first.network)
    c = edm_coefficients(torch.tensor(first.noise.sigma_max), law.sigma_data)
    weight = start.network.matrices.weight.data
    weight[:, :D] = (START / first.noise.sigma_max - c.c_skip) / (c.c_out * c.c_in) * torch.eye(D)
    return distillation_from(group_of(*all_members), law, start.network.flat.detach())


def maps(loop: Distillation) -> Tensor:
    """W of every member in units of the noise, (e, d, d)."""
    sigma_max = loop.noise.sigma_max
    with torch.no_grad():
        return loop.student(sigma_max * torch.eye(D).expand(len(loop.failed_at), D, D)).mT.double()


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_with_exact_scores_the_trainer_loses_what_is_predicted_and_no_more(rate: float) -> None:
    """Eq. (14), with Eq. (17): mean and spread over the seeds, at T and at 2 T."""
    cycles = round(100 / rate)
    loop = distillation(rate, 2 * cycles)
    torch.testing.assert_close(maps(loop), START * torch.eye(D).double().expand(MEMBERS, D, D), rtol=1e-4, atol=1e-6)
    found = []
    for _ in range(2):
        for _ in range(cycles):
            loop.cycle()
        found.append(maps(loop))
    eta = rate * (1 + FEATURES / 2)  # of W: docstring of `dmdlab.networks.linear`
    places = (torch.arange(200).double() + 0.5) / 200
    levels = levels_in(places, loop.config.levels, loop.noise)
    mean, spread = trace_moments(D, eta / BATCH * frozen_variance(START, 1.0, levels))
    cosines, error = kept(found[1], ONES)
    assert 1 - mean > 10 * error / math.sqrt(3)
    assert cosines.mean().item() == pytest.approx(mean, abs=3 * error)
    assert cosines.std().item() == pytest.approx(spread, rel=0.35)
    torch.testing.assert_close(found[1] @ found[1].mT, torch.eye(D).double().expand(MEMBERS, D, D), rtol=0, atol=0.02)
    late = (polar(found[1])[1] - polar(found[0])[1]).flatten(1).norm(dim=1).mean()
    early = (polar(found[0])[1] - torch.eye(D)).flatten(1).norm(dim=1).mean()
    assert late < 0.05 * early


@pytest.mark.slow
def test_under_adam_they_rest_until_it_forgets_and_then_walk() -> None:
    """No closed form for the rest: Adam remembers for thousands of steps how large its first gradients were. Then about
    Eq. (13), where eta adds up the steps of the parameters that make one entry of W, 1 + abs(cos) + abs(sin)."""
    loop, found = distillation(0.01, 7000, "adamw", members=6), []
    for stop in (1000, 2500, 5000, 7000):
        while loop.done < stop:
            loop.cycle()
        found.append(-kept(maps(loop), ONES)[0].mean().clamp(min=0.01).log().item())
    assert found[0] > 0.1
    assert found[1] == pytest.approx(found[0], rel=0.01)
    assert found[3] > found[2] + 0.1 > found[1] + 0.3
