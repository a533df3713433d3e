"""Who trains with whom, in how much memory, and what happens when the memory does not suffice after all."""

import json
import math
import os
import pickle
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder import pretend
from small import CPU, do, experiment, experiments
from torch import Tensor
from typer.testing import CliRunner

from dmdlab.capture import Replayed
from dmdlab.cli.plan import app as planning
from dmdlab.config import Experiment, InputError
from dmdlab.lab import environment, estimate, footprint, memory, plan, sweep
from dmdlab.lab.run import run_ensemble
from dmdlab.lab.store import load_records

Command = Callable[..., tuple[int, str, str]]
PLENTY = 2**40
GPU = torch.device("cuda")  # simulated: nothing below asks the device itself


def groups(wanted: Sequence[Experiment], most: int = PLENTY, workers: int = 1) -> list[list[Experiment]]:
    return plan.ensembles(wanted, most, CPU, workers)


def ids(parts: Sequence[Sequence[Experiment]]) -> list[str]:
    return sorted(e.id for part in parts for e in part)


# --- ensembles


def test_runs_alike_in_shape_train_together_and_nobody_is_lost() -> None:
    wanted = experiments(
        "law.dim=[2, 3]",
        'student.init=["teacher", "rotated", "random"]',
        "student.learning_rate=[1e-3, 1e-4]",
        "seed=[0, 1]",
    )
    found = groups(wanted)
    assert [len(g) for g in found] == [12, 12]
    assert [e.law.dim for g in found for e in g] == [2] * 12 + [3] * 12
    assert ids(found) == ids([wanted])


@pytest.mark.parametrize(
    "key", ["student.batch", "teacher.steps", "fake_score.updates", "measure.samples", "law.scale"]
)
def test_runs_of_another_shape_train_apart(key: str) -> None:
    assert len(groups(experiments(f"{key}=[3, 4]"))) == 2


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_an_ensemble_that_does_not_fit_is_split_evenly(most: int) -> None:
    wanted = experiments('student.init=["teacher", "rotated"]', "seed={ stop = 4 }")
    heavy = plan.heavy(wanted, "cpu")
    found = groups(wanted, footprint.ensemble_bytes(heavy, most, "cpu") + 1)
    sizes = [len(g) for g in found]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(found) == math.ceil(8 / most)
    assert ids(found) == ids([wanted])
    if most > 1:  # runs of one seed share a start network, so they stay together where they can
        assert sum(len({e.seed for e in g}) for g in found) <= 4 + len(found) - 1


def test_workers_share_an_ensemble_of_small_networks_but_leave_each_member_company() -> None:
    wanted = experiments("seed={ stop = 64 }")
    assert [len(g) for g in groups(wanted, workers=1)] == [64]
    assert [len(g) for g in groups(wanted, workers=2)] == [32, 32]
    assert [len(g) for g in groups(wanted, workers=64)] == [plan.COMPANY] * 16
    assert [len(g) for g in groups(wanted[:6], workers=4)] == [6]


def test_wide_networks_need_no_company() -> None:
    wanted = experiments("seed={ stop = 6 }", f"network.width={plan.WIDE}")
    assert [len(g) for g in groups(wanted, workers=3)] == [2, 2, 2]
    assert [len(g) for g in groups(wanted, workers=64)] == [1] * 6


def test_a_worker_does_not_split_what_others_wait_for() -> None:
    """Eight shapes of equal work for two workers: nobody is idle, so nothing is gained by splitting."""
    wanted = experiments("law.scale=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]", "seed={ stop = 16 }")
    assert [len(g) for g in groups(wanted, workers=2)] == [16] * 8


def test_sharing_out_keeps_the_runs_of_a_seed_together() -> None:
    wanted = experiments('student.init=["teacher", "rotated", "random"]', "seed={ stop = 6 }")
    found = groups(wanted, workers=4)
    assert len(found) == 4
    assert sum(len({e.seed for e in g}) for g in found) == 6


def test_on_a_gpu_one_ensemble_stays_one() -> None:
    assert [len(g) for g in plan.ensembles(experiments("seed={ stop = 64 }"), PLENTY, GPU, 4)] == [64]


# --- the memory is not exceeded

BRIEF = {"teacher__iterations": 2, "teacher__steps": 2, "student__iterations": 4, "measure__samples": 100}
SHAPES = [
    experiment(**BRIEF),
    experiment(**BRIEF, student__init="rotated", law__dim=8),
    experiment(**BRIEF, network__width=128, network__depth=4),
    experiment(**BRIEF, network__kind="mlp", student__batch=256, fake_score__updates=2),
    experiment(**BRIEF | {"measure__samples": 300}),
    experiment(**BRIEF, teacher__kind="network", network__width=64),
]
MOST = 3


@pytest.fixture(scope="module")
def held() -> dict[object, Callable[[int], float]]:
    """What ensembles of each shape really hold at their peak while they train, in bytes, by the number of members."""

    def peak(e: Experiment, members: int) -> int:
        with memory.LiveBytes() as seen:
            for event in run_ensemble([e.model_copy(update={"seed": s}) for s in range(members)], CPU):
                if getattr(event, "stage", "") == "measuring":
                    break
        return seen.peak

    def of(e: Experiment) -> Callable[[int], float]:
        one, most = peak(e, 1), peak(e, MOST)
        return lambda members: one + (members - 1) * (most - one) / (MOST - 1)

    return {plan.shape(e): of(e) for e in SHAPES}


@given(
    counts=st.lists(st.integers(0, 24), min_size=len(SHAPES), max_size=len(SHAPES)),
    share=st.integers(2**20, 2**25),
    workers=st.integers(1, 6),
)
@settings(max_examples=100, deadline=None)
def test_no_plan_exceeds_a_stated_memory(
    held: dict[object, Callable[[int], float]], counts: list[int], share: int, workers: int
) -> None:
    """Every run is planned once, and the ensembles and processes at work together fit by what they really hold; or the
    plan is refused."""
    wanted = [e.model_copy(update={"seed": s}) for e, count in zip(SHAPES, counts, strict=True) for s in range(count)]
    budget = (workers + (workers > 1)) * memory.PROCESS + workers * share
    try:
        found = plan.plan(wanted, CPU, workers, budget)
    except InputError:  # only where there is hardly room for one run
        assert workers == 1
        assert share < 4 * max(held[plan.shape(e)](1) for e in wanted)
        return
    assert ids([part.experiments for part in found.parts]) == ids([wanted])
    assert 1 <= found.workers <= workers
    taken = sorted(held[plan.shape(part.experiments[0])](len(part.experiments)) for part in found.parts)
    processes = found.workers + (found.workers > 1)
    assert sum(taken[-found.workers :]) + processes * memory.PROCESS <= budget
    assert [part.flops for part in found.parts] == sorted((part.flops for part in found.parts), reverse=True)


IN_A_PROCESS = """
import sys
from pathlib import Path
from small import CPU, do, experiments
from dmdlab.lab import memory, sweep
out = Path(sys.argv[1])
do(experiments(), out / "first")  # loads all that a process needs
before = memory.process_peak()
events = sweep.sweep(experiments(*sys.argv[3:]), out / "then", CPU, 1, int(sys.argv[2]))
planned = next(events)[1].plan
for _ in events:
    pass
print(len(planned.parts), max(part.bytes for part in planned.parts), before, memory.process_peak())
"""
LONG_ROWS = ("law.dim=256", "student.batch=128", "student.iterations=4", "teacher.iterations=2", "teacher.steps=2")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system does not say what a process took")
def test_a_process_takes_no_more_ram_than_planned(tmp_path: Path) -> None:
    """As the system counts it: the interpreter and its libraries, several ensembles one after the other with their
    calibration and measures, and what the allocator keeps."""
    stated = memory.PROCESS + 2**26
    words = (sys.executable, "-c", IN_A_PROCESS, str(tmp_path), str(stated), "seed={ stop = 12 }", *LONG_ROWS)
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    ensembles, planned, before, peak = map(int, done.stdout.split())
    assert ensembles == 4
    assert before <= memory.PROCESS
    assert peak - before <= planned <= 2**26


def test_a_run_too_large_to_fit_is_refused_in_a_sentence_before_anything_is_trained(tmp_path: Path) -> None:
    events = sweep.sweep(experiments("network.width=64"), tmp_path, CPU, 1, 2**20)
    with pytest.raises(InputError, match=r"one run of mixture d=2 width=64 needs .* MiB on cpu .* 1\.0 MiB") as error:
        next(events)
    for remedy in ("network.width", "student.batch", "measure.samples", "--device", "--memory"):
        assert remedy in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_fewer_workers_where_a_run_needs_more_than_a_workers_share() -> None:
    wanted = experiments("seed={ stop = 8 }")
    alone = footprint.member_bytes(wanted[0], "cpu")
    found = plan.plan(wanted, CPU, 8, 3 * memory.PROCESS + int(2.5 * alone))
    assert found.workers == 2
    assert any("2 of 8 workers" in sentence for sentence in found.decisions)


def test_a_plan_says_what_it_decided() -> None:
    wanted = experiments("law.dim=[2, 3]", "seed={ stop = 16 }")
    found = plan.plan(wanted, CPU, 4, PLENTY)
    assert found.summary().startswith("32 runs in 4 ensembles of up to 8, 4 workers")
    assert "1.0 TiB" in found.decisions[0]
    assert sum("16 runs as 2 ensembles of 8, to keep all workers busy" in s for s in found.decisions) == 2
    assert any("2 of 2 shapes of runs: each as one ensemble" in s for s in plan.plan(wanted, CPU, 1, PLENTY).decisions)
    tight = plan.plan(wanted, CPU, 1, memory.PROCESS + footprint.ensemble_bytes(wanted[-1], 10, "cpu"))
    assert any("since all together would need more than" in s for s in tight.decisions)
    assert plan.plan([], CPU, 4, PLENTY).parts == []


# --- workers


@pytest.mark.parametrize(
    ("cores", "quota", "on_cpu", "on_gpu"),
    [
        (1, None, 1, 1),
        (2, None, 2, 1),
        (4, None, 4, 2),
        (64, None, 64, 3),
        (64, 3.9, 3, 1),
        (64, 0.5, 1, 1),
        (4, 64.0, 4, 2),
        (64, 8.0, 8, 3),
    ],
)
def test_workers_by_default_are_as_many_as_there_is_time_for(
    cores: int, quota: float | None, on_cpu: int, on_gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "allowed_cores", lambda: cores)
    monkeypatch.setattr(environment, "cpu_quota", lambda: quota)
    assert (sweep.default_workers(CPU), sweep.default_workers(GPU)) == (on_cpu, on_gpu)


@pytest.mark.parametrize(
    ("threads", "cores", "quota", "workers", "each"),
    [(64, 64, None, 4, 16), (64, 64, 8.0, 4, 2), (1, 64, 8.0, 4, 1), (64, 4, None, 3, 1), (64, 64, 0.5, 1, 1)],
)
def test_workers_share_the_threads_that_get_time(
    threads: int, cores: int, quota: float | None, workers: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(environment, "allowed_cores", lambda: cores)
    monkeypatch.setattr(environment, "cpu_quota", lambda: quota)
    assert environment.threads_each(workers) == each


# --- bytes of the machine


@pytest.mark.parametrize(("workers", "left"), [(1, 8.0), (2, 7.0), (3, 6.5), (40, 0.0)])
def test_workers_that_share_a_gpu_leave_room_for_each_others_setup(
    workers: int, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8 * 2**30, 80 * 2**30))
    assert memory.memory(GPU, workers) == int(memory.SHARE * left * 2**30)


@pytest.mark.parametrize(
    ("device", "workers", "left"),
    [(CPU, 1, 7.5), (CPU, 2, 6.5), (CPU, 16, 0.0), (GPU, 1, 0.9 * 7.5), (GPU, 3, 0.9 * 6.0), (GPU, 40, 0.0)],
)
def test_every_process_takes_half_a_gibibyte_of_what_is_stated(device: torch.device, workers: int, left: float) -> None:
    """The workers, and the process that started them."""
    assert memory.memory(device, workers, 8 * 2**30) == int(left * 2**30)


@pytest.mark.parametrize(("workers", "left"), [(1, 6.0), (4, 4.8), (20, 0.0)])
def test_workers_take_half_a_gibibyte_each_of_the_ram_that_is_free(
    workers: int, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 10 * 2**30)
    assert memory.memory(CPU, workers) == int(left * 2**30)


def test_a_gpu_too_small_to_be_shared_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = experiments("seed={ stop = 8 }")
    alone = footprint.member_bytes(wanted[0], "cuda")
    free = memory.CONTEXT + 2 * alone
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    found = plan.plan(wanted, GPU, 3)
    assert (found.workers, found.memory) == (1, int(memory.SHARE * free))


@pytest.mark.parametrize(
    ("text", "size"), [("8GiB", 8 * 2**30), ("500 MB", 5 * 10**8), ("0.5tib", 2**39), ("1.5GB", 15 * 10**8)]
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "8", "8G", "GiB", "-1GiB", "0MiB", "1e3MiB", "8 gigabytes", "nan GiB"])
def test_other_words_are_no_size(text: str) -> None:
    with pytest.raises(InputError, match="expected a number and a unit, as in 8GiB"):
        memory.parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (2048, "2.0 KiB"), (12 * 2**20, "12 MiB"), (2**40, "1.0 TiB")]
)
def test_sizes_are_told_in_the_unit_that_fits(size: int, text: str) -> None:
    assert memory.size_text(size) == text


def test_this_process_has_taken_some_memory() -> None:
    most = memory.taken(CPU)
    assert most is None or most > 10 * 2**20


def resident() -> int:
    """MiB of RAM that this process takes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc to tell what to keep")
def test_freed_blocks_are_kept_or_given_back_as_told() -> None:
    def use() -> None:
        blocks = [torch.ones(2**22) for _ in range(16)]  # 256 MiB
        del blocks

    environment.tune_allocator()
    memory.keep_freed(False)
    before = resident()
    use()
    assert resident() < before + 128
    memory.keep_freed(True)
    use()
    kept = resident()
    assert kept > before + 192
    memory.keep_freed(False)
    assert resident() < kept - 192


# --- out of memory


class Narrow:
    """`run_ensemble` on a machine that holds `most` members at a time; remembers what was tried."""

    def __init__(self, most: int, error: Exception, after: int = 0) -> None:
        self.most, self.error, self.after = most, error, after
        self.stage = "measuring" if after else "distilling"
        self.tried: list[list[int]] = []
        self.started: list[list[int]] = []

    def __call__(self, group: Sequence[Experiment], device: torch.device, rows: Any, *rest: Any, **named: Any) -> Any:
        self.tried.append([e.seed for e in group])
        self.started.append(sorted(rows))
        return self._events(group, device, rows, rest, named)

    def _events(self, group: Sequence[Experiment], device: torch.device, rows: Any, rest: Any, named: Any) -> Iterator:
        results = 0
        for event in run_ensemble(group, device, rows, *rest, **named):
            large = len(group) > self.most
            if large and results == self.after and getattr(event, "stage", "") == self.stage:
                raise self.error
            results += not hasattr(event, "stage")
            yield event


CPU_ERROR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)
ERRORS = [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore"), CPU_ERROR, MemoryError()]


def numbers(out: Path) -> dict[str, np.ndarray]:
    return {r.summary["id"]: r.arrays()["student"] for r in load_records(out)}


FIVE = experiments("seed={ stop = 5 }")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What five runs give together."""
    out = tmp_path_factory.mktemp("whole")
    do(FIVE, out)
    return numbers(out)


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "numpy"])
def test_an_ensemble_that_runs_out_of_memory_goes_on_by_halves_to_the_same_records(
    error: Exception, whole: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Narrow(2, error)
    monkeypatch.setattr(sweep, "run_ensemble", narrow)
    events = [event for _, event in sweep.sweep(FIVE, tmp_path, CPU)]
    assert narrow.tried == [[0, 1, 2, 3, 4], [0, 1], [2, 3, 4], [2], [3, 4]]
    assert narrow.started[0] == []
    assert narrow.started[1:] == narrow.tried[1:]  # start networks are not trained again
    splits = [e for e in events if isinstance(e, sweep.Split)]
    assert [[len(part) for part in e.parts] for e in splits] == [[2, 3], [1, 2]]
    assert all(e.why and "\n" not in e.why for e in splits)
    found = numbers(tmp_path)
    assert whole.keys() == found.keys()
    for key, array in whole.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-5)


def test_finished_runs_are_kept_when_memory_runs_out_while_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Narrow(2, MemoryError(), after=2)
    monkeypatch.setattr(sweep, "run_ensemble", narrow)
    records = do(experiments("seed={ stop = 4 }"), tmp_path)
    assert narrow.tried == [[0, 1, 2, 3], [2, 3]]
    assert [r.config["seed"] for r in records] == [0, 1, 2, 3]


def test_a_run_that_does_not_fit_alone_ends_the_sweep_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "run_ensemble", Narrow(0, CPU_ERROR))
    with pytest.raises(InputError, match=r"one run of .* ran out of memory \(.*can't allocate memory.*\): make"):
        do(experiments("seed=[0, 1]"), tmp_path)


def test_another_error_is_not_taken_for_a_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "run_ensemble", Narrow(0, RuntimeError("CUDA error: an illegal memory access")))
    with pytest.raises(RuntimeError, match="illegal"):
        do(experiments(), tmp_path)


def test_memory_that_ran_out_in_a_capture_is_found_behind_its_error() -> None:
    def failing(cause: Exception) -> BaseException:
        try:
            try:
                raise cause
            finally:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        except RuntimeError as error:
            return error

    for cause in (ERRORS[0], RuntimeError("CUDA error: out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")):
        assert sweep.out_of_memory(failing(cause))
    assert not sweep.out_of_memory(failing(ValueError("a size")))


def test_what_workers_tell_survives_the_way_to_the_parent() -> None:
    wanted = experiments("seed=[0, 1]")
    events = [sweep.Started(wanted), sweep.Taken(3, 2**30), sweep.Split(wanted, [wanted[:1], wanted[1:]], "full")]
    assert pickle.loads(pickle.dumps(events)) == events
    assert str(pickle.loads(pickle.dumps(InputError("too large")))) == "too large"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_a_worker_that_is_killed_ends_the_sweep_with_what_is_kept_and_what_to_do(tmp_path: Path) -> None:
    """As Linux does when memory runs out; the shorter of two runs is finished by then."""
    wanted = experiments("student.iterations=[20, 1000000]")
    told = ""
    try:
        processes: dict[int, int] = {}
        finished = killed = False
        for index, event in sweep.sweep(wanted, tmp_path, CPU, 2, PLENTY):
            if isinstance(event, sweep.Taken):
                processes[index] = event.process
            finished |= isinstance(event, sweep.Finished)
            if finished and not killed and 0 in processes:
                os.kill(processes[0], signal.SIGKILL)
                killed = True
    except InputError as error:
        told = str(error)
    for words in (
        "a worker was killed, probably because memory ran out",
        f"1 of 2 runs are finished and kept in {tmp_path}",
        "unfinished ensembles: mixture d=2 width=8 (lacks 1 of 1 runs)",
        "the same command goes on: give it fewer --workers or a smaller --memory",
    ):
        assert words in told
    assert [e.student.iterations for e in sweep.missing(wanted, tmp_path)] == [1000000]


# --- time


def test_the_last_of_several_workers_ends_a_sweep() -> None:
    assert estimate.makespan([3.0, 1.0, 2.0], 1) == 6.0
    assert estimate.makespan([3.0, 1.0, 2.0], 2) == 3.0
    assert estimate.makespan([3.0, 3.0, 2.0], 5) == 3.0
    assert estimate.makespan([], 2) == 0.0


def test_the_time_is_that_of_the_arithmetic_and_of_the_exact_law() -> None:
    words = ("seed=[0, 1]", "student.iterations=1000", "fake_score.updates=5", "teacher.iterations=10")
    words += ("teacher.steps=4", "teacher.solver=heun")
    wanted = experiments(*words, "teacher.target=data")
    part = plan.Part(wanted, bytes=0, flops=6_000_000_000)
    assert estimate.seconds(part, estimate.Speed(2e9, law_seconds=0.0)) == pytest.approx(1.5 * 3)
    # a batch of 16 is one unit: 1000 / 5 cycles of two members, and Phi_4 (7 calls) at 2 x 24 noises for two seeds
    assert estimate.seconds(part, estimate.Speed(2e9, law_seconds=0.01)) == pytest.approx(4.5 + 4.0 + 0.42)
    posterior = experiments(*words, "teacher.target=posterior")  # and 10 batches of 16 for two seeds
    part = plan.Part(posterior, bytes=0, flops=6_000_000_000)
    assert estimate.seconds(part, estimate.Speed(2e9, law_seconds=0.01)) == pytest.approx(4.5 + 4.0 + 0.42 + 0.2)


def test_the_speed_of_a_shape_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which every call takes a second."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: float(next(ticks)))
    e = experiment()
    found = estimate.speed(e, 2, CPU)
    # a second for two members: 32 rows, 2 (4 + 32) 16 operations at the input and 3 (2 x 16 + 4) 16 behind it, twice
    assert found.step == 2 * 32 * 2 * (1152 + 1728)
    assert found.law_seconds == 0.5
    assert estimate.speed(experiment(teacher__kind="network"), 2, CPU).law_seconds == 0


class Kept(Replayed):
    """Remembers the steps and what they were called with."""

    made: ClassVar[list["Kept"]] = []

    def __init__(self, step: Callable[..., Tensor], graph: bool) -> None:
        super().__init__(step, graph)
        self.eager = step
        self.made.append(self)


def test_what_is_timed_on_a_gpu_is_the_replay_of_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = pretend(monkeypatch)
    Kept.made.clear()
    monkeypatch.setattr(estimate, "Replayed", Kept)
    estimate.speed(experiment(), 2, CPU, graph=True)
    assert len(graphs) == len(Kept.made) == 2
    step = Kept.made[0]
    gradient = step.eager(*step.inputs)
    expected = gradient.clone()
    assert expected.abs().sum() > 0
    gradient.zero_()
    graphs[0].replay()
    assert torch.equal(gradient, expected)
    assert all(graph.replays > 1 for graph in graphs)


# --- on the command line


SMOKE = ["--preset", "smoke", "seed={ start = 0, stop = 8 }", "law.dim=[2, 3]", "--workers", "2", "--device", "cpu"]


def test_plan_shows_a_table_and_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(planning, [*SMOKE, "--memory", "2GiB"])
    assert result.exit_code == 0
    assert "16 runs in 2 ensembles of up to 8, 2 workers" in result.stdout
    assert "(2.0 GiB as stated, 2 workers)" in result.stdout
    assert "TFLOP" in result.stdout
    assert "not the measures" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_plan_gives_json_to_programs() -> None:
    found = json.loads(CliRunner().invoke(planning, [*SMOKE, "--json"]).stdout)
    assert found["workers"] == 2
    assert [(row["dim"], row["members"]) for row in found["ensembles"]] == [(3, 8), (2, 8)]
    assert found["seconds"] == pytest.approx(max(row["seconds"] for row in found["ensembles"]))
    assert all(row["flops"] > 0 and row["bytes"] > 0 for row in found["ensembles"])


def test_plan_wants_an_experiment() -> None:
    assert isinstance(CliRunner().invoke(planning, []).exception, InputError)


def test_memory_that_cannot_be_read_or_does_not_suffice_is_refused(dmdlab: Command, tmp_path: Path) -> None:
    for command in ("run", "sweep"):
        for size, told in (("8", "expected a number and a unit"), ("64KiB", "one run of mixture d=2")):
            code, _, err = dmdlab(command, "--preset", "smoke", "--memory", size, "--out", tmp_path / "out")
            assert code == 2
            assert told in err
            assert "Traceback" not in err
    assert not (tmp_path / "out" / "runs").exists()
