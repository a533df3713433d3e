"""The peer: one-step DMD as one would write it in an afternoon of PyTorch, one student at a time.

Modules, `loss.backward()`, AdamW, `clip_grad_norm_`, eager, in the manner of the public implementations; torch's own
defaults everywhere, nothing slowed down and nothing shared with dmdlab but the law and the numbers of the experiment.
One `cycle` does what one cycle of `dmdlab.training.distill` does: k fake-score updates and one student update, the
student's batch being the first of the fake score's (DMD2). `tests/test_benchmarks.py` holds its first cycles against
dmdlab's: the same losses from the same numbers, so that the comparison is of speed alone.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from dmdlab.config import Experiment, NetworkConfig

Teacher = Callable[[Tensor, Tensor], Tensor]


class TimeFeatures(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2 * math.pi * torch.logspace(-3, 4, features // 2, base=2.0))

    def forward(self, c_noise: Tensor) -> Tensor:
        phase = c_noise * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], dim=-1)  # (n, features)


class PlainMLP(nn.Module):
    """The paper's toy network."""

    def __init__(self, dim: int, config: NetworkConfig) -> None:
        super().__init__()
        self.embed = TimeFeatures(config.time_features)
        layers: list[nn.Module] = [nn.Linear(dim + config.time_features, config.width), nn.SiLU()]
        for _ in range(config.depth - 1):
            layers += [nn.Linear(config.width, config.width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(config.width, dim))

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        return self.layers(torch.cat([x, self.embed(c_noise)], dim=-1))


class PlainResidual(nn.Module):
    """The quickstart's network."""

    def __init__(self, dim: int, config: NetworkConfig) -> None:
        super().__init__()
        width = config.width
        self.embed = TimeFeatures(config.time_features)
        self.enter = nn.Linear(dim, width, bias=False)
        self.level = nn.Linear(config.time_features, width)
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(config.depth))
        self.down = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(config.depth))
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


def denoiser(config: NetworkConfig, dim: int, sigma_data: float) -> Preconditioned:
    return Preconditioned(NETWORKS[config.kind](dim, config), sigma_data)


class PlainDMD:
    """One student, its fake score, and `cycle()`."""

    def __init__(
        self, experiment: Experiment, teacher: Teacher, student: Preconditioned, fake: Preconditioned
    ) -> None:
        self.e, self.teacher, self.student, self.fake = experiment, teacher, student, fake
        self.device = next(student.parameters()).device
        decay = experiment.student.weight_decay
        self.student_adam = torch.optim.AdamW(
            student.parameters(), lr=experiment.student.learning_rate, weight_decay=decay
        )
        self.fake_adam = torch.optim.AdamW(
            fake.parameters(), lr=experiment.fake_score.learning_rate, weight_decay=decay
        )
        k, total, warmup = experiment.fake_score.updates, experiment.student.iterations, experiment.student.warmup
        self.student_schedule = self._schedule(self.student_adam, math.ceil(total / k), math.ceil(warmup / k))
        self.fake_schedule = self._schedule(self.fake_adam, math.ceil(total / k) * k, warmup)

    def _schedule(self, adam: torch.optim.AdamW, total: int, warmup: int) -> torch.optim.lr_scheduler.LambdaLR:
        def factor(step: int) -> float:
            ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
            if self.e.student.decay == "constant":
                return ramp
            return ramp * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0, step - warmup) / max(1, total - warmup))))

        return torch.optim.lr_scheduler.LambdaLR(adam, factor)

    def noise(self) -> Tensor:
        return torch.randn(self.e.student.batch, self.e.law.dim, device=self.device) * self.e.noise.sigma_max

    def levels(self, bounds: tuple[float, float]) -> Tensor:
        noise = self.e.noise
        u = bounds[0] + torch.rand(self.e.student.batch, 1, device=self.device) * (bounds[1] - bounds[0])
        low, high = noise.sigma_min ** (1 / noise.rho), noise.sigma_max ** (1 / noise.rho)
        return (low + u * (high - low)) ** noise.rho

    def generate(self, z: Tensor) -> Tensor:
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
        with torch.no_grad():
            sigma = self.levels(self.e.student.levels)
            x_sigma = x + sigma * torch.randn_like(x)
            real, own = self.teacher(x_sigma, sigma), self.fake(x_sigma, sigma)
            grad = (own - real) / (x - real).abs().mean(dim=1, keepdim=True)
        loss = 0.5 * nn.functional.mse_loss(x, (x - grad).detach())
        self.student_adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), self.e.student.clip)
        self.student_adam.step()
        self.student_schedule.step()
        return loss.detach()

    def score_step(self, x: Tensor) -> Tensor:
        sigma = self.levels(self.e.fake_score.levels)
        weight = 1 / sigma**2 + 1 / self.fake.sigma_data**2
        loss = (weight * (self.fake(x + sigma * torch.randn_like(x), sigma) - x) ** 2).mean()
        self.fake_adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.fake.parameters(), self.e.student.clip)
        self.fake_adam.step()
        self.fake_schedule.step()
        return loss.detach()
