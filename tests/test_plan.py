"""Who trains with whom, in how much memory."""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CPU, TINY, experiment, experiments, group_of
from typer.testing import CliRunner

from dmdlab.cli.plan import app as planning
from dmdlab.config import Experiment, InputError
from dmdlab.device import limits
from dmdlab.group import Group, group_by_shape
from dmdlab.lab import plan
from dmdlab.lab.schedule import Bound, makespan, schedule
from dmdlab.lab.stages import flow_calls
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Taken, sweep
from dmdlab.lab.timing import Speed
from dmdlab.lab.trial import TURNING, host_bytes, tried
from dmdlab.lab.turns import turn_flows

Command = Callable[..., tuple[int, str, str]]
PLENTY = 2**40
GPU = torch.device("cuda")  # simulated: nothing below asks the device itself


def sizes(wanted: Sequence[Experiment], most: int = PLENTY, workers: int = 1, device: torch.device = CPU) -> list[int]:
    return [len(group) for group in plan.ensembles(wanted, most, device, workers)]


def ids(groups: Sequence[Group]) -> list[str]:
    return sorted(own for group in groups for own in group.ids)


# --- ensembles


def test_runs_alike_in_shape_train_together_and_nobody_is_lost() -> None:
    wanted = experiments(
        "law.dim=[2, 3]",
        'student.init=["teacher", "rotated", "random"]',
        "student.learning_rate=[1e-3, 1e-4]",
        "seed=[0, 1]",
    )
    found = plan.ensembles(wanted, PLENTY, CPU)
    assert [(len(g), g.shared.law.dim) for g in found] == [(12, 2), (12, 3)]
    assert ids(found) == ids([group_of(e) for e in wanted])


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_an_ensemble_that_does_not_fit_is_split_evenly(most: int) -> None:
    wanted = experiments('student.init=["teacher", "rotated"]', "seed={ stop = 4 }")
    (whole,) = group_by_shape(wanted)
    found = plan.ensembles(wanted, tried(whole).bytes(most, "cpu") + 2, CPU)
    members = [len(g) for g in found]
    assert max(members) <= most
    assert max(members) - min(members) <= 1
    assert len(found) == math.ceil(8 / most)
    assert ids(found) == ids([whole])
    if most > 1:  # runs of one seed share a start network, so they stay together where they can
        assert sum(len(g.seeds) for g in found) <= 4 + len(found) - 1


def test_workers_share_an_ensemble_of_small_networks_but_leave_each_member_company() -> None:
    wanted = experiments("seed={ stop = 64 }")
    assert sizes(wanted, workers=1) == [64]
    assert sizes(wanted, workers=2) == [32, 32]
    assert sizes(wanted, workers=64) == [plan.COMPANY] * 16
    assert sizes(wanted[:6], workers=4) == [6]


def test_large_networks_need_no_company(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = experiments("seed={ stop = 6 }", "network.width=32")
    assert sizes(wanted, workers=3) == [6]
    monkeypatch.setattr(plan, "LARGE", tried(group_of(wanted[0])).cycle_flops - 1)
    assert sizes(wanted, workers=3) == [2, 2, 2]
    assert sizes(wanted, workers=64) == [1] * 6


@pytest.mark.long
def test_networks_of_a_usual_large_size_are_large() -> None:
    wanted = experiments("seed={ stop = 6 }", "network.width=768", "network.depth=4", "student.batch=128")
    assert tried(group_of(wanted[0])).cycle_flops > plan.LARGE
    assert sizes(wanted, workers=3) == [2, 2, 2]


def test_a_worker_does_not_split_what_others_wait_for() -> None:
    """Two shapes of equal work for two workers: nobody is idle, so nothing is gained by splitting."""
    wanted = experiments("law.scale=[1.0, 2.0]", "seed={ stop = 16 }")
    assert sizes(wanted, workers=2) == [16] * 2


def test_sharing_out_keeps_the_runs_of_a_seed_together() -> None:
    wanted = experiments('student.init=["teacher", "rotated", "random"]', "seed={ stop = 6 }")
    found = plan.ensembles(wanted, PLENTY, CPU, 4)
    assert len(found) == 4
    assert sum(len(g.seeds) for g in found) == 6


def test_on_a_gpu_one_ensemble_stays_one() -> None:
    assert sizes(experiments("seed={ stop = 64 }"), workers=4, device=GPU) == [64]


# --- the memory is not exceeded

SHAPES = [*experiments(), experiment(teacher__kind="network", network__width=64, student__batch=256)]


@given(
    counts=st.lists(st.integers(0, 24), min_size=len(SHAPES), max_size=len(SHAPES)),
    share=st.integers(2**20, 2**28),
    workers=st.integers(1, 6),
)
@settings(max_examples=50, deadline=None)
def test_no_plan_exceeds_a_stated_memory(counts: list[int], share: int, workers: int) -> None:
    """Every run is planned once, and the processes at work together fit; or the plan is refused."""
    wanted = [e.model_copy(update={"seed": s}) for e, count in zip(SHAPES, counts, strict=True) for s in range(count)]
    stated = (workers + (workers > 1)) * limits.PROCESS + workers * share
    try:
        found = plan.plan(wanted, CPU, workers, stated)
    except InputError:  # only where there is no room for one run
        assert stated < 2 * limits.PROCESS + max(tried(group_of(e)).bytes(1, "cpu") for e in wanted)
        return
    assert ids([part.group for part in found.parts]) == ids([group_of(e) for e in wanted])
    assert 1 <= found.workers <= workers
    assert all(part.bytes <= found.share for part in found.parts)
    parent = limits.PROCESS if found.workers > 1 else 0
    assert found.bytes + parent <= stated
    assert [part.flops for part in found.parts] == sorted((part.flops for part in found.parts), reverse=True)


LONG_ROWS = ("law.dim=[256, 255]", "student.batch=128", "student.iterations=4", "measure.samples=500")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system does not say what a process took")
@pytest.mark.parametrize("words", [("law.dim=[2, 3]",), pytest.param(LONG_ROWS, marks=pytest.mark.slow)], ids=str)
def test_a_process_takes_no_more_than_the_plan_says(words: tuple[str, ...], tmp_path: Path) -> None:
    """As the system counts it and the sweep tells it: the interpreter and its libraries, several ensembles one after
    the other with their calibration and measures, and what the allocator keeps."""
    planned = plan.plan(experiments("seed={ stop = 16 }", *words), CPU, 2, 3 * limits.PROCESS + 2**28)
    taken: dict[int, int] = {}
    for _, event in sweep(planned, Store(tmp_path)):
        if isinstance(event, Taken):
            taken[event.process] = event.bytes
    assert taken
    assert max(taken.values()) <= max(part.bytes for part in planned.parts) <= planned.share
    assert sum(taken.values()) <= planned.bytes


def test_a_run_too_large_to_fit_is_refused_in_a_sentence() -> None:
    wanted = experiments("network.width=64")
    with pytest.raises(InputError, match=r"one run of mixture d=2, residual 64 x 1 needs .* MiB on cpu") as error:
        plan.plan(wanted, CPU, 1, limits.PROCESS + 2**20)
    for told in ("leaves 1.0 MiB beside", "network", "student.batch", "measure.samples", "--device", "--memory"):
        assert told in str(error.value)


def test_fewer_workers_where_a_run_needs_more_than_a_workers_share() -> None:
    wanted = experiments("seed={ stop = 8 }")
    alone = tried(group_of(wanted[0])).bytes(1, "cpu")
    found = plan.plan(wanted, CPU, 8, 3 * limits.PROCESS + int(2.5 * alone))
    assert found.workers == 2
    assert any("2 of 8 workers" in sentence for sentence in found.decisions)


def test_a_gpu_too_small_to_be_shared_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = experiments("seed={ stop = 8 }", "network.precision=float32")
    free = limits.CONTEXT + 2 * tried(group_of(wanted[0])).bytes(1, "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    found = plan.plan(wanted, GPU, 3)
    assert (found.workers, found.share) == (1, int(limits.SHARE * free) + limits.CONTEXT)


def test_a_plan_says_what_it_decided() -> None:
    wanted = experiments("law.dim=[2, 3]", "seed={ stop = 16 }")
    found = plan.plan(wanted, CPU, 4, PLENTY)
    assert found.summary().startswith("32 runs in 4 ensembles of up to 8, 4 workers")
    assert limits.size_text(found.bytes) in found.summary()
    assert "1.0 TiB" in found.decisions[0]
    assert sum("16 runs as 2 ensembles of 8, to keep all workers busy" in s for s in found.decisions) == 2
    assert any("2 of 2 shapes of runs: each as one ensemble" in s for s in plan.plan(wanted, CPU, 1, PLENTY).decisions)
    tight = plan.plan(wanted, CPU, 1, limits.PROCESS + tried(group_of(wanted[-1])).bytes(10, "cpu"))
    assert any("since all together would need more than" in s for s in tight.decisions)
    assert plan.plan([], CPU, 4, PLENTY).parts == []


# --- time


def test_the_last_of_several_workers_ends_a_sweep() -> None:
    assert makespan([3.0, 1.0, 2.0], 1) == 6.0
    assert makespan([3.0, 1.0, 2.0], 2) == 3.0
    assert makespan([3.0, 3.0, 2.0], 5) == 3.0
    assert makespan([], 2) == 0.0


@pytest.mark.parametrize(
    ("times", "devices", "bound"),
    [
        ([1.0] * 8, 4, "throughput"),
        ([4.0, 1.0, 1.0, 1.0], 3, "longest ensemble"),
        ([1.0, 1.0], 3, "number of ensembles"),
        ([], 2, "throughput"),
    ],
)
def test_what_bounds_a_sweep_is_said(times: list[float], devices: int, bound: str) -> None:
    found = schedule(times, devices)
    assert found.bound == bound
    told = found.in_words("GPU", str, [f"e{i}" for i in range(len(times))])
    assert bound in told or not times
    assert ("e0, 4.0" in told) == (bound == "longest ensemble")


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_a_schedule_is_no_better_than_possible_and_at_most_a_third_worse(times: list[float], devices: int) -> None:
    least = max(sum(times) / devices, *times)
    found = schedule(times, devices)
    assert least * (1 - 1e-9) <= found.makespan <= least * 2  # Graham: 4/3 of the best, which may be above `least`
    assert -1e-9 <= found.idle < 1


def test_plan_counts_measure_turns() -> None:
    plain, turning = (group_of(*experiments(f"measure.turns={text}", "law.dim=8")) for text in ("false", "true"))
    each, once = (
        after - before for before, after in zip(*(host_bytes(g.shared, 0) for g in (plain, turning)), strict=True)
    )
    rows = 50 * 8  # at d = 8
    assert (each, once) == (3 * 4 * rows * 8, TURNING * 4 * rows * 8)
    flows = 5 * (rows + 2 * 24) / 24  # a member's, and four of its seed, in flows of 24 rows
    assert (turn_flows(plain), turn_flows(turning)) == (0.0, pytest.approx(flows))
    seconds = [Speed(0.0, 0.0, 1.0).seconds(group, 1) for group in (plain, turning)]
    assert seconds[1] - seconds[0] == pytest.approx(flows * flow_calls(plain.shared, plain.shared.teacher.steps))


def test_plan_says_when_many_gpus_would_be_done() -> None:
    told = json.loads(CliRunner().invoke(planning, [*SMOKE[:-4], "--device", "cpu", "--gpus", "3", "--json"]).stdout)
    assert (told["devices"], told["bound"] in get_args(Bound)) == (3, True)
    assert told["device_seconds"] == pytest.approx(sum(row["seconds"] for row in told["ensembles"]))


def test_every_shape_is_timed_once_on_a_workers_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def timed(group: Group, device: torch.device) -> Speed:
        threads.append(torch.get_num_threads())
        return Speed(1.0, 0.0, 0.0)

    monkeypatch.setattr(plan, "timed", timed)
    planned = plan.plan(experiments("law.dim=[2, 3]", "seed={ stop = 16 }"), CPU, 4, PLENTY)
    own = [len(part.group) for part in planned.parts]
    assert planned.seconds([0.0] * len(own)) == pytest.approx([4 * members / plan.MOST_MEMBERS for members in own])
    assert threads == [1, 1]


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
    monkeypatch.setattr(limits, "allowed_cores", lambda: cores)
    monkeypatch.setattr(limits.cgroups, "cpu_quota", lambda: quota)
    assert (limits.default_workers(CPU), limits.default_workers(GPU)) == (on_cpu, on_gpu)


@pytest.mark.parametrize(
    ("threads", "cores", "quota", "workers", "each"),
    [(64, 64, None, 4, 16), (64, 64, 8.0, 4, 2), (1, 64, 8.0, 4, 1), (64, 4, None, 3, 1), (64, 64, 0.5, 1, 1)],
)
def test_workers_share_the_threads_that_get_time(
    threads: int, cores: int, quota: float | None, workers: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(limits, "allowed_cores", lambda: cores)
    monkeypatch.setattr(limits.cgroups, "cpu_quota", lambda: quota)
    assert limits.threads_each(workers) == each


# --- on the command line


SMOKE = ["--preset", "smoke", *TINY, "seed={ start = 0, stop = 8 }", "law.dim=[2, 3]", "--workers", "2"]
SMOKE += ["--device", "cpu"]


def test_plan_shows_a_table_and_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(planning, [*SMOKE, "--memory", "8GiB"])
    assert result.exit_code == 0
    assert "16 runs in 2 ensembles of up to 8, 2 workers" in result.stdout
    assert "(8.0 GiB as stated, 2 workers)" in result.stdout
    assert "TFLOP" in result.stdout
    assert re.search(
        r"8 students of .* while it distils: teachers, students and fake scores, their grad", result.stdout
    )
    assert "not starting up" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_plan_gives_json_to_programs() -> None:
    found = json.loads(CliRunner().invoke(planning, [*SMOKE, "--json"]).stdout)
    assert found["workers"] == 2
    assert [(row["dim"], row["members"]) for row in found["ensembles"]] == [(3, 8), (2, 8)]
    assert found["seconds"] == pytest.approx(max(row["seconds"] for row in found["ensembles"]))
    assert all(row["flops"] > 0 and row["bytes"] > max(row["peaks"].values()) > 0 for row in found["ensembles"])


def test_plan_wants_an_experiment() -> None:
    assert isinstance(CliRunner().invoke(planning, []).exception, InputError)


def test_memory_that_cannot_be_read_or_does_not_suffice_is_refused(dmdlab: Command, tmp_path: Path) -> None:
    for command in ("run", "sweep"):
        for size, told in (("8", "expected a number and a unit"), ("64KiB", "one run of mixture d=2")):
            code, _, err = dmdlab(command, "--preset", "smoke", *TINY, "--memory", size, "--out", tmp_path / "out")
            assert code == 2
            assert told in err
            assert "Traceback" not in err
    assert not (tmp_path / "out" / "runs").exists()
