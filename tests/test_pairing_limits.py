"""What an array's own numbers cannot resolve is said of the array, the row and the size that it is about."""

import re

import numpy as np
import pytest

from dmdlab.pairing import measure

RESTS_ON_THE_OTHERS = ("e_ot", "delta_e", "delta_e_ceiling", "copy_index", "pair_auc", "fidelity", "debiased_cost")


def pairs(seed: int = 0, n: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    P, E, Q = np.random.default_rng(seed).normal(size=(3, n, 2))
    return P, 0.9 * P + 0.4 * E, Q


@pytest.mark.parametrize("who", ["teacher", "student"])
@pytest.mark.parametrize("row", [0, 7])
def test_a_row_that_is_far_out_in_one_array_is_named_with_what_it_drowns(who: str, row: int) -> None:
    scale = 1e3
    P, G, Q = (scale * x for x in pairs())
    (P if who == "teacher" else G)[row] = 1e10 * scale
    metrics = measure(P, G, reference=Q).metrics
    for key in RESTS_ON_THE_OTHERS:
        assert f"row {row} holds nearly all of the {who}'s spread" in metrics[key].reason
    spread, others = map(float, re.findall(r"\(([\d.e+]+)\)", metrics["e_ot"].reason))
    assert spread == pytest.approx(np.sqrt(2 * 0.99) * 1e9 * scale, rel=0.05)  # in the caller's units
    assert 0.5 * scale < others < 2 * scale
    assert metrics["variance_ratio"].resolved
    assert metrics["pair_cosine"].resolved


def test_several_rows_are_counted() -> None:
    P, G, _ = pairs()
    P[[3, 9]] = G[[3, 9]] = 1e10
    assert "2 rows (the first is 3) hold nearly all" in str(measure(P, G).metrics["e_ot"].reason)


def test_a_student_that_gives_most_noise_one_answer_has_no_row_that_is_far_out() -> None:
    P, G, Q = pairs()
    G[:60] = 0.0
    metrics = measure(P, G, reference=Q).metrics
    assert all(metrics[key].resolved for key in RESTS_ON_THE_OTHERS)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize(
    ("shift", "wide", "said"), [(20.0, 1.0, False), (80.0, 1.0, True), (80.0, 100.0, False), (8e3, 100.0, True)]
)
def test_means_are_far_apart_beside_the_wider_of_the_two_arrays(
    unit: float, shift: float, wide: float, said: bool
) -> None:
    P, G, _ = (unit * x for x in pairs())
    for teacher, student in ((P, wide * G + unit * shift), (wide * G + unit * shift, P)):
        assert any("nearly all this shift" in note for note in measure(teacher, student).notes) == said


def test_digits_that_are_all_lost_are_a_reason_and_no_note_beside_it() -> None:
    P, G, _ = pairs()
    report = measure(P, (G + 1e7).astype(np.float32))
    assert "no more than float32 can tell" in str(report.metrics["pair_cosine"].reason)
    assert not any("digits were lost" in note for note in report.notes)


def test_a_coordinate_that_never_changes_costs_no_digits_of_the_others() -> None:
    P, G, _ = (np.column_stack([x, np.full(len(x), 1e7)]).astype(np.float32) for x in pairs())
    report = measure(P, G)
    assert not any("digits were lost" in note for note in report.notes)
    assert report.metrics["pair_cosine"].resolved
