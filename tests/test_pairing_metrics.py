"""Every measure against a slow, obvious second implementation, invariances, what must stay unresolved."""

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near import correlated
from scipy.spatial.distance import cdist

from dmdlab.pairing import COLLAPSED_VARIANCE_RATIO, METRICS, measure
from dmdlab.pairing.statistics import jackknife_interval
from dmdlab.transport import assignment

OF_INDEPENDENT_SAMPLES = ("fidelity", "debiased_cost")


def best_orders(P, G):
    """The optimal cost and every permutation that attains it, by trying all of them."""
    square, rows = cdist(G, P, "sqeuclidean"), range(len(P))
    costs = {order: square[rows, order].mean() for order in itertools.permutations(rows)}
    best = min(costs.values())
    return best, [order for order, cost in costs.items() if cost <= best + 1e-12]


def twin(P, G, Q):
    """All measures from the full matrix of distances; where a value is 0 / 0 or infinite it is left out."""
    square, p, g = cdist(G, P, "sqeuclidean"), P - P.mean(0), G - G.mean(0)  # row i student, column j teacher
    others, own = ~np.eye(len(P), dtype=bool), np.diag(square)[:, None]
    spread_P, spread_G = (p**2).sum(), (g**2).sum()
    e_dt, e_ot, e_independent = own.mean(), best_orders(P, G)[0], square[others].mean()
    nearer, tied = (square < own).sum(1), (square == own).sum(1)  # P_i itself is tied
    out = {"e_dt": e_dt, "e_ot": e_ot, "e_independent": e_independent}
    out["pair_auc"] = ((square > own) + 0.5 * (square == own))[others].mean()
    for k in (1, 10):  # the probability to be among the k nearest when ties are broken at random
        out[f"recall_at_{k}"] = np.clip((k - nearer) / tied, 0, 1).mean()
    for key, cost in (("delta_e", e_dt), ("delta_e_ceiling", e_independent)):
        if e_ot > 0 or cost == 0:
            out[key] = cost / e_ot - 1 if e_ot > 0 else 0.0
    if e_independent - e_ot > 1e-9:
        out["copy_index"] = (e_independent - e_dt) / (e_independent - e_ot)
    if spread_P > 0:
        out["r2"], out["variance_ratio"] = 1 - own.sum() / spread_P, spread_G / spread_P
    if min(spread_P, spread_G) > 1e-20:  # the rounding of a mean
        out["pair_cosine"] = (p * g).sum() / math.sqrt(spread_P * spread_G)
    if (floor := best_orders(Q, P)[0]) > 0:
        out["fidelity"] = best_orders(Q, G)[0] / floor
    return out


def assert_twin(P, G, Q):
    """`measure` says what the twin says, and leaves unresolved exactly what it has to."""
    report, expected = measure(P, G, reference=Q), twin(P, G, Q)
    ratio = expected.get("variance_ratio")
    undefined = set(METRICS) - set(expected)
    if ratio is None:
        undefined |= set(METRICS) - {"e_dt", "e_ot", "e_independent"}
    elif ratio < COLLAPSED_VARIANCE_RATIO:
        undefined |= {"delta_e", "copy_index", "identity_fraction"}
    else:
        undefined.discard("identity_fraction")
        _, orders = best_orders(P, G)
        value = report.metrics["identity_fraction"].value
        assert value in {sum(i == j for i, j in enumerate(order)) / len(P) for order in orders}
        if tuple(range(len(P))) in orders:  # among equally cheap pairings the shared noise is preferred
            assert value == 1.0
    for key, measured in report.metrics.items():
        if key in OF_INDEPENDENT_SAMPLES and (key not in expected or "independent" in (measured.reason or "")):
            assert measured.resolved == (measured.reason is None)  # halves are random; whole numbers repeat rows
        elif key in undefined:
            assert math.isnan(measured.value), key
            assert measured.reason, key
        elif key != "identity_fraction":
            assert measured.value == pytest.approx(expected[key], rel=1e-9, abs=1e-9), key
            assert measured.reason is None
            if measured.low is not None:
                assert measured.low <= measured.value <= measured.high


@st.composite
def small_clouds(draw):
    """Integer clouds of at most 6 points: exact arithmetic, many ties and duplicates."""
    n, d = draw(st.integers(2, 6)), draw(st.integers(1, 3))
    row = st.lists(st.integers(-3, 3), min_size=d, max_size=d)
    return tuple(np.array(draw(st.lists(row, min_size=n, max_size=n)), float) for _ in range(3))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(small_clouds())
def test_every_measure_equals_its_brute_force_twin(clouds):
    assert_twin(*clouds)


@pytest.mark.parametrize(("n", "d"), [(3, 2), (6, 1), (6, 2), (6, 7)])
@pytest.mark.parametrize("kind", ["identity", "shuffled", "constant", "correlated", "independent"])
def test_structured_inputs_equal_their_twin(kind, n, d):
    P, other, Q = np.random.default_rng(20).normal(size=(3, n, d))
    G = {
        "identity": P,
        "shuffled": np.roll(P, 1, axis=0),
        "constant": np.tile(other[:1], (n, 1)),
        "correlated": 0.8 * P + 0.6 * other,
        "independent": other,
    }[kind]
    assert_twin(P, G, Q)


def test_the_report_has_every_key_of_the_glossary_in_order_and_is_json():
    P, G, Q = np.random.default_rng(0).normal(size=(3, 8, 2))
    report = measure(P, G, reference=Q)
    assert list(report.metrics) == list(METRICS) == [metric.key for metric in METRICS.values()]
    as_json = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    reason = report.metrics["remap_angle"].reason
    assert as_json["metrics"]["remap_angle"] == {"value": None, "low": None, "high": None, "reason": reason}
    assert as_json["metrics"]["e_dt"]["value"] == report.values()["e_dt"]
    assert set(as_json["transport"]) == {"e_ot", "e_ot_reference_student", "e_ot_reference_teacher"}
    assert (as_json["n"], as_json["d"]) == (8, 2)


@pytest.mark.parametrize("d", [1, 3, 16])
def test_a_common_order_rotation_translation_and_scale_changes_no_ratio(d):
    rng = np.random.default_rng(3)
    P, E, Q = rng.normal(size=(3, 60, d))
    G, order = 0.7 * P + 0.7 * E, rng.permutation(60)
    R = np.linalg.qr(rng.normal(size=(d, d)))[0]
    before = measure(P, G, reference=Q).values()
    after = measure(*(3.0 * (x[order] @ R) + 100.0 for x in (P, G)), reference=3.0 * (Q[::-1] @ R) + 100.0).values()
    for key, value in before.items():
        expected = 9 * value if key in ("e_dt", "e_ot", "e_independent") else value
        assert after[key] == pytest.approx(expected, rel=1e-7, abs=1e-9, nan_ok=True), key


def test_amplitude_and_shift_of_the_student_leave_the_cosine_and_the_copy_index():
    P, E = np.random.default_rng(5).normal(size=(2, 80, 3))
    before, after = measure(P, P + E).values(), measure(P, 0.3 * (P + E) + 7.0).values()
    for key in ("pair_cosine", "copy_index", "identity_fraction"):
        assert after[key] == pytest.approx(before[key], abs=1e-10)


def test_a_copy_scores_perfectly_and_a_half_copy_in_between():
    P, other, Q = np.random.default_rng(6).normal(size=(3, 200, 8))
    copy = measure(P, P.copy(), reference=Q).values()
    perfect = {"delta_e": 0.0, "r2": 1.0, "copy_index": 1.0, "pair_auc": 1.0, "fidelity": 1.0}
    assert {key: copy[key] for key in perfect} == perfect
    assert copy["pair_cosine"] == pytest.approx(1.0, abs=1e-14)
    half = np.concatenate([other[:100], P[100:]])  # half of the pairs are fresh draws of the same law
    mixed = measure(P, half).values()
    assert 0.3 < mixed["pair_cosine"] < 0.7
    assert 0.5 <= mixed["recall_at_1"] < 0.6


@pytest.mark.parametrize("amplitude", [0.0, 1e-6, 0.09])
def test_a_collapsed_student_is_unresolved_not_a_copy(amplitude):
    P, other, Q = np.random.default_rng(7).normal(size=(3, 100, 4))
    report = measure(P, 5.0 + amplitude * other, reference=Q)
    for key in ("delta_e", "copy_index", "identity_fraction", "remap_angle"):
        assert math.isnan(report.values()[key])
        assert "collapsed" in report.metrics[key].reason
    assert report.values()["delta_e_ceiling"] < 0.1  # the reason why delta_e would have read 0
    assert report.values()["fidelity"] > 2
    assert math.isnan(report.values()["pair_cosine"]) == (amplitude == 0.0)
    assert amplitude > 0.0 or report.values()["pair_auc"] == 0.5
    assert any("collapsed" in sentence for sentence in report.in_words())


def test_a_faint_copy_keeps_its_cosine_and_is_collapsed_below_the_threshold_only():
    P = np.random.default_rng(8).normal(size=(100, 4)).astype(np.float32)
    faint = measure(P, np.float32(3.0) + np.float32(1e-4) * P).values()
    assert faint["pair_cosine"] == pytest.approx(1.0, abs=1e-3)
    assert math.isnan(faint["delta_e"])
    assert measure(P, 1.01 * math.sqrt(COLLAPSED_VARIANCE_RATIO) * P).values()["delta_e"] == 0.0


def test_a_constant_teacher_leaves_only_costs():
    values = measure(np.full((20, 3), 1e3), np.random.default_rng(10).normal(size=(20, 3))).values()
    assert {key for key, value in values.items() if not math.isnan(value)} == {"e_dt", "e_ot", "e_independent"}


def test_a_shuffled_copy_has_no_finite_delta_e_and_a_reference_that_repeats_the_teacher_is_not_fresh():
    P = np.random.default_rng(11).normal(size=(50, 2))
    report = measure(P, np.roll(P, 1, axis=0), reference=P[::-1])
    assert report.values()["e_ot"] == report.values()["identity_fraction"] == 0.0
    for key, reason in (("delta_e", "infinite"), ("delta_e_ceiling", "infinite"), ("fidelity", "fresh noise")):
        assert reason in report.metrics[key].reason
    assert abs(report.values()["copy_index"]) < 0.5


def test_fidelity_with_a_reference_of_another_size():
    rng = np.random.default_rng(13)
    P, G, Q = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)), rng.normal(size=(80, 2))
    doubled = measure(np.repeat(P, 2, axis=0), np.repeat(G, 2, axis=0), reference=Q).values()["fidelity"]
    assert measure(P, G, reference=Q).values()["fidelity"] == pytest.approx(doubled, rel=1e-9)


def test_the_intervals_cover_the_truth_as_often_as_they_say():
    rng, rho = np.random.default_rng(14), 0.6
    samples = [measure(*correlated(rng, 80, 2, rho)).metrics for _ in range(200)]
    truth = {"pair_cosine": rho, "e_dt": 4 * (1 - rho), "e_independent": 4.0, "variance_ratio": 1.0, "r2": 2 * rho - 1}
    truth["pair_auc"] = np.mean([metrics["pair_auc"].value for metrics in samples])
    for key, value in truth.items():
        assert 0.89 <= np.mean([metrics[key].low <= value <= metrics[key].high for metrics in samples]) <= 0.995, key


def test_the_words_tie_delta_e_to_its_ceiling_and_copying_to_fidelity():
    P, E, Q = np.random.default_rng(17).normal(size=(3, 300, 128))
    for student, reference, sentences in (
        (0.5 * P + E, None, ("at this n and d", "Fidelity is unknown", "saturated")),
        (0.1 * P + E, None, ("says little",)),
        (E, None, ("cannot be told from a random one",)),
        (3 * P, Q, ("its law is not that",)),
        (P, Q, ("rotated teacher",)),
    ):
        words = " ".join(measure(P, student, reference=reference).in_words())
        assert [sentence for sentence in sentences if sentence not in words] == []


def test_a_row_that_holds_nearly_all_the_spread_leaves_what_rests_on_the_others_unresolved():
    P, E = np.random.default_rng(18).normal(size=(2, 100, 2))
    G = 0.9 * P + 0.4 * E
    P[7] = G[7] = 1e10
    report = measure(P, G)
    for key in ("e_ot", "delta_e", "copy_index", "identity_fraction", "pair_auc", "recall_at_1"):
        assert "row 7 holds nearly all of the teacher's spread" in report.metrics[key].reason
    P[7] = G[7] = 1e5
    assert measure(P, G).metrics["identity_fraction"].resolved


def test_digits_that_were_lost_before_are_said():
    P, E = np.random.default_rng(19).normal(size=(2, 100, 2))
    G = 0.9 * P + 0.4 * E
    few = measure(P, (G + 1e4).astype(np.float32))
    assert any("student: numbers of size 1e+04 in float32 spread over only" in note for note in few.notes)
    assert few.values()["copy_index"] == pytest.approx(measure(P, G).values()["copy_index"], abs=1e-3)
    none = measure(P, (G + 1e7).astype(np.float32))
    for key in ("pair_cosine", "copy_index", "identity_fraction", "pair_auc"):
        assert "no more than float32 can tell" in none.metrics[key].reason
    assert measure(P, G + 1e8).metrics["copy_index"].resolved  # float64 holds it


def test_means_that_are_far_apart_are_said_for_the_measures_that_see_them():
    P, E = np.random.default_rng(20).normal(size=(2, 100, 2))
    notes = [measure(P, P + 0.5 * E + shift).notes for shift in (1.0, 1e3)]
    assert [any("nearly all this shift" in note for note in found) for found in notes] == [False, True]


@pytest.mark.parametrize("scale", [1e-60, 1e-6, 1.0, 1e60])
def test_a_reference_of_another_size_has_no_unit(scale):
    P, E = np.random.default_rng(21).normal(size=(2, 60, 2))
    Q = np.random.default_rng(22).normal(size=(40, 2))
    values = [measure(s * P, s * (P + E), reference=s * Q).values() for s in (1.0, scale)]
    assert values[1]["fidelity"] == pytest.approx(values[0]["fidelity"], rel=1e-9)


@pytest.mark.parametrize("order", range(5))
def test_copies_of_a_row_are_interchangeable_in_the_identity_fraction(order):
    """Few atoms, many copies: which copy a solver hands to whom is chance, and says nothing of the pairing."""
    rng = np.random.default_rng(order)
    P = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 50, axis=0)
    G = P + 0.01 * rng.normal(size=P.shape)
    G[[0, 60]] = G[[60, 0]]
    rows = rng.permutation(500)
    for T, S in ((P, G), (G, P)):
        assert measure(T[rows], S[rows]).metrics["identity_fraction"].value == 498 / 500
    signs = np.sign(rng.normal(size=(300, 1)))
    assert measure(signs, signs + 0.01 * rng.normal(size=(300, 1))).metrics["identity_fraction"].value == 1.0
    assert measure(signs, -signs).metrics["identity_fraction"].value == pytest.approx(abs(signs.mean()))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(small_clouds())
def test_the_identity_fraction_is_the_largest_of_all_pairings_as_cheap_and_bounded_by_the_least(clouds):
    P, G, _ = clouds
    report = measure(P, G)

    def matched(order):
        return list(zip(map(tuple, G.tolist()), map(tuple, P[list(order)].tolist()), strict=True))

    if (kept := report.metrics["identity_fraction"]).resolved:
        own, orders = Counter(matched(range(len(P)))), best_orders(P, G)[1]
        most = max(sum(i == j for i, j in enumerate(o)) for o in orders) / len(P)
        fewest = min((own & Counter(matched(o))).total() for o in orders) / len(P)  # copies being interchangeable
        assert kept.value == pytest.approx(most)
        least, greatest = kept.certain or (kept.value, kept.value)
        assert least <= fewest + 1e-9
        if not any("repeat" in note for note in report.notes):
            assert (least, greatest) == pytest.approx((fewest, most))
        assert (kept.certain is not None) == any("cost the same" in note for note in report.notes)


@pytest.mark.parametrize(("n", "sides", "seed"), [(8, (4, 4), 1), (90, (10, 12), 7)])
def test_pairings_of_a_lattice_that_cost_the_same_leave_the_identity_fraction_within_bounds(n, sides, seed):
    """No row repeats, and the order of rows, a turn and a shift of either array change no bound."""
    rng, lattice = np.random.default_rng(seed), np.argwhere(np.ones(sides)).astype(float)
    P, G = (lattice[rng.permutation(len(lattice))[:n]] for _ in range(2))
    found = measure(P, G).metrics["identity_fraction"]
    assert found.certain is not None
    assert found.value == found.certain[1] > found.certain[0]
    rows, turn = rng.permutation(n), np.linalg.qr(rng.normal(size=(2, 2)))[0]
    for T, S in ((P[rows], G[rows]), (P @ turn, G @ turn), (P + 1e6, G - 3.0), (np.float32(P), np.float32(G))):
        assert measure(T, S).metrics["identity_fraction"].certain == pytest.approx(found.certain)
    crossed = measure(P * [1, 0], G * [0, 1]).metrics["identity_fraction"]  # every pairing costs the same
    assert (crossed.value, crossed.certain[0]) == (1.0, pytest.approx(0.0, abs=0.5))


def test_two_rows_that_cost_the_same_in_either_order_have_no_copy_index_however_far_they_are():
    P, E = np.random.default_rng(0).normal(size=(2, 6, 2, 3))
    for p, g in zip(P + 1e6, E - 3e6, strict=True):
        g = (
            g if (p * g).sum() < (p * g[::-1]).sum() else g[::-1]
        )  # the exchange is the best pairing, and the random one
        assert not measure(p, g).metrics["copy_index"].resolved
    exchanged = [
        measure(p, p[::-1]).values()["e_independent"] for p in np.random.default_rng(1).normal(size=(20, 2, 9))
    ]
    assert min(exchanged) >= 0.0
    assert max(exchanged) < 1e-14


def test_without_copies_the_identity_fraction_is_that_of_the_pairing_found():
    P, E = np.random.default_rng(3).normal(size=(2, 300, 2))
    G = P + 0.3 * E
    kept = float((assignment(P, G).permutation == np.arange(300)).mean())
    assert measure(P, G).metrics["identity_fraction"].value == kept
    assert 0.1 < kept < 0.9


@pytest.mark.parametrize("scale", [1.0, 50.0])  # from 4 on each cloud has a unit of its own
def test_intervals_are_those_of_the_measures_without_each_row(scale):
    """The jackknife by measuring anew, of clouds whose means differ."""
    rng = np.random.default_rng(5)
    P, E = rng.standard_normal((2, 9, 2))
    G = scale * (0.6 * P + 0.6 * E + [1.0, -0.5])
    keys = ("e_dt", "e_independent", "pair_cosine", "r2", "variance_ratio", "pair_auc")
    report = measure(P, G)
    without = [measure(np.delete(P, row, 0), np.delete(G, row, 0)).values() for row in range(9)]
    for key in keys:
        found, own = report.metrics[key], np.array([values[key] for values in without])
        expected = jackknife_interval(found.value, own, METRICS[key].bounds)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-9), key
