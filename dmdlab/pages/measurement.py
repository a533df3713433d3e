"""One measurement of anyone's pairs: read, measured as far as their number allows, and told in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dmdlab.pairing import Calibration, PairingReport, Pairs, measure_pairs, with_intervals
from dmdlab.pairing.files import NAMES, read_array, read_pairs
from dmdlab.pairing.words import analyses
from dmdlab.records.record import load_record
from dmdlab.transport import Engine

SLOW = 3e10
"""Numbers compared (n^2 d) from which on a measurement takes a while, and what multiplies it is left out."""

LARGE = 2**30
"""Bytes of an npz file from which on the arrays for analyses alone stay unread."""

NEEDED = ("teacher", "student", "reference", "one_step")
"""The arrays that the measures and figures need."""

RESAMPLES = 20
"""Random halves behind the intervals of the measures that rest on an assignment."""


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
        numbers, sentences = self.analyses
        return {**self.report.to_dict(), "in_words": [*self.report.in_words(), *sentences], "analyses": numbers}


def read(paths: Sequence[Path], more: Mapping[str, Path]) -> Pairs:
    """The pairs in these files, or of a run's folder; of a large file only the arrays in `NEEDED`.

    `more` are further arrays by name. Raises `InputError` as `read_pairs` and `load_record`.
    """
    if len(paths) == 1 and (paths[0] / "summary.json").is_file():
        pairs, notes = load_record(paths[0]).pairs(), list[str]()
        arrays = {name: getattr(pairs, name) for name in NAMES}
        for name, path in more.items():
            arrays[name] = read_array(path, name, notes)
        pairs = Pairs.of(**arrays)
        return replace(pairs, notes=(*notes, *pairs.notes))
    large = any(path.is_file() and path.stat().st_size > LARGE for path in paths)
    return read_pairs(paths, more, NEEDED if large else NAMES)


def slow(pairs: Pairs) -> bool:
    """Whether measuring these takes a while."""
    return pairs.n**2 * pairs.d > SLOW


def measure_all(
    source: str, pairs: Pairs, *, calibration: Calibration | None = None, engine: Engine | None = None
) -> Measurement:
    """Every measure; where that is not `slow`, every interval and the analyses of the optional arrays, too.

    calibration: of this teacher, for remap_angle. engine: of large transport problems; numpy without one.
    """
    report = measure_pairs(pairs, calibration=calibration, engine=engine)
    if slow(pairs):
        return Measurement(source, pairs, report, ({}, []))
    if pairs.n >= 4:
        rng = np.random.default_rng(0)
        report = with_intervals(report, pairs, rng=rng, resamples=RESAMPLES, calibration=calibration)
    return Measurement(source, pairs, report, analyses(pairs))
