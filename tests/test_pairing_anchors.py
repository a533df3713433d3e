"""Known numbers: independent clouds, correlated Gaussians, and where the planted matching becomes optimal."""

import math

import numpy as np
import pytest

from dmdlab.pairing import measure


def correlated(rng, n, d, rho):
    P, E = rng.normal(size=(2, n, d))
    return P, rho * P + math.sqrt(1 - rho**2) * E


@pytest.mark.parametrize(
    ("d", "expected", "draws"),
    [
        (2, 0.010, 16),  # in the plane e_ot varies by 14 % from draw to draw
        (4, 0.049, 4),
        (8, 0.162, 1),
        (16, 0.327, 1),
        (64, 0.624, 1),
        (256, 0.807, 1),
        (1024, 0.903, 1),
    ],
)
def test_the_range_of_delta_e_shrinks_with_dimension(d, expected, draws):
    rng = np.random.default_rng(d)
    ratios = []
    for _ in range(draws):
        P, G = rng.normal(size=(2, 1000, d))
        values = measure(P, G).values()
        ratios.append(values["e_ot"] / values["e_independent"])
        assert values["delta_e"] == pytest.approx(values["delta_e_ceiling"], rel=0.2)
    # 3 %, and half a unit of the last digit in which the table is given.
    assert abs(np.mean(ratios) - expected) < 0.03 * expected + 0.0005


@pytest.mark.parametrize(("d", "copy_index", "pair_auc"), [(17, 0.57, 0.83), (96, 0.99, 0.99)])
def test_copy_index_and_pair_auc_saturate_while_the_cosine_stays(d, copy_index, pair_auc):
    rng = np.random.default_rng(d)
    draws = [measure(*correlated(rng, 257, d, 0.35)).values() for _ in range(24)]
    mean = {key: np.mean([values[key] for values in draws]) for key in ("copy_index", "pair_auc", "pair_cosine")}
    assert mean == pytest.approx({"copy_index": copy_index, "pair_auc": pair_auc, "pair_cosine": 0.35}, abs=0.025)


@pytest.mark.parametrize(("d", "pair_auc"), [(1, 0.58), (2, 0.60), (3, 0.64)])
def test_in_low_dimension_the_copy_index_is_the_cosine(d, pair_auc):
    """In few dimensions e_ot vanishes with n, and what is left of copy_index is the correlation."""
    rng = np.random.default_rng(d)
    draws = [measure(*correlated(rng, 257, d, 0.35)).values() for _ in range(40)]
    index, auc, cosine = (np.mean([v[key] for v in draws]) for key in ("copy_index", "pair_auc", "pair_cosine"))
    assert cosine == pytest.approx(0.35, abs=0.03)
    assert index == pytest.approx(cosine, abs=0.03)
    assert auc == pytest.approx(pair_auc, abs=0.025)


@pytest.mark.parametrize("d", [64, 512])
def test_the_planted_matching_becomes_optimal_at_its_threshold(d):
    """rho^2 > 1 - n^(-2/d): almost all rows stay in place; rho^2 > 1 - n^(-4/d): all of them."""
    n, rng = 500, np.random.default_rng(d)
    almost, every = math.sqrt(1 - n ** (-2 / d)), math.sqrt(1 - n ** (-4 / d))
    below, at, above = (
        measure(*correlated(rng, n, d, rho)).values() for rho in (0.6 * almost, 1.15 * almost, 1.1 * every)
    )
    assert below["identity_fraction"] < 0.35
    assert at["identity_fraction"] > 0.8
    assert above["identity_fraction"] == 1.0
    assert above["delta_e"] == 0.0
    assert below["delta_e"] > 100 * above["delta_e"]


def test_a_faint_correlation_saturates_delta_e_in_high_dimension():
    values = measure(*correlated(np.random.default_rng(0), 2000, 1024, 0.2)).values()
    assert values["delta_e"] < 5e-4
    assert values["pair_cosine"] == pytest.approx(0.2, abs=0.01)
    assert values["r2"] < 0
