"""Numbers as text, and a glossary whose rows agree with themselves and with what is measured."""

import json
import math
import re

import numpy as np
import pytest
from near import correlated

from dmdlab.pairing import METRICS, measure
from dmdlab.pairing.analyses_in_words import analyses
from dmdlab.pairing.certificate import gaps
from dmdlab.pairing.context_in_words import data_in_words, warmup_in_words
from dmdlab.pairing.law import Judged, law_agrees
from dmdlab.pairing.measured import Measured, jsonable
from dmdlab.pairing.pairs import Pairs
from dmdlab.pairing.words import (
    against,
    interval,
    lines_of,
    near_one,
    number,
    percent,
    read_aloud,
    resolution_in_words,
    run_in_words,
)
from dmdlab.transport import Transport

SHARES = {1.0: "100 %", 0.123: "12 %", 0.0362: "3.6 %", -0.05: "-5 %", -1.5: "-150 %", 5e-5: "0.005 %", 0.0: "0 %"}
SHARES |= {1e-9: "less than 0.0001 %", 0.9996: "99.96 %", 1 - 1e-9: "99.99 %", 0.0999: "10 %", 4.0: "400 %"}
NUMBERS = {0.12345: "0.123", 123.4: "123", 1e-5: "1e-05", 7: "7", None: "–", math.nan: "–", "x": "x", True: "True"}
NUMBERS |= {123456.7: "123457", 1e30: "1e+30", math.inf: "infinite"}
INTERVALS = {
    (0.712, 0.68, 0.744): "0.712 ± 0.032",
    (86.0, 60.0, 112.0): "86 ± 26",
    (9956856.0, 372988.0, 19540724.0): "10000000 ± 9600000",
    (4321.0, 4198.0, 4444.0): "4320 ± 120",
    (1.0, 1.0, 1.0): "1 ± 0",
    (0.5, math.nan, 1.0): "0.5",
    (0.5, -math.inf, 1.0): "0.5",
    (0.5, 0.5 - 1e-6, 0.5 + 1e-6): "0.5 ± 1e-06",
}


@pytest.mark.parametrize(
    ("tell", "texts"), [(number, NUMBERS), (percent, SHARES), (lambda ends: interval(*ends), INTERVALS)]
)
def test_numbers_have_three_digits_shares_are_percent_and_intervals_have_the_digits_they_allow(tell, texts):
    assert {given: tell(given) for given in texts} == texts


@pytest.mark.parametrize(
    ("value", "limits", "told"),
    [
        (0.7963, (0.8, 1.25), "0.796, below 0.800 to 1.250"),
        (1.2504, (0.8, 1.25), "1.2504, above 0.8000 to 1.2500"),
        (0.8, (0.8, 1.25), "0.80, inside 0.80 to 1.25"),
        (1.0, (0.5, 0.99996), "1.00000, above 0.50000 to 0.99996"),
        (0.04996, (-0.05, 0.05), "0.050, inside -0.05 to 0.05"),
        (0.85, (0.8, 1.25), "0.85, inside 0.80 to 1.25"),
    ],
)
def test_a_value_outside_of_its_limits_is_told_with_the_digits_that_show_it(value, limits, told):
    assert against(value, Judged.of(value, limits)) == told


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


ALOUD = (0.0, 1e-9, 0.004, 0.5, 0.9996, 1.0, 1.5, 100.0, 123456.0, -1e-9, -0.4, math.nan)
UNSPEAKABLE = re.compile(
    r"\bnan\b|\binf\b|None|–|(?<![\d.])-0(\.0*)?(?![\d.])|e\+\d+ (%|times|degrees)|\b1 (degrees|principal comp)|  "
)


def in_range(key, value):
    """`value`, or the end of the measure's range that it passes."""
    return min(max(value, METRICS[key].lowest), METRICS[key].highest) if not math.isnan(value) else value


@pytest.mark.parametrize("value", ALOUD)
@pytest.mark.parametrize("verdict", ["chance", "inside", "saturated"])
def test_every_sentence_of_a_report_can_be_read_aloud_at_every_value(value, verdict):
    """All measures at one value, then each alone at it among ordinary ones."""
    ordinary = dict.fromkeys(METRICS, 0.5) | {"remap_angle": 30.0}
    for keys in (METRICS, *([key] for key in METRICS)):
        values = ordinary | {key: in_range(key, value) for key in keys}
        metrics = {
            key: Measured.unresolved("there is a reason") if math.isnan(x) else Measured(x) for key, x in values.items()
        }
        law = law_agrees(values, None)
        sentences = read_aloud(metrics, dict.fromkeys(METRICS, verdict), 1000, 1, 0.03, law)
        for sentence in sentences:
            assert not UNSPEAKABLE.search(sentence), sentence
            assert sentence[0].isupper() or sentence.startswith(tuple(METRICS)), sentence
            assert sentence.endswith("."), sentence
            assert ".." not in sentence, sentence
        assert not any(UNSPEAKABLE.search(line.interval.replace("–", "")) for line in lines_of(metrics, {}, 1000))


@pytest.mark.parametrize("value", [x for x in ALOUD if not x < 0])
def test_what_a_run_and_its_size_add_can_be_read_aloud(value):
    n, directions = max(2, int(np.nan_to_num(value))), max(1, int(np.nan_to_num(value)))
    for sentence in (*run_in_words(value, ["it is slow"]), resolution_in_words(n, directions)):
        assert not UNSPEAKABLE.search(sentence), sentence
    assert near_one(1 - 1e-7) == "1 - 1e-07"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"train_rows": 771}, ["digits has 771 points to train on, 513 to refer to and 513 to measure with"]),
        ({"sigma_data": 0.24}, ["a standard deviation of 0.24"]),
        ({"sigma_data": 1.0}, ["made for 0.5"]),
        ({"sigma_data": 1.0, "shape": [64]}, []),
        ({"sigma_data": 0.1, "train_rows": 9999}, ["has 9999 points", "deviation of 0.1 "]),
        ({"train_rows": None, "reference_rows": None, "measure_rows": None}, []),
    ],
)
def test_a_reading_tells_of_few_data_and_of_pictures_of_another_size(changes, told):
    facts = {"sigma_data": 0.5, "shape": [1, 8, 8], "train_rows": 10_000, "reference_rows": 513, "measure_rows": 513}
    sentences = data_in_words("digits", facts | changes)
    assert len(sentences) == len(told)
    for sentence, part in zip(sentences, told, strict=True):
        assert part in sentence


@pytest.mark.parametrize(("taken", "told"), [(1, "at 1 % of it"), (99, "at 99 % of it"), (100, None)])
def test_a_reading_tells_of_a_training_that_ended_within_its_warm_up(taken, told):
    sentences = warmup_in_words({"student.warmup": (taken, 100), "teacher.warmup": (0, 0)})
    assert len(sentences) == (told is not None)
    if told:
        assert told in sentences[0]
        assert f"after {taken} of the 100 iterations of its warm-up (student.warmup)" in sentences[0]


def test_what_the_solver_leaves_open_is_told_beside_the_value():
    values = dict.fromkeys(METRICS, 0.5)
    metrics = {key: Measured(x) for key, x in values.items()}
    metrics |= {"delta_e": Measured(0.0, certain=(0.0, math.inf)), "copy_index": Measured(0.5, certain=(0.4, 0.6))}
    told = " ".join(read_aloud(metrics, dict.fromkeys(METRICS, "inside"), 9, 2, 0.1, law_agrees(values, None)))
    assert "delta_e is 0, certainly at least 0;" in told
    assert "copy_index 0.5, certainly between 0.4 and 0.6" in told
    assert {line.key: line.interval for line in lines_of(metrics, {}, 9)}["copy_index"] == "0.4 to 0.6"


def law_in_words(**values):
    values = dict.fromkeys(METRICS, 0.5) | {"fidelity": 1.0, "debiased_cost": 0.0, "variance_ratio": 1.0} | values
    metrics, law = {key: Measured(x) for key, x in values.items()}, law_agrees(values, None)
    return " ".join(read_aloud(metrics, dict.fromkeys(METRICS, "inside"), 9, 2, 0.1, law))


def told(n: int = 10, verdict: str = "inside", **values: float) -> str:
    """A report on n pairs in which these measures read so, and all others 0.5."""
    metrics = {key: Measured(value) for key, value in (dict.fromkeys(METRICS, 0.5) | values).items()}
    law = law_agrees({key: measured.value for key, measured in metrics.items()}, None)
    return " ".join(read_aloud(metrics, dict.fromkeys(METRICS, verdict), n, 2, 0.1, law))


def test_a_pairing_against_the_teacher_is_not_called_lost() -> None:
    assert "pairs against its teacher" in told(pair_cosine=-0.83, remap_angle=90.0)
    assert "pairs against" not in told(pair_cosine=0.09, remap_angle=90.0)
    assert "pairs against" not in told(pair_cosine=-0.2, remap_angle=90.0, verdict="chance")
    noise = np.random.default_rng(0).normal(size=(200, 6))
    assert "pairs against" in " ".join(measure(noise, -noise).in_words())


def test_a_report_says_each_number_of_what_it_is_a_number() -> None:
    assert "nearest to its own teacher output in 20 % of the cases (chance 10 %)" in told(recall_at_1=0.2, pair_auc=0.7)
    assert "nearer to it than to a random one in 70 % (chance 50 %)" in told(recall_at_1=0.2, pair_auc=0.7)
    assert "explains 40 % of the teacher's variance at equal noise: r2 0.4; pair_cosine 0.7," in told(
        r2=0.4, pair_cosine=0.7
    )
    assert "predicts the teacher no better than the teacher's mean does: r2 -0.1" in told(r2=-0.1)
    assert "a random pairing varies by 0.1" in told(verdict="chance")
    assert "realises 30 % of what the best pairing of these points saves" in told(copy_index=0.3)
    assert "costs more than a random pairing, by 20 % of what the best pairing" in told(copy_index=-0.2)
    assert "a student that pairs at random gets 4 at this n and d." in told(delta_e_ceiling=4.0)
    assert "gets 0.2 at this n and d, so a small value says little" in told(delta_e_ceiling=0.2)


def test_an_angle_is_of_a_turn_of_the_noise_up_to_a_right_one() -> None:
    for angle, said in ((75.0, "turning it by 75 degrees would"), (90.0, "turning it by 90 degrees or more would")):
        assert said in told(remap_angle=angle)
    assert "no more than a copy does (remap_angle 0)" in told(remap_angle=0.0)


def test_a_run_warns_of_its_teacher_where_that_failed_its_check_only() -> None:
    assert run_in_words(1.25, []) == ["Its outputs cost 1.25 times as much to match with data as other data does."]
    assert run_in_words(1.25, ["it is slow", "it is far"])[1:] == [
        "Beware: the teacher failed its own check: it is slow; it is far."
    ]
    assert run_in_words(math.nan, []) == [
        "How near its outputs are to the data is unknown: other data costs nothing to match with it."
    ]


def test_each_side_of_each_measure_of_the_law_has_its_own_direction() -> None:
    for values, direction in (
        ({"variance_ratio": 0.5}, "The student shrank or lost modes"),
        ({"variance_ratio": 2.0, "fidelity": 3.0}, "The student spread out"),
        ({"fidelity": 0.5}, "are cheaper to match with fresh teacher samples than the teacher's own are"),
        ({"fidelity": 3.0}, "cost more to match with fresh teacher samples than the teacher's own do"),
        ({"debiased_cost": 0.3}, "cost more to match with fresh teacher samples than the teacher's own do"),
    ):
        assert f"{direction}: its law is not" in law_in_words(**values)
    assert ", as fidelity says (" in law_in_words(fidelity=3.0)
    assert ", as fidelity, debiased_cost and variance_ratio say (" in law_in_words(
        fidelity=3.0, debiased_cost=0.3, variance_ratio=2.0
    )


def test_a_measure_of_the_law_keeps_two_digits_of_its_own_beside_its_limits():
    assert "variance_ratio 0.010, below 0.80 to 1.25" in law_in_words(variance_ratio=0.0102)
    assert "variance_ratio 0.00, below" in law_in_words(variance_ratio=1e-9)
    assert "debiased_cost -0.00031, inside -0.05 to 0.05" in law_in_words(debiased_cost=-0.00031)


def test_measures_of_the_law_that_disagree_name_no_direction():
    assert "point in different directions: its law is not" in law_in_words(fidelity=1.9, debiased_cost=-0.2)
    assert "point in different directions: its law is not" in law_in_words(fidelity=0.5, debiased_cost=0.2)
    assert "are nearer to the reference" in law_in_words(debiased_cost=-0.2)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (40005.6, 40005.65, "40005.6 and 40005.65"),
        (0.5, 0.75, "0.5 and 0.75"),
        (7e9, 7e9, "7000000000 and 7000000000"),  # a gap about the means, lost in the shift
        (0.0, 2.0, "0 and 2"),
        (1e30, 1.00001e30, "1e+30 and 1.00001e+30"),
    ],
)
def test_an_interval_of_a_transport_cost_has_the_digits_that_tell_its_ends_apart(low, high, told):
    (note,) = gaps({"e_ot": Transport(high, None, "certified", 1e-3, low, high, high)})
    assert f"between {told};" in note


@pytest.mark.parametrize("student", ["copy", "worst", "constant", "one row", "independent"])
def test_every_analysis_can_be_read_aloud(student):
    rng = np.random.default_rng(1)
    P, E = rng.normal(size=(2, 30, 1))
    G = {"copy": P, "worst": -P, "constant": np.ones_like(P), "one row": E * (np.arange(30) == 3)[:, None]}.get(
        student, E
    )
    _, sentences = analyses(Pairs.of(P, G, noise=P, one_step=G, data=rng.normal(size=(30, 1))))
    assert len(sentences) == 4
    for sentence in sentences:
        assert not UNSPEAKABLE.search(sentence), sentence
    assert ("how the student correlates with it is unknown" in sentences[0]) == (student == "constant")


def test_all_components_hold_all_of_the_variance():
    P = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    assert "(100 % of its variance)" in analyses(Pairs.of(P, P))[1][0]
