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
from dmdlab.config import Experiment
from dmdlab.device.capture import Replayed
from dmdlab.diffusion.denoiser import Denoiser, EDMDenoiser
from dmdlab.diffusion.noise import edm_weight, levels_in
from dmdlab.networks import Ensemble
from dmdlab.randomness import Ahead, block_steps, generator
from dmdlab.training.optimiser import EnsembleAdamW
from torch import Tensor, nn

from dmdlab.device.fusing import fusing, graph_and_fusing
from dmdlab.device.precision import arithmetic, precision_on
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
            with arithmetic("float32", z.device):
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
    student, fake: ensembles of e networks, already at their start. graph: replay the cycle as a CUDA graph; None does
    so on a GPU. fuse: join elementwise work (`dmdlab.device.fusing`); None does so in a CUDA graph where that works.
    Raises `InputError` for a `network.precision` that the networks' device lacks.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        teacher: Denoiser,
        student: Student,
        fake: EDMDenoiser,
        graph: bool | None = None,
        fuse: bool | None = None,
    ) -> None:
        first = experiments[0]
        self.config, self.score, self.noise = first.student, first.fake_score, first.noise
        self.teacher, self.student, self.fake = teacher, student, fake
        self.sigma_data = fake.sigma_data
        self.device = student.network.flat.device
        self.precision = precision_on(self.device, first.network.precision)
        k = self.score.updates
        self.cycles = -(-self.config.iterations // k)
        student_rates = [e.student.learning_rate for e in experiments]
        score_rates = [e.fake_score.learning_rate for e in experiments]
        self.student_optimiser = self._optimiser(
            student.network, student_rates, self.cycles, -(-self.config.warmup // k)
        )
        self.score_optimiser = self._optimiser(ensemble_of(fake), score_rates, self.cycles * k, self.config.warmup)
        self.draws = _draws(experiments, self.device, first.law.dim)
        self.done = self.reported = 0  # cycles
        self.iteration = torch.zeros((), dtype=torch.int64, device=self.device)
        self.sums = torch.zeros(5, len(experiments), device=self.device)  # of Cycle's numbers since the last report
        self.failed_at = torch.full((len(experiments),), -1, device=self.device)
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
        """One student update and `updates` fake-score updates."""
        self._step(*next(self.draws))
        self.done += 1

    def report(self) -> Cycle:
        """The numbers of the cycles since the last report; on a GPU this waits for them."""
        dm_loss, score_loss, gap, student_norm, score_norm = self.sums / max(1, self.done - self.reported)
        self.sums.zero_()
        self.reported = self.done
        iteration = self.done * self.score.updates
        return Cycle(iteration, dm_loss, score_loss, gap, student_norm, score_norm, self.failed_at.clone())

    def state(self) -> dict[str, Tensor]:
        """All that a later run needs to go on to the same end, each tensor with the members first."""
        streams, used = self.draws.state()
        place = torch.tensor([self.done, self.reported, used]).expand(len(streams), 3)
        optimisers = {"student": self.student_optimiser, "score": self.score_optimiser}
        return {
            "student": self.student.network.flat,
            "fake": ensemble_of(self.fake).flat,
            "sums": self.sums.T,
            "failed_at": self.failed_at,
            "streams": streams,
            "place": place,
        } | {f"{name}.{key}": value for name, o in optimisers.items() for key, value in o.state().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where `state` was taken; its rows are these members."""
        self.student.network.load_rows(state["student"])
        ensemble_of(self.fake).load_rows(state["fake"])
        self.sums.copy_(state["sums"].T)
        self.failed_at.copy_(state["failed_at"])
        self.done, self.reported, used = state["place"][0].tolist()
        self.iteration.fill_(self.done * self.score.updates)
        self.draws.restore(state["streams"], used)
        for name, optimiser in (("student", self.student_optimiser), ("score", self.score_optimiser)):
            optimiser.restore({key: state[f"{name}.{key}"] for key in optimiser.state()})

    def _cycle(self, z: Tensor, u: Tensor, eps: Tensor) -> None:
        """A cycle from its random numbers (`_draws`); keeps the discipline of `dmdlab.device.capture`."""
        with arithmetic(self.precision, self.device), fusing(self.fuse):
            batches = z.unbind(1)  # updates (+ 1 when the student's batch is its own) times (e, n, d)
            x = self.student(batches[0])
            loss, dm_loss, gap = self._student_loss(x, u[:, 0], eps[:, 0])
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
        score_loss, score_norm = (score / len(xs)).unbind()
        self.iteration += self.score.updates
        self._watch(dm_loss, score_loss, x)
        self.sums += torch.stack([dm_loss, score_loss, gap, student_norm, score_norm])

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

    def _score_step(self, x: Tensor, sigma: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        weight = edm_weight(sigma, self.sigma_data) if self.score.weight == "edm" else 1.0
        loss = denoising_loss(self.fake, x + sigma * eps, x, sigma, weight)
        return loss.detach(), self.score_optimiser.step(loss)

    def _watch(self, dm_loss: Tensor, score_loss: Tensor, x: Tensor) -> None:
        """Note the first iteration at which a member's losses are not finite or its outputs run away."""
        size = x.square().mean(dim=(1, 2)).sqrt()
        healthy = dm_loss.isfinite() & score_loss.isfinite() & (size < DIVERGED * self.sigma_data)
        self.failed_at.copy_(torch.where((self.failed_at < 0) & ~healthy, self.iteration, self.failed_at))


def _draws(experiments: Sequence[Experiment], device: torch.device, d: int) -> Ahead:
    """Endless z (e, b, n, d), u (e, 1 + k, n, 1), eps (e, 1 + k, n, d): one cycle's numbers, each member from its own
    streams. Index 0 of u and eps is the student's; b = k batches of noise, k + 1 when the student has its own."""
    first = experiments[0]
    k, n = first.fake_score.updates, first.student.batch
    batches = k + (first.fake_score.batches == "separate")

    def own(name: str) -> list[torch.Generator]:
        return [generator(e.seed, "distill", name, device=device) for e in experiments]

    def z(g: torch.Generator, cycles: int) -> Tensor:
        return torch.randn((cycles, batches, n, d), generator=g, device=device) * first.noise.sigma_max

    def u(g: torch.Generator, cycles: int) -> Tensor:
        return torch.rand((cycles, 1 + k, n, 1), generator=g, device=device)

    def eps(g: torch.Generator, cycles: int) -> Tensor:
        return torch.randn((cycles, 1 + k, n, d), generator=g, device=device)

    return Ahead([(z, own("latents")), (u, own("level")), (eps, own("noise"))], block_steps((1 + k) * n * d))
