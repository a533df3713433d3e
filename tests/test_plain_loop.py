"""The peer of the benchmarks does dmdlab's arithmetic: in float64, where steps of Adam do not amplify the last bit."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small import CPU, experiment, law_of, start_denoiser
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import plain_loop
from benchmarks.plain_loop import PlainDMD, PlainTeacher, Preconditioned, denoiser, plain_flow
from dmdlab.config import Experiment, InputError
from dmdlab.diffusion import flow, karras_grid
from dmdlab.group import Group
from dmdlab.lab.trial import tried
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser
from dmdlab.training import teacher
from dmdlab.training.distill import Distillation
from dmdlab.training.student import Student

CYCLES = 6


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def own(e: Experiment, ours: EDMDenoiser) -> Preconditioned:
    """The plain network with member 0's weights: the same layers in the same order, each weight transposed."""
    plain = denoiser(e.network, law_of(e))
    with torch.no_grad():
        for p, (name, q) in zip(plain.parameters(), ours.network.named_parameters(), strict=True):
            p.copy_(q[0].T if name.endswith("weight") else q[0, 0])
    return plain


def as_row(plain: nn.Module) -> Tensor:
    """Its parameters in the order and layout of dmdlab's `flat`."""
    return torch.cat([(p.T if p.dim() == 2 else p).reshape(-1) for p in plain.parameters()]).detach()


def moved(after: Tensor, before: Tensor, theirs: Tensor) -> float:
    """How far `theirs` is from `after`, relative to how far training went."""
    return float((after - theirs).norm() / (after - before).norm())


class Fed:
    """Stands in for torch's random functions and deals out given numbers instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **streams: list[Tensor]) -> None:
        self.streams = {name: iter(numbers) for name, numbers in streams.items()}
        for name in streams:
            monkeypatch.setattr(torch, name, lambda *shape, name=name, **_: next(self.streams[name]))

    def nothing_left(self) -> bool:
        return all(next(rest, None) is None for rest in self.streams.values())


def loops(e: Experiment) -> tuple[Distillation, Distillation, PlainDMD]:
    """Ours, another of ours for its draws, and the plain one, all at the same start."""

    def ours() -> Distillation:
        judge = start_denoiser([e], "teacher") if e.teacher.kind == "network" else law_of(e).denoise
        student = Student(start_denoiser([e]), [e.noise.sigma_max])
        return Distillation(Group((e,)), law_of(e), judge, student, start_denoiser([e], "fake"))

    loop = ours()
    judge = own(e, loop.teacher) if isinstance(loop.teacher, EDMDenoiser) else loop.teacher
    return loop, ours(), PlainDMD(e, judge, own(e, loop.student.denoiser), own(e, loop.fake))


OPTIONS: dict[str, dict[str, object]] = {
    "residual": {},
    "mlp": {"network__kind": "mlp", "network__depth": 3},
    "network teacher": {"network__kind": "mlp", "teacher__kind": "network", "network__depth": 2},
    "own batch": {"fake_score__batches": "separate", "fake_score__updates": 2},
    "tight clipping": {"student__clip": 0.01},
    "no clipping, no warm-up": {"student__clip": 0.0, "student__warmup": 0},
    "cosine": {"student__decay": "cosine", "student__weight_decay": 0.3, "fake_score__learning_rate": 1e-3},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.usefixtures("double")
def test_the_plain_loop_trains_the_same_student(options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    e = experiment(**options)
    loop, dealer, plain = loops(e)
    starts = [loop.student.network.flat[0].clone(), loop.fake.network.flat[0].clone()]
    draws = [[t[0].double() for t in next(dealer.draws)] for _ in range(CYCLES)]
    for _ in range(CYCLES):
        loop.cycle()
    fed = Fed(
        monkeypatch,
        randn=[b / e.noise.sigma_max for z, _, _ in draws for b in z],
        rand=[each for _, u, _ in draws for each in u],
        randn_like=[each for _, _, eps in draws for each in eps],
    )
    for _ in range(CYCLES):
        plain.cycle()
    assert fed.nothing_left()
    ends = [loop.student.network.flat[0].detach(), loop.fake.network.flat[0].detach()]
    for end, start, theirs in zip(ends, starts, (plain.student, plain.fake), strict=True):
        assert moved(end, start, as_row(theirs)) < 1e-6


@pytest.mark.usefixtures("double")
def test_the_plain_flow_makes_the_same_pairs() -> None:
    e = experiment(network__kind="mlp", teacher__steps=5)
    ours = start_denoiser([e])
    z = e.noise.sigma_max * torch.randn(1, 7, e.law.dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain_flow(own(e, ours), z[0], e), flow(ours, z, karras_grid(5, e.noise))[0])


@pytest.mark.parametrize("kind", ["mlp", "residual"])
@pytest.mark.parametrize("batches", ["shared", "separate"])
def test_the_arithmetic_that_is_counted_is_what_the_plain_loop_does(kind: str, batches: str) -> None:
    options = {"network__kind": kind, "teacher__kind": "network", "fake_score__batches": batches}
    e = experiment(**options, fake_score__updates=3)
    *_, plain = loops(e)
    with FlopCounterMode(display=False) as counted:
        plain.cycle()
    assert counted.get_total_flops() == tried(Group((e,))).cycle_flops


class Shelf:
    """A law whose samples are given; it denoises as the law that it stands for."""

    def __init__(self, law: Law, batches: list[Tensor]) -> None:
        self.denoise, self.sigma_data, self.batches = law.denoise, law.sigma_data, iter(batches)

    def sample(self, n: int, generator: object) -> Tensor:
        return next(self.batches)


@pytest.mark.parametrize("target", ["data", "posterior"])
@pytest.mark.usefixtures("double")
def test_the_plain_teacher_trains_the_same_network(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    e = experiment(teacher__iterations=CYCLES, teacher__warmup=2, teacher__target=target, teacher__batch=16)
    law, ours = law_of(e), start_denoiser([e])
    draws = [[t[0].double() for t in step] for step in itertools.islice(teacher._draws(e, [e.seed], law, CPU), CYCLES)]
    network = own(e, ours)
    start = as_row(network)
    for _ in teacher.train_teacher(e, [e.seed], law, ours):
        pass
    shelf: Any = Shelf(law, [x for x, _, _ in draws])
    plain = PlainTeacher(e, shelf, network, torch.Generator())
    levels = iter([sigma for _, sigma, _ in draws])
    monkeypatch.setattr(plain_loop, "karras", lambda u, e: next(levels))
    fed = Fed(monkeypatch, randn_like=[eps for _, _, eps in draws])
    for _ in range(CYCLES):
        plain.step()
    assert fed.nothing_left()
    assert moved(ours.network.flat[0].detach(), start, as_row(network)) < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"student__normaliser": "none"},
        {"student__reduction": "sum"},
        {"fake_score__weight": "uniform"},
        {"student__init": "rotated"},
    ],
)
def test_the_plain_loop_refuses_what_it_would_do_otherwise(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="plain loop knows"):
        loops(experiment(**options))


def test_the_plain_loop_in_bfloat16_is_near_the_one_in_float32() -> None:
    e = experiment(network__kind="mlp")
    x, sigma = torch.randn(2, 9, e.law.dim, generator=torch.Generator().manual_seed(0))[0], torch.ones(9, 1)
    plain = own(e, start_denoiser([e]))
    exact = plain(x, sigma)
    plain.autocast = True
    error = (plain(x, sigma) - exact).abs().max()
    assert plain(x, sigma).dtype == torch.float32
    assert 0 < error < 0.02 * exact.abs().max()
