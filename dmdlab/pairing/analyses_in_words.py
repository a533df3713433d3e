"""The analyses of the optional arrays, as numbers for a record and as sentences."""

import math
from dataclasses import asdict, replace
from typing import Any

from dmdlab.config import InputError
from dmdlab.pairing.analysis import Correlation, boundary, by_component, memorisation, monge_gap
from dmdlab.pairing.independence import dependent, why_dependent
from dmdlab.pairing.measured import jsonable
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.words import dimensions, number, percent, spoken

COMPONENTS = 5
"""Principal components of the teacher that are looked at."""


def analyses(pairs: Pairs) -> tuple[dict[str, Any], list[str]]:
    """Every analysis that these arrays allow: JSON-ready numbers by name (NaN as null), and sentences.

    Principal components need nothing more, the boundary analysis `one_step` and `data`, memorisation `data`, the Monge
    gap `noise` of the outputs' dimension.
    """
    numbers: dict[str, Any] = {}
    sentences: list[str] = []
    shared = why_dependent(dependent(pairs), "data")
    if shared:
        sentences.append(f"Unresolved: memorisation, boundary: {shared}.")
        pairs = replace(pairs, data=None)
    for name, analyse in (
        ("components", _components),
        ("boundary", _boundary),
        ("memorisation", _memorisation),
        ("monge_gap", _monge_gap),
    ):
        found = analyse(pairs)
        if found is not None:
            numbers[name] = jsonable(found[0])
            sentences.append(found[1])
    return numbers, sentences


def _components(pairs: Pairs) -> tuple[Any, str] | None:
    """Copying along the teacher's principal components."""
    try:
        found = by_component(pairs.teacher, pairs.student, COMPONENTS)
    except InputError:  # a constant teacher has none
        return None
    told = ", ".join(spoken(c.value) for c in found.correlation)
    known = not all(math.isnan(c.value) for c in found.correlation)
    count = len(found.correlation)
    which = "first principal component" if count == 1 else f"first {count} principal components"
    columns = zip(found.variance_share, found.correlation, found.amplitude, strict=True)
    record = [{"variance_share": v, "correlation": asdict(c), "amplitude": a} for v, c, a in columns]
    share = percent(round(float(found.variance_share.sum()), 9))  # all of them make 1 but for rounding
    said = f"the student correlates with it by {told}" if known else "how the student correlates with it is unknown"
    return record, f"Along the teacher's {which} ({share} of its variance) {said}."


def _boundary(pairs: Pairs) -> tuple[Any, str] | None:
    """Are outlying samples copied more?"""
    if pairs.one_step is None or pairs.data is None:
        return None
    found = boundary(pairs)
    record = {"pearson": asdict(found.pearson), "spearman": asdict(found.spearman)}
    return record, (
        "Distance of a teacher output to the data against how far training moved its student output away: "
        f"Spearman {_told(found.spearman)}, Pearson {_told(found.pearson)}; below 0, outlying samples are copied more."
    )


def _memorisation(pairs: Pairs) -> tuple[Any, str] | None:
    """Are outputs copies of training points?"""
    if pairs.data is None:
        return None
    teacher, student = (memorisation(outputs, pairs.data) for outputs in (pairs.teacher, pairs.student))
    record = {
        name: {key: getattr(found, key) for key in ("share", "low", "high", "chance", "excess")}
        for name, found in (("teacher", teacher), ("student", student))
    }
    return record, (
        "Memorised (the nearest row of data is within a third of the distance of the next): teacher "
        f"{percent(teacher.share)}, student {percent(student.share)}; {percent(teacher.chance)} by chance in "
        f"{dimensions(pairs.d)}."
    )


def _monge_gap(pairs: Pairs) -> tuple[Any, str] | None:
    """Is the map from noise to outputs one of optimal transport?"""
    if pairs.noise is None or pairs.noise.shape != pairs.teacher.shape:
        return None
    teacher, student = (monge_gap(pairs.noise, outputs).relative for outputs in (pairs.teacher, pairs.student))
    record = {"teacher": teacher, "student": student}
    if math.isnan(teacher) or math.isnan(student):
        return record, "The Monge gap is unknown: no pairing of these points saves anything over a random one."
    return record, (
        f"As transport from the noise, the teacher's map misses {percent(teacher)} of what the best pairing of these "
        f"points saves over a random one, the student's {percent(student)} (relative Monge gap; 0: optimal at this n)."
    )


def _told(correlation: Correlation) -> str:
    if math.isnan(correlation.value):
        return "unknown"
    return f"{number(correlation.value)} ({number(correlation.low)} to {number(correlation.high)})"
