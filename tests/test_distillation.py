"""The distillation loop: its student, its draws, its steps against a slow reference, and what it reports."""

import itertools
import math

import numpy as np
import pytest
import torch
from small import cycle, distillation, experiment, group_of, law_of, parameters, start_denoiser
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from dmdlab.config import Experiment
from dmdlab.diffusion import levels_in
from dmdlab.networks import EDMDenoiser, make_denoiser
from dmdlab.training.cycle import NUMBERS
from dmdlab.training.distill import Distillation, distillation_from
from dmdlab.training.draws import block_steps
from dmdlab.training.student import Student, starting_student
from dmdlab.training.turn import Turn

# --- the student


def test_a_rotated_student_is_the_plain_one_at_the_turned_noise() -> None:
    e = experiment()
    denoiser, turn, z = start_denoiser([e, e]), Turn([0, 0], [False, True], 4), 80 * torch.randn(2, 9, 4)
    plain, mixed = Student(denoiser, [80.0]), Student(denoiser, [80.0], turn)
    assert torch.equal(mixed(z)[0], plain(z)[0])
    assert torch.equal(mixed(z)[1], plain(turn(z))[1])
    assert (mixed(z)[1] - plain(z)[1]).abs().max() > 1e-3
    assert torch.equal(plain(z), denoiser(z, 80.0))


def test_a_student_of_two_steps_noises_its_first_guess_and_denoises_it_again() -> None:
    e = experiment()
    denoiser, turn = start_denoiser([e, e]), Turn([1, 2], [True, True], 4)
    z, eps = 80 * torch.randn(2, 9, 4), torch.randn(2, 9, 4)
    student = Student(denoiser, [80.0, 1.5], turn)
    first = denoiser(turn(z), 80.0)
    assert torch.equal(student(z, [eps]), denoiser(first + 1.5 * eps, 1.5))
    assert torch.equal(student.first(z), first)
    three = Student(denoiser, [80.0, 1.5, 0.2], turn)
    assert torch.equal(three(z, [eps, z]), denoiser(student(z, [eps]) + 0.2 * z, 0.2))
    with pytest.raises(ValueError, match="shorter"):
        student(z)  # a later noise is not made up


def test_students_start_as_their_teacher_at_turned_noise_or_at_random() -> None:
    members = [experiment(student__init=init, seed=s) for s, init in ((0, "teacher"), (1, "rotated"), (0, "random"))]
    teachers = start_denoiser(members)
    student = starting_student(group_of(*members), law_of(members[0]), teachers.network.flat, "cpu")
    z = 80 * torch.randn(3, 9, 4)
    found, as_teacher = student(z), teachers(z, 80.0)
    assert torch.equal(found[0], as_teacher[0])
    turned = Turn([0, 1, 0], [False, True, False], 4)(z)
    assert torch.equal(found[1], teachers(turned, 80.0)[1])
    assert torch.equal(student.network.flat[:2], teachers.network.flat[:2])
    assert (student.network.flat[2] - teachers.network.flat[2]).abs().max() > 0.1
    again = starting_student(group_of(*members[2:]), law_of(members[0]), teachers.network.flat[2:], "cpu")
    assert torch.equal(again.network.flat[0], student.network.flat[2])


# --- the draws


@pytest.mark.parametrize(("batches", "expected"), [("shared", 3), ("separate", 4)])
def test_a_cycles_numbers_are_prior_noise_uniform_levels_and_unit_noise(batches: str, expected: int) -> None:
    es = [experiment(seed=s, fake_score__updates=3, fake_score__batches=batches) for s in (0, 1)]
    z, u, eps = (torch.stack(parts) for parts in zip(*itertools.islice(distillation(es).draws, 70), strict=True))
    assert z.shape == (70, 2, expected, 32, 4)
    assert u.shape == (70, 2, 4, 32, 1)
    assert eps.shape == (70, 2, 4, 32, 4)
    assert z.std().item() == pytest.approx(80.0, rel=5 / math.sqrt(z.numel()))
    assert eps.std().item() == pytest.approx(1.0, rel=5 / math.sqrt(eps.numel()))
    assert u.min() >= 0
    assert u.max() < 1
    grid = torch.linspace(0, 1, u.numel())
    assert (u.flatten().sort().values - grid).abs().max() < 2 / math.sqrt(u.numel())
    blocks = [z[:, 0, 0], z[:, 1, 0], z[:, 0, 1], eps[:, 0, 0], eps[:, 1, 0], eps[:, 0, 1]]
    correlation = np.corrcoef(torch.stack([b.flatten() for b in blocks]).numpy())[np.triu_indices(6, 1)]
    assert np.abs(correlation).max() < 5 / math.sqrt(blocks[0].numel())
    for together, alone in zip((z, u, eps), next(distillation(es[1:]).draws), strict=True):
        assert torch.equal(alone[0], together[0, 1])


def test_no_number_is_drawn_twice() -> None:
    e = experiment(fake_score__updates=2)
    draws = itertools.islice(distillation([e]).draws, 2 * block_steps(3 * 32 * 4))
    z, _, _ = zip(*draws, strict=True)
    assert len(torch.stack(z).flatten().unique()) > 0.99 * torch.stack(z).numel()
    assert not torch.equal(z[0], z[-1])


def test_each_cycle_draws_its_own_classes_later_noises_and_steps() -> None:
    e = experiment(teacher__condition=True, student__steps=3)
    found = zip(*itertools.islice(distillation([e]).draws, 6), strict=True)
    _, _, _, labels, first, second, step = found
    for part in (labels, first, second):
        assert not any(torch.equal(a, b) for a, b in itertools.combinations(part, 2))
    assert len(torch.stack(step).unique(dim=0)) > 1


# --- the loop, written out for one member (DMD2, algorithm 1; the loss in DMD2's own form, a squared error)


def reference(e: Experiment, cycles: int) -> list[Tensor]:
    law, teacher = law_of(e), law_of(e).denoise
    student, fake = (start_denoiser([e]) for _ in range(2))
    s, f = e.student, e.fake_score
    student_adam, fake_adam = (
        torch.optim.AdamW(d.parameters(), lr=1.0, weight_decay=s.weight_decay) for d in (student, fake)
    )
    draws = distillation([e]).draws
    n_student, n_fake = math.ceil(s.iterations / f.updates), math.ceil(s.iterations / f.updates) * f.updates

    def levels(u: Tensor, bounds: tuple[float, float]) -> Tensor:
        low, high = e.noise.sigma_min ** (1 / e.noise.rho), e.noise.sigma_max ** (1 / e.noise.rho)
        return (low + (bounds[0] + u * (bounds[1] - bounds[0])) * (high - low)) ** e.noise.rho

    def rate(peak: float, step: int, warmup: int, total: int) -> float:
        ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
        done = max(0, step - warmup) / (total - warmup)
        return peak * ramp * (0.5 * (1 + math.cos(math.pi * done)) if s.decay == "cosine" else 1.0)

    def step(adam: torch.optim.AdamW, denoiser: EDMDenoiser, loss: Tensor, lr: float) -> None:
        adam.zero_grad()
        loss.backward()
        if s.clip:
            clip_grad_norm_(denoiser.parameters(), s.clip)
        adam.param_groups[0]["lr"] = lr
        adam.step()

    for at in range(cycles):
        z, u, eps = (a[0] for a in next(draws))

        def generate(j: int, z: Tensor = z) -> Tensor:
            return student(z[j][None], e.noise.sigma_max)

        x, sigma = generate(0), levels(u[0], s.levels)
        with torch.no_grad():
            real, own = teacher(x + sigma * eps[0], sigma), fake(x + sigma * eps[0], sigma)
            size = (x - real).abs()
            divisor = {
                "sample": size.mean(dim=-1, keepdim=True),
                "floored": size.mean(dim=-1, keepdim=True) + 1e-6,
                "batch": size.mean(),
                "none": torch.ones(()),
            }[s.normaliser]
            target = x - (own - real) / divisor
        square = (x - target) ** 2
        loss = 0.5 * (square.mean() if s.reduction == "mean" else square.sum(dim=-1).mean())
        step(
            student_adam,
            student,
            loss,
            rate(s.learning_rate, at, math.ceil(s.warmup / f.updates), n_student),
        )
        own_batch = f.batches == "separate"
        with torch.no_grad():
            seen = [] if own_batch else [x.detach()]
            seen += [generate(j) for j in range(1, f.updates + own_batch)]
        for j, sample in enumerate(seen):
            sigma = levels(u[1 + j], f.levels)
            weight = 1 / sigma**2 + 1 / law.sigma_data**2 if f.weight == "edm" else 1.0
            loss = (weight * (fake(sample + sigma * eps[1 + j], sigma) - sample) ** 2).mean()
            step(fake_adam, fake, loss, rate(f.learning_rate, at * f.updates + j, s.warmup, n_fake))
        assert len(seen) == f.updates
    return [d.network.flat.detach() for d in (student, fake)]


OPTIONS: dict[str, dict[str, object]] = {
    "as DMD2": {},
    "FastGen": {
        "fake_score__updates": 4,
        "fake_score__batches": "separate",
        "fake_score__weight": "uniform",
        "student__normaliser": "floored",
    },
    "sum, batch, no clipping, cosine": {
        "student__reduction": "sum",
        "student__normaliser": "batch",
        "student__clip": 0.0,
        "student__decay": "cosine",
    },
    "one to one, unnormalised, tight clipping": {
        "fake_score__updates": 1,
        "student__normaliser": "none",
        "student__clip": 0.01,
        "student__warmup": 0,
    },
    "other levels, the paper's network, another scale": {
        "law__scale": 2.0,
        "student__levels": [0.3, 0.7],
        "fake_score__levels": [0.1, 0.9],
        "student__weight_decay": 0.3,
        "network__kind": "mlp",
    },
}


@pytest.mark.parametrize("case", OPTIONS)
def test_the_loop_is_the_algorithm_written_out(case: str) -> None:
    e = experiment(**OPTIONS[case])
    loop = distillation([e])
    start = [p.clone() for p in parameters(loop)]
    for _ in range(8):
        loop.cycle()
    for found, expected, before in zip(parameters(loop), reference(e, 8), start, strict=True):
        moved = (expected - before).norm()
        assert (found - expected).norm() < 1e-3 * moved
        assert moved > 0


EACH_OPTION: list[dict[str, object]] = [
    {"student__clip": 0.5},
    {"student__decay": "cosine"},
    {"student__learning_rate": 1e-3},
    {"student__levels": [0.3, 0.7]},
    {"student__normaliser": "batch"},
    {"student__normaliser": "floored"},
    {"student__normaliser": "none"},
    {"student__reduction": "sum"},
    {"student__warmup": 0},
    {"student__weight_decay": 0.1},
    {"fake_score__batches": "separate"},
    {"fake_score__learning_rate": 2e-3},
    {"fake_score__levels": [0.1, 0.9]},
    {"fake_score__updates": 4},
    {"fake_score__weight": "uniform"},
]


def test_every_option_of_the_loop_changes_where_it_goes() -> None:
    ends = []
    for option in ({}, *EACH_OPTION):
        loop = distillation([experiment(**option)])
        for _ in range(6):  # past the warm-up
            loop.cycle()
        ends.append(torch.cat([p.flatten() for p in parameters(loop)]))
    for (i, a), (j, b) in itertools.combinations(enumerate(ends), 2):
        assert not torch.equal(a, b), (i, j)


# --- what a run reports


def test_a_run_reports_means_at_the_first_cycle_past_each_point_and_at_the_end() -> None:
    e = experiment(student__iterations=23, fake_score__updates=5)
    by_hand = distillation([e, e])
    cycles = [cycle(by_hand) for _ in range(5)]  # 23 iterations are 5 whole cycles
    loop = distillation([e, e])
    states = [loop.report() for _ in loop.run([7, 1, 10, 20])]
    assert [s.iteration for s in states] == [5, 10, 20, 25]
    for state, part in zip(states, ([0], [1], [2, 3], [4]), strict=True):
        mean = torch.stack([cycles[i] for i in part]).mean(0)
        assert tuple(state.numbers) == NUMBERS
        for name, row in zip(NUMBERS, mean, strict=True):
            torch.testing.assert_close(state.numbers[name], row)
        assert state.failed_at.tolist() == [-1, -1]


def diverged(*members: Experiment, spared: int | None = None) -> Distillation:
    """The loop at a start network of NaN, but for one member's."""
    rows = start_denoiser(members).network.flat.detach().clone()
    rows[[i for i in range(len(members)) if i != spared]] = math.nan
    return distillation_from(group_of(*members), law_of(members[0]), rows)


@pytest.mark.parametrize("option", [{}, {"student__weight": 0.0, "terms__gan__weight": 1.0}])
def test_cycles_of_nothing_finite_are_counted_and_not_run_and_report_the_same(option: dict[str, object]) -> None:
    e = experiment(student__iterations=40, fake_score__updates=5, **option)
    skipping, by_hand = (diverged(e, e) for _ in range(2))
    found = [(at, skipping.report()) for at in skipping.run([5, 20])]
    for at, report in found:
        while by_hand.done * 5 < at:
            by_hand.cycle()
        expected = by_hand.report()
        assert (report.iteration, report.failed_at.tolist()) == (expected.iteration, expected.failed_at.tolist())
        torch.testing.assert_close(report.numbers, expected.numbers, rtol=0, atol=0, equal_nan=True)
    assert [at for at, _ in found] == [5, 20, 40]
    assert by_hand.trained["student"].counts.tolist() == [8, 8]
    assert skipping.trained["student"].counts.tolist() == [1, 1]


def test_one_member_that_is_well_keeps_all_going() -> None:
    e = experiment(student__iterations=20)
    loop = diverged(e, e, spared=1)
    assert list(loop.run([])) == [20]
    assert loop.failed_at.tolist() == [5, -1]
    assert loop.trained["student"].counts.tolist() == [4, 4]


def test_the_reported_numbers_are_what_they_say() -> None:
    """The first cycle of a student whose fake score is still at its start, and stays there, recomputed."""
    still = {"student__learning_rate": 1e-30, "fake_score__learning_rate": 1e-30, "student__weight_decay": 0.0}
    e = experiment(student__normaliser="none", student__reduction="mean", student__clip=0.0, law__scale=2.0, **still)
    zs, us, epss = next(distillation([e]).draws)
    z, u, eps = (a[:, 0] for a in (zs, us, epss))
    loop = distillation([e])
    x = loop.student(z)
    sigma = levels_in(u, e.student.levels, e.noise)
    difference = loop.fake(x + sigma * eps, sigma) - loop.teacher(x + sigma * eps, sigma)
    first = next(loop.student.network.parameters())
    (gradient,) = torch.autograd.grad(x, first, difference.detach() / x.numel(), retain_graph=True)
    losses, norms = [], []
    for j in range(e.fake_score.updates):
        x, level = loop.student(zs[:, j]).detach(), levels_in(us[:, j + 1], e.fake_score.levels, e.noise)
        error = loop.fake(x + level * epss[:, j + 1], level) - x
        losses.append(((1 / level**2 + 1 / 2.0**2) * error**2).mean())
        own = torch.autograd.grad(losses[-1], list(loop.fake.network.parameters()))
        norms.append(torch.cat([part.flatten() for part in own]).norm())
    dm_loss, score_loss, gap, norm, score_norm = cycle(loop)[:, 0].tolist()
    assert dm_loss == pytest.approx(0.5 * difference.square().mean().item(), rel=1e-5)
    assert gap == pytest.approx(difference.square().mean().sqrt().item() / loop.fake.sigma_data, rel=1e-5)
    assert norm >= gradient.norm().item()
    assert score_loss == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)  # over the updates of a cycle
    assert score_norm == pytest.approx(torch.stack(norms).mean().item(), rel=1e-4)


def test_a_member_has_failed_above_a_thousand_sigma_data() -> None:
    """Outputs of one size, some 0.99 and 1.01 times that, of data of the scale 2."""
    es = [experiment(law__scale=2.0)] * 2
    start = start_denoiser(es)
    for p in start.network.parameters():
        p.data.zero_()
    start.network.out.bias.data[:] = torch.tensor([990.0, 1010.0])[:, None, None]  # type: ignore[union-attr, operator]
    loop = distillation_from(group_of(*es), law_of(es[0]), start.network.flat)
    loop.cycle()
    assert loop.failed_at.tolist() == [-1, 5]


def test_a_student_that_has_its_teachers_law_does_not_move() -> None:
    """Zero networks around the exact denoiser of a white Gaussian: fake score and teacher agree at every point."""
    e = experiment(law__name="gaussian", student__weight_decay=0.0, fake_score__learning_rate=1e-30).model_dump()
    del e["law"]["components"]
    one = Experiment.model_validate(e)
    law = law_of(one)
    student, fake = (make_denoiser(1, law, one.network) for _ in range(2))
    loop = Distillation(group_of(one), law, law.denoise, Student(student, [80.0]), fake)
    for _ in range(3):
        dm_loss, score_loss, gap, *_ = cycle(loop)[:, 0].tolist()
        assert dm_loss < 1e-9
        assert gap < 1e-5
        assert score_loss > 0.01
