"""How a sweep tells where it stands, with the clock in the test's hand."""

import io
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress as Bars
from small import CPU, experiments

from dmdlab.cli.follow import LOG_SECONDS, AtWork, Board
from dmdlab.cli.show import duration, throughput
from dmdlab.group import Group
from dmdlab.lab import sweep
from dmdlab.lab.plan import Plan, flops, plan, work_by_stage
from dmdlab.lab.run import DISTILLING, MEASURING, PAIRING, START_NETWORKS, Progress, run_group
from dmdlab.lab.store import Store

WANTED = experiments("seed={ stop = 4 }", "student.iterations=1000")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.34, "0.3 s"),
        (12.4, "12 s"),
        (89.0, "89 s"),
        (95.0, "2 min"),
        (5400.0, "1 h 30 min"),
        (7200.0, "2 h"),
        (200_000.0, "2 days 8 h"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(12.34, "12.3 students/s"), (0.1, "6 students/min"), (0.001, "3.6 students/h")]
)
def test_throughputs_read_well(rate: float, text: str) -> None:
    assert throughput(rate) == text


class Watched:
    """A board for one ensemble, what it prints, and the clock."""

    def __init__(self, terminal: bool = False) -> None:
        self.now, self.told, self.planned = 0.0, io.StringIO(), plan(WANTED, CPU, 1, 2**40)
        console = Console(file=self.told, force_terminal=terminal, width=200, highlight=False)
        self.bars = Bars(console=console, disable=not terminal, auto_refresh=False, get_time=self.clock)
        self.board = Board(self.bars, self.planned, self.clock)
        self.show(sweep.Started(self.group))

    def clock(self) -> float:
        return self.now

    @property
    def group(self) -> Group:
        (part,) = self.planned.parts
        return part.group

    def show(self, event: sweep.Event) -> None:
        self.board.show(0, event)

    def stage(self, stage: str, shares: Iterable[float], speed: float = 1.0) -> None:
        """Go through a stage at so many times the speed at which all runs take 100 seconds."""
        work, before = work_by_stage(self.group), 0.0
        for share in shares:
            self.now += 100.0 * (share - before) * work[stage] / sum(work.values()) / speed
            self.show(Progress(stage, round(1000 * share), 1000))
            before = share

    @property
    def done(self) -> float:
        """The share of all work that the bar of all runs shows."""
        task = self.bars.tasks[0]
        return task.completed / (task.total or 1.0)

    def finish(self, status: str = "done") -> None:
        self.show(sweep.Finished(WANTED[0], Path("runs/some-run"), status))


def ticks(end: float = 1.0) -> list[float]:
    return [i / 100 for i in range(round(100 * end) + 1)]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_board_tells_runs_speed_time_left_and_memory(terminal: bool) -> None:
    watched = Watched(terminal)
    watched.stage(START_NETWORKS, ticks())
    watched.show(Progress(PAIRING, 0, 1))
    watched.stage(DISTILLING, ticks(0.5))
    for process, taken in ((7, 2**30), (8, 2**30), (8, 2**31)):
        watched.show(sweep.Taken(process, taken))
    assert watched.board.state() == "0 of 4 runs, 2.4 students/min, 3.0 GiB taken"
    left = watched.bars.tasks[0].time_remaining
    assert left == pytest.approx(100 - watched.now, abs=2)
    watched.stage(DISTILLING, ticks()[51:])
    assert watched.done == pytest.approx(1.0)
    for status in ("done", "done", "failed", "done"):
        watched.finish(status)
    assert watched.board.state().startswith("4 of 4 runs")
    lines = watched.told.getvalue()
    for line in ("4 runs in 1 ensemble of up to 4, 1 worker", "4 students as one ensemble", "failed: some-run", "done"):
        assert line in lines
    assert not watched.bars.tasks[1].visible


def test_start_networks_that_are_there_and_a_checkpoint_are_no_speed() -> None:
    """They are taken off the total: what is left is the rest of the distillation."""
    watched = Watched()
    watched.show(Progress(DISTILLING, 600, 1000))
    assert watched.done == 0
    assert watched.bars.tasks[0].total == pytest.approx(0.4 * work_by_stage(watched.group)[DISTILLING])
    watched.show(Progress(DISTILLING, 800, 1000))
    assert watched.done == pytest.approx(0.5)
    watched.show(Progress(DISTILLING, 1000, 1000))
    assert watched.done == pytest.approx(1.0)


def test_a_distillation_that_starts_at_the_beginning_is_no_checkpoint() -> None:
    watched = Watched()
    watched.show(Progress(START_NETWORKS, 1000, 1000))
    watched.show(Progress(DISTILLING, 5, 1000))
    work = work_by_stage(watched.group)
    assert watched.bars.tasks[0].total == pytest.approx(sum(work.values()))
    assert watched.bars.tasks[0].completed == pytest.approx(work[START_NETWORKS] + 0.005 * work[DISTILLING])


def test_a_checkpoint_is_no_speed_where_turns_are_fitted_after_the_distillation() -> None:
    work = work_by_stage(Group(tuple(experiments("measure.turns=true"))))
    assert list(work) == [START_NETWORKS, DISTILLING, MEASURING]
    ensemble = AtWork("mixture", None, 4, work)
    assert ensemble.heard(DISTILLING, 0.8) == (0.0, work[START_NETWORKS] + 0.8 * work[DISTILLING])
    ensemble.heard(DISTILLING, 1.0)
    assert ensemble.heard(MEASURING, 1.0) == (work[MEASURING], 0.0)


def test_work_that_is_done_again_after_a_split_is_added() -> None:
    watched, halves = Watched(), [Group(tuple(WANTED[:2])), Group(tuple(WANTED[2:]))]
    watched.stage(START_NETWORKS, ticks())
    watched.stage(DISTILLING, ticks(0.05))
    watched.show(sweep.Split(halves, "CUDA out of memory"))
    task = watched.bars.tasks[0]
    assert (task.total or 0.0) - task.completed == pytest.approx(sum(map(flops, halves)))
    for half in halves:
        watched.show(sweep.Started(half))
        for share in (0, 500, 1000):
            watched.show(Progress(DISTILLING, share, 1000))
        for _ in half.members:
            watched.finish()
    assert watched.done == pytest.approx(1.0)
    lines = watched.told.getvalue().splitlines()
    assert sum("out of memory" in line for line in lines) == 1
    assert any("going on with 2 and 2 students at a time (CUDA out of memory)" in line for line in lines)
    assert watched.board.state().startswith("4 of 4 runs")


def test_without_a_terminal_a_line_a_minute_and_no_bars() -> None:
    watched = Watched()
    before = len(watched.told.getvalue().splitlines())
    watched.stage(START_NETWORKS, ticks(), speed=0.3)
    watched.stage(DISTILLING, ticks(), speed=0.3)
    lines = watched.told.getvalue().splitlines()[before:]
    assert len(lines) == int(watched.now // LOG_SECONDS) == 5
    assert all(line.startswith("0 of 4 runs") for line in lines)
    assert all("students/" in line and " of training left; " in line for line in lines[:-1])
    assert all(f": {DISTILLING}, " in line and line.endswith(" % done") for line in lines)
    watched.now += 2 * LOG_SECONDS
    watched.show(Progress(MEASURING, 3, 4, "calibration"))
    told = watched.told.getvalue()
    assert told.splitlines()[-1].endswith(f"; mixture d=2: {MEASURING}, 75 % done (calibration)")
    assert "\r" not in told


def test_what_is_done_is_no_longer_told_to_be_at_work() -> None:
    watched = Watched()
    watched.stage(DISTILLING, ticks())
    for _ in range(4):
        watched.finish()
    watched.now += 2 * LOG_SECONDS
    watched.show(sweep.Taken(1, 2**30))
    assert watched.told.getvalue().splitlines()[-1] == "4 of 4 runs, 1.0 GiB taken"


def test_an_ensemble_whose_worker_was_lost_is_at_work_again_when_it_goes_on() -> None:
    watched = Watched()
    for event, at in ((sweep.Lost("a worker was killed", 1, 2), False), (Progress(DISTILLING, 1, 4), True)):
        watched.now += 2 * LOG_SECONDS
        watched.show(Progress(DISTILLING, 2, 4))
        watched.now += 2 * LOG_SECONDS
        watched.show(event)
        assert (f"{DISTILLING}, " in watched.told.getvalue().splitlines()[-1]) == at


def test_a_plan_of_nothing_says_nothing() -> None:
    told = io.StringIO()
    bars = Bars(console=Console(file=told), disable=True)
    nothing: Plan = plan([], CPU, 1, 2**40)
    assert Board(bars, nothing).state() == "0 of 0 runs"
    assert told.getvalue() == ""


def test_the_stages_that_work_is_counted_in_are_those_of_a_run(tmp_path: Path) -> None:
    events = run_group(Group(tuple(experiments())), Store(tmp_path), CPU)
    stages = [e.stage for e in events if isinstance(e, Progress)]
    assert set(work_by_stage(Group(tuple(WANTED)))) <= set(stages)


def test_a_sweep_tells_the_memory_it_took(tmp_path: Path) -> None:
    events = [event for _, event in sweep.sweep(plan(experiments(), CPU), Store(tmp_path))]
    assert isinstance(events[0], sweep.Started)
    assert any(isinstance(e, sweep.Taken) and e.bytes > 0 for e in events)
