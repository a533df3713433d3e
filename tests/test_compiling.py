"""Compiled training: the same as operator by operator, when it is chosen, what it keeps, and what happens without it.
Traced graphs are run as they stand for every kind of cycle; Inductor's own code for one (more with `-m slow`)."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small import CPU, NEEDS_BF16, TINY, cycle, distillation, experiment, group_of, law_of, parameters, start_denoiser
from test_capture import CASES, ON_CPU, members
from test_laziness import CONVOLUTIONAL
from torch import Tensor

from dmdlab.config import Experiment, InputError, experiment_from
from dmdlab.device import compiling, repeated
from dmdlab.device.compiling import COMPILE_FROM, cache_folder, compiled, traced, way_on, why_not_compiled
from dmdlab.lab.plan import plan
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import sweep
from dmdlab.networks import make_denoiser
from dmdlab.training.distill import Distillation, distillation_from
from dmdlab.training.teacher import train_teacher

able = pytest.mark.skipif(bool(why_not_compiled(CPU)), reason=f"nothing compiles here: {why_not_compiled(CPU)}")


def loop_of(es: Sequence[Experiment], way: Any) -> Distillation:
    return distillation_from(group_of(*es), law_of(es[0]), start_denoiser(es).network.flat, way=way)


def as_traced(function: Callable[..., Any], examples: Sequence[Tensor], changed: int) -> Any:
    """In place of Inductor: the traced graph as it stands."""
    graph, constants = traced(function, examples, changed)

    @torch.no_grad()
    def call(arguments: Sequence[Tensor]) -> None:
        graph(*arguments, *constants)

    return call


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "compiled", as_traced)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of its own for what these tests compile."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("compiled")
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        yield folder


# --- what is traced


def agree(es: list[Experiment], cycles: int, rtol: float, atol: float) -> None:
    plain, fast = distillation(es), loop_of(es, "compiled")
    start = [p.clone() for p in parameters(plain)]
    for _ in range(cycles):
        torch.testing.assert_close(cycle(fast), cycle(plain), rtol=rtol, atol=atol)
    assert fast.way == "compiled"  # and not fallen back
    for a, b, before in zip(parameters(fast), parameters(plain), start, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)
        assert not torch.equal(a, before)


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize(
    ("case", "teacher"),
    # not bfloat16 with a network: teacher and fake score start as one, and their difference is rounding alone
    [
        pytest.param(case, teacher, marks=NEEDS_BF16 if case == "bfloat16" else [])
        for case in CASES
        for teacher in ("exact", "network")
        if (case, teacher) != ("bfloat16", "network")
    ],
)
def test_a_traced_cycle_is_the_eager_one(case: str, teacher: str) -> None:
    rtol, atol = (3e-2, 1e-3) if case == "bfloat16" else (1e-4, 1e-5)
    agree(members(**CASES[case], teacher__kind=teacher), 6, rtol, atol)


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize("target", ["data", "posterior"])
def test_a_traced_teacher_is_the_eager_one(target: str) -> None:
    e = experiment(teacher__iterations=20, teacher__batch=16, teacher__target=target)
    ends = []
    for way in ("eager", "compiled"):
        denoiser = make_denoiser(2, law_of(e), e.network)
        losses = [s.loss for s in train_teacher(e, [0, 1], law_of(e), denoiser, 7, way)]  # type: ignore[arg-type]
        ends.append((denoiser.network.flat.detach(), torch.stack(losses)))
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("tracing")
@pytest.mark.long
@pytest.mark.parametrize("teacher", ["network", pytest.param("exact", marks=pytest.mark.slow)])
def test_a_member_is_the_same_to_the_last_bit_whoever_trains_beside_it(teacher: str) -> None:
    es = members(teacher__kind=teacher)
    together = loop_of(es, "compiled")
    numbers = [cycle(together) for _ in range(8)]
    rows = start_denoiser(es).network.flat
    for i, e in enumerate(es):
        alone = distillation_from(group_of(e), law_of(e), rows[i : i + 1], way="compiled")
        for expected in numbers:
            assert torch.equal(cycle(alone)[:, 0], expected[:, i])
        for a, b in zip(parameters(alone), parameters(together), strict=True):
            assert torch.equal(a[0], b[i])


def test_a_graph_holds_no_value_of_a_law_or_a_seed() -> None:
    """Else every seed's law would be compiled anew."""
    graphs = []
    for seed in (0, 1):
        es = [experiment(seed=seed, law__seed=seed)]
        loop = loop_of(es, "compiled")

        def keep(function: Callable[..., Any], examples: Sequence[Tensor], changed: int) -> Any:
            graphs.append(traced(function, examples, changed))
            return as_traced(function, examples, changed)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(repeated, "compiled", keep)
            loop.cycle()
    (one, ones), (two, twos) = graphs
    assert one.code == two.code
    assert not any(node.op == "get_attr" for node in one.graph.nodes)
    assert any(not torch.equal(a, b) for a, b in zip(ones, twos, strict=True))


# --- Inductor's own code


@pytest.fixture(scope="module")
def fast(cache: Path) -> Distillation:
    """Compiled by Inductor, after 50 cycles."""
    loop = loop_of(LONG, "compiled")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(50):
            loop.cycle()
    return loop


LONG = members(student__weight_decay=0.1, fake_score__updates=1, student__learning_rate=1e-4)


@pytest.mark.long
@able
def test_inductors_code_is_eager_over_fifty_cycles_resumes_and_is_kept(
    fast: Distillation, cache: Path, tmp_path: Path
) -> None:
    """One test, so that one process compiles: the agreement, a state that goes from one way to the other and back, and
    a second process that finds all of it compiled."""
    compiled_is_eager_over_fifty_cycles(fast)
    a_state_saved_by_one_way_is_resumed_by_the_other(fast)
    a_second_process_compiles_nothing(cache, tmp_path)


def compiled_is_eager_over_fifty_cycles(fast: Distillation) -> None:
    plain = distillation(LONG)
    for _ in range(50):
        plain.cycle()
    for a, b in zip(parameters(fast), parameters(plain), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def a_state_saved_by_one_way_is_resumed_by_the_other(fast: Distillation) -> None:
    other = distillation(LONG)
    for one, two in ((fast, other), (other, fast)):
        one.report()
        two.restore({name: tensor.clone() for name, tensor in one.state().items()})
        for _ in range(3):
            torch.testing.assert_close(cycle(two), cycle(one), rtol=1e-4, atol=1e-5)


AGAIN = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from test_compiling import LONG, loop_of
from small import parameters
from torch._dynamo.utils import counters
torch.set_num_threads(1)
loop = loop_of(LONG[:1], "compiled")
for _ in range(3):
    loop.cycle()
assert loop.way == "compiled"
print(counters["inductor"]["fxgraph_cache_hit"], counters["inductor"]["fxgraph_cache_miss"])
torch.save(parameters(loop), sys.argv[2])
"""


def a_second_process_compiles_nothing(cache: Path, tmp_path: Path) -> None:
    built = set(cache.rglob("*.so"))
    assert built
    command = [sys.executable, "-W", "ignore", "-c", AGAIN, str(Path(__file__).parent), str(tmp_path / "found.pt")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "0"]
    assert set(cache.rglob("*.so")) == built
    here = loop_of(LONG[:1], "compiled")
    for _ in range(3):
        here.cycle()
    for a, b in zip(torch.load(tmp_path / "found.pt"), parameters(here), strict=True):
        assert torch.equal(a, b)


@able
@pytest.mark.slow
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("case", ON_CPU)
def test_inductors_code_is_the_eager_cycle(case: str) -> None:
    rtol, atol = (3e-2, 1e-3) if case == "bfloat16" else (1e-3, 1e-5)
    agree(members(**CASES[case], teacher__kind="exact" if case == "bfloat16" else "network"), 8, rtol, atol)


# --- when


def test_the_rule_goes_by_the_length_and_the_kind_of_network() -> None:
    assert way_on(CPU, COMPILE_FROM - 1) == "recorded"
    assert way_on(CPU, COMPILE_FROM - 1, "compiled") == ("recorded" if why_not_compiled(CPU) else "compiled")
    assert way_on(CPU, COMPILE_FROM, "eager") == "eager"
    assert way_on(torch.device("cuda"), 1) == "graph"
    k = experiment().fake_score.updates
    long, short = (experiment(student__iterations=n) for n in (COMPILE_FROM, COMPILE_FROM // (1 + k)))
    for es in ([long], [long] * 3):
        assert distillation(es).way == way_on(CPU, COMPILE_FROM)
    assert distillation([short]).way == "recorded"
    unet = experiment_from(CONVOLUTIONAL | {"student.iterations": COMPILE_FROM})
    assert distillation([unet]).way == "recorded"
    assert not any("compiled" in sentence for sentence in plan([unet], CPU).decisions)


def test_where_no_compiler_is_it_is_said_and_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.warns(UserWarning, match=r"without compiling, which is slower: there is no C\+\+ compiler"):
        assert way_on(CPU, COMPILE_FROM) == "recorded"
    with pytest.raises(InputError, match=r"cannot be compiled on cpu: there is no C\+\+ compiler.*leave out --compile"):
        way_on(CPU, 1, "compiled")
    with pytest.raises(InputError, match=r"no C\+\+ compiler"):
        plan([experiment()], CPU, way="compiled")
    planned = plan([experiment(teacher__iterations=COMPILE_FROM)], CPU)  # says it once, and workers need not
    assert planned.way == "recorded"
    assert any("Nothing is compiled" in sentence and "C++ compiler" in sentence for sentence in planned.decisions)


@pytest.mark.parametrize("name", ["TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"])
def test_torchs_own_switches_are_heeded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert why_not_compiled(CPU) == f"{name} is 1"


def test_a_cache_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(InputError, match=r"file/below that compiled code is kept in.*set TORCHINDUCTOR_CACHE_DIR"):
        way_on(CPU, 1, "compiled")


def test_what_is_compiled_is_kept_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / "dmdlab" / "compiled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder().parent == Path("/home/someone/.cache/dmdlab/compiled")


def test_code_that_will_not_compile_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> object:
        raise RuntimeError("error: expected ';'")

    monkeypatch.setattr(repeated, "compiled", broken)
    plain, fast = distillation(members()), loop_of(members(), "compiled")
    with pytest.warns(UserWarning, match="without compiling, which is slower: error: expected ';'"):
        found = cycle(fast)
    assert fast.way == "recorded"
    torch.testing.assert_close(found, cycle(plain), rtol=1e-4, atol=1e-6)


def test_what_closes_over_a_tensor_is_compiled_for_any_value(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Inductor is given: the closed-over tensors as inputs."""
    given: list[Any] = []

    def compile_(graph: Any, inputs: list[Tensor], options: object) -> Any:
        given.extend(inputs)
        return graph

    monkeypatch.setattr("torch._inductor.compile", compile_)
    weight, state = torch.full((2,), 3.0), torch.ones(1, 2)
    call = compiled(lambda x, y: [x * weight + y], [state, torch.ones(1, 2)], 1)
    call([state, torch.ones(1, 2)])
    assert state.tolist() == [[4.0, 4.0]]
    assert any(t is weight for t in given)


# --- through the lab and the command line


@pytest.mark.usefixtures("tracing")
def test_a_plan_says_what_is_compiled_and_a_record_how_it_was_trained(
    tmp_path: Path, dmdlab: Callable[..., tuple[int, str, str]]
) -> None:
    from small import experiments

    wanted = experiments("seed=[0, 1]")
    planned = plan(wanted, CPU, way="compiled" if not why_not_compiled(CPU) else None)
    if not why_not_compiled(CPU):
        assert any("1 of 1 shape of runs: compiled, as asked" in sentence for sentence in planned.decisions)
        assert planned.parts[0].bytes > plan(wanted, CPU).parts[0].bytes + 2**29
    store = Store(tmp_path)
    for _ in sweep(planned, store):
        pass
    ways = store.record(wanted[0]).environment["ways"]
    assert ways == dict.fromkeys(("teacher", "distillation"), way_on(CPU, 1, planned.way))


def test_eager_and_compiled_at_once_are_refused(dmdlab: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = dmdlab("run", "--preset", "smoke", *TINY, "--eager", "--compile", "--out", tmp_path / "out")
    assert code == 2
    assert "give one of them" in err
    assert not (tmp_path / "out").exists()
