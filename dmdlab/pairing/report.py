"""What `measure` returns: numbers with an interval or a reason, and how to read them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmdlab.pairing.glossary import POOR_FIDELITY
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.verdict import Verdict, verdicts
from dmdlab.transport.solve import Transport


@dataclass(frozen=True, eq=False)
class PairingReport:
    """Every key of `METRICS`, in its order, with the status of the solvers.

    Attributes:
        metrics: key -> Measured.
        transport: "e_ot" (P to G) and, with a reference, "e_ot_reference_student" and
            "e_ot_reference_teacher".
        notes: what was converted and what is unusual about the arrays.
        n, d: pairs and dimension.
        chance_sd: standard deviation of pair_cosine over random pairings of these very points.
    """

    metrics: dict[str, Measured]
    transport: dict[str, Transport]
    notes: tuple[str, ...]
    n: int
    d: int
    chance_sd: float

    def verdicts(self) -> dict[str, Verdict]:
        """Whether each resolved measure of the pairing is at "chance", "inside" its range or "saturated"."""
        return verdicts(self.metrics, self.n, self.chance_sd)

    def values(self) -> dict[str, float]:
        """key -> value; NaN where unresolved."""
        return {key: measured.value for key, measured in self.metrics.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: metrics, verdicts, solver statuses, notes, n, d; NaN becomes null."""
        return {
            "n": self.n,
            "d": self.d,
            "metrics": {key: measured.to_dict() for key, measured in self.metrics.items()},
            "transport": {key: solved.to_dict() for key, solved in self.transport.items()},
            "verdicts": self.verdicts(),
            "chance_sd": self.chance_sd if math.isfinite(self.chance_sd) else None,
            "notes": list(self.notes),
        }

    def in_words(self) -> list[str]:
        """The reading in sentences: delta_e with its ceiling, copying with fidelity, what is unresolved."""
        return read_aloud(self)


def read_aloud(report: PairingReport) -> list[str]:
    """The sentences of `PairingReport.in_words`."""
    metrics, n, d = report.metrics, report.n, report.d
    value, verdict = report.values(), report.verdicts()
    sentences = [f"Measured on {n} pairs in {d} dimension{'s' if d > 1 else ''}."]
    sentences += _strength(value, verdict, report.chance_sd)
    sentences += _optimality(value, verdict)
    sentences += _recognition(value, n)
    sentences.append(_law(metrics["fidelity"], value["variance_ratio"]))
    groups: dict[str, list[str]] = {}
    for key, measured in metrics.items():
        if not measured.resolved and measured.reason and key != "fidelity":
            groups.setdefault(measured.reason, []).append(key)
    sentences += [f"Unresolved: {', '.join(keys)}: {reason}." for reason, keys in groups.items()]
    return sentences


def _strength(value: Mapping[str, float], verdict: Mapping[str, Verdict], chance_sd: float) -> list[str]:
    """How much of the pairing there is: pair_cosine, r2 and remap_angle, which do not saturate."""
    cosine, r2, angle = value["pair_cosine"], value["r2"], value["remap_angle"]
    if math.isnan(cosine):
        return []
    if verdict["pair_cosine"] == "chance":
        share = f"The pairing cannot be told from a random one (a random pairing varies by {chance_sd:.2g})"
    elif r2 > 0:
        share = f"The student explains {_percent(r2)} of the teacher's variance at equal noise"
    else:
        share = "At equal noise the student predicts the teacher no better than the teacher's mean does"
    sentences = [f"{share}: r2 {r2:.2f}; pair_cosine {cosine:.2f}, where 1 is a copy and 0 is chance."]
    if not math.isnan(angle):
        size = "90 degrees or more" if angle >= 90 else f"{angle:.0f} degrees"
        sentences.append(f"It scrambled the noise as much as turning it by {size} would (remap_angle).")
    return sentences


def _optimality(value: Mapping[str, float], verdict: Mapping[str, Verdict]) -> list[str]:
    """Whether the pairing is as good as any: delta_e, never without its ceiling."""
    delta_e, ceiling, index = value["delta_e"], value["delta_e_ceiling"], value["copy_index"]
    if math.isnan(delta_e):
        return []
    if math.isnan(ceiling):
        limit = "the best pairing costs nothing, so there is no finite ceiling to read it against"
    else:
        limit = f"a student that pairs at random gets {ceiling:.2g} at this n and d"
    if verdict["delta_e"] == "saturated":
        limit += ", but it is saturated: so faint a pairing already is the best one, and delta_e says no more"
    elif ceiling < 1:
        limit += ", so a small value says little"
    sentences = [f"delta_e is {delta_e:.2g}; {limit}."]
    if not math.isnan(index):
        sentences.append(
            f"The shared noise realises {_percent(index)} of what the best pairing of these points saves "
            f"over a random one (copy_index {index:.2f}): whether it is optimal, not how strong it is."
        )
    return sentences


def _recognition(value: Mapping[str, float], n: int) -> list[str]:
    """How well a partner is recognised, with the chance level."""
    auc, recall = value["pair_auc"], value["recall_at_1"]
    if math.isnan(auc) or math.isnan(recall):
        return []
    return [
        f"A student output is nearest to its own teacher output in {_percent(recall)} of the cases "
        f"(chance {100 / n:.2g} %), and nearer to it than to a random one in {_percent(auc)} (chance 50 %)."
    ]


def _law(fidelity: Measured, variance_ratio: float) -> str:
    """What the fidelity allows to be said about copying."""
    spread = "" if math.isnan(variance_ratio) else f"; variance ratio {variance_ratio:.2f}"
    if not fidelity.resolved:
        return (
            f"Fidelity is unknown: {fidelity.reason}{spread}. Until it is known to be near 1, none of this "
            "shows that the student copies: it may have another law."
        )
    if fidelity.value > POOR_FIDELITY:
        return (
            f"The student's outputs cost {fidelity.value:.2f} times as much to match with fresh teacher "
            f"samples as the teacher's own do (fidelity, 1 is indistinguishable{spread}): its law is not that "
            "of the teacher's outputs, so this is not yet evidence of copying or of remapping."
        )
    return (
        f"The student's law is close to the teacher's (fidelity {fidelity.value:.2f}, 1 is "
        f"indistinguishable at this n{spread}); a claim of copying also needs a control started from a "
        "rotated teacher."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
