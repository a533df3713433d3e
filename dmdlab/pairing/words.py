"""Results told in words: numbers as text, the reading of a report, its table, and the analyses of the optional arrays.

Everything here is a function of plain values: a report hands over its measures and knows this file, not the other way.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dmdlab.config import InputError
from dmdlab.pairing.analysis import Correlation, boundary, by_component, memorisation, monge_gap
from dmdlab.pairing.glossary import METRICS, Measured, chance_values, jsonable
from dmdlab.pairing.independence import dependent, why_dependent
from dmdlab.pairing.law import LawJudgement
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.thresholds import almost_all_optimal, angle_degrees

VERDICTS = {"chance": "at chance", "inside": "within its range", "saturated": "saturated"}
COMPONENTS = 5
"""Principal components of the teacher that are looked at."""


def number(value: object) -> str:
    """A number for a table: three digits, '–' for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def interval(mean: float, low: float, high: float) -> str:
    """'0.71 ± 0.04', or the mean alone when there is no interval."""
    if math.isnan(low) or math.isnan(mean):
        return number(mean)
    half = (high - low) / 2
    if not half:
        return f"{number(mean)} ± 0"
    places = max(0, min(3, 1 - math.floor(math.log10(half))))
    return f"{mean:.{places}f} ± {half:.{places}f}"


def percent(share: float) -> str:
    """A share in percent: whole from ten percent on, two digits below, '–' for none."""
    if math.isnan(share):
        return "–"
    if abs(share) < 1e-6:
        return "0 %"
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 else f"{100 * share:.2g} %"


def dimensions(d: int) -> str:
    """'1 dimension', '3 dimensions'."""
    return f"{d} dimension{'s' if d > 1 else ''}"


@dataclass(frozen=True)
class Line:
    """One measure as the table shows it; every field but the first is text for people."""

    key: str
    value: str
    interval: str
    chance: str
    best: str
    verdict: str
    reason: str


def lines_of(metrics: Mapping[str, Measured], verdicts: Mapping[str, str], n: int) -> list[Line]:
    """Every measure of a report on n pairs, in the glossary's order."""
    chance = chance_values({key: measured.value for key, measured in metrics.items()}, n)
    return [
        Line(
            key=key,
            value=number(measured.value),
            interval=_limits(measured),
            chance=number(chance.get(key)),
            best="–" if METRICS[key].best is None else f"{METRICS[key].best:g}",
            verdict=VERDICTS[verdicts[key]] if key in verdicts else "" if measured.resolved else "unresolved",
            reason=measured.reason or "",
        )
        for key, measured in metrics.items()
    ]


def _limits(measured: Measured) -> str:
    """'0.1 to 0.2', an ellipsis for an end that is open."""
    if measured.low is None and measured.high is None:
        return "–"
    low, high = ("…" if end is None else number(end) for end in (measured.low, measured.high))
    return f"{low} to {high}"


def read_aloud(
    metrics: Mapping[str, Measured],
    verdicts: Mapping[str, str],
    n: int,
    d: int,
    chance_sd: float,
    law: LawJudgement,
) -> list[str]:
    """A report in sentences: strength, delta_e with its ceiling, copying with the law, and what is unresolved."""
    value = {key: measured.value for key, measured in metrics.items()}
    sentences = [f"Measured on {n} pairs in {dimensions(d)}."]
    sentences += _strength(value, verdicts, chance_sd)
    sentences += _optimality(value, verdicts)
    sentences += _recognition(value, n)
    sentences.append(_law(metrics, law))
    keys_by_reason: dict[str, list[str]] = {}
    for key, measured in metrics.items():
        told = key in ("fidelity", "debiased_cost") and measured.reason == metrics["fidelity"].reason
        if not measured.resolved and measured.reason and not told:
            keys_by_reason.setdefault(measured.reason, []).append(key)
    return sentences + [f"Unresolved: {', '.join(keys)}: {reason}." for reason, keys in keys_by_reason.items()]


def _strength(value: Mapping[str, float], verdicts: Mapping[str, str], chance_sd: float) -> list[str]:
    """How much of the pairing there is: pair_cosine, r2 and remap_angle, which do not saturate."""
    cosine, r2, angle = value["pair_cosine"], value["r2"], value["remap_angle"]
    if math.isnan(cosine):
        return []
    if verdicts["pair_cosine"] == "chance":
        share = f"The pairing cannot be told from a random one (a random pairing varies by {chance_sd:.2g})"
    elif r2 > 0:
        share = f"The student explains {percent(r2)} of the teacher's variance at equal noise"
    else:
        share = "At equal noise the student predicts the teacher no better than the teacher's mean does"
    sentences = [f"{share}: r2 {r2:.2f}; pair_cosine {cosine:.2f}, where 1 is a copy and 0 is chance."]
    if not math.isnan(angle):
        size = "90 degrees or more" if angle >= 90 else f"{angle:.0f} degrees"
        sentences.append(f"It scrambled the noise as much as turning it by {size} would (remap_angle).")
    return sentences


def _optimality(value: Mapping[str, float], verdicts: Mapping[str, str]) -> list[str]:
    """Whether the pairing is as good as any: delta_e, never without its ceiling."""
    delta_e, ceiling, index = value["delta_e"], value["delta_e_ceiling"], value["copy_index"]
    if math.isnan(delta_e):
        return []
    if math.isnan(ceiling):
        limit = "the best pairing costs nothing, so there is no finite ceiling to read it against"
    else:
        limit = f"a student that pairs at random gets {ceiling:.2g} at this n and d"
    if verdicts["delta_e"] == "saturated":
        limit += ", but it is saturated: so faint a pairing already is the best one, and delta_e says no more"
    elif ceiling < 1:
        limit += ", so a small value says little"
    sentences = [f"delta_e is {delta_e:.2g}; {limit}."]
    if not math.isnan(index):
        sentences.append(
            f"The shared noise realises {percent(index)} of what the best pairing of these points saves "
            f"over a random one (copy_index {index:.2f}): whether it is optimal, not how strong it is."
        )
    return sentences


def _recognition(value: Mapping[str, float], n: int) -> list[str]:
    """How well a partner is recognised, with the chance level."""
    auc, recall = value["pair_auc"], value["recall_at_1"]
    if math.isnan(auc) or math.isnan(recall):
        return []
    return [
        f"A student output is nearest to its own teacher output in {percent(recall)} of the cases "
        f"(chance {percent(1 / n)}), and nearer to it than to a random one in {percent(auc)} (chance 50 %)."
    ]


def _law(metrics: Mapping[str, Measured], law: LawJudgement) -> str:
    """What the measures of the law allow to be said about copying: which of them disagree, and in which direction."""
    fidelity, sides = metrics["fidelity"], {key: part.side for key, part in law.parts.items()}
    known = {key: part for key, part in law.parts.items() if metrics[key].resolved}
    told = "; ".join(
        f"{key} {number(metrics[key].value)}, {part.side} {number(part.low)} to {number(part.high)}"
        for key, part in known.items()
    )
    limits = f"by convention: {law.convention}" if law.convention else "where equal laws fall at this n and d"
    told = f" ({told}; {limits})" if told else ""
    if law.agrees:
        return (
            f"The student's law is close to the teacher's{told}; a claim of copying also needs a control started from "
            "a rotated teacher."
        )
    if outside := [key for key, side in sides.items() if side in ("below", "above")]:
        *others, last = outside
        named = f"{', '.join(others)} and {last} say" if others else f"{last} says"
        return (
            f"{_direction(sides)}: its law is not that of the teacher's outputs, as {named}{told}, so this is not yet "
            "evidence of copying or of remapping."
            + ("" if fidelity.resolved else f" Fidelity is unknown: {fidelity.reason}.")
        )
    reason = next(metrics[key].reason for key, side in sides.items() if side == "unknown")
    return (
        f"{'Whether the law is the same' if fidelity.resolved else 'Fidelity'} is unknown: {reason}{told}. Until it is "
        "known to be near 1, none of this shows that the student copies: it may have another law."
    )


def _direction(sides: Mapping[str, str]) -> str:
    """In which way a student's law differs, from the sides on which its measures lie."""
    if sides["variance_ratio"] == "below":
        return "The student shrank or lost modes"
    if sides["variance_ratio"] == "above":
        return "The student spread out"
    if sides["debiased_cost"] == "below":
        return "The student's outputs are nearer to the reference than independent samples of one law are"
    if sides["fidelity"] == "below":
        return "The student's outputs are cheaper to match with fresh teacher samples than the teacher's own are"
    return "The student's outputs cost more to match with fresh teacher samples than the teacher's own do"


def resolution_in_words(n: int, directions: int) -> str:
    """What n pairs can tell at all when the outputs spread over so many directions of equal variance."""
    threshold = almost_all_optimal(n, directions)
    return (
        f"These outputs spread over about {directions} direction{'s' if directions > 1 else ''} of equal variance "
        f"(participation ratio); with {n} pairs of Gaussians in as many, delta_e is near 0 from a correlation "
        f"of {threshold:.2g} on ({angle_degrees(threshold):.0f} degrees)."
    )


def run_in_words(transport_ratio: float, teacher_reasons: Sequence[str]) -> list[str]:
    """What a run adds to its report: how near the student is to fresh data, and why its teacher cannot be trusted."""
    found = [f"Its outputs cost {transport_ratio:.2g} times as much to match with data as other data does."]
    if teacher_reasons:
        found.append(f"Beware: the teacher failed its own check: {'; '.join(teacher_reasons)}.")
    return found


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
    told = ", ".join(number(c.value) for c in found.correlation)
    columns = zip(found.variance_share, found.correlation, found.amplitude, strict=True)
    record = [{"variance_share": v, "correlation": asdict(c), "amplitude": a} for v, c, a in columns]
    return record, (
        f"Along the teacher's first {len(found.correlation)} principal components "
        f"({percent(float(found.variance_share.sum()))} of its variance) the student correlates with it by {told}."
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
        f"{percent(teacher.share)}, student {percent(student.share)}; {percent(teacher.chance)} by chance in "
        f"{dimensions(pairs.d)}."
    )


def _monge_gap(pairs: Pairs) -> tuple[Any, str] | None:
    """Is the map from noise to outputs one of optimal transport?"""
    if pairs.noise is None or pairs.noise.shape != pairs.teacher.shape:
        return None
    teacher, student = (monge_gap(pairs.noise, outputs).relative for outputs in (pairs.teacher, pairs.student))
    return {"teacher": teacher, "student": student}, (
        f"As transport from the noise, the teacher's map misses {percent(teacher)} of what the best pairing of these "
        f"points saves over a random one, the student's {percent(student)} (relative Monge gap; 0: optimal at this n)."
    )


def _told(correlation: Correlation) -> str:
    return f"{number(correlation.value)} ({number(correlation.low)} to {number(correlation.high)})"
