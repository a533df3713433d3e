"""Is the student's law the teacher's? Three measures that fail in different places, and one judgement of them.

`fidelity` is blind where a wrong law costs as much to match as the right one: a student that shrinks comes nearer to
everything, and one that also moved away can read 1. `debiased_cost` takes off what finite n adds and is above 0 for
every other law, in any dimension, but is small for a small change of scale: in high dimension, for a student of s times
the scale, (1 - s)^2 times the share of the spread that the best pairing saves. `variance_ratio` sees scale at once and
nothing else. Each is held against where 95 % of the students of exactly the teacher's law fall at this n and d, which a
calibration knows (`Calibration.law_null`). A law is the teacher's, as far as a sample can tell, when all three are
inside, as about six equal laws in seven are; at large n and d the limits are narrow, and outside of them means told
apart, not far apart.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dmdlab.pairing.calibration import Calibration
from dmdlab.pairing.glossary import LOW_FIDELITY, POOR_FIDELITY
from dmdlab.pairing.measured import jsonable
from dmdlab.pairing.moments import RowMoments
from dmdlab.transport import transport_cost

LAW_KEYS = ("fidelity", "debiased_cost", "variance_ratio")

# Without a null: the bounds of fidelity (see the glossary), a twentieth of the law's spread, a quarter of the variance.
CONVENTION = {
    "fidelity": (LOW_FIDELITY, POOR_FIDELITY),
    "debiased_cost": (-0.05, 0.05),
    "variance_ratio": (0.8, 1.25),
}

# Two splits with all four costs between their halves have nine tenths of the precision of eight (measured: d = 2 to
# 512); halves of 1000 rows bound the price, 12 solves.
SPLITS = 2
LARGEST_HALF = 1000

Side = Literal["inside", "below", "above", "unknown"]


def total_variance(sample: np.ndarray) -> float:
    """The trace of the covariance of a sample (n, d)."""
    return float(_from_mean(sample).sum()) / (len(sample) - 1)


def _from_mean(sample: np.ndarray) -> np.ndarray:
    """(n,) squared distances of the rows of a sample (n, d) from their mean."""
    return RowMoments.of(sample, sample).teacher


def half_size(n: int, m: int) -> int:
    """Rows of each half of two samples of n and m rows."""
    return min(n // 2, m // 2, LARGEST_HALF)


@dataclass(frozen=True, eq=False)
class Halved:
    """One sample as several random pairs of disjoint halves, which are independent samples of its law.

    Attributes:
        halves: `SPLITS` pairs of (rows, d).
        own_cost: e_ot between the two halves, averaged over the splits.
    """

    halves: tuple[tuple[np.ndarray, np.ndarray], ...]
    own_cost: float

    @staticmethod
    def of(sample: np.ndarray, rows: int, rng: np.random.Generator) -> "Halved":
        """`sample` (n, d) in halves of so many rows, 2 <= 2 rows <= n.

        Which rows fall into a half depends on their distance from the mean and on `rng`, not on their order.
        """
        by_distance = np.argsort(_from_mean(sample), kind="stable")
        halves = []
        for _ in range(SPLITS):
            drawn = by_distance[rng.permutation(len(sample))[: 2 * rows]]
            halves.append((sample[drawn[:rows]], sample[drawn[rows:]]))
        return Halved(tuple(halves), float(np.mean([transport_cost(a, b).cost for a, b in halves])))

    def debiased_cost(self, other: "Halved") -> float:
        """`e_ot(A, B) - (e_ot(A, A') + e_ot(B, B')) / 2` with A, A' and B, B' the halves of the two samples: mean 0
        for independent samples of one law, in any dimension."""
        across = [
            transport_cost(a, b).cost
            for mine, theirs in zip(self.halves, other.halves, strict=True)
            for a in mine
            for b in theirs
        ]
        return float(np.mean(across)) - 0.5 * (self.own_cost + other.own_cost)


def debiased_cost(reference: np.ndarray, student: np.ndarray) -> float:
    """How far the student's law is from the reference's without most of what finite n adds, in squared distance.

    The debiasing is that of Sinkhorn divergences (Genevay, Peyré and Cuturi, AISTATS 2018) at no regularisation. The
    teacher's outputs at the student's own noise are no stand-in for the reference: a copying student is no
    independent sample of them, and its cost to them is small for that reason alone.

    Args:
        reference: Q, (m, d), independent of the student's outputs.
        student: G, (n, d).

    Returns:
        The cost; NaN for fewer than 4 rows in one of the two.
    """
    rows = half_size(len(reference), len(student))
    if rows < 2:
        return math.nan
    rng = np.random.default_rng(0)  # fixed, so that the same rows give the same number
    return Halved.of(reference, rows, rng).debiased_cost(Halved.of(student, rows, rng))


@dataclass(frozen=True)
class Judged:
    """One measure of the law against its limits.

    Attributes:
        low, high: where 95 % of equal laws fall, or the convention.
        side: where the value lies; "unknown" for a value that is NaN.
    """

    low: float
    high: float
    side: Side

    @staticmethod
    def of(value: float, limits: tuple[float, float]) -> "Judged":
        """`value` held against (low, high)."""
        if math.isnan(value):
            return Judged(*limits, "unknown")
        return Judged(*limits, "below" if value < limits[0] else "above" if value > limits[1] else "inside")


@dataclass(frozen=True)
class LawJudgement:
    """Whether a student's law is its teacher's, in the three parts of `LAW_KEYS`.

    Attributes:
        parts: key -> Judged.
        convention: why the limits are only the convention's; empty where they are a calibration's null.
    """

    parts: dict[str, Judged]
    convention: str = ""

    @property
    def agrees(self) -> bool:
        """Whether all three parts are inside."""
        return all(part.side == "inside" for part in self.parts.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: each part as [low, high, side], and where the limits come from."""
        parts = {key: [part.low, part.high, part.side] for key, part in self.parts.items()}
        return jsonable({**parts, "limits": self.convention or "calibration"})


def law_agrees(
    values: Mapping[str, float], calibration: Calibration | None, sizes: tuple[int, ...] = ()
) -> LawJudgement:
    """Where the three measures of the law lie against the null of a calibration.

    Args:
        values: key -> value, as of a report; NaN where unresolved.
        calibration: of the teacher. Its null holds at its own n only.
        sizes: rows of the student's and of the reference sample.

    Returns:
        The judgement; by `CONVENTION`, with the reason why, where the calibration has no null for this n.
    """
    null, convention = CONVENTION, ""
    if calibration is None:
        convention = "there is no calibration to say where equal laws fall"
    elif any(math.isnan(low) for low, _ in calibration.law_null().values()):
        convention = "this calibration does not say where equal laws fall: make it anew"
    elif other := [size for size in sizes if size != calibration.n]:
        convention = f"the calibration says where equal laws fall for n = {calibration.n}, these are {other[0]} rows"
    else:
        null = calibration.law_null()
    return LawJudgement({key: Judged.of(values[key], null[key]) for key in LAW_KEYS}, convention)
