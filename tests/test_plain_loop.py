"""The peers of the benchmarks do dmdlab's arithmetic: in float64, where steps of Adam do not amplify the last bit."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from small import experiment, law_of, start_denoiser
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_loop import PlainDMD, Preconditioned, denoiser
from dmdlab.config import Experiment, InputError
from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab.trial import tried
from dmdlab.networks import EDMDenoiser
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
            p.copy_(q[0].T if name.endswith("weight") and q.dim() == 3 else q[0].view_as(p))
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


def ours(*members: Experiment) -> Distillation:
    """The loop from untrained networks, a network teacher another one."""
    e, law = members[0], law_of(members[0])
    judge = start_denoiser(members, "teacher") if e.teacher.kind == "network" else law.denoise
    student = Student(start_denoiser(members), [e.noise.sigma_max])
    return Distillation(Group(members), law, judge, student, start_denoiser(members, "fake"))


def plain_of(e: Experiment, loop: Distillation, compiled: bool = False) -> PlainDMD:
    """The plain loop at the same start as member 0."""
    judge = own(e, loop.teacher) if isinstance(loop.teacher, EDMDenoiser) else loop.teacher
    return PlainDMD(e, judge, own(e, loop.student.denoiser), own(e, loop.fake), compiled)


OPTIONS: dict[str, dict[str, object]] = {
    "residual": {},
    "mlp": {"network__kind": "mlp", "network__depth": 3},
    "network teacher": {"network__kind": "mlp", "teacher__kind": "network", "network__depth": 2},
    "own batch": {"fake_score__batches": "separate", "fake_score__updates": 2},
    "tight clipping": {"student__clip": 0.01},
    "no clipping, no warm-up": {"student__clip": 0.0, "student__warmup": 0},
    "cosine": {"student__decay": "cosine", "student__weight_decay": 0.3, "fake_score__learning_rate": 1e-3},
}


def ends_together(e: Experiment, monkeypatch: pytest.MonkeyPatch, compiled: bool = False) -> None:
    """Ours and the plain loop train from the same start and the same numbers to the same end."""
    loop, dealer = ours(e), ours(e)
    plain = plain_of(e, loop, compiled)
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


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.usefixtures("double")
def test_the_plain_loop_trains_the_same_student(options: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    ends_together(experiment(**options), monkeypatch)


@pytest.mark.usefixtures("double")
def test_the_plain_unet_trains_the_same_student(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["law.name=field", "law.side=4", "network.kind=unet", "network.channels=[4, 8]", "network.attention=[4]"]
    words += ["network.time_features=4", "student.batch=4", "student.warmup=0", "fake_score.updates=1"]
    (e,) = load(None, None, words).experiments()
    ends_together(e, monkeypatch)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("double")
def test_the_compiled_plain_loop_trains_the_same_student(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    ends_together(experiment(fake_score__updates=2), monkeypatch, compiled=True)


@pytest.mark.parametrize("over", ["map", "vmap"])
@pytest.mark.usefixtures("double")
def test_the_jax_loop_trains_the_same_students(over: str) -> None:
    jax = pytest.importorskip("jax", reason="JAX, a peer of the benchmarks, is not installed (extra 'bench')")
    from benchmarks.jax_loop import JaxDMD, rows_of

    options = {} if over == "map" else OPTIONS["network teacher"] | OPTIONS["cosine"]
    e = experiment(fake_score__updates=2, **options)
    members = [e, e.model_copy(update={"seed": 1})]
    loop, dealer = ours(*members), ours(*members)
    networks = {"student": loop.student.network, "fake": loop.fake.network}
    starts = {name: network.flat.clone() for name, network in networks.items()}
    draws = [[t.double() for t in next(dealer.draws)] for _ in range(CYCLES)]
    with jax.enable_x64(True):
        given = [jax.numpy.asarray(torch.stack(each, dim=1).numpy()) for each in zip(*draws, strict=True)]
        judge = rows_of(loop.teacher.network) if isinstance(loop.teacher, EDMDenoiser) else None
        student, fake = (rows_of(network) for network in networks.values())
        law = law_of(e)
        theirs = JaxDMD(e, law, student, judge, over, CYCLES // 2, lambda i, at: tuple(t[i, at] for t in given), fake)
        theirs.keys = jax.numpy.arange(len(members))
        losses = [theirs.run() for _ in range(2)]
    for _ in range(CYCLES):
        loop.cycle()
    assert all(each.shape == (2, CYCLES // 2, 2) for each in losses)
    for name, trained in zip(networks, theirs.state, strict=True):
        network = getattr(loop, name).network
        found = jax.device_get(trained.parameters)
        rows = [torch.tensor(found[key]) for key, _ in network.named_parameters()]
        assert moved(network.flat.detach(), starts[name], torch.cat([t.flatten(1) for t in rows], dim=1)) < 1e-6


@pytest.mark.parametrize("kind", ["mlp", "residual"])
@pytest.mark.parametrize("batches", ["shared", "separate"])
def test_the_arithmetic_that_is_counted_is_what_the_plain_loop_does(kind: str, batches: str) -> None:
    options = {"network__kind": kind, "teacher__kind": "network", "fake_score__batches": batches}
    e = experiment(**options, fake_score__updates=3)
    plain = plain_of(e, ours(e))
    with FlopCounterMode(display=False) as counted:
        plain.cycle()
    spared = 0  # the residual network embeds a level that all rows share once, in each call of the student
    if kind == "residual":
        fresh, embedding = (2 if batches == "shared" else 3), 2 * 32 * e.network.parameters["width"]
        spared = embedding * ((2 + fresh) * e.student.batch - 3)  # its first call goes backward, too
    assert counted.get_total_flops() == tried(Group((e,))).cycle_flops + spared


@pytest.mark.parametrize(
    "options",
    [
        {"student__normaliser": "none"},
        {"student__reduction": "sum"},
        {"fake_score__weight": "uniform"},
        {"student__init": "rotated"},
    ],
)
def test_the_peers_refuse_what_they_would_do_otherwise(options: dict[str, object]) -> None:
    e = experiment(**options)
    with pytest.raises(InputError, match="plain loop knows"):
        plain_of(e, ours(e))
