"""Records as the benchmarks make them, of rounds that a test gives."""

from typing import Any

from benchmarks import peers
from benchmarks.points import MEMBERS, TINY


def record_of(seconds: dict[str, list[list[float]]], members: int = 16, **other: Any) -> dict[str, Any]:
    """A record of the quickstart's network with these rounds; its 100 operations could take 50 ms."""
    rate = {"torch, large": 1000.0, "numpy, large": 900.0}
    record = TINY.about() | {MEMBERS: members, "threads": 1, "flops": 100, "seconds": seconds, "measured": 1}
    record |= {"rates": [rate, rate | {"numpy, large": 2000.0}], "ready_s": {name: [3.0, 1.0] for name in seconds}}
    record |= other
    return record | {"figures": peers.figures(record)}
