"""What a linear student's settings should lose, against the formulas by hand."""

import math

import pytest

from dmdlab.theory import expected_loss, level_quadrature


def test_exact_scores_lose_in_proportion_to_the_rate_over_the_batch_and_not_with_time() -> None:
    """Eq. (14) with its integral for s = 1 from sigma_max = 80, 270 (docs/answers.md)."""
    own = [expected_loss(8, "sgd", 0.02, batch=64, steps=steps, updates=0) for steps in (10, 10_000)]
    assert own[0] == own[1] == pytest.approx(7 / 2 * 270.4 * 0.02 / 64, rel=1e-3)


def test_a_student_at_the_law_loses_nothing_on_its_way() -> None:
    assert expected_loss(8, "sgd", 0.02, batch=64, steps=10, updates=0, at_law=True) == 0
    settings = {"batch": 64, "steps": 1000, "updates": 2}
    both = [expected_loss(8, "sgd", 0.02, at_law=at_law, **settings) for at_law in (True, False)]
    assert both[1] - both[0] == pytest.approx(7 / 2 * 270.4 * 0.02 / 64, rel=1e-3)


def test_a_trained_fake_score_adds_a_walk() -> None:
    """Eq. (11), 0.0257 T eta^2 / (b k) a plane, and 3 / 8 of it with a cosine schedule, Eq. (19)."""
    settings = {"batch": 64, "steps": 80_000, "decay": "constant"}
    before = expected_loss(8, "sgd", 0.02, updates=0, **settings)
    walked = expected_loss(8, "sgd", 0.02, updates=2, **settings) - before
    assert walked == pytest.approx(7 / 2 * 0.0257 * 80_000 * 0.02**2 / 128, rel=1e-3)
    cosine = expected_loss(8, "sgd", 0.02, updates=2, **settings | {"decay": "cosine"}) - before
    assert cosine == pytest.approx(3 / 8 * walked, rel=1e-3)


def test_under_adam_the_batch_does_not_enter() -> None:
    """Eq. (13)."""
    for batch in (1, 512):
        own = expected_loss(8, "adamw", 1e-3, batch=batch, steps=1000, updates=1)
        assert own == pytest.approx(7 / 4 * 1000 * 1e-6)


def test_an_estimated_score_loses_less_than_a_trained_one_and_less_with_each_of_its_batches() -> None:
    settings = {"steps": 1000, "at_law": True}
    own = expected_loss(8, "sgd", 0.02, batch=64, updates=4, estimated=True, **settings)
    assert 0 < own < 0.5 * expected_loss(8, "sgd", 0.02, batch=64, updates=4, **settings)
    larger = expected_loss(8, "sgd", 0.02, batch=256, updates=1, estimated=True, **settings)
    assert math.isclose(larger, own / 4, rel_tol=1e-9)


@pytest.mark.parametrize(("levels", "sigma_max"), [((0.02, 0.98), 80.0), ((0.3, 0.6), 5.0)])
def test_the_quadrature_of_levels_has_their_mean(levels: tuple[float, float], sigma_max: float) -> None:
    """sigma = (a + h u)^7, of mean (y^8 - x^8) / (8 (y - x)) between x and y of a + h u."""
    low, high = 0.002 ** (1 / 7), sigma_max ** (1 / 7)
    x, y = (low + u * (high - low) for u in levels)
    found = level_quadrature(levels, sigma_max)
    assert found.mean().item() == pytest.approx((y**8 - x**8) / (8 * (y - x)), rel=1e-4)


def test_a_student_of_an_estimated_score_loses_what_latents_and_noise_turn() -> None:
    """Eqs. (9) and (10) for s = 1: kappa ((d + 2) + sigma^2 (d + 1)) / 2, kappa = sigma^4 / (b k (1 + sigma^2)^4)."""
    d, total = 5, 1000 * 0.02**2 / 64
    squares = level_quadrature((0.02, 0.98), 80.0).numpy() ** 2
    kappa = squares**2 / (128 * (1 + squares) ** 4)
    expected = total * (d - 1) / 2 * (kappa * (d + 2 + squares * (d + 1)) / 2).mean()
    settings = {"batch": 64, "steps": 1000, "updates": 2, "estimated": True, "at_law": True}
    assert expected_loss(d, "sgd", 0.02, **settings) == pytest.approx(expected, rel=1e-9)
