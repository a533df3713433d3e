"""Uncertainty within one run: other draws of z.

Seeds are the statistical unit; this is for whoever has one model. Bootstrap resampling is wrong for transport costs,
because a row drawn twice is its own perfect match, and so is resampling the rows of a solved assignment, which is not
the assignment of the resampled rows. Here every resample is a random half of the rows *without* repetition, and its
assignment is solved anew: the spread of a smooth statistic over such halves estimates its standard error on all n rows
(the delete-half jackknife; Shao and Wu, Annals of Statistics 17, 1989).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from dmdlab.config import InputError
from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.metrics import measure_pairs
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.report import PairingReport
from dmdlab.pairing.statistics import student_quantile


def with_intervals(
    report: PairingReport,
    pairs: Pairs,
    *,
    rng: np.random.Generator,
    resamples: int = 20,
    watch: Callable[[Sequence[Pairs]], Iterable[Pairs]] = iter,
) -> PairingReport:
    """The report with a 95 % interval for every resolved measure that had none: those that rest on an assignment.

    Args:
        report: of `pairs`.
        rng: draws the halves.
        resamples: halves to measure, at least 2; each costs about a quarter of the report or less.
        watch: hands on the halves one by one, and may say how it goes.

    Raises:
        InputError: fewer than 2 resamples, or fewer than 4 rows to halve.
    """
    if resamples < 2 or pairs.n < 4:
        raise InputError(f"resampling needs 2 halves of 4 rows or more, got {resamples} halves of {pairs.n} rows.")
    halves = [_half(pairs, rng) for _ in range(resamples)]
    values = [measure_pairs(half).values() for half in watch(halves)]
    metrics = dict(report.metrics)
    for key, measured in report.metrics.items():
        spread = float(np.std([value[key] for value in values], ddof=1))
        if measured.resolved and measured.low is None and measured.reason is None and math.isfinite(spread):
            width = student_quantile(0.975, resamples - 1) * spread
            low, high = METRICS[key].bounds
            ends = max(low, measured.value - width), min(high, measured.value + width)
            metrics[key] = replace(measured, low=ends[0], high=ends[1])
    return replace(report, metrics=metrics)


def _half(pairs: Pairs, rng: np.random.Generator) -> Pairs:
    """A random half of the pairs, and of the reference."""
    rows = np.sort(rng.permutation(pairs.n)[: round(0.5 * pairs.n)])
    reference = pairs.reference
    if reference is not None:
        reference = reference[rng.permutation(len(reference))[: max(2, round(0.5 * len(reference)))]]
    return Pairs(pairs.teacher[rows], pairs.student[rows], reference=reference)
