"""Exact transport: distances that survive cancellation, solvers against each other, loud failures."""

import subprocess
import sys

import lap
import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from dmdlab.cli.app import main
from dmdlab.config import InputError
from dmdlab.transport import (
    Frame,
    TransportError,
    assignment,
    exact,
    nearest_rows,
    solved,
    squared_distances,
    transport_cost,
)
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


@pytest.mark.parametrize("limit", [1500, 30])  # a matrix in float64, one in float32
@pytest.mark.parametrize("d", [1, 2, 16])
def test_neither_a_shift_nor_a_scale_decides_the_pairing(monkeypatch, limit, d):
    monkeypatch.setattr(exact, "FLOAT64_LIMIT", limit)
    P, G = clouds("correlated", 60, d, np.random.default_rng(d))
    plain, direction = assignment(P, G), np.linspace(1.0, 2.0, d)
    for shift in (1e3, 1e7):
        moved = assignment(P, G + shift * direction)
        np.testing.assert_array_equal(moved.permutation, plain.permutation)
        assert moved.within == pytest.approx(plain.within, rel=1e-14 * shift + 1e-12)
        assert moved.cost == pytest.approx(plain.within + ((P - G - shift * direction).mean(axis=0) ** 2).sum())
    for scale in (1e-30, 1e-6, 1e30):
        scaled = assignment(scale * P, scale * G)
        np.testing.assert_array_equal(scaled.permutation, plain.permutation)
        assert scaled.cost == pytest.approx(scale**2 * plain.cost, rel=1e-12)
    for own in (1e-10, 1e10):  # the pairing depends on inner products alone
        np.testing.assert_array_equal(assignment(P, own * G).permutation, plain.permutation)


@pytest.mark.parametrize("far", [1e4, 1e6])
def test_a_row_that_is_far_out_leaves_the_others_their_digits(monkeypatch, far):
    """Beside it float32, in which a matrix of this size is stored here, would keep nothing of them."""
    monkeypatch.setattr(exact, "FLOAT64_LIMIT", 30)
    P, G = clouds("correlated", 300, 2, np.random.default_rng(9))
    alone = assignment(P[1:], G[1:])
    P[0] = G[0] = far
    both = assignment(P, G)
    assert 300 * both.lower <= 299 * alone.cost * (1 + 1e-12) <= 300 * both.upper * (1 + 1e-9)
    assert 300 * both.cost == pytest.approx(299 * alone.cost, rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1e8])
def test_the_nearest_point_is_found_however_far_the_clouds_are(shift):
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=(300, 4)), rng.normal(size=(70, 4))
    a, b = a * [1, 1, 1, 0], b * [1, 1, 1, 0]  # a shift that is the same to all of them
    far = a + shift * np.array([0, 0, 0, 1.0])
    np.testing.assert_array_equal(nearest_rows(far, b), cdist(a, b).argmin(axis=1))
    along = nearest_rows(a + 1e8, b)
    np.testing.assert_array_equal(along, np.full(300, b.sum(axis=1).argmax()))


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_clouds_of_unequal_size_have_no_unit(scale):
    a, b = np.random.default_rng(11).normal(size=(60, 2)), np.random.default_rng(12).normal(size=(40, 2))
    solved = transport_cost(scale * a, scale * b + 1e3 * scale)
    plain = transport_cost(a, b)
    assert solved.within == pytest.approx(scale**2 * plain.within, rel=1e-9)
    assert solved.gap <= 1e-9


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


def test_a_command_whose_transport_is_not_solved_ends_with_a_sentence(monkeypatch, tmp_path, capsys):
    def broken(*_, return_cost):
        raise RuntimeError("internal error")

    monkeypatch.setattr(lap, "lapjvr", broken)
    paths = [tmp_path / name for name in ("P.npy", "G.npy")]
    for path, cloud in zip(paths, np.random.default_rng(7).normal(size=(2, 40, 2)), strict=True):
        np.save(path, cloud)
    monkeypatch.setattr(sys, "argv", ["dmdlab", "measure", *map(str, paths)])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err
    assert "dmdlab: lapjvr failed on a 40 x 40 assignment: internal error; e_ot is unknown." in said
    assert "Traceback" not in said


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


def test_unequal_sizes_beyond_the_dense_limit_are_refused_in_words():
    for n, m in ((30_000, 29_999), (20_000, 5_001)):
        with pytest.raises(InputError, match="give one of as many rows"):
            transport_cost(np.zeros((n, 2)), np.zeros((m, 2)))
    assert transport_cost(np.zeros((30_000, 2)), np.ones((3, 2))).cost == 2.0
