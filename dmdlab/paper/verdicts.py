"""For or against: what an interval over seeds says of a statement, by three rulers, each with its own line between a
copy and a re-paired student. The lines were drawn before the runs and are the same for every claim:

    delta_e         1 (ours): the shared noise costs twice what the best pairing costs
    remap_angle     45 degrees, half-way from a copy to no memory of the pairing, by the run's own calibration
    local_cosine    what the teacher itself reads after a planted turn by 45 degrees, by the same calibration
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dmdlab.pairing import Interval, mean_interval
from dmdlab.paper.kept import HALF, SECTION
from dmdlab.records.cells import Cell
from dmdlab.records.record import Record

Verdict = Literal["for", "against", "undecided", "not run"]
RULERS = ("delta_e", "remap_angle", "local_cosine")

LINE = 1.0
"""Of delta_e (ours)."""


@dataclass(frozen=True)
class Said:
    """A verdict, the interval that it was read from, and why it should not be relied on (`doubts`)."""

    verdict: Verdict
    interval: Interval
    doubts: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The verdict with its doubts: 'for (poor, teacher!)'."""
        return f"{self.verdict} ({', '.join(self.doubts)})" if self.doubts else self.verdict


NOT_RUN = Said("not run", mean_interval([]))


def beyond(interval: Interval, line: float, above: bool) -> Verdict:
    """For where the interval lies on this side of the line, against where on the other; otherwise undecided."""
    low, high = (interval.low - line, interval.high - line) if above else (line - interval.high, line - interval.low)
    return "for" if low > 0 else "against" if high < 0 else "undecided"


def doubts(*found: Cell) -> tuple[str, ...]:
    """The marks of a table: 'poor' where a cell's law can be told from its teacher's, 'teacher!' where a teacher failed
    its own check, 'failed' where a run did not come to its end."""
    marks = {"poor": any(cell.poor for cell in found), "teacher!": any(cell.flagged for cell in found)}
    marks["failed"] = any(cell.failed for cell in found)
    return tuple(mark for mark, holds in marks.items() if holds)


def copies(cell: Cell, ruler: str) -> Said:
    """Whether the students of a cell copy, by one of `RULERS`. Where half of the values of delta_e or more are 0, which
    leaves none on its own scale, the interval is Student's."""
    own, half = cell.interval(ruler), derived_values(cell, "local_cosine_half")
    if np.isnan(own.low):
        own = mean_interval(cell.column(ruler))
    lines = {"delta_e": LINE, "remap_angle": HALF, "local_cosine": float(np.mean(half)) if half else np.nan}
    return Said(beyond(own, lines[ruler], above=ruler == "local_cosine"), own, doubts(cell))


def opposite_verdict(said: Said) -> Said:
    """The verdict on the opposite statement."""
    opposite: dict[Verdict, Verdict] = {"for": "against", "against": "for"}
    return replace(said, verdict=opposite.get(said.verdict, said.verdict))


def less_copied(first: Cell, second: Cell, ruler: str) -> Said:
    """Whether the first cell copies less than the second, seed by seed: the difference of the two by a ruler."""
    difference = difference_by_seed(first.records, second.records, value(ruler))
    return Said(beyond(difference, 0.0, above=ruler != "local_cosine"), difference, doubts(first, second))


def difference_by_seed(
    first: Sequence[Record], second: Sequence[Record], of: Callable[[Record], float | None]
) -> Interval:
    """What the first runs read less what the second read, over the seeds that both have."""
    sides = [by_seed(own, of) for own in (first, second)]
    return mean_interval([sides[0][seed] - sides[1][seed] for seed in sorted(set(sides[0]) & set(sides[1]))])


def by_seed(records: Sequence[Record], of: Callable[[Record], float | None]) -> dict[int, float]:
    """A number of each finished run that has it, by seed."""
    found = {int(r.config["seed"]): of(r) for r in records if r.done}
    return {seed: float(v) for seed, v in found.items() if v is not None}


def value(key: str) -> Callable[[Record], float | None]:
    """One measure of a run."""
    return lambda record: record.row.get(key)


def derived_values(cell: Cell, key: str) -> list[float]:
    """One of the derived numbers of a cell's finished runs, those that have it."""
    found = [record.summary.get(SECTION, {}).get(key) for record in cell.records if record.done]
    return [float(v) for v in found if v is not None]


def together(verdicts: Mapping[str, str]) -> str:
    """One verdict of several, by their names: the common one, else who says what."""
    kinds = set(verdicts.values())
    if len(kinds) == 1:
        return kinds.pop()
    return "; ".join(f"{kind}: {', '.join(n for n, v in verdicts.items() if v == kind)}" for kind in sorted(kinds))
