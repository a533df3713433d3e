"""How far a sweep is, how fast, and how long it will take: arithmetic only, so that a test can hold the clock.

Work is counted in operations, so a large ensemble counts for more than a small one. What a sweep finds already done,
such as start networks that its folder holds, is taken off the total instead of being mistaken for speed.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0
"""The rate is that of the last minute, or of the last half of the time when that is longer (ours)."""

MEANINGFUL_SECONDS = 5.0
"""No time left is told before (ours): the first seconds go into starting."""


@dataclass
class Pace:
    """Work done against time. total: operations of everything to do; students: runs to do; start: seconds."""

    total: float
    students: int
    start: float
    done: float = 0.0
    marks: deque[tuple[float, float]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.per_student = self.total / max(1, self.students)
        self.marks.append((self.start, 0.0))

    def advance(self, work: float, now: float) -> None:
        """`work` more operations are done, at time `now` in seconds."""
        self.done += work
        self.marks.append((now, self.done))
        window = max(WINDOW_SECONDS, (now - self.start) / 2)
        while len(self.marks) > 2 and self.marks[1][0] <= now - window:
            self.marks.popleft()

    def skip(self, work: float) -> None:
        """`work` operations turned out to be done already."""
        self.total -= work

    def rate(self, now: float) -> float | None:
        """Operations per second of late; None before it means something."""
        since, before = self.marks[0]
        meaningful = now - self.start >= MEANINGFUL_SECONDS and self.done > before
        return (self.done - before) / (now - since) if meaningful else None

    def students_per_second(self, now: float) -> float | None:
        """The rate in whole average students."""
        rate = self.rate(now)
        return None if rate is None or not self.per_student else rate / self.per_student

    def seconds_left(self, now: float) -> float | None:
        """Time to the end at that rate."""
        rate, left = self.rate(now), self.total - self.done
        return None if rate is None else left / rate if left > 1e-9 * self.total else 0.0  # sums of parts round


class Ensemble:
    """One ensemble's part in the pace: operations by stage, in the order of the stages, and how much of each is done.

    RESUMED: when the last stage's first news is beyond this share, it goes on from a checkpoint.
    """

    RESUMED = 0.1

    def __init__(self, work: Mapping[str, float], pace: Pace) -> None:
        self.work, self.pace = dict(work), pace
        self.shares: dict[str, float] = {}

    def progress(self, stage: str, share: float, now: float) -> None:
        """`share` of `stage` is done; stages before it of which nothing was heard were done already."""
        if stage not in self.work:
            return
        for before in self.work:
            if before == stage:
                break
            if before not in self.shares:
                self.pace.skip(self.work[before])
                self.shares[before] = 1.0
        known = self.shares.get(stage)
        if known is None and share > self.RESUMED and stage == list(self.work)[-1]:
            self.pace.skip(share * self.work[stage])
            known = share
        self.pace.advance((share - (known or 0.0)) * self.work[stage], now)
        self.shares[stage] = share

    def again(self, work: float) -> None:
        """What is left gives way to `work` operations: its runs start anew in smaller ensembles."""
        left = sum((1 - self.shares.get(stage, 0.0)) * whole for stage, whole in self.work.items())
        self.pace.skip(left - work)


def duration(seconds: float) -> str:
    """'0.3 s', '40 s', '3 min', '2 h 5 min', '3 days 4 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1g} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days} days" + (f" {hours} h" if hours else "")


def throughput(students_per_second: float) -> str:
    """'2.4 students/s', or per minute or hour where that gives a number above one."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if students_per_second * seconds >= 1:
            return f"{students_per_second * seconds:.3g} students/{unit}"
    return f"{students_per_second * 3600:.2g} students/h"
