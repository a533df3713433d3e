"""The peer: one-step DMD as one would write it in an afternoon of PyTorch, one student at a time.

Modules, `loss.backward()`, AdamW, `clip_grad_norm_`, eager, in the manner of the public implementations; torch's own
defaults everywhere, nothing slowed down, no value asked of the device, and nothing shared with dmdlab but the law and
the numbers of the experiment. One `cycle` does what one cycle of `dmdlab.training.distill` does: k fake-score updates
and one student update, the student's batch being the first of the fake score's (DMD2). `PlainTeacher` and `plain_flow`
are the same for the teacher's training and for Phi_K. `tests/test_benchmarks.py` holds them against dmdlab's: the same
parameters from the same numbers, so that the comparison is of speed alone.

Two switches, off by default, for the questions "and with the fused optimiser?" and "and in bfloat16?": `fused` and
`autocast`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from dmdlab.config import Experiment, InputError, NetworkSpec
from dmdlab.laws import Law
from dmdlab.networks import network_settings
from dmdlab.networks.mlp import MLPSettings

Teacher = Callable[[Tensor, Tensor], Tensor]


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

    def __init__(self, network: nn.Module, sigma_data: float, autocast: bool = False) -> None:
        super().__init__()
        self.network, self.sigma_data, self.autocast = network, sigma_data, autocast

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        total = sigma**2 + self.sigma_data**2
        c_skip, c_out, c_in = self.sigma_data**2 / total, sigma * self.sigma_data / total.sqrt(), 1 / total.sqrt()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            output = self.network(c_in * x, sigma.log() / 4)
        return c_skip * x + c_out * output


NETWORKS = {"mlp": PlainMLP, "residual": PlainResidual}


def denoiser(spec: NetworkSpec, law: Law, autocast: bool = False) -> Preconditioned:
    """An untrained network of this kind, at torch's own initialisation, as a denoiser of this law."""
    settings = network_settings(spec)
    assert isinstance(settings, MLPSettings)
    return Preconditioned(NETWORKS[spec.kind](law.dim, settings), law.sigma_data, autocast)


def schedule(adam: torch.optim.AdamW, total: int, warmup: int, decay: str) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then 'constant' or 'cosine' to 0 at step `total`."""

    def factor(step: int) -> float:
        ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if decay == "constant":
            return ramp
        return ramp * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0, step - warmup) / max(1, total - warmup))))

    return torch.optim.lr_scheduler.LambdaLR(adam, factor)


class PlainDMD:
    """One student, its fake score, and `cycle()`.

    experiment: with DMD2's loss (its normaliser, reduction and weight) and no rotation; this loop knows no other and
    raises `InputError`. teacher: a law's `denoise` or a `Preconditioned`. fused: AdamW's fused kernel.
    """

    def __init__(
        self,
        experiment: Experiment,
        teacher: Teacher,
        student: Preconditioned,
        fake: Preconditioned,
        fused: bool | None = None,
    ) -> None:
        s, f = experiment.student, experiment.fake_score
        if (s.normaliser, s.reduction, f.weight) != ("sample", "mean", "edm") or s.init == "rotated":
            raise InputError("the plain loop knows DMD2's normaliser, reduction and weight only, and no rotation")
        self.e, self.teacher, self.student, self.fake = experiment, teacher, student, fake
        self.device = next(student.parameters()).device
        self.student_adam, self.fake_adam = (
            torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=s.weight_decay, fused=fused)
            for network, rate in ((student, s.learning_rate), (fake, f.learning_rate))
        )
        k, cycles = f.updates, math.ceil(s.iterations / f.updates)
        self.student_schedule = schedule(self.student_adam, cycles, math.ceil(s.warmup / k), s.decay)
        self.fake_schedule = schedule(self.fake_adam, cycles * k, s.warmup, s.decay)

    def noise(self) -> Tensor:
        """z ~ N(0, sigma_max^2 I), (n, d)."""
        return torch.randn(self.e.student.batch, self.e.law.dim, device=self.device) * self.e.noise.sigma_max

    def levels(self, bounds: tuple[float, float]) -> Tensor:
        """Noise levels uniform in this part of the Karras index, (n, 1)."""
        u = bounds[0] + torch.rand(self.e.student.batch, 1, device=self.device) * (bounds[1] - bounds[0])
        return karras(u, self.e)

    def generate(self, z: Tensor) -> Tensor:
        """G(z), (n, d)."""
        return self.student(z, torch.full((len(z), 1), self.e.noise.sigma_max, device=self.device))

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
            x_sigma = x + sigma * torch.randn_like(x)
            real, own = self.teacher(x_sigma, sigma), self.fake(x_sigma, sigma)
            grad = (own - real) / (x - real).abs().mean(dim=1, keepdim=True)
        loss = 0.5 * nn.functional.mse_loss(x, (x - grad).detach())
        self.student_adam.zero_grad()
        loss.backward()
        self.clip(self.student)
        self.student_adam.step()
        self.student_schedule.step()
        return loss.detach()

    def score_step(self, x: Tensor) -> Tensor:
        """Fit the fake score to the student's outputs x (n, d); the loss."""
        sigma = self.levels(self.e.fake_score.levels)
        loss = score_matching(self.fake, x, x + sigma * torch.randn_like(x), sigma)
        self.fake_adam.zero_grad()
        loss.backward()
        self.clip(self.fake)
        self.fake_adam.step()
        self.fake_schedule.step()
        return loss.detach()

    def clip(self, network: nn.Module) -> None:
        """Limit the gradient norm; 0 is no limit."""
        if self.e.student.clip:
            nn.utils.clip_grad_norm_(network.parameters(), self.e.student.clip)


class PlainTeacher:
    """One network trained to denoise a law, and `step()`; `InputError` for options that it does not know."""

    def __init__(self, experiment: Experiment, law: Law, network: Preconditioned, generator: torch.Generator) -> None:
        self.e, self.law, self.network, self.generator = experiment, law, network, generator
        t = experiment.teacher
        if t.levels != "karras" or t.train_samples:
            raise InputError("the plain teacher knows levels on the Karras index and fresh data only")
        self.adam = torch.optim.AdamW(network.parameters(), lr=t.learning_rate, weight_decay=0.0)
        self.schedule = schedule(self.adam, t.iterations, t.warmup, "cosine")

    def batch(self) -> Tensor:
        """Fresh data, (n, d)."""
        return self.law.sample(self.e.teacher.batch, self.generator)

    def step(self) -> Tensor:
        """One iteration of denoising score matching; the loss."""
        x = self.batch()
        sigma = karras(torch.rand(len(x), 1, device=x.device), self.e)
        x_sigma = x + sigma * torch.randn_like(x)
        with torch.no_grad():
            target = self.law.denoise(x_sigma, sigma) if self.e.teacher.target == "posterior" else x
        loss = score_matching(self.network, target, x_sigma, sigma)
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.adam.step()
        self.schedule.step()
        return loss.detach()


def karras(u: Tensor, e: Experiment) -> Tensor:
    """Noise levels at places u of the Karras index (EDM eq. 5)."""
    low, high = e.noise.sigma_min ** (1 / e.noise.rho), e.noise.sigma_max ** (1 / e.noise.rho)
    return (low + u * (high - low)) ** e.noise.rho


def score_matching(network: Preconditioned, target: Tensor, x_sigma: Tensor, sigma: Tensor) -> Tensor:
    """EDM's weighted denoising loss."""
    weight = 1 / sigma**2 + 1 / network.sigma_data**2
    return (weight * (network(x_sigma, sigma) - target) ** 2).mean()


@torch.no_grad()
def plain_flow(network: Preconditioned, z: Tensor, e: Experiment) -> Tensor:
    """Phi_K(z), (n, d), by Heun's method (EDM algorithm 1 without churn)."""
    grid = karras(torch.linspace(1, 0, e.teacher.steps, dtype=torch.float64), e).tolist()
    x = z
    for here, there in zip(grid, [*grid[1:], 0.0], strict=True):
        slope = (x - network(x, x.new_full((len(x), 1), here))) / here
        guess = x + (there - here) * slope
        if there > 0:
            slope = (slope + (guess - network(guess, x.new_full((len(x), 1), there))) / there) / 2
            guess = x + (there - here) * slope
        x = guess
    return x
