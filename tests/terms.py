"""Terms of the loss for tests: experiments with some on, loops of them, and terms by themselves."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from small import group_of, law_of, start_denoiser
from torch import Tensor

from dmdlab.config import Experiment, experiment_from
from dmdlab.device.compiling import Way
from dmdlab.experiments import resolve
from dmdlab.networks import Ensemble
from dmdlab.training.distill import Distillation, distillation_from
from dmdlab.training.exact_score import score_of
from dmdlab.training.student import starting_student
from dmdlab.training.terms import Around, Term, make_terms

BASE = {
    "law.components": 4,
    "law.dim": 4,
    "noise.sigma_max": 5.0,
    "teacher.steps": 3,
    "network.width": 8,
    "network.depth": 1,
    "network.time_features": 4,
    "student.iterations": 200,
    "student.batch": 16,
    "student.warmup": 10,
    "fake_score.updates": 5,
}
PICTURES = {
    **dict.fromkeys(("law.components", "law.dim", "network.width", "network.depth")),
    "law.name": "manifold",
    "law.side": 4,
    "network.kind": "unet",
    "network.channels": [4, 4],
    "network.depths": [1, 1],
    "student.batch": 6,
    "fake_score.updates": 2,
    "teacher.kind": "network",
}
LINEAR = {"network.kind": "linear", "network.width": None, "network.depth": None, "fake_score.kind": "exact"}
FEW = {"fake_score.updates": 2, "student.batch": 8}
"""A cycle of few batches of few rows."""

ON = {
    "regression": {"terms.regression.weight": 0.25, "terms.regression.pairs": 40},
    "sid": {"terms.sid.weight": 1.0},
    "drifting": {"terms.drifting.weight": 1.0},
    "gan": {"terms.gan.weight": 3e-3},
    "gan of the teacher": {
        "terms.gan.weight": 1e-3,
        "terms.gan.features": "teacher",
        "terms.gan.r1": 100.0,
        "teacher.kind": "network",
    },
    "f_distill": {"terms.gan.weight": 3e-3, "terms.f_distill.weight": 1.0},
}
ALL = {key: value for settings in reversed(ON.values()) for key, value in settings.items()}
"""All at once, the GAN being that of the fake score."""
ALL = ALL | ON["gan"] | {"terms.gan.features": "fake", "terms.gan.r1": 0.0, "teacher.kind": "exact"}


def member(seed: int = 0, **settings: object) -> Experiment:
    """A checked experiment; None leaves a key of `BASE` out."""
    flat = BASE | settings | {"seed": seed}
    return resolve(experiment_from({key: value for key, value in flat.items() if value is not None}))


def members(settings: dict[str, object], seeds: Sequence[int] = (0, 1)) -> list[Experiment]:
    return [member(seed, **settings) for seed in seeds]


def loop_of(es: Sequence[Experiment], way: Way | None = None) -> Distillation:
    return distillation_from(group_of(*es), law_of(es[0]), start_denoiser(es).network.flat, way=way)


def after(loop: Distillation, cycles: int) -> list[Tensor]:
    """All that is trained, and what was reported, after so many cycles."""
    for _ in range(cycles):
        loop.cycle()
    numbers = loop.report().numbers.values()
    return [*(t.parameters.detach().clone() for t in loop.trained.values()), torch.stack(list(numbers))]


def alone(e: Experiment) -> tuple[dict[str, Term], Around]:
    """The terms of one member at its start, and what they are made for; the teacher is the law's denoiser."""
    law, group, start = law_of(e), group_of(e), start_denoiser([e])
    student, fake = starting_student(group, law, start.network.flat, "cpu"), start_denoiser([e], "fake")
    around = Around(group, law, law.denoise, student, fake, score_of(e, student, fake), e.student.iterations, {})
    return make_terms(around), around


def drawn(term: Term) -> list[Tensor]:
    """Its numbers of one cycle, (e, ...) each, in float64 where they are not whole."""
    parts = []
    for source in term.sources:
        steps = [source.draw(g, 1) for g in source.generators]
        own = [step if isinstance(step, tuple) else (step,) for step in steps]
        parts += [torch.cat(column) for column in zip(*own, strict=True)]
    return [part.double() if part.is_floating_point() else part for part in parts]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def differences(f: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    """The gradient of f, a number, at x by central differences."""
    found = []
    for i in range(x.numel()):
        e = torch.zeros(x.numel(), dtype=x.dtype)
        e[i] = step
        found.append((f(x + e.view_as(x)) - f(x - e.view_as(x))).sum() / (2 * step))
    return torch.stack(found).view_as(x)


def in_double(held: ExitStack, *networks: Ensemble) -> None:
    """Let the networks compute in float64."""
    for network in networks:
        held.enter_context(network.holding(network.flat.double()))


def close(found: Tensor, expected: Tensor, rtol: float = 1e-6) -> None:
    size = expected.abs().max().item()
    assert size > 0
    torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * size)


def term_of(name: str, **settings: object) -> tuple[Term, list[Tensor]]:
    """A term of one member with 16 samples in four dimensions, and its numbers."""
    terms, _ = alone(member(**settings))
    return terms[name], drawn(terms[name])
