"""A GAN's loss: a head on a score network's features tells real from generated, both noised."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from dmdlab.config import Experiment, InputError, Levels
from dmdlab.diffusion import levels_in
from dmdlab.networks import NETWORKS, EDMDenoiser, Ensemble, Head
from dmdlab.randomness import generator
from dmdlab.training.draws import Source, streams
from dmdlab.training.optimiser import optimiser_of
from dmdlab.training.terms.numbers import data, noising
from dmdlab.training.terms.term import Around, Batch, Term, TermSettings


class GANSettings(TermSettings):
    """DMD2's weight is 3e-3, FastGen's 1e-3."""

    features: Literal["fake", "teacher"] = Field(
        "fake",
        description="whose features the head reads: the fake score's, which it trains, too (DMD2), or the "
        "frozen teacher's (FastGen)",
    )
    head_weight: float = Field(1e-2, gt=0, description="factor of the head's loss beside the fake score's (DMD2: 1e-2)")
    levels: Levels = Field((0.0, 1.0), description="range of the Karras index (DMD2: all of it)")
    r1: float = Field(0.0, ge=0, description="factor of the approximate R1 in the head's loss (FastGen: 100 to 1000)")
    r1_step: float = Field(0.1, gt=0, description="standard deviation of its step (FastGen: 0.1)")


class GAN(Term):
    """softplus(-logit(generated)) for the student, and for the head, in every update of the fake score, head_weight
    [softplus(logit(generated)) + softplus(-logit(real))] (DMD2, arXiv 2405.14867, Sec. 4.3, and its released settings).

    Real and generated are noised separately, at levels drawn separately; the head (`dmdlab.networks.Head`) reads the
    features of one denoiser at both. Those of the fake score learn with it, head and score being one AdamW; those of a
    teacher stand still (FastGen). The approximate R1 adds r1 times the squared difference of the logits of real points
    and of points r1_step eps away from them. Real labels are the data's, generated ones the batch's.
    """

    Settings = GANSettings
    numbers = ("loss",)
    critic_numbers = ("head_loss",)

    @classmethod
    def check(cls, experiment: Experiment, settings: GANSettings) -> None:
        kind = experiment.network.kind
        if NETWORKS[kind].features is Ensemble.features:
            able = ", ".join(name for name, own in NETWORKS.items() if own.features is not Ensemble.features)
            raise InputError(
                f"terms.gan needs a network with features for its head, and network.kind = {kind!r} has none; choose "
                f"one of {able}, or set terms.gan.weight = 0"
            )
        if settings.features == "fake" and experiment.fake_score.kind != "network":
            raise InputError(
                "terms.gan.features is 'fake', the fake score's, and fake_score.kind is "
                f"{experiment.fake_score.kind!r}; set fake_score.kind = 'network', or terms.gan.features = 'teacher'"
            )
        if settings.features == "teacher" and experiment.teacher.kind != "network":
            raise InputError(
                "terms.gan.features is 'teacher', and teacher.kind is 'exact', which has no features; set teacher.kind "
                "= 'network', or terms.gan.features = 'fake'"
            )

    def __init__(self, around: Around, settings: GANSettings) -> None:
        group, shared, k = around.group, around.group.shared, around.group.shared.fake_score.updates
        self.settings, self.noise = settings, shared.noise
        self.joined = settings.features == "fake"
        source = around.fake if self.joined else around.teacher
        assert isinstance(source, EDMDenoiser)
        self.source, device = source, around.fake.network.flat.device
        head = Head(len(group), source.network.feature_shape)
        self.head = head.initialise([generator(e.seed, "gan", "head") for e in group.members]).to_device(device)
        config, rates = shared.student, [e.fake_score.learning_rate for e in group.members]
        kind, total = shared.fake_score.optimiser, around.updates
        self.optimisers = {"head": optimiser_of(kind, self.head, rates, config, total, config.warmup)}
        # of u and eps, index 0 is the student's, 1 to k the generated ones' and k + 1 to 2 k the real ones'
        self.updates, self.sources = k, [*noising(around, "gan", 1 + 2 * k), data(around, "gan", k)]
        if settings.r1:
            shape = (k, shared.student.batch, around.law.dim)

            def step(g: torch.Generator, steps: int) -> Tensor:
                return torch.randn((steps, *shape), generator=g, device=device)

            self.sources.append(Source(step, streams(group, "gan", "r1", device=device)))

    def logit(self, x_sigma: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        """x_sigma (e, n, d) at sigma (e, n, 1), class labels (e, n) or None -> (e, n): of a perfect head, the logarithm
        of p_real / p_generated at x_sigma."""
        found: Tensor = self.head(self.source.features(x_sigma, sigma, label))
        return found

    def student_loss(self, batch: Batch, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """As of every `Term`."""
        u, eps, *_ = drawn
        sigma = levels_in(u[:, 0], self.settings.levels, self.noise)
        loss = softplus(-self.logit(batch.x + sigma * eps[:, 0], sigma, batch.label)).mean(dim=1)
        return self.settings.weight * loss, [loss.detach()]

    def critic_loss(self, batch: Batch, update: int, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """As of every `Term`."""
        u, eps, real, *more = (part[:, update] for part in self._of_updates(drawn))
        label = None if batch.label is None else torch.cat([batch.label, more.pop(0)], dim=1)
        sigma = levels_in(u.flatten(1, 2), self.settings.levels, self.noise)
        x_sigma = torch.cat([batch.x, real], dim=1) + sigma * eps.flatten(1, 2)
        generated, of_real = self.logit(x_sigma, sigma, label).chunk(2, dim=1)
        loss = softplus(generated).mean(dim=1) + softplus(-of_real).mean(dim=1)
        total = loss
        if self.settings.r1:
            own = None if label is None else label.chunk(2, dim=1)[1]
            aside = x_sigma.chunk(2, dim=1)[1] + self.settings.r1_step * more[0]
            moved = self.logit(aside, sigma.chunk(2, dim=1)[1], own)
            total = loss + self.settings.r1 * (moved - of_real).square().mean(dim=1)
        return self.settings.head_weight * total, [loss.detach()]

    def _of_updates(self, drawn: Sequence[Tensor]) -> list[Tensor]:
        """What was drawn for the head, each (e, k, ...): u and eps of generated and real, (e, k, 2, n, ...), first."""
        noised = [part[:, 1:].unflatten(1, (2, self.updates)).transpose(1, 2) for part in drawn[:2]]
        return [*noised, *drawn[2:]]
