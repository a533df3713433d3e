"""A sweep behind progress bars: one for all runs, one for each ensemble at work."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dmdlab.cli import show
from dmdlab.config import Experiment

if TYPE_CHECKING:
    from dmdlab.lab.sweep import Event


def follow(experiments: Sequence[Experiment], out: Path, device: Any, workers: int) -> None:
    """Run what `out` lacks; Ctrl-C says what is kept and how to go on, and exits with status 130."""
    from dmdlab.lab.sweep import missing, sweep

    todo = missing(experiments, out)
    try:
        with show.bars() as bars:
            board = _Board(bars, len(todo))
            for index, event in sweep(experiments, out, device, workers):
                board.show(index, event)
    except KeyboardInterrupt:
        kept = len(experiments) - len(missing(experiments, out))
        show.err().print(f"\nInterrupted: {kept} of {len(experiments)} runs are finished and kept in {out}.")
        show.err().print(f"Go on with: {shlex.join(['dmdlab', *sys.argv[1:]])}", soft_wrap=True)
        raise typer.Exit(130) from None


class _Board:
    """The bars and what they say."""

    def __init__(self, bars: Any, total: int) -> None:
        self.bars = bars
        self.runs = bars.add_task("runs", total=total, text="")
        self.tasks: dict[int, Any] = {}
        self.names: dict[int, str] = {}
        self.left: dict[int, int] = {}

    def show(self, index: int, event: "Event") -> None:
        """Bring the bars up to date with one event of ensemble `index`."""
        from dmdlab.lab.sweep import Finished, Started

        if isinstance(event, Started):
            law = event.experiments[0].law
            self.names[index], self.left[index] = f"{law.name} d={law.dim}", len(event.experiments)
            self.tasks[index] = self.bars.add_task(self.names[index], total=None, text="")
            self.bars.console.print(f"{self.names[index]}: {self.left[index]} students as one ensemble")
        elif isinstance(event, Finished):
            self.bars.advance(self.runs)
            self.left[index] -= 1
            if event.status == "failed":
                self.bars.console.print(f"failed: {event.folder.name}")
            if not self.left[index]:
                self.bars.remove_task(self.tasks.pop(index))
                self.bars.console.print(f"{self.names[index]}: done")
        else:
            name = f"{self.names[index]}: {event.stage}"
            self.bars.update(
                self.tasks[index], description=name, completed=event.done, total=event.total, text=event.text
            )
