"""When a sweep would be done on so many devices, and what bounds it: the longest ensemble, their number, the work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from dmdlab.trouble import counted

SLACK = 1.1
"""A schedule within this of what the work alone needs is bound by the work (ours)."""

Bound = Literal["longest ensemble", "number of ensembles", "throughput"]


@dataclass(frozen=True)
class Schedule:
    """Ensembles on devices, the longest first to whatever is free (at most 4/3 of the best schedule: Graham 1969).

    Attributes:
        times: of the ensembles, in seconds.
        devices: side by side.
        makespan: when the last is done.
        idle: the part of all devices' time until then in which they have nothing to do.
    """

    times: tuple[float, ...]
    devices: int
    makespan: float

    @property
    def work(self) -> float:
        """Seconds of all ensembles, one after the other."""
        return sum(self.times)

    @property
    def idle(self) -> float:
        """See above."""
        return 1 - self.work / (self.devices * self.makespan) if self.makespan else 0.0

    @property
    def bound(self) -> Bound:
        """What more devices, or smaller ensembles, could not or could change."""
        if self.makespan <= SLACK * self.work / self.devices:
            return "throughput"
        return "number of ensembles" if len(self.times) < self.devices else "longest ensemble"

    def in_words(self, kind: str, duration: Callable[[float], str], names: Sequence[str]) -> str:
        """Two sentences. kind: of device. names: of the ensembles."""
        head = (
            f"On {counted(self.devices, kind)}: done after about {duration(self.makespan)} "
            f"({duration(self.work)} of work, {self.idle:.0%} of the time idle). "
        )
        longest = max(range(len(self.times)), key=self.times.__getitem__, default=None)
        if longest is None:
            return f"{head}There is nothing to do."
        if self.bound == "throughput":
            return f"{head}Bound by throughput: twice as many {kind}s would take about half as long."
        if self.bound == "number of ensembles":
            return f"{head}Bound by the number of ensembles: {len(self.times)} for {self.devices} {kind}s."
        long = f"{names[longest]}, {duration(self.times[longest])}"
        return f"{head}Bound by the longest ensembles ({long}): more {kind}s help only where these are split."


def schedule(times: Sequence[float], devices: int) -> Schedule:
    """The longest ensembles first, each to the device that is free first."""
    return Schedule(tuple(times), devices, makespan(times, devices))


def makespan(times: Sequence[float], devices: int) -> float:
    """When the last of so many devices is done that take the longest ensembles first."""
    busy = [0.0] * max(1, devices)
    for own in sorted(times, reverse=True):
        busy[busy.index(min(busy))] += own
    return max(busy)
