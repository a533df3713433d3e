"""Fused steps against plain ones on a CPU: by default traced and run as they are, with Inductor's own code when asked
(`-m slow`; needs a C++ compiler)."""

from typing import Any

import pytest
import torch
from small import CPU, cycle, distillation, experiment, law_of, parameters, start_denoiser
from test_capture import members
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.device import fusing
from dmdlab.device.fusing import fused, graph_and_fusing, is_fusing
from dmdlab.device.precision import supports
from dmdlab.networks import Ensemble, make_denoiser
from dmdlab.training import optimiser
from dmdlab.training.distill import Distillation
from dmdlab.training.optimiser import EnsembleAdamW
from dmdlab.training.teacher import train_teacher


class Traced:
    """A backend that runs what was traced as it is, and remembers what came in. One for all tests, as in a process."""

    def __init__(self) -> None:
        self.inputs: list[list[Any]] = []
        self.runs = 0

    def __call__(self, module: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        found = [node.meta["example_value"] for node in module.graph.nodes if node.op == "placeholder"]
        self.inputs.append(found)

        def run(*args: Any) -> Any:
            self.runs += 1
            return module.forward(*args)

        return run


TRACED = Traced()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Traced:
    monkeypatch.setattr(fusing, "BACKEND", TRACED)
    return TRACED


def fusing_distillation(es: list[Experiment]) -> Distillation:
    loop = distillation(es)
    loop.fuse = True
    return loop


def agree(es: list[Experiment], cycles: int) -> None:
    plain, fast = distillation(es), fusing_distillation(es)
    start = [p.clone() for p in parameters(plain)]
    for _ in range(cycles):
        torch.testing.assert_close(cycle(fast), cycle(plain), rtol=1e-4, atol=1e-6)
    for a, b, before in zip(parameters(plain), parameters(fast), start, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
        assert not torch.equal(a, before)


@pytest.mark.parametrize("kind", ["residual", "mlp"])
def test_a_fused_cycle_is_the_plain_one_member_by_member(kind: str, traced: Traced) -> None:
    before = traced.runs
    agree(members(network__kind=kind, student__weight_decay=0.1, fake_score__updates=2), 8)
    assert traced.runs - before == 8 * (2 + 1 + 2 + 3)  # student's and its score's calls, the rest's, steps of both


def test_what_is_compiled_serves_every_size(traced: Traced) -> None:
    """Ensembles of other members, dimensions, widths and batches; the last but one has sizes in common. The first four
    are of four kinds: one member or several, rows of parameters with and without an unused end."""
    counts, kinds = [], ((3, 4, 16, 32), (2, 8, 24, 20), (1, 4, 16, 32), (1, 8, 24, 20))
    for e, d, width, n in (*kinds, (5, 6, 40, 48), (6, 6, 16, 16), (1, 6, 40, 48)):
        es = [experiment(seed=i, law__dim=d, network__width=width, student__batch=n) for i in range(e)]
        cycle(fusing_distillation(es))
        counts.append(len(traced.inputs))
    assert counts[3] == counts[-1]


def test_no_number_of_the_host_goes_into_a_compiled_step(traced: Traced) -> None:
    """A size may; a float would come as a tensor in the host's memory."""
    cycle(fusing_distillation(members(student__weight_decay=0.1)))
    for given in (value for inputs in traced.inputs for value in inputs):
        if isinstance(given, Tensor):
            assert given.dim() or given.dtype == torch.float64, given  # sigma_data, which is on the device
        else:
            assert isinstance(given, torch.SymInt | int)


def test_a_fused_teacher_is_the_plain_one(traced: Traced) -> None:
    e, ends, before = experiment(teacher__iterations=20, teacher__batch=16), [], traced.runs
    for fuse in (False, True):
        denoiser = make_denoiser(2, law_of(e), e.network)
        list(train_teacher(e, [0, 1], law_of(e), denoiser, fuse=fuse))
        ends.append(denoiser.network.flat.detach())
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-5)
    assert traced.runs - before == 20 * 2


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_the_fused_optimiser_is_torchs(clip: float) -> None:
    """Two learning rates, decay, clipping that bites, over a warm-up; the formula itself, not compiled."""
    nets = [start_denoiser(members()).network for _ in range(2)]
    ways = [EnsembleAdamW(n, [1e-3, 4e-3, 1e-3], total=20, weight_decay=0.1, clip=clip, warmup=5) for n in nets]
    g = torch.Generator().manual_seed(0)
    x, level = torch.randn(3, 8, 4, generator=g), torch.rand(3, 8, 1, generator=g)
    for _ in range(12):
        norms = [
            _step(net, way, x, level, formula) for net, way, formula in zip(nets, ways, (False, True), strict=True)
        ]
        torch.testing.assert_close(*norms, rtol=1e-4, atol=0)
    torch.testing.assert_close(nets[1].flat, nets[0].flat, rtol=1e-5, atol=1e-6)
    for name, state in ways[0].state().items():
        torch.testing.assert_close(ways[1].state()[name], state, rtol=1e-4, atol=1e-4 * float(state.abs().max()))


def _step(net: Ensemble, way: EnsembleAdamW, x: Tensor, level: Tensor, formula: bool) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimiser, "is_fusing", lambda: formula)
        return way.step(net(x, level).square().mean(dim=(1, 2)))


# --- when


def test_a_cpu_neither_replays_nor_fuses_unless_asked() -> None:
    assert graph_and_fusing(CPU, None, None) == (False, False)
    assert graph_and_fusing(CPU, True, None) == (True, False)
    assert graph_and_fusing(CPU, False, True) == (False, True)


def test_a_gpu_does_both_where_kernels_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    for able in (True, False):
        monkeypatch.setattr(fusing, "can_fuse", lambda device, able=able: able)
        assert graph_and_fusing(gpu, None, None) == (True, able)
        assert graph_and_fusing(gpu, False, None) == (False, False)


def test_without_a_compiler_it_is_said_and_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: object, inputs: object) -> object:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(fusing, "BACKEND", broken)
    fusing.why_not_fused.cache_clear()
    with pytest.warns(UserWarning, match="without fused kernels.*Failed to find C compiler"):
        assert not fusing.can_fuse(CPU)
    fusing.why_not_fused.cache_clear()
    assert not is_fusing()


def test_torchs_own_switch_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    fusing.why_not_fused.cache_clear()
    assert fusing.why_not_fused(CPU) == "TORCH_COMPILE_DISABLE is 1"
    fusing.why_not_fused.cache_clear()


def test_a_marked_function_is_itself_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *args, **options: lambda x: -x)
    double = fused(lambda x: 2 * x)
    assert double(3) == 6
    with fusing.fusing(True):
        assert double(3) == -3
        with fusing.fusing(False):
            assert double(3) == 6
    assert double(3) == 6


# --- Inductor's own code


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch about itself
@pytest.mark.parametrize("kind", ["residual", "mlp"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_inductors_code_is_the_plain_cycle(kind: str, precision: str) -> None:
    if precision == "bf16":
        if not supports(CPU, "bf16"):
            pytest.skip("this CPU has no bfloat16")
        es = members(network__kind=kind, network__precision=precision)
        plain, fast = distillation(es), fusing_distillation(es)
        for _ in range(4):
            torch.testing.assert_close(cycle(fast), cycle(plain), rtol=3e-2, atol=1e-3)
    else:
        agree(members(network__kind=kind, student__weight_decay=0.1), 8)
    assert fusing.can_fuse(CPU)
