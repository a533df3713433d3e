"""Results told in words: numbers as text, the reading of a report and its table.

Everything here is a function of plain values: a report hands over its measures and knows this file, not the other way.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dmdlab.pairing.glossary import METRICS, chance_values, has_inputs
from dmdlab.pairing.law import Judged, LawJudgement
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.thresholds import almost_all_optimal, arccos_degrees

VERDICTS = {"chance": "at chance", "inside": "within its range", "saturated": "saturated"}


def number(value: object) -> str:
    """A number for a table: three digits, '–' for none; a power of ten only from a billion on and below 0.0001."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    return f"{value:.0f}" if 100 <= abs(value) < 1e9 else f"{value:.3g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown. Raises ValueError for a row that is shorter or longer than its head."""
    lines = ["| " + " | ".join(entry for entry, _ in zip(line, head, strict=True)) + " |" for line in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def spoken(value: float) -> str:
    """A number inside a sentence: as in a table, but 'unknown' for none."""
    return "unknown" if math.isnan(value) else number(value)


def interval(mean: float, low: float, high: float) -> str:
    """'0.71 ± 0.04', or the mean alone when there is no interval; no digit of either beyond the half's second."""
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(mean)):
        return number(mean)
    half = (high - low) / 2
    if not half:
        return f"{number(mean)} ± 0"
    if half < 5e-4:
        return f"{number(mean)} ± {half:.1g}"
    places = min(3, 1 - math.floor(math.log10(half)))
    mean, half = round(mean, places), round(half, places)
    return f"{mean:.{max(0, places)}f} ± {half:.{max(0, places)}f}"


def ends(mean: float, low: float, high: float) -> str:
    """'18 (5 to 65)' for an interval that is not symmetric, or the mean alone when there is none."""
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(mean)) or not high:
        return number(mean)
    return f"{number(mean)} ({number(low)} to {number(high)})"


def percent(share: float) -> str:
    """A share in percent: whole from ten percent on, two digits below, '–' for none; 100 % and 0 % only if it is so."""
    if math.isnan(share):
        return "–"
    if math.isinf(share):
        return f"{number(share)} %"
    if 0 < share < 1e-6:
        return "less than 0.0001 %"
    if abs(share) < 1e-6:
        return "0 %"
    if 0.995 <= share < 1:
        return f"{min(99.99, math.floor(1e4 * share) / 100):.4g} %"
    return f"{100 * share:.0f} %" if abs(share) >= 0.0995 else f"{100 * share:.2g} %"


def degrees(angle: float) -> str:
    """'1 degree', '30 degrees', 'less than half a degree'."""
    if 0 < angle <= 0.5:
        return "less than half a degree"
    return f"{angle:.0f} degree{'' if round(angle) == 1 else 's'}"


def near_one(correlation: float) -> str:
    """A correlation in words that do not round it to 1."""
    if 0.99 <= correlation < 1:
        return f"1 - {1 - correlation:.1g}"
    return f"{correlation:.2g}"


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
    """'0.1 to 0.2', an ellipsis for an end that is open; without an interval, what is certain of the value."""
    ends = (measured.low, measured.high)
    if ends == (None, None):
        if measured.certain is None:
            return "–"
        ends = measured.certain
    low, high = ("…" if end is None else number(end) for end in ends)
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
    sentences += _optimality(value, verdicts, metrics)
    sentences += _recognition(value, n)
    sentences.append(_law(metrics, law))
    keys_by_reason: dict[str, list[str]] = {}
    for key, measured in metrics.items():
        told = key in ("fidelity", "debiased_cost") and measured.reason == metrics["fidelity"].reason
        if not measured.resolved and measured.reason and not told and has_inputs(key, measured):
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
    sentences = [f"{share}: r2 {spoken(r2)}; pair_cosine {spoken(cosine)}, where 1 is a copy and 0 is chance."]
    if angle == 0:
        sentences.append("It scrambled the noise no more than a copy does (remap_angle 0).")
    elif not math.isnan(angle):
        size = "90 degrees or more" if angle >= 90 else degrees(angle)
        sentences.append(f"It scrambled the noise as much as turning it by {size} would (remap_angle).")
    if cosine < 0 and verdicts["pair_cosine"] != "chance":
        sentences.append(
            "It pairs against its teacher: on the whole its outputs lie on the other side of their mean from the "
            "teacher's, which an angle that ends at 90 degrees does not tell from a pairing that is lost."
        )
    return sentences


def _optimality(value: Mapping[str, float], verdicts: Mapping[str, str], metrics: Mapping[str, Measured]) -> list[str]:
    """Whether the pairing is as good as any: delta_e, never without its ceiling."""
    delta_e, ceiling, index = value["delta_e"], value["delta_e_ceiling"], value["copy_index"]
    if math.isnan(delta_e):
        return []
    if math.isnan(ceiling):
        limit = "the best pairing costs nothing, so there is no finite ceiling to read it against"
    else:
        limit = f"a student that pairs at random gets {spoken(ceiling)} at this n and d"
    if verdicts["delta_e"] == "saturated":
        limit += ", but it is saturated: a perfect copy would read the same, and delta_e says no more"
    elif ceiling < 1:
        limit += ", so a small value says little"
    sentences = [f"delta_e is {spoken(delta_e)}{_bounds(metrics['delta_e'])}; {limit}."]
    saves = "what the best pairing of these points saves over a random one"
    told = f"(copy_index {spoken(index)}{_bounds(metrics['copy_index'])})"
    if index < 0:
        sentences.append(f"The shared noise costs more than a random pairing, by {percent(-index)} of {saves} {told}.")
    elif not math.isnan(index):
        sentences.append(
            f"The shared noise realises {percent(index)} of {saves} {told}: whether it is optimal, "
            "not how strong it is."
        )
    return sentences


def _bounds(measured: Measured) -> str:
    """', certainly between 0.1 and 0.2' where the solver left that open."""
    if measured.certain is None:
        return ""
    low, high = measured.certain
    between = f"at least {number(low)}" if math.isinf(high) else f"between {number(low)} and {number(high)}"
    return f", certainly {between}"


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
    told = "; ".join(f"{key} {against(metrics[key].value, part)}" for key, part in known.items())
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


def against(value: float, part: Judged) -> str:
    """'0.998, inside 0.985 to 1.015', with the digits that tell the limits apart and two of the value's own, and more
    where the value would stand on the other side: '0.796, below 0.800 to 1.250'."""
    width = part.high - part.low
    places = max(0, min(6, 1 - math.floor(math.log10(width)))) if width > 0 else 3
    own = places if abs(value) < 1e-6 else max(places, min(7, 1 - math.floor(math.log10(abs(value)))))
    while max(own, places) < 15:
        low, high, told = round(part.low, places), round(part.high, places), round(value, own)
        if part.side == ("below" if told < low else "above" if told > high else "inside"):
            break
        own, places = max(own, places) + 1, max(own, places) + 1
    return f"{told + 0.0:.{own}f}, {part.side} {low:.{places}f} to {high:.{places}f}"  # no -0.00


def _direction(sides: Mapping[str, str]) -> str:
    """In which way a student's law differs, from the sides on which its measures lie."""
    if sides["variance_ratio"] == "below":
        return "The student shrank or lost modes"
    if sides["variance_ratio"] == "above":
        return "The student spread out"
    if {sides["debiased_cost"], sides["fidelity"]} == {"below", "above"}:
        return "The measures of the student's law point in different directions"
    if sides["debiased_cost"] == "below":
        return "The student's outputs are nearer to the reference than independent samples of one law are"
    if sides["fidelity"] == "below":
        return "The student's outputs are cheaper to match with fresh teacher samples than the teacher's own are"
    return "The student's outputs cost more to match with fresh teacher samples than the teacher's own do"


def resolution_in_words(n: int, directions: int | None) -> str:
    """What n pairs can tell at all when the outputs spread over so many directions of equal variance; None: over none,
    for those of one of the two."""
    if directions is None:
        return f"The outputs of one of the two spread over no direction: more pairs than these {n} tell no more."
    threshold = almost_all_optimal(n, directions)
    return (
        f"These outputs spread over about {directions} direction{'s' if directions > 1 else ''} of equal variance "
        f"(participation ratio); with {n} pairs of Gaussians in as many, delta_e is near 0 from a correlation "
        f"of {near_one(threshold)} on ({degrees(arccos_degrees(threshold))})."
    )


def run_in_words(transport_ratio: float, teacher_reasons: Sequence[str]) -> list[str]:
    """What a run adds to its report: how near the student is to fresh data, and why its teacher cannot be trusted."""
    found = [f"Its outputs cost {number(transport_ratio)} times as much to match with data as other data does."]
    if math.isnan(transport_ratio):
        found = ["How near its outputs are to the data is unknown: other data costs nothing to match with it."]
    if teacher_reasons:
        found.append(f"Beware: the teacher failed its own check: {'; '.join(teacher_reasons)}.")
    return found
