"""Students of several steps: their levels, their chain, and training by backward simulation."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from small import group_of, law_of, start_denoiser
from terms import FEW, after, loop_of, member, members, normal
from torch import Tensor, nn

from dmdlab.config import InputError
from dmdlab.diffusion import flow
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser
from dmdlab.randomness import generator
from dmdlab.training.cycle import Cycle, Numbers, State
from dmdlab.training.exact_score import LinearStudentScore
from dmdlab.training.laziness import laziness
from dmdlab.training.levels import levels_of, trained_step
from dmdlab.training.regression import FitPairs, fit
from dmdlab.training.student import Student, later_noises, starting_student

LEVELS = (5.0, 1.5, 0.4)


class Spy(nn.Module):
    """A denoiser that notes its inputs, its levels and whether it is differentiated."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.seen: list[tuple[Tensor, Any, bool]] = []

    def forward(self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        self.seen.append((x.detach().clone(), sigma, torch.is_grad_enabled()))
        return self.gain * x / (1 + sigma) + 0.1


def spied(sampler: str = "sde") -> tuple[Student, Spy, Tensor, list[Tensor]]:
    """A student of three steps, noise (2, 6, 3) and its later noises."""
    spy, (z, *later) = Spy(), normal(3, 2, 6, 3)
    return Student(spy, LEVELS, sampler=sampler), spy, 5 * z, list(later)  # type: ignore[arg-type]


def by_hand(spy: Spy, z: Tensor, later: Sequence[Tensor], step: int) -> Tensor:
    x = spy(z, LEVELS[0])
    for i in range(1, step + 1):
        x = spy(x.detach() + LEVELS[i] * later[i - 1], LEVELS[i])
    return x


# --- levels


def test_levels_are_those_of_dmd2_and_follow_the_noise() -> None:
    wide = {"noise.sigma_max": 80.0}
    assert levels_of(member(**wide)) == [80.0]
    assert levels_of(member(**wide, **{"student.steps": 2})) == pytest.approx([80, 2.515], rel=1e-3)
    four = {**wide, "student.steps": 4}
    assert levels_of(member(**four)) == pytest.approx([80, 17.53, 2.515, 0.170], rel=2e-3)
    low, high = levels_of(member(**{"student.steps": 4})), levels_of(member(**four))
    assert low[0] == 5.0
    assert all(a < b for a, b in zip(low, high, strict=True))
    begun = levels_of(member(**four, **{"student.start_level": 2.5}))
    assert begun[0] == 2.5
    assert all(a > b for a, b in itertools.pairwise(begun))
    given = member(**{"student.steps": 2, "student.step_levels": [4.0, 1.0]})
    assert levels_of(given) == [4.0, 1.0]


REFUSED = {
    "more steps than levels": {"student.steps": 4, "student.step_levels": [5.0, 1.0]},
    "more levels than steps": {"student.step_levels": [5.0, 1.0]},
    "leave one of them out": {"student.steps": 2, "student.step_levels": [5.0, 1.0], "student.start_level": 4.0},
    "from noise.sigma_min = 0.002 to noise.sigma_max = 5": {"student.start_level": 80.0},
    "student.step_levels: a student's levels must lie": {"student.steps": 2, "student.step_levels": [5.0, 0.001]},
    "name a step that there is": {"student.steps": 2, "student.rollout": "fixed", "student.rollout_step": 3},
    "outputs of several steps are a mixture": {
        **{"student.steps": 2, "fake_score.kind": "exact", "network.kind": "linear"},
        **dict.fromkeys(("network.width", "network.depth")),
    },
}


@pytest.mark.parametrize("words", REFUSED)
def test_steps_and_levels_that_do_not_fit_are_refused_in_a_sentence(words: str) -> None:
    with pytest.raises(InputError, match=words):
        member(**REFUSED[words])


# --- the chain


@pytest.mark.parametrize("sampler", ["sde", "ode"])
def test_the_whole_map_is_its_steps_one_after_the_other(sampler: str) -> None:
    student, _, z, later = spied(sampler)
    own = later if sampler == "sde" else []
    x = z
    for step in student.maps(own):
        x = step(x)
    assert torch.equal(x, student(z, own))
    assert torch.equal(student(z, own), student(z, own))
    assert student.noises == len(own)
    if sampler == "sde":
        torch.testing.assert_close(x, by_hand(student.denoiser, z, later, 2))  # type: ignore[arg-type]
        assert (student(z, later) - student(z, later[::-1])).abs().max() > 1e-3
    with pytest.raises(ValueError, match="longer"):
        student(z, [*own, z])


def test_an_ode_chain_of_the_perfect_denoiser_is_the_flow_by_eulers_steps() -> None:
    law = law_of(member())
    z = 5 * normal(1, 9, 4)
    student = Student(law.denoise, LEVELS, sampler="ode")  # type: ignore[arg-type]
    expected = flow(law.denoise, z, [*LEVELS, 0.0], "euler")
    torch.testing.assert_close(student(z), expected)
    assert (expected - law.denoise(z, 5.0)).abs().max() > 0.01


def test_a_start_level_sees_the_noise_at_its_size() -> None:
    spy, z = Spy(), 80 * normal(1, 5, 3)
    student = Student(spy, [2.5], sigma_max=80.0)  # type: ignore[arg-type]
    torch.testing.assert_close(student(z), spy(2.5 * z / 80, 2.5))
    torch.testing.assert_close(student.first(z), student(z))
    e = member(**{"student.start_level": 2.5})
    start = start_denoiser([e])
    own = starting_student(group_of(e), law_of(e), start.network.flat, "cpu")
    x = z.float().expand(1, 5, 3) @ torch.eye(3, 4)
    torch.testing.assert_close(own(x), start(x / 2, 2.5))  # sigma_max is 5


# --- the four mistakes


@pytest.mark.parametrize("drawn", [True, False])
def test_the_first_step_sees_pure_noise(drawn: bool) -> None:
    student, spy, z, later = spied()
    student.rollout(z, later, torch.zeros(2, 6, 1, dtype=torch.int64) if drawn else 0)
    x, level, _ = spy.seen[-1]
    assert torch.equal(x, z)
    assert torch.as_tensor(level).unique().tolist() == [5.0]


def test_no_noise_is_used_twice() -> None:
    """In one chain every step adds its own; over a cycle all that is drawn is independent."""
    student, spy, z, later = spied()
    student.rollout(z, later, 2)
    for i in (1, 2):
        before = spy.gain * spy.seen[i - 1][0] / (1 + LEVELS[i - 1]) + 0.1
        torch.testing.assert_close((spy.seen[i][0] - before) / LEVELS[i], later[i - 1])
    loop = loop_of(members({"student.steps": 4, "student.batch": 64, "fake_score.updates": 2}))
    z, _, eps, *more = next(loop.draws)
    later, step = more[:3], more[3]
    assert step.shape == (2, 2)
    assert all(part.shape == (2, 2, 64, 4) for part in later)
    columns = torch.stack([part.flatten() for part in (z / 5, eps[:, 1:], *later)])
    correlation = torch.corrcoef(columns) - torch.eye(5)
    assert correlation.abs().max() < 5 / columns.shape[1] ** 0.5
    flat = torch.cat([part.flatten() for part in later])
    assert flat.unique().numel() > 0.99 * flat.numel()  # of members and batches, too
    assert float(flat.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_the_rollout_ends_at_its_step(step: int) -> None:
    student, spy, z, later = spied()
    found = student.rollout(z, later, step)
    assert [grad for *_, grad in spy.seen] == [False] * step + [True]
    torch.testing.assert_close(found, by_hand(spy, z, later, step))
    drawn = student.rollout(z, later, torch.full((2, 6, 1), step))
    torch.testing.assert_close(drawn, found)
    whole = student(z, later)
    assert (step == 2) == torch.allclose(found, whole)


def test_steps_train_on_the_students_own_outputs_and_on_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    es = members({"student.steps": 4, **FEW})
    monkeypatch.setattr(Law, "sample", lambda *args: pytest.fail("data was drawn"))
    for name in ("sample", "_sample", "sample_labelled"):
        monkeypatch.setattr(type(law_of(es[0])), name, lambda *args: pytest.fail("data was drawn"), raising=False)
    loop = loop_of(es)
    loop.cycle()
    student, spy, z, later = spied()
    inputs = []
    for gain in (0.5, 0.9):
        spy.seen.clear()
        spy.gain.data.fill_(gain)
        student.rollout(z, later, 1)
        inputs.append(spy.seen[-1][0])
        torch.testing.assert_close(inputs[-1] - LEVELS[1] * later[0], gain * z / (1 + LEVELS[0]) + 0.1)
    assert (inputs[0] - inputs[1]).abs().max() > 0.01


# --- the gradient, and what a cycle makes of its numbers


def test_only_the_trained_step_has_a_gradient() -> None:
    student, spy, z, later = spied()
    (found,) = torch.autograd.grad(student.rollout(z, later, 2).sum(), spy.gain)
    y = spy.seen[-1][0]
    torch.testing.assert_close(found, (y / (1 + LEVELS[2])).sum())
    (whole,) = torch.autograd.grad(student(z, later).sum(), spy.gain)
    assert abs(whole - found) > 1e-3


def test_a_cycles_batches_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch of each member has a step of its own, and its rows share it."""
    es = members({"student.steps": 3, **FEW, "fake_score.updates": 3})
    loop, start, levels = loop_of(es), start_denoiser(es), levels_of(es[0])
    given: list[Numbers] = []
    outputs: list[Tensor] = []
    call, rollout = Cycle.__call__, Student.rollout

    def called(self: Cycle, state: State, teacher: Tensor, numbers: Numbers) -> State:
        given.append(numbers)
        return call(self, state, teacher, numbers)

    def rolled(self: Student, *inputs: Any) -> Tensor:
        x = rollout(self, *inputs)
        outputs.append(x.detach().clone())
        return x

    monkeypatch.setattr(Cycle, "__call__", called)
    monkeypatch.setattr(Student, "rollout", rolled)
    loop.cycle()
    (numbers,), (x, fresh) = given, outputs
    for i in range(2):
        for batch, own in enumerate((x[i], *fresh[i].split(8))):
            denoiser = loop.student.denoiser if batch else start  # the fresh batches come after the student's step
            expected = denoiser(numbers.z[:, batch], levels[0])
            for j in range(1, int(numbers.step[0][i, batch]) + 1):
                expected = denoiser(expected + levels[j] * numbers.later[j - 1][:, batch], levels[j])
            torch.testing.assert_close(own, expected[i], rtol=1e-4, atol=1e-5)
    assert fresh.shape == (2, 2 * 8, 4)


def test_steps_are_drawn_evenly_by_each_member() -> None:
    loop = loop_of(members({"student.steps": 4, **FEW, "student.batch": 2}))
    steps = torch.stack([next(loop.draws)[-1] for _ in range(150)])  # (cycles, e, b)
    counts = torch.bincount(steps.flatten(), minlength=4) / steps.numel()
    assert counts.tolist() == pytest.approx([0.25] * 4, abs=5 * (0.1875 / steps.numel()) ** 0.5)
    assert not torch.equal(steps[:, 0], steps[:, 1])
    assert not torch.equal(steps[..., 0], steps[..., 1])


@pytest.mark.parametrize(("chosen", "step"), [(0, 2), (1, 0), (2, 1)])
def test_a_fixed_rollout_trains_its_step_and_draws_no_other(chosen: int, step: int) -> None:
    es = members({"student.steps": 3, "student.rollout": "fixed", "student.rollout_step": chosen, **FEW})
    assert trained_step(es[0]) == step
    loop = loop_of(es)
    _, _, _, *later = next(loop.draws)
    assert len(later) == step
    assert after(loop, 2)[-1].isfinite().all()


def test_one_step_is_what_it_was_whatever_is_said_of_further_ones() -> None:
    plain = after(loop_of(members(FEW)), 3)
    first = {"student.steps": 4, "student.rollout": "fixed", "student.rollout_step": 1}
    for settings in ({"student.sampler": "ode"}, {"student.rollout": "fixed"}, {"student.start_level": 5.0}, first):
        assert all(torch.equal(a, b) for a, b in zip(plain, after(loop_of(members(FEW | settings)), 3), strict=True))
    ends = [plain[0]]
    for settings in (
        {"student.start_level": 2.5},
        {"student.steps": 2},
        {"student.steps": 2, "student.sampler": "ode"},
        {"student.steps": 2, "student.rollout": "fixed"},
        {"student.steps": 2, "student.step_levels": [5.0, 0.7]},
    ):
        ends.append(after(loop_of(members(FEW | settings)), 3)[0])
        assert all(not torch.equal(ends[-1], other) for other in ends[:-1])


# --- what else knows the first level


def test_an_exact_score_is_that_of_a_student_at_its_start_level() -> None:
    e = member(**{"network.kind": "linear", "network.width": None, "network.depth": None, "student.start_level": 2.5})
    denoiser: EDMDenoiser = start_denoiser([e])
    student = Student(denoiser, levels_of(e), sigma_max=5.0)
    _, values, u, _ = LinearStudentScore(student).law_of(torch.zeros(1, 3, 4))
    z = 5 * torch.randn(1, 20_000, 4, generator=generator(0, "sample"))
    expected = torch.cov(student(z)[0].detach().T).double()
    torch.testing.assert_close(u[0] @ (values[0].T * u[0].T), expected, rtol=0.1, atol=0.05 * float(expected.max()))


def test_a_regressed_start_is_fitted_at_the_students_first_level() -> None:
    e = member(
        **{"student.init": "regressed", "student.start_level": 2.5, "student.regression": 200, "teacher.warmup": 5}
    )
    denoiser, z = start_denoiser([e]), 5 * torch.randn(1, 30, 4, generator=generator(0, "z"))
    pairs = FitPairs(z, 0.1 * z)
    before, *_, last = (step.loss for step in fit(e, [0], denoiser, pairs, report_every=1))
    assert last < 0.3 * before
    student = Student(denoiser, levels_of(e), sigma_max=5.0)
    error = (student(z) - 0.1 * z).square().mean() / denoiser.sigma_data**2
    assert error.item() == pytest.approx(last.item(), rel=0.3)
    assert (denoiser(z, 5.0) - 0.1 * z).square().mean() / denoiser.sigma_data**2 > 2 * error


def test_a_kernel_of_several_steps_does_not_depend_on_how_many_rows_go_at_a_time() -> None:
    es = members({"student.steps": 3})
    before, after_ = (Student(start_denoiser(es, name), LEVELS) for name in ("network", "other"))
    z = 5 * torch.randn(2, 9, 4, generator=generator(0, "z"))
    later = later_noises(before, [0, 1], 4, 9)
    found = [laziness((0, 1), before, after_, z, None, rows, later) for rows in (9, 4)]
    torch.testing.assert_close(found[0]["kernel_change"], found[1]["kernel_change"], rtol=1e-4, atol=1e-4)
    other = laziness((0, 1), before, after_, z, None, 9, later[::-1])
    assert (other["kernel_change"] - found[0]["kernel_change"]).abs().max() > 1e-3
