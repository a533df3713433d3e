"""How far a cycle is from what the machine can do.

At the base points, in turns within one run: the plain loop (as it is, with the fused optimiser, in bfloat16), dmdlab's
ensemble (float32 or TF32, bfloat16, and with glibc's allocator left as it is), a large matrix product at each
precision, the products of one forward pass at the cycle's own shapes, and a copy. From these:

* share of the product rate: the counted arithmetic of the networks' products (`dmdlab.lab.cost`) per second over that
  of the large product at the same precision; and the same against forward products at the cycle's own shapes;
* bound: how many times faster than the plain loop this could be at most, were a cycle its counted products at the large
  product's rate and nothing else;
* the share of a cycle that the optimisers' bytes need at the copy's rate: AdamW reads parameters, gradients and two
  states and writes three of them, 28 bytes a parameter, 1 + k times a cycle. Activations are not counted: caches may
  hold them;
* the share of a cycle outside matrix products, from a profile.
"""

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.contestants import Job
from benchmarks.grid import Base, bases
from benchmarks.lane import Lane
from benchmarks.measure import QUICK, Effort, Turn, alternate, quotient, say
from benchmarks.rates import (
    copy_numbers,
    copy_seconds,
    product_seconds,
    product_size,
    seconds_in_products,
    shapes_seconds,
)
from benchmarks.throughput import line, own_ways
from dmdlab.lab.cost import cycle_flops, forward_flops, parameters
from dmdlab.precision import Precision, resolve, supports

ADAM_BYTES = 28
PEER = "plain loop"


@dataclass(frozen=True)
class Entry:
    """A contestant, and whether its process is tuned as `dmdlab` does it."""

    job: Job
    tuned: bool = True

    @property
    def precision(self) -> Precision:
        """The arithmetic of its networks."""
        return resolve(self.job.experiments()[0].network.precision, torch.device(self.job.device))


def run(device: str, threads: int, quick: bool) -> dict[str, Any]:
    """A record for each contestant at each base point."""
    effort = QUICK if quick else Effort()
    points = bases(device, quick)[-1 if quick else 0 :]
    records = [r for base in points for r in at(base, device, threads, effort)]
    return {"records": records, "product": product_size(device, quick), "copy_numbers": copy_numbers(device, quick)}


def entries(base: Base, device: str) -> dict[str, Entry]:
    """Everyone who takes part, by the name in the table."""
    bf16 = supports(torch.device(device), "bf16")
    found = {PEER: Entry(base.job("plain", device), tuned=False)}
    found["plain loop, fused AdamW"] = Entry(base.job("plain, fused AdamW", device), tuned=False)
    if bf16:
        found["plain loop, bf16"] = Entry(base.job("plain", device, precision="bf16"), tuned=False)
    for way in own_ways(device):
        found[f"dmdlab, {way}"] = Entry(base.job(way, device))
        if bf16:
            found[f"dmdlab, {way}, bf16"] = Entry(base.job(way, device, precision="bf16"))
    if device == "cpu":
        found["dmdlab, eager, allocator untuned"] = Entry(base.job("eager", device), tuned=False)
    return found


def at(base: Base, device: str, threads: int, effort: Effort) -> list[dict[str, Any]]:
    """The records of one base point."""
    taking_part = entries(base, device)
    with ExitStack() as stack:
        apart = effort is not QUICK
        lanes = {name: stack.enter_context(Lane(threads, entry.tuned, apart)) for name, entry in taking_part.items()}
        yardsticks = stack.enter_context(Lane(threads, True, apart))
        for name, entry in taking_part.items():
            lanes[name].enter(entry.job)
        turns: dict[str, Turn] = {name: lane.seconds for name, lane in lanes.items()}
        turns |= yardstick_turns(yardsticks, base, {e.precision for e in taking_part.values()}, effort is QUICK, device)
        taken = alternate(turns, effort)
        units = 1 if effort is QUICK else 3
        products = {name: lane.call(seconds_in_products, units) for name, lane in lanes.items()}
    found = []
    for name, entry in taking_part.items():
        record = {"base": base.name, "who": name, **entry.job.about()} | {
            "members": 1 if entry.job.plain else base.members
        }
        record |= shares(entry, name, taken, effort is QUICK)
        record["outside_products"] = 1 - products[name] / statistics.median(taken[name])
        say(f"{line(record)}, {name}: {record['ratio']:.2f} of at most {record['bound']:.2f}")
        found.append(record)
    return found


def yardstick_turns(lane: Lane, base: Base, precisions: set[Precision], quick: bool, device: str) -> dict[str, Turn]:
    """A turn for every product and for the copy, each for a unit of one product, forward pass or copy."""
    e, size = base.job("eager", device).experiments()[0], product_size(device, quick)
    turns: dict[str, Turn] = {"copy": partial(lane.call, copy_seconds, copy_numbers(device, quick), device)}
    for p in sorted(precisions):
        turns[f"product {p}"] = partial(lane.call, product_seconds, size, p, device)
        turns[f"shapes {p}"] = partial(lane.call, shapes_seconds, e, base.members, p, device)
    return turns


def shares(entry: Entry, name: str, taken: dict[str, list[float]], quick: bool) -> dict[str, Any]:
    """Time, ratio to the plain loop, and what the time is made of, from the rounds."""
    job, e = entry.job, entry.job.experiments()[0]
    members = 1 if job.plain else job.members
    own, flops = statistics.median(taken[name]), members * cycle_flops(e)
    product = 2 * product_size(job.device, quick) ** 3 / statistics.median(taken[f"product {entry.precision}"])
    all_members = forward_flops(e, e.student.batch) * job.members
    shapes = all_members / statistics.median(taken[f"shapes {entry.precision}"])
    copy = 8 * copy_numbers(job.device, quick) / statistics.median(taken["copy"])
    moved = ADAM_BYTES * parameters(e) * members * (1 + e.fake_score.updates)
    return {
        "ms": 1e3 * own,
        **quotient(taken[PEER], taken[name], members),
        "bound": members * statistics.median(taken[PEER]) / (flops / product),
        "flops_per_s": flops / own,
        "product_flops_per_s": product,
        "share_of_product": flops / own / product,
        "share_of_shapes": flops / own / shapes,
        "copy_bytes_per_s": copy,
        "optimiser_bytes_share": moved / copy / own,
    }
