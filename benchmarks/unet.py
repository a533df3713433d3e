"""U-Nets against the plain loop, which trains one at a time; a cycle of DMD.

On a CPU one tiny one and four at once, recorded and eager; on a GPU four, 64 of them, and one of the paper's, each
cycle a CUDA graph, with the memory that both take.

Beside the times stands the bound: what the products and convolutions of dmdlab's cycle take alone, from a profile of
it. No loop that convolves the same way can be faster than that, whatever it spares around them.
"""

from typing import Any

import torch

from benchmarks import peers
from benchmarks.measure import Options, significant
from benchmarks.peers import Record
from benchmarks.points import BATCH, EAGER, GRAPH, MEMBERS, PLAIN, RECORDED, UPDATES, Point
from dmdlab.lab.profile import PRODUCTS, distillation_subject, profile

FEW, MANY, SIDES, K = 4, 64, (8, 16), (2, 5)
PAPER = Point("paper's unet", "paper-pictures", {})
"""The paper's U-Net of 31.1 million parameters at side 32, batch 32, k = 5."""


def points(options: Options) -> list[Point]:
    """The U-Net's default settings on pictures of the manifold, with a network teacher."""
    law: dict[str, object] = {"law.name": "manifold", "network.kind": "unet"}
    law |= {"teacher.kind": "network", "teacher.target": "data"}
    if options.quick:
        tiny: dict[str, object] = {"law.side": 4, "law.intrinsic": 4, "network.channels": [4, 4], BATCH: 2, UPDATES: 1}
        return [Point("unet", "quickstart", law | tiny, 2)]
    few = [
        Point("unet", "quickstart", law | {"law.side": side, BATCH: 32, UPDATES: k}, FEW) for side in SIDES for k in K
    ]
    if options.cuda:
        return [*few, few[-1].at(MEMBERS, MANY), PAPER]
    return [own.at(MEMBERS, e) for own in few for e in ((1, FEW) if own.settings[UPDATES] == K[0] else (FEW,))]


def run(options: Options) -> dict[str, Any]:
    """A record for each point."""
    where, records = points(options), []
    who = [PLAIN, EAGER] if options.quick else [PLAIN, GRAPH] if options.cuda else [PLAIN, EAGER, RECORDED]
    measured = peers.measured(where, who, options, options.processes)
    for point, record in zip(where, measured, strict=True):
        shown = profile(
            distillation_subject(point.group(), torch.device(options.device)), cycles=1 if options.quick else 5
        )
        record["products_ms"] = significant(shown.kinds[PRODUCTS] / point.members)
        records.append(record | {"figures": figures(record)})
    return {"records": records}


def figures(record: Record) -> dict[str, float]:
    """Those of the peers, and milliseconds that a student's products and convolutions take alone."""
    return peers.figures(record) | {"products, ms": record["products_ms"]}
