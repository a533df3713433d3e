"""A member of an ensemble: alone as among others, beside a failing one, and under a rotation of its noise."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from small import cycle, distillation, experiment, law_of, parameters, start_denoiser
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.networks import EDMDenoiser
from dmdlab.randomness import latents
from dmdlab.training.optimiser import gradient
from dmdlab.training.teacher import train_teacher
from dmdlab.training.turn import Turn

# --- alone as among others

FIFTY = 50
MIXED = [("teacher", 3e-3, 0), ("rotated", 3e-3, 1), ("random", 1e-3, 2), ("rotated", 5e-4, 0)]


def members(**settings: object) -> list[Experiment]:
    return [
        experiment(
            student__init=init, student__learning_rate=rate, fake_score__learning_rate=rate, seed=seed, **settings
        )
        for init, rate, seed in MIXED
    ]


def backend_is_exact(e: Experiment) -> bool:
    """Whether here a network's numbers do not depend, to the last bit, on how many networks are beside it."""
    many = start_denoiser([e] * 4)
    one = start_denoiser([e])
    z = 80 * torch.randn(4, e.student.batch, e.law.dim, generator=torch.Generator().manual_seed(0))
    wide = z.repeat(1, e.fake_score.updates - 1, 1)

    def numbers(denoiser: EDMDenoiser, x: Tensor) -> list[Tensor]:
        net, out = denoiser.network, denoiser(x, 80.0)
        return [out, gradient(out.square().mean(dim=(1, 2)), list(net.parameters()))]

    pairs = [
        (a[i], b[0])
        for x in (z, wide)
        for i in range(4)
        for a, b in zip(numbers(many, x), numbers(one, x[i : i + 1]), strict=True)
    ]
    return all(torch.equal(a, b) for a, b in pairs)


SHAPES: dict[str, dict[str, object]] = {
    "residual": {},
    "mlp": {"network__kind": "mlp", "law__dim": 8},
    "clipped": {"student__clip": 0.01, "student__normaliser": "batch"},
    "odd sizes": {"law__dim": 3, "network__width": 17, "student__batch": 31},
}


@pytest.mark.parametrize(
    "shape", ["residual", *(pytest.param(s, marks=pytest.mark.long) for s in SHAPES if s != "residual")]
)
def test_an_ensemble_of_one_is_a_member_of_many_for_fifty_cycles(shape: str) -> None:
    """Bit for bit where the products of one matrix and of many agree, which here they do for sizes that fill vector
    registers; to rounding otherwise."""
    es = members(**SHAPES[shape])
    exact = backend_is_exact(es[0])
    together = distillation(es)
    numbers = torch.stack([cycle(together) for _ in range(FIFTY)])  # (cycles, 5, e)
    for i, e in enumerate(es):
        alone = distillation([e])
        own = torch.stack([cycle(alone) for _ in range(FIFTY)])
        ends = zip(parameters(alone), parameters(together), strict=True)
        pairs = [(own[..., 0], numbers[..., i]), *((a[0], b[i]) for a, b in ends)]
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
            assert torch.equal(found, expected) or not exact


def test_a_failing_neighbour_is_noted_and_changes_nobody() -> None:
    healthy = members()
    wild = healthy[2].model_copy(
        update={"student": healthy[2].student.model_copy(update={"learning_rate": 1e6, "weight_decay": 0.01})}
    )
    good, mixed = distillation(healthy), distillation([*healthy[:2], wild, healthy[3]])
    draws = distillation(healthy).draws
    first = None
    for count in range(1, 21):
        z, _, _ = next(draws)
        size = mixed.student(z[:, 0])[2].detach().square().mean().sqrt()
        good.cycle()
        losses = cycle(mixed)[:2, 2]
        if first is None and not (losses.isfinite().all() and size < 1e3 * mixed.fake.sigma_data):
            first = 5 * count
    assert first is not None
    assert mixed.failed_at.tolist() == [-1, -1, first, -1]
    assert good.failed_at.tolist() == [-1] * 4
    for a, b in zip(parameters(good), parameters(mixed), strict=True):
        assert torch.equal(a[[0, 1, 3]], b[[0, 1, 3]])


def test_nothing_touches_the_global_generators() -> None:
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (the state we guard)
    e = experiment(teacher__iterations=5, teacher__batch=8)
    for _ in train_teacher(e, [0, 1], law_of(e), start_denoiser([e, e])):
        pass
    distillation(members()).cycle()
    latents(0, 4, 3, 80.0)
    numpy_after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(numpy_before, numpy_after, strict=True))
    assert torch.equal(torch_before, torch.get_rng_state())


# --- the inheritance lemma


Cycles = Iterator[tuple[Tensor, ...]]


def turned(draws: Cycles, turn: Turn) -> Cycles:
    for z, *others in draws:
        yield turn(z.flatten(1, 2)).view(z.shape), *others


@pytest.mark.parametrize("dim", [3, 4])
def test_a_rotated_start_fed_z_is_the_plain_start_fed_the_rotated_z(dim: int) -> None:
    turn, z = Turn([0], [True], dim), latents(5, 40, dim, 80.0)[None]
    inherited, plain, untouched = (
        distillation([experiment(law__dim=dim, student__init=init)]) for init in ("rotated", "teacher", "teacher")
    )
    plain.draws = turned(plain.draws, turn)  # type: ignore[assignment]
    for _ in range(20):
        for loop in (inherited, plain, untouched):
            loop.cycle()
    for a, b, c in zip(parameters(inherited), parameters(plain), parameters(untouched), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(a, c, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(inherited.student(z), plain.student(turn(z)), rtol=1e-4, atol=1e-4)


def test_every_network_of_the_catalogue_can_be_a_student() -> None:
    for kind in ("mlp", "residual"):  # those for vectors
        loop = distillation([experiment(network__kind=kind)])
        assert cycle(loop).isfinite().all()
