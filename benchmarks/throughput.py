"""Students per second against what sets it: ensemble size, width, batch, dimension. Teacher training and Phi_K, too.

At every point of `benchmarks.grid` dmdlab's ensemble and the plain loop take turns in one run. The peer trains one
student at a time, so e students take it e times as long, and

    ratio = e (its time of one cycle) / (the ensemble's time of one cycle).

Rates are in student-cycles per second, e / (time of one cycle); divided by the cycles of an experiment (its iterations
/ k: 10 000 in the paper) that is students per second. On a GPU three ways of running a cycle are measured: launched
kernel by kernel ('eager'), replayed as a CUDA graph ('graph, unfused'), and so with its elementwise work joined into
fewer kernels where they can be compiled ('graph').
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch

from benchmarks.contestants import Way, Work
from benchmarks.grid import Base, bases
from benchmarks.lane import Lane
from benchmarks.measure import Options, alternate, quotient, say
from dmdlab.lab.trial import Tried

FLOPS: dict[Work, Callable[[Tried], int]] = {
    "cycle": lambda found: found.cycle_flops,
    "teacher": lambda found: found.teaching_flops,
    "flow": lambda found: found.flow_flops,
}
"""The counted arithmetic of one member's unit of work."""


def run(options: Options) -> dict[str, Any]:
    """Every point of the grid; at the base points the teacher's training and Phi_K, too."""
    records: list[dict[str, Any]] = []
    with ExitStack() as stack:
        ways: tuple[Way, ...] = ("plain", *own_ways(options))
        lanes = {way: stack.enter_context(Lane(options, tuned=way != "plain")) for way in ways}
        for base in bases(options):
            for axis, point in base.points():
                records += compare(lanes, point, options, axis=axis)
            records += compare(lanes, base, options, work="teacher")
            records += compare(lanes, base, options, work="flow")
    return {"records": records}


def own_ways(options: Options) -> tuple[Way, ...]:
    """How dmdlab runs a cycle on this device, the best way last."""
    return ("eager", "graph, unfused", "graph") if options.cuda else ("eager",)


def compare(
    lanes: dict[Way, Lane], point: Base, options: Options, work: Work = "cycle", axis: str = ""
) -> Iterator[dict[str, Any]]:
    """A record for each way in which dmdlab does this work, beside the plain loop."""
    jobs = {
        way: point.job(way, options.device, work) for way in lanes if not (work == "flow" and way.startswith("graph"))
    }
    about = {"base": point.name, "axis": axis, "work": work, **jobs["eager"].about()}
    try:
        for way, job in jobs.items():
            lanes[way].enter(job)
        taken = alternate({way: lanes[way].seconds for way in jobs}, options.effort)
    except torch.OutOfMemoryError:
        say(f"{line(about)}: does not fit")
        yield about | {"way": "eager", "fits": False}
        return
    for way in jobs:
        if way != "plain":
            flops = jobs[way].members * FLOPS[work](jobs[way].tried())
            record = about | {"way": way, "fits": True, "flops": flops, "plain_s": taken["plain"], "own_s": taken[way]}
            record |= figures(record)
            say(f"{line(record)}: {record['ratio']:.2f} ({record['ratio_least']:.2f} ... {record['ratio_most']:.2f})")
            yield record


def figures(record: Mapping[str, Any]) -> dict[str, float]:
    """From a record's rounds: times of one unit of work in ms, the ratio, the rate and the counted arithmetic."""
    members, seconds = record["members"], statistics.median(record["own_s"])
    return {
        "plain_ms": 1e3 * statistics.median(record["plain_s"]),
        "own_ms": 1e3 * seconds,
        **quotient(record["plain_s"], record["own_s"], members),
        "students_per_s": members / seconds,
        "flops_per_s": record["flops"] / seconds,
    }


def line(about: dict[str, Any]) -> str:
    """The point in a few words."""
    e, batch, d = about["members"], about["student.batch"], about["law.dim"]
    network = f"{about['network.kind']} {about['network.width']} x {about['network.depth']}"
    work = " ".join(about[key] for key in ("work", "way") if key in about)
    return f"{network}, {e} members, batch {batch}, d = {d}, {about['network.precision']} {work}"
