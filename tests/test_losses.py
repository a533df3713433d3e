"""Regression, SiD and drifting: against finite differences, by hand on Gaussians, at rest where both laws are one."""

import math
from contextlib import ExitStack

import pytest
import torch
from terms import alone, close, differences, drawn, in_double, member, normal, term_of
from torch import Tensor

from dmdlab.diffusion import flow, karras_grid, levels_in
from dmdlab.laws import Gaussian, Law, Mixture
from dmdlab.training.direction import gradient_at
from dmdlab.training.terms import Batch, Term
from dmdlab.training.terms.drifting import drift

# --- regression


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_regression_is_the_mean_square_on_pairs_of_the_flow(reduction: str) -> None:
    settings = {"terms.regression.weight": 0.25, "student.reduction": reduction}
    term, numbers = term_of("regression", **settings)
    z, target = numbers
    x = normal(1, 16, 4)

    def loss(at: Tensor) -> Tensor:
        return term.student_loss(Batch(at, None, None), numbers)[0]

    close(loss(x), 0.25 * (x - target).square().sum(2).mean(1) / (1 if reduction == "sum" else 4))
    close(gradient_at(x, loss), differences(loss, x))
    assert torch.equal(gradient_at(target, loss), torch.zeros_like(x))
    e = member(**settings)
    phi = flow(Mixture(dim=4, components=4).denoise, z.float(), karras_grid(e.teacher.steps, e.noise))
    close(target.float(), phi, 1e-5)


def test_a_turned_student_regresses_on_its_own_teachers_pairs() -> None:
    """What it is given is turned; what it is to answer is the teacher's answer to what was not."""
    (_, (z, target)), (_, (turned, same)) = (
        term_of("regression", **{"terms.regression.weight": 1.0, "student.init": init})
        for init in ("teacher", "rotated")
    )
    assert torch.equal(target, same)
    assert (turned - z).abs().max() > 1
    close(turned.norm(dim=2), z.norm(dim=2))


# --- SiD


class White(Law):
    """N(mean, size^2 I) as a denoiser."""

    def __init__(self, mean: float, size: float) -> None:
        super().__init__(4)
        self.mean, self.size = mean, size

    def denoise(self, x_sigma: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        return self.mean + self.size**2 / (self.size**2 + sigma**2) * (x_sigma - self.mean)


def sid(teacher: White, student: White, **settings: object) -> tuple[Term, list[Tensor]]:
    term, numbers = term_of("sid", **{"terms.sid.weight": 1.0, "student.batch": 4000, "student.weight": 0.0} | settings)
    term.teacher, term.score = teacher.denoise, student.denoise  # type: ignore[attr-defined]
    return term, numbers


def test_sids_gradient_passes_through_both_networks() -> None:
    terms, around = alone(member(**{"terms.sid.weight": 2.0, "terms.sid.alpha": 1.1, "student.batch": 3}))
    term, x = terms["sid"], normal(1, 3, 4)
    numbers = drawn(term)
    sigma = levels_in(numbers[0][:, 0], (0.0, 0.8), member().noise)
    size = (x - around.law.denoise(x + sigma * numbers[1][:, 0], sigma)).abs().mean(2, keepdim=True)

    def by_hand(at: Tensor) -> Tensor:
        x_sigma = at + sigma * numbers[1][:, 0]
        real, own = around.law.denoise(x_sigma, sigma), around.fake(x_sigma, sigma)
        return 2.0 * ((real - own) * (real - at - 1.1 * (real - own)) / size).mean(dim=(1, 2))

    with ExitStack() as held:
        in_double(held, around.fake.network)
        close(term.student_loss(Batch(x, None, None), numbers)[0], by_hand(x))
        found = gradient_at(x, lambda at: term.student_loss(Batch(at, None, None), numbers)[0])
        close(found, differences(by_hand, x), 1e-5)


@pytest.mark.parametrize("alpha", [1.0, 1.2])
def test_sid_moves_a_gaussian_towards_the_law_and_rests_there(alpha: float) -> None:
    """With a = 1 / (1 + sigma^2) and b = s^2 / (s^2 + sigma^2), undivided and at one level, the gradient of the mean
    is (1 - a)^2 m, and that of the size s is 2 s (b - a) ((1 - a) - alpha (b - a)): towards the law, but for alpha
    above 1 and a student far too wide, which alpha = 1.2 drives on from s^2 = 6 + 5 sigma^2."""
    level = [0.6 * (1 - 1e-9), 0.6]
    sigma = levels_in(torch.tensor(0.6, dtype=torch.float64), level, member().noise).item()
    more = {"terms.sid.alpha": alpha, "terms.sid.levels": level, "terms.sid.floor": 1e6, "student.reduction": "sum"}
    law, a = White(0.0, 1.0), 1 / (1 + sigma**2)
    unit = normal(1, 4000, 4, seed=1)
    signs = []
    for mean, s in ((0.5, 1.0), (-0.5, 1.0), (0.0, 0.5), (0.0, 2.0), (0.0, 30.0), (0.0, 1.0)):
        term, numbers = sid(law, White(mean, s), **more)
        x = mean + s * unit
        g = 1e6 * 4000 * gradient_at(x, lambda at: term.student_loss(Batch(at, None, None), numbers)[0])  # noqa: B023
        b = s**2 / (s**2 + sigma**2)
        found = [g, g * unit]
        expected = [(1 - a) ** 2 * mean if s == 1 else 0.0, 2 * s * (b - a) * ((1 - a) - alpha * (b - a))]
        for values, value in zip(found, expected, strict=True):
            error = values.std().item() / math.sqrt(values.numel())
            assert values.mean().item() == pytest.approx(value, abs=5 * error + 1e-9)
        signs.append(math.copysign(1, expected[0] if mean else expected[1]))
    assert g.abs().max() < 1e-9  # at the law's own it rests, sample by sample
    assert signs[:4] == [1, -1, -1, 1]
    assert signs[4] == (1 if alpha == 1 else -1)


# --- drifting


def test_a_drift_by_hand_in_which_no_sample_is_its_own_neighbour() -> None:
    x = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    y = torch.tensor([[[3.0, 0.0], [0.0, -1.0]]], dtype=torch.float64)
    for kernel, k in (("laplace", lambda r: math.exp(-r / 0.7)), ("gaussian", lambda r: math.exp(-(r**2) / 0.98))):
        v = drift(x, y, torch.tensor([0.7], dtype=torch.float64), kernel)  # type: ignore[arg-type]
        towards = (k(3) * y[0, 0] + k(1) * y[0, 1]) / (k(3) + k(1))
        away = (k(2) * x[0, 1] + k(1) * x[0, 2]) / (k(2) + k(1))
        close(v[0, 0], towards - away)


def test_drifting_with_a_gaussian_kernel_follows_the_scores_of_the_smoothed_laws() -> None:
    """V -> h^2 (s_data - s_student), the scores of both laws noised to h, as batches grow: twelve of 600 about the
    same points, their spread the tolerance."""
    h, members, n = 0.7, 12, 600
    law, g = Mixture(dim=2, components=3), torch.Generator().manual_seed(0)
    y = torch.stack([law.sample(n, g) for _ in range(members)]).double()
    x = (0.3 + 0.8 * normal(1, 10, 2)).expand(members, -1, -1)  # the same points for all, then others around them
    others = 0.3 + 0.8 * normal(members, n, 2, seed=1)
    v = drift(torch.cat([x, others], dim=1), y, torch.full((members,), h, dtype=torch.float64), "gaussian")[:, :10]
    x = x[0]
    score_own = (0.3 - x) / (0.64 + h**2)
    score_law = (law.denoise(x, h) - x) / h**2
    expected = h**2 * (score_law - score_own)
    error = v.std(dim=0) / math.sqrt(members)
    assert expected.abs().max() > 0.5
    assert ((v.mean(0) - expected).abs() / error.square().mean().sqrt()).max() < 5
    assert (v.mean(0) - expected).norm() < 0.05 * expected.norm()


def test_a_drift_is_in_float32_whatever_the_networks_run_in() -> None:
    """A small difference of large means: bfloat16 products would leave little of it."""
    x, y, width = 10 + normal(1, 7, 2).float(), 10 + normal(1, 9, 2, seed=1).float(), torch.tensor([0.7])
    expected = drift(x, y, width, "gaussian")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(drift(x, y, width, "gaussian"), expected)
        assert (x @ x.mT).dtype is torch.bfloat16  # as other products within it are


def test_with_classes_samples_drift_among_their_own_and_stay_without_neighbours() -> None:
    x, y, width = normal(1, 7, 2), normal(1, 9, 2, seed=1), torch.tensor([0.7], dtype=torch.float64)
    of_x, of_y = torch.tensor([[0, 1, 0, 1, 0, 2, 3]]), torch.tensor([[1, 0, 0, 1, 1, 0, 3, 3, 0]])
    v = drift(x, y, width, "laplace", (of_x, of_y))
    for kind in (0, 1):
        own = drift(x[:, of_x[0] == kind], y[:, of_y[0] == kind], width, "laplace")
        close(v[:, of_x[0] == kind], own)
    assert (v[0, 5] == 0).all()  # none of its class
    nearest = drift(x[:, [6, 0]], y[:, of_y[0] == 3], width, "laplace")  # data, and no sample, of its class
    close(v[0, 6], nearest[0, 0] + x[0, 0] - x[0, 6])


@pytest.mark.parametrize("kernel", ["laplace", "gaussian"])
def test_drifting_rests_in_expectation_at_the_law(kernel: str) -> None:
    """For each sample data and its neighbours are equally many and alike, so V has mean 0, and V x, which would grow
    or shrink the law, too: within five standard errors over 300 batches."""
    law, g = Gaussian(dim=3), torch.Generator().manual_seed(0)
    points = law.sample(300 * 33, g).view(300, 33, 3).double()
    width = torch.full((300,), 0.8, dtype=torch.float64)
    for x, y in ((points[:, :17], points[:, 17:]), (1.5 * points[:, :17], points[:, 17:])):
        grows = (drift(x, y, width, kernel) * x).mean(dim=(1, 2))  # type: ignore[arg-type]
        z = grows.mean() / (grows.std() / math.sqrt(300))
        assert (abs(z) < 5) == (y.shape[1] == 16 and x.std() < 1.3)
        assert z < 5


def test_driftings_loss_has_the_drift_as_its_gradient_and_follows_the_median() -> None:
    settings = {"terms.drifting.weight": 3.0, "terms.drifting.kernel": "gaussian", "terms.drifting.width": 0.4}
    term, numbers = term_of("drifting", **settings)
    x, y = normal(1, 16, 4), numbers[0][:, 0]
    _, (_, width) = term.student_loss(Batch(x, None, None), numbers)
    assert width.item() == pytest.approx(0.4 * torch.cdist(x, y).flatten().sort().values[127].item())
    found = gradient_at(x, lambda at: term.student_loss(Batch(at, None, None), numbers)[0])
    close(found, -3.0 * 2 * drift(x, y, width, "gaussian") / (16 * 4))
    _, (_, wide) = term.student_loss(Batch(100 * x, None, None), numbers)
    assert wide > 10 * width
    fixed, numbers = term_of("drifting", **settings, **{"terms.drifting.unit": "one"})
    assert fixed.student_loss(Batch(100 * x, None, None), numbers)[1][1].item() == pytest.approx(0.4)
