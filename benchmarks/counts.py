"""What a cycle of an ensemble computes and moves, counted and not timed, at the points that the targets name.

Products by their operations (`dmdlab.lab.trial`), bytes by a watch on every operator of one member's cycle on a CPU,
eager and in float32 (`benchmarks.traffic`). A machine's rates turn both into times that no eager ensemble too large for
its caches goes below.
"""

from typing import Any

import torch

from benchmarks.grid import MEMBERS, PAPER, QUICKSTART, TINY, WIDE, Base
from benchmarks.measure import Options, say
from benchmarks.operator_kinds import ACTIVATION, MATRIX, OPTIMISER
from benchmarks.traffic import cycle_traffic

CPU = torch.device("cpu")


def run(options: Options) -> dict[str, Any]:
    """A record for each point."""
    paper = Base("paper", "paper", PAPER, 1)
    points = [Base("quickstart", "quickstart", QUICKSTART, 16), paper, paper.at(MEMBERS, 64)]
    points.append(Base("wide", "quickstart", WIDE, 256))
    if options.quick:
        points = [Base("quickstart", "smoke", TINY, 2)]
    return {"records": [count(point) for point in points]}


def count(point: Base) -> dict[str, Any]:
    """Operations, bytes by kind and operators of a cycle of the whole ensemble."""
    job = point.job("eager", "cpu", precision="float32")
    found = cycle_traffic(job.group().shared, CPU)
    own = {name: found.bytes[name] * point.members for name in (MATRIX, ACTIVATION, OPTIMISER)}
    total = sum(found.bytes.values()) * point.members
    record = {"base": point.name, **job.about(), "flops": point.members * job.tried().cycle_flops, "bytes": total}
    record |= {"bytes_by_kind": own | {"the rest": total - sum(own.values())}}
    record["operators"] = sum(found.operators.values())
    say(f"{point.name}, {point.members} members: {record['flops'] / 1e9:.3g} GFLOP, {total / 1e9:.3g} GB")
    return record
