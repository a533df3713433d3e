"""Everyone at the same points: the plain loop, JAX and dmdlab, and the machine's fastest matrix products.

Each contestant lives in a process of its own; all take turns at every point, and all of it is done again in fresh
processes, three in all: a number is the median over processes of each one's median round. A point at which a *baseline*
(the plain loop, the better JAX form) differs by more than 15 % from process to process is measured again, twice at
most; of its measurements the steadiest counts, and what still spreads is marked and meets no target. With the threads
asked for, and with one a core. Compiled code is kept in a folder of the measurement's own: each program's first process
compiles, and the others find it there.
"""

import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from benchmarks.lane import Lane, allocated
from benchmarks.measure import Options, alternate, middle, say, significant
from benchmarks.points import COMPILED, EAGER, GRAPH, JAX, MEMBERS, PLAIN, RECORDED, Job, Point, contestants, points
from benchmarks.rates import rates
from dmdlab.device.limits import allowed_cores

STEADY, REPEATS = 1.15, 2
"""The most by which a baseline's processes may differ, and how often a point where they do is measured again."""

Record = dict[str, Any]


def run(options: Options) -> dict[str, Any]:
    """A record for each point and number of threads."""
    records = []
    for threads in dict.fromkeys(
        [options.threads] if options.cuda or options.quick else [options.threads, allowed_cores()]
    ):
        own = replace(options, threads=threads)
        records += steady(points(own), own)
    return {"records": records}


def steady(where: Sequence[Point], options: Options) -> list[Record]:
    """The records of these points, measured again where a baseline spreads."""
    records = measured(where, contestants(options), options, options.processes)
    for _ in range(0 if options.quick else REPEATS):
        places = [i for i, record in enumerate(records) if unsteady(record)]
        if places:
            say(f"measured again, because a baseline spreads: {len(places)} of {len(records)} points")
            again = measured([where[i] for i in places], contestants(options), options, options.processes)
            for i, record in zip(places, again, strict=True):
                times = records[i]["measured"] + 1
                records[i] = min(records[i], record, key=worst) | {"measured": times}
    return records


def measured(where: Sequence[Point], who: Sequence[str], options: Options, processes: int) -> list[Record]:
    """A record for each point: seconds of one student's cycle by contestant, process and round."""
    records = [
        {**point.about(), "threads": options.threads, "flops": point.tried().cycle_flops, "measured": 1}
        | {"seconds": {name: [] for name in who}, "ready_s": {name: [] for name in who}, "rates": []}
        for point in where
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        for number in range(processes):
            with ExitStack() as stack:
                jobs = {name: Job(where[0], name, options.device) for name in who}
                lanes = {n: stack.enter_context(Lane(options, job.tuned, cache)) for n, job in jobs.items()}
                yardstick = stack.enter_context(Lane(options, tuned=True))
                for point, record in zip(where, records, strict=True):
                    turns_at(point, record, lanes, yardstick, options)
                    say(f"{line(record)}, process {number + 1} of {processes}: {told(record)}")
    return [record | {"figures": figures(record)} for record in records]


def turns_at(point: Point, record: Record, lanes: dict[str, Lane], yardstick: Lane, options: Options) -> None:
    """Add to the record what one process of each contestant gives at a point."""
    jobs = {name: Job(point, name, options.device) for name in lanes}
    for name, job in jobs.items():
        alone = replace(job, point=replace(point, members=1, axes={})) if job.students == 1 else job
        record["ready_s"][name].append(significant(lanes[name].enter(alone)))
    taken = alternate({name: lane.turn for name, lane in lanes.items()}, *options.effort)
    for name, rounds in taken.items():
        record["seconds"][name].append([significant(each / jobs[name].students) for each in rounds])
        if options.cuda:
            peaks = record.setdefault("peak_bytes", {}).setdefault(name, [])
            peaks.append(lanes[name].call(allocated, options.device))
    record["rates"].append(yardstick.call(rates, next(iter(jobs.values())), options.quick, options.effort[1] / 2))


def figures(record: Record) -> dict[str, float]:
    """From a record's rounds: ms of a student's cycle and the spread of each contestant, and the floor in ms: the
    counted products at the fastest rate that was seen of any."""
    seconds = record["seconds"]
    found = {f"{name}, ms": 1e3 * middle(rounds) for name, rounds in seconds.items()}
    found |= {f"{name}, spread": spread(rounds) for name, rounds in seconds.items()}
    return found | {"floor, ms": 1e3 * record["flops"] / fastest(record)[1]}


def spread(rounds: Sequence[Sequence[float]]) -> float:
    """Most over least of the processes' medians."""
    medians = [statistics.median(process) for process in rounds]
    return max(medians) / min(medians)


def fastest(record: Record) -> tuple[str, float]:
    """Which library and product was the fastest, and its operations per second."""
    found = {name: max(each[name] for each in record["rates"]) for name in record["rates"][0]}
    return max(found.items(), key=lambda item: item[1])


def own(record: Record) -> str:
    """dmdlab's way that counts: compiled where that was measured, else as a graph or a recording."""
    return next(way for way in (COMPILED, GRAPH, RECORDED, EAGER) if way in record["seconds"])


def better_jax(record: Record) -> str | None:
    """The form of JAX's program that was the quicker one at this point; None without JAX."""
    there = [name for name in JAX if name in record["seconds"]]
    return min(there, key=lambda name: record["figures"][f"{name}, ms"], default=None)


def baselines(record: Record) -> list[str]:
    """What ratios are taken against."""
    return [name for name in (PLAIN, better_jax(record)) if name and name in record["seconds"]]


def worst(record: Record) -> float:
    """The largest spread of a baseline."""
    return max(record["figures"][f"{name}, spread"] for name in baselines(record))


def unsteady(record: Record) -> list[str]:
    """The baselines that spread too much."""
    return [name for name in baselines(record) if record["figures"][f"{name}, spread"] > STEADY]


def line(record: Record) -> str:
    """The point in a few words."""
    return f"{network(record)}, e = {record[MEMBERS]}, threads {record['threads']}"


def network(record: Record) -> str:
    """'mlp 384 x 5, d = 4, n = 512, k = 5'."""
    size = f" {record['network.width']} x {record['network.depth']}" if "network.width" in record else ""
    where = f"d = {record['law.dim']}, n = {record['student.batch']}, k = {record['fake_score.updates']}"
    return f"{record['network.kind']}{size}, {where}"


def told(record: Record) -> str:
    """The last process's medians."""
    last = {name: statistics.median(rounds[-1]) for name, rounds in record["seconds"].items()}
    return ", ".join(f"{name} {1e3 * seconds:.3g} ms" for name, seconds in last.items())
