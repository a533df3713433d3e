"""How far a cycle is from what the machine can do.

At the base points, in turns within one run: the plain loop (as it is, with the fused optimiser, in bfloat16), dmdlab's
ensemble (float32 or TF32, bfloat16, and with glibc's allocator left as it is), a large matrix product at each
precision, the products of one forward pass at the cycle's own shapes (the ensemble's; the plain loop's one network's),
and a copy. From these:

* share of the product rate: the counted arithmetic of its products (`dmdlab.lab.trial`) per second over that of the
  large product at the same precision; and the same against forward products at the cycle's own shapes;
* bound: how many times faster than the plain loop's median this would be, were a cycle its counted products and nothing
  else, at the fastest rate that any round saw of the large product or of the cycle's own shapes. Backward products have
  other shapes and a machine may have quicker moments, so this is an estimate and no law;
* the share of a cycle that the optimisers' bytes need at the copy's rate: AdamW reads parameters, gradients and two
  states and writes three of them, 28 bytes a parameter, 1 + k times a cycle. Activations are not counted: caches may
  hold them;
* the share of a cycle outside matrix products, from a profile.
"""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.contestants import Job
from benchmarks.grid import Base, bases
from benchmarks.lane import Lane
from benchmarks.measure import Options, Turn, alternate, quotient, say
from benchmarks.rates import (
    copy_numbers,
    copy_seconds,
    product_seconds,
    product_size,
    shapes,
    shapes_seconds,
    share_of_products,
)
from benchmarks.throughput import line, own_ways
from dmdlab.device.precision import Precision, supports
from dmdlab.laws import make_law
from dmdlab.networks import make_network

ADAM_BYTES = 28
PEER, BF16_PEER = "plain loop", "plain loop, bf16"


@dataclass(frozen=True)
class Entry:
    """A contestant, and whether its process is tuned as `dmdlab` does it."""

    job: Job
    tuned: bool = True

    @property
    def shapes(self) -> tuple[Precision, bool]:
        """What its forward products are: their arithmetic, and whether they are the peer's."""
        return self.job.precision, self.job.plain


def run(options: Options) -> dict[str, Any]:
    """A record for each contestant at each base point."""
    points = bases(options)[-1 if options.quick else 0 :]
    records = [record for base in points for record in at(base, options)]
    return {"records": records, "product": product_size(options), "copy_numbers": copy_numbers(options)}


def entries(base: Base, options: Options) -> dict[str, Entry]:
    """Everyone who takes part, by the name in the table."""
    device = options.device
    bf16 = supports(torch.device(device), "bf16")
    found = {PEER: Entry(base.job("plain", device), tuned=False)}
    found["plain loop, fused AdamW"] = Entry(base.job("plain, fused AdamW", device), tuned=False)
    if bf16:
        found[BF16_PEER] = Entry(base.job("plain", device, precision="bf16"), tuned=False)
    for way in own_ways(options):
        found[f"dmdlab, {way}"] = Entry(base.job(way, device))
        if bf16:
            found[f"dmdlab, {way}, bf16"] = Entry(base.job(way, device, precision="bf16"))
    if not options.cuda:
        found["dmdlab, eager, allocator untuned"] = Entry(base.job("eager", device), tuned=False)
    return found


def at(base: Base, options: Options, who: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The records of one base point; if `who` is named, of the plain loop and these only, and without profiles."""
    taking_part = {k: v for k, v in entries(base, options).items() if not who or k in (PEER, *who)}
    with ExitStack() as stack:
        lanes = {name: stack.enter_context(Lane(options, entry.tuned)) for name, entry in taking_part.items()}
        yardsticks = stack.enter_context(Lane(options, tuned=True))
        for name, entry in taking_part.items():
            lanes[name].enter(entry.job)
        turns: dict[str, Turn] = {name: lane.seconds for name, lane in lanes.items()}
        turns |= yardstick_turns(yardsticks, base, {e.shapes for e in taking_part.values()}, options)
        taken = alternate(turns, options.effort)
        effort = (1, 1) if options.quick else (3, 5)
        products = {} if who else {name: lane.call(share_of_products, *effort) for name, lane in lanes.items()}
    found = []
    for name, entry in taking_part.items():
        record = {"base": base.name, "who": name, **entry.job.about()}
        record["members"] = 1 if entry.job.plain else base.members
        record |= rounds_of(entry, name, taken, options)
        record |= shares(record)
        if products:
            record["outside_products"] = 1 - products[name]
        say(f"{line(record)}, {name}: {record['ratio']:.2f}, bound {record['bound']:.2f}")
        found.append(record)
    return found


def yardstick_turns(lane: Lane, base: Base, shapes: set[tuple[Precision, bool]], options: Options) -> dict[str, Turn]:
    """A turn for every product and for the copy, each for a unit of one product, forward pass or copy."""
    device, size = options.device, product_size(options)
    e = base.job("eager", device).group().shared
    turns: dict[str, Turn] = {"copy": partial(lane.call, copy_seconds, copy_numbers(options), device)}
    for p, plain in sorted(shapes):
        turns[f"product {p}"] = partial(lane.call, product_seconds, size, p, device)
        members = None if plain else base.members
        turns[f"shapes {p}, plain {plain}"] = partial(lane.call, shapes_seconds, e, members, p, device)
    return turns


def rounds_of(entry: Entry, name: str, taken: Mapping[str, list[float]], options: Options) -> dict[str, Any]:
    """What was measured in each round, in seconds, and what was done in that time: counted operations and bytes."""
    group = entry.job.group()
    e, members = group.shared, len(group)
    precision, plain = entry.shapes
    parameters = make_network(1, make_law(e.law.model_dump()), e.network).flat.shape[1]
    return {
        "plain_s": taken[PEER],
        "own_s": taken[name],
        "flops": members * entry.job.tried().cycle_flops,
        "adam_bytes": ADAM_BYTES * parameters * members * (1 + e.fake_score.updates),
        "product_s": taken[f"product {precision}"],
        "product_flops": 2 * product_size(options) ** 3,
        "shapes_s": taken[f"shapes {precision}, plain {plain}"],
        "shapes_flops": members * sum(2 * e.student.batch * inputs * outputs for inputs, outputs in shapes(e)),
        "copy_s": taken["copy"],
        "copy_bytes": 8 * copy_numbers(options),
    }


def shares(record: Mapping[str, Any]) -> dict[str, float]:
    """From a record's rounds: time, ratio to the plain loop, and what the time is made of."""
    own, plain = statistics.median(record["own_s"]), statistics.median(record["plain_s"])
    product = record["product_flops"] / statistics.median(record["product_s"])
    shapes = record["shapes_flops"] / statistics.median(record["shapes_s"])
    fastest = max(record[f"{what}_flops"] / min(record[f"{what}_s"]) for what in ("product", "shapes"))
    copy, rate = record["copy_bytes"] / statistics.median(record["copy_s"]), record["flops"] / own
    return {
        "ms": 1e3 * own,
        **quotient(record["plain_s"], record["own_s"], record["members"]),
        "floor_s": record["flops"] / fastest,
        "bound": record["members"] * plain * fastest / record["flops"],
        "flops_per_s": rate,
        "product_flops_per_s": product,
        "share_of_product": rate / product,
        "share_of_shapes": rate / shapes,
        "copy_bytes_per_s": copy,
        "optimiser_bytes_share": record["adam_bytes"] / copy / own,
    }
