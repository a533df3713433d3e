"""How long until the first cycle, and how much memory: each contestant in fresh processes.

Imports: of the libraries; torch imports hundreds of modules at the first optimiser. First cycle: making law, networks
and optimisers, too, and compiling; once with an empty folder for compiled code, then with a full one. Peak memory over
five cycles: on a GPU what torch's allocator gave out at most, on a CPU how far the process grew beyond its imports.
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.lane import Lane, allocated
from benchmarks.measure import Options, say, significant
from benchmarks.peers import Record, line
from benchmarks.points import JAX, MEMBERS, OWN, PAPER, QUICKSTART, TINY, Job, contestants

READY = 5
"""Cycles until everything is set up: on a GPU three to warm up, one to capture, one replayed."""


def run(options: Options) -> dict[str, Any]:
    """A record for each contestant, of JAX's the first form, at two points."""
    records = []
    for point in [TINY] if options.quick else [QUICKSTART.at(MEMBERS, 16), PAPER]:
        for who in (name for name in contestants(options) if name not in JAX[0 if options.quick else 1 :]):
            job = Job(point, who, options.device)
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
                rounds = [once(job, options, cache) for _ in range(1 + options.processes)]
            record = point.about() | {"who": who, MEMBERS: job.students, "threads": options.threads, "rounds": rounds}
            if who in OWN:  # the planner's, for the whole run, its measures included
                record["planned_bytes"] = point.tried().bytes(point.members, torch.device(options.device).type)
            records.append(record | {"figures": figures(record)})
            say(f"{line(record)}, {who}: first cycle after {records[-1]['figures']['first_s']:.1f} s")
    return {"records": records}


def figures(record: Record) -> dict[str, float]:
    """Of a record's rounds: the first one's first cycle, and medians of the others."""
    cold, *rounds = record["rounds"]
    return {"cold_s": cold["first_s"]} | {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}


def once(job: Job, options: Options, cache: str) -> dict[str, float]:
    """Seconds and bytes of one fresh process."""
    start = time.perf_counter()
    with Lane(options, job.tuned, cache) as lane:
        lane.call(_imports, job.who)
        imported = time.perf_counter()
        before = lane.call(_resident, job.device, "VmRSS")
        found = {"import_s": significant(imported - start), "first_s": significant(lane.enter(job))}
        lane.turn(READY - 1)
        after = lane.call(_resident, job.device, "VmHWM")
    if before is not None and after is not None:  # not every system tells
        found["peak_bytes"] = after if options.cuda else max(0, after - before)
    return found


def _imports(who: str) -> None:
    """In a lane: have the libraries import the rest of themselves."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    if who in JAX:
        __import__("jax").devices()


def _resident(device: str, key: str) -> int | None:
    """In a lane: bytes of the device's allocator at their peak; on a CPU the process's own now ('VmRSS') or at their
    peak ('VmHWM'). (`getrusage` would not do: a process inherits its parent's peak there.)"""
    if device.startswith("cuda"):
        return allocated(device)
    status = Path("/proc/self/status")
    if not status.is_file():
        return None  # only Linux tells
    if key == "VmRSS":
        with contextlib.suppress(OSError):  # a container may forbid it; then the imports' peak counts, too
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    found = next(text for text in status.read_text().splitlines() if text.startswith(key))
    return 1024 * int(found.split()[1])
