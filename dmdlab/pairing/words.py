"""What the optional arrays of `dmdlab measure` are good for: analyses by sample and by direction, told in words."""

import math
from dataclasses import asdict
from typing import Any

from dmdlab.cli.show import number
from dmdlab.config import InputError
from dmdlab.pairing.analysis import Correlation, boundary, by_component, memorisation, monge_gap
from dmdlab.pairing.pairs import Pairs

COMPONENTS = 5
"""Principal components of the teacher that are looked at."""


def analyses(pairs: Pairs) -> tuple[dict[str, Any], list[str]]:
    """Every analysis that these arrays allow: JSON-ready numbers by name (NaN as null), and sentences.

    Principal components need nothing more, the boundary analysis `one_step` and `data`, memorisation `data`, the Monge
    gap `noise` of the outputs' dimension.
    """
    numbers: dict[str, Any] = {}
    words: list[str] = []
    for name, analyse in (
        ("components", _components),
        ("boundary", _boundary),
        ("memorisation", _memorisation),
        ("monge_gap", _monge_gap),
    ):
        found = analyse(pairs)
        if found is not None:
            numbers[name] = _finite(found[0])
            words.append(found[1])
    return numbers, words


def _components(pairs: Pairs) -> tuple[Any, str] | None:
    """Copying along the teacher's principal components."""
    try:
        found = by_component(pairs.teacher, pairs.student, COMPONENTS)
    except InputError:  # a constant teacher has none
        return None
    told = ", ".join(number(c.value) for c in found.correlation)
    share = 100 * float(found.variance_share.sum())
    columns = zip(found.variance_share.tolist(), found.correlation, found.amplitude.tolist(), strict=True)
    record = [{"variance_share": v, "correlation": asdict(c), "amplitude": a} for v, c, a in columns]
    return record, (
        f"Along the teacher's first {len(found.correlation)} principal components ({share:.0f} % of its variance) the "
        f"student correlates with it by {told}."
    )


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
        f"{_percent(teacher.share)}, student {_percent(student.share)}; {_percent(teacher.chance)} by chance in "
        f"{pairs.d} dimension{'s' if pairs.d > 1 else ''}."
    )


def _monge_gap(pairs: Pairs) -> tuple[Any, str] | None:
    """Is the map from noise to outputs one of optimal transport?"""
    if pairs.noise is None or pairs.noise.shape != pairs.teacher.shape:
        return None
    teacher, student = (monge_gap(pairs.noise, outputs).relative for outputs in (pairs.teacher, pairs.student))
    return {"teacher": teacher, "student": student}, (
        f"As transport from the noise, the teacher's map misses {_percent(teacher)} of what the best pairing of these "
        f"points saves over a random one, the student's {_percent(student)} (relative Monge gap; 0: optimal at this n)."
    )


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.2g} %" if share >= 1e-4 else "0 %"


def _told(correlation: Correlation) -> str:
    return f"{number(correlation.value)} ({number(correlation.low)} to {number(correlation.high)})"


def _finite(value: Any) -> Any:
    """The same with None for numbers that are none."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value if math.isfinite(value) else None
