"""The peer does dmdlab's arithmetic, and the benchmarks run and have what the tables need. Nothing is timed."""

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from small import CPU, experiment, law_of, start_denoiser
from torch import Tensor, nn

from benchmarks import limits, plain_loop, report, suite, targets
from benchmarks.contestants import Ensemble, Job
from benchmarks.grid import MEMBERS, bases
from benchmarks.lane import Lane, current
from benchmarks.limits import ADAM_BYTES, PEER, Entry, shares
from benchmarks.measure import Effort, Options, alternate, exponent, quotient
from benchmarks.plain_loop import PlainDMD, PlainTeacher, Preconditioned, denoiser, plain_flow
from dmdlab.cli.bench import bench
from dmdlab.config import Experiment, InputError
from dmdlab.diffusion import EDMDenoiser, flow, karras_grid
from dmdlab.lab.cost import cycle_flops, parameters
from dmdlab.laws import Law
from dmdlab.training import teacher
from dmdlab.training.distill import Distillation, Student
from dmdlab.training.teacher import ensemble_of

CYCLES = 6

# --- the peer does the same arithmetic (in float64, where several steps of Adam do not amplify the last bit)


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def own(e: Experiment, ours: EDMDenoiser) -> Preconditioned:
    """The plain network with member 0's weights: the same layers in the same order, each weight transposed."""
    plain = denoiser(e.network, e.law.dim, ours.sigma_data)
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
        return Distillation([e], judge, Student(start_denoiser([e]), e.noise.sigma_max), start_denoiser([e], "fake"))

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
    starts = [loop.student.network.flat[0].clone(), ensemble_of(loop.fake).flat[0].clone()]
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
    ends = [loop.student.network.flat[0].detach(), ensemble_of(loop.fake).flat[0].detach()]
    for end, start, theirs in zip(ends, starts, (plain.student, plain.fake), strict=True):
        assert moved(end, start, as_row(theirs)) < 1e-6


@pytest.mark.usefixtures("double")
def test_the_plain_flow_makes_the_same_pairs() -> None:
    e = experiment(network__kind="mlp", teacher__steps=5)
    ours = start_denoiser([e])
    z = e.noise.sigma_max * torch.randn(1, 7, e.law.dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain_flow(own(e, ours), z[0], e), flow(ours, z, karras_grid(5, e.noise))[0])


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
    assert moved(ensemble_of(ours).flat[0].detach(), start, as_row(network)) < 1e-6


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


# --- how it is timed


def test_contestants_take_turns_of_equal_length_and_swap_places() -> None:
    turns: list[tuple[str, int]] = []

    def turn(name: str, seconds: float, units: int) -> float:
        turns.append((name, units))
        return seconds * units

    taken = alternate(
        {"fast": lambda n: turn("fast", 0.01, n), "slow": lambda n: turn("slow", 0.05, n)},
        Effort(rounds=3, turn_s=0.2),
    )
    assert turns[-6:] == [("fast", 20), ("slow", 4), ("slow", 4), ("fast", 20), ("fast", 20), ("slow", 4)]
    assert {name: pytest.approx(times) for name, times in taken.items()} == {"fast": [0.01] * 3, "slow": [0.05] * 3}


def test_who_is_slow_is_measured_in_fewer_rounds() -> None:
    calls: list[int] = []
    taken = alternate({"slow": lambda n: calls.append(n) or 5.0 * n}, Effort(rounds=9, slow_s=1.0))
    assert calls == [1, 1, 1, 1]  # one to warm up
    assert len(taken["slow"]) == 3


def test_a_ratio_is_taken_round_by_round() -> None:
    assert quotient([2.0, 6.0, 30.0], [1.0, 2.0, 3.0], 2) == {"ratio": 6.0, "ratio_least": 4.0, "ratio_most": 20.0}


def test_the_exponent_is_that_of_a_regression_of_logarithms() -> None:
    x, noise = [1, 2, 8, 64], [0.1, -0.2, 0.05, 0.3]
    found = exponent(x, [3.0 * v**1.7 * math.exp(r) for v, r in zip(x, noise, strict=True)])
    expected = stats.linregress(np.log(x), 1.7 * np.log(x) + noise)
    assert found["slope"] == pytest.approx(expected.slope)
    assert found["error"] == pytest.approx(expected.stderr)
    assert found["last"] == pytest.approx(1.7 + 0.25 / math.log(8))
    assert math.isnan(exponent([1, 2], [1.0, 4.0])["error"])


def test_every_cycle_is_charged_its_share_of_the_drawing() -> None:
    class Clock:
        """A loop whose cycles take 1 and whose drawing of a block takes 10."""

        steps, used, now = 8, 8, 0.0

        def cycle(self) -> None:
            assert self.used < self.steps, "a block was drawn within a turn"
            self.used += 1
            self.now += 1.0

        def __next__(self) -> None:
            self.used = 1
            self.now += 10.0

    clock: Any = Clock()
    clock.draws = clock

    class Timed(Ensemble):
        def _timed(self, step: Any, calls: int) -> float:
            before = clock.now
            for _ in range(calls):
                step()
            return clock.now - before

    for units in (1, 3, 8, 20):
        assert Timed(clock, CPU).seconds(units) == pytest.approx(units * (1 + 10 / 8))


def test_a_lane_is_a_process_with_its_own_threads_whose_errors_are_raised_here() -> None:
    job = bases(Options(quick=True))[0].job("eager", "cpu")
    with Lane(Options(threads=2), tuned=True) as lane:
        assert lane.call(torch.get_num_threads) == 2
        with pytest.raises(AssertionError, match="no contestant"):
            lane.call(current)
        assert lane.enter(job) > 0
        assert lane.seconds(3) > 0


# --- what is measured


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("quick", [False, True])
def test_points_of_the_grid_differ_from_their_base_in_one_setting_and_are_real_experiments(
    device: str, quick: bool
) -> None:
    for base in bases(Options(device, quick=quick)):
        (_, first), *others = base.points()
        assert first == base
        keys = [(p.members, *sorted(p.settings.items(), key=str)) for _, p in base.points()]
        assert len(set(keys)) == len(keys)
        for axis, point in others:
            changed = {k for k in base.settings if base.settings[k] != point.settings[k]}
            changed |= {MEMBERS} if point.members != base.members else set()
            assert changed == {axis}
            assert Job(base.preset, point.job("plain", "cpu").words).experiments()
        assert {axis for axis, _ in others} == set(base.axes)


def test_shares_and_bounds_of_a_contestant_that_is_nothing_but_products() -> None:
    options = Options(quick=True)
    entry = Entry(bases(options)[-1].job("eager", "cpu"))
    e, members, rate = entry.job.experiments()[0], entry.job.members, 1e9
    least = members * cycle_flops(e) / rate
    yardsticks = {"product float32": [2 * 64**3 / rate], "shapes float32": [1.0], "copy": [8 * 4096 / 1e9]}
    found = shares(entry, "it", {PEER: [7 * least], "it": [2 * least], **yardsticks}, options)
    assert found["share_of_product"] == pytest.approx(0.5)
    assert found["ratio"] == pytest.approx(members * 7 / 2)
    assert found["bound"] == pytest.approx(members * 7)  # twice the ratio: half of its time is not products
    moved_bytes = ADAM_BYTES * parameters(e) * members * (1 + e.fake_score.updates)
    assert found["optimiser_bytes_share"] == pytest.approx(moved_bytes / 1e9 / (2 * least))


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_every_benchmark_runs_and_is_reported(tmp_path: Path) -> None:
    paths = list(suite.run([], Options(quick=True), tmp_path))
    assert [p.name for p in paths] == [f"{name}-cpu.json" for name in suite.BENCHMARKS]
    for path in paths:
        results = json.loads(path.read_text())
        assert {"hardware", "versions", "commit", "command", "seeds", "seconds"} <= results.keys()
        assert results["records"]
        found = [
            x for r in results["records"] for k, x in r.items() if isinstance(x, float) and k != "outside_products"
        ]
        assert found
        assert all(math.isfinite(x) and x >= 0 for x in found)
    document = report.DOCUMENT.read_text(encoding="utf-8")
    filled = report.written(document, tmp_path)
    cpu = [m for m in report.BLOCK.finditer(filled) if m["device"] == "cpu"]
    assert {m["table"] for m in cpu} == set(report.TABLES)
    assert all("--quick" in m["body"] and "| --- |" in m["body"] for m in cpu)
    assert report.written(filled, tmp_path) == filled
    assert report.BLOCK.sub("", filled) == report.BLOCK.sub("", document)


@pytest.mark.cuda
def test_every_benchmark_runs_on_a_gpu(tmp_path: Path) -> None:
    paths = list(suite.run([], Options("cuda", quick=True), tmp_path))
    assert [p.name for p in paths] == [f"{name}-cuda.json" for name in suite.BENCHMARKS]
    found = json.loads(paths[-1].read_text())["records"]
    assert {r["target"] for r in found} == {t.text for t in targets.TARGETS["cuda"]}
    assert {r["way"] for r in json.loads(paths[0].read_text())["records"]} == {"eager", "graph"}


def test_the_document_shows_the_results_that_are_kept() -> None:
    document = report.DOCUMENT.read_text(encoding="utf-8")
    assert report.written(document, report.RESULTS) == document, "run python -m benchmarks.report"
    assert not any(json.loads(p.read_text())["quick"] for p in report.RESULTS.glob("*.json"))


# --- targets


def test_a_target_that_is_missed_is_said_to_be_missed() -> None:
    more, less = targets.Target("speed", 4.0), targets.Target("time", 30.0, False, "ms")
    assert [targets.row(more, "tf32", x, "")["met"] for x in (3.999, 4.0)] == [False, True]
    assert [targets.row(less, "tf32", x, "")["met"] for x in (30.001, 30.0)] == [False, True]
    shown = report.targets({"records": [targets.row(targets.PAPER_CPU, "bf16", 1.39, "so")]}, "cpu")
    assert "| 1.39 x (bf16) | **not met** | so |" in shown
    assert shown.count("not measured yet") == len(targets.TARGETS["cpu"]) - 1


def test_every_gpu_target_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"dmdlab, graph": "tf32", "dmdlab, graph, bf16": "bf16", limits.PEER: "tf32", limits.BF16_PEER: "bf16"}
    ratios = {"dmdlab, graph": 10.0, "dmdlab, graph, bf16": 30.0, limits.PEER: 1.0, limits.BF16_PEER: 1.5}

    def measured(base: object, options: Options, who: Sequence[str]) -> list[dict[str, Any]]:
        common = {"bound": 60.0, "flops_per_s": 1e14, "product_flops_per_s": 4e14, "share_of_product": 0.25, "ms": 20.0}
        return [common | {"who": n, "ratio": ratios[n], "network.precision": p} for n, p in names.items()]

    monkeypatch.setattr(targets, "at", measured)
    monkeypatch.setattr(targets, "whole_run", lambda base, options: targets.row(targets.RUN_GPU, "tf32", 80.0, ""))
    monkeypatch.setattr(targets, "dimension", lambda options, file, *words: targets._dimension_row(31.0, ""))
    rows = list(targets.gpu_rows(Options("cuda")))
    assert {r["target"] for r in rows} == {t.text for t in targets.TARGETS["cuda"]}
    by = {(r["target"], r["precision"]): (r["measured"], r["met"]) for r in rows}
    assert by[targets.PAPER_GPU.text, "bf16"] == (20.0, True)  # against the plain loop in bf16, not in tf32
    assert by[targets.MANY_GPU.text, "tf32"] == (10.0, False)
    assert by[targets.RATE_GPU.text, "tf32"] == (0.25, False)
    assert by[targets.WIDE_GPU.text, "tf32"] == (20.0, True)
    assert by[targets.SWEEP_GPU.text, "auto"] == (31.0, False)


def test_a_whole_run_is_extrapolated_from_a_few_cycles_or_run_in_full() -> None:
    asked: list[int] = []

    def turn(n: int) -> float:
        asked.append(n)
        return 0.5 * n

    assert targets.extrapolated(turn, 10_000, Options()) == (5000.0, "extrapolated from 200 to 10000")
    assert targets.extrapolated(turn, 10_000, Options(full=True)) == (5000.0, "run in full")
    assert asked[1::2] == [200, 10_000]


def test_a_sweep_is_extrapolated_over_all_its_ensembles(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text(
        'preset = "smoke"\n[sweep]\n"law.dim" = [2, 3]\n"student.init" = ["teacher", "rotated"]\n'
        "seed = { start = 0, stop = 2 }\n"
    )
    row = targets.dimension(Options(quick=True), file)
    assert row["measured"] > 0
    assert "its 2 ensembles" in row["how"]


# --- the command


def call(names: list[str], **given: Any) -> None:
    settings = {"device": "cpu", "threads": 1, "quick": False, "full": False, "listing": False, "out": None}
    bench(names, **(settings | given))


def test_the_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    call([], listing=True)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(suite.BENCHMARKS)


def test_bad_words_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no benchmark 'troughput'; did you mean 'throughput'"):
        call(["limits", "troughput"], out=tmp_path)
    with pytest.raises(InputError, match="--quick needs --out"):
        call(["transport"], quick=True)
    with pytest.raises(InputError, match="--device cuda:99"):
        call([], device="cuda:99")
    assert not list(tmp_path.iterdir())


def test_without_a_checkout_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dmdlab.cli.bench.__file__", str(tmp_path / "site" / "dmdlab" / "cli" / "bench.py"))
    with pytest.raises(InputError, match="clone the repository"):
        call([])
