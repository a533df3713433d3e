"""A sweep behind progress bars: one for all runs, one for each ensemble at work. Into a file, a line now and then."""

import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dmdlab.cli import show
from dmdlab.cli.pace import Ensemble, Pace, duration, throughput
from dmdlab.config import Experiment

if TYPE_CHECKING:
    from dmdlab.lab.plan import Plan
    from dmdlab.lab.sweep import Event

LOG_SECONDS = 60.0
"""Time between two lines on how it goes where there is no terminal for bars (ours)."""


def follow(
    experiments: Sequence[Experiment],
    out: Path,
    device: Any,
    workers: int,
    memory: int | None = None,
    graph: bool | None = None,
) -> None:
    """Run what `out` lacks. Ctrl-C, and a scheduler's SIGTERM, say what is kept and how to go on; exit status 130."""
    from dmdlab.lab.sweep import missing, sweep

    try:
        with _terminated_as_interrupted(), show.bars() as bars:
            board = Board(bars)
            for index, event in sweep(experiments, out, device, workers, memory, graph):
                board.show(index, event)
    except KeyboardInterrupt:
        kept = len(experiments) - len(missing(experiments, out))
        show.err().print(f"\nInterrupted: {kept} of {len(experiments)} runs are finished and kept in {out}.")
        if any((out / "checkpoints").glob("*.safetensors")):
            show.err().print("What was training goes on from its last checkpoint.")
        show.err().print(f"Go on with: {shlex.join(['dmdlab', *sys.argv[1:]])}", soft_wrap=True)
        raise typer.Exit(130) from None


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Within it, SIGTERM does what Ctrl-C does."""

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # where no signal can be heard
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Board:
    """The bars and what they say. clock: seconds, from anywhere."""

    def __init__(self, bars: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.bars, self.clock = bars, clock
        self.runs = bars.add_task("runs", total=None, text="")
        self.done = self.total = 0
        self.tasks: dict[int, Any] = {}
        self.names: dict[int, str] = {}
        self.left: dict[int, int] = {}
        self.ensembles: dict[int, Ensemble] = {}
        self.memory: dict[int, int] = {}
        self.pace = Pace(0.0, 0, clock())
        self.logged = clock()

    def show(self, index: int, event: "Event") -> None:
        """Bring the bars up to date with one event of ensemble `index`."""
        from dmdlab.lab import sweep

        match event:
            case sweep.Planned(plan):
                self._plan(plan)
            case sweep.Started(experiments):
                self._start(index, experiments)
            case sweep.Taken(process, taken):
                self.memory[process] = taken
            case sweep.Split(_, parts, why):
                self._split(index, parts, why)
            case sweep.Finished():
                self._finish(index, event)
            case _:
                share = event.done / max(1, event.total)
                self.ensembles[index].progress(event.stage, share, self.clock())
                name = f"{self.names[index]}: {event.stage}"
                task = self.tasks[index]
                self.bars.update(task, description=name, completed=event.done, total=event.total, text=event.text)
        self.bars.update(self.runs, text=self.state())
        self._log()

    def state(self) -> str:
        """'2.4 students/min, 3 min left, 1.2 GiB': what is known of it."""
        from dmdlab.device.limits import size_text

        now = self.clock()
        rate, left = self.pace.students_per_second(now), self.pace.seconds_left(now)
        parts = [throughput(rate)] if rate else []
        parts += [f"{duration(left)} left"] if left and self.done < self.total else []
        parts += [f"{size_text(sum(self.memory.values()))} at most"] if self.memory else []
        return ", ".join(parts)

    def _plan(self, plan: "Plan") -> None:
        self.total = sum(len(part.experiments) for part in plan.parts)
        self.pace = Pace(float(sum(part.flops for part in plan.parts)), self.total, self.clock())
        self.bars.update(self.runs, total=self.total)
        if plan.parts:
            self._say(plan.summary())

    def _start(self, index: int, experiments: list[Experiment]) -> None:
        from dmdlab.lab.plan import work_by_stage

        law = experiments[0].law
        self.names[index], self.left[index] = f"{law.name} d={law.dim}", len(experiments)
        self.ensembles[index] = Ensemble(work_by_stage(experiments), self.pace)
        if index not in self.tasks:
            self.tasks[index] = self.bars.add_task(self.names[index], total=None, text="")
        students = f"{len(experiments)} students as one ensemble" if len(experiments) > 1 else "1 student"
        self._say(f"{self.names[index]}: {students}")

    def _split(self, index: int, parts: list[list[Experiment]], why: str) -> None:
        from dmdlab.lab.plan import flops

        self.ensembles[index].again(sum(flops(part) for part in parts))
        sizes = " and ".join(str(len(part)) for part in parts)
        self._say(f"{self.names[index]}: out of memory, going on with {sizes} students at a time ({why})")

    def _finish(self, index: int, event: Any) -> None:
        self.done += 1
        self.bars.advance(self.runs)
        self.left[index] -= 1
        if event.status == "failed":
            self._say(f"failed: {event.folder.name}")
        if not self.left[index]:
            self.bars.remove_task(self.tasks.pop(index))
            self._say(f"{self.names[index]}: done")

    def _say(self, line: str) -> None:
        self.bars.console.print(line, soft_wrap=True)

    def _log(self) -> None:
        """Without bars, a line a minute."""
        if self.bars.disable and self.clock() - self.logged >= LOG_SECONDS:
            self.logged = self.clock()
            state = self.state()
            self._say(f"{self.done} of {self.total} runs" + (f"; {state}" if state else ""))
