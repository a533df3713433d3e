"""The peer: one-step DMD as one would write it in an afternoon of PyTorch, one student at a time.

Modules, `loss.backward()`, torch's AdamW with its fused kernel, `clip_grad_norm_`, in the manner of the public
implementations; nothing slowed down, no value asked of the device, and nothing shared with dmdlab but the law and the
numbers of the experiment. One `cycle` does what one cycle of `dmdlab.training.distill` does: k fake-score updates and
one student update, the student's batch being the first of the fake score's (DMD2). `tests/test_plain_loop.py` holds it
against dmdlab's: the same parameters from the same numbers, so that the comparison is of speed alone.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from benchmarks.plain_unet import PlainUNet
from dmdlab.config import Experiment, InputError, NetworkSpec
from dmdlab.laws import Law
from dmdlab.networks import network_settings
from dmdlab.networks.mlp import MLPSettings
from dmdlab.networks.unet import UNetSettings

Teacher = Callable[[Tensor, Tensor], Tensor]
Schedule = torch.optim.lr_scheduler.LambdaLR


class TimeFeatures(nn.Module):
    frequencies: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2 * math.pi * torch.logspace(-3, 4, features // 2, base=2.0))

    def forward(self, c_noise: Tensor) -> Tensor:
        phase = c_noise * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], dim=-1)  # (n, features)


class PlainMLP(nn.Module):
    """The paper's toy network."""

    def __init__(self, dim: int, settings: MLPSettings) -> None:
        super().__init__()
        self.embed = TimeFeatures(settings.time_features)
        layers: list[nn.Module] = [nn.Linear(dim + settings.time_features, settings.width), nn.SiLU()]
        for _ in range(settings.depth - 1):
            layers += [nn.Linear(settings.width, settings.width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(settings.width, dim))

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        return self.layers(torch.cat([x, self.embed(c_noise)], dim=-1))


class PlainResidual(nn.Module):
    """The quickstart's network."""

    def __init__(self, dim: int, settings: MLPSettings) -> None:
        super().__init__()
        width = settings.width
        self.embed = TimeFeatures(settings.time_features)
        self.enter = nn.Linear(dim, width, bias=False)
        self.level = nn.Linear(settings.time_features, width)
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(settings.depth))
        self.down = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(settings.depth))
        self.out = nn.Linear(width, dim)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        h = self.enter(x) + self.level(self.embed(c_noise))
        for up, down in zip(self.up, self.down, strict=True):
            h = h + down(silu(up(layer_norm(h, h.shape[-1:]))))
        return self.out(layer_norm(h, h.shape[-1:]))


class Preconditioned(nn.Module):
    """D(x, sigma) with EDM's preconditioning (EDM table 1)."""

    def __init__(self, network: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.network, self.sigma_data = network, sigma_data

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        total = sigma**2 + self.sigma_data**2
        c_skip, c_out, c_in = self.sigma_data**2 / total, sigma * self.sigma_data / total.sqrt(), 1 / total.sqrt()
        return c_skip * x + c_out * self.network(c_in * x, sigma.log() / 4)


NETWORKS = {"mlp": PlainMLP, "residual": PlainResidual}


def denoiser(spec: NetworkSpec, law: Law) -> Preconditioned:
    """An untrained network of this kind, at torch's own initialisation, as a denoiser of this law."""
    settings = network_settings(spec)
    if isinstance(settings, UNetSettings):
        return Preconditioned(PlainUNet(law, settings, TimeFeatures(settings.time_features)), law.sigma_data)
    assert isinstance(settings, MLPSettings)
    return Preconditioned(NETWORKS[spec.kind](law.dim, settings), law.sigma_data)


def refuse_other_losses(e: Experiment) -> None:
    """Raise `InputError` for a loss that the peers do not have."""
    s = e.student
    if (s.normaliser, s.reduction, e.fake_score.weight) != ("sample", "mean", "edm") or s.init == "rotated":
        raise InputError("the plain loop knows DMD2's normaliser, reduction and weight only, and no rotation")


class PlainDMD:
    """One student, its fake score, and `cycle()`.

    teacher: a law's `denoise` or a `Preconditioned`. compiled: what is differentiated, and the direction, under
    `torch.compile` with its default options. Raises `InputError` as `refuse_other_losses` does.
    """

    def __init__(
        self,
        experiment: Experiment,
        teacher: Teacher,
        student: Preconditioned,
        fake: Preconditioned,
        compiled: bool = False,
    ) -> None:
        refuse_other_losses(experiment)
        s, f = experiment.student, experiment.fake_score
        self.e, self.teacher, self.student, self.fake = experiment, teacher, student, fake
        self.device = next(student.parameters()).device
        self.student_adam, self.fake_adam = (
            torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=s.weight_decay, fused=True)
            for network, rate in ((student, s.learning_rate), (fake, f.learning_rate))
        )
        k, cycles = f.updates, math.ceil(s.iterations / f.updates)
        self.student_schedule = self.schedule(self.student_adam, cycles, math.ceil(s.warmup / k))
        self.fake_schedule = self.schedule(self.fake_adam, cycles * k, s.warmup)
        if compiled:
            for name in ("generate", "direction", "score_loss"):
                setattr(self, name, torch.compile(getattr(self, name)))

    def schedule(self, adam: torch.optim.AdamW, total: int, warmup: int) -> Schedule:
        """Linear warm-up, then 'constant' or 'cosine' to 0 at step `total`."""

        def factor(step: int) -> float:
            ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
            if self.e.student.decay == "constant":
                return ramp
            return ramp * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0, step - warmup) / max(1, total - warmup))))

        return Schedule(adam, factor)

    def noise(self) -> Tensor:
        """z ~ N(0, sigma_max^2 I), (n, d)."""
        return torch.randn(self.e.student.batch, self.e.law.dim, device=self.device) * self.e.noise.sigma_max

    def levels(self, bounds: tuple[float, float]) -> Tensor:
        """Noise levels uniform in this part of the Karras index (EDM eq. 5), (n, 1)."""
        u, noise = torch.rand(self.e.student.batch, 1, device=self.device), self.e.noise
        low, high = noise.sigma_min ** (1 / noise.rho), noise.sigma_max ** (1 / noise.rho)
        return (low + (bounds[0] + u * (bounds[1] - bounds[0])) * (high - low)) ** noise.rho

    def generate(self, z: Tensor) -> Tensor:
        """G(z), (n, d)."""
        return self.student(z, torch.full((len(z), 1), self.e.noise.sigma_max, device=self.device))

    def direction(self, x: Tensor, x_sigma: Tensor, sigma: Tensor) -> Tensor:
        """The distribution-matching gradient at outputs x, (n, d)."""
        real, own = self.teacher(x_sigma, sigma), self.fake(x_sigma, sigma)
        return (own - real) / (x - real).abs().mean(dim=1, keepdim=True)

    def score_loss(self, x: Tensor, x_sigma: Tensor, sigma: Tensor) -> Tensor:
        """EDM's weighted denoising loss of the fake score."""
        weight = 1 / sigma**2 + 1 / self.fake.sigma_data**2
        return (weight * (self.fake(x_sigma, sigma) - x) ** 2).mean()

    def cycle(self) -> tuple[Tensor, Tensor]:
        """One student update and k fake-score updates; the DM loss and the last score loss."""
        x = self.generate(self.noise())
        dm_loss = self.student_step(x)
        batches = [x.detach()] if self.e.fake_score.batches == "shared" else []
        while len(batches) < self.e.fake_score.updates:
            with torch.no_grad():
                batches.append(self.generate(self.noise()))
        for batch in batches:
            score_loss = self.score_step(batch)
        return dm_loss, score_loss

    def student_step(self, x: Tensor) -> Tensor:
        """Move the student down the distribution-matching gradient at its outputs x (n, d); the loss."""
        with torch.no_grad():
            sigma = self.levels(self.e.student.levels)
            grad = self.direction(x, x + sigma * torch.randn_like(x), sigma)
        loss = 0.5 * nn.functional.mse_loss(x, (x - grad).detach())
        self.step(loss, self.student, self.student_adam, self.student_schedule)
        return loss.detach()

    def score_step(self, x: Tensor) -> Tensor:
        """Fit the fake score to the student's outputs x (n, d); the loss."""
        sigma = self.levels(self.e.fake_score.levels)
        loss = self.score_loss(x, x + sigma * torch.randn_like(x), sigma)
        self.step(loss, self.fake, self.fake_adam, self.fake_schedule)
        return loss.detach()

    def step(self, loss: Tensor, network: nn.Module, adam: torch.optim.AdamW, schedule: Schedule) -> None:
        """One step of a network down a loss; a `student.clip` of 0 limits no gradient."""
        adam.zero_grad()
        loss.backward()
        if self.e.student.clip:
            nn.utils.clip_grad_norm_(network.parameters(), self.e.student.clip)
        adam.step()
        schedule.step()
