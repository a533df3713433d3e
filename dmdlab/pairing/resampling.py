"""Uncertainty within one run: other draws of z, other n, and what finite n adds to a transport cost.

Seeds are the statistical unit; this is for whoever has one model. Bootstrap resampling is wrong for transport
costs, because a row drawn twice is its own perfect match, and so is resampling the rows of a solved
assignment, which is not the assignment of the resampled rows. Here every resample is a random half of the
rows *without* repetition, and its
assignment is solved anew: the spread of a smooth statistic over such halves estimates its standard error on
all n rows (the delete-half jackknife; Shao and Wu, Annals of Statistics 17, 1989).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.calibration import Calibration
from dmdlab.pairing.glossary import METRICS, Measured
from dmdlab.pairing.metrics import measure_pairs
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.report import PairingReport
from dmdlab.pairing.statistics import student_quantile
from dmdlab.transport import transport_cost

_RANGES = {"copy_index": (-math.inf, 1.0), "identity_fraction": (0.0, 1.0)}


def with_intervals(
    report: PairingReport,
    pairs: Pairs,
    *,
    rng: np.random.Generator,
    resamples: int = 20,
    level: float = 0.95,
    calibration: Calibration | None = None,
) -> PairingReport:
    """The report with an interval for every resolved measure that had none: those that rest on an assignment.

    Args:
        report: of `pairs`.
        rng: draws the halves.
        resamples: halves to measure, at least 2; each costs about a quarter of the report or less.
        level: confidence level.
        calibration: as for the report.

    Raises:
        InputError: fewer than 2 resamples, or fewer than 4 rows to halve.
    """
    if resamples < 2 or pairs.n < 4:
        raise InputError(f"resampling needs 2 halves of 4 rows or more, got {resamples} halves of {pairs.n} rows.")
    halves = [_subset(pairs, 0.5, rng) for _ in range(resamples)]
    values = [measure_pairs(half, calibration=calibration).values() for half in halves]
    metrics = dict(report.metrics)
    for key, measured in report.metrics.items():
        spread = float(np.std([value[key] for value in values], ddof=1))
        if measured.resolved and measured.low is None and measured.reason is None and math.isfinite(spread):
            half_width = student_quantile(0.5 * (1.0 + level), resamples - 1) * spread
            low, high = _RANGES.get(key, (0.0, math.inf))
            metrics[key] = Measured(
                measured.value, max(low, measured.value - half_width), min(high, measured.value + half_width)
            )
    return replace(report, metrics=metrics)


@dataclass(frozen=True, eq=False)
class Convergence:
    """How the measures move with the sample size.

    Attributes:
        sizes: (k,) numbers of pairs.
        values: key -> (k, draws), NaN where unresolved.
        theory: the exponent with which e_ot between two samples of one law falls in n; see `theory_exponent`.
    """

    sizes: np.ndarray
    values: dict[str, np.ndarray]
    theory: float

    def exponent(self, key: str) -> float:
        """The slope of log mean value against log n, NaN where a mean is not positive."""
        mean = self.values[key].mean(axis=1)
        if not np.all(mean > 0):
            return math.nan
        return float(np.polyfit(np.log(self.sizes), np.log(mean), 1)[0])


def convergence(
    pairs: Pairs, *, rng: np.random.Generator, fractions: Sequence[float] = (0.25, 0.5, 1.0), draws: int = 4
) -> Convergence:
    """Every measure at several sample sizes, each on random subsets without repetition.

    Args:
        pairs: n rows.
        rng: draws the subsets.
        fractions: of n, in (0, 1]; at 1 there is only one subset, measured once.
        draws: subsets of each size.

    Raises:
        InputError: fractions outside (0, 1] or that leave fewer than 2 rows.
    """
    sizes = [round(fraction * pairs.n) for fraction in fractions]
    if not sizes or min(sizes) < 2 or max(fractions) > 1:
        raise InputError(f"fractions must lie in (0, 1] and leave 2 rows of {pairs.n}, got {list(fractions)}.")
    readings = []
    for fraction, size in zip(fractions, sizes, strict=True):
        once = [measure_pairs(_subset(pairs, fraction, rng)).values() for _ in range(1 if size == pairs.n else draws)]
        readings.append(once * (draws if len(once) == 1 else 1))
    values = {key: np.array([[value[key] for value in row] for row in readings]) for key in METRICS}
    return Convergence(np.array(sizes), values, theory_exponent(pairs.d))


def theory_exponent(d: int) -> float:
    """The exponent of E e_ot between two samples of one smooth compact law in d dimensions: -1, -1 or -2 / d.

    In the plane there is a further factor log n. d counts intrinsic dimensions where the law has fewer than
    it is embedded in. Ajtai, Komlos and Tusnady, Combinatorica 4, 1984; Fournier and Guillin, PTRF 162, 2015.
    """
    return -1.0 if d <= 2 else -2.0 / d


def debiased_cost(P: np.ndarray, G: np.ndarray, P_fresh: np.ndarray, G_fresh: np.ndarray) -> float:
    """`e_ot(P, G) - (e_ot(P, P') + e_ot(G, G')) / 2`: a transport cost without most of what finite n adds.

    About 0 for equal laws, in any dimension, when the four samples are independent. P and G from the *same*
    noise are
    not: then a copying student makes the first term small and the result negative. `debiased_by_halves`
        avoids that.

    Args:
        P, P_fresh: (n, d) independent samples of the teacher.
        G, G_fresh: (n, d) independent samples of the student.
    """
    self_costs = transport_cost(P, P_fresh).cost + transport_cost(G, G_fresh).cost
    return transport_cost(P, G).cost - 0.5 * self_costs


def debiased_by_halves(pairs: Pairs, *, rng: np.random.Generator, draws: int = 4) -> np.ndarray:
    """`debiased_cost` (draws,) of one half of the noise for the teacher against the other half for the
    student.

    Raises:
        InputError: fewer than 4 rows.
    """
    if pairs.n < 4:
        raise InputError(f"two halves need at least 4 rows, got {pairs.n}.")
    half, costs = pairs.n // 2, []
    for _ in range(draws):
        order = rng.permutation(pairs.n)
        one, other = order[:half], order[half : 2 * half]
        P, G = pairs.teacher, pairs.student
        costs.append(debiased_cost(P[one], G[other], P[other], G[one]))
    return np.array(costs)


def _subset(pairs: Pairs, fraction: float, rng: np.random.Generator) -> Pairs:
    """A random share of the pairs, and the same share of the reference."""
    rows = np.sort(rng.permutation(pairs.n)[: max(2, round(fraction * pairs.n))])
    reference = pairs.reference
    if reference is not None:
        count = len(rows) if len(reference) == pairs.n else max(2, round(fraction * len(reference)))
        reference = reference[rng.permutation(len(reference))[:count]]
    return Pairs(pairs.teacher[rows], pairs.student[rows], reference=reference)
