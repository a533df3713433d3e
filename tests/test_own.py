"""What a student kept of the pairing that it started with: maps, angles, and what cannot be resolved."""

import numpy as np
import pytest
import torch
from small import CPU, experiment, group_of, law_of, start_denoiser
from torch import Tensor

from dmdlab.config import TURNED, Experiment
from dmdlab.group import Group
from dmdlab.lab.calibrate import calibrate_experiment, numpy_map, teacher_map
from dmdlab.lab.own import own_pairings
from dmdlab.pairing import Calibration
from dmdlab.pairing.bases import random_basis, turned
from dmdlab.pairing.context_in_words import own_in_words
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.own import OwnPairing, planted_curve
from dmdlab.randomness import latents, stream
from dmdlab.training.student import starting_student

N, DIM = 300, 6
SETTINGS = {"law__dim": DIM, "measure__samples": N, "teacher__steps": 6, "measure__bases": 2}


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """Of the exact teacher."""
    return calibrate_experiment(experiment(**SETTINGS), CPU)


def member(init: str, **more: object) -> Experiment:
    return experiment(student__init=init, **SETTINGS, **more)


def own_of(es: list[Experiment]) -> tuple[list[OwnPairing], Tensor, Tensor]:
    """Their own pairings, the noise (e, n, d) and the noise as their students see it."""
    group, law, rows = Group(tuple(es)), law_of(es[0]), start_denoiser(es).network.flat.detach()
    begun = starting_student(group, law, rows, CPU)
    noise = torch.stack([latents(e.seed, N, DIM, e.noise.sigma_max) for e in es])
    teacher = torch.stack(
        [torch.from_numpy(teacher_map(e, CPU, r)(z.numpy())) for e, r, z in zip(es, rows, noise, strict=True)]
    )
    return own_pairings(group, law, rows, begun, noise, teacher, CPU), noise, begun.turned(noise)


@pytest.mark.parametrize("init", TURNED)
def test_a_turned_starts_own_map_is_the_teachers_after_its_turn(init: str, calibration: Calibration) -> None:
    """Untouched it reads 0 degrees; with its noise turned by 30 degrees more it reads 30, on average over bases."""
    e = member(init)
    (own,), noise, seen = own_of([e])
    phi = teacher_map(e, CPU)
    np.testing.assert_allclose(own.outputs, phi(seen[0].numpy()), rtol=1e-4, atol=1e-5)
    assert own.measured(own.outputs, calibration)["angle"].value == 0
    student = starting_student(group_of(e), law_of(e), start_denoiser([e]).network.flat, CPU)
    angles = []
    for seed in range(6):
        further = turned(noise[0].numpy(), random_basis(DIM, np.random.default_rng(seed)), 30.0)
        moved = phi(student.turned(torch.from_numpy(further)[None])[0].numpy())
        angles.append(own.measured(moved, calibration)["angle"].value)
    assert np.mean(angles) == pytest.approx(30, abs=4)


def test_each_members_own_map_is_that_of_the_network_that_it_starts_at_and_not_the_runs_teachers() -> None:
    """Of another seed's teacher as it is, and of a turned start's after its turn."""
    es = [member(init, seed=s, teacher__kind="network") for s in (0, 1) for init in ("rotated", "other")]
    group, law, begins = Group(tuple(es)), law_of(es[0]), start_denoiser(es, "another").network.flat.detach()
    begins = begins[[3, 1, 2, 0]]  # so that no member's is its own seed's
    noise = torch.stack([latents(e.seed, 20, DIM, e.noise.sigma_max) for e in es])
    begun = starting_student(group, law, begins, CPU)
    found = own_pairings(group, law, begins, begun, noise, torch.zeros_like(noise), CPU)
    for e, own, row, z, seen in zip(es, found, begins, noise, begun.turned(noise), strict=True):
        expected = teacher_map(e, CPU, row)((z if e.student.init == "other" else seen).numpy())
        np.testing.assert_allclose(own.outputs, expected, rtol=1e-4, atol=1e-5)


def test_a_start_without_another_map_is_its_own_and_is_turned_itself() -> None:
    es = [member(init, seed=s) for s in (0, 1) for init in ("transport", "random")]
    found, noise, _ = own_of(es)
    for i, own in enumerate(found):
        assert own.curve is not None
        np.testing.assert_array_equal(own.outputs, own.start)
        read = own.measured(own.start, None)
        assert (read["pair_cosine"].value, read["angle"].value) == (pytest.approx(1), pytest.approx(0, abs=0.1))
        alone = starting_student(group_of(es[i]), law_of(es[0]), start_denoiser([es[i]]).network.flat, CPU)
        z = turned(noise[i].numpy(), random_basis(DIM, np.random.default_rng(5)), 45.0)
        with torch.no_grad():
            moved = alone(torch.from_numpy(z)[None])[0].numpy()
        angles, rng = own.curve.angles_degrees.tolist(), stream(es[i].seed, "own pairing", "bases")
        by_hand = planted_curve(numpy_map(alone, CPU), noise[i].numpy(), rng=rng, angles_degrees=angles, bases=2)
        np.testing.assert_allclose(own.curve.planted["pair_cosine"], by_hand.planted["pair_cosine"], atol=1e-6)
        assert own.measured(moved, None)["angle"].value == pytest.approx(45, abs=4)


def test_a_linear_maps_curve_is_the_cosine() -> None:
    noise = latents(0, 4000, 4, 80.0).numpy()
    curve = planted_curve(lambda z: 3 * z + 1, noise, rng=np.random.default_rng(0), angles_degrees=(0, 30, 90), bases=2)
    np.testing.assert_allclose(
        curve.planted["pair_cosine"], np.cos(np.radians([[0] * 2, [30] * 2, [90] * 2])), atol=0.03
    )
    one, other = curve.planted["pair_cosine"].T
    assert (one[1:] != other[1:]).all()  # each column has a basis of its own, which the interval rests on


def test_what_cannot_be_resolved_says_why(calibration: Calibration) -> None:
    (own,), noise, _ = own_of([member("random")])
    assert own.curve is not None
    lost = OwnPairing(own.outputs * np.nan, own.start)
    assert {m.reason for m in lost.measured(own.start, calibration).values()} == {
        "the outputs of the map that the student started with are not finite"
    }
    constant = own.measured(np.zeros_like(own.start), calibration)
    assert "all the same" in str(constant["pair_cosine"].reason)
    assert not constant["angle"].resolved
    assert "no calibration" in str(OwnPairing(own.outputs, own.start).measured(own.start, None)["angle"].reason)
    flat = planted_curve(
        lambda z: 0 * z, noise[0].numpy(), rng=np.random.default_rng(0), angles_degrees=(0, 90), bases=2
    )
    assert np.isnan(flat.planted["pair_cosine"]).all()
    assert not OwnPairing(own.outputs, own.start, flat).measured(own.start, calibration)["angle"].resolved


def test_the_reading_says_it_of_every_start_but_the_teachers() -> None:
    (sentence,) = own_in_words("rotated", {"angle": Measured(12.34)})
    assert sentence.startswith("It lost as much of its own pairing (rotated) as a turn of its noise by 12.3 degrees")
    (bound,) = own_in_words("random", {"angle": Measured(90.0, reason="beyond")})
    assert "by 90 degrees or more" in bound
    assert own_in_words("teacher", {"angle": Measured(12.34)}) == []
    assert own_in_words("other", {"angle": Measured.unresolved("why")}) == []
