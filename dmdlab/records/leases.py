"""Who is at which runs of a store, so that several sweeps into one folder, on several machines, share the work.

    OUT/leases/<owner>.<beat>.lease   a lease: somebody is at a group of runs; the number grows while they are
    OUT/leases/<owner>.broken         a lease that was taken away
    OUT/leases/<run>.<turn>.claim     the run is the one's whose lease it names; the highest turn counts. Of what runs
                                      share, <kind>-<id> (`of_kind`)

Only the creation of files that must not be there yet, and renames: each succeeds for one. A heartbeat renames the
lease to the next number, and breaking it renames it, too, so that exactly one of the two happens. A lease is broken
when its number has not changed for `STALE` seconds of the taker's own clock, whatever clocks elsewhere say; at once
when it is of this machine and its process is gone. A claim whose lease is broken is followed by one of the next turn.

This saves work, and no result depends on it: who was paused and wakes finds the runs published, and what it made counts
as made in vain (`Store.put`).
"""

import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from dmdlab.records.kept_json import read_json
from dmdlab.trouble import writing

BEAT = 10.0
"""Seconds between two heartbeats (ours)."""

STALE = 180.0
"""Seconds without one, as the taker sees it, after which a lease is broken (ours: network folders show a change late,
and some libraries hold the interpreter for a minute)."""

TRIES = 5
"""Times that a file is made in a folder which others remove when it is empty (ours)."""

_LEASE = re.compile(r"([\w-]{1,80})\.(\d{1,12})\.lease")
_BROKEN = re.compile(r"([\w-]{1,80})\.broken")
_CLAIM = re.compile(r"([\w-]{1,80})\.(\d{1,12})\.claim")
_OWNER = re.compile(r"[\w-]{1,80}")


Kind = Literal["network", "pairs", "nearby", "calibration"]
"""Of what runs share."""


def of_kind(kind: Kind, id: str) -> str:
    """What something that runs share is called where their own ids stand, too, in leases and in checkpoints: a run of
    which only the law, the noise, the teacher, the network and the seed are set has the id of its own start network."""
    return f"{kind}-{id}"


class Leases:
    """The leases of the store `out`. clock: seconds, from anywhere."""

    def __init__(
        self,
        out: Path,
        beat: float | None = None,
        stale: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.clock = out / "leases", clock
        self.beat, self.stale = BEAT if beat is None else beat, STALE if stale is None else stale
        self.seen: dict[str, tuple[int, float]] = {}
        self.owners: dict[tuple[str, int], str] = {}  # of claims, by run and turn, as last read

    @contextmanager
    def held(self, runs: Sequence[str]) -> Iterator[list[str]]:
        """Within it, those of these runs (by id) that nobody else is at are this process's; yields them. No lease is
        made where there are none.

        A run may have been finished by another since it was last looked at. Raises `Unwritable`.
        """
        found = self._look(runs)
        turns = {run: turn for run in runs if (turn := self._free(run, found)) is not None}
        if not turns:
            yield []
            return
        owner, claims = f"{os.getpid()}-{secrets.token_hex(8)}", dict[str, Path]()
        with writing(self.folder):
            self._make(f"{owner}.0.lease", json.dumps(_this_process() | {"runs": list(runs)}))
        lease = _Beating(self.folder, owner, self.beat)
        try:
            for run, turn in turns.items():
                if path := self._claim(run, turn, owner):
                    claims[run] = path
            yield list(claims)
        finally:
            self._leave(claims, owner)
            lease.end()
            self._tidy(owner)

    def free(self, runs: Sequence[str]) -> list[str]:
        """Those of these runs that nobody is at; what has been stale for long enough is broken by this."""
        found = self._look(runs)
        return [run for run in runs if self._free(run, found) is not None]

    def claimed(self) -> dict[str, int]:
        """All runs that somebody has claimed, dead or alive: one look, and no file is read."""
        return self._look().claims

    def at_work(self) -> list[tuple[str, Path]]:
        """Whoever is at something, as (who, the lease's file): all whose end is not known."""
        found = self._look()
        return [(found.who(owner), found.lease(owner)) for owner in found.leases if not self._over(owner, found)]

    def _free(self, run: str, found: "_Found") -> int | None:
        """The turn in which this run can be claimed; None while somebody is at it."""
        turn = found.claims.get(run)
        if turn is None:
            return 0
        owner = self.owners.get((run, turn))
        if owner is None or not found.knows(owner):  # who leaves takes the claim along, and another may make it anew
            path = found.folder / f"{run}.{turn}.claim"
            try:
                named = path.read_text(encoding="utf-8", errors="replace")[:100]
            except FileNotFoundError:
                return 0  # left just now
            owner = f"claim-{run}-{turn}"  # not yet written
            if _OWNER.fullmatch(named):
                owner = self.owners[run, turn] = named
        return turn + 1 if self._over(owner, found) else None

    def _over(self, owner: str, found: "_Found") -> bool:
        """Whether this lease is broken, by this call if need be."""
        if owner in found.broken:
            return True
        beat = found.leases.get(owner, -1)
        if not found.gone(owner):
            known, since = self.seen.get(owner, (None, 0.0))
            if known != beat:
                self.seen[owner] = beat, self.clock()
                return False
            if self.clock() - since < self.stale:
                return False
        with writing(self.folder):
            try:
                if beat >= 0:
                    os.rename(found.lease(owner), self.folder / f"{owner}.broken")
                else:
                    self._make(f"{owner}.broken", "")
            except (FileNotFoundError, FileExistsError):  # it beat, or another broke it: the next look tells
                return False
        found.broken.add(owner)
        return True

    def _claim(self, run: str, turn: int, owner: str) -> Path | None:
        """The claim, where no other was quicker."""
        with writing(self.folder):
            try:
                return self._make(f"{run}.{turn}.claim", owner)
            except FileExistsError:
                return None

    def _make(self, name: str, text: str) -> Path:
        """A new file. Raises FileExistsError where it stands already."""
        path = self.folder / name
        for attempt in range(TRIES):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("x", encoding="utf-8") as file:
                    file.write(text)
                return path
            except FileNotFoundError:  # the folder was empty, and is gone
                if attempt == TRIES - 1:
                    raise
        raise AssertionError

    def _leave(self, claims: dict[str, Path], owner: str) -> None:
        """Give up one's claims; where the disk is gone, others will find them stale."""
        with suppress(OSError):
            for path in claims.values():
                run, turn = path.name.split(".")[:2]
                for older in range(int(turn)):
                    path.with_name(f"{run}.{older}.claim").unlink(missing_ok=True)
                if path.is_file() and path.read_text(encoding="utf-8") == owner:
                    path.unlink(missing_ok=True)

    def _tidy(self, owner: str) -> None:
        """Remove what no claim needs any more, and the folder where nobody is at anything."""
        with suppress(OSError):
            (self.folder / f"{owner}.broken").unlink(missing_ok=True)
            with os.scandir(self.folder) as entries:
                if any(entry.name.endswith(".claim") for entry in entries):  # mostly among the first names
                    return
            for name in self._look().broken:
                (self.folder / f"{name}.broken").unlink(missing_ok=True)
            self.folder.rmdir()  # unless somebody is at something

    def _look(self, runs: Collection[str] | None = None) -> "_Found":
        """What lies in the folder now. runs: whose claims are of interest, by default all."""
        found, wanted = _Found(self.folder), None if runs is None else set(runs)
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return found
        for name in names:
            if name.endswith(".claim"):
                if (wanted is None or name.partition(".")[0] in wanted) and (own := _CLAIM.fullmatch(name)):
                    found.claims[own[1]] = max(int(own[2]), found.claims.get(own[1], -1))
            elif own := _LEASE.fullmatch(name):
                found.leases[own[1]] = max(int(own[2]), found.leases.get(own[1], -1))
            elif own := _BROKEN.fullmatch(name):
                found.broken.add(own[1])
        return found


class _Found:
    """A look into the folder: the beat of each lease, the turn of each run's last claim, broken leases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.leases: dict[str, int] = {}
        self.claims: dict[str, int] = {}
        self.broken: set[str] = set()
        self.ended: dict[str, bool] = {}

    def lease(self, owner: str) -> Path:
        """The lease's file."""
        return self.folder / f"{owner}.{self.leases[owner]}.lease"

    def knows(self, owner: str) -> bool:
        """Whether there is a lease of this owner, or was one that is broken."""
        return owner in self.leases or owner in self.broken

    def about(self, owner: str) -> dict[str, object]:
        """What the lease says of its process; nothing where it cannot be read."""
        try:
            held = read_json(self.lease(owner))
        except (OSError, ValueError, KeyError, RecursionError):
            return {}
        return held if isinstance(held, dict) else {}

    def who(self, owner: str) -> str:
        """'process 123 on host'."""
        about = self.about(owner)
        return f"process {about.get('pid', '?')} on {about.get('host', '?')}"

    def gone(self, owner: str) -> bool:
        """Whether it is a process of this machine that has ended; False where that is not known. Each is asked once."""
        if owner not in self.ended:
            self.ended[owner] = self._gone(owner)
        return self.ended[owner]

    def _gone(self, owner: str) -> bool:
        about, here = self.about(owner), this_machine()
        pid = about.get("pid")
        if not here or about.get("machine") != here or not isinstance(pid, int):
            return False
        return _started(pid) != about.get("started")


class _Beating:
    """The heartbeat of a lease: a thread that renames it to its next number, until it ends or finds it broken."""

    def __init__(self, folder: Path, owner: str, every: float) -> None:
        self.folder, self.owner, self.every, self.number = folder, owner, every, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)
        self.thread.start()

    def _path(self, number: int) -> Path:
        return self.folder / f"{self.owner}.{number}.lease"

    def _beat(self) -> None:
        while not self.over.wait(self.every):
            try:
                os.rename(self._path(self.number), self._path(self.number + 1))
            except FileNotFoundError:  # broken; unless a network folder did it and lost the answer
                if not self._path(self.number + 1).exists():
                    return
            except OSError:  # the disk is gone for now
                continue
            self.number += 1

    def end(self) -> None:
        """Stop, and remove the lease."""
        self.over.set()
        self.thread.join()
        with suppress(OSError):
            self._path(self.number).unlink(missing_ok=True)


def _this_process() -> dict[str, object]:
    """What a lease says of its owner."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "machine": this_machine()}


def this_machine() -> str:
    """What only processes that see each other's numbers have in common; '' where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except (OSError, ValueError):
        return ""


def _started(pid: int) -> str | None:
    """When a process of this number began, in the system's own units; None where none lives."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return None
