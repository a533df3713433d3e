"""The one sentence and the one picture on top of a report: does it copy, and can I trust that?"""

import math
from dataclasses import dataclass

from dmdlab.pairing import PairingReport
from dmdlab.pairing.law import LAW_KEYS
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.words import degrees, number

LEFT, RIGHT = 40.0, 400.0
"""Where a ruler begins and ends, in the units of its picture."""

COPY = 0.99
"""The pair_cosine from which on "it copies" is said (ours; a turn of the noise by about 8 degrees in a Gaussian)."""


@dataclass(frozen=True)
class Ruler:
    """One value on its scale.

    Attributes:
        label, spoken: its name, and all of it for who does not see it.
        first, last: ends of the scale; what lies beyond is drawn at the end.
        low, high: the band, empty where they are equal.
        marks: places with a name.
        at: the value, None where there is none; value: the same as text.
        interval: 95 %, where there is one.
    """

    label: str
    spoken: str
    first: float
    last: float
    low: float
    high: float
    marks: tuple[tuple[float, str], ...]
    at: float | None
    value: str
    interval: tuple[float, float] | None = None

    def x(self, place: float) -> float:
        """Where a value lies in the picture."""
        share = (place - self.first) / (self.last - self.first)
        return round(LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, share)), 1)


@dataclass(frozen=True)
class Answer:
    """Both halves of the sentence, what the bands of the law mean, and the rulers from above to below."""

    copies: str
    trust: str
    limits: str
    rulers: tuple[Ruler, ...]


def answer(report: PairingReport) -> Answer:
    """What a report says before anything else."""
    metrics, law = report.metrics, report.law
    limits = "such a sample is close by convention" if law.convention else "95 % of students of exactly this law fall"
    rulers = [_cosine(metrics["pair_cosine"]), *_angle(metrics["remap_angle"])]
    rulers += [_of_the_law(key, metrics[key], law.parts[key].low, law.parts[key].high) for key in LAW_KEYS]
    return Answer(_copies(report), _trust(report), limits, tuple(rulers))


def _copies(report: PairingReport) -> str:
    """Whether it copies, with the number that says so."""
    cosine, angle = report.metrics["pair_cosine"], report.metrics["remap_angle"]
    if not cosine.resolved:
        return f"Whether the student copies cannot be said: {cosine.reason}"
    told = f"(pair_cosine {number(cosine.value)}; 1 is a copy, 0 is chance)"
    if _nothing_left(report):
        return f"No: nothing of the teacher's pairing can be told from chance {told}"
    if cosine.value < 0:
        return f"No: the student pairs against its teacher {told}"
    if cosine.value >= COPY:
        return f"Yes: the student sends noise where its teacher does {told}"
    if angle.resolved:
        size = "90 degrees or more" if angle.value >= 90 else degrees(angle.value)
        return f"In part: it scrambled the noise as much as a turn by {size} would {told}"
    return f"In part: some of the teacher's pairing is left {told}"


def _nothing_left(report: PairingReport) -> bool:
    """Whether no pairing is told, which asks for no control: one has none either."""
    return report.verdicts().get("pair_cosine") == "chance"


def _trust(report: PairingReport) -> str:
    """Whether that is a statement about copying."""
    law, metrics = report.law, report.metrics
    if law.agrees:
        control = "" if _nothing_left(report) else " once a rotated control shows no pairing"
        return f"its law is close to the teacher's, so this can be trusted{control}"
    if outside := [key for key in LAW_KEYS if law.parts[key].side in ("below", "above")]:
        told = ", ".join(f"{key} {number(metrics[key].value)}" for key in outside)
        return f"do not trust this as copying yet, since its law is not the teacher's ({told})"
    return "whether this can be trusted is open, since it is not known that its law is the teacher's"


def _cosine(measured: Measured) -> Ruler:
    marks = ((0.0, "0: chance"), (1.0, "1: a copy"))
    first = -1.0 if measured.value < -0.1 else -0.1
    return _ruler("pair_cosine", measured, (first, 1.05), (0.0, 0.0), marks)


def _angle(measured: Measured) -> list[Ruler]:
    """The calibrated angle, where there is one."""
    marks = ((0.0, "0°: a copy"), (90.0, "90°: nothing left"))
    return [_ruler("remap_angle", measured, (95.0, -5.0), (0.0, 0.0), marks)] if measured.resolved else []


def _of_the_law(key: str, measured: Measured, low: float, high: float) -> Ruler:
    width = high - low
    marks = ((low, number(low)), (high, number(high)))
    return _ruler(key, measured, (low - 1.5 * width, high + 1.5 * width), (low, high), marks)


def _ruler(
    key: str,
    measured: Measured,
    ends: tuple[float, float],
    band: tuple[float, float],
    marks: tuple[tuple[float, str], ...],
) -> Ruler:
    """One measure on a scale from `ends[0]` to `ends[1]`."""
    inside = min(ends) <= measured.value <= max(ends)
    value = "–" if not measured.resolved else number(measured.value) + ("" if inside else " (beyond)")
    named = ", ".join(name for _, name in marks)
    spoken = f"{key}: {value}; marks at {named}" if measured.resolved else f"{key}: not measured here"
    interval = None
    if measured.low is not None and measured.high is not None and math.isfinite(measured.low + measured.high):
        interval = (measured.low, measured.high)
    at = measured.value if measured.resolved else None
    return Ruler(key, spoken, *ends, *band, marks, at, value, interval)
