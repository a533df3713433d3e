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
from torch import Tensor, nn

from dmdlab.config import Experiment
from dmdlab.diffusion.denoiser import Denoiser, EDMDenoiser
from dmdlab.diffusion.noise import edm_weight, levels_in
from dmdlab.networks import Ensemble
from dmdlab.randomness import ahead, block_steps, generator
from dmdlab.training.optimiser import EnsembleAdamW
from dmdlab.training.teacher import denoising_loss, ensemble_of

DIVERGED = 1e3
"""A member has failed when a loss is not finite or its outputs' root mean square exceeds this many sigma_data."""


class Student(nn.Module):
    """G(z) = D(R z, sigma_max): a denoiser at the largest level, after each member's fixed rotation of the noise.

    `rotation` (e, d, d) acts on rows as z @ R; members marked False in `rotated` (e,) see z itself, bit for bit.
    """

    def __init__(
        self,
        denoiser: EDMDenoiser,
        sigma_max: float,
        rotation: Tensor | None = None,
        rotated: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.denoiser, self.sigma_max = denoiser, sigma_max
        self.rotation, self.rotated = rotation, rotated

    @property
    def network(self) -> Ensemble:
        """The trained parameters."""
        return ensemble_of(self.denoiser)

    def forward(self, z: Tensor) -> Tensor:
        """z (e, n, d) -> G(z) (e, n, d)."""
        if self.rotation is not None and self.rotated is not None:
            z = torch.where(self.rotated[:, None, None], torch.bmm(z, self.rotation), z)
        return self.denoiser(z, self.sigma_max)


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
class Cycle:
    """State of the ensemble after `iteration` fake-score updates. Tensors (e,), averaged since the last report.

    dm_loss: 0.5 mean direction^2 (the number DMD2 logs); score_loss: the fake score's loss; gap: root mean square of
    (D_fake - D_teacher) / sigma_data; the gradient norms are before clipping. failed_at: iteration of a member's
    first non-finite or runaway value, -1 while there is none.
    """

    iteration: int
    dm_loss: Tensor
    score_loss: Tensor
    gap: Tensor
    student_gradient_norm: Tensor
    score_gradient_norm: Tensor
    failed_at: Tensor


class Distillation:
    """The trainable state of an ensemble of students and the cycle that moves it.

    experiments: one per member, alike in all but seed, init and learning rates. teacher: any denoiser on (e, n, d).
    student, fake: ensembles of e networks, already at their start.
    """

    def __init__(
        self, experiments: Sequence[Experiment], teacher: Denoiser, student: Student, fake: EDMDenoiser
    ) -> None:
        first = experiments[0]
        self.config, self.score, self.noise = first.student, first.fake_score, first.noise
        self.teacher, self.student, self.fake = teacher, student, fake
        self.sigma_data = fake.sigma_data
        self.cycles = -(-self.config.iterations // self.score.updates)

        def optimiser(network: Ensemble, rates: list[float], total: int, warmup: int) -> EnsembleAdamW:
            return EnsembleAdamW(
                network,
                rates,
                total=total,
                warmup=warmup,
                decay=self.config.decay,
                weight_decay=self.config.weight_decay,
                clip=self.config.clip,
            )

        k = self.score.updates
        student_rates = [e.student.learning_rate for e in experiments]
        score_rates = [e.fake_score.learning_rate for e in experiments]
        self.student_optimiser = optimiser(student.network, student_rates, self.cycles, -(-self.config.warmup // k))
        self.score_optimiser = optimiser(ensemble_of(fake), score_rates, self.cycles * k, self.config.warmup)
        self.draws = _draws(experiments, student.network.flat.device, first.law.dim)
        members = len(experiments)
        self.failed_at = torch.full((members,), -1, device=student.network.flat.device)

    def run(self, report_at: Sequence[int]) -> Iterator[Cycle]:
        """Train to the end; yields at the first cycle that reaches each iteration of `report_at`, and at the end."""
        sums = torch.zeros(5, len(self.failed_at), device=self.failed_at.device)
        since, due = 0, sorted(set(report_at))
        for cycle in range(1, self.cycles + 1):
            iteration = cycle * self.score.updates
            sums += self.cycle(iteration)
            since += 1
            if (due and iteration >= due[0]) or cycle == self.cycles:
                dm_loss, score_loss, gap, student_norm, score_norm = (sums / since).unbind()
                yield Cycle(iteration, dm_loss, score_loss, gap, student_norm, score_norm, self.failed_at.clone())
                due = [at for at in due if at > iteration]
                sums, since = torch.zeros_like(sums), 0

    def cycle(self, iteration: int = 0) -> Tensor:
        """One student update and `updates` fake-score updates; returns the five numbers of `Cycle`, (5, e)."""
        z, u, eps = next(self.draws)
        batches = z.unbind(1)  # updates (+ 1 when the student's batch is its own) times (e, n, d)
        x = self.student(batches[0])
        loss, dm_loss, gap = self._student_loss(x, u[:, 0], eps[:, 0])
        student_norm = self.student_optimiser.step(loss)

        rest = torch.cat(batches[1:], dim=1) if len(batches) > 1 else None  # (e, (updates - 1) n, d)
        with torch.no_grad():
            fresh = [] if rest is None else self.student(rest).split(x.shape[1], dim=1)
        xs = [*fresh] if self.score.batches == "separate" else [x.detach(), *fresh]
        score = torch.zeros(2, x.shape[0], device=x.device)
        for j, sample in enumerate(xs, start=1):  # summed in order: a reduction's order depends on the members beside
            score += torch.stack(self._score_step(sample, u[:, j], eps[:, j]))
        score_loss, score_norm = (score / len(xs)).unbind()
        self._watch(iteration, dm_loss, score_loss, x.detach())
        return torch.stack([dm_loss, score_loss, gap, student_norm, score_norm])

    def _student_loss(self, x: Tensor, u: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The surrogate to differentiate, the DM loss and the gap, each (e,)."""
        sigma = levels_in(u, self.config.levels, self.noise)  # (e, n, 1)
        with torch.no_grad():
            x_sigma = x + sigma * eps
            d_teacher, d_fake = self.teacher(x_sigma, sigma), self.fake(x_sigma, sigma)
            direction = dmd_direction(x, d_teacher, d_fake, self.config.normaliser)
        gap = (d_fake - d_teacher).square().mean(dim=(1, 2)).sqrt() / self.sigma_data
        surrogate = dmd_surrogate(x, direction, self.config.reduction)
        return surrogate, 0.5 * direction.square().mean(dim=(1, 2)), gap

    def _score_step(self, x: Tensor, u: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        sigma = levels_in(u, self.score.levels, self.noise)
        weight = edm_weight(sigma, self.sigma_data) if self.score.weight == "edm" else 1.0
        loss = denoising_loss(self.fake, x + sigma * eps, x, sigma, weight)
        return loss.detach(), self.score_optimiser.step(loss)

    def _watch(self, iteration: int, dm_loss: Tensor, score_loss: Tensor, x: Tensor) -> None:
        """Note the first iteration at which a member's losses are not finite or its outputs run away."""
        size = x.square().mean(dim=(1, 2)).sqrt()
        healthy = dm_loss.isfinite() & score_loss.isfinite() & (size < DIVERGED * self.sigma_data)
        self.failed_at = torch.where((self.failed_at < 0) & ~healthy, iteration, self.failed_at)


def _draws(experiments: Sequence[Experiment], device: torch.device, d: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless z (e, b, n, d), u (e, 1 + k, n, 1), eps (e, 1 + k, n, d): one cycle's numbers, each member from its own
    streams. Index 0 of u and eps is the student's; b = k batches of noise, k + 1 when the student has its own."""
    first = experiments[0]
    k, n = first.fake_score.updates, first.student.batch
    batches = k + (first.fake_score.batches == "separate")
    steps = block_steps((1 + k) * n * d)

    def own(name: str) -> list[torch.Generator]:
        return [generator(e.seed, "distill", name, device=device) for e in experiments]

    def z(g: torch.Generator, cycles: int) -> Tensor:
        return torch.randn((cycles, batches, n, d), generator=g, device=device) * first.noise.sigma_max

    def u(g: torch.Generator, cycles: int) -> Tensor:
        return torch.rand((cycles, 1 + k, n, 1), generator=g, device=device)

    def eps(g: torch.Generator, cycles: int) -> Tensor:
        return torch.randn((cycles, 1 + k, n, d), generator=g, device=device)

    yield from zip(
        ahead(z, own("latents"), steps),
        ahead(u, own("level"), steps),
        ahead(eps, own("noise"), steps),
        strict=False,
    )
