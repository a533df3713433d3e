"""Where partners stand, row by row and block by block, against the whole matrix of distances."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dmdlab.pairing.ranks import Ranks
from dmdlab.transport import Frame, frame


@pytest.mark.parametrize("ties", [True, False])
def test_ranks_of_many_blocks_are_those_of_the_whole_matrix(ties: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "BLOCK_BYTES", 0)  # of 64 rows, the least
    rng, n = np.random.default_rng(0), 150
    P, G = rng.normal(size=(2, n, 2)) * [3.0, 1.0] + [[[1.0, 0.0]], [[0.0, 2.0]]]
    G = 0.5 * P + G
    if ties:
        P, G = np.round(P), np.round(G)  # exact sums: whoever is as near is as near to the last digit
    square, others = cdist(G, P, "sqeuclidean"), ~np.eye(n, dtype=bool)
    own = np.diag(square)[:, None]
    beaten = np.where(others, (square > own) + 0.5 * (square == own), 0.0)  # [student, teacher]
    found = Ranks.within(Frame.of(P, G))
    np.testing.assert_array_equal(found.nearer, (square < own).sum(axis=1))
    np.testing.assert_array_equal(found.tied, ((square == own) & others).sum(axis=1))
    np.testing.assert_array_equal(found.beaten_by_row, beaten.sum(axis=1))
    np.testing.assert_array_equal(found.beaten_by_column, beaten.sum(axis=0))
    assert found.tied.any() == ties
    whole, without = found.auc()
    assert whole == pytest.approx(beaten.sum() / (n * (n - 1)))
    for row in (0, 40, 149):
        kept = np.delete(np.delete(beaten, row, 0), row, 1)
        assert without[row] == pytest.approx(kept.sum() / ((n - 1) * (n - 2)))
    p, g = P - P.mean(axis=0), G - G.mean(axis=0)
    inner = ((p @ g.T) ** 2).sum() / Frame.of(P, G).exchange ** 2
    assert found.inner_square == pytest.approx(inner, rel=1e-9)


def test_a_partner_among_equals_is_the_nearest_as_often_as_chance_picks_it() -> None:
    angle = np.linspace(0.0, 2 * np.pi, 8, endpoint=False)
    P = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert Ranks.of(P, 0.5 * P).recall(1) == 1.0
    twice = Ranks.of(np.repeat(P, 2, axis=0), np.repeat(0.5 * P, 2, axis=0))  # as near to the partner's copy
    assert [twice.recall(k) for k in (1, 1.5, 2)] == [0.5, 0.75, 1.0]


def test_copies_cost_exactly_nothing_on_the_diagonal() -> None:
    P = 1e3 + np.random.default_rng(1).normal(size=(70, 5))
    cost = Ranks.within(Frame.of(P, P.copy())).cost
    assert cost is not None
    assert not cost.diagonal().any()


def test_two_rows_leave_no_pair_of_others() -> None:
    P, G = np.random.default_rng(2).normal(size=(2, 2, 3))
    assert Ranks.of(P, G).auc()[1].tolist() == [0.0, 0.0]


def test_differences_that_float32_can_tell_are_no_ties() -> None:
    """Two teacher outputs whose distances to a student's differ by a ten-millionth."""
    P = np.array([[1.0, 0.0], [-1.0 - 1e-7, 0.0], [0.0, 3.0]])
    G = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 3.0]])
    found = Ranks.of(P, G)
    assert found.tied.tolist() == [0, 0, 0]
    assert found.nearer.tolist() == [0, 1, 0]
