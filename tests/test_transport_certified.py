"""Transport beyond the dense solver: the certified interval contains the exact cost, whatever the structure."""

import lap
import numpy as np
import pytest
from test_transport import STRUCTURES, clouds

from dmdlab.config import InputError
from dmdlab.pairing import measure, metrics
from dmdlab.transport import Engine, TransportError, assignment, solve
from dmdlab.transport.certified import certified_interval
from dmdlab.transport.engine import nearest_reduced, soft_minimum
from dmdlab.transport.weighted import repeated_points


def instances():
    """112 random problems: every structure in 1, 2, 16 and 256 dimensions, four sizes of each."""
    rng = np.random.default_rng(0)
    sizes = [int(n) for n in rng.integers(2, 201, size=112)]
    shapes = [(structure, d) for d in (1, 2, 16, 256) for structure in STRUCTURES]
    return [(i, n, *shapes[i % len(shapes)]) for i, n in enumerate(sizes)]


@pytest.mark.parametrize("part", range(4))
def test_the_interval_contains_the_exact_cost(part):
    for seed, n, structure, d in instances()[part::4]:
        P, G = clouds(structure, n, d, np.random.default_rng(seed))
        exact, found = assignment(P, G).cost, certified_interval(P, G)
        name = f"{structure}, n = {n}, d = {d}"
        assert found.lower <= exact * (1 + 1e-12), name
        assert exact <= found.upper * (1 + 1e-12), name
        assert sorted(found.permutation) == list(range(n)), name
        assert found.upper == pytest.approx(((P[found.permutation] - G) ** 2).sum(1).mean(), rel=1e-12), name
        assert found.gap <= 1e-3 or exact < 1e-12 * (P**2).sum(1).mean(), name


@pytest.mark.parametrize("structure", ["independent", "clusters", "correlated"])
def test_the_interval_closes_when_asked_to(structure):
    P, G = clouds(structure, 250, 8, np.random.default_rng(1))
    found = certified_interval(P, G, relative_gap=1e-10)
    assert found.gap <= 1e-10
    assert found.cost == pytest.approx(assignment(P, G).cost, rel=1e-9)


def test_without_time_the_interval_is_wide_but_certified():
    P, G = clouds("clusters", 300, 2, np.random.default_rng(2))
    hurried, exact = certified_interval(P, G, budget_seconds=0.0), assignment(P, G).cost
    assert hurried.lower <= exact <= hurried.upper
    assert hurried.gap > certified_interval(P, G).gap


def test_no_dual_ever_exceeds_the_cost():
    """The certificate does not trust the duals it is given, here noise from a broken soft minimum."""
    P, G = clouds("independent", 100, 3, np.random.default_rng(3))
    wild = np.random.default_rng(4)
    broken = Engine(lambda rows, *_: 10 * wild.normal(size=len(rows)).astype(np.float32), nearest_reduced)
    found = certified_interval(P, G, budget_seconds=0.0, engine=broken)
    assert found.gap > 0
    assert found.lower <= assignment(P, G).cost <= found.upper


def test_the_passes_are_what_they_say():
    rng = np.random.default_rng(5)
    rows, columns, v = rng.normal(size=(70, 3)), rng.normal(size=(101, 3)), rng.normal(size=101)
    reduced = ((rows[:, None] - columns[None]) ** 2).sum(-1) - v
    smallest, chosen = nearest_reduced(rows, columns, v, 5)
    np.testing.assert_allclose(smallest, reduced.min(axis=1), atol=1e-12)
    assert all(len(set(row)) == 5 for row in chosen)
    assert all(reduced[i].argmin() in chosen[i] for i in range(70))
    soft = soft_minimum(rows.astype(np.float32), columns.astype(np.float32), v.astype(np.float32), 0.2)
    np.testing.assert_allclose(soft, -0.2 * np.log(np.exp(-reduced / 0.2).sum(axis=1)), atol=1e-4)
    assert np.all(soft <= reduced.min(axis=1) + 1e-5)


def test_the_passes_may_come_from_another_engine():
    P, G = clouds("independent", 80, 3, np.random.default_rng(6))
    calls = []

    def soft(*arguments):
        calls.append("soft")
        return soft_minimum(*arguments)

    def nearest(*arguments):
        calls.append("nearest")
        return nearest_reduced(*arguments)

    assert certified_interval(P, G, engine=Engine(soft, nearest)).cost == certified_interval(P, G).cost
    assert set(calls) == {"soft", "nearest"}


def test_assignment_goes_beyond_the_dense_limit(monkeypatch):
    monkeypatch.setattr(solve, "DENSE_LIMIT", 100)
    for structure, solver in (
        ("independent", "certified"),
        ("duplicates", "emd"),
        ("shuffled near-copies", "certified"),
        ("near-copies", "identity"),
    ):
        P, G = clouds(structure, 200, 16, np.random.default_rng(7))
        found = assignment(P, G)
        monkeypatch.setattr(solve, "DENSE_LIMIT", 1000)
        exact = assignment(P, G)
        monkeypatch.setattr(solve, "DENSE_LIMIT", 100)
        assert found.solver == solver
        assert found.lower * (1 - 1e-12) <= exact.cost <= found.upper * (1 + 1e-12)
        assert found.gap <= 1e-3


def test_measure_beyond_the_dense_limit_keeps_no_matrix_and_notes_the_gap(monkeypatch):
    P, G = clouds("independent", 200, 4, np.random.default_rng(8))
    exact = measure(P, G)
    monkeypatch.setattr(solve, "DENSE_LIMIT", 100)
    monkeypatch.setattr(metrics, "DENSE_LIMIT", 100)
    report = measure(P, G)
    assert report.transport["e_ot"].solver == "certified"
    assert report.values()["delta_e"] == pytest.approx(exact.values()["delta_e"], rel=5e-3)
    for key in ("pair_auc", "recall_at_10", "e_independent"):
        assert report.values()[key] == exact.values()[key]
    assert report.chance_sd == exact.chance_sd
    assert (report.transport["e_ot"].gap > 1e-6) == any("lies between" in note for note in report.notes)


@pytest.mark.parametrize("d", [1, 2, 16])
def test_repeated_points_are_matched_as_weights(d):
    rng = np.random.default_rng(d)
    P, G = rng.normal(size=(2, 9, d))
    P, G = P[rng.integers(9, size=150)], G[rng.integers(9, size=150)]
    permutation, lower = repeated_points(P, G)
    exact = assignment(P, G).cost
    assert sorted(permutation) == list(range(150))
    assert ((P[permutation] - G) ** 2).sum(1).mean() == pytest.approx(exact, rel=1e-10)
    assert lower == pytest.approx(exact, rel=1e-9)
    assert repeated_points(*rng.normal(size=(2, 150, d))) is None


def test_a_failing_sparse_solver_raises(monkeypatch):
    P, G = clouds("independent", 40, 2, np.random.default_rng(9))
    monkeypatch.setattr(lap, "lapmod", lambda n, *_, return_cost: (np.zeros(n, int), np.zeros(n, int)))
    with pytest.raises(TransportError, match="no permutation"):
        certified_interval(P, G)

    def fail(*_, return_cost):
        raise ValueError("internal error")

    monkeypatch.setattr(lap, "lapmod", fail)
    with pytest.raises(TransportError, match="internal error"):
        certified_interval(P, G)


def test_unequal_clouds_are_refused():
    with pytest.raises(InputError, match="equal shape"):
        certified_interval(np.ones((3, 2)), np.ones((4, 2)))


@pytest.mark.slow
def test_twenty_thousand_points_to_one_percent():
    """Closes in about a minute on two cores, in far less than the 1.6 GB of the matrix."""
    P, G = np.random.default_rng(10).normal(size=(2, 20_000, 64)).astype(np.float32)
    found = assignment(P, G, relative_gap=1e-2)
    assert found.solver == "certified"
    assert found.gap <= 1e-2
