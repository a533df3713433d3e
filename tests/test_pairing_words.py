"""Numbers as text, and a glossary whose rows agree with themselves and with what is measured."""

import json
import math

import numpy as np
import pytest
from near import correlated

from dmdlab.pairing import METRICS, measure
from dmdlab.pairing.glossary import jsonable
from dmdlab.pairing.words import interval, number, percent

SHARES = {1.0: "100 %", 0.123: "12 %", 0.0362: "3.6 %", -0.05: "-5 %", -1.5: "-150 %", 5e-5: "0.005 %", 0.0: "0 %"}
NUMBERS = {0.12345: "0.123", 123.4: "123", 1e-5: "1e-05", 7: "7", None: "–", math.nan: "–", "x": "x", True: "True"}
INTERVALS = {
    (0.712, 0.68, 0.744): "0.712 ± 0.032",
    (86.0, 60.0, 112.0): "86 ± 26",
    (1.0, 1.0, 1.0): "1 ± 0",
    (0.5, math.nan, 1.0): "0.5",
}


@pytest.mark.parametrize(
    ("tell", "texts"), [(number, NUMBERS), (percent, SHARES), (lambda ends: interval(*ends), INTERVALS)]
)
def test_numbers_have_three_digits_shares_are_percent_and_intervals_have_the_digits_they_allow(tell, texts):
    assert {given: tell(given) for given in texts} == texts


def test_best_chance_and_guides_lie_in_the_range_of_a_metric():
    for key, metric in METRICS.items():
        marks = [metric.best, metric.chance_at(1000), *(value for value, _ in metric.guides)]
        assert all(metric.lowest <= mark <= metric.highest for mark in marks if mark is not None), key
    recalls = [METRICS["recall_at_10"].chance_at(n) for n in (4, 1000)]
    assert (recalls, METRICS["e_ot"].chance_at(1000)) == ([1.0, 0.01], None)


@pytest.mark.parametrize("rho", [-1.0, 0.0, 0.9, 1.0])
def test_every_value_and_interval_lies_in_the_range_of_its_metric(rho):
    rng = np.random.default_rng(0)
    for key, measured in measure(*correlated(rng, 40, 3, rho), reference=rng.normal(size=(40, 3))).metrics.items():
        lowest, highest = METRICS[key].bounds
        for value in (measured.value, measured.low, measured.high):
            assert value is None or math.isnan(value) or lowest <= value <= highest, key


def test_what_json_cannot_hold_is_null():
    value = {"a": np.array([[1.0, np.nan]]), "b": (np.float32(0.5), np.int64(3), math.inf), "c": "text", "d": None}
    assert jsonable(value) == {"a": [[1.0, None]], "b": [0.5, 3, None], "c": "text", "d": None}
    json.dumps(jsonable(value), allow_nan=False)
