"""The optimiser against torch's own, one member at a time; teachers that learn, alone as among others."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from dmdlab.config import Experiment, NetworkSpec, experiment_from
from dmdlab.diffusion import edm_weight, karras_sigma
from dmdlab.laws import Gaussian, Law, Mixture, make_law
from dmdlab.networks import Ensemble, denoiser_of, make_denoiser, make_network
from dmdlab.networks.ensemble import ALIGNED
from dmdlab.randomness import generator
from dmdlab.training.optimiser import EnsembleAdamW, EnsembleOptimiser, EnsembleSGD, Trained, gradient, warmup_then
from dmdlab.training.teacher import denoising_loss, excess_risk, train_teacher

NETWORK = NetworkSpec(kind="mlp", width=8, depth=2, time_features=4)


# --- learning rates


def test_warm_up_is_linear_then_constant_or_a_half_cosine_to_zero() -> None:
    assert [warmup_then(i, 4, 100, "constant") for i in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert warmup_then(0, 0, 100, "constant") == 1.0
    assert [warmup_then(i, 4, 104, "cosine") for i in (0, 3, 4)] == [0.25, 1.0, 1.0]
    assert warmup_then(54, 4, 104, "cosine") == pytest.approx(0.5)
    assert warmup_then(29, 4, 104, "cosine") == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert warmup_then(104, 4, 104, "cosine") == pytest.approx(0.0)
    assert warmup_then(500, 4, 104, "cosine") == pytest.approx(0.0)
    assert warmup_then(2, 10, 5, "cosine") == 0.3  # a run that ends before its warm-up does


# --- the optimiser

RATES = [1e-3, 3e-2, 1e-3, 1e-4]


def network(members: int) -> Ensemble:
    net = make_network(members, Gaussian(dim=3), NETWORK)
    return net.initialise([generator(s, "network") for s in range(members)])


def losses(net: Ensemble, step: int) -> Tensor:
    """Each member's loss on its own data; gradients grow from step to step, so that clipping sets in on the way."""
    g = torch.Generator().manual_seed(step)
    x, c = torch.randn(4, 6, 3, generator=g), torch.randn(4, 6, 1, generator=g)
    size = torch.tensor([1.0, 3.0, 0.1, 10.0]) * 1.3**step
    return size * (net(x, c) - x.flip(1)).square().mean(dim=(1, 2))


each_way = pytest.mark.parametrize("in_place", [True, False], ids=["in place", "by formula"])


def adamw(in_place: bool, **settings: object) -> EnsembleAdamW:
    optimiser = EnsembleAdamW(network(4), RATES, **settings)  # type: ignore[arg-type]
    optimiser.in_place = in_place
    return optimiser


def sgd(in_place: bool, **settings: object) -> EnsembleSGD:
    optimiser = EnsembleSGD(network(4), RATES, **settings)  # type: ignore[arg-type]
    optimiser.in_place = in_place
    return optimiser


each_kind = pytest.mark.parametrize("made", [adamw, sgd], ids=["adamw", "sgd"])


def stepped(
    optimiser: EnsembleOptimiser, at: Trained, step: int, factor: Tensor | float = 1.0
) -> tuple[Trained, Tensor]:
    """The step from `at` down `factor` times the losses, and the norms."""
    with optimiser.network.holding(at.parameters, trained=True) as leaves:
        loss = factor * losses(optimiser.network, step)
        return optimiser.step(at, gradient(loss, leaves), optimiser.sizes(step, 1)[:, 0])


def rows(optimiser: EnsembleOptimiser, at: Trained) -> Tensor:
    """The parameters (e, P), after a look at the zeros behind them."""
    used, unused = at.parameters.tensor_split([optimiser.network.flat.shape[1]], dim=1)
    assert 0 < unused.shape[1] < ALIGNED
    assert not unused.nan_to_num(0.0).any()  # a broken member's are broken, too
    return used


@each_way
@pytest.mark.parametrize("decay", ["constant", "cosine"])
@pytest.mark.parametrize(("clip", "weight_decay"), [(0.0, 0.1), (5.0, 0.1), (5.0, 0.0)])
def test_it_is_torchs_adamw_on_each_member_alone(clip: float, weight_decay: float, decay: str, in_place: bool) -> None:
    together = adamw(in_place, total=12, weight_decay=weight_decay, clip=clip, warmup=3, decay=decay)
    at, reference = together.start(), [network(4) for _ in range(4)]  # a whole ensemble per member, one row of it used
    alone = [torch.optim.AdamW(n.parameters(), lr=1.0, weight_decay=weight_decay) for n in reference]
    clipped = []
    for step in range(12):
        at, norms = stepped(together, at, step)
        for i, (own, optimiser) in enumerate(zip(reference, alone, strict=True)):
            optimiser.zero_grad()
            losses(own, step)[i].backward()  # the other rows' gradients are zero
            norm = clip_grad_norm_(own.parameters(), clip if clip else math.inf)
            assert norms[i].item() == pytest.approx(norm.item(), rel=1e-4)
            clipped.append(bool(clip) and norm.item() > clip)
            ramp = min(1.0, (step + 1) / 3)
            wave = 0.5 * (1 + math.cos(math.pi * max(0, step - 3) / 9)) if decay == "cosine" else 1.0
            optimiser.param_groups[0]["lr"] = RATES[i] * ramp * wave
            optimiser.step()
            torch.testing.assert_close(rows(together, at)[i], own.flat[i], rtol=2e-4, atol=2e-6)
        assert at.counts.tolist() == [step + 1] * 4
    assert {True, False} == set(clipped) if clip else not any(clipped)


@each_way
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_is_torchs_on_each_member_alone_after_a_decay_of_its_own(weight_decay: float, in_place: bool) -> None:
    together = sgd(in_place, total=6, weight_decay=weight_decay, clip=5.0, warmup=3)
    at, reference = together.start(), [network(4) for _ in range(4)]
    alone = [torch.optim.SGD(n.parameters(), lr=1.0) for n in reference]
    for step in range(6):
        at, _ = stepped(together, at, step)
        for i, (own, optimiser) in enumerate(zip(reference, alone, strict=True)):
            optimiser.zero_grad()
            losses(own, step)[i].backward()
            clip_grad_norm_(own.parameters(), 5.0)
            rate = optimiser.param_groups[0]["lr"] = RATES[i] * min(1.0, (step + 1) / 3)
            own.flat.mul_(1 - rate * weight_decay)
            optimiser.step()
            torch.testing.assert_close(rows(together, at)[i], own.flat[i], rtol=1e-5, atol=1e-7)
    assert at.counts.tolist() == [6] * 4
    assert not at.mean.numel() + at.square.numel()


@each_kind
@each_way
def test_a_member_that_breaks_leaves_the_others_steps_alone(
    in_place: bool, made: Callable[..., EnsembleOptimiser]
) -> None:
    optimiser = made(in_place, total=9, weight_decay=0.1, clip=1.0)
    healthy, mixed = optimiser.start(), optimiser.start()
    spoil = torch.tensor([1.0, math.nan, 1.0, math.inf])
    for step in range(5):
        healthy, _ = stepped(optimiser, healthy, step)
        mixed, _ = stepped(optimiser, mixed, step, spoil)
    good, bad = rows(optimiser, healthy), rows(optimiser, mixed)
    for i in (0, 2):
        assert torch.equal(good[i], bad[i])
    assert not bad[1].isfinite().any()
    assert not bad[3].isfinite().all()


@each_kind
@each_way
def test_a_zero_gradient_is_not_clipped_into_a_nan(in_place: bool, made: Callable[..., EnsembleOptimiser]) -> None:
    optimiser = made(in_place, total=9, clip=1.0)
    at, norms = stepped(optimiser, optimiser.start(), 0, 0.0)
    assert not norms.any()
    assert torch.equal(rows(optimiser, at), optimiser.network.flat)


@each_kind
@each_way
def test_a_step_takes_all_from_its_arguments_and_leaves_the_network_alone(
    in_place: bool, made: Callable[..., EnsembleOptimiser]
) -> None:
    optimiser = made(in_place, total=9, weight_decay=0.1, clip=1.0)
    kept = optimiser.network.flat.clone()
    first, _ = stepped(optimiser, optimiser.start(), 0)
    given = Trained(*(t.clone() for t in first))
    second, norms = stepped(optimiser, first, 1)
    assert all((old is new) == in_place for old, new in zip(first, second, strict=True))
    if not in_place:
        assert all(torch.equal(a, b) for a, b in zip(first, given, strict=True))
    stepped(optimiser, optimiser.start(), 5)  # whatever else it did in between
    again, same = stepped(optimiser, given, 1)
    assert all(torch.equal(a, b) for a, b in zip((*second, norms), (*again, same), strict=True))
    assert torch.equal(optimiser.network.flat, kept)


def test_the_sizes_of_many_steps_are_those_of_each_and_past_the_end_the_rate_is_the_last() -> None:
    optimiser = adamw(False, total=9, warmup=3, decay="cosine", weight_decay=0.1)
    many = optimiser.sizes(4, 9)
    assert many.shape == (4, 9, 4)
    for j in range(9):
        assert torch.equal(many[:, j], optimiser.sizes(4 + j, 1)[:, 0])
        rates = [rate * warmup_then(min(4 + j, 8), 3, 9, "cosine") for rate in RATES]
        torch.testing.assert_close(many[:, j, 0], torch.tensor(rates))


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
    denoiser = make_denoiser(len(seeds), law, e.network)
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


def test_a_teacher_does_not_depend_on_who_learns_beside_it() -> None:
    e = experiment()
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
    """D = (1 - slip) D*: slip^2 E|D*|^2 / E|x0 - D*|^2 = slip^2 s^2 / sigma^2 for a white Gaussian of variance s^2."""
    law, sigma = Gaussian(dim=3, scale=2.0), torch.full((1, 20000, 1), 0.5)
    g = torch.Generator().manual_seed(0)
    x, eps = law.sample(20000, g)[None], torch.randn(1, 20000, 3, generator=g)
    risk = excess_risk(lambda y, s: (1 - slip) * law.denoise(y, s), law, x, sigma, eps)
    assert risk.item() == pytest.approx(slip**2 * 4 / 0.25, rel=0.02)
