"""Additions that nobody has made: a network kind, laws and a loss term, one class each (`test_growth.py`)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv1d, silu

from dmdlab.config import Count, NetworkSpec, Positive, Section
from dmdlab.laws import Law
from dmdlab.networks import Ensemble, make_network
from dmdlab.networks.ensemble import class_map, with_class
from dmdlab.randomness import generator
from dmdlab.training.draws import Source, streams
from dmdlab.training.optimiser import EnsembleAdamW
from dmdlab.training.terms import Around, Batch, Term, TermSettings

# --- a network: a small convolution over the coordinates


class Convolution(nn.Module):
    """e convolutions side by side: x (e, n, inputs, d) -> (e, n, outputs, d)."""

    def __init__(self, members: int, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, outputs, inputs, kernel))
        self.bias = nn.Parameter(torch.zeros(members, outputs))

    def forward(self, x: Tensor) -> Tensor:
        side_by_side = x.transpose(0, 1).flatten(1, 2)  # (n, e inputs, d)
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten()
        out = conv1d(side_by_side, weight, bias, padding="same", groups=len(self.weight))
        return out.unflatten(1, self.bias.shape).transpose(0, 1)

    @torch.no_grad()
    def draw(self, generators: Sequence[torch.Generator]) -> None:
        for weight, g in zip(self.weight, generators, strict=True):
            weight.copy_(torch.randn(weight.shape, generator=g) / math.sqrt(weight[0].numel()))


class ConvolutionSettings(Section):
    channels: list[Count] = Field([6, 4], description="of the hidden layers")
    kernel: int = Field(3, ge=1, description="coordinates that a convolution sees at a time")


class Convolutional(Ensemble):
    """Convolutions over the coordinates, the noise level a channel of its own."""

    Settings = ConvolutionSettings

    def __init__(self, members: int, law: Law, settings: ConvolutionSettings, classes: int = 0) -> None:
        super().__init__()
        sizes = [2, *settings.channels, 1]
        self.layers = nn.ModuleList(Convolution(members, a, b, settings.kernel) for a, b in pairwise(sizes))
        self.told = class_map(members, classes, law.dim)
        self.flatten_parameters()

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        x = with_class(x, self.told, label)
        h = torch.stack([x, c_noise.expand(x.shape)], dim=2)  # (e, n, 2, d)
        for layer in self.layers[:-1]:
            h = silu(layer(h))
        return self.layers[-1](h).squeeze(2)  # (e, n, d)


# --- a law: every coordinate is a fair coin


class Coins(Law):
    """Every coordinate is -scale or scale, whatever the others are; a picture of one row."""

    name, summary = "coins", "independent coins, one for each coordinate"

    def __init__(self, dim: int, scale: float = 1.0) -> None:
        super().__init__(dim)
        self.scale = self.sigma_data = scale
        self.intrinsic_dim = dim

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, 1, self.dim)

    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        heads = torch.randint(2, (n, self.dim), generator=generator, device=generator.device)
        return self.scale * (2.0 * heads - 1), None

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.scale * torch.tanh(self.scale * x / sigma**2)


class Dice(Coins):
    """The same without a denoiser: its teacher is a trained network."""

    name, has_denoiser = "dice", False

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        raise NotImplementedError


# --- a term: a critic that tells the student's samples from the law's


class CriticSettings(TermSettings):
    width: Count = Field(8, description="hidden width of the critic")
    learning_rate: Positive = Field(1e-2, description="of the critic")


class Critic(Term):
    """The student is to raise a critic's score, which is trained to tell it from data, as in a Wasserstein GAN."""

    Settings = CriticSettings
    numbers = ("difference", "size")
    critic_numbers = ("loss",)

    def __init__(self, around: Around, settings: CriticSettings) -> None:
        group, law, shared = around.group, around.law, around.group.shared
        self.weight, n, k = settings.weight, shared.student.batch, shared.fake_score.updates
        device = around.student.network.flat.device
        spec = NetworkSpec(kind="mlp", width=settings.width, depth=1)
        self.critic = make_network(len(group), law, spec).to_device(device)
        self.critic.initialise([generator(e.seed, "critic") for e in group.members])
        rates = [settings.learning_rate] * len(group)
        self.optimisers = {"critic": EnsembleAdamW(self.critic, rates, total=around.updates, decay="cosine")}

        def data(g: torch.Generator, steps: int) -> Tensor:
            return law.sample(steps * k * n, g).view(steps, k, n, law.dim)

        def noise(g: torch.Generator, steps: int) -> Tensor:
            return torch.randn((steps, k, n, law.dim), generator=g, device=device)

        named = {"data": data, "noise": noise}
        self.sources = [Source(draw, streams(group, "critic", name, device=device)) for name, draw in named.items()]

    def score(self, x: Tensor, noise: Tensor) -> Tensor:
        """A number for each member, (e,)."""
        return self.critic(x + 0.1 * noise, torch.zeros_like(x[..., :1])).mean(dim=(1, 2))

    def student_loss(self, batch: Batch, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        data, noise = (part[:, 0] for part in drawn)
        loss = self.score(data, noise) - self.score(batch.x, noise)
        return self.weight * loss, [loss.detach(), batch.x.detach().square().mean(dim=(1, 2))]

    def critic_loss(self, batch: Batch, update: int, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        data, noise = (part[:, update] for part in drawn)
        at_data, at_x = self.score(data, noise), self.score(batch.x, noise)
        loss = at_x - at_data + 0.1 * (at_data**2 + at_x**2)
        return loss, [loss]
