"""One cycle of DMD as a pure function: from what is trained and random numbers to what is trained after it.

The student G is trained by the gradient (paper; DMD eq. 7; DMD2 eq. 2)

    E[ w (s_fake(x_sigma) - s_teacher(x_sigma)) dG/dtheta ],      x_sigma = G(z) + sigma eps,

which with s = (D - x) / sigma^2 and w = sigma^2 / normaliser is the *direction* (D_fake - D_teacher) / normaliser, a
pure function of three x0 predictions. The fake score learns the student's own law by denoising score matching on
G(z). A cycle is one student update and `fake_score.updates` fake-score updates, student first, in DMD2's order: the
student moves on the first batch, and the fake score learns from that batch as it was before the move.

Every number that differs from cycle to cycle or from member to member comes in as a tensor with the members first, and
nothing else is read or changed: a state goes in, which may be used up (`EnsembleOptimiser.in_place`), and the next one
comes out. So a cycle can be called as it is, compiled, captured as a CUDA graph (`dmdlab.device.repeated`), and for any
of its members alone.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion.denoiser import Denoiser, told
from dmdlab.diffusion.noise import edm_weight, levels_in
from dmdlab.networks import EDMDenoiser
from dmdlab.training.exact_score import LinearStudentScore
from dmdlab.training.optimiser import EnsembleOptimiser, Trained, gradient
from dmdlab.training.student import Student
from dmdlab.training.teacher import denoising_loss
from dmdlab.training.terms import Term

DIVERGED = 1e3
"""A member has failed when a loss is not finite or its outputs' root mean square exceeds this many sigma_data."""

NUMBERS = ("dm_loss", "score_loss", "gap", "student_gradient_norm", "score_gradient_norm")
"""What every cycle reports. dm_loss: 0.5 mean direction^2 (the number DMD2 logs); score_loss: the fake score's loss;
gap: root mean square of (D_fake - D_teacher) / sigma_data; the gradient norms are before clipping."""


class State(NamedTuple):
    """What a cycle takes and gives: the networks in `trained` by name ('student', 'fake', and <term>.<network>); `sums`
    (e, numbers) of the numbers since they were last reported; `failed_at` (e,), the iteration of a member's first
    non-finite or runaway value, -1 while there is none."""

    trained: dict[str, Trained]
    sums: Tensor
    failed_at: Tensor


class Numbers(NamedTuple):
    """Of one cycle: latents z (e, b, n, d), which the student's turn has been applied to, and one tensor of class
    labels for them, (e, b, n) int64, or none; levels' places u (e, 1 + k, n, 1) and unit noise eps (e, 1 + k, n, d),
    index 0 of both being the student's; what each term drew; the sizes of each network's steps, (e, steps,
    numbers) (`EnsembleOptimiser.sizes`)."""

    z: Tensor
    labels: tuple[Tensor, ...]
    u: Tensor
    eps: Tensor
    drawn: dict[str, Sequence[Tensor]]
    sizes: dict[str, Tensor]


def normaliser(x: Tensor, d_teacher: Tensor, kind: str) -> Tensor | float:
    """What the direction is divided by: x, d_teacher (e, n, d) -> (e, n, 1), (e, 1, 1) or 1.

    'sample': each sample's mean abs(x - D_teacher) over coordinates (DMD eq. 8, DMD2), no floor; 'floored': the same
    + 1e-6; 'batch': the mean over samples too; 'none': 1.
    """
    if kind == "none":
        return 1.0
    size = (x - d_teacher).abs()
    if kind == "batch":
        return size.mean(dim=(1, 2), keepdim=True)
    return size.mean(dim=2, keepdim=True) + (1e-6 if kind == "floored" else 0.0)


def dmd_direction(x: Tensor, d_teacher: Tensor, d_fake: Tensor, kind: str) -> Tensor:
    """The direction (D_fake - D_teacher) / normaliser in which the loss grows, (e, n, d); zero in expectation when the
    student's law is the teacher's. x = G(z), d_teacher and d_fake the two x0 predictions at x_sigma."""
    return (d_fake - d_teacher) / normaliser(x, d_teacher, kind)


def dmd_surrogate(x: Tensor, direction: Tensor, reduction: str) -> Tensor:
    """A loss per member (e,) whose gradient in x is direction / n ('sum') or direction / (n d) ('mean', DMD2)."""
    inner = (x * direction.detach()).sum(dim=2)  # (e, n)
    return inner.mean(dim=1) / (x.shape[2] if reduction == "mean" else 1)


class Cycle:
    """The function (state, teacher's parameters, numbers) -> state, for members that share the settings of `shared`.

    The networks of student, fake, teacher and `optimisers` are shapes here: the parameters are the state's, and
    the teacher's (e, P), empty for one that is no network.
    """

    def __init__(
        self,
        shared: Experiment,
        student: Student,
        fake: EDMDenoiser,
        teacher: Denoiser,
        optimisers: Mapping[str, EnsembleOptimiser],
        terms: Mapping[str, Term],
    ) -> None:
        self.config, self.score, self.noise = shared.student, shared.fake_score, shared.noise
        self.student, self.fake, self.teacher, self.terms = student, fake, teacher, terms
        self.optimisers, self.sigma_data = optimisers, fake.sigma_data
        self.exact = shared.fake_score.kind == "exact"
        self.own_score: Denoiser = LinearStudentScore(student) if self.exact else fake

    def __call__(self, state: State, teacher: Tensor, numbers: Numbers) -> State:
        """The state after one student update, `updates` fake-score updates and one of each term's own networks."""
        with ExitStack() as held:
            if isinstance(self.teacher, EDMDenoiser):
                held.enter_context(self.teacher.network.holding(teacher))
            student, x, reported = self._student_update(state, numbers)
            fake, score = self._score_updates(state.trained["fake"], student, x, numbers)
            own = self._terms_updates(state, x, numbers)
        dm_loss, gap, student_norm, *more = reported
        score_loss, score_norm = score
        size = x.square().mean(dim=(1, 2)).sqrt()
        learned = dm_loss if self.exact else score_loss
        healthy = dm_loss.isfinite() & learned.isfinite() & (size < DIVERGED * self.sigma_data)
        now = fake.counts.to(state.failed_at)  # iterations are fake-score updates
        return State(
            {"student": student, "fake": fake, **own},
            state.sums + torch.stack([dm_loss, score_loss, gap, student_norm, score_norm, *more], dim=1),
            torch.where((state.failed_at < 0) & ~healthy, now, state.failed_at),
        )

    def _student_update(self, state: State, numbers: Numbers) -> tuple[Trained, Tensor, list[Tensor]]:
        """The student's step; its batch x = G(z) before it (e, n, d); the DM loss, the gap, the gradient's norm and the
        terms' numbers, each (e,)."""
        at, config = state.trained["student"], self.config
        with ExitStack() as held:
            leaves = held.enter_context(self.student.network.holding(at.parameters, trained=True))
            held.enter_context(self.fake.network.holding(state.trained["fake"].parameters))
            self._hold_terms(held, state)
            label = _labels_of(numbers, 0)
            x = self.student.generate(numbers.z[:, 0], label=label)
            sigma, eps = levels_in(numbers.u[:, 0], config.levels, self.noise), numbers.eps[:, 0]
            with torch.no_grad():
                x_sigma = x + sigma * eps
                d_teacher, d_fake = (told(d, label)(x_sigma, sigma) for d in (self.teacher, self.own_score))
                direction = dmd_direction(x, d_teacher, d_fake, config.normaliser)
            gap = (d_fake - d_teacher).square().mean(dim=(1, 2)).sqrt() / self.sigma_data
            loss, reported = dmd_surrogate(x, direction, config.reduction), []
            for name, term in self.terms.items():
                own_loss, own_numbers = term.student_loss(x, numbers.drawn[name])
                loss = loss + own_loss
                reported += [number.detach() for number in own_numbers]
            g = gradient(loss, leaves)
        after, norm = self.optimisers["student"].step(at, g, numbers.sizes["student"][:, 0])
        return after, x.detach(), [0.5 * direction.square().mean(dim=(1, 2)), gap, norm, *reported]

    @torch.no_grad()
    def _batches(self, student: Trained, x: Tensor, numbers: Numbers) -> list[Tensor]:
        """What the fake score learns from: the student's batch first, unless that is its own, then fresh ones."""
        shared, z = [] if self.score.batches == "separate" else [x], numbers.z
        if z.shape[1] == 1:
            return shared
        label = numbers.labels[0][:, 1:].flatten(1, 2) if numbers.labels else None
        with self.student.network.holding(student.parameters):
            fresh = self.student.generate(z[:, 1:].flatten(1, 2), label=label)
        return [*shared, *fresh.split(z.shape[2], dim=1)]

    def _score_updates(
        self, at: Trained, student: Trained, x: Tensor, numbers: Numbers
    ) -> tuple[Trained, list[Tensor]]:
        """The fake score's steps, one a batch; the means over them of its loss and its gradient's norm, each (e,). An
        exact one is at its end already: its steps are counted, and it has neither, which is NaN."""
        if self.exact:
            none = torch.full_like(at.counts, torch.nan)
            return at._replace(counts=at.counts + self.score.updates), [none, none]
        xs = self._batches(student, x, numbers)
        sigmas = levels_in(numbers.u[:, 1:], self.score.levels, self.noise)  # (e, updates, n, 1)
        first = numbers.z.shape[1] - len(xs)  # 1 where the student has a batch of its own
        reported: list[list[Tensor]] = []
        for j, x in enumerate(xs):
            sigma, eps = sigmas[:, j], numbers.eps[:, j + 1]
            with self.fake.network.holding(at.parameters, trained=True) as leaves:
                weight = edm_weight(sigma, self.sigma_data) if self.score.weight == "edm" else 1.0
                loss = denoising_loss(self.fake, x + sigma * eps, x, sigma, weight, _labels_of(numbers, first + j))
                g = gradient(loss, leaves)
            at, norm = self.optimisers["fake"].step(at, g, numbers.sizes["fake"][:, j])
            reported.append([loss.detach(), norm])
        return at, [sum(column[1:], column[0]) / len(xs) for column in zip(*reported, strict=True)]

    def _terms_updates(self, state: State, x: Tensor, numbers: Numbers) -> dict[str, Trained]:
        """A step of every network that the terms train."""
        found: dict[str, Tensor] = {}
        for name, term in self.terms.items():
            with ExitStack() as held:
                leaves = self._hold_terms(held, state, trained=True)
                for key, loss in term.network_losses(x, numbers.drawn[name]).items():
                    found[f"{name}.{key}"] = gradient(loss, leaves[f"{name}.{key}"])
        return {  # all gradients first, and in the state's order: it is copied leaf by leaf
            name: self.optimisers[name].step(at, found[name], numbers.sizes[name][:, 0])[0]
            for name, at in state.trained.items()
            if name in found
        }

    def _hold_terms(self, held: ExitStack, state: State, trained: bool = False) -> dict[str, list[Tensor]]:
        """Give the terms' networks their parameters for as long as `held` does."""
        own = [name for name in self.optimisers if name not in ("student", "fake")]
        return {
            name: held.enter_context(
                self.optimisers[name].network.holding(state.trained[name].parameters, trained=trained)
            )
            for name in own
        }


def _labels_of(numbers: Numbers, batch: int) -> Tensor | None:
    """The class labels of a batch of latents, (e, n), or None."""
    return numbers.labels[0][:, batch] if numbers.labels else None
