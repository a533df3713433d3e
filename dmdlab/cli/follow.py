"""A sweep behind progress bars: one for all runs, one for each ensemble at work. Into a file, a line now and then.

The bar of all runs counts operations, so a large ensemble counts for more than a small one. What a sweep finds already
done, such as start networks that its folder holds, is taken off the total instead of being mistaken for speed.
"""

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dmdlab.cli import show
from dmdlab.config import Experiment, InputError
from dmdlab.trouble import Unwritable, counted, first_names

if TYPE_CHECKING:
    from dmdlab.group import Group
    from dmdlab.lab.plan import Plan
    from dmdlab.lab.run import Progress
    from dmdlab.lab.store import Store
    from dmdlab.lab.sweep import Event

LOG_SECONDS = 60.0
"""Time between two lines on how it goes where there is no terminal for bars (ours)."""

RESUMED = 0.1
"""When the first news of a distillation is beyond this share, it goes on from a checkpoint."""


def follow(
    planned: "Plan",
    store: "Store",
    experiments: Sequence[Experiment],
    doing: "Iterator[tuple[int, Event]] | None" = None,
) -> None:
    """Do what is planned. doing: what happens, by default a sweep on this machine. Where Ctrl-C, a signal or a disk
    that takes no more ends it, the error says what of `experiments` is kept and how to go on. Raises as
    `dmdlab.lab.sweep.to_the_end` where ensembles ended in an error."""
    from dmdlab.lab.sweep import sweep

    try:
        with show.bars() as bars:
            board = Board(bars, planned)
            for index, event in sweep(planned, store) if doing is None else doing:
                board.show(index, event)
            board.shared()
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(_kept(store, experiments, dropped=bool(getattr(interrupt, "__notes__", []))))
        raise
    except Unwritable as error:
        raise InputError(f"{error}. {' '.join(_kept(store, experiments).splitlines())}") from error


def _kept(store: "Store", experiments: Sequence[Experiment], dropped: bool = False) -> str:
    """What is kept of an unfinished sweep, and how to go on. dropped: whether it was said what is not."""
    kept = len(experiments) - len(store.missing(experiments))
    said = [f"{kept} of {len(experiments)} runs are finished and kept in {store.out}."]
    if store.has_checkpoints():
        said.append(f"What {'else ' if dropped else ''}was training goes on from its last checkpoint.")
    return "\n".join([*said, f"Go on with: {shlex.join(['dmdlab', *sys.argv[1:]])}"])


class Board:
    """The bars and what they say. clock: seconds, from anywhere."""

    def __init__(self, bars: Any, planned: "Plan", clock: Callable[[], float] = time.monotonic) -> None:
        self.bars, self.clock, self.total, self.finished = bars, clock, planned.runs, 0
        self.work = float(sum(part.flops for part in planned.parts))
        self.each = self.work / max(1, self.total)  # operations of an average student
        self.runs = bars.add_task("all runs", total=self.work or None, text="")
        self.ensembles: dict[int, AtWork] = {}
        self.memory: dict[tuple[str, int], int] = {}
        self.at: dict[int, tuple[str, int]] = {}  # where ensembles are at work, if told
        self.others, self.vain = 0, 0
        self.logged = clock()
        if planned.parts:
            self._say(planned.summary())

    def show(self, index: int, event: "Event") -> None:
        """Bring the bars up to date with one event of ensemble `index`."""
        from dmdlab.lab import sweep

        match event:
            case sweep.Started(group):
                self._start(index, group)
            case sweep.Taken(process, taken, host):
                self.memory[host, process] = taken
            case sweep.Split(parts, why):
                self._split(index, parts, why)
            case sweep.Finished():
                self._finish(index, event)
            case sweep.Elsewhere(done, held):
                self._elsewhere(done, held)
            case sweep.At(host, process):
                self.at[index] = host, process
            case sweep.Lost(why, again, most):
                self._leave(index)
                name = self.ensembles[index].name if index in self.ensembles else f"ensemble {index + 1}"
                self._say(f"{name}: {why}; begun again, {again} of {most} times")
            case sweep.Raised(error):
                self._raise(index, error)
            case _:
                self._progress(self.ensembles[index], event)
        self.bars.update(self.runs, total=self.work or None, text=self.state())
        self._log()

    def state(self) -> str:
        """'12 of 32 runs, 2.4 students/min, 951 MiB taken': what is known of it."""
        from dmdlab.device.limits import size_text

        speed = self.bars.tasks[self.runs].speed
        parts = [f"{self.finished} of {self.total} runs"]
        parts += [show.throughput(speed / self.each)] if speed and self.each else []
        parts += [f"{size_text(sum(self.memory.values()))} taken"] if self.memory else []
        hosts = {host for host, _ in self.at.values()}
        parts += [f"{counted(len(self.at), 'worker')} on {counted(len(hosts), 'machine')}"] if hosts else []
        return ", ".join(parts)

    def shared(self) -> None:
        """Say what other sweeps into the same folder did of this one, and what was done twice."""
        if self.others:
            self._say(f"{counted(self.others, 'run')} of these another sweep has published.")
        if self.vain:
            self._say(f"made in vain: {counted(self.vain, 'run')}, which another sweep had published first; those stay")

    def _elsewhere(self, done: Sequence[Experiment], held: Sequence[Experiment]) -> None:
        from dmdlab.group import Group
        from dmdlab.lab.plan import flops

        self.finished += len(done)
        self.others += len(done)
        self.work -= flops(Group(tuple(done))) if done else 0
        if held and not done:
            where = f"{held[0].law.name} d={held[0].law.dim}"
            self._say(f"{where}: another sweep is at {counted(len(held), 'run')}; looked at again in the end")

    def _free(self, index: int) -> None:
        """The worker that was at this ensemble is so no more."""
        self.memory.pop(self.at.pop(index, ("", 0)), None)

    def _leave(self, index: int) -> None:
        """An ensemble is at work no more: what it has done is not counted where it begins anew."""
        self._free(index)
        if index in self.ensembles:
            self.bars.update(self.ensembles[index].task, visible=False)
            self.work += self.ensembles[index].heard_of()

    def _raise(self, index: int, error: Exception) -> None:
        from dmdlab.lab.sweep import error_text

        self._free(index)
        ensemble = self.ensembles.get(index)
        if ensemble:
            self.work -= ensemble.left()
            self.bars.update(ensemble.task, visible=False)
        self._say(f"{ensemble.name if ensemble else f'ensemble {index + 1}'}: ended in an error: {error_text(error)}")

    def _start(self, index: int, group: "Group") -> None:
        from dmdlab.lab.plan import work_by_stage

        name = f"{group.shared.law.name} d={group.shared.law.dim}"
        old = self.ensembles.get(index)
        task = old.task if old else self.bars.add_task(name, total=None, text="")
        self.ensembles[index] = AtWork(name, task, len(group), dict(work_by_stage(group)))
        self._say(f"{name}: {f'{len(group)} students as one ensemble' if len(group) > 1 else '1 student'}")

    def _progress(self, ensemble: "AtWork", event: "Progress") -> None:
        done, skipped = ensemble.heard(event.stage, event.done / max(1, event.total))
        self.work -= skipped
        self.bars.update(self.runs, advance=done)
        name = f"{ensemble.name}: {event.stage}"
        now: dict[str, Any] = {"completed": event.done, "total": event.total, "text": event.text, "visible": True}
        self.bars.update(ensemble.task, description=name, **now)

    def _split(self, index: int, parts: Sequence["Group"], why: str) -> None:
        from dmdlab.lab.plan import flops

        self.work += sum(map(flops, parts)) - self.ensembles[index].left()
        sizes = " and ".join(str(len(part)) for part in parts)
        self._say(f"{self.ensembles[index].name}: out of memory, going on with {sizes} students at a time ({why})")

    def _finish(self, index: int, event: Any) -> None:
        ensemble = self.ensembles[index]
        self.finished += 1
        self.vain += not event.ours
        ensemble.members -= 1
        if event.status == "failed":
            self._say(f"failed: {event.folder.name}")
        if not ensemble.members:
            self._free(index)
            self.bars.update(ensemble.task, visible=False)
            self._say(f"{ensemble.name}: done")

    def _say(self, line: str) -> None:
        self.bars.console.print(line, soft_wrap=True)

    def _log(self) -> None:
        """Without bars, a line a minute."""
        if self.bars.disable and self.clock() - self.logged >= LOG_SECONDS:
            self.logged = self.clock()
            left = self.bars.tasks[self.runs].time_remaining
            trains = f", {show.duration(left)} of training left" if left else ""
            at = self._at_work()
            self._say(f"{self.state()}{trains}{'; ' if at else ''}{first_names(at)}")

    def _at_work(self) -> list[str]:
        """What the ensembles' bars would show: 'images d=64: measuring, 12 % done (calibration)'."""
        told = [task for task in self.bars.tasks if task.id != self.runs and task.visible and task.total]
        return [
            f"{t.description}, {int(t.percentage)} % done" + f" ({t.fields['text']})" * bool(t.fields["text"])
            for t in told
        ]


class AtWork:
    """One ensemble at work: its bar, its unfinished members, and operations by stage, in the order of the stages."""

    def __init__(self, name: str, task: Any, members: int, work: dict[str, int]) -> None:
        self.name, self.task, self.members, self.work = name, task, members, work
        self.shares: dict[str, float] = {}

    def heard(self, stage: str, share: float) -> tuple[float, float]:
        """`share` of `stage` is done: the operations done since the last news, and those that were done already."""
        from dmdlab.lab.run import DISTILLING

        if stage not in self.work:
            return 0.0, 0.0
        stages, skipped = list(self.work), 0.0
        for before in stages[: stages.index(stage)]:  # of which nothing was heard
            skipped += self.work[before] if self.shares.setdefault(before, -1.0) < 0 else 0.0
            self.shares[before] = 1.0
        known = self.shares.get(stage)
        if known is None and share > RESUMED and stage == DISTILLING:
            skipped, known = skipped + share * self.work[stage], share
        self.shares[stage] = share
        return (share - (known or 0.0)) * self.work[stage], skipped

    def heard_of(self) -> float:
        """Operations that are done, which are forgotten."""
        done, self.shares = sum(self.work.values()) - self.left(), {}
        return done

    def left(self) -> float:
        """Operations that are not done."""
        return sum((1 - self.shares.get(stage, 0.0)) * whole for stage, whole in self.work.items())
