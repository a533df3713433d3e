"""The GAN and f-distill: against finite differences, with the perfect head of two Gaussians, and by closed forms."""

import math
from contextlib import ExitStack

import pytest
import torch
from terms import LINEAR, alone, close, differences, drawn, in_double, member, normal, term_of
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.nn.functional import softplus

from dmdlab.diffusion import levels_in
from dmdlab.networks import Ensemble
from dmdlab.training.direction import gradient_at
from dmdlab.training.exact_score import LinearStudentScore
from dmdlab.training.terms import Batch, Matching
from dmdlab.training.terms.f_distill import WEIGHTS
from dmdlab.training.terms.gan import GAN

# --- GAN


@pytest.mark.parametrize("kind", ["mlp", "residual"])
def test_a_gans_losses_against_finite_differences(kind: str) -> None:
    """The student's at its outputs; the head's at the head's own parameters and at the fake score's."""
    settings = {"terms.gan.weight": 0.5, "network.kind": kind, "network.width": 3, "student.batch": 4}
    terms, around = alone(member(**settings, **{"terms.gan.r1": 2.0, "fake_score.updates": 2}))
    gan, x = terms["gan"], normal(1, 4, 4)
    assert isinstance(gan, GAN)
    numbers = drawn(gan)
    with ExitStack() as held:
        in_double(held, around.fake.network, gan.head)
        found = gradient_at(x, lambda at: gan.student_loss(Batch(at, None, None), numbers)[0])
        close(found, differences(lambda at: gan.student_loss(Batch(at, None, None), numbers)[0], x), 1e-5)
    for network, other in ((gan.head, around.fake.network), (around.fake.network, gan.head)):
        with ExitStack() as held:
            in_double(held, other)
            rows = network.flat.double()

            def loss(at: Tensor, network: Ensemble = network) -> Tensor:
                with network.holding(at):
                    return gan.critic_loss(Batch(x, None, None), 1, numbers)[0]

            with network.holding(rows, trained=True) as leaves:
                own = gan.critic_loss(Batch(x, None, None), 1, numbers)[0]
                parts = torch.autograd.grad(own.sum(), leaves, allow_unused=True)
        with ExitStack() as held:
            in_double(held, other)
            expected = differences(loss, rows)
        flat = [torch.zeros_like(leaf) if part is None else part for leaf, part in zip(leaves, parts, strict=True)]
        close(torch.cat([part.flatten(1) for part in flat], dim=1), expected, 1e-4)


def test_real_and_generated_are_noised_apart_at_levels_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    term, numbers = term_of("gan", **{"terms.gan.weight": 1.0, "fake_score.updates": 3, "terms.gan.levels": [0.2, 0.9]})
    seen: list[tuple[Tensor, Tensor]] = []

    def logit(self: GAN, x_sigma: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        seen.append((x_sigma, sigma))
        return x_sigma.sum(dim=2)

    monkeypatch.setattr(GAN, "logit", logit)
    x = normal(1, 16, 4)
    losses = [term.critic_loss(Batch(x, None, None), j, numbers)[0] for j in range(3)]
    term.student_loss(Batch(x, None, None), numbers)
    levels = torch.cat([sigma.flatten() for _, sigma in seen])
    assert len(levels.unique()) == levels.numel() == (3 * 2 + 1) * 16
    low, high = (levels_in(torch.tensor(u), (0.2, 0.9), member().noise) for u in (0.0, 1.0))
    assert low <= levels.min() < 2 * low
    assert levels.max() <= high
    noise = torch.cat([((x_sigma[:, :16] - x) / sigma[:, :16]).flatten() for x_sigma, sigma in seen])
    assert len(noise.unique()) == noise.numel()
    for j, loss in enumerate(losses):
        x_sigma, sigma = seen[j]
        real = x_sigma[:, 16:] - sigma[:, 16:] * numbers[1][:, 1 + 3 + j]
        close(real, numbers[2][:, j])  # and none of the batch
        logits = x_sigma.sum(dim=2)
        close(loss, 1e-2 * (softplus(logits[:, :16]).mean(1) + softplus(-logits[:, 16:]).mean(1)))


def test_a_perfect_head_moves_a_gaussian_towards_the_law_and_both_rest_where_they_should(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its logit at x_sigma is log p_real / p_generated of N(0, I) and N(m, I): linear, -m . x / (1 + sigma^2) + |m|^2
    / 2 (1 + sigma^2). The student goes down -sigmoid(-logit) grad logit, so towards 0; for m = 0 nothing moves. And no
    other logit is better: in each direction phi the head's loss is flat, within five standard errors."""
    settings = {"terms.gan.weight": 1.0, "law.name": "gaussian", "law.components": None, "student.batch": 20000}
    term, numbers = term_of("gan", **settings, **{"terms.gan.levels": [0.0, 0.5], "fake_score.updates": 1})
    unit, aside = normal(1, 20000, 4, seed=3), [torch.zeros(5, dtype=torch.float64)]

    def features(x_sigma: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(x_sigma[..., :1]), x_sigma], dim=2)  # (e, n, 5)

    for m in (0.8, 0.0):

        def logit(self: GAN, x_sigma: Tensor, sigma: Tensor, label: Tensor | None, m: float = m) -> Tensor:
            total = 1 + sigma[..., 0] ** 2
            return (-m * x_sigma.sum(2) + 4 * m**2 / 2) / total + features(x_sigma) @ aside[-1]

        monkeypatch.setattr(GAN, "logit", logit)
        del aside[1:]
        g = gradient_at(m + unit, lambda at: term.student_loss(Batch(at, None, None), numbers)[0])
        if m:
            assert g.min() > 0
        else:
            assert g.abs().max() == 0
        halves = []
        for part in range(50):  # of the batch, each with its own gradient in phi
            rows = slice(400 * part, 400 * (part + 1))
            few = [numbers[0][:, :, rows], numbers[1][:, :, rows], numbers[2][:, :, rows]]
            aside.append(torch.zeros(5, dtype=torch.float64, requires_grad=True))
            (slope,) = torch.autograd.grad(
                term.critic_loss(Batch((m + unit)[:, rows], None, None), 0, few)[0], aside[-1]
            )
            halves.append(slope)
        slopes = torch.stack(halves)
        assert (slopes.mean(0).abs() < 5 * slopes.std(0) / math.sqrt(50) + 1e-12).all()


# --- f-distill

H = {
    "reverse-kl": lambda r: 1.0,
    "softened": lambda r: 1 / (1 + r),
    "jensen-shannon": lambda r: r / (1 + r),
    "squared-hellinger": math.sqrt,
    "forward-kl": lambda r: r,
    "jeffreys": lambda r: 1 + r,
}


@pytest.mark.parametrize("divergence", WEIGHTS)
def test_f_distill_weighs_the_direction(divergence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DMD's own gradient and the term's together are h(r) times the direction, r the head's, clipped, over its mean."""
    log_r = torch.tensor([[-9.0, -0.5, 0.4, 9.0]], dtype=torch.float64)
    monkeypatch.setattr(GAN, "logit", lambda self, x_sigma, sigma, label: log_r)
    settings = {"terms.gan.weight": 1.0, "terms.f_distill.weight": 1.0, "terms.f_distill.divergence": divergence}
    term, numbers = term_of("f_distill", **settings)
    x, direction = normal(1, 4, 4), normal(1, 4, 4, seed=1)
    batch = Matching(x, torch.ones(1, 4, 1), direction)
    more = gradient_at(x, lambda at: term.student_loss(Batch(at, None, batch), numbers)[0])
    clipped = [0.1, math.exp(-0.5), math.exp(0.4), 20.0]
    h = torch.tensor([H[divergence](r / (sum(clipped) / 4)) for r in clipped], dtype=torch.float64)
    torch.testing.assert_close(direction / 16 + more, h[:, None] * direction / 16)
    _, (share, spread) = term.student_loss(Batch(x, None, batch), numbers)
    assert share.item() == 0.5
    assert spread.item() > 0


def test_the_exact_ratio_is_that_of_both_densities() -> None:
    """Of a linear student, whose law is Gaussian, noised; 1 where it is the law's own."""
    settings = LINEAR | {"law.name": "gaussian", "law.components": None}
    settings |= {"terms.f_distill.weight": 1.0, "terms.f_distill.ratio": "exact"}
    terms, around = alone(member(**settings))
    term, law, student = terms["f_distill"], around.law, around.student
    x, sigma = normal(1, 6, 4), torch.rand(1, 6, 1, dtype=torch.float64) + 0.5
    with ExitStack() as held, torch.no_grad():
        in_double(held, student.network)
        at = student.generate(torch.cat([torch.zeros(1, 1, 4), torch.eye(4)[None]], dim=1).double())[0]
        found = term.log_ratio(x, sigma, None)  # type: ignore[attr-defined]
    w = 5.0 * (at[1:] - at[0])  # of sigma_max = 5, rows
    own = torch.stack(
        [
            MultivariateNormal(at[0], w.mT @ w + s**2 * torch.eye(4, dtype=w.dtype)).log_prob(p)
            for p, s in zip(x[0], sigma[0], strict=True)
        ]
    )
    close(found[0], law.log_density(x, sigma)[0] - own, 1e-5)


def test_a_linear_students_score_is_the_gradient_of_its_density() -> None:
    _, around = alone(member(**LINEAR))
    assert isinstance(around.score, LinearStudentScore)
    x, sigma = normal(1, 5, 4), torch.full((1, 5, 1), 0.7, dtype=torch.float64)
    with ExitStack() as held:
        in_double(held, around.student.network)
        slope = differences(lambda at: around.score.log_density(at, sigma), x)  # type: ignore[attr-defined]
        close(slope, (around.score(x, sigma) - x) / sigma**2)
        through = gradient_at(x, lambda at: around.score(at, sigma)[..., 0].sum(1))
        close(through, differences(lambda at: around.score(at, sigma)[..., 0].sum(1), x))
