"""One cycle of DMD as a pure function: from what is trained and random numbers to what is trained after it.

The student G is trained by the gradient (paper; DMD eq. 7; DMD2 eq. 2)

    E[ w (s_fake(x_sigma) - s_teacher(x_sigma)) dG/dtheta ],      x_sigma = G(z) + sigma eps,

which with s = (D - x) / sigma^2 and w = sigma^2 / normaliser is the *direction* (D_fake - D_teacher) / normaliser, a
pure function of three x0 predictions. The fake score learns the student's own law by denoising score matching on
G(z). Of a student of several steps G(z) stands for the output of one of them, drawn for each batch and reached through
the student's own earlier outputs (backward simulation, `Student.rollout`). A cycle is one student update and
`fake_score.updates` fake-score updates, student first, in DMD2's order: the student moves on the first batch, and the
fake score learns from that batch as it was before the move. Further terms of the loss (`dmdlab.training.terms`) add
their gradients at the student's outputs, and their own networks move with the fake score.

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
from dmdlab.diffusion.denoiser import Denoiser, conditioned
from dmdlab.diffusion.noise import edm_weight, levels_in
from dmdlab.networks import EDMDenoiser
from dmdlab.training.direction import dmd_direction, dmd_surrogate, gradient_at
from dmdlab.training.exact_score import LinearStudentScore, score_of
from dmdlab.training.levels import trained_step
from dmdlab.training.optimiser import EnsembleOptimiser, Trained, gradient_through, gradients
from dmdlab.training.student import Student
from dmdlab.training.teacher import denoising_loss
from dmdlab.training.terms import Batch, Matching, Term

DIVERGED = 1e3
"""A member has failed when a loss is not finite or its outputs' root mean square exceeds this many sigma_data."""

NUMBERS = ("dm_loss", "score_loss", "gap", "student_gradient_norm", "score_gradient_norm")
"""What every cycle reports. dm_loss: 0.5 mean direction^2 (the number DMD2 logs); score_loss: the fake score's loss;
gap: root mean square of (D_fake - D_teacher) / sigma_data; the gradient norms are before clipping. NaN where there
is no score."""


def numbers_of(terms: Mapping[str, Term]) -> tuple[str, ...]:
    """The names of all that a cycle reports: `NUMBERS`; where there are terms, the norms (over samples and coordinates)
    of the gradients at the outputs, of DMD's and of each term's; and the terms' own, as <term>_<number>."""
    norms = [f"{name}_gradient_norm" for name in ("dmd", *terms)] if terms else []
    own = [f"{name}_{key}" for name, term in terms.items() for key in (*term.numbers, *term.critic_numbers)]
    return (*NUMBERS, *norms, *own)


class State(NamedTuple):
    """What a cycle takes and gives: the networks in `trained` by name ('student', 'fake', and <term>.<network>); `sums`
    (e, numbers) of the numbers since they were last reported; `failed_at` (e,), the iteration of a member's first
    non-finite or runaway value, -1 while there is none."""

    trained: dict[str, Trained]
    sums: Tensor
    failed_at: Tensor


class Numbers(NamedTuple):
    """Of one cycle: latents z (e, b, n, d), which the student's turn has been applied to, and one tensor of class
    labels for them, (e, b, n) int64, or none; where a student of several steps wants them, their later unit noises,
    (e, b, n, d) each, and one tensor of the step that each batch trains, (e, b) int64; levels' places u (e, 1 + k, n,
    1) and unit noise eps (e, 1 + k, n, d), index 0 of both being the student's; what each term drew; the sizes of each
    network's steps, (e, steps, numbers) (`EnsembleOptimiser.sizes`)."""

    z: Tensor
    labels: tuple[Tensor, ...]
    later: tuple[Tensor, ...]
    step: tuple[Tensor, ...]
    u: Tensor
    eps: Tensor
    drawn: dict[str, Sequence[Tensor]]
    sizes: dict[str, Tensor]


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
        self.optimisers, self.sigma_data, self.fixed_step = optimisers, fake.sigma_data, trained_step(shared)
        self.own_score: Denoiser = score_of(shared, student, fake)
        self.own = [name for name in optimisers if name not in ("student", "fake")]
        self.joined = {"fake", *(f"{t}.{key}" for t, term in terms.items() for key in term.optimisers if term.joined)}

    def __call__(self, state: State, teacher: Tensor, numbers: Numbers) -> State:
        """The state after one student update and `updates` updates of the fake score and of the terms' networks."""
        with ExitStack() as held:
            if isinstance(self.teacher, EDMDenoiser):
                held.enter_context(self.teacher.network.holding(teacher))
            student, x, (dm_loss, gap, student_norm), of_students = self._student_update(state, numbers)
            critics, (score_loss, score_norm), of_critics = self._critic_updates(state, student, x, numbers)
        size = x.square().mean(dim=(1, 2)).sqrt()
        healthy = size < DIVERGED * self.sigma_data
        for loss, known in ((dm_loss, self.score.kind != "none"), (score_loss, self.score.kind == "network")):
            healthy = healthy & loss.isfinite() if known else healthy
        reported = [dm_loss, score_loss, gap, student_norm, score_norm, *of_students.pop("norms")]
        for name in self.terms:
            reported += [*of_students[name], *of_critics[name]]
        now = critics["fake"].counts.to(state.failed_at)  # iterations are fake-score updates
        return State(
            {"student": student, **critics},
            state.sums + torch.stack(reported, dim=1),
            torch.where((state.failed_at < 0) & ~healthy, now, state.failed_at),
        )

    def _student_update(
        self, state: State, numbers: Numbers
    ) -> tuple[Trained, Tensor, tuple[Tensor, Tensor, Tensor], dict[str, list[Tensor]]]:
        """The student's step; its batch x = G(z) before it (e, n, d); the DM loss, the gap and the gradient's norm; the
        numbers of each term, and, where there are terms, the 'norms' of all gradients at the outputs: each (e,)."""
        at, config = state.trained["student"], self.config
        with ExitStack() as held:
            leaves = held.enter_context(self.student.network.holding(at.parameters, trained=True))
            self._hold(held, state.trained, ["fake", *self.own])
            label = _labels_of(numbers, 0)
            x = self._rolled(numbers, slice(1))
            matching, dm_loss, gap = self._matched(x.detach(), label, numbers)
            total, others = x.new_zeros(x.shape), []
            if matching and config.weight:
                direction = matching.direction
                total = gradient_at(x, lambda at_x: self._weighted(dmd_surrogate(at_x, direction, config.reduction)))
            reported = {"norms": [total.norm(dim=(1, 2))] if self.terms else []}
            for name, term in self.terms.items():
                drawn = numbers.drawn[name]
                latents = term.latents(drawn)
                own = None if latents is None else self.student.rollout(latents[0], (), 0, latents[1])
                at_x = (x if own is None else own).detach().requires_grad_()
                batch = Batch(at_x, label, matching) if latents is None else Batch(at_x, latents[1], None)
                loss, found = term.student_loss(batch, drawn)
                (part,) = torch.autograd.grad(loss.sum(), at_x)
                reported["norms"].append(part.norm(dim=(1, 2)))
                reported[name] = [number.detach() for number in found]
                if own is None:
                    total = total + part
                else:
                    others.append((own, part))
            g = gradient_through([(x, total), *others], leaves)
        after, norm = self.optimisers["student"].step(at, g, numbers.sizes["student"][:, 0])
        return after, x.detach(), (dm_loss, gap, norm), reported

    def _weighted(self, loss: Tensor) -> Tensor:
        return loss if self.config.weight == 1 else self.config.weight * loss

    @torch.no_grad()
    def _matched(self, x: Tensor, label: Tensor | None, numbers: Numbers) -> tuple[Matching | None, Tensor, Tensor]:
        """What distribution matching finds for x = G(z) (e, n, d); the DM loss and the gap, each (e,)."""
        if self.score.kind == "none":
            none = torch.full_like(x[:, 0, 0], torch.nan)
            return None, none, none
        sigma, eps = levels_in(numbers.u[:, 0], self.config.levels, self.noise), numbers.eps[:, 0]
        x_sigma = x + sigma * eps
        d_teacher = conditioned(self.teacher, label)(x_sigma, sigma)
        if self.score.kind == "estimated":
            fresh = self._rolled(numbers, slice(1, None))
            d_fake = LinearStudentScore(self.student)(x_sigma, sigma, samples=fresh)
        else:
            d_fake = conditioned(self.own_score, label)(x_sigma, sigma)
        direction = dmd_direction(x, d_teacher, d_fake, self.config.normaliser)
        gap = (d_fake - d_teacher).square().mean(dim=(1, 2)).sqrt() / self.sigma_data
        return Matching(x_sigma, sigma, direction), 0.5 * direction.square().mean(dim=(1, 2)), gap

    @torch.no_grad()
    def _batches(self, student: Trained, x: Tensor, numbers: Numbers) -> list[Tensor]:
        """What the fake score learns from: the student's batch first, unless that is its own, then fresh ones."""
        shared, z = [] if self.score.batches == "separate" else [x], numbers.z
        if z.shape[1] == 1:
            return shared
        with self.student.network.holding(student.parameters):
            fresh = self._rolled(numbers, slice(1, None))
        return [*shared, *fresh.split(z.shape[2], dim=1)]

    def _rolled(self, numbers: Numbers, batches: slice) -> Tensor:
        """The student's outputs at these batches of latents, one batch after the other, (e, rows, d)."""
        z, *later = (part[:, batches].flatten(1, 2) for part in (numbers.z, *numbers.later))
        label = numbers.labels[0][:, batches].flatten(1, 2) if numbers.labels else None
        step: Tensor | int | None = self.fixed_step
        if step is None:
            step = numbers.step[0][:, batches, None].expand(-1, -1, numbers.z.shape[2]).flatten(1, 2).unsqueeze(2)
        return self.student.rollout(z, later, step, label)

    def _critic_updates(
        self, state: State, student: Trained, x: Tensor, numbers: Numbers
    ) -> tuple[dict[str, Trained], list[Tensor], dict[str, list[Tensor]]]:
        """The steps of the fake score and of the terms' networks, by name, one a batch; the means over them of the fake
        score's loss and its gradient's norm, and of each term's numbers, each (e,). A fake score that is exact, or none
        at all, has its steps counted, and neither, which is NaN."""
        now, k = {name: at for name, at in state.trained.items() if name != "student"}, self.score.updates
        critics = [name for name, term in self.terms.items() if term.optimisers]
        sums = {name: [torch.zeros_like(x[:, 0, 0]) for _ in self.terms[name].critic_numbers] for name in self.terms}
        learning, reported = self.score.kind == "network", list[list[Tensor]]()
        if not learning:
            now["fake"] = now["fake"]._replace(counts=now["fake"].counts + k)
        xs = self._batches(student, x, numbers) if learning or critics else []
        sigmas = levels_in(numbers.u[:, 1:], self.score.levels, self.noise)  # (e, updates, n, 1)
        first = numbers.z.shape[1] - len(xs)  # 1 where the student has a batch of its own
        trained = ["fake"] * learning + self.own
        for j, x in enumerate(xs):
            label, losses = _labels_of(numbers, first + j), list[Tensor]()
            with ExitStack() as held:
                leaves = self._hold(held, now, trained, trained=True)
                if learning:
                    sigma, eps = sigmas[:, j], numbers.eps[:, j + 1]
                    weight = edm_weight(sigma, self.sigma_data) if self.score.weight == "edm" else 1.0
                    losses.append(denoising_loss(self.fake, x + sigma * eps, x, sigma, weight, label))
                for name in critics:
                    loss, found = self.terms[name].critic_loss(Batch(x, label, None), j, numbers.drawn[name])
                    losses.append(loss)
                    sums[name] = [a + b.detach() / k for a, b in zip(sums[name], found, strict=True)]
                g = gradients(sum(losses[1:], losses[0]), leaves)
            norms = {name: own.norm(dim=1) for name, own in g.items()}
            parts = [own for name, own in norms.items() if name in self.joined]
            joint = torch.stack(parts).norm(dim=0) if len(parts) > 1 else None
            for name in trained:
                limited = joint if name in self.joined else None
                now[name], _ = self.optimisers[name].step(now[name], g[name], numbers.sizes[name][:, j], limited)
            reported += [[losses[0].detach(), norms["fake"]]] if learning else []
        none = torch.full_like(state.sums[:, 0], torch.nan)
        columns = [sum(c[1:], c[0]) / len(xs) for c in zip(*reported, strict=True)] if learning else [none, none]
        return now, columns, sums

    def _hold(
        self, held: ExitStack, given: Mapping[str, Trained], names: Sequence[str], trained: bool = False
    ) -> dict[str, list[Tensor]]:
        """Lend these networks their parameters for as long as `held` does."""
        return {
            name: held.enter_context(self.optimisers[name].network.holding(given[name].parameters, trained=trained))
            for name in names
        }


def _labels_of(numbers: Numbers, batch: int) -> Tensor | None:
    """The class labels of a batch of latents, (e, n), or None."""
    return numbers.labels[0][:, batch] if numbers.labels else None
