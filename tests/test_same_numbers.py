"""What a configuration and a seed have always given, in numbers: starts, turns, the first steps of every training.

Other tests hold that these are right. A default, a stream's name or an order of draws may change, be right as well, and
give another result under the same id. Where a number here changes, raise `RESULT_VERSION` (CONTRIBUTING.md), then write
it down anew. Of the laws `test_laws_catalogue.py` holds the same.
"""

import pytest
import torch
from near import told
from small import experiment, group_of, law_of, start_denoiser
from terms import ON, PICTURES, loop_of, member

from dmdlab.laws import make_law
from dmdlab.training.planes import PlanarTurn
from dmdlab.training.regression import FitPairs, fit
from dmdlab.training.student import Student, later_noises, starting_student
from dmdlab.training.teacher import train_teacher
from dmdlab.training.turn import Turn

SEED = 3
LATER = (-2.84836, -2.78321)
NONE = dict.fromkeys(("network.width", "network.depth"))

STARTS = {
    "mlp": ({}, 0.81417, -3.91285),
    "residual": ({}, -1.51585, -2.63303),
    "unet": (PICTURES, 9.07117, 3.43766),
    "linear": (NONE, -0.69617, 0.90012),
}


@pytest.mark.parametrize("kind", STARTS)
def test_networks_start_at_their_seeds_numbers(kind: str) -> None:
    """A teacher's, and a student's that starts at random."""
    settings, teacher, student = STARTS[kind]
    e = member(SEED, **{"network.kind": kind, "student.init": "random"} | settings)
    own = start_denoiser([e]).network.flat
    random = starting_student(group_of(e), law_of(e), own, "cpu").network.flat
    assert (told(own), told(random)) == pytest.approx((teacher, student), rel=1e-4)


@pytest.mark.parametrize(
    ("dim", "expected"),
    [(5, (-0.28214, 3.22205, 18.6626)), (6, (-1.20180, 0.49822, 50.2794)), (257, (0.43267, 1.07448, -88.0796))],
)
def test_a_seed_turns_and_twists_as_ever(dim: int, expected: tuple[float, ...]) -> None:
    axes = torch.eye(dim)[None, :4]
    planar = [PlanarTurn([experiment(student__init=init, seed=SEED)], dim) for init in ("turned", "twisted")]
    found = [turn(size * axes) for turn, size in ((Turn([SEED], [True], dim), 1), (planar[0], 1), (planar[1], 50))]
    assert [told(each) for each in found] == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("name", "expected"), [("manifold", -3.36262), ("blobs", 0.59321)])
def test_a_seed_memorises_the_pictures_that_it_always_did(name: str, expected: float) -> None:
    law = make_law({"name": name, "side": 4, "seed": 1, "empirical": 5})
    assert told(law.atoms.points) == pytest.approx(expected, rel=1e-4)  # type: ignore[union-attr, arg-type]


def test_later_noises_are_of_the_streams_that_they_always_were() -> None:
    student = Student(start_denoiser([member()]), [5.0, 1.5, 0.4])
    assert [told(each) for each in later_noises(student, [SEED], 4, 3)] == pytest.approx(LATER, rel=1e-4)


SHORT = {"teacher.kind": "network", "teacher.iterations": 6, "teacher.warmup": 2, "teacher.batch": 16}
SET = {"teacher.train_samples": 20, "teacher.condition": True, "teacher.target": "posterior", "teacher.ema": 0.9}
FITTED = {"student.init": "regressed", "student.regression": 6}


@pytest.mark.parametrize(
    ("settings", "loss", "moved"),
    [
        ({}, 1.91197, 0.0895706),
        ({"teacher.levels": "lognormal"}, 1.90417, 0.0925380),
        ({"teacher.condition": True, "law.scale": 2.0}, 1.99991, 0.0975039),
        (SET, 1.12112, 0.0649218),
        (FITTED, 1.91531, 0.0977198),
        (FITTED | {"student.start_level": 2.5}, 2.09709, 0.0974536),
    ],
    ids=["teacher", "lognormal", "classes at another scale", "set", "fit", "fit at a level"],
)
def test_a_teacher_and_a_fit_begin_as_ever(settings: dict[str, object], loss: float, moved: float) -> None:
    """The mean loss of six iterations, and how far the parameters go in them."""
    e = member(SEED, **SHORT | settings)
    denoiser, g = start_denoiser([e]), torch.Generator().manual_seed(0)
    start = denoiser.network.flat.clone()
    if "student.init" in settings:
        pairs = FitPairs(5 * torch.randn(1, 40, 4, generator=g), torch.randn(1, 40, 4, generator=g))
        (last,) = fit(e, [SEED], denoiser, pairs)
    else:
        (last,) = train_teacher(e, [SEED], law_of(e), denoiser)
    assert last.loss.item() == pytest.approx(loss, rel=1e-3)
    assert (denoiser.network.flat - start).norm().item() == pytest.approx(moved, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (1.30602, 2.11464, 0.00743174, 0.0228829)),
        (
            {"fake_score.batches": "separate", "student.init": "rotated"},
            (1.22713, 2.10724, 0.00778671, 0.0223947),
        ),
        ({"student.steps": 3, "teacher.condition": True}, (1.42224, 1.54200, 0.00701538, 0.0215530)),
        (ON["gan"], (1.30602, 2.11464, 0.00743161, 0.0228831, 0.0149869)),
        (ON["drifting"], (1.30621, 2.11413, 0.00739322, 0.0228823)),
        (ON["regression"], (1.30600, 2.11408, 0.00782954, 0.0228832)),
    ],
    ids=["DMD", "separate, rotated", "steps, classes", "GAN", "drifting", "regression"],
)
def test_a_distillation_begins_as_ever(settings: dict[str, object], expected: tuple[float, ...]) -> None:
    """Of three cycles the mean DM loss and fake score's loss, and how far each network goes."""
    loop = loop_of([member(SEED, **settings, **{"fake_score.updates": 2})])
    starts = [each.parameters.clone() for each in loop.trained.values()]
    for _ in range(3):
        loop.cycle()
    numbers, ends = loop.report().numbers, [each.parameters for each in loop.trained.values()]
    moved = [(end - start).norm().item() for start, end in zip(starts, ends, strict=True)]
    assert [numbers["dm_loss"].item(), numbers["score_loss"].item(), *moved] == pytest.approx(expected, rel=1e-3)
