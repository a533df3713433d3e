"""What a sample can resolve: chance by exact permutation moments, saturation, and the planted-matching thresholds."""

import itertools
import json
import math

import numpy as np
import pytest

from dmdlab.config import InputError
from dmdlab.pairing import measure, resolvable
from dmdlab.pairing.glossary import PAIRING_KEYS
from dmdlab.pairing.thresholds import angle_degrees


def correlated(n, d, rho, seed=0):
    P, E = np.random.default_rng(seed).normal(size=(2, n, d))
    return P, rho * P + math.sqrt(1 - rho**2) * E


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_the_spread_of_random_pairings_is_that_of_all_permutations(shift):
    P, G = np.random.default_rng(1).normal(size=(2, 6, 3))
    G = 2.0 * G + shift
    cosines = [
        np.corrcoef((P - P.mean(0)).ravel(), (G - G.mean(0))[list(order)].ravel())[0, 1]
        for order in itertools.permutations(range(6))
    ]
    report = measure(P, G)
    assert np.mean(cosines) == pytest.approx(0.0, abs=1e-12)
    assert report.chance_sd == pytest.approx(np.std(cosines), rel=1e-8)


def test_independent_clouds_are_at_chance_as_often_as_they_should():
    rng, at_chance = np.random.default_rng(2), dict.fromkeys(PAIRING_KEYS, 0)
    for _ in range(200):
        P, G = rng.normal(size=(2, 40, 3))
        for key, verdict in measure(P, G).verdicts().items():
            at_chance[key] += verdict == "chance"
    for key, count in at_chance.items():
        assert count >= 184, key
    assert at_chance["pair_cosine"] <= 198


@pytest.mark.parametrize(
    ("d", "rho", "expected"),
    [
        (512, 0.35, {"delta_e": "saturated", "copy_index": "saturated", "identity_fraction": "saturated"}),
        (512, 0.35, {"pair_cosine": "inside", "r2": "inside"}),
        (4, 0.5, {"delta_e": "inside", "copy_index": "inside", "pair_auc": "inside", "recall_at_10": "inside"}),
        (512, 1.0, {"delta_e": "inside", "copy_index": "inside"}),  # a copy reads as a copy
    ],
)
def test_verdicts(d, rho, expected):
    given = measure(*correlated(300, d, rho)).verdicts()
    assert given.items() >= expected.items()


def test_verdicts_travel_with_the_record_and_leave_out_what_is_unresolved():
    P = np.random.default_rng(3).normal(size=(30, 4))
    record = json.loads(json.dumps(measure(P, np.ones_like(P)).to_dict(), allow_nan=False))
    assert "delta_e" not in record["verdicts"]
    assert record["chance_sd"] is None
    assert record["verdicts"]["pair_auc"] == "chance"


def test_thresholds_are_the_theorys():
    resolution = resolvable(2000, 1024)
    assert resolution.every == pytest.approx(math.sqrt(1 - 2000 ** (-4 / 1024)))
    assert resolution.almost_all == pytest.approx(math.sqrt(1 - 2000 ** (-2 / 1024)))
    assert 0.12 < resolution.almost_all < resolution.every < 0.2  # 0.2 already gave delta_e = 0.000
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
    assert delta_e.angles_degrees[0] == pytest.approx(angle_degrees(delta_e.from_copy))
    assert set(resolution.windows) == set(PAIRING_KEYS)
    assert len(resolution.in_words()) == 1 + len(PAIRING_KEYS)
    json.dumps(resolution.to_dict(), allow_nan=False)


def test_a_tiny_sample_resolves_nothing_and_says_so():
    resolution = resolvable(2, 1, rng=np.random.default_rng(5), draws=3)
    assert math.isnan(resolution.windows["recall_at_10"].from_chance)
    assert any("tells nothing" in sentence for sentence in resolution.in_words())
    json.dumps(resolution.to_dict(), allow_nan=False)


@pytest.mark.parametrize("call", [{"n": 1}, {"d": 0}, {"draws": 1}, {"correlations": (0.5, 1.0)}])
def test_wrong_calls_are_sentences(call):
    with pytest.raises(InputError, match="got"):
        resolvable(**({"n": 10, "d": 2} | call))
