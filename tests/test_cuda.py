"""The graph path on a real GPU: `python -m pytest -m cuda`."""

import copy
from functools import partial
from pathlib import Path

import pytest
import terms
import torch
from small import cycle, experiment, experiments, group_of, law_of, parameters, start_denoiser
from test_capture import CASES, members
from test_growth import Kept
from test_laws import INSTANCES
from test_laziness import CONVOLUTIONAL
from torch import Tensor

from dmdlab.config import Experiment, experiment_from
from dmdlab.device.capture import WARM_UP, Replayed
from dmdlab.device.compiling import Way, why_not_compiled
from dmdlab.lab.run import DISTILLING, Progress, run_group
from dmdlab.lab.store import Store
from dmdlab.laws import Law
from dmdlab.networks import make_denoiser
from dmdlab.training.distill import Distillation, distillation_from
from dmdlab.training.teacher import train_teacher
from dmdlab.training.turn import Turn

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.filterwarnings("ignore"),  # Inductor's, of torch about itself
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
GPU = torch.device("cuda")
KINDS: dict[str, dict[str, object]] = {"residual": {"network.width": 16, "network.depth": 1}, "unet": CONVOLUTIONAL}


def on_gpu(es: list[Experiment], way: Way) -> Distillation:
    """`small.distillation` there."""
    law = law_of(es[0]).to(GPU)
    return distillation_from(group_of(*es), law, start_denoiser(es).network.flat, GPU, way)


@pytest.mark.parametrize(
    ("way", "precision"), [("graph", "float32"), ("graph", "tf32"), ("graph", "bf16"), ("compiled", "float32")]
)
@pytest.mark.parametrize("case", CASES)
def test_every_way_agrees_with_eager_member_by_member(case: str, way: Way, precision: str) -> None:
    settings = CASES[case] | {"network__precision": precision}
    eager, other = on_gpu(members(**settings), "eager"), on_gpu(members(**settings), way)
    for _ in range(12):
        torch.testing.assert_close(cycle(other), cycle(eager), rtol=1e-3, atol=1e-5)
    for a, b in zip(parameters(eager), parameters(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert other.way == way


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("case", [case for case in CASES if case != "bfloat16"])
def test_products_of_few_bits_are_as_near_to_float32_as_they_round(case: str, precision: str) -> None:
    """Compiled ones round at other places than eager ones, so that the two agree only as well as each with float32."""
    few = CASES[case] | {"network__precision": precision}
    exact = on_gpu(members(**(few | {"network__precision": "float32"})), "eager")
    eager, compiled, start = on_gpu(members(**few), "eager"), on_gpu(members(**few), "compiled"), parameters(exact)
    for loop in (exact, eager, compiled):
        for _ in range(12):
            loop.cycle()
    there, rounding = parameters(exact), {"tf32": 2**-11, "bf16": 2**-9}[precision]
    for loop in (eager, compiled):
        for own, end, begin in zip(parameters(loop), there, start, strict=True):
            off = (own - end).norm() / (end - begin).norm()
            assert 0 < off < 8 * rounding, (loop.way, off)


@pytest.mark.parametrize("members", [1, 3])
def test_a_unet_outside_training_is_in_full_precision(members: int) -> None:
    """What it maps, its gradient by parameters and its derivative by the noise, as measures take them."""
    e = experiment_from(CONVOLUTIONAL)
    law, found = law_of(e), []
    g = torch.Generator().manual_seed(0)
    network = make_denoiser(members, law, e.network).network.initialise([g] * members)
    x, c = torch.randn(members, 16, law.dim, generator=g), torch.randn(members, 16, 1, generator=g)
    for device in (torch.device("cpu"), GPU):
        network, x, c = network.to_device(device), x.to(device), c.to(device)
        out, slope = torch.func.jvp(partial(network, c_noise=c), (x,), (x.roll(1, dims=2),))
        own = torch.autograd.grad(network(x, c).square().sum(), list(network.parameters()))
        found.append([tensor.detach().cpu() for tensor in (out, slope, *own)])
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() <= 1e-5 * a.norm()
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("way", ["graph", "compiled"])
def test_every_way_agrees_with_eager_on_all_terms_of_the_loss(way: Way) -> None:
    es = terms.members(terms.ALL | {"network.precision": "float32"})
    eager, other = on_gpu(es, "eager"), on_gpu(es, way)
    for a, b in zip(terms.after(eager, 12), terms.after(other, 12), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert other.way == way


@pytest.mark.parametrize("law", INSTANCES, ids=lambda law: f"{law.name}-{law.dim}")
def test_every_exact_denoiser_can_be_captured(law: Law) -> None:
    moved, out = copy.deepcopy(law).to(GPU), torch.zeros(2, 7, law.dim, device=GPU)
    replay = Replayed(lambda x, sigma: out.copy_(moved.denoise(x, sigma)), graph=True)
    for i in range(WARM_UP + 3):
        x, sigma = torch.randn_like(out) * (i + 1), torch.rand(2, 7, 1, device=GPU) + 0.1
        replay(x, sigma)
        torch.testing.assert_close(out, moved.denoise(x, sigma))


@pytest.mark.parametrize("dim", [3, 64, 256, 3072])
def test_a_turn_can_be_captured(dim: int) -> None:
    turn, out = Turn([0, 1], [True, False], dim), torch.zeros(2, 7, dim, device=GPU)
    moved = copy.deepcopy(turn).to(GPU)
    replay = Replayed(lambda z: out.copy_(moved(z)), graph=True)
    for _ in range(WARM_UP + 3):
        z = torch.randn(2, 7, dim)
        replay(z.to(GPU))
        torch.testing.assert_close(out.cpu(), turn(z), rtol=1e-4, atol=1e-4)


def test_training_can_be_compiled_here() -> None:
    assert not why_not_compiled(GPU)


def test_a_state_goes_from_one_way_to_another() -> None:
    loops = {way: on_gpu(members(), way) for way in ("eager", "graph", "compiled")}
    for way, loop in loops.items():
        for _ in range(4):
            loop.cycle()
        for other in loops.values():
            other.restore({name: tensor.clone() for name, tensor in loop.state().items()})
        found = {name: cycle(other) for name, other in loops.items()}
        for name in loops:
            torch.testing.assert_close(found[name], found[way], rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_device_that_is_not_the_current_one_trains_too() -> None:
    other = torch.device("cuda:1")
    state = torch.zeros(1, device=other)
    replay = Replayed(state.add_, graph=True)
    for i in range(10):
        replay(torch.tensor([float(i)], device=other))
    assert state.item() == sum(range(10))


def test_a_teacher_learns_the_same_every_way() -> None:
    e = experiment(teacher__iterations=60, teacher__batch=16, teacher__target="posterior")
    law, ends = law_of(e).to(GPU), []
    for way in ("eager", "graph", "compiled"):
        denoiser = make_denoiser(2, law, e.network, GPU)
        list(train_teacher(e, [0, 1], law, denoiser, way=way))
        ends.append(denoiser.network.flat.detach())
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("kind", ["residual", "unet"])
@pytest.mark.parametrize("way", ["eager", "graph"])
def test_a_teacher_goes_on_from_the_middle_bit_for_bit(way: str, kind: str) -> None:
    """Its streams and its captured graph included; what is kept travels by the CPU."""
    e = experiment_from(KINDS[kind] | {"teacher.iterations": 60, "teacher.batch": 16, "teacher.ema": 0.9})
    law, ends, kept = law_of(e).to(GPU), [], None
    for _ in range(2):
        denoiser = make_denoiser(2, law, e.network, GPU)
        for step in train_teacher(e, [0, 1], law, denoiser, 30, way, kept=kept):  # type: ignore[arg-type]
            if step.iteration == 30:
                kept = {name: tensor.cpu().clone() for name, tensor in step.state().items()}
        ends.append(denoiser.network.flat.detach().clone())
    assert torch.equal(*ends)


def test_a_failure_stays_with_its_member() -> None:
    sick, healthy = (on_gpu(members(), "graph") for _ in range(2))
    for count in range(10):
        if count == 6:
            sick.trained["student"].parameters[1, 0] = torch.nan
        sick.cycle()
        healthy.cycle()
    assert sick.failed_at.tolist() == [-1, 7 * sick.score.updates, -1]
    for a, b in zip(parameters(sick), parameters(healthy), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])


def test_interrupted_training_goes_on(tmp_path: Path) -> None:
    group = group_of(*experiments("seed={start=0, stop=2}", "student.iterations=60"))

    def ends(store: Store) -> list[dict[str, Tensor]]:
        return [event.weights for event in run_group(group, store, GPU) if not isinstance(event, Progress)]

    straight = ends(Store(tmp_path / "straight"))
    for event in run_group(group, Kept(tmp_path / "broken"), GPU):
        if isinstance(event, Progress) and event.stage == DISTILLING and event.done >= 30:
            break
    assert Store(tmp_path / "broken").has_checkpoints()
    for a, b in zip(ends(Store(tmp_path / "broken")), straight, strict=True):
        assert b
        for name in b:
            torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)
