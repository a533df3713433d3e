"""Faults, really done to children of this process: a full disk, a kill, at any operation on files or within a write."""

import errno
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from small import CPU, TINY, experiments

from dmdlab.config import Experiment, InputError
from dmdlab.group import Group
from dmdlab.lab import checkpoint, engines, store
from dmdlab.lab.checkpoint import Checkpoint
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Finished, Work, to_the_end
from dmdlab.records.record import load_records
from dmdlab.records.verify import verify
from dmdlab.training.distill import Distillation

FINISHED, REFUSED, BROKEN = 0, 3, 4
"""How a child ends: done; with a sentence; with any other error."""

MAKING, ALL = ("open", "os.mkdir", "os.rename", "os.link", "save"), ("os.remove", "os.rmdir")
"""Python's audit events for what makes a name in a folder, and those that take one away. save: safetensors, by us."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

WANTED = experiments(
    *TINY,
    *("seed=0", "teacher.kind=network", "student.init=regressed", "student.pairs=16", "student.regression=10"),
    *("measure.samples=16", "measure.checkpoints=1"),
)

IDS = [e.id for e in WANTED]

RESUMED = 9
"""After every so many faults of one kind the work is done to its end, too."""


def work(out: Path, wanted: list[Experiment] = WANTED) -> list[Finished]:
    """Everything that is missing, one run after the other, kept on the way whenever it can be."""
    store, missing = Store(out), Store(out).missing(wanted)
    events = to_the_end(Work(store, CPU, "eager"), [Group((e,)) for e in missing], engines.here)
    return [event for _, event in events if isinstance(event, Finished)]


def child(do: Callable[[], object], says: Path | None = None) -> int:
    """Call `do` in a forked process; how it ended, below 0 by a signal. What it refuses is written to `says`."""
    sys.stdout.flush()
    sys.stderr.flush()
    if (pid := os.fork()) == 0:
        status = BROKEN
        try:
            do()
            status = FINISHED
        except InputError as error:
            status = REFUSED
            if says is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
                says.write_text(str(error))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def always_kept() -> None:
    """In a child: a training is kept at every pulse."""
    Checkpoint.offer = lambda self, state: self.save(state())  # type: ignore[method-assign]


def at_operations(out: Path, act: Callable[[int], object], events: tuple[str, ...] = MAKING) -> None:
    """In a child: `act(number)` before every operation on files in `out`, for good."""
    seen, inside, place = [0], [False], str(out)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in events or inside[0]:
            return
        path = os.fspath(args[0]) if isinstance(args[0], str | os.PathLike) else ""
        reading = event == "open" and not (isinstance(args[2], int) and args[2] & WRITING)
        if not path.startswith(place) or reading:
            return
        seen[0] += 1
        inside[0] = True
        try:
            act(seen[0])
        finally:
            inside[0] = False

    for module in (store, checkpoint):
        module.save_file = audited(module.save_file)  # type: ignore[attr-defined]
    sys.addaudithook(hook)


def at_cycle(number: int, act: Callable[[], object]) -> None:
    """In a child: `act` in the cycle of this number of a training."""
    seen, plain = [0], Distillation.cycle

    def cycle(self: Distillation) -> None:
        seen[0] += 1
        if seen[0] == number:
            act()
        plain(self)

    Distillation.cycle = cycle  # type: ignore[method-assign]


def audited(save: Callable[..., None]) -> Callable[..., None]:
    """safetensors writes without Python's knowledge."""

    def told(rows: object, path: Path, **more: object) -> None:
        sys.audit("save", str(path))
        save(rows, path, **more)

    return told


def operations(out: Path, count: Path, events: tuple[str, ...]) -> int:
    """How many there are in all of the work."""

    def counting() -> None:
        always_kept()
        at_operations(out, lambda number: count.write_text(str(number)), events)
        work(out)

    assert child(counting) == FINISHED
    return int(count.read_text())


def full_from(number: int) -> Callable[[int], None]:
    """No name can be made from this operation on."""

    def act(at: int) -> None:
        if at >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return act


def killed_at(number: int) -> Callable[[int], None]:
    def act(at: int) -> None:
        if at == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def no_file_above(size: int, kill: bool) -> None:
    """In a child: the system ends a write where a file would grow beyond this, with an error or a kill."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kill else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def published(out: Path, wanted: list[Experiment] = WANTED) -> list[str]:
    """The ids of the runs that stand there, twice where twice; what stands is whole."""
    found = verify(out) if (out / "runs").is_dir() else None
    assert found is None or found.damaged == []
    return [] if found is None else [run.path.name.rpartition("-")[2] for run in found.runs]


def results(out: Path) -> list[object]:
    """What the runs of a store come to."""
    return [(r.summary["id"], r.summary.get("metrics"), r.student().tolist()) for r in load_records(out)]


def comes_to(out: Path, straight: list[object], counts: dict[str, int], before: list[str]) -> None:
    """Done to its end, the work has lost nothing of what stood before, and comes to the results without a fault."""
    work(out)
    account(counts, before, published(out))
    assert results(out) == straight


def goes_on(out: Path, straight: list[object], counts: dict[str, int], number: int) -> list[str]:
    """After the fault of this number: the runs that stand, which no fault may cost. The work is done to its end now and
    then, and where any stand; then the store is removed."""
    counts["injected"] += 1
    before = published(out)
    if number % RESUMED == 0 or before:
        comes_to(out, straight, counts, before)
    shutil.rmtree(out, ignore_errors=True)
    return before


@contextmanager
def counted(name: str, what: str) -> Iterator[dict[str, int]]:
    """Counts of a chaos test: faults injected, runs that were finished and are lost, and published or made twice. Kept
    in the file that DMDLAB_CHAOS_RESULTS names."""
    counts, began = {"injected": 0, "lost": 0, "duplicated": 0}, time.monotonic()
    yield counts
    assert counts["injected"] > 0
    assert (counts["lost"], counts["duplicated"]) == (0, 0)
    if kept := os.environ.get("DMDLAB_CHAOS_RESULTS"):
        line = {"test": name, "what": what, **counts, "seconds": round(time.monotonic() - began, 1)}
        with Path(kept).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def account(counts: dict[str, int], before: list[str], after: list[str]) -> None:
    """What stood before a fault stands after it, once."""
    counts["lost"] += len(set(before) - set(after))
    counts["duplicated"] += len(after) - len(set(after))


def mounted(folder: Path, size: str) -> bool:
    """Whether a small disk in memory could be had there."""
    folder.mkdir(exist_ok=True)
    return os.geteuid() == 0 and os.system(f"mount -t tmpfs -o size={size} tmpfs '{folder}' 2>/dev/null") == 0


def unmounted(folder: Path) -> None:
    with suppress(OSError):
        os.system(f"umount -l '{folder}' 2>/dev/null")
