"""What the walk along the flat directions does to a pairing: closed forms, and students in training against them."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from linear_students import exact, kept, last, normal, students
from torch import Tensor

from dmdlab.pairing.bases import random_basis, turned
from dmdlab.theory import (
    PlaneVariances,
    adam_rates,
    angle_degrees,
    batch_variances,
    expected_variances,
    frozen_variance,
    mean_pair_cosine,
    mean_turn,
    polar,
    regression_moments,
    squared_rates,
    trace_moments,
    trained_score_moments,
    trained_score_rates,
    wishart_moments,
)
from dmdlab.training.optimiser import warmup_then

ROOT = Path(__file__).parents[1]
UNEQUAL = [2.0, 1.0, 0.5, 0.25]


def per_step(variances: PlaneVariances, batch: int) -> Tensor:
    """Of a step with so many latents, per eta^2, (d, d)."""
    return variances.score + (variances.latents + variances.noise) / batch


def root(spectrum: list[float]) -> Tensor:
    return torch.tensor(spectrum, dtype=torch.float64).sqrt().diag()


def planes(d: int, variance: float) -> Tensor:
    return torch.full((d, d), variance, dtype=torch.float64)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_brownian_motion_on_turns_has_these_moments(d: int) -> None:
    """Eq. (17), and Eq. (15) with equal planes, by the products of 20 small random turns."""
    variance, q = 0.4, torch.eye(d).double()
    for step in range(20):
        skew = normal(4000, d, d, seed=step).triu(1) * math.sqrt(variance / 20)
        q = torch.linalg.matrix_exp(skew - skew.mT) @ q
    found = q.diagonal(dim1=1, dim2=2).mean(1)
    mean, spread = trace_moments(d, variance)
    assert found.mean().item() == pytest.approx(mean, abs=4 * spread / math.sqrt(4000))
    assert found.std().item() == pytest.approx(spread, rel=0.06)
    torch.testing.assert_close(mean_turn(planes(d, variance)), torch.full((d,), mean).double())


def test_in_two_dimensions_the_walk_is_that_of_one_angle() -> None:
    """Eq. (17): E cos and the spread of cos of a normal angle; none left after for ever."""
    mean, spread = trace_moments(2, 0.3)
    assert mean == pytest.approx(math.exp(-0.15))
    assert spread**2 == pytest.approx((1 + math.exp(-0.6)) / 2 - math.exp(-0.3))
    assert trace_moments(5, 0.0) == pytest.approx((1, 0), abs=1e-7)
    assert trace_moments(5, 1e3) == pytest.approx((0, 1 / 5))


@pytest.mark.parametrize("d", [4, 5])
def test_the_angle_is_that_of_the_planted_turns(d: int) -> None:
    """Eq. (18): tr(S R) / tr S over random bases is what it inverts, for unequal variances, too."""
    rng, s = np.random.default_rng(0), np.arange(1.0, d + 1)
    turns = [turned(np.eye(d), random_basis(d, rng), 30.0) for _ in range(4000)]
    assert angle_degrees(np.trace(turns[0]) / d, d).item() == pytest.approx(30, abs=1e-6)
    cosines = [(s * np.diag(r)).sum() / s.sum() for r in turns]
    assert angle_degrees(float(np.mean(cosines)), d).item() == pytest.approx(30, abs=0.3)
    assert angle_degrees(1.0, d).item() == 0
    assert angle_degrees(-0.5, d).item() == 90


def test_a_cosine_schedule_does_three_eighths() -> None:
    """Eq. (19), by the schedule of the lab."""
    for steps in (10, 1000):
        assert squared_rates(steps, "constant") == steps
        found = (warmup_then(np.arange(steps), 0, steps, "cosine") ** 2).sum()
        assert squared_rates(steps, "cosine") == pytest.approx(found)
        assert found == pytest.approx(3 * steps / 8 + 1 / 2)


@pytest.mark.parametrize("d", [2, 4, 8])
def test_students_with_a_fitted_score_follow_the_predicted_mean_and_spread(d: int) -> None:
    """Eqs. (8), (10), (15), (17) together, in 2, 4 and 8 dimensions; pair_cosine itself also has the law's error."""
    s, eta, batch, samples, steps, replicas = [1.0] * d, 0.1, 4, 2 * d + 4, 150, 150
    end = last(
        students(root(s), s, eta=eta, batch=batch, steps=steps, replicas=replicas, fake="regression", samples=samples)
    )
    spectrum = torch.tensor(s)
    variances = per_step(expected_variances(spectrum, regression_moments(spectrum, 1.0, samples), 1.0), batch)
    mean, spread = trace_moments(d, steps * eta**2 * variances[0, 1].item())
    found, error = kept(end, s)
    assert error < (1 - mean) / 5
    assert found.mean().item() == pytest.approx(mean, abs=3 * error)
    assert found.std().item() == pytest.approx(spread, rel=0.25)
    own = torch.linalg.svdvals(end)  # what the law's own error takes from pair_cosine beside
    law = (own.sum(1) / (math.sqrt(d) * own.norm(dim=1))).mean().item()
    cosine = (end.diagonal(dim1=1, dim2=2).sum(1) / (math.sqrt(d) * end.flatten(1).norm(dim=1))).mean().item()
    assert cosine == pytest.approx(law * mean, abs=3 * error)
    assert law > 0.93


def test_planes_of_unequal_variance_lose_their_axes_at_rates_of_their_own() -> None:
    """Eqs. (15) and (16) axis by axis, with Eq. (10)."""
    s = torch.tensor(UNEQUAL)
    end = last(
        students(root(UNEQUAL), UNEQUAL, eta=0.1, batch=4, steps=200, replicas=300, fake="regression", samples=12)
    )
    variances = 200 * 0.1**2 * per_step(expected_variances(s, regression_moments(s, 1.0, 12), 1.0), 4)
    own = polar(end)[1].diagonal(dim1=1, dim2=2)  # (replicas, 4)
    error = own.std(0) / math.sqrt(300)
    assert ((own.mean(0) - mean_turn(variances)).abs() < 3.5 * error).all()
    found, error_of_mean = kept(end, UNEQUAL)
    assert found.mean().item() == pytest.approx(mean_pair_cosine(s, variances).item(), abs=3 * error_of_mean)


def test_a_symmetric_error_turns_by_the_batch_alone() -> None:
    """Eqs. (9) and (10): exact scores of an estimated covariance, ten times slower than a fitted score of as many."""
    s, samples = torch.tensor(UNEQUAL), 20
    end = last(
        students(root(UNEQUAL), UNEQUAL, eta=0.1, batch=8, steps=200, replicas=200, fake="covariance", samples=samples)
    )
    variances = per_step(expected_variances(s, wishart_moments(s, 1.0, samples), 1.0, symmetric=True), 8)
    lost = 1 - kept(end, UNEQUAL)[0].mean().item()
    predicted = 1 - mean_pair_cosine(s, 200 * 0.1**2 * variances).item()
    assert lost == pytest.approx(predicted, rel=0.2)
    fitted = per_step(expected_variances(s, regression_moments(s, 1.0, samples), 1.0), 8)
    assert predicted < 0.3 * (1 - mean_pair_cosine(s, 200 * 0.1**2 * fitted).item())


@pytest.mark.parametrize("rate", [0.03, 0.1, 0.3])
def test_a_trained_scores_walk_is_predicted_at_any_rate_of_its_own(rate: float) -> None:
    """Eqs. (11) and (12), with Eq. (10): rates that differ tenfold."""
    s, eta, batch, steps = [1.0] * 4, 0.05, 8, 500
    end = last(students(root(s), s, eta=eta, batch=batch, steps=steps, replicas=150, fake="trained", rate=rate, seed=3))
    spectrum = torch.tensor(s)
    walk = steps * eta**2 / batch * trained_score_rates(spectrum, torch.ones(1), batch=batch, rate=rate)
    own = expected_variances(spectrum, trained_score_moments(spectrum, 1.0, batch, rate), 1.0)
    walk = walk + steps * eta**2 / batch * (own.latents + own.noise)
    found, error = kept(end, s)
    predicted = mean_pair_cosine(spectrum, walk).item()
    assert error < (1 - predicted) / 10
    assert found.mean().item() == pytest.approx(predicted, abs=3 * error)


def test_with_exact_scores_the_walk_stops() -> None:
    """Eq. (14): what is lost is lost on the way to the law, is as predicted, and is the same for ever after."""
    s, levels, eta, batch, replicas = [1.0] * 4, (0.3, 1.0, 3.0), 0.05, 8, 100
    path = list(students(0.15 * root(s), s, eta=eta, batch=batch, steps=500, replicas=replicas, levels=levels, seed=1))
    mean, spread = trace_moments(4, eta / batch * frozen_variance(0.15, 1.0, torch.tensor(levels)))
    found, error = kept(path[-1], s)
    assert 1 - mean > 0.01
    assert found.mean().item() == pytest.approx(mean, abs=3.5 * error)
    assert found.std().item() == pytest.approx(spread, rel=0.25)
    moved = (polar(path[-1])[1] - polar(path[250])[1]).flatten(1).norm(dim=1)
    before = (polar(path[250])[1] - polar(path[0])[1]).flatten(1).norm(dim=1)
    assert moved.mean() < 0.05 * before.mean()


def test_weight_decay_keeps_it_going() -> None:
    """Eqs. (6) and (7) at the law where decay and the direction balance: no sample's gradient is 0 there."""
    s, levels, eta, batch, decay, steps = [1.0] * 2, (0.5, 2.0), 0.1, 4, 0.1, 400
    path = list(students(root(s), s, eta=eta, batch=batch, steps=2 * steps, replicas=200, levels=levels, decay=decay))
    at = (path[steps] @ path[steps].mT).diagonal(dim1=1, dim2=2).mean()  # w^2 there
    sigma = torch.tensor(levels).double()[:, None, None]
    w = at.sqrt() * torch.eye(2).double()
    variances, _ = batch_variances(w, exact(w @ w, sigma) - exact(torch.eye(2).double(), sigma), sigma.flatten())
    turns = polar(path[-1])[1] @ polar(path[steps - 1])[1].mT
    predicted = steps * eta**2 * (variances.latents + variances.noise)[0, 1].item() / batch
    assert turns[:, 0, 1].asin().var().item() == pytest.approx(predicted, rel=0.3)


def test_slow_and_long_training_conserves_the_pairing() -> None:
    """eta -> 0 at fixed eta T: what is lost falls with eta (Eqs. (10) and (15): eta^2 T)."""
    lost = []
    for eta in (0.2, 0.05):
        s, steps = [1.0] * 4, round(20 / eta)
        walk = students(root(s), s, eta=eta, batch=4, steps=steps, replicas=150, fake="regression", samples=12)
        lost.append(-kept(last(walk), s)[0].mean().log().item())
    assert lost[0] / lost[1] == pytest.approx(4, rel=0.3)


def test_a_turned_start_loses_its_own_pairing_alike() -> None:
    """The lemma, with noise: the same to rounding on latents turned along, the same in the mean on others."""
    s, turn = UNEQUAL, polar(normal(4, 4, seed=9))[1]

    def end(start: Tensor, turn: Tensor | None = None, seed: int = 0) -> Tensor:
        settings = {"eta": 0.1, "batch": 4, "steps": 100, "replicas": 150, "samples": 8}
        return last(students(start, s, fake="regression", turn=turn, seed=seed, **settings))  # type: ignore[arg-type]

    plain = end(root(s))
    torch.testing.assert_close(end(root(s) @ turn, turn), plain @ turn)
    first, second = kept(plain, s), kept(end(root(s) @ turn, seed=1), s, turn)
    assert abs((first[0].mean() - second[0].mean()).item()) < 3 * math.hypot(first[1], second[1])
    assert 1 - first[0].mean() > 10 * first[1]


@pytest.mark.parametrize("batch", [2, 32])
def test_under_adam_the_batch_does_not_enter(batch: int) -> None:
    """Eq. (13), with Eqs. (15) and (16)."""
    s = torch.tensor(UNEQUAL)
    walk = students(
        root(UNEQUAL), UNEQUAL, eta=0.02, batch=batch, steps=120, replicas=100, fake="regression", samples=12, adam=True
    )
    found, error = kept(last(walk), UNEQUAL)
    predicted = mean_pair_cosine(s, 120 * 0.02**2 * adam_rates(s)).item()
    assert error < (1 - predicted) / 5
    assert 1 - found.mean().item() == pytest.approx(1 - predicted, rel=0.3)


def test_under_adam_exact_scores_do_not_stop_it() -> None:
    """From nearly the law, where SGD stops: Adam's steps do not shrink, and at a small batch most of them is noise."""
    s = [1.0] * 4
    settings = {"eta": 0.01, "batch": 4, "steps": 400, "replicas": 60}
    walk = list(students(1.02 * root(s), s, adam=True, **settings))  # type: ignore[arg-type]
    middle, end = (1 - kept(w, s)[0].mean().item() for w in (walk[199], walk[399]))
    assert end > 2 * middle > 0.002
    still = list(students(1.02 * root(s), s, **settings))  # type: ignore[arg-type]
    assert 1 - kept(still[-1], s)[0].mean().item() < 0.1 * middle


def test_the_numbers_of_the_predictions_are_the_theorys() -> None:
    """The code of docs/answers.md gives the constants that its predictions name."""
    page = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    found: dict[str, Any] = {}
    exec(block, found)
    assert f"(d - 1) / 2 * {found['walk']:.4f} T eta^2 / (b k)" in page
    assert f"(d - 1) / 2 * {found['frozen']:.0f} eta / b" in page
    low, high = found["corner"]
    assert f"turns {low:.2f} degrees at d = 4 and {high:.1f} at d = 1024" in page


def test_every_formula_of_the_page_is_named_by_a_test() -> None:
    page = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    numbers = [int(n) for n in re.findall(r"^    .*\((\d+)\)$", page, re.M)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 19
    tests = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").glob("test_theory*.py")))
    tested = {int(n) for line in re.findall(r"Eqs?\. .*", tests) for n in re.findall(r"\((\d+)\)", line)}
    assert set(numbers) <= tested
