"""Who trains with whom, in how much memory."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CPU, experiment, experiments
from typer.testing import CliRunner

from dmdlab.cli.plan import app as planning
from dmdlab.config import Experiment, InputError
from dmdlab.device import limits as memory
from dmdlab.lab import footprint, plan, sweep
from dmdlab.lab.run import run_ensemble

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
from dmdlab.lab import sweep
from dmdlab.device import limits as memory
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
    monkeypatch.setattr(memory, "allowed_cores", lambda: cores)
    monkeypatch.setattr(memory.cgroups, "cpu_quota", lambda: quota)
    assert (memory.default_workers(CPU), memory.default_workers(GPU)) == (on_cpu, on_gpu)


@pytest.mark.parametrize(
    ("threads", "cores", "quota", "workers", "each"),
    [(64, 64, None, 4, 16), (64, 64, 8.0, 4, 2), (1, 64, 8.0, 4, 1), (64, 4, None, 3, 1), (64, 64, 0.5, 1, 1)],
)
def test_workers_share_the_threads_that_get_time(
    threads: int, cores: int, quota: float | None, workers: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(memory, "allowed_cores", lambda: cores)
    monkeypatch.setattr(memory.cgroups, "cpu_quota", lambda: quota)
    assert memory.threads_each(workers) == each


# --- on the command line


SMOKE = ["--preset", "smoke", "seed={ start = 0, stop = 8 }", "law.dim=[2, 3]", "--workers", "2", "--device", "cpu"]


def test_plan_shows_a_table_and_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(planning, [*SMOKE, "--memory", "8GiB"])
    assert result.exit_code == 0
    assert "16 runs in 2 ensembles of up to 8, 2 workers" in result.stdout
    assert "(8.0 GiB as stated, 2 workers)" in result.stdout
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
