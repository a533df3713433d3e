"""What a sample can resolve: chance by exact permutation moments, saturation, the planted-matching thresholds, and
known numbers of independent and of correlated Gaussians."""

import dataclasses
import itertools
import json
import math
import statistics

import numpy as np
import pytest
from near import correlated

from dmdlab.config import InputError
from dmdlab.pairing import measure, resolvable
from dmdlab.pairing.glossary import METRICS, PAIRING_KEYS
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.thresholds import arccos_degrees


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_the_spread_of_random_pairings_is_that_of_all_permutations(shift):
    P, G = np.random.default_rng(1).normal(size=(2, 6, 3))
    G = 2.0 * G + shift
    cosines = [
        np.corrcoef((P - P.mean(0)).ravel(), (G - G.mean(0))[list(order)].ravel())[0, 1]
        for order in itertools.permutations(range(6))
    ]
    assert np.mean(cosines) == pytest.approx(0.0, abs=1e-12)
    assert measure(P, G).chance_sd == pytest.approx(np.std(cosines), rel=1e-8)


def test_independent_clouds_are_at_chance_as_often_as_they_should():
    rng = np.random.default_rng(2)
    verdicts = [measure(*correlated(rng, 40, 3, 0.0)).verdicts() for _ in range(200)]
    at_chance = {key: sum(verdict[key] == "chance" for verdict in verdicts) for key in PAIRING_KEYS}
    assert min(at_chance.values()) >= 184
    assert at_chance["pair_cosine"] <= 198


@pytest.mark.parametrize(
    ("d", "rho", "verdict", "keys"),
    [
        (512, 0.35, "saturated", ("delta_e", "copy_index", "identity_fraction")),
        (512, 0.35, "inside", ("pair_cosine", "r2")),
        (4, 0.5, "inside", ("delta_e", "copy_index", "pair_auc", "recall_at_10")),
        (512, 1.0, "inside", ("delta_e", "copy_index")),  # a copy reads as a copy
    ],
)
def test_verdicts(d, rho, verdict, keys):
    given = measure(*correlated(np.random.default_rng(0), 300, d, rho)).verdicts()
    assert {given[key] for key in keys} == {verdict}


SD, ROWS = 0.1, 100


def verdict(key: str, value: float, cosine: float = 0.5, ceiling: float = 4.0, **more: object) -> str:
    """Of one measure that reads this, with its interval or bounds, in a report on `ROWS` pairs."""
    report = measure(*correlated(np.random.default_rng(0), ROWS, 3, 0.5))
    changed = {"pair_cosine": Measured(cosine), "delta_e_ceiling": Measured(ceiling), key: Measured(value, **more)}
    return dataclasses.replace(report, metrics=report.metrics | changed, chance_sd=SD).verdicts()[key]


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_cosine_is_at_chance_within_two_standard_deviations_of_random_pairings_and_all_that_rests_on_it(sign: int):
    for sds, said in ((1.9, "chance"), (2.0, "inside")):
        for key, value in (("pair_cosine", sign * sds * SD), ("r2", -1.0), ("copy_index", 0.0), ("delta_e", 4.0)):
            assert verdict(key, value, cosine=sign * sds * SD) == said, key


def test_an_area_is_at_chance_where_its_interval_holds_a_half():
    for low, high, said in ((0.45, 0.65, "chance"), (0.51, 0.65, "inside"), (0.2, 0.3, "inside")):
        assert verdict("pair_auc", (low + high) / 2, low=low, high=high) == said
    assert [verdict("pair_auc", value) for value in (0.5, 0.49)] == ["chance", "inside"]  # of two rows


def test_recognised_rows_are_at_chance_up_to_as_many_as_random_pairing_gives_in_the_least_of_what_is_certain():
    for key, most in (("identity_fraction", 3), ("recall_at_1", 3), ("recall_at_10", 17)):
        assert [verdict(key, rows / ROWS) for rows in (most, most + 1)] == ["chance", "inside"]
    assert verdict("identity_fraction", 0.9, certain=(0.02, 0.9)) == "chance"


def test_a_measure_is_saturated_where_a_perfect_copy_could_read_the_same_and_the_cosine_tells_them_apart():
    assert [verdict("delta_e", value) for value in (0.04, 0.05)] == ["saturated", "inside"]  # of a ceiling of 4
    assert verdict("delta_e", 0.5, certain=(0.0, 0.5)) == "saturated"
    assert verdict("identity_fraction", 0.995, certain=(0.4, 0.995)) == "saturated"
    assert verdict("identity_fraction", 0.5, certain=(0.4, 0.5)) == "inside"
    assert verdict("copy_index", 1.0, cosine=0.995) == "inside"
    assert [verdict("delta_e", value, ceiling=math.nan) for value in (0.0, 0.01)] == ["saturated", "inside"]


def test_verdicts_travel_with_the_record_and_leave_out_what_is_unresolved():
    P = np.random.default_rng(3).normal(size=(30, 4))
    record = json.loads(json.dumps(measure(P, np.ones_like(P)).to_dict(), allow_nan=False))
    assert "delta_e" not in record["verdicts"]
    assert record["chance_sd"] is None
    assert record["verdicts"]["pair_auc"] == "chance"


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
    rng, ratios = np.random.default_rng(d), []
    for _ in range(draws):
        values = measure(*correlated(rng, 1000, d, 0.0)).values()
        ratios.append(values["e_ot"] / values["e_independent"])
        assert values["delta_e"] == pytest.approx(values["delta_e_ceiling"], rel=0.2)
    # 3 %, and half a unit of the last digit in which the table is given.
    assert abs(np.mean(ratios) - expected) < 0.03 * expected + 0.0005


@pytest.mark.parametrize(
    ("d", "copy_index", "pair_auc"),
    [(1, 0.35, 0.58), (2, 0.35, 0.60), (3, 0.35, 0.64), (17, 0.57, 0.83), (96, 0.99, 0.99)],
)
def test_copy_index_is_the_cosine_in_low_dimension_and_saturates_with_pair_auc_while_the_cosine_stays(
    d, copy_index, pair_auc
):
    expected, rng = {"copy_index": copy_index, "pair_auc": pair_auc, "pair_cosine": 0.35}, np.random.default_rng(d)
    draws = [measure(*correlated(rng, 257, d, 0.35)).values() for _ in range(32)]
    assert {key: np.mean([v[key] for v in draws]) for key in expected} == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("d", [64, 512])
def test_the_planted_matching_becomes_optimal_at_its_threshold(d):
    """Almost all rows stay in place from one threshold on, all of them from the other."""
    theory, rng = resolvable(500, d), np.random.default_rng(d)
    rhos = (0.6 * theory.almost_all, 1.15 * theory.almost_all, 1.1 * theory.every)
    below, at, above = (measure(*correlated(rng, 500, d, rho)).values() for rho in rhos)
    assert below["identity_fraction"] < 0.35
    assert at["identity_fraction"] > 0.8
    assert (above["identity_fraction"], above["delta_e"]) == (1.0, 0.0)
    assert below["delta_e"] > 0


def test_thresholds_are_the_theorys():
    resolution = resolvable(2000, 1024)
    assert resolution.every == pytest.approx(math.sqrt(1 - 2000 ** (-4 / 1024)))
    assert resolution.almost_all == pytest.approx(math.sqrt(1 - 2000 ** (-2 / 1024)))
    assert resolution.chance == pytest.approx(1.96 / math.sqrt(2000 * 1024))
    assert resolution.windows == {}
    assert "1 - " in resolvable(1000, 2).in_words()[0]


def test_simulated_windows_follow_the_theory():
    grid = (0.01, 0.02, 0.05, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.95)
    resolution = resolvable(200, 128, rng=np.random.default_rng(4), correlations=grid)
    cosine, delta_e = resolution.windows["pair_cosine"], resolution.windows["delta_e"]
    assert 0.8 * resolution.chance < cosine.from_chance < 4 * resolution.chance
    assert 0.8 * resolution.almost_all < delta_e.from_copy < 1.4 * resolution.every
    assert cosine.from_copy >= 0.95
    assert delta_e.angles_degrees[0] == pytest.approx(arccos_degrees(delta_e.from_copy))
    assert set(resolution.windows) == set(PAIRING_KEYS)
    assert len(resolution.in_words()) == 1 + len(PAIRING_KEYS)


def test_windows_are_those_of_the_same_readings_by_hand():
    n, d, draws, grid = 16, 8, 4, (0.1, 0.4, 0.55, 0.7, 0.999)
    found = resolvable(n, d, rng=np.random.default_rng(8), draws=draws, correlations=grid).windows
    rng = np.random.default_rng(8)
    samples = [rng.standard_normal((2, n, d)) for _ in range(draws)]
    read = {rho: [measure(P, rho * P + math.sqrt(1 - rho**2) * E).values() for P, E in samples] for rho in (0, *grid)}
    for key in ("pair_cosine", "delta_e", "identity_fraction"):
        own = {rho: [values[key] for values in drawn] for rho, drawn in read.items()}
        mean, sd = ({rho: of(values) for rho, values in own.items()} for of in (np.mean, statistics.stdev))
        left = {rho: abs(METRICS[key].best - mean[rho]) for rho in own}
        told = {rho for rho in grid if abs(mean[rho] - mean[0]) > 1.96 * sd[0] + 1.64 * sd[rho]}
        open_ = {rho for rho in grid if left[rho] - 1.64 * sd[rho] > 0.01 * left[0]}
        from_chance = min(rho for i, rho in enumerate(grid) if set(grid[i:]) <= told)
        from_copy = max(rho for i, rho in enumerate(grid) if set(grid[: i + 1]) <= open_)
        assert (found[key].from_chance, found[key].from_copy) == (from_chance, from_copy), key
    assert len({window.from_chance for window in found.values()}) > 1


def test_a_tiny_sample_resolves_nothing_and_says_so():
    resolution = resolvable(2, 1, rng=np.random.default_rng(5), draws=3)
    assert math.isnan(resolution.windows["recall_at_10"].from_chance)
    assert any("tells nothing" in sentence for sentence in resolution.in_words())
    json.dumps(resolution.to_dict(), allow_nan=False)


@pytest.mark.parametrize("call", [{"n": 1}, {"d": 0}, {"draws": 1}, {"correlations": (0.5, 1.0)}])
def test_wrong_calls_are_sentences(call):
    with pytest.raises(InputError, match="got"):
        resolvable(**({"n": 10, "d": 2} | call))
