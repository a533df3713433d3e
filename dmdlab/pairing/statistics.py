"""Intervals: over seeds, which are the statistical unit, and over the rows of one sample.

Missing values are counted, never averaged away: an interval says on how many values it rests and how many were NaN.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dmdlab.config import InputError

_RESAMPLES = 10_000
_NORMAL = 1.959964  # 97.5 % quantile


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: mean of the values that are there; NaN when there are none.
        low, high: confidence limits of the mean; NaN when n < 2.
        n: values used.
        missing: values that were NaN.
    """

    mean: float
    low: float
    high: float
    n: int
    missing: int = 0


def mean_interval(
    values: Sequence[float] | np.ndarray,
    level: float = 0.95,
    method: Literal["t", "bootstrap"] = "t",
    rng: np.random.Generator | None = None,
) -> Interval:
    """The mean over seeds with a confidence interval.

    Args:
        values: (seeds,) one number a seed; NaN where the run has none.
        level: confidence level in (0, 1).
        method: "t", Student's interval, exact for normal values; "bootstrap", the percentile interval with the levels
            widened so that it is as wide as Student's for normal values (Hesterberg, The American Statistician 69,
            2015, section 5.3): plain percentiles are a third too narrow at five seeds.
        rng: for the bootstrap; the default is a fixed stream, so the same values give the same interval.

    Raises:
        InputError: a level outside (0, 1), an unknown method, values that are no list of numbers.
    """
    given = _numbers(values)
    if given.ndim != 1:
        raise InputError(f"mean_interval needs one number a seed, got an array of shape {given.shape}.")
    if not 0.0 < level < 1.0:
        raise InputError(f"level must lie between 0 and 1, got {level}; 0.95 is usual.")
    if method not in ("t", "bootstrap"):
        raise InputError(f"unknown method {method!r}; expected 't' or 'bootstrap'.")
    present = given[~np.isnan(given)]
    n, missing = len(present), int(np.isnan(given).sum())
    if n < 2:
        return Interval(float(present[0]) if n else np.nan, np.nan, np.nan, n, missing)
    mean = float(present.mean())
    if method == "bootstrap":
        return Interval(mean, *_bootstrap(present, level, rng), n, missing)
    half = student_quantile(0.5 * (1.0 + level), n - 1) * present.std(ddof=1) / np.sqrt(n)
    return Interval(mean, float(mean - half), float(mean + half), n, missing)


def paired_difference(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Interval:
    """The mean of a - b with Student's 95 % interval; a seed that either cell lacks (NaN) counts as missing.

    Args:
        a, b: (seeds,) the same seeds in the same order.

    Raises:
        InputError: unequal lengths, values that are no lists of numbers.
    """
    if len(a) != len(b):
        raise InputError(f"paired_difference needs the same seeds in both cells, got {len(a)} and {len(b)} values.")
    return mean_interval(_numbers(a) - _numbers(b))


def _numbers(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """`values` in float64."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("an interval needs a list of numbers, one a seed (NaN where there is none).") from error


def _bootstrap(present: np.ndarray, level: float, rng: np.random.Generator | None) -> tuple[float, float]:
    from scipy.special import ndtr

    rng = np.random.default_rng(0) if rng is None else rng
    n = len(present)
    means = present[rng.integers(n, size=(_RESAMPLES, n))].mean(axis=1)
    tail = float(ndtr(-np.sqrt(n / (n - 1)) * student_quantile(0.5 * (1.0 + level), n - 1)))
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def student_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t with `degrees` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def jackknife_interval(
    value: float, without: np.ndarray, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float | None, float | None]:
    """95 % jackknife interval of a smooth statistic of n rows, clipped to its range (Efron and Stein 1981).

    Args:
        value: the statistic of all rows.
        without: (n,) the statistic without each row.
        bounds: the range of the statistic.

    Returns:
        (low, high), or (None, None) where fewer than three rows or an undefined replicate leave no interval.
    """
    n = len(without)
    if n < 3 or not (np.isfinite(value) and np.isfinite(without).all()):
        return None, None
    error = np.sqrt((n - 1) * without.var())
    half = student_quantile(0.975, n - 1) * error
    return float(max(bounds[0], value - half)), float(min(bounds[1], value + half))


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n rows (Wilson, JASA 22, 1927); it has width at 0 and 1, too."""
    from scipy.special import ndtri

    z = float(ndtri(0.975))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(max(0.0, min(share, centre - half))), float(min(1.0, max(share, centre + half)))


@dataclass(frozen=True)
class Correlation:
    """A correlation coefficient with its 95 % interval; NaN where a variable is constant or n < 4."""

    value: float
    low: float
    high: float


def pearson(x: np.ndarray, y: np.ndarray) -> Correlation:
    """Pearson's correlation of two (n,) arrays with Fisher's interval."""
    return _correlation(x, y, lambda _: 1.0)


def spearman(x: np.ndarray, y: np.ndarray) -> Correlation:
    """Spearman's rank correlation of two (n,) arrays; interval of Bonett and Wright, Psychometrika 65, 2000."""
    from scipy.stats import rankdata

    return _correlation(rankdata(x), rankdata(y), lambda r: 1.0 + 0.5 * r**2)


def _correlation(x: np.ndarray, y: np.ndarray, inflation: Callable[[float], float]) -> Correlation:
    """Correlation with an interval normal in atanh, of variance `inflation(r) / (n - 3)`."""
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if len(x) < 4 or scale == 0:
        return Correlation(math.nan, math.nan, math.nan)
    r = float(np.clip(x @ y / scale, -1.0, 1.0))
    if abs(r) == 1.0:
        return Correlation(r, r, r)
    half = _NORMAL * math.sqrt(inflation(r) / (len(x) - 3))
    return Correlation(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))
