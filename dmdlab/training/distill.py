"""Distribution Matching Distillation of one-step students, an ensemble at a time.

The student G is trained by the gradient (paper; DMD eq. 7; DMD2 eq. 2)

    E[ w (s_fake(x_sigma) - s_teacher(x_sigma)) dG/dtheta ],      x_sigma = G(z) + sigma eps,

which with s = (D - x) / sigma^2 and w = sigma^2 / normaliser is the *direction* (D_fake - D_teacher) / normaliser, a
pure function of three x0 predictions. The fake score learns the student's own law by denoising score matching on
G(z). One cycle is one student update and `fake_score.updates` fake-score updates, student first, in DMD2's order:
the student moves on the first batch, and the fake score learns from that batch as it was before the move.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dmdlab.device.capture import Replayed
from dmdlab.device.fusing import fusing, graph_and_fusing
from dmdlab.device.precision import arithmetic, precision_on
from dmdlab.diffusion.denoiser import Denoiser
from dmdlab.diffusion.noise import edm_weight, levels_in
from dmdlab.group import Group
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser, Ensemble, denoiser_of
from dmdlab.training.draws import Draws, Source, block_steps, streams
from dmdlab.training.optimiser import EnsembleAdamW
from dmdlab.training.student import Student, starting_student
from dmdlab.training.teacher import denoising_loss
from dmdlab.training.terms import make_terms

DIVERGED = 1e3
"""A member has failed when a loss is not finite or its outputs' root mean square exceeds this many sigma_data."""

NUMBERS = ("dm_loss", "score_loss", "gap", "student_gradient_norm", "score_gradient_norm")
"""What every cycle reports. dm_loss: 0.5 mean direction^2 (the number DMD2 logs); score_loss: the fake score's loss;
gap: root mean square of (D_fake - D_teacher) / sigma_data; the gradient norms are before clipping."""


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


@dataclass(frozen=True)
class Report:
    """State of the ensemble after `iteration` fake-score updates.

    numbers: by name, each (e,), averaged over the cycles since the last report: `NUMBERS`, then those of the further
    terms as <term>_<number>. failed_at: (e,), the iteration of a member's first non-finite or runaway value, -1 while
    there is none.
    """

    iteration: int
    numbers: dict[str, Tensor]
    failed_at: Tensor


class Distillation:
    """The trainable state of an ensemble of students and the cycle that moves it.

    group: the members. law: theirs, for the further terms. teacher: any denoiser on (e, n, d). student, fake: ensembles
    of e networks, already at their start. graph: replay the cycle as a CUDA graph; None does so on a GPU. fuse: join
    elementwise work (`dmdlab.device.fusing`); None does so in a CUDA graph where that works. Raises `InputError` for a
    `network.precision` that the networks' device lacks.
    """

    def __init__(
        self,
        group: Group,
        law: Law,
        teacher: Denoiser,
        student: Student,
        fake: EDMDenoiser,
        graph: bool | None = None,
        fuse: bool | None = None,
    ) -> None:
        first, e = group.shared, len(group)
        self.config, self.score, self.noise = first.student, first.fake_score, first.noise
        self.teacher, self.student, self.fake = teacher, student, fake
        self.sigma_data = fake.sigma_data
        self.device = student.network.flat.device
        self.precision = precision_on(self.device, first.network.precision)
        k = self.score.updates
        self.cycles = cycles(group)
        student_rates = [own.student.learning_rate for own in group.members]
        score_rates = [own.fake_score.learning_rate for own in group.members]
        self.student_optimiser = self._optimiser(
            student.network, student_rates, self.cycles, -(-self.config.warmup // k)
        )
        self.score_optimiser = self._optimiser(fake.network, score_rates, self.cycles * k, self.config.warmup)
        self.terms = make_terms(group, law, student, self.cycles)
        own_optimisers = {f"{t}.{key}": o for t, term in self.terms.items() for key, o in term.optimisers.items()}
        self.optimisers = {"student": self.student_optimiser, "fake": self.score_optimiser, **own_optimisers}
        self.numbers = (*NUMBERS, *(f"{t}_{key}" for t, term in self.terms.items() for key in term.numbers))
        self.draws = self._draws(group, law.dim)
        self.done = self.reported = 0  # cycles
        self.iteration = torch.zeros((), dtype=torch.int64, device=self.device)
        self.sums = torch.zeros(len(self.numbers), e, device=self.device)  # of the numbers since the last report
        self.failed_at = torch.full((e,), -1, device=self.device)
        graph, self.fuse = graph_and_fusing(self.device, graph, fuse)
        self._step = Replayed(self._cycle, graph)

    def _optimiser(self, network: Ensemble, rates: list[float], total: int, warmup: int) -> EnsembleAdamW:
        config = self.config
        return EnsembleAdamW(
            network,
            rates,
            total=total,
            warmup=warmup,
            decay=config.decay,
            weight_decay=config.weight_decay,
            clip=config.clip,
        )

    def run(self, stops: Sequence[int]) -> Iterator[int]:
        """Train to the end. Yields the iteration at the first cycle that reaches each of `stops`, and at the end."""
        k = self.score.updates
        due = sorted({min(self.cycles, max(1, -(-stop // k))) for stop in stops} | {self.cycles})
        for stop in due:
            if stop > self.done:
                while self.done < stop:
                    self.cycle()
                yield self.done * k

    def cycle(self) -> None:
        """One student update and `updates` fake-score updates, then one update of each term's own networks."""
        self._step(*next(self.draws))
        self.done += 1

    def report(self) -> Report:
        """The numbers of the cycles since the last report; on a GPU this waits for them."""
        means = self.sums / max(1, self.done - self.reported)
        self.sums.zero_()
        self.reported = self.done
        numbers = dict(zip(self.numbers, means.unbind(), strict=True))
        return Report(self.done * self.score.updates, numbers, self.failed_at.clone())

    def state(self) -> dict[str, Tensor]:
        """All that a later run needs to go on to the same end, each tensor with the members first."""
        states, given_out = self.draws.state()
        place = torch.tensor([self.done, self.reported, given_out]).expand(len(states), 3)
        found = {"sums": self.sums.T, "failed_at": self.failed_at, "streams": states, "place": place}
        for name, optimiser in self.optimisers.items():
            found |= {f"{name}.{key}": value for key, value in optimiser.state().items()}
        return found

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where `state` was taken; its rows are these members."""
        self.sums.copy_(state["sums"].T)
        self.failed_at.copy_(state["failed_at"])
        self.done, self.reported, given_out = state["place"][0].tolist()
        self.iteration.fill_(self.done * self.score.updates)
        self.draws.restore(state["streams"], given_out)
        for name, optimiser in self.optimisers.items():
            optimiser.restore({key: state[f"{name}.{key}"] for key in optimiser.state()})

    def _cycle(self, z: Tensor, u: Tensor, eps: Tensor, *more: Tensor) -> None:
        """A cycle from its random numbers (`_draws`); keeps the discipline of `dmdlab.device.capture`."""
        drawn = self._by_term(more)
        with arithmetic(self.precision, self.device), fusing(self.fuse):
            batches = z.unbind(1)  # updates (+ 1 when the student's batch is its own) times (e, n, d)
            x = self.student(batches[0])
            loss, dm_loss, gap = self._matching_loss(x, u[:, 0], eps[:, 0])
            numbers: list[Tensor] = []
            for name, term in self.terms.items():
                own_loss, own_numbers = term.student_loss(x, drawn[name])
                loss = loss + own_loss
                numbers += own_numbers
            student_norm = self.student_optimiser.step(loss)
            x = x.detach()

            rest = torch.cat(batches[1:], dim=1) if len(batches) > 1 else None  # (e, (updates - 1) n, d)
            with torch.no_grad():
                fresh = [] if rest is None else self.student(rest).split(x.shape[1], dim=1)
            xs = [*fresh] if self.score.batches == "separate" else [x, *fresh]
            sigmas = levels_in(u[:, 1:], self.score.levels, self.noise)  # (e, updates, n, 1)
            score = torch.zeros(2, x.shape[0], device=x.device)
            for j, sample in enumerate(xs):  # summed in order: a reduction's order depends on the members
                score += torch.stack(self._score_step(sample, sigmas[:, j], eps[:, j + 1]))
            for name, term in self.terms.items():
                for key, own_loss in term.network_losses(x, drawn[name]).items():
                    term.optimisers[key].step(own_loss)
        score_loss, score_norm = (score / len(xs)).unbind()
        self.iteration += self.score.updates
        self._watch(dm_loss, score_loss, x)
        self.sums += torch.stack([dm_loss, score_loss, gap, student_norm, score_norm, *map(torch.detach, numbers)])

    def _by_term(self, more: Sequence[Tensor]) -> dict[str, Sequence[Tensor]]:
        """The terms' own random numbers, apart."""
        rest = list(more)
        found: dict[str, Sequence[Tensor]] = {}
        for name, term in self.terms.items():
            found[name], rest = rest[: len(term.sources)], rest[len(term.sources) :]
        return found

    def _matching_loss(self, x: Tensor, u: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The surrogate to differentiate, the DM loss and the gap, each (e,)."""
        sigma = levels_in(u, self.config.levels, self.noise)  # (e, n, 1)
        with torch.no_grad():
            x_sigma = x + sigma * eps
            d_teacher, d_fake = self.teacher(x_sigma, sigma), self.fake(x_sigma, sigma)
            direction = dmd_direction(x, d_teacher, d_fake, self.config.normaliser)
        gap = (d_fake - d_teacher).square().mean(dim=(1, 2)).sqrt() / self.sigma_data
        surrogate = dmd_surrogate(x, direction, self.config.reduction)
        return surrogate, 0.5 * direction.square().mean(dim=(1, 2)), gap

    def _score_step(self, x: Tensor, sigma: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        weight = edm_weight(sigma, self.sigma_data) if self.score.weight == "edm" else 1.0
        loss = denoising_loss(self.fake, x + sigma * eps, x, sigma, weight)
        return loss.detach(), self.score_optimiser.step(loss)

    def _watch(self, dm_loss: Tensor, score_loss: Tensor, x: Tensor) -> None:
        """Note the first iteration at which a member's losses are not finite or its outputs run away."""
        size = x.square().mean(dim=(1, 2)).sqrt()
        healthy = dm_loss.isfinite() & score_loss.isfinite() & (size < DIVERGED * self.sigma_data)
        self.failed_at.copy_(torch.where((self.failed_at < 0) & ~healthy, self.iteration, self.failed_at))

    def _draws(self, group: Group, d: int) -> Draws:
        """Endless z (e, b, n, d), u (e, 1 + k, n, 1), eps (e, 1 + k, n, d), and what the terms want: one cycle's
        numbers. Index 0 of u and eps is the student's; b = k batches of noise, k + 1 when the student has its own."""
        k, n, device, sigma_max = self.score.updates, self.config.batch, self.device, self.noise.sigma_max
        batches = k + (self.score.batches == "separate")

        def z(g: torch.Generator, steps: int) -> Tensor:
            return torch.randn((steps, batches, n, d), generator=g, device=device) * sigma_max

        def u(g: torch.Generator, steps: int) -> Tensor:
            return torch.rand((steps, 1 + k, n, 1), generator=g, device=device)

        def eps(g: torch.Generator, steps: int) -> Tensor:
            return torch.randn((steps, 1 + k, n, d), generator=g, device=device)

        named = {"latents": z, "level": u, "noise": eps}
        own = [Source(draw, streams(group, "distill", name, device=device)) for name, draw in named.items()]
        terms = [source for term in self.terms.values() for source in term.sources]
        return Draws([*own, *terms], block_steps((1 + k) * n * d))


def cycles(group: Group) -> int:
    """Cycles of a distillation: its iterations count fake-score updates."""
    return -(-group.shared.student.iterations // group.shared.fake_score.updates)


def distillation_from(
    group: Group,
    law: Law,
    rows: Tensor,
    device: torch.device | str = "cpu",
    graph: bool | None = None,
    fuse: bool | None = None,
) -> Distillation:
    """The distillation of a group whose start networks have the parameters `rows` (e, P); graph, fuse: its own."""
    spec = group.shared.network
    teacher: Denoiser = law.denoise
    if group.shared.teacher.kind == "network":
        teacher = denoiser_of(rows, law, spec, device)
    student = starting_student(group, law, rows, device)
    return Distillation(group, law, teacher, student, denoiser_of(rows, law, spec, device), graph, fuse)
