"""Sliced and Sinkhorn fidelity: closed forms, 1 for equal laws, above 1 otherwise, and an unconverged call raises."""

import numpy as np
import ot
import pytest

from dmdlab.pairing import TransportError, assignment, fidelity
from dmdlab.pairing.fidelity import (
    random_directions,
    sinkhorn_divergence,
    sinkhorn_fidelity,
    sliced_cost,
    sliced_fidelity,
)


def test_the_sliced_cost_of_a_shift_is_its_mean_square_along_directions():
    rng = np.random.default_rng(0)
    a, shift = rng.normal(size=(100, 5)), np.array([3.0, 0.0, 0.0, 4.0, 0.0])
    directions = random_directions(5, 4000, rng)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1.0)
    assert sliced_cost(a, a + shift, directions) == pytest.approx(((shift @ directions) ** 2).mean(), rel=1e-9)
    assert sliced_cost(a, a + shift, directions) == pytest.approx(25.0 / 5, rel=0.1)


def test_on_the_line_the_sliced_cost_is_the_transport_cost():
    a, b = np.random.default_rng(1).normal(size=(2, 60, 1))
    assert sliced_cost(a, b, np.ones((1, 1))) == pytest.approx(assignment(a, b).cost, rel=1e-9)


def test_the_sinkhorn_divergence_is_that_of_its_definition():
    """Against a plain, slow iteration and against POT; and it tends to the transport cost as eps falls."""
    a, b = np.random.default_rng(2).normal(size=(2, 25, 2))
    b = b + 1.0

    def entropic(x, y, eps):
        cost = ((x[:, None] - y[None]) ** 2).sum(-1)
        kernel, v = np.exp(-cost / eps), np.ones(len(y))
        for _ in range(5000):
            u = (1 / len(x)) / (kernel @ v)
            v = (1 / len(y)) / (kernel.T @ u)
        plan = u[:, None] * kernel * v
        return (plan * cost).sum() + eps * (plan * np.log(plan * len(x) * len(y))).sum()

    expected = entropic(a, b, 1.0) - 0.5 * (entropic(a, a, 1.0) + entropic(b, b, 1.0))
    assert sinkhorn_divergence(a, b, 1.0) == pytest.approx(expected, rel=1e-5)
    mass = np.full(25, 1 / 25)
    _, log = ot.sinkhorn(mass, mass, ot.dist(a, b), 1.0, numItermax=10_000, stopThr=1e-10, log=True)
    dual = np.log(log["u"] / mass).mean() + np.log(log["v"] / mass).mean()
    assert fidelity._entropic_cost(a, b, 1.0) == pytest.approx(dual, rel=1e-7)
    assert sinkhorn_divergence(a, a, 1.0) == pytest.approx(0.0, abs=1e-6)
    assert sinkhorn_divergence(a, b, 0.05) == pytest.approx(assignment(a, b).cost, rel=0.05)


@pytest.mark.parametrize("kind", ["sliced", "sinkhorn"])
def test_a_student_of_the_teachers_law_has_fidelity_one_and_another_more(kind):
    rng = np.random.default_rng(3)
    P, same, Q = rng.normal(size=(3, 200, 4))

    def value(G):
        if kind == "sliced":
            return sliced_fidelity(P, G, Q, rng=np.random.default_rng(4)).value
        return sinkhorn_fidelity(P, G, Q).value

    assert value(P) == 1.0
    assert 0.5 < value(same) < 1.8
    assert value(0.5 * same) > 2
    assert value(same + 1.0) > 6


@pytest.mark.parametrize("kind", ["sliced", "sinkhorn"])
def test_a_reference_that_repeats_the_teacher_is_unresolved(kind):
    P, G = np.random.default_rng(5).normal(size=(2, 30, 2))
    measured = (
        sliced_fidelity(P, G, P, rng=np.random.default_rng(0)) if kind == "sliced" else sinkhorn_fidelity(P, G, P)
    )
    assert np.isnan(measured.value)
    assert "fresh noise" in measured.reason


def test_an_unconverged_sinkhorn_raises(monkeypatch):
    monkeypatch.setattr(fidelity, "_SINKHORN_ITERATIONS", 2)
    a, b = np.random.default_rng(6).normal(size=(2, 50, 2))
    with pytest.raises(TransportError, match="did not converge"):
        sinkhorn_divergence(a, b + 3.0, 0.05)


def test_constant_outputs_are_unresolved():
    assert np.isnan(sinkhorn_fidelity(np.ones((5, 2)), np.ones((5, 2)), np.ones((5, 2))).value)
