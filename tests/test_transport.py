"""Exact transport: distances that survive cancellation, solvers against each other, loud failures."""

import subprocess
import sys

import lap
import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from dmdlab.config import InputError
from dmdlab.transport import Frame, TransportError, assignment, solved, squared_distances, transport_cost
from dmdlab.transport.certified import certified_interval
from dmdlab.transport.distances import filled
from dmdlab.transport.exact import identity_is_optimal


def clouds(structure, n, d, rng):
    """Teacher and student clouds (n, d) of the structures that pairings really have."""
    P, E = rng.normal(size=(2, n, d))
    if structure == "independent":
        return P, E
    if structure == "near-copies":
        return P, P + 1e-3 * E
    if structure == "shuffled near-copies":
        return P, (P + 1e-3 * E)[rng.permutation(n)]
    if structure == "clusters":
        centres = 5 * rng.normal(size=(4, d))
        return tuple(centres[rng.integers(4, size=n)] + 0.05 * x for x in (P, E))
    if structure == "duplicates":
        return P[rng.integers(5, size=n)], E[rng.integers(5, size=n)]
    if structure == "constant":
        return P, np.ones_like(P)
    return P, 0.5 * P + E  # correlated


STRUCTURES = ("independent", "near-copies", "shuffled near-copies", "clusters", "duplicates", "constant", "correlated")


@pytest.mark.parametrize("d", [1, 2, 16, 300])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_cost_is_the_reference_solvers(structure, d):
    P, G = clouds(structure, 120, d, np.random.default_rng(d))
    matrix = ((G[:, None] - P[None]) ** 2).sum(-1)
    rows, columns = linear_sum_assignment(matrix)
    solved = assignment(P, G)
    assert solved.cost == pytest.approx(matrix[rows, columns].mean(), rel=1e-10, abs=1e-13)
    assert sorted(solved.permutation) == list(range(120))
    assert solved.cost == pytest.approx(((P[solved.permutation] - G) ** 2).sum(1).mean(), rel=1e-12)
    assert solved.cost <= ((P - G) ** 2).sum(1).mean() * (1 + 1e-12)
    assert (solved.gap, solved.lower, solved.upper) == (0.0, solved.cost, solved.cost)


def test_the_solver_is_chosen_by_structure():
    rng = np.random.default_rng(0)
    P, E = rng.normal(size=(2, 200, 32))
    order = rng.permutation(200)
    assert assignment(P, P + 0.1 * E).solver == "identity"
    assert assignment(P[order], P + 0.1 * E).solver == "argmin"
    assert assignment(P, E).solver == "lapjvr"
    assert assignment(P[:, :1], E[:, :1]).solver == "sort"
    np.testing.assert_array_equal(assignment(P[order], P + 0.1 * E).permutation[order], np.arange(200))
    # about the means, the middle teacher output is the nearest to all students
    P, G = np.array([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0]]), np.array([[4.0, 0.0], [5.0, 0.0], [2.0, 0.0]])
    solved = assignment(P, G)
    assert (solved.solver, solved.permutation.tolist(), 3 * solved.cost) == ("lapjvr", [1, 2, 0], pytest.approx(38.0))


def test_the_fast_accept_never_says_yes_by_rounding():
    """Two teacher outputs nearer to each other than float32 can tell: the student's are exchanged."""
    P = np.random.default_rng(1).normal(size=(64, 8))
    P[1] = P[0] + 1e-9
    G = P[[1, 0, *range(2, 64)]]
    assert not identity_is_optimal(Frame.of(P, G))
    np.testing.assert_array_equal(assignment(P, G).permutation[:2], [1, 0])


def test_distances_of_near_copies_far_from_the_origin():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(50, 6))
    b = a + 1e-5 * rng.normal(size=(50, 6))
    exact = ((a[:, None] - b[None]) ** 2).sum(-1)
    found = squared_distances(a + 1e6, b + 1e6)
    assert found.min() >= 0.0
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-9)  # what adding 1e6 leaves of the inputs


def test_distances_that_need_several_blocks():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(270, 3)).astype(np.float32), rng.normal(size=(4100, 3))
    np.testing.assert_allclose(squared_distances(a, b), cdist(a, b, "sqeuclidean"), rtol=1e-9, atol=1e-12)
    assert squared_distances(a, b[:5], np.float32).dtype == np.float32


def test_matrices_in_float32_stay_within_the_stated_gap():
    P, G = clouds("clusters", 300, 4, np.random.default_rng(4))
    reference, frame = assignment(P, G), Frame.of(P, G)
    rounded = solved(frame, filled(frame.blocks(), 300, 300, np.float32))
    assert 0 < rounded.gap < 1e-6
    assert rounded.lower <= reference.cost <= rounded.upper


@pytest.mark.parametrize(("n", "m"), [(30, 60), (60, 30), (25, 40)])
def test_unequal_sizes_by_splitting_points(n, m):
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    size = np.lcm(n, m)
    split = assignment(np.repeat(a, size // n, axis=0), np.repeat(b, size // m, axis=0))
    solved = transport_cost(a, b)
    assert solved.cost == pytest.approx(split.cost, rel=1e-9)
    assert solved.permutation is None
    assert solved.lower <= solved.cost <= solved.upper


IDENTITY, ZEROS = np.arange(40), np.zeros(40, int)


@pytest.mark.parametrize(
    ("solve", "name", "answer", "message"),
    [
        (solved, "lapjvr", (IDENTITY, ZEROS), "no permutation"),
        (solved, "lapjvr", (IDENTITY[:39], IDENTITY[:39]), "no permutation"),
        (solved, "lapjvr", (IDENTITY, ZEROS - 1), "no permutation"),
        (solved, "lapjvr", (IDENTITY[::-1], IDENTITY), "no permutation"),
        (solved, "lapjvr", RuntimeError("internal error"), "internal error"),
        (certified_interval, "lapmod", (ZEROS, ZEROS), "no permutation"),
        (certified_interval, "lapmod", ValueError("internal error"), "internal error"),
    ],
)
def test_a_solver_that_fails_or_returns_no_permutation_raises(monkeypatch, solve, name, answer, message):
    def broken(*_, return_cost):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(lap, name, broken)
    with pytest.raises(TransportError, match=message):
        solve(Frame.of(*np.random.default_rng(6).normal(size=(2, 40, 2))))


@pytest.mark.parametrize("limit", [1, 50])
def test_an_unconverged_network_simplex_raises(monkeypatch, limit):
    """POT itself only warns: at its default limit the cost was up to 4 % too high."""
    emd = ot.emd
    monkeypatch.setattr(ot, "emd", lambda *clouds, numItermax, log: emd(*clouds, numItermax=limit, log=log))
    a, b = np.random.default_rng(8).normal(size=(2, 200, 2))
    with pytest.raises(TransportError, match="did not converge"):
        transport_cost(a, b[:150])


def test_unequal_shapes_are_refused():
    for solve in (assignment, lambda P, G: certified_interval(Frame.of(P, G))):
        with pytest.raises(InputError, match="equal shape"):
            solve(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(InputError, match="equal dimensions"):
        transport_cost(np.ones((3, 2)), np.ones((3, 1)))


def test_the_room_is_imported_without_torch_or_solvers():
    """`dmdlab --help` and the figures read the glossary; they must not pay for solvers."""
    code = "import sys, dmdlab.pairing; print([m for m in ('torch', 'ot', 'lap', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
