"""Columns of the training curve that tell a healthy run: coverage, what is lost, the student's step, the fake score's
excess risk."""

import math

import numpy as np
import pytest
import torch
from small import distillation, experiment

from dmdlab.config import NoiseConfig
from dmdlab.diffusion.noise import edm_weight, levels_in
from dmdlab.lab.curves import Curves
from dmdlab.laws import Mixture
from dmdlab.pairing import assignment
from dmdlab.pairing.coverage import NEIGHBOURS, Reach
from dmdlab.training.lag import LEVELS, score_excess

BOUNDS, NOISE = (0.02, 0.98), NoiseConfig()


@pytest.mark.parametrize("dim", [2, 48])
def test_a_sample_of_the_same_law_covers_what_it_should_in_every_dimension(dim: int) -> None:
    """The mean of 40 draws of 60 rows; about four standard errors. Missed: all nearest others are the reference's."""
    rng, n = np.random.default_rng(dim), 60
    missed = np.arange(n - NEIGHBOURS, n) / np.arange(2 * n - NEIGHBOURS, 2 * n)
    found = [Reach.of(rng.normal(size=(n, dim))).read(rng.normal(size=(n, dim)))[0] for _ in range(40)]
    assert np.mean(found) == pytest.approx(1 - missed.prod(), abs=4 * np.std(found) / math.sqrt(40))


def test_a_mode_that_is_missing_is_lost_and_a_thinned_one_is_not() -> None:
    rng = np.random.default_rng(0)
    modes = np.repeat(10.0 * np.eye(4), 100, axis=0)
    reach = Reach.of(modes + rng.normal(size=(400, 4)))
    some = np.repeat(10.0 * np.eye(4)[:3], 133, axis=0)
    coverage, lost = reach.read(some + rng.normal(size=some.shape))
    assert lost == pytest.approx(0.25, abs=0.01)
    assert coverage == pytest.approx(0.75, abs=0.05)
    thin = np.repeat(10.0 * np.eye(4), [60, 114, 113, 113], axis=0)
    assert reach.read(thin + rng.normal(size=thin.shape))[1] == pytest.approx(0, abs=0.02)
    assert reach.read(np.full((400, 4), 50.0)) == (0, 1)
    assert all(math.isnan(x) for x in reach.read(np.full((400, 4), np.nan)))


def test_a_place_is_lost_where_at_least_nine_of_its_eleven_rows_are_empty() -> None:
    """On a line with 20 to 40 cut out, 24 to 36 are farther than 3 from a sample; five rows lie on each side."""
    line = np.arange(60.0)[:, None]
    coverage, lost = Reach.of(line).read(np.delete(line, np.arange(21, 40), axis=0))
    assert coverage == pytest.approx(47 / 60)
    assert lost == pytest.approx(7 / 60)  # of 27 to 33


def drawn(law: Mixture, n: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    x = law.sample(n, g)[None]
    return x, torch.randn(x.shape, generator=g)


@pytest.mark.parametrize("dim", [2, 32])
def test_an_exact_score_has_no_excess_risk_and_a_wrong_one_has(dim: int) -> None:
    law, other = Mixture(dim=dim), Mixture(dim=dim, seed=1)
    x, eps = drawn(law)
    exact = score_excess(law.denoise, other.denoise, x, eps, BOUNDS, NOISE, 1.0)
    same = score_excess(law.denoise, law.denoise, x, eps, BOUNDS, NOISE, 1.0)
    wrong = score_excess(other.denoise, law.denoise, x, eps, BOUNDS, NOISE, 1.0)
    assert abs(exact.item()) < 0.02
    assert abs(same.item()) < 0.02
    assert wrong.item() > 0.03
    assert not torch.isfinite(score_excess(law.denoise, law.denoise, x * torch.nan, eps, BOUNDS, NOISE, 1.0))


def test_what_is_fitted_to_rows_is_counted_on_others() -> None:
    """Of an exact score a correction that is fitted to few rows makes the risk of others larger, never smaller."""
    law, other = Mixture(dim=2), Mixture(dim=2, seed=1)
    x, eps = (part.unflatten(1, (64, -1))[0] for part in drawn(law))  # 64 members of 64 rows
    assert score_excess(law.denoise, other.denoise, x, eps, BOUNDS, NOISE, 1.0).mean() < -0.05


@pytest.mark.parametrize(
    ("error", "teacher"), [("constant", "exact"), ("constant", "as wrong"), ("of the input", "as wrong")]
)
def test_the_excess_of_a_known_error_is_its_share_of_the_risk(error: str, teacher: str) -> None:
    """On top of the risk of a Gaussian, sigma^2 / (1 + sigma^2), at every level: c^2 of a constant error c, and of one
    of c (x_sigma - D) that squared. Where the teacher is as wrong, the constant or the input alone tells."""
    law, c = Mixture(dim=4, components=1, std=1.0), 0.3
    x, eps = drawn(law, 1 << 14)

    def fake(y: torch.Tensor, s: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        best = law.denoise(y, s)
        return best + (c if error == "constant" else c * (y - best))

    found = score_excess(fake, law.denoise if teacher == "exact" else fake, x, eps, BOUNDS, NOISE, 1.0)
    sigma = levels_in((torch.arange(LEVELS).double() + 0.5) / LEVELS, BOUNDS, NOISE)
    weight, risk = edm_weight(sigma, 1.0), sigma**2 / (1 + sigma**2)
    excess = c**2 * (torch.ones_like(sigma) if error == "constant" else sigma**4 / (1 + sigma**2))
    assert found.item() == pytest.approx(((weight * excess).sum() / (weight * risk).sum()).item(), rel=0.02)


def test_each_sample_keeps_its_class_whatever_their_number() -> None:
    """Of exact scores that are told it; the last few samples have no place in the levels."""
    law, g = Mixture(dim=2, components=4), torch.Generator().manual_seed(0)
    x, label = (part[None] for part in law.sample_labelled(4096 + 7, g))
    eps = torch.randn(x.shape, generator=g)
    assert abs(score_excess(law.denoise, law.denoise, x, eps, BOUNDS, NOISE, 1.0, label).item()) < 0.02


def test_a_row_holds_them_and_a_step_follows_its_rate() -> None:
    members = [experiment(student__learning_rate=rate) for rate in (1e-4, 2e-4)]
    training, g = distillation(members), torch.Generator().manual_seed(0)
    noise, teacher, reference = torch.randn(3, 1, 64, 4, generator=g).expand(3, 2, 64, 4)
    teacher = teacher + torch.arange(4)
    curves = Curves(training, [0, 0], 5 * noise, teacher, reference)
    curves.look(training)
    training.cycle()
    curves.add(training)
    slow, fast = curves.columns(0), curves.columns(1)
    P, Q, G = teacher[0].numpy(), reference[0].numpy(), training.student(5 * noise)[0].detach().numpy()
    assert slow["fidelity"][0] == pytest.approx(assignment(Q, G).cost / assignment(Q, P).cost)
    moved = np.sqrt(((G - curves.before[0]) ** 2).mean() / P.var(axis=0).mean())
    assert slow["student_step"][0] == pytest.approx(moved, rel=1e-4)
    assert fast["student_step"][0] == pytest.approx(2 * slow["student_step"][0], rel=0.02)
    assert (slow["iteration"], slow["student_updates"]) == ([5], [1])
    assert all(
        np.isfinite(slow[name]).all() for name in ("score_excess", "fidelity", "coverage", "lost", "student_step")
    )
    again = Curves(training, [0, 0], 5 * noise, teacher, reference)
    again.restore(curves.state())
    assert (again.rows[0].keys(), again.columns(1)) == (curves.rows[0].keys(), fast)
    assert np.array_equal(again.before, curves.before)
