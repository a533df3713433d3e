"""Transport beyond the dense solver: the certified interval contains the exact cost, whatever the structure and whoever
makes the passes over all pairs, numpy or torch."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from test_transport import STRUCTURES, clouds

from dmdlab.pairing import measure, metrics
from dmdlab.pairing.certificate import fidelity
from dmdlab.transport import Engine, Frame, Transport, assignment, certified, on_gpu, solve
from dmdlab.transport.certified import certified_interval
from dmdlab.transport.engine import NUMPY
from dmdlab.transport.weighted import repeated_points

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture(params=["numpy", "cpu", pytest.param("cuda", marks=[pytest.mark.cuda, GPU])])
def engine(request, monkeypatch):
    """numpy's engine or a device's, with blocks so small that the clouds below need several."""
    monkeypatch.setattr(on_gpu, "BLOCK_NUMBERS", {"cpu": 2000, "cuda": 2000})
    return NUMPY if request.param == "numpy" else on_gpu.torch_engine(torch.device(request.param))


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
        exact, found = assignment(P, G).cost, certified_interval(Frame.of(P, G))
        name = f"{structure}, n = {n}, d = {d}"
        assert found.lower <= exact * (1 + 1e-12), name
        assert exact <= found.upper * (1 + 1e-12), name
        assert sorted(found.permutation) == list(range(n)), name
        assert found.upper == pytest.approx(((P[found.permutation] - G) ** 2).sum(1).mean(), rel=1e-12), name
        assert found.gap <= 1e-3 or exact < 1e-12 * (P**2).sum(1).mean(), name


@pytest.mark.parametrize("structure", ["independent", "clusters", "correlated"])
def test_the_interval_closes_when_asked_to(structure, engine):
    P, G = clouds(structure, 250, 8, np.random.default_rng(1))
    found = certified_interval(Frame.of(P, G), relative_gap=1e-10, engine=engine)
    assert found.gap <= 1e-10
    assert found.cost == pytest.approx(assignment(P, G).cost, rel=1e-9)


def test_without_time_the_interval_is_wide_but_certified():
    P, G = clouds("clusters", 300, 2, np.random.default_rng(2))
    hurried, exact = certified_interval(Frame.of(P, G), budget_seconds=0.0), assignment(P, G).cost
    assert hurried.lower <= exact <= hurried.upper
    assert hurried.gap > certified_interval(Frame.of(P, G)).gap


@pytest.mark.parametrize("structure", ["independent", "clusters", "correlated", "near-copies"])
@pytest.mark.parametrize("d", [2, 16])
def test_what_the_certificate_leaves_open_holds_the_optimal_pairing(structure, d, engine):
    """An interval that is narrow for the cost is wide for the share of rows left in place, and says so."""
    P, G = clouds(structure, 150, d, np.random.default_rng(d))
    exact = (assignment(P, G).permutation == np.arange(150)).mean()
    widths = []
    for gap in (0.5, 1e-2, 1e-3):
        found = certified_interval(Frame.of(P, G), relative_gap=gap, engine=engine)
        low, high = found.kept or (exact, exact)
        assert 0.0 <= low <= exact <= high <= 1.0
        assert low <= (found.permutation == np.arange(150)).mean() <= high
        widths.append(high - low)
    assert widths[2] <= widths[0]


def test_a_row_far_out_does_not_make_an_open_pairing_of_the_others_a_certain_one():
    """Beside its cost the slack is nothing, and yet all that the others cost."""
    rng = np.random.default_rng(1)
    P, E = rng.standard_normal((2, 60, 2))
    G = 0.5 * P + 0.8 * E
    P[0] *= 1e6
    G[3] *= 1e6
    exact = (assignment(P, G).permutation == np.arange(60)).mean()
    found = certified_interval(Frame.of(P, G))
    assert found.gap < 1e-9
    assert found.kept is not None
    assert found.kept[0] <= exact <= found.kept[1]


def test_a_shift_neither_narrows_the_interval_nor_ends_it_early():
    P, G = clouds("correlated", 300, 2, np.random.default_rng(5))
    near, far = (certified_interval(Frame.of(P, G + shift)) for shift in (0.0, 1e6))
    assert far.gap == pytest.approx(near.gap, rel=1e-3, abs=1e-9)
    assert (far.permutation == near.permutation).mean() > 0.9


def test_no_dual_ever_exceeds_the_cost():
    """The certificate does not trust the duals it is given, here noise from a broken soft minimum."""
    P, G = clouds("independent", 100, 3, np.random.default_rng(3))
    wild = np.random.default_rng(4)
    broken = Engine(lambda rows, *_: 10 * wild.normal(size=len(rows)).astype(np.float32), NUMPY.nearest)
    found = certified_interval(Frame.of(P, G), budget_seconds=0.0, engine=broken)
    assert found.gap > 0
    assert found.lower <= assignment(P, G).cost <= found.upper


@pytest.mark.parametrize(("n", "m", "d", "k"), [(1, 1, 1, 1), (70, 101, 3, 12), (129, 65, 17, 5), (5, 3, 2, 3)])
def test_the_passes_over_all_pairs_are_what_they_say(n, m, d, k, engine):
    rng = np.random.default_rng(n + m)
    rows, columns, v = rng.normal(size=(n, d)), rng.normal(size=(m, d)), rng.normal(size=m)
    reduced = ((rows[:, None] - columns[None]) ** 2).sum(-1) - v
    smallest, chosen = engine.nearest(rows, columns, v, k)
    np.testing.assert_allclose(smallest, reduced.min(axis=1), atol=1e-10)
    assert chosen.shape == (n, k)
    assert all(len(set(row)) == k for row in chosen.tolist())
    assert all(reduced[i].argmin() in chosen[i] for i in range(n))
    soft = engine.soft(*(x.astype(np.float32) for x in (rows, columns, v)), 0.2)
    np.testing.assert_allclose(soft, -0.2 * logsumexp(-reduced / 0.2, axis=1), rtol=1e-5, atol=1e-4)
    assert np.all(soft <= reduced.min(axis=1) + 1e-5)


@pytest.mark.parametrize(
    ("structure", "solver"),
    [
        ("independent", "certified"),
        ("duplicates", "emd"),
        ("shuffled near-copies", "certified"),
        ("near-copies", "identity"),
    ],
)
def test_assignment_goes_beyond_the_dense_limit(monkeypatch, structure, solver):
    P, G = clouds(structure, 200, 16, np.random.default_rng(7))
    exact = assignment(P, G)
    monkeypatch.setattr(solve, "DENSE_LIMIT", 100)
    found = assignment(P, G)
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


def test_measures_of_an_open_interval_carry_the_bounds_that_it_implies(monkeypatch):
    rng = np.random.default_rng(11)
    P, G = clouds("correlated", 200, 2, rng)
    Q = rng.normal(size=(200, 2))
    exact = measure(P, G, reference=Q).values()
    for module in (solve, metrics):
        monkeypatch.setattr(module, "DENSE_LIMIT", 100)
    monkeypatch.setattr(certified, "ROUNDS", 1)
    report = measure(P, G, reference=Q)
    for key in ("e_ot", "delta_e", "delta_e_ceiling", "copy_index", "identity_fraction", "fidelity"):
        low, high = report.metrics[key].certain
        assert low <= exact[key] <= high, key
        assert low <= report.values()[key] <= high, key
        assert low < high, key
        assert report.to_dict()["metrics"][key]["certain"] == [low, high]
    assert any("identity_fraction is that of the pairing found" in note for note in report.notes)
    assert report.metrics["pair_cosine"].certain is None


@pytest.mark.parametrize("d", [1, 2, 16])
def test_repeated_points_are_matched_as_weights(d):
    rng = np.random.default_rng(d)
    P, G = (x[rng.integers(9, size=150)] for x in rng.normal(size=(2, 9, d)))
    permutation, slack = repeated_points(Frame.of(P, G))
    exact = assignment(P, G).cost
    assert sorted(permutation) == list(range(150))
    assert ((P[permutation] - G) ** 2).sum(1).mean() == pytest.approx(exact, rel=1e-10)
    assert slack < 1e-9
    assert repeated_points(Frame.of(*rng.normal(size=(2, 150, d)))) is None


@pytest.mark.slow
def test_twenty_thousand_points_to_one_percent():
    """Closes in about a minute on two cores, in far less than the 1.6 GB of the matrix."""
    P, G = np.random.default_rng(10).normal(size=(2, 20_000, 64)).astype(np.float32)
    found = assignment(P, G, relative_gap=1e-2)
    assert found.solver == "certified"
    assert found.gap <= 1e-2


def test_a_fidelity_of_two_open_intervals_lies_between_the_quotients_of_opposite_ends():
    student, teacher = (Transport(c, None, "certified", 0.1, 0.9 * c, c, c) for c in (3.0, 2.0))
    found = fidelity(student, teacher)
    assert found.value == 1.5
    assert found.certain == pytest.approx((2.7 / 2.0, 3.0 / 1.8))
