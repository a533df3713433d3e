"""The graph path without a GPU: a recorded cycle replayed against the eager one, and the rules a capture imposes."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from recorder import Recording, pretend, tensors
from small import NEEDS_BF16, cycle, distillation, experiment, group_of, law_of, parameters, start_denoiser
from test_laws import INSTANCES
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from dmdlab.config import Experiment
from dmdlab.device.capture import WARM_UP, Replayed
from dmdlab.laws import Law
from dmdlab.networks import ensemble, make_denoiser
from dmdlab.networks.ensemble import aligned_product, product
from dmdlab.training import distill
from dmdlab.training.distill import Distillation, distillation_from
from dmdlab.training.optimiser import EnsembleAdamW
from dmdlab.training.student import Student
from dmdlab.training.teacher import train_teacher
from dmdlab.training.turn import Turn

CASES: dict[str, dict[str, object]] = {
    "as DMD2": {},
    "FastGen, cosine": {
        "fake_score__updates": 2,
        "fake_score__batches": "separate",
        "fake_score__weight": "uniform",
        "student__decay": "cosine",
        "student__normaliser": "batch",
        "student__iterations": 40,
    },
    "the paper's network, tight clipping": {"network__kind": "mlp", "student__clip": 0.01, "fake_score__updates": 1},
    "bfloat16": {"network__precision": "bf16"},
}
ON_CPU = [pytest.param(case, marks=NEEDS_BF16 if case == "bfloat16" else []) for case in CASES]


def members(**settings: object) -> list[Experiment]:
    """Three members with rates and starts of their own."""
    return [
        experiment(seed=0, **settings),
        experiment(seed=1, student__init="rotated", **settings),
        experiment(seed=2, **(settings | {"student__learning_rate": 1e-3, "fake_score__learning_rate": 4e-3})),
    ]


def replayed(es: list[Experiment]) -> Distillation:
    return distillation_from(group_of(*es), law_of(es[0]), start_denoiser(es).network.flat, way="graph")


def by_formula(loop: Distillation) -> Distillation:
    """An eager loop whose optimisers go by the formula, as a captured one's do, and not by torch's kernel."""
    for optimiser in loop.optimisers.values():
        optimiser.in_place = False
    return loop


# --- graph against eager


@pytest.mark.parametrize("case", ON_CPU)
def test_a_replayed_cycle_is_the_eager_one_member_by_member(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the end of a warm-up, a cosine's descent and several blocks of random numbers; bit for bit on a CPU."""
    graphs = pretend(monkeypatch)
    eager, graph = by_formula(distillation(members(**CASES[case]))), replayed(members(**CASES[case]))
    for count in range(1, 21):
        expected, found = cycle(eager), cycle(graph)
        assert torch.equal(found, expected), count
        assert found.isfinite().all()
        for a, b in zip(parameters(eager), parameters(graph), strict=True):
            assert torch.equal(a, b), count
    assert [g.replays for g in graphs] == [20 - WARM_UP]
    assert graph.trained["fake"].counts.tolist() == [20 * graph.score.updates] * 3


def test_whoever_owns_a_step_does_not_keep_its_graph_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    replay = Replayed(torch.zeros(1).add_, graph=True)
    for _ in range(WARM_UP + 1):
        assert replay.step is not None
        replay(torch.ones(1))
    assert replay.captured is not None
    assert replay.step is None


def test_a_failure_inside_a_graph_is_dated_and_stays_with_its_member(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    eager, healthy = (by_formula(distillation(members())) for _ in range(2))
    loops = {"eager": eager, "graph": replayed(members()), "healthy": healthy}
    for count in range(1, 11):
        if count == 7:  # long after the capture
            for name in ("eager", "graph"):
                loops[name].trained["student"].parameters[1, 0] = torch.nan
        for loop in loops.values():
            loop.cycle()
    first = 7 * loops["graph"].score.updates
    assert loops["graph"].failed_at.tolist() == loops["eager"].failed_at.tolist() == [-1, first, -1]
    for a, b in zip(parameters(loops["graph"]), parameters(loops["healthy"]), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])
        assert not torch.equal(a[1], b[1])


@pytest.mark.parametrize("target", ["data", "posterior"])
def test_a_replayed_teacher_is_the_eager_one(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = pretend(monkeypatch)
    e = experiment(teacher__iterations=70, teacher__batch=16, teacher__target=target, teacher__warmup=20)
    monkeypatch.setattr(EnsembleAdamW, "__setattr__", never_in_place)
    ends, losses = [], []
    for way in ("eager", "graph"):
        denoiser = make_denoiser(2, law_of(e), e.network)
        losses.append([s.loss for s in train_teacher(e, [0, 1], law_of(e), denoiser, report_every=30, way=way)])
        ends.append(denoiser.network.flat.detach())
    assert torch.equal(*ends)
    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))
    assert len(losses[1]) == 3
    assert [g.replays for g in graphs] == [70 - WARM_UP]


def never_in_place(self: EnsembleAdamW, name: str, value: object) -> None:
    object.__setattr__(self, name, False if name == "in_place" else value)


# --- does the emulation see the errors that it is there for?


def run(step: Callable[[Tensor], object], state: Tensor) -> Tensor:
    replay = Replayed(step, graph=True)
    for i in range(10):
        replay(torch.tensor([float(i)]))
    return state


def test_an_honest_step_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    state = torch.zeros(1)
    assert run(state.add_, state) == sum(range(10))


def test_a_number_kept_in_python_is_baked_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    state, count = torch.zeros(1), [0]

    def step(x: Tensor) -> None:
        count[0] += 1
        state.add_(count[0])

    assert run(step, state) != sum(range(1, 11))


def test_a_value_asked_of_the_device_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    state = torch.zeros(1)
    with pytest.raises(RuntimeError, match="asked the device"):
        run(lambda x: state.add_(x.item()), state)


def test_a_recording_leaves_no_trace() -> None:
    state, recording = torch.ones(3), Recording()
    with recording:
        state.mul_(2).add_(1)
    recording.undo()
    assert torch.equal(state, torch.ones(3))
    recording.replay()
    assert torch.equal(state, torch.full((3,), 3.0))


# --- nothing in a cycle touches the host


class FromHost(TorchFunctionMode):
    """No tensor is made on the host and copied over."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        assert func not in (torch.tensor, torch.as_tensor, torch.from_numpy), f"{func} makes a tensor on the host"
        return func(*args, **(kwargs or {}))


class Elsewhere(TorchDispatchMode):
    """Every tensor of every operator lives on the device 'meta', which holds no values to ask for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tensors((args, kwargs, out)):
            assert tensor.device.type == "meta", f"{func} touches a host tensor of shape {tuple(tensor.shape)}"
        return out


@contextmanager
def on_device() -> Iterator[None]:
    with FromHost(), Elsewhere():
        yield


META = torch.device("meta")


@pytest.fixture
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """'meta' has no autocast."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())


@pytest.mark.usefixtures("no_autocast")
@pytest.mark.parametrize("law", INSTANCES, ids=lambda law: f"{law.name}-{law.dim}")
def test_exact_denoisers_stay_on_the_device(law: Law) -> None:
    moved = copy.deepcopy(law).to(META)
    with on_device():
        for sigma in (3.0, torch.ones(2, 5, 1, device=META)):
            assert moved.denoise(torch.ones(2, 5, law.dim, device=META), sigma).shape == (2, 5, law.dim)


@pytest.mark.usefixtures("no_autocast")
@pytest.mark.parametrize("kind", ["mlp", "residual"])
@pytest.mark.parametrize("normaliser", ["sample", "floored", "batch", "none"])
def test_a_cycle_stays_on_the_device(kind: str, normaliser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "streams", lambda *names, device: [])  # the host's business, outside the graph
    e = experiment(network__kind=kind, student__normaliser=normaliser)
    law = law_of(e).to(META)
    networks = [make_denoiser(2, law, e.network, META) for _ in range(2)]
    student = Student(networks[0], [80.0], Turn([0, 1], [True, False], 4).to(META))
    loop = Distillation(group_of(e, e), law, law.denoise, student, networks[1])
    drawn: Any = iter([tuple(torch.empty(2, m, 32, c, device=META) for m, c in ((5, 4), (6, 1), (6, 4)))])
    loop.draws = drawn
    with on_device():
        loop.cycle()


@pytest.mark.usefixtures("no_autocast")
def test_a_cycle_of_several_steps_stays_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distill, "streams", lambda *names, device: [])
    e = experiment(student__steps=3)
    law = law_of(e).to(META)
    networks = [make_denoiser(2, law, e.network, META) for _ in range(2)]
    student = Student(networks[0], [80.0, 10.0, 1.0])
    loop = Distillation(group_of(e, e), law, law.denoise, student, networks[1])
    shapes = ((5, 32, 4), (6, 32, 1), (6, 32, 4), (5, 32, 4), (5, 32, 4))
    step = torch.empty(2, 5, dtype=torch.int64, device=META)
    drawn: Any = iter([(*(torch.empty(2, *shape, device=META) for shape in shapes), step)])
    loop.draws = drawn
    with on_device():
        loop.cycle()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x + torch.as_tensor(3.0, device=META),
        lambda x: x + torch.tensor([3.0], device=META),
        lambda x: x * torch.ones(()),
    ],
)
def test_a_visit_to_the_host_is_seen(wrong: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(AssertionError, match="host"), on_device():
        wrong(torch.ones(3, device=META))


# --- padding, on CPU copies of what a GPU does


@pytest.mark.parametrize(("inner", "outer"), [(34, 2), (8, 8), (7, 16), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_padded_products_are_the_products(inner: int, outer: int, bias: bool) -> None:
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(3, 6, inner, generator=g), torch.randn(3, inner, outer, generator=g)
    b = torch.randn(3, 1, outer, generator=g) if bias else None
    given = [t.requires_grad_() for t in (x, weight, b) if t is not None]
    found, expected = aligned_product(x, weight, b), product(x, weight, b)
    torch.testing.assert_close(found, expected)
    for a, c in zip(*(torch.autograd.grad(y.square().sum(), given) for y in (found, expected)), strict=True):
        torch.testing.assert_close(a, c, rtol=1e-4, atol=1e-4)


def test_a_products_padded_sizes_are_multiples_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def watched(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.extend((x.shape[-1], *weight.shape[1:], *([] if bias is None else [bias.shape[-1]])))
        return product(x, weight, bias)

    monkeypatch.setattr(ensemble, "product", watched)
    out = aligned_product(torch.ones(1, 4, 34), torch.ones(1, 34, 2), torch.ones(1, 1, 2))
    assert seen == [40, 40, 8, 8]
    assert torch.equal(out, torch.full((1, 4, 2), 35.0))
