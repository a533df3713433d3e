"""Samples that a measure takes for independent: rows in common are found, named, and refused beyond a few."""

import numpy as np
import pytest

from dmdlab.config import InputError
from dmdlab.pairing import Pairs, calibrate, measure
from dmdlab.pairing.analyses_in_words import analyses
from dmdlab.pairing.independence import Overlap, near_duplicates

LAW = ("fidelity", "debiased_cost")


def sharing(Q, other, share):
    """Q with so large a share of its rows from `other`, at other places."""
    count = round(share * len(Q))
    return np.concatenate([Q[count:], other[:count]])


@pytest.mark.parametrize("d", [1, 2, 64])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("which", ["teacher", "student"])
def test_a_reference_that_shares_rows_leaves_the_law_unresolved(d, share, which):
    P, Q, G = np.random.default_rng(d).normal(size=(3, 200, d))
    report = measure(P, G, reference=sharing(Q, P if which == "teacher" else G, share))
    for key in LAW:
        assert f"{100 * share:.0f} % of the rows of reference and {which} are the same" in report.metrics[key].reason
        assert "fresh noise with another seed" in report.metrics[key].reason
    assert report.law.parts["fidelity"].side == "unknown"
    assert report.metrics["variance_ratio"].resolved
    assert "Fidelity is unknown" in " ".join(report.in_words())


def test_one_row_in_common_is_a_note_and_none_is_none():
    P, Q, G = np.random.default_rng(0).normal(size=(3, 400, 3))
    assert not measure(P, G, reference=Q).notes
    report = measure(P, G, reference=sharing(Q, P, 0.0025))
    assert report.metrics["fidelity"].resolved
    (note,) = report.notes
    assert "0.25 % of their rows in common, too few to matter" in note


@pytest.mark.parametrize("precision", [np.float32, np.float16])
def test_rows_are_compared_in_the_narrower_type_whatever_the_size_of_the_arrays(precision):
    P, Q, G = np.random.default_rng(1).normal(size=(3, 100, 8))
    more = np.concatenate([Q, np.random.default_rng(2).normal(size=(900, 8)), P[:50]]).astype(precision)
    report = measure(P.astype(precision).astype(np.float64), G, reference=more)
    assert "50 % of the rows of reference and teacher" in report.metrics["fidelity"].reason


def test_an_empirical_law_repeats_rows_by_nature_and_is_reported_not_refused():
    rng = np.random.default_rng(3)
    atoms = rng.normal(size=(300, 4))
    P, Q, G = (atoms[rng.integers(300, size=400)] for _ in range(3))
    report = measure(P, G, reference=Q)
    assert report.metrics["fidelity"].resolved
    assert report.metrics["debiased_cost"].resolved
    told = " ".join(report.notes)
    assert "repeat another row" in told
    assert "as rows repeat within each by themselves" in told
    assert measure(P, G, reference=P).metrics["fidelity"].value != 1.0
    assert "same" in measure(P, G, reference=P).metrics["fidelity"].reason  # the same array twice is no other draw


@pytest.mark.parametrize("d", [1, 16])
def test_rows_shared_with_an_array_that_was_stored_in_half_precision_are_found(d):
    P, E, Q = np.random.default_rng(0).standard_normal((3, 300, d)).astype("f4")
    Q[:150] = P[:150]
    P = P.astype(">f2") if d == 1 else P.astype("f2")
    Q[-1] = 1e5  # beyond half precision
    report = measure(P, (0.7 * P + 0.7 * E).astype("f2"), reference=Q)
    for key in LAW:
        assert "of the rows of reference and teacher are the same" in report.metrics[key].reason


def test_a_reference_that_repeats_itself_does_not_hide_what_it_shares():
    P, E, F = np.random.default_rng(0).standard_normal((3, 400, 8))
    Q = np.concatenate([P[:200], F[:200]])
    for reference in (Q, np.concatenate([Q, Q])):
        report = measure(P, 0.7 * P + 0.7 * E, reference=reference)
        for key in LAW:
            assert "50 % of the rows of reference and teacher are the same" in report.metrics[key].reason


@pytest.mark.parametrize("atoms", [3, 30, 300, 3000, 30000])
@pytest.mark.parametrize(("n", "m"), [(50, 50), (400, 400), (50, 1000), (400, 4000)])
def test_two_draws_of_an_empirical_law_are_independent(atoms, n, m):
    """Of atoms that are equally likely, and of ever rarer ones; at most one pair in twenty is refused."""
    rng = np.random.default_rng(atoms)
    refused = []
    for weights in (np.ones(atoms), 1.0 / np.arange(1, atoms + 1)):
        for _ in range(20):
            a, b = (rng.choice(atoms, (size, 1), p=weights / weights.sum()).astype(float) for size in (n, m))
            refused.append(Overlap.of(a, b).too_large)
    assert np.mean(refused) <= 0.05


def test_a_student_that_answers_few_atoms_is_not_taken_for_dependent():
    rng = np.random.default_rng(8)
    atoms = rng.normal(size=(20, 3))
    P, Q = (np.concatenate([atoms[rng.integers(20, size=60)], rng.normal(size=(140, 3))]) for _ in range(2))
    assert measure(P, np.tile(atoms[:1], (200, 1)), reference=Q).metrics["fidelity"].resolved


def test_near_duplicates_leave_the_law_unresolved_and_are_a_note_on_data():
    P, Q, G = np.random.default_rng(4).normal(size=(3, 200, 16))
    report = measure(P, G, reference=sharing(Q, P + 1e-6, 0.5))
    for key in LAW:
        assert "50 % of the rows of reference and teacher are nearly the same" in report.metrics[key].reason
    assert not report.notes
    report = measure(P, G, reference=Q, data=sharing(Q[::-1] + 5, P + 1e-6, 0.5))
    (note,) = report.notes
    assert "rows of data and teacher are nearly the same" in note
    assert report.metrics["fidelity"].resolved  # which asks nothing of data
    curve = np.linspace(0.0, 1.0, 1200)[np.random.default_rng(5).permutation(1200)].reshape(3, 400, 1)
    P, Q, G = np.sin(curve * np.arange(1, 17))  # one intrinsic dimension: neighbours are near by nature
    assert not [note for note in measure(P, G, reference=Q).notes if "nearly" in note]


def test_data_that_holds_outputs_leaves_memorisation_unresolved():
    P, X, G = np.random.default_rng(6).normal(size=(3, 100, 3))
    numbers, sentences = analyses(Pairs.of(P, G, one_step=0.1 * P, data=sharing(X, P, 0.9)))
    assert "memorisation" not in numbers
    assert "boundary" not in numbers
    assert any("90 % of the rows of data and teacher are the same" in sentence for sentence in sentences)
    assert "memorisation" in analyses(Pairs.of(P, G, data=X))[0]
    assert "memorisation" in analyses(Pairs.of(P, G, data=X, reference=P[::-1]))[0]  # which asks nothing of it
    assert "memorisation" not in analyses(Pairs.of(P, G, data=sharing(X, G, 0.9)))[0]
    assert (
        measure(P, G, data=sharing(X, P, 0.9), reference=np.random.default_rng(7).normal(size=(100, 3)))
        .metrics["fidelity"]
        .resolved
    )


def test_a_calibration_refuses_fresh_noise_that_is_not_fresh():
    rng = np.random.default_rng(7)
    z, fresh = rng.normal(size=(40, 2)), rng.normal(size=(80, 2))
    with pytest.raises(InputError, match=r"25 % of the rows of noise and fresh_noise.*another seed"):
        calibrate(lambda x: x, z, fresh_noise=np.concatenate([fresh[:70], z[:10]]), rng=rng)


@pytest.mark.parametrize("rows", [2, 3, 5, 20])
def test_a_reference_of_the_teachers_own_rows_is_refused_however_few(rows: int) -> None:
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 40, 3))
    report = measure(teacher, student, reference=teacher[:rows])
    assert not report.metrics["fidelity"].resolved


def test_rows_are_the_same_in_every_coordinate_or_not_at_all() -> None:
    """As pictures with a black corner are not; and a zero has no sign."""
    a, b = np.random.default_rng(9).normal(size=(2, 100, 3))
    a[:, :2] = b[:, :2] = 0.0
    assert Overlap.of(a, b).share == 0
    turned = a * [-1, 1, 1]  # -0
    assert Overlap.of(a, turned).same


def test_a_row_counts_once_however_often_it_is_answered() -> None:
    """Three quarters of one array are one row of the other: of 51 distinct rows one."""
    a, b = np.random.default_rng(10).normal(size=(2, 200, 3))
    a[:150] = b[0]
    for found in (Overlap.of(a, b), Overlap.of(b, a)):
        assert not found.too_large
        assert found.share in (1 / 51, 1 / 200)


def test_an_array_that_holds_another_and_repeats_itself_is_found_in_the_direction_that_tells() -> None:
    a, more = np.random.default_rng(11).normal(size=(2, 200, 3))
    b = np.tile(np.concatenate([a, more]), (2, 1))  # all of a is in it, as by nature; half of it is in a
    for found in (Overlap.of(a, b), Overlap.of(b, a)):
        assert (found.share, found.natural, found.rows) == (0.5, 0.0, 200)
        assert found.too_large


def test_many_rows_allow_a_hundredth_and_few_the_error_of_a_repeat() -> None:
    """At 600 rows both are as much."""
    assert Overlap(0.0, 0.0, 600, same=False).allowed == pytest.approx(0.01)
    assert Overlap(0.0, 0.0, 10**6, same=False).allowed == pytest.approx(0.01)
    assert Overlap(0.0, 0.0, 60, same=False).allowed == pytest.approx(0.1)  # 6 / n
    assert Overlap(0.0, 0.3, 10**6, same=False).allowed == pytest.approx(0.31)


@pytest.mark.parametrize("d", [1, 2, 4, 64])
def test_independent_draws_have_one_near_duplicate_in_a_hundred_at_most_in_every_dimension(d: int) -> None:
    rng = np.random.default_rng(d)
    found = [near_duplicates(*rng.normal(size=(2, 200, d))) for _ in range(5)]
    assert np.mean([near.share for near in found]) <= 0.02
    assert np.mean([near.natural for near in found]) <= 0.02


def test_near_duplicates_are_no_copies_and_by_nature_those_of_the_array_that_has_more() -> None:
    a, b = np.random.default_rng(12).normal(size=(2, 100, 8))
    assert near_duplicates(a, a[::-1]).share == 0
    near = np.concatenate([a, a + 1e-6])
    for found in (near_duplicates(near, b), near_duplicates(b, near)):
        assert (found.share, found.natural) == (0.0, 1.0)
