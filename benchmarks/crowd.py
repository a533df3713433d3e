"""Many workers on one store, whose runs take no time: what sharing the work costs, and what survives when they die.

The leases, the publishing and the engine are those of `dmdlab worker`; only the training is left out. Workers are
processes, forked from this one.
"""

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dmdlab.config import Experiment, experiment_from
from dmdlab.group import Group
from dmdlab.lab.drain import Draining
from dmdlab.lab.store import RunResult, Store
from dmdlab.lab.sweep import Event, Finished, Work, to_the_end
from dmdlab.records import leases as leasing
from dmdlab.records.record import SHARED

SUMMARY = {"status": "done", "failed_at": None, "teacher": {"ok": True, "reasons": []}, "metrics": {}, "student": {}}


def runs(number: int, seeds: int = 4) -> list[Experiment]:
    """So many that differ in a member's own keys: one shape, `seeds` seeds."""
    rates = -(-number // seeds)
    settings = {"law.name": "gaussian", "law.dim": 2, "teacher.kind": "exact"}
    every = (
        experiment_from(settings | {"seed": seed, "student.learning_rate": 1e-3 * (1 + rate / rates)})
        for rate in range(rates)
        for seed in range(seeds)
    )
    return [e for e, _ in zip(every, range(number), strict=False)]


def groups_of(wanted: Sequence[Experiment], size: int) -> list[Group]:
    """Ensembles of so many."""
    return [Group(tuple(wanted[i : i + size])) for i in range(0, len(wanted), size)]


class NoOp(Work):
    """Publishes what was never made, after `pause` seconds, which it draws up to."""

    pause = 0.0

    def _make(self, group: Group) -> Iterator[Event]:
        for e in group.members:
            if self.pause:
                time.sleep(random.uniform(0, self.pause))
            rng = np.random.default_rng(e.seed)
            if self.store.pairs(e) is None:
                self.store.keep_pairs(e, {name: rng.normal(size=(4, 2)).astype(np.float32) for name in SHARED})
            result = RunResult(e, SUMMARY, {"iteration": [1.0]}, np.zeros((4, 2), np.float32), {"w": torch.ones(2)})
            yield Finished(e, self.store.folder(e), "done", self.store.put(result, {}))


@dataclass(frozen=True)
class Counts:
    """What became of a crowd's sweep. computed: runs that were made, those of the killed that came to publishing among
    them; in_vain: of which another stood already. killed: workers."""

    runs: int
    workers: int
    killed: int
    computed: int
    in_vain: int
    seconds: float


def crowd(
    out: Path, wanted: Sequence[Experiment], size: int, workers: int, kills: int, seed: int, far: float = 0.0
) -> Counts:
    """Let so many workers do these runs, in groups of `size`, all beginning at once, and kill some while they do;
    others take their place. far: part of the workers that seem to be of another machine: only their heartbeat tells."""
    log = os.open(out / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    draws, groups, began = random.Random(seed), groups_of(wanted, size), time.monotonic()
    gate, opener = os.pipe()
    alive = {
        _worker(out, groups, workers, log, draws.random() < far, number, (gate, opener)) for number in range(workers)
    }
    os.close(opener)  # the last to hold it: whoever waits goes on
    os.close(gate)
    killed, next_kill = 0, time.monotonic()
    while alive:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        alive.discard(pid)
        if not pid:
            if killed < kills and time.monotonic() >= next_kill:
                victim = draws.choice(sorted(alive))
                os.kill(victim, signal.SIGKILL)
                killed += 1
                alive.add(_worker(out, groups, workers, log, draws.random() < far, workers + killed))
                next_kill = time.monotonic() + draws.uniform(0, 0.1)
            time.sleep(0.01)
    os.close(log)
    lines = (out / "log").read_text().split()
    return Counts(len(wanted), workers, killed, len(lines), lines.count("False"), time.monotonic() - began)


def _worker(
    out: Path,
    groups: Sequence[Group],
    among: int,
    log: int,
    far: bool,
    number: int,
    waits: tuple[int, int] | None = None,
) -> int:
    """Another process that drains the store and says of each run whether its own stands. waits: a pipe, at whose end it
    begins."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        if waits:
            os.close(waits[1])
            os.read(waits[0], 1)
        if far:
            leasing.this_machine = lambda: ""
        random.seed(number)
        engine = Draining(among, draws=random.Random(number))
        for _, event in to_the_end(NoOp(Store(out), torch.device("cpu")), groups, engine):
            if isinstance(event, Finished):
                os.write(log, f"{event.ours}\n".encode())
        status = 0
    finally:
        os._exit(status)
