"""Uncertainty within a run: delete-half intervals."""

import numpy as np
import pytest
from near import correlated

from dmdlab.config import InputError
from dmdlab.pairing import Pairs, measure_pairs, with_intervals


def sample(rng, n=120):
    return Pairs.of(*correlated(rng, n, 3, 0.7), reference=rng.normal(size=(n, 3)))


def test_every_resolved_measure_has_an_interval_around_its_value():
    pairs = sample(np.random.default_rng(0))
    before = measure_pairs(pairs)
    after = with_intervals(before, pairs, rng=np.random.default_rng(1), resamples=10)
    assert after.values() == pytest.approx(before.values(), nan_ok=True)
    for key, measured in after.metrics.items():
        if measured.resolved:
            assert measured.low <= measured.value <= measured.high, key
            assert measured.high > measured.low, key
        if before.metrics[key].low is not None:
            assert measured == before.metrics[key]
    collapsed = Pairs.of(pairs.teacher, np.ones_like(pairs.teacher))  # what is unresolved gets none
    measured = with_intervals(measure_pairs(collapsed), collapsed, rng=np.random.default_rng(4), resamples=3).metrics
    assert measured["delta_e"].low is None
    assert "collapsed" in measured["delta_e"].reason
    again = with_intervals(before, pairs, rng=np.random.default_rng(1), resamples=10)
    assert again.metrics["delta_e"] == after.metrics["delta_e"]


def test_the_width_is_students_for_so_few_halves():
    pairs, halves = sample(np.random.default_rng(0), n=40), []

    def watched(given):
        halves.extend(given)
        return halves

    found = with_intervals(measure_pairs(pairs), pairs, rng=np.random.default_rng(1), resamples=3, watch=watched)
    for half in halves:  # each row once, with its partner; of the reference a half, too
        rows = [np.flatnonzero((pairs.teacher == row).all(axis=1)).item() for row in half.teacher]
        assert len(set(rows)) == len(rows) == 20
        np.testing.assert_array_equal(half.student, pairs.student[rows])
        assert half.reference is not None
        assert np.unique(half.reference, axis=0).shape == (20, 3)
    spread = np.std([measure_pairs(half).values()["e_ot"] for half in halves], ddof=1)
    e_ot = found.metrics["e_ot"]
    assert e_ot.high - e_ot.value == pytest.approx(4.302652730 * spread)  # of two degrees of freedom, 97.5 %


@pytest.mark.slow
def test_the_intervals_of_transported_measures_cover_their_mean():
    rng = np.random.default_rng(2)
    samples = (sample(rng, n=60) for _ in range(60))
    found = [with_intervals(measure_pairs(pairs), pairs, rng=rng, resamples=12).metrics for pairs in samples]
    for key in ("e_ot", "delta_e", "copy_index", "fidelity", "debiased_cost"):
        value, low, high = np.array([(m[key].value, m[key].low, m[key].high) for m in found]).T
        assert ((low <= value.mean()) & (value.mean() <= high)).mean() >= 0.85, key
        assert (high - low).mean() < 8 * value.std(), key  # and they are not just wide


def test_wrong_calls_are_sentences():
    rng = np.random.default_rng(0)
    pairs = sample(rng, n=10)
    with pytest.raises(InputError, match="4 rows"):
        with_intervals(measure_pairs(pairs), pairs, rng=rng, resamples=1)
