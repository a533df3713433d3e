"""Measures within classes: each class by itself, and what that says beside the measures over all rows."""

import numpy as np
import pytest

from dmdlab.config import InputError
from dmdlab.pairing import assignment, calibrate, measure
from dmdlab.pairing.within import LEAST_ROWS, WITHIN, within_classes

CENTRES = np.array([[-20.0, 0.0], [20.0, 0.0], [0.0, 20.0]])


def classes(*counts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels in a random order, and points about a centre each."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return label, CENTRES[label] + rng.normal(size=(len(label), 2))


def squares(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a - b).sum(axis=1).mean())


def test_each_class_is_measured_by_hand_and_the_means_weigh_rows() -> None:
    (label, teacher), (fresh_label, reference) = classes(40, 25, 3), classes(30, 30, 8, seed=1)
    student = teacher + np.random.default_rng(2).normal(size=teacher.shape)
    found = within_classes(teacher, student, label=label, reference=reference, reference_label=fresh_label)
    assert found.rows == {0: 30, 1: 25}  # as many as both have
    assert found.left_out == (1, 13)
    by_hand = {}
    for one, n in found.rows.items():
        P, G, Q = (x[own == one][:n] for x, own in ((teacher, label), (student, label), (reference, fresh_label)))
        e_dt, e_ot = squares(P, G), assignment(P, G).cost
        e_random = np.mean([squares(P, np.roll(G, i, axis=0)) for i in range(1, n)])  # every other pairing once
        Pc, Gc = P - P.mean(axis=0), G - G.mean(axis=0)
        by_hand[one] = {
            "delta_e": e_dt / e_ot - 1,
            "delta_e_ceiling": e_random / e_ot - 1,
            "copy_index": (e_random - e_dt) / (e_random - e_ot),
            "pair_cosine": float((Pc * Gc).sum() / np.sqrt(np.square(Pc).sum() * np.square(Gc).sum())),
            "fidelity": assignment(Q, G).cost / assignment(Q, P).cost,
        }
        assert found.values[one] == pytest.approx(by_hand[one])
    for key in WITHIN:
        weighed = (30 * by_hand[0][key] + 25 * by_hand[1][key]) / 55
        assert found.means()[key] == pytest.approx(weighed)
    told = found.to_dict()
    assert (told["classes_left_out"], told["rows_left_out"], told["least_rows"]) == (1, 13, LEAST_ROWS)
    assert [c["label"] for c in told["classes"]] == [0, 1]
    (words,) = found.in_words()
    assert "can flatter" in words
    assert "mean of 2 by their rows; 1 with fewer than 20 rows left out" in words


def test_a_student_that_only_knows_the_class_copies_over_all_rows_and_not_within() -> None:
    label, teacher = classes(60, 60, 60)
    fresh_label, reference = classes(60, 60, 60, seed=1)
    student = np.empty_like(teacher)
    for one in range(3):
        student[label == one] = reference[fresh_label == one]  # its law, and nothing of the noise
    found = within_classes(teacher, student, label=label, reference=reference[::-1], reference_label=fresh_label[::-1])
    assert measure(teacher, student).values()["pair_cosine"] > 0.98
    assert abs(found.means()["pair_cosine"]) < 0.2
    assert found.means()["copy_index"] < 0.3


def test_where_a_class_resolves_nothing_there_is_no_mean_and_too_few_rows_are_no_class() -> None:
    label, teacher = classes(30, 30)
    student = teacher.copy()
    student[label == 1] = 0.0  # collapsed
    given = {"label": label, "reference": teacher + 1.0, "reference_label": label}
    assert np.isnan(within_classes(teacher, student, **given).means()["delta_e"])
    given = {"reference": teacher, "reference_label": label}
    assert within_classes(teacher[:20], student[:20], label=np.ones(20, int), **given).rows == {1: 20}  # just enough
    few = within_classes(teacher[:19], student[:19], label=label[:19], reference=teacher, reference_label=label)
    assert np.isnan(few.means()["pair_cosine"])
    assert few.in_words() == ["Nothing was measured within classes: none has 20 rows."]
    assert few.to_dict()["means"]["pair_cosine"] is None


@pytest.mark.parametrize("wrong", [{"label": np.zeros(59, int)}, {"reference_label": np.zeros(60)}])
def test_labels_that_are_none_are_refused(wrong: dict[str, np.ndarray]) -> None:
    label, teacher = classes(30, 30)
    given = {"label": label, "reference": teacher, "reference_label": label} | wrong
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is .* expected 60 integers"):
        within_classes(teacher, teacher, **given)


# --- planted turns of a teacher that is told the class


def stretched(z: np.ndarray, label: np.ndarray) -> np.ndarray:
    return z * (1.0 + label[:, None])


def test_points_keep_their_class_under_planted_turns() -> None:
    rng = np.random.default_rng(0)
    noise, fresh = rng.normal(size=(40, 3)), rng.normal(size=(120, 3))
    labels, fresh_labels = rng.integers(5, size=40), rng.integers(5, size=120)
    given = {"fresh_noise": fresh, "angles_degrees": (0, 45, 90), "shares": (), "bases": 3, "local_points": 30}
    read = calibrate(stretched, noise, rng=rng, labels=labels, fresh_labels=fresh_labels, **given)
    np.testing.assert_allclose(read.planted["local_gain"], 1.0)  # each point's own stretch
    assert not np.isclose(read.null["local_gain"], 1.0).any()
    np.testing.assert_allclose(read.planted["variance_ratio"], 1.0, atol=0.05)
    for wrong in ({"labels": labels}, {"labels": labels[1:], "fresh_labels": fresh_labels}):
        with pytest.raises(InputError, match=r"labels and fresh_labels must be \(40,\) and \(120,\)"):
            calibrate(stretched, noise, rng=rng, **given, **wrong)


def test_nearby_points_are_the_first_ones_of_both_noises_with_their_own_classes() -> None:
    rng, asked = np.random.default_rng(1), {}
    noise, fresh = rng.normal(size=(40, 3)), rng.normal(size=(120, 3))
    labels, fresh_labels = rng.integers(5, size=40), rng.integers(5, size=120)

    def answers(z: np.ndarray, v: np.ndarray, told: np.ndarray) -> np.ndarray:
        asked.update(z=z, told=told)
        return v

    given = {"fresh_noise": fresh, "angles_degrees": (0, 90), "shares": (), "bases": 2, "local_points": 30}
    calibrate(stretched, noise, rng=rng, labels=labels, fresh_labels=fresh_labels, local_answers=answers, **given)
    np.testing.assert_array_equal(asked["z"][:60], np.concatenate([noise[:30], fresh[:30]]))
    np.testing.assert_array_equal(asked["told"][:60], np.concatenate([labels[:30], fresh_labels[:30]]))
    assert len(asked["z"]) == 90  # each of the thirty turned in one basis
