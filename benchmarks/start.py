"""How long until the first step, and how much memory: each contestant in a fresh process, once a round.

Time to first step: importing torch and the package, and what torch imports at the first optimiser (`import_s`), making
law, networks and optimisers (`build_s`), and the first cycle (`first_s`); on a GPU the context, the warm-up cycles and
the capture of the graph are in `ready_s`, the time from the start of the process until the replayed cycle is there.
Peak memory over these cycles: on a GPU what its allocator gave out at most, on a CPU how far the process grew beyond
its imports (resident set).
"""

import contextlib
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.contestants import Job, Way
from benchmarks.grid import bases
from benchmarks.lane import Lane
from benchmarks.measure import Options, say, significant
from benchmarks.throughput import line, own_ways

READY = 5
"""Cycles until everything is set up: on a GPU three to warm up, one to capture, one replayed."""


def run(options: Options) -> dict[str, Any]:
    """A record for each contestant at each base point."""
    records = []
    for base in bases(options)[-1 if options.quick else 0 :]:
        ways: tuple[Way, ...] = ("plain", *own_ways(options))
        for way in ways:
            job = base.job(way, options.device)
            rounds = [once(job, options) for _ in range(1 if options.quick else 3)]
            members = 1 if job.plain else job.members
            record = {"base": base.name, "way": way, **job.about(), "members": members, "rounds": rounds}
            record |= medians(record)
            if not job.plain:  # the planner's, for the whole run, its measures included
                kind = torch.device(options.device).type
                record["planned_bytes"] = job.tried().bytes(members, kind)
            say(f"{line(record)}: ready after {record['ready_s']:.1f} s")
            records.append(record)
    return {"records": records}


def medians(record: Mapping[str, Any]) -> dict[str, float]:
    """Of a record's rounds."""
    rounds = record["rounds"]
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}


def once(job: Job, options: Options) -> dict[str, float]:
    """Seconds and bytes of one fresh process."""
    start = time.perf_counter()
    with Lane(options, tuned=not job.plain) as lane:
        lane.call(_first_optimiser)
        before = lane.call(_resident, job.device, "VmRSS")
        imported = time.perf_counter()
        build = lane.enter(job)
        first = lane.seconds(1)
        lane.seconds(READY - 1)
        ready = time.perf_counter()
        after = lane.call(_resident, job.device, "VmHWM")
    found = {
        "import_s": significant(imported - start),
        "build_s": significant(build),
        "first_s": significant(first),
        "ready_s": significant(ready - start),
    }
    if before is not None and after is not None:
        found["peak_bytes"] = after if options.cuda else after - before
    return found


def _first_optimiser() -> None:
    """In a lane: make and drop one, which has torch import its compiler, hundreds of modules."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])


def _resident(device: str, key: str) -> int | None:
    """In a lane: bytes of the device's allocator at their peak; on a CPU the process's own now ('VmRSS') or at their
    peak ('VmHWM'). (`getrusage` would not do: a process inherits its parent's peak there.)"""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if not status.is_file():
        return None  # only Linux tells
    if key == "VmRSS":
        with contextlib.suppress(OSError):  # a container may forbid it; then the imports' peak counts, too
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    found = next(text for text in status.read_text().splitlines() if text.startswith(key))
    return 1024 * int(found.split()[1])
