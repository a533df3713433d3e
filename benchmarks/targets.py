"""The targets that dmdlab set itself, judged by what `benchmarks.peers` measured: on a CPU, and meant for one H200.

A target is met when the median meets what is wanted and, where that is set, the least of all rounds what is wanted of
it. A point whose baseline spreads from process to process is not judged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.measure import ratio
from benchmarks.peers import Record, better_jax, own, unsteady
from benchmarks.points import MEMBERS, PLAIN

Found = tuple[float, float, float]
"""Median, least and most."""

RUN_CYCLES = 10_000
"""Cycles of the paper's toy distillation: 50 000 iterations, k = 5."""


@dataclass(frozen=True)
class Target:
    """So much `wanted` at a point with so many members, and of the least of all rounds `least`. of: 'JAX' or 'plain',
    how many times a baseline's time dmdlab's is, at least; 'share' of a large product's rate, at least; 'ms' of a cycle
    of all members or 's' of a run's cycles, at most; 'min' of a whole sweep, which no benchmark measures."""

    text: str
    point: str
    members: int
    of: str
    wanted: float
    least: float | None = None

    @property
    def more(self) -> bool:
        """Whether more is better."""
        return self.of in ("JAX", "plain", "share")

    def baseline(self, record: Record) -> str | None:
        """Whose time it is held against."""
        return {"JAX": better_jax(record), "plain": PLAIN}.get(self.of)

    def found(self, record: Record) -> Found | None:
        """What was measured at its point; None where the baseline was not."""
        seconds = record["seconds"]
        mine, baseline = seconds[own(record)], self.baseline(record)
        if self.of in ("JAX", "plain"):
            return ratio(seconds[baseline], mine) if baseline else None
        if self.of == "share":
            rate = max(each["torch, large"] for each in record["rates"])
            return ratio([[record["flops"] / rate] * len(rounds) for rounds in mine], mine)
        factor = record[MEMBERS] * (1e3 if self.of == "ms" else RUN_CYCLES)
        return ratio(mine, [[1 / factor] * len(rounds) for rounds in mine])

    def verdict(self, record: Record) -> str:
        """'met', 'not met', or that it is not judged. Work left out shortens a time, so that it can only be missed."""
        found = self.found(record)
        if found is None:
            return "not measured yet"
        if self.baseline(record) in unsteady(record):
            return "not judged: unsteady"
        middle, least, _ = found
        if not (middle >= self.wanted if self.more else middle <= self.wanted) or least < (self.least or 0):
            return "not met"
        return "not judged: leaves out teacher and measures" if self.of == "s" else "met"

    def bound(self, record: Record) -> float | None:
        """The ratio that a cycle of nothing but its products would reach."""
        name = self.baseline(record)
        return record["figures"][f"{name}, ms"] / record["figures"]["floor, ms"] if name else None


STUDENTS, PAPER = "the quickstart's network, e = {}", "the paper's network, one student"
JAX, LOOP = ", against JAX's better form", ", against the plain loop"
TARGETS: dict[str, tuple[Target, ...]] = {
    "cpu": (
        *(Target(STUDENTS.format(e) + JAX, "quickstart", e, "JAX", 1.0, 0.9) for e in (16, 64)),
        *(Target(STUDENTS.format(e) + JAX, "quickstart", e, "JAX", 0.9) for e in (1, 4)),
        Target(PAPER + JAX, "paper", 1, "JAX", 1.0),
        Target(STUDENTS.format(16) + LOOP, "quickstart", 16, "plain", 4.0),
    ),
    "cuda": (
        Target(PAPER + LOOP, "paper", 1, "plain", 8.0),
        Target("64 paper-size students" + LOOP, "paper", 64, "plain", 60.0),
        Target("64 paper-size students, share of a large product's rate", "paper", 64, "share", 0.35),
        Target("the cycles of the paper's whole toy distillation for 64 seeds", "paper", 64, "s", 90.0),
        Target("a cycle of 256 members, residual 256 x 4, k = 5, d = 64, batch 1024", "wide", 256, "ms", 30.0),
        Target("all of experiments/dimension.toml", "", 0, "min", 30.0),
    ),
}
"""By kind of device; those of 'cuda' are meant for one H200."""


def at(target: Target, records: Sequence[Record]) -> Iterator[Record]:
    """The records of its point."""
    return (r for r in records if (r["point"], r[MEMBERS]) == (target.point, target.members))


def missing(device: str, records: Sequence[Record]) -> list[str]:
    """The targets that a run on this kind of device measures and these records lack."""
    return [t.text for t in TARGETS[device] if t.point and all(t.found(r) is None for r in at(t, records))]
