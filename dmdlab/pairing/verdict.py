"""Whether a value lies inside the range that its sample can resolve: at chance, inside, or saturated.

Re-pairing the same points at random moves <Pc, Gc> with mean 0 and variance `sum_ij <p_i, g_j>^2 / (n - 1)`, exactly
(Hoeffding, Annals of Mathematical Statistics 22, 1951). A pair_cosine within 1.96 of these standard deviations is at
chance, and with it everything that depends on the pairing through <Pc, Gc> alone. A measure is saturated when it has
come within one hundredth of its best value while pair_cosine has not: it would say the same of a perfect copy.
"""

from collections.abc import Mapping
from typing import Literal

from dmdlab.pairing.glossary import METRICS
from dmdlab.pairing.measured import Measured

Verdict = Literal["chance", "inside", "saturated"]

# Share of the way from chance to the best value that counts as having arrived.
SATURATED_SHARE = 0.99
# Under random pairing the number of recognised rows is nearly Poisson with mean 1 (or 10 on the short list): at most
# this many rows in 98 % of the samples.
_ROWS_BY_CHANCE = {"identity_fraction": 3, "recall_at_1": 3, "recall_at_10": 17}

THROUGH_THE_COSINE = ("delta_e", "copy_index", "pair_cosine", "r2")
PAIRING_KEYS = (*THROUGH_THE_COSINE, "pair_auc", "recall_at_1", "recall_at_10", "identity_fraction")


def chance_values(value: Mapping[str, float], n: int) -> dict[str, float]:
    """What each pairing measure reads on average when these very points are paired at random."""
    chance = {key: METRICS[key].chance_at(n) for key in PAIRING_KEYS}
    spread = value["e_dt"] / (1.0 - value["r2"]) if value["r2"] < 1 else None  # mean |P_i - mean P|^2
    r2 = 1.0 - value["e_independent"] / spread if spread else -value["variance_ratio"]
    known = chance | {"delta_e": value["delta_e_ceiling"], "r2": r2}
    return {key: float("nan") if x is None else x for key, x in known.items()}


def verdicts(metrics: Mapping[str, Measured], n: int, chance_sd: float) -> dict[str, Verdict]:
    """The verdict on each resolved measure of the pairing.

    Args:
        metrics: key -> Measured of one sample.
        n: its pairs.
        chance_sd: standard deviation of pair_cosine over random pairings of the same points.
    """
    value = {key: measured.value for key, measured in metrics.items()}
    chance = chance_values(value, n)
    given: dict[str, Verdict] = {}
    for key in PAIRING_KEYS:
        if not metrics[key].resolved:
            continue
        if _at_chance(key, metrics[key], value["pair_cosine"], chance, n, chance_sd):
            given[key] = "chance"
        elif value["pair_cosine"] < SATURATED_SHARE and _arrived(key, value[key], chance[key]):
            given[key] = "saturated"
        else:
            given[key] = "inside"
    return given


def _at_chance(
    key: str, measured: Measured, cosine: float, chance: Mapping[str, float], n: int, chance_sd: float
) -> bool:
    """Whether random pairing would produce such a value."""
    if key in THROUGH_THE_COSINE:
        return bool(abs(cosine) <= 1.96 * chance_sd)
    if key in _ROWS_BY_CHANCE:
        return measured.value * n <= _ROWS_BY_CHANCE[key]
    low = measured.value if measured.low is None else measured.low
    high = measured.value if measured.high is None else measured.high
    return low <= chance[key] <= high


def _arrived(key: str, value: float, chance: float) -> bool:
    """Whether the value has gone nearly all the way from chance to a perfect copy."""
    best = METRICS[key].best
    if best is None or key in ("pair_cosine", "r2"):
        return False
    if chance != chance:  # an infinite ceiling: only the best value itself has arrived
        return value == best
    return (value - chance) / (best - chance) >= SATURATED_SHARE if best != chance else False
