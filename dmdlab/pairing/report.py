"""What `measure` returns: numbers with an interval or a reason, and whether the sample can resolve them.

Re-pairing the same points at random moves <Pc, Gc> with mean 0 and variance `sum_ij <p_i, g_j>^2 / (n - 1)`, exactly
(Hoeffding, Annals of Mathematical Statistics 22, 1951). A pair_cosine within 1.96 of these standard deviations is at
chance, and with it everything that depends on the pairing through <Pc, Gc> alone. A measure is saturated when it has
come within one hundredth of its best value while pair_cosine has not: it would say the same of a perfect copy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from dmdlab.config import InputError
from dmdlab.pairing.context_in_words import beyond_the_pairs_in_words
from dmdlab.pairing.glossary import METRICS, PAIRING_KEYS, THROUGH_THE_COSINE, chance_values, unasked
from dmdlab.pairing.law import LawJudgement
from dmdlab.pairing.measured import Measured, jsonable
from dmdlab.pairing.words import Line, lines_of, read_aloud, resolution_in_words
from dmdlab.transport import Transport

Verdict = Literal["chance", "inside", "saturated"]

# Share of the way from chance to the best value that counts as having arrived.
SATURATED_SHARE = 0.99


@dataclass(frozen=True, eq=False)
class PairingReport:
    """Every key of `METRICS`, in its order, with the status of the solvers.

    Attributes:
        metrics: key -> Measured.
        transport: "e_ot" (P to G) and, with a reference, "e_ot_reference_student" and "e_ot_reference_teacher".
        notes: what was converted and what is unusual about the arrays.
        n, d: pairs and dimension.
        chance_sd: standard deviation of pair_cosine over random pairings of these very points.
        directions: over how many directions of equal variance the outputs spread, at most d; None where those of one of
            the two are all the same.
        law: whether the student's law is the teacher's.
    """

    metrics: dict[str, Measured]
    transport: dict[str, Transport]
    notes: tuple[str, ...]
    n: int
    d: int
    chance_sd: float
    directions: int | None
    law: LawJudgement

    def with_measures(self, found: Mapping[str, Measured]) -> "PairingReport":
        """The report with measures that need more than arrays, as their own functions give them.

        Raises:
            InputError: a key that `measure` itself gives, or that is none.
        """
        more = unasked()
        if wrong := [key for key in found if key not in more]:
            raise InputError(f"{wrong[0]!r} is not added to a report; expected some of {', '.join(more)}.")
        return replace(self, metrics=self.metrics | dict(found))

    def values(self) -> dict[str, float]:
        """key -> value; NaN where unresolved."""
        return {key: measured.value for key, measured in self.metrics.items()}

    def verdicts(self) -> dict[str, Verdict]:
        """Whether each resolved measure of the pairing is at "chance", "inside" its range or "saturated"."""
        chance = chance_values(self.values(), self.n)
        return {key: self._verdict(key, chance[key]) for key in PAIRING_KEYS if self.metrics[key].resolved}

    def _verdict(self, key: str, chance: float) -> Verdict:
        if self._at_chance(key, chance):
            return "chance"
        faint = self.metrics["pair_cosine"].value < SATURATED_SHARE
        measured, best = self.metrics[key], METRICS[key].best
        ends = measured.certain or (measured.value,)  # what an optimal pairing could read, a perfect copy included
        value = min(ends) if best is not None and best <= min(ends) else max(ends)
        return "saturated" if faint and _arrived(key, value, chance) else "inside"

    def _at_chance(self, key: str, chance: float) -> bool:
        """Whether random pairing would produce such a value."""
        measured, recognised = self.metrics[key], METRICS[key].chance_rows
        if key in THROUGH_THE_COSINE:
            return abs(self.metrics["pair_cosine"].value) <= 1.96 * self.chance_sd
        if recognised is not None:
            least = measured.value if measured.certain is None else measured.certain[0]
            return least * self.n <= recognised[1]
        low = measured.value if measured.low is None else measured.low
        high = measured.value if measured.high is None else measured.high
        return low <= chance <= high

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: metrics, verdicts, the judgement of the law, solver statuses, notes, n, d; NaN becomes null."""
        return {
            "n": self.n,
            "d": self.d,
            "metrics": {key: measured.to_dict() for key, measured in self.metrics.items()},
            "transport": {key: solution.to_dict() for key, solution in self.transport.items()},
            "verdicts": self.verdicts(),
            "law": self.law.to_dict(),
            "chance_sd": jsonable(self.chance_sd),
            "notes": list(self.notes),
        }

    def in_words(self) -> list[str]:
        """The reading in sentences: delta_e with its ceiling, copying with fidelity, what is unresolved."""
        sentences = read_aloud(self.metrics, self.verdicts(), self.n, self.d, self.chance_sd, self.law)
        return sentences + beyond_the_pairs_in_words(self.metrics)

    def resolution_in_words(self) -> str:
        """What this many pairs can tell at all, from the theory of planted matchings."""
        return resolution_in_words(self.n, self.directions)

    def lines(self) -> list[Line]:
        """Every measure as a table shows it."""
        return lines_of(self.metrics, self.verdicts(), self.n)


def _arrived(key: str, value: float, chance: float) -> bool:
    """Whether the value has gone nearly all the way from chance to a perfect copy."""
    best = METRICS[key].best
    if best is None or key in ("pair_cosine", "r2"):  # these do not saturate
        return False
    if math.isnan(chance):  # an infinite ceiling: only the best value itself has arrived
        return value == best
    return best != chance and (value - chance) / (best - chance) >= SATURATED_SHARE
