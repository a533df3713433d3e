"""One measurement of anyone's pairs: read, measured as far as their number allows, and told in words."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dmdlab.pairing import Calibration, PairingReport, Pairs, measure_pairs, with_intervals
from dmdlab.pairing.analyses_in_words import analyses
from dmdlab.pairing.files import NAMES, read_array, read_pairs
from dmdlab.pairing.formats import readable
from dmdlab.records.record import load_record
from dmdlab.transport import Engine

SLOW = 3e10
"""Numbers compared (n^2 d) from which on a measurement takes a while, and what multiplies it is left out."""

LARGE = 2**30
"""Bytes of an npz file from which on the arrays for analyses alone stay unread."""

NEEDED = ("teacher", "student", "reference", "one_step", "teacher_differences", "student_differences")
"""The arrays that the measures and figures need."""

RESAMPLES = 20
"""Random halves behind the intervals of the measures that rest on an assignment."""

TRIED = 2e7
"""Numbers compared from which on it is worth a try how long a measurement takes (ours: below it is a second or two)."""

ROWS = 1000
"""Rows of that try, at most."""

GROWTH = 2.3
"""The power of n that a measurement's time grows with, between n^2 of the distances and more of an assignment (measured
at n = 1000 to 10 200 in the plane)."""

Watch = Callable[[Sequence[Pairs]], Iterable[Pairs]]
"""Hands on the halves one by one, and may say how it goes."""


@dataclass(frozen=True)
class Effort:
    """What a measurement will solve, and in how many seconds, roughly.

    Attributes:
        whole, halves: assignments of all rows, and of half of them.
        seconds: by a try at fewer rows, without an engine.
    """

    whole: int
    halves: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured.

    Attributes:
        source: the files, for the head of a page.
        pairs: their arrays.
        report: every measure.
        analyses: what the optional arrays say, JSON-ready, and the same as sentences.
    """

    source: str
    pairs: Pairs
    report: PairingReport
    analyses: tuple[dict[str, Any], list[str]]

    def in_words(self) -> list[str]:
        """The reading: of the measures, of what so many pairs can tell, and of the analyses."""
        return [*self.report.in_words(), self.report.resolution_in_words(), *self.analyses[1]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the report with the analyses in it."""
        return {**self.report.to_dict(), "in_words": self.in_words(), "analyses": self.analyses[0]}


def read(paths: Sequence[Path], more: Mapping[str, Path]) -> Pairs:
    """The pairs in these files, or of a run's folder; of a large file only the arrays in `NEEDED`.

    `more` are further arrays by name. Raises `InputError` as `read_pairs` and `load_record`.
    """
    if _is_run(paths):
        pairs, notes = load_record(paths[0]).pairs(), list[str]()
        arrays = {name: getattr(pairs, name) for name in NAMES}
        for name, path in more.items():
            arrays[name] = read_array(path, name, notes)
        pairs = Pairs.of(**arrays)
        return replace(pairs, notes=(*notes, *pairs.notes))
    large = any(path.is_file() and path.stat().st_size > LARGE for path in paths)
    return read_pairs(paths, more, NEEDED if large else NAMES)


def calibration_of(paths: Sequence[Path]) -> Calibration | None:
    """The calibration that a run's folder names; None for anything else."""
    return load_record(paths[0]).calibration() if _is_run(paths) else None


def _is_run(paths: Sequence[Path]) -> bool:
    with readable(paths[0]):
        return len(paths) == 1 and (paths[0] / "summary.json").is_file()


def slow(pairs: Pairs) -> bool:
    """Whether measuring these takes a while."""
    return pairs.n**2 * pairs.d > SLOW


def effort(pairs: Pairs, quick: bool = False) -> Effort:
    """What `measure_all` will solve, and how long it takes by a try at `ROWS` of the rows or less; 0 s for a few."""
    intervals = not slow(pairs) and not quick and pairs.n >= 4
    solves = 1 if pairs.reference is None else 3
    gaps = 2 if not slow(pairs) and pairs.noise is not None and pairs.noise.shape == pairs.teacher.shape else 0
    halves = RESAMPLES if intervals else 0
    seconds = 0.0
    rows = min(ROWS, pairs.n // 3)
    if pairs.n**2 * pairs.d > TRIED and rows >= 2:
        measure_pairs(_first(pairs, min(rows, 10)))  # imports the solvers
        started = time.perf_counter()
        measure_pairs(_first(pairs, rows))
        once = (time.perf_counter() - started) * (pairs.n / rows) ** GROWTH
        seconds = once * (1 + gaps / solves + halves * 0.5**GROWTH)
    return Effort(solves + gaps, solves * halves, seconds)


def _first(pairs: Pairs, rows: int) -> Pairs:
    """The first rows of the arrays that measures need."""
    reference = None if pairs.reference is None else pairs.reference[:rows]
    return Pairs(pairs.teacher[:rows], pairs.student[:rows], reference=reference)


def measure_all(
    source: str,
    pairs: Pairs,
    *,
    calibration: Calibration | None = None,
    engine: Engine | None = None,
    quick: bool = False,
    watch: Watch = iter,
) -> Measurement:
    """Every measure; where that is not `slow`, every interval and the analyses of the optional arrays, too.

    calibration: of this teacher, for remap_angle. engine: of large transport problems; numpy without one. quick: no
    interval that needs the halves measured. watch: hands these on.
    """
    report = measure_pairs(pairs, calibration=calibration, engine=engine)
    if slow(pairs):
        return Measurement(source, pairs, report, ({}, []))
    if pairs.n >= 4 and not quick:
        rng = np.random.default_rng(0)
        report = with_intervals(report, pairs, rng=rng, resamples=RESAMPLES, watch=watch)
    return Measurement(source, pairs, report, analyses(pairs))
