"""Teachers that learn, alone as among others; losses and risks."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dmdlab.config import Experiment, NetworkSpec, experiment_from
from dmdlab.diffusion import edm_weight, karras_sigma
from dmdlab.laws import Gaussian, Law, Mixture, make_law
from dmdlab.networks import denoiser_of, fresh_networks, make_denoiser, make_network
from dmdlab.randomness import generator
from dmdlab.training.optimiser import gradient
from dmdlab.training.teacher import denoising_loss, excess_risk, train_teacher

NETWORK = NetworkSpec(kind="mlp", width=8, depth=2, time_features=4)


# --- teachers


def experiment(**settings: object) -> Experiment:
    """A teacher that trains in a second; `__` stands for the dot."""
    base = {
        "law__components": 4,
        "noise__sigma_max": 10.0,
        "teacher__iterations": 40,
        "teacher__batch": 32,
        "teacher__warmup": 5,
        "network__width": 16,
        "network__depth": 1,
    }
    return experiment_from({k.replace("__", "."): v for k, v in (base | settings).items()})


def trained(e: Experiment, seeds: Sequence[int], report_every: int = 200) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    law = make_law(e.law.model_dump())
    denoiser = fresh_networks(e, law, len(seeds))
    steps = [(s.iteration, s.loss) for s in train_teacher(e, seeds, law, denoiser, report_every)]
    return denoiser.network.flat.detach(), steps


@pytest.mark.parametrize("kind", ["residual", "mlp"])
@pytest.mark.parametrize("target", ["data", "posterior"])
def test_a_teacher_learns_its_law(kind: str, target: str) -> None:
    e = experiment(teacher__iterations=600, teacher__target=target, network__kind=kind, network__width=32)
    law = make_law(e.law.model_dump())
    g = torch.Generator().manual_seed(0)
    x, eps = torch.stack([law.sample(2000, g)] * 2), torch.randn(2, 2000, 2, generator=g)
    sigma = karras_sigma(torch.rand(2, 2000, 1, generator=g), e.noise)
    denoiser = make_denoiser(2, law, e.network)
    for _ in train_teacher(e, [0, 1], law, denoiser):
        after = excess_risk(denoiser, law, x, sigma, eps)
    fresh = make_denoiser(2, law, e.network)
    fresh.network.initialise([generator(s, "network") for s in (0, 1)])
    before = excess_risk(fresh, law, x, sigma, eps)
    assert (after < 0.3 * before).all()
    assert (after < 0.3).all()


@pytest.mark.parametrize(
    "settings", [{}, {"teacher__iterations": 8, "teacher__train_samples": 20, "teacher__condition": True}]
)
def test_a_teacher_does_not_depend_on_who_learns_beside_it(settings: dict[str, object]) -> None:
    e = experiment(**settings)
    together, steps = trained(e, [5, 3, 8])
    for i, seed in enumerate([5, 3, 8]):
        alone, own = trained(e, [seed])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(own[-1][1][0], steps[-1][1][i], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(together[0], together[1])
    again, _ = trained(e, [5, 3, 8])
    assert torch.equal(again, together)


def test_progress_reports_the_mean_loss_since_the_last_report() -> None:
    e = experiment(teacher__iterations=10)
    rows, every = trained(e, [0, 1], 1)
    same, some = trained(e, [0, 1], 4)
    assert torch.equal(rows, same)
    assert [i for i, _ in every] == list(range(1, 11))
    assert [i for i, _ in some] == [4, 8, 10]
    for (stop, mean), start in zip(some, (0, 4, 8), strict=True):
        torch.testing.assert_close(mean, torch.stack([loss for _, loss in every[start:stop]]).mean(0))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_teacher_that_diverged_is_told_to_its_end_and_not_trained(ema: float) -> None:
    e = experiment(teacher__learning_rate=1e30, teacher__ema=ema)
    denoiser = make_denoiser(1, law := make_law(e.law.model_dump()), e.network)
    steps = [(s.iteration, s.loss, s.state()) for s in train_teacher(e, [0], law, denoiser, report_every=10)]
    assert [at for at, *_ in steps] == [10, 20, 30, 40]
    assert all(loss.isnan().all() for _, loss, _ in steps)
    assert [state["network.counts"].item() for *_, state in steps] == [10, 10, 10, 10]
    assert denoiser.network.flat.isnan().all()


def test_teachers_of_all_ages_come_from_one_training() -> None:
    """At 20 of 40 iterations a teacher is not one that was trained for 20: its learning rate has not come down."""
    e = experiment()
    law = make_law(e.law.model_dump())
    denoiser, seen = make_denoiser(2, law, e.network), {}
    for step in train_teacher(e, [0, 1], law, denoiser, report_every=15, ages=[20, 33]):
        seen[step.iteration] = denoiser.network.flat.detach().clone()
    assert list(seen) == [15, 20, 30, 33]
    every, _ = trained(e, [0, 1])
    assert torch.equal(trained(e, [0, 1], 20)[0], every)
    short, _ = trained(experiment(teacher__iterations=20), [0, 1])
    assert not torch.allclose(seen[20], short)
    constant, _ = trained(experiment(teacher__decay="constant"), [0, 1])
    assert not torch.allclose(constant, every)


@pytest.mark.parametrize(("ema", "weights"), [(0.5, [0.125, 0.125, 0.25, 0.5]), (0.9, [0.25] * 4)])
def test_an_averaged_teacher_is_the_running_mean_of_its_parameters(ema: float, weights: list[float]) -> None:
    """Until the plain mean of what came so far forgets more slowly, then with its own decay."""
    e = experiment(teacher__iterations=4)
    rows = []
    law = make_law(e.law.model_dump())
    denoiser = make_denoiser(1, law, e.network)
    for _ in train_teacher(e, [0], law, denoiser, report_every=1):
        rows.append(denoiser.network.flat.detach().clone())
    found, _ = trained(experiment(teacher__iterations=4, teacher__ema=ema), [0])
    torch.testing.assert_close(found, sum(w * row for w, row in zip(weights, rows, strict=True)))


class Watching(torch.nn.Module):
    """A denoiser of one member that keeps what it is asked, x_sigma and sigma, and stays as it is."""

    def __init__(self, law: Law, spec: NetworkSpec) -> None:
        super().__init__()
        self.inner, self.asked = make_denoiser(1, law, spec), []
        self.network = self.inner.network

    def forward(self, x_sigma: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        self.asked.append((x_sigma[0], sigma[0]))
        return self.inner(x_sigma, sigma, label)


def asked(seed: int = 0, **settings: object) -> tuple[Tensor, Tensor, Law, Experiment]:
    """Of a whole training: x_sigma (iterations, n, d), sigma (iterations, n, 1), the law and the experiment."""
    e = experiment(teacher__batch=64, **settings)
    law = make_law(e.law.model_dump())
    denoiser = Watching(law, e.network)
    for _ in train_teacher(e, [seed], law, denoiser):  # type: ignore[arg-type]
        pass
    x_sigma, sigma = (torch.stack(parts) for parts in zip(*denoiser.asked, strict=True))
    return x_sigma, sigma, law, e


def test_training_asks_for_noised_data_at_levels_uniform_in_the_karras_index() -> None:
    x_sigma, sigma, law, e = asked()
    assert x_sigma.shape == (40, 64, 2)
    assert sigma.shape == (40, 64, 1)
    assert len(x_sigma.reshape(-1, 2).unique(dim=0)) == 40 * 64
    low, high = e.noise.sigma_min ** (1 / e.noise.rho), e.noise.sigma_max ** (1 / e.noise.rho)
    index = ((sigma ** (1 / e.noise.rho) - low) / (high - low)).flatten().sort().values
    uniform = torch.linspace(0, 1, len(index))
    assert (index - uniform).abs().max() < 2 / math.sqrt(len(index))  # Kolmogorov and Smirnov, p < 0.001
    unit = x_sigma / (sigma**2 + law.sigma_data**2).sqrt()
    assert unit.square().mean().item() == pytest.approx(1.0, abs=5 * math.sqrt(2 / unit.numel()))


def test_lognormal_levels_are_edms() -> None:
    _, sigma, _, _ = asked(teacher__levels="lognormal")
    log, n = sigma.log(), sigma.numel()
    assert log.mean().item() == pytest.approx(-1.2, abs=5 * 1.2 / math.sqrt(n))
    assert log.std().item() == pytest.approx(1.2, abs=5 * 1.2 / math.sqrt(2 * n))


def test_the_loss_that_is_reported_is_that_of_the_start_in_units_of_the_laws_scale() -> None:
    """Of one iteration, on the exact denoiser, by hand."""
    e = experiment(law__scale=2.0, teacher__iterations=1, teacher__target="posterior")
    law = make_law(e.law.model_dump())
    denoiser, start = Watching(law, e.network), make_denoiser(1, law, e.network)
    start.network.initialise([generator(0, "network")])
    (step,) = train_teacher(e, [0], law, denoiser)  # type: ignore[arg-type]
    ((x_sigma, sigma),) = denoiser.asked
    error = start(x_sigma[None], sigma[None])[0] - law.denoise(x_sigma, sigma)
    torch.testing.assert_close(step.loss[0], ((1 / sigma**2 + 1 / 2.0**2) * error**2).mean().detach())


def test_a_training_set_is_all_that_a_teacher_sees() -> None:
    """With hardly any noise every point lies on one of seven, which are another seed's no more."""
    almost_none = {"teacher__train_samples": 7, "noise__sigma_min": 1e-7, "noise__sigma_max": 1e-6}
    sets = [asked(seed, **almost_none)[0].reshape(-1, 2).mul(1e3).round().unique(dim=0) for seed in (0, 1)]
    assert [len(s) for s in sets] == [7, 7]
    assert not torch.equal(*sets)
    fresh, *_ = asked(0, **(almost_none | {"teacher__train_samples": 0}))
    assert len(fresh.reshape(-1, 2).unique(dim=0)) == 40 * 64


# --- losses


def test_the_two_targets_have_the_same_gradient_in_expectation_and_the_posterior_less_variance() -> None:
    law, members = Mixture(dim=2, components=4), 400
    start = make_network(1, law, NETWORK).initialise([generator(0, "network")]).flat
    denoiser = denoiser_of(start.expand(members, -1), law, NETWORK)
    g = torch.Generator().manual_seed(1)
    x = law.sample(members * 64, g).view(members, 64, 2)
    sigma = 0.3 + torch.rand(members, 64, 1, generator=g)
    x_sigma = x + sigma * torch.randn(x.shape, generator=g)
    found = []
    for target in (x, law.denoise(x_sigma, sigma)):
        loss = denoising_loss(denoiser, x_sigma, target, sigma, edm_weight(sigma, law.sigma_data))
        own = gradient(loss, list(denoiser.network.parameters()))[:, : start.shape[1]]
        found.append(own.double())  # (members, P): a batch each
    data, posterior = found
    difference = data - posterior
    assert (difference.mean(0).abs() / (difference.std(0) / math.sqrt(members))).max() < 5
    assert (data.var(0).sum() / posterior.var(0).sum()).item() > 1.2
    assert difference.std() > 0


def test_the_denoising_loss_is_the_weighted_mean_square_per_member() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [1.0, 1.0]]])
    weight = torch.tensor([[[2.0], [4.0]], [[1.0], [3.0]]])
    loss = denoising_loss(lambda y, s: 2 * y, x, torch.zeros_like(x), torch.ones(2, 2, 1), weight)
    assert loss.tolist() == [(2 * 4 + 2 * 16 + 4 * 36 + 4 * 64) / 4, (3 * 4 + 3 * 4) / 4]


@pytest.mark.parametrize("slip", [0.0, 0.1])
def test_the_excess_risk_of_a_scaled_denoiser(slip: float) -> None:
    """D = (1 - slip) D*: of a white Gaussian of variance s^2, w E|x0 - D*|^2 = 1 and w E|D*|^2 = s^2 / sigma^2 at each
    level, so that the risk is slip^2 mean s^2 / sigma^2."""
    law, sigma = Gaussian(dim=3, scale=2.0), torch.tensor([0.5, 2.0]).repeat(10000)[None, :, None]
    g = torch.Generator().manual_seed(0)
    x, eps = law.sample(20000, g)[None], torch.randn(1, 20000, 3, generator=g)
    risk = excess_risk(lambda y, s: (1 - slip) * law.denoise(y, s), law, x, sigma, eps)
    assert risk.item() == pytest.approx(slip**2 * (16 + 1) / 2, rel=0.02)


def test_no_excess_is_left_where_both_are_told_the_class() -> None:
    law, g = Mixture(dim=2, components=4), torch.Generator().manual_seed(0)
    x, label = (part[None] for part in law.sample_labelled(64, g))
    eps, sigma = torch.randn(x.shape, generator=g), torch.full((1, 64, 1), 0.7)
    assert excess_risk(law.denoise, law, x, sigma, eps, label).item() == 0
    assert excess_risk(lambda y, s, label: law.denoise(y, s), law, x, sigma, eps, label).item() > 0.1
