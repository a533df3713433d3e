"""`dmdlab profile`: every operator has a kind, nothing of a cycle's time is lost, and what is slow shows up as slow."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small import CPU, TINY, experiment
from torch import Tensor
from torch.autograd import DeviceType
from typer.testing import CliRunner, Result

from benchmarks import operator_kinds as kinds
from benchmarks.operator_kinds import (
    ACTIVATION,
    COPIES,
    ELEMENTWISE,
    FUSED,
    MATRIX,
    NAMES,
    NOISE,
    OPTIMISER,
    OVERHEAD,
    UNSORTED,
    kind_of,
)
from dmdlab.cli.machine import app
from dmdlab.config import InputError, experiment_from
from dmdlab.device.precision import supports
from dmdlab.lab import profile
from dmdlab.lab.cost import cycle_flops, teacher_flops
from dmdlab.lab.profile import Profile, Work
from dmdlab.laws import LAWS
from dmdlab.networks import NETWORKS
from dmdlab.training.distill import Distillation
from dmdlab.training.teacher import ensemble_of

SMALL = {"law__dim": 3, "law__components": 2, "student__batch": 8, "teacher__batch": 8, "network__width": 8}


def profiled(work: Work, cycles: int = 2) -> Profile:
    return profile.profile(work, cycles, limit_s=0.0)


def work_of(step: Any, **changes: Any) -> Work:
    facts: dict[str, Any] = {"members": 1, "device": CPU, "precision": "float32", "flops": 1000, "block": 1}
    return Work(step=step, **facts | changes)


def unsorted(work: Work) -> set[str]:
    events = profile.watch(work.step, 1, CPU).events()
    return {e.name for e in events if kind_of(e.name) == UNSORTED}


# --- kinds


def test_every_name_has_one_kind() -> None:
    names = [name for listed in NAMES.values() for name in listed.split()]
    assert len(names) == len(set(names))
    assert set(kinds.NAMES) == {MATRIX, ACTIVATION, OPTIMISER, NOISE, COPIES, ELEMENTWISE, OVERHEAD}


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::bmm", MATRIX),
        ("aten::addmm_", MATRIX),
        ("aten::silu_backward", ACTIVATION),
        ("aten::_fused_adamw_", OPTIMISER),
        ("aten::_foreach_add_", OPTIMISER),
        ("aten::normal_", NOISE),
        ("aten::_to_copy", COPIES),
        ("aten::__and__", ELEMENTWISE),
        ("aten::view", OVERHEAD),
        ("BaddbmmBackward0", OVERHEAD),
        ("autograd::engine::evaluate_function: MulBackward0", OVERHEAD),
        ("cudaLaunchKernel", OVERHEAD),
        ("triton_poi_fused_add_silu_3", FUSED),
        ("aten::an_operator_of_next_year", UNSORTED),
    ],
)
def test_kinds_of_operators(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind


@pytest.mark.parametrize("law", sorted(set(LAWS) - {"empirical"}))
def test_no_operator_of_a_cycle_is_without_a_kind(law: str) -> None:
    for network in NETWORKS:
        own = {"law.name": law, "law.dim": 3, "network.kind": network, "network.width": 8, "student.init": "rotated"}
        es = [experiment_from(own | {"student.batch": 8, "teacher.batch": 8, "seed": seed}) for seed in range(2)]
        assert unsorted(profile.distilling(es, CPU)) == set()
    assert unsorted(profile.teaching(es, CPU)) == set()


@pytest.mark.parametrize(
    "settings",
    [
        {"teacher__kind": "network", "fake_score__batches": "separate", "student__decay": "cosine"},
        {"student__normaliser": "batch", "student__reduction": "sum", "fake_score__weight": "uniform"},
        {"student__normaliser": "none", "student__clip": 0.0, "fake_score__updates": 1},
        {"teacher__train_samples": 20, "teacher__levels": "lognormal"},
        {"teacher__target": "posterior", "student__normaliser": "floored"},
        {"network__precision": "bf16"},
    ],
)
def test_no_option_brings_an_operator_without_a_kind(settings: dict[str, Any]) -> None:
    if not supports(CPU, settings.get("network__precision", "float32")):
        pytest.skip("this CPU lacks bfloat16")
    es = [experiment(**SMALL | settings)]
    assert unsorted(profile.distilling(es, CPU)) | unsorted(profile.teaching(es, CPU)) == set()


# --- nothing is lost


def test_shares_of_a_cycle_are_all_of_it() -> None:
    es = [experiment(**SMALL, seed=s) for s in range(3)]
    found = profiled(profile.distilling(es, CPU))
    for parts in (found.kinds, found.operators):
        assert sum(part.share for part in parts) == pytest.approx(1)
        assert sum(part.ms for part in parts) == pytest.approx(found.cycle_ms)
        assert all(part.ms >= 0 and part.share >= 0 for part in parts)
    for kind in found.kinds:
        own = [o for o in found.operators if o.kind == kind.name]
        assert kind.ms == pytest.approx(sum(o.ms for o in own))
        assert kind.calls == pytest.approx(sum(o.calls for o in own))
    assert {kind.name for kind in found.kinds} >= {MATRIX, ACTIVATION, OPTIMISER, COPIES, ELEMENTWISE, OVERHEAD}
    assert found.kinds[-1].name == OVERHEAD
    assert [o.ms for o in found.operators] == sorted((o.ms for o in found.operators), reverse=True)


def test_counted_work_is_that_of_all_members_and_gives_the_rate() -> None:
    es = [experiment(**SMALL, seed=s) for s in range(3)]
    found = profiled(profile.distilling(es, CPU))
    assert found.flops == 3 * cycle_flops(es[0])
    assert found.rate == pytest.approx(found.flops / (1e-3 * found.cycle_ms))
    assert found.limit > 0
    assert (found.members, found.cycles, found.precision) == (3, 2, "float32")
    twins = [es[0], es[0].model_copy(update={"student": es[0].student.model_copy(update={"init": "random"})})]
    taught = profile.teaching(twins, CPU)
    assert (taught.members, taught.flops) == (1, teacher_flops(es[0]))  # one start network a seed


def test_calls_count_an_operator_once_and_not_its_wrappers() -> None:
    x, y = torch.ones(4, 4), torch.ones(2, 4, 4)

    def step() -> None:
        for _ in range(3):
            torch.matmul(x, x)  # matmul calls mm
        torch.matmul(y, y)  # matmul calls bmm
        torch.nn.functional.silu(x)
        torch.nn.functional.layer_norm(x, (4,))  # layer_norm calls native_layer_norm
        torch.randn(3)  # randn calls normal_
        x.double()  # to calls _to_copy calls copy_

    calls = {kind.name: kind.calls for kind in profiled(work_of(step), cycles=4).kinds}
    assert calls[MATRIX] == 4
    assert calls[ACTIVATION] == 2
    assert calls[NOISE] == 1
    assert calls[COPIES] == 1


def test_a_slow_operator_shows_up_by_name_and_kind() -> None:
    """A teacher that multiplies two large matrices in float64, on top of a tiny cycle."""
    large = torch.ones(700, 700, dtype=torch.float64)

    def teacher(x_sigma: Tensor, sigma: Tensor | float) -> Tensor:
        return x_sigma / (1 + sigma) + 0 * (large @ large)[0, 0].float()

    loop = profile.random_start([experiment(**SMALL)], CPU)
    slow = Distillation([experiment(**SMALL)], teacher, loop.student, loop.fake)
    found = profiled(work_of(slow.cycle))
    assert (found.operators[0].name, found.operators[0].kind) == ("aten::mm", MATRIX)
    assert found.operators[0].calls == 1
    assert found.kinds[0].name == MATRIX
    assert found.kinds[0].share > 0.5


def test_slow_python_is_overhead() -> None:
    def step() -> None:
        sum(range(300_000))
        torch.ones(2).exp()

    found = profiled(work_of(step))
    assert found.kinds[-1].name == OVERHEAD
    assert found.kinds[-1].share > 0.8


def test_on_a_gpu_kernels_count_and_the_rest_of_the_replayed_cycle_is_waiting() -> None:
    """Two cycles by hand: products 3 ms, copies 1 ms of kernels each; the replayed cycle took 5 ms."""

    def event(name: str, device_us: float, cpu_us: float = 0.0, children: Any = (), kind: Any = DeviceType.CPU) -> Any:
        times = {"self_device_time_total": device_us, "self_cpu_time_total": cpu_us}
        return SimpleNamespace(name=name, device_type=kind, cpu_children=list(children), **times)

    copies, bmm = event("aten::copy_", 2000.0, 900.0), event("aten::bmm", 6000.0, 700.0)
    to = event("aten::to", 0.0, 50.0, [copies])
    kernel = event("sm90_gemm", 6000.0, kind=DeviceType.CUDA)
    events = [event(profile.WATCHED, 0.0, 9e5, [to, bmm]), to, copies, bmm, kernel]
    found = {o.name: o for o in profile._by_operator(events, cycles=2, cycle_ms=5.0, on_gpu=True)}
    assert {name: o.ms for name, o in found.items()} == {
        "aten::bmm": pytest.approx(3.0),
        "aten::copy_": pytest.approx(1.0),
        "aten::to": 0.0,
        profile.WATCHED: pytest.approx(1.0),
    }
    assert found["aten::to"].calls == 0
    assert found[profile.WATCHED].kind == OVERHEAD


def test_kernels_longer_than_the_replayed_cycle_leave_no_waiting() -> None:
    times = {"self_device_time_total": 8000.0, "self_cpu_time_total": 1.0}
    bmm = SimpleNamespace(name="aten::bmm", device_type=DeviceType.CPU, cpu_children=[], **times)
    found = list(profile._by_operator([bmm], cycles=1, cycle_ms=5.0, on_gpu=True))
    assert [(o.name, o.share, o.ms) for o in found] == [("aten::bmm", 1.0, 5.0), (profile.WATCHED, 0.0, 0.0)]


# --- what is profiled


def test_a_random_start_gives_each_member_its_own_networks_whoever_is_beside_it() -> None:
    es = [experiment(**SMALL, seed=s, teacher__kind="network") for s in (4, 7)]
    both, alone = profile.random_start(es, CPU), profile.random_start(es[1:], CPU)
    nets = [[loop.student.network.flat, ensemble_of(loop.fake).flat] for loop in (both, alone)]
    for together, single in zip(*nets, strict=True):
        assert torch.equal(together[1], single[0])
    student, fake = nets[0]
    assert not torch.equal(student[0], student[1])
    assert not torch.equal(student, fake)
    assert not torch.equal(ensemble_of(both.teacher).flat, fake)  # type: ignore[arg-type]


def test_a_random_start_turns_the_noise_of_rotated_members_only() -> None:
    es = [experiment(**SMALL, student__init=init) for init in ("teacher", "rotated")]
    student = profile.random_start(es, CPU).student
    assert student.rotated is not None
    assert student.rotated.tolist() == [False, True]
    assert profile.random_start(es[:1], CPU).student.rotation is None


@pytest.mark.parametrize(("members", "seeds"), [(None, [0, 1, 2]), (2, [0, 1]), (5, [0, 1, 2, 3, 4])])
def test_the_first_ensemble_is_cut_or_filled_up_with_new_seeds(members: int | None, seeds: list[int]) -> None:
    es = [experiment(**SMALL, seed=s) for s in range(3)] + [experiment(**SMALL | {"law__dim": 5})]
    assert [e.seed for e in profile.first_ensemble(es, CPU, members)] == seeds


def test_members_that_do_not_fit_are_refused_with_how_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    es = [experiment(**SMALL, seed=s) for s in range(3)]
    monkeypatch.setattr(profile, "ensembles", lambda es, memory, device: [es[i : i + 4] for i in range(0, len(es), 4)])
    assert len(profile.first_ensemble(es, CPU, 4)) == 4
    with pytest.raises(InputError, match=r"--members 9: by estimate 4 members .* ask for that many at most"):
        profile.first_ensemble(es, CPU, 9)


def test_traces_hold_the_operators_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = profile.profile(profile.distilling([experiment(**SMALL)], CPU), 1, tmp_path, limit_s=0.0)
    assert found.traces == [str(tmp_path / "trace.json")]
    names = {event.get("name") for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert {profile.WATCHED, "aten::bmm", "aten::_fused_adamw_"} <= names
    assert capfd.readouterr() == ("", "")


# --- the command


def call(*words: str | Path, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["profile", *map(str, words)])


COMMAND = ("--preset", "smoke", *TINY, "--device", "cpu", "--cycles", "1", "--members", "2", "--out")


@pytest.mark.parametrize("columns", [80, 120])
def test_the_command_ends_with_tables_the_distance_and_the_trace(tmp_path: Path, columns: int) -> None:
    done = call(*COMMAND, tmp_path / "new", columns=columns)
    assert done.exit_code == 0
    for word in (MATRIX, OVERHEAD, "100.0 %", "bmm", "Distance to the limit", "ui.perfetto.dev", "2 members"):
        assert word in done.stdout
    assert "1 cycle of 2 members" in " ".join(done.stderr.split())
    assert max(map(len, done.stdout.replace(str(tmp_path), "").splitlines())) <= columns
    assert (tmp_path / "new" / "trace.json").is_file()


def test_json_has_the_numbers_and_nothing_else_is_on_stdout(tmp_path: Path) -> None:
    done = call(*COMMAND, tmp_path, "--json", "--teacher")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["what"] == "teacher iteration"
    assert found["members"] == 2
    assert sum(kind["ms"] for kind in found["kinds"]) == pytest.approx(found["cycle_ms"])
    assert found["limit"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["law.dim=3"], "expected an experiment file"),
        (["--preset", "smoke", "--device", "cuda:99"], "--device cuda:99"),
        (["--preset", "smoke", "law.dmi=3"], "law.dmi"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(words: list[str], said: str, tmp_path: Path) -> None:
    done = call(*words, "--out", tmp_path / "new")
    assert isinstance(done.exception, InputError)  # which the application turns into status 2
    assert said in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_profile_names_its_kernels_and_traces_both_ways(tmp_path: Path) -> None:
    device = torch.device("cuda")
    for work in (profile.distilling([experiment()], device), profile.teaching([experiment()], device)):
        found = profile.profile(work, 2, tmp_path)
        assert {kind.name for kind in found.kinds} >= {MATRIX, ACTIVATION, OPTIMISER, ELEMENTWISE, OVERHEAD}
        assert all(o.kind != UNSORTED for o in found.operators if o.ms)
        assert sum(kind.ms for kind in found.kinds) == pytest.approx(found.cycle_ms)
        assert [Path(path).name for path in found.traces] == ["trace.json", "trace-eager.json"]
