"""How a sweep tells where it stands, with the clock in the test's hand."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress as Bars
from small import CPU, experiments

from dmdlab.cli.follow import LOG_SECONDS, Board
from dmdlab.cli.pace import MEANINGFUL_SECONDS, WINDOW_SECONDS, Ensemble, Pace, duration, throughput
from dmdlab.lab import sweep
from dmdlab.lab.plan import DISTILLING, START_NETWORKS, plan, work_by_stage
from dmdlab.lab.run import Progress, run_ensemble

# --- the pace


def test_time_left_is_work_left_over_the_rate() -> None:
    pace = Pace(total=1000.0, students=10, start=100.0)
    for second in range(1, 21):
        pace.advance(10.0, 100.0 + second)
    assert pace.rate(120.0) == pytest.approx(10.0)
    assert pace.seconds_left(120.0) == pytest.approx(80.0)
    assert pace.students_per_second(120.0) == pytest.approx(0.1)


def test_nothing_is_told_before_it_means_something() -> None:
    pace = Pace(total=1000.0, students=10, start=0.0)
    assert pace.seconds_left(1000.0) is None  # nothing done yet
    pace.advance(10.0, MEANINGFUL_SECONDS / 2)
    assert pace.seconds_left(MEANINGFUL_SECONDS / 2) is None
    assert pace.seconds_left(MEANINGFUL_SECONDS) is not None


def test_no_time_is_left_when_all_parts_are_done() -> None:
    pace = Pace(total=1.0, students=1, start=0.0)
    for second in range(1, 11):
        pace.advance(0.1, float(second))  # ten tenths are not quite one
    assert pace.total != pace.done
    assert pace.seconds_left(10.0) == 0.0


def test_the_rate_is_that_of_late() -> None:
    """A slow first minute is forgotten once there is enough after it; a stop slows the rate down as it lasts."""
    pace = Pace(total=1e6, students=1, start=0.0)
    for second in range(1, 61):
        pace.advance(1.0, float(second))
    for second in range(61, 241):
        pace.advance(100.0, float(second))
    assert pace.rate(240.0) == pytest.approx(100.0)
    assert pace.rate(240.0 + WINDOW_SECONDS) < 70.0  # type: ignore[operator]


def test_work_found_done_is_not_speed() -> None:
    pace = Pace(total=1000.0, students=1, start=0.0)
    pace.skip(400.0)
    pace.advance(60.0, 10.0)
    assert pace.rate(10.0) == pytest.approx(6.0)
    assert pace.seconds_left(10.0) == pytest.approx(540 / 6)


WORK = {START_NETWORKS: 100.0, DISTILLING: 900.0}


def test_an_ensembles_stages_add_up_to_its_work() -> None:
    pace = Pace(1000.0, 1, 0.0)
    ensemble = Ensemble(WORK, pace)
    for now, (stage, share) in enumerate([(START_NETWORKS, 0.5), (START_NETWORKS, 1.0), ("pairing", 1.0)], start=1):
        ensemble.progress(stage, share, float(now))
    assert pace.done == 100.0
    for i in range(1, 101):
        ensemble.progress(DISTILLING, i / 100, 10.0 + i)
    assert pace.done == pytest.approx(1000.0)
    assert pace.total == 1000.0


def test_start_networks_that_are_there_and_a_checkpoint_are_taken_off_the_total() -> None:
    pace = Pace(1000.0, 1, 0.0)
    ensemble = Ensemble(WORK, pace)
    ensemble.progress(DISTILLING, 0.6, 1.0)
    assert pace.total == pytest.approx(1000 - 100 - 540)
    assert pace.done == 0
    ensemble.progress(DISTILLING, 1.0, 2.0)
    assert pace.done == pytest.approx(pace.total)


def test_work_that_is_done_again_after_a_split_is_added() -> None:
    pace = Pace(1000.0, 1, 0.0)
    ensemble = Ensemble(WORK, pace)
    ensemble.progress(START_NETWORKS, 1.0, 1.0)
    ensemble.progress(DISTILLING, 0.05, 2.0)
    ensemble.again(950.0)
    assert pace.total - pace.done == pytest.approx(950.0)


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


# --- the board


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def board(terminal: bool) -> tuple[Board, Clock, io.StringIO]:
    told, clock = io.StringIO(), Clock()
    console = Console(file=told, force_terminal=terminal, width=200, highlight=False)
    return Board(Bars(console=console, disable=not terminal, auto_refresh=False), clock), clock, told


def finished(experiment: Any, status: str = "done") -> sweep.Finished:
    return sweep.Finished(experiment, Path("runs/some-run"), status)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_board_tells_speed_time_left_and_memory(terminal: bool) -> None:
    wanted = experiments("seed=[0, 1]", "student.iterations=1000")
    shown, clock, told = board(terminal)
    shown.show(0, sweep.Planned(plan(wanted, CPU, 1, 2**40)))
    shown.show(0, sweep.Started(wanted))
    work = work_by_stage(wanted)
    for i in range(1, 101):
        clock.now += work[START_NETWORKS] / sum(work.values())
        shown.show(0, Progress(START_NETWORKS, i, 100))
    for i in range(1, 51):
        clock.now += work[DISTILLING] / sum(work.values())
        shown.show(0, Progress(DISTILLING, i * 10, 1000))
    shown.show(0, sweep.Taken(7, 2**30))
    shown.show(0, sweep.Taken(8, 2**30))
    shown.show(0, sweep.Taken(8, 2**31))
    assert shown.state() == "1.2 students/min, 50 s left, 3.0 GiB at most"
    shown.show(0, finished(wanted[0]))
    shown.show(0, finished(wanted[1], "failed"))
    assert "left" not in shown.state()
    lines = told.getvalue()
    for line in ("2 runs in 1 ensemble of up to 2, 1 worker", "2 students as one ensemble", "failed: some-run"):
        assert line in lines


def test_without_a_terminal_a_line_a_minute_and_no_bars() -> None:
    wanted = experiments("seed=[0, 1]")
    shown, clock, told = board(terminal=False)
    shown.show(0, sweep.Planned(plan(wanted, CPU, 1, 2**40)))
    shown.show(0, sweep.Started(wanted))
    before = len(told.getvalue().splitlines())
    for i in range(1, 201):
        clock.now += 1.0
        shown.show(0, Progress(DISTILLING, i, 200))
    lines = told.getvalue().splitlines()[before:]
    assert len(lines) == int(200 // LOG_SECONDS)
    assert all(line.startswith("0 of 2 runs; ") for line in lines)
    assert "\r" not in told.getvalue()


def test_a_split_is_one_line_and_its_parts_follow() -> None:
    wanted = experiments("seed={ stop = 4 }")
    shown, _, told = board(terminal=False)
    shown.show(0, sweep.Planned(plan(wanted, CPU, 1, 2**40)))
    shown.show(0, sweep.Started(wanted))
    shown.show(0, sweep.Split(wanted, [wanted[:2], wanted[2:]], "CUDA out of memory"))
    for half in (wanted[:2], wanted[2:]):
        shown.show(0, sweep.Started(half))
        for e in half:
            shown.show(0, finished(e))
    lines = told.getvalue().splitlines()
    assert sum("out of memory" in line for line in lines) == 1
    assert any("going on with 2 and 2 students at a time (CUDA out of memory)" in line for line in lines)
    assert shown.tasks == {}
    assert shown.done == 4


def test_the_stages_that_work_is_counted_in_are_those_of_a_run() -> None:
    stages = {e.stage for e in run_ensemble(experiments(), CPU) if isinstance(e, Progress)}
    assert {START_NETWORKS, DISTILLING} <= stages


def test_a_sweep_tells_the_memory_it_took(tmp_path: Path) -> None:
    events = [event for _, event in sweep.sweep(experiments(), tmp_path, CPU)]
    assert isinstance(events[0], sweep.Planned)
    assert any(isinstance(e, sweep.Taken) and e.bytes > 0 for e in events)
