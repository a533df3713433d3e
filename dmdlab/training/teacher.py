"""Training the network that denoises a law: the teacher, or the start of a student beside an exact teacher.

The loss is EDM's denoising score matching (EDM eq. 2 and table 1), per member

    mean over batch and coordinates of  (1/sigma^2 + 1/sigma_data^2) |D(x0 + sigma eps, sigma) - y|^2,

with y = x0, or y = the law's exact E[x0 | x_sigma], which has the same minimiser and less variance. A conditional
network is told the class of every x0, which is drawn with it.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from dmdlab.config import Experiment, TeacherConfig
from dmdlab.device.compiling import Way, way_on
from dmdlab.device.precision import precision_on
from dmdlab.diffusion.denoiser import Denoiser, conditioned
from dmdlab.diffusion.noise import edm_weight, karras_sigma, lognormal_levels
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser
from dmdlab.randomness import generator
from dmdlab.training.draws import Draws, Source, block_steps
from dmdlab.training.optimiser import EnsembleAdamW, Trained, gradient
from dmdlab.training.points import points
from dmdlab.training.supervised import Learning, Step, supervised


def denoising_loss(
    denoiser: Denoiser, x: Tensor, target: Tensor, sigma: Tensor, weight: Tensor | float, label: Tensor | None = None
) -> Tensor:
    """Each member's weighted squared error of D(x, sigma) against `target` (e, n, d), at sigma (e, n, 1), given class
    labels (e, n), or none; (e,)."""
    return (weight * (conditioned(denoiser, label)(x, sigma) - target) ** 2).mean(dim=(1, 2))


def train_teacher(
    experiment: Experiment,
    seeds: Sequence[int],
    law: Law,
    denoiser: EDMDenoiser,
    report_every: int = 200,
    way: Way | None = None,
    ages: Sequence[int] = (),
    kept: Mapping[str, Tensor] | None = None,
) -> Iterator[Step]:
    """Train `denoiser` in place, member i with the streams of seeds[i], to the last of `ages`, or for all iterations;
    yields progress as `supervised` does, at each of `ages`, too. With `teacher.ema` its parameters are the average.

    Everything but the seed comes from `experiment` (sections law, noise, teacher, network). The networks are
    initialised here, each from its own seed. Device: that of the law and the denoiser. way: as for `Distillation`. A
    teacher of some age is one that a training of `teacher.iterations` passed: its learning rate had not come down yet.
    kept: the `Step.state` to go on from. Raises `Foreign` where that is of another training.
    """
    config, network = experiment.teacher, denoiser.network
    device = network.flat.device
    network.initialise([generator(s, "network") for s in seeds])
    optimiser = EnsembleAdamW(
        network,
        [config.learning_rate] * len(seeds),
        total=config.iterations,
        clip=1.0,  # without it a few early batches at large weights can throw a narrow network far (ours)
        warmup=config.warmup,
        decay=config.decay,
    )
    way = way_on(device, config.iterations, way, network.gains_by_compiling)
    yield from supervised(
        denoiser,
        TeacherUpdate(denoiser, law, optimiser, config),
        optimiser,
        _draws(experiment, seeds, law, device),
        max(ages, default=config.iterations),
        way,
        precision_on(device, experiment.network.precision),
        report_every,
        stops=ages,
        averaged=bool(config.ema),
        kept=kept,
    )


class TeacherUpdate:
    """One iteration as a pure function: from a state and (x0 (e, n, d), for a conditional network its class labels (e,
    n), sigma (e, n, 1), eps (e, n, d), the step's size (e, 1, 4)) to the state after it."""

    def __init__(self, denoiser: EDMDenoiser, law: Law, optimiser: EnsembleAdamW, config: TeacherConfig) -> None:
        self.denoiser, self.law, self.optimiser, self.config = denoiser, law, optimiser, config

    def __call__(self, state: Learning, fixed: object, numbers: tuple[Tensor, ...]) -> Learning:
        """The state after a step."""
        x, *labels, level, eps, size = numbers
        label = labels[0] if labels else None
        with self.denoiser.network.holding(state.trained.parameters, trained=True) as leaves:
            x_sigma = x + level * eps  # (e, n, d)
            with torch.no_grad():
                target = self.law.denoise(x_sigma, level, label) if self.config.target == "posterior" else x
            weight = edm_weight(level, self.law.sigma_data)
            loss = denoising_loss(self.denoiser, x_sigma, target, level, weight, label)
            g = gradient(loss, leaves)
        trained, _ = self.optimiser.step(state.trained, g, size[:, 0])
        return Learning(trained, state.total + loss.detach(), self._averaged(state.average, trained))

    def _averaged(self, before: tuple[Tensor, ...], trained: Trained) -> tuple[Tensor, ...]:
        """The running average one step on: the plain mean of what came so far, until that forgets more slowly than
        `teacher.ema` does."""
        share = (1 / trained.counts).clamp(min=1 - self.config.ema).unsqueeze(1)  # (e, 1)
        return tuple(torch.lerp(average, trained.parameters, share) for average in before)


def _draws(experiment: Experiment, seeds: Sequence[int], law: Law, device: torch.device) -> Draws:
    """Endless (x0 (e, n, d), where asked for their class labels (e, n), sigma (e, n, 1), eps (e, n, d)), each member
    from its own streams."""
    config, d = experiment.teacher, law.dim
    streams = {
        name: [generator(s, "teacher", name, device=device) for s in seeds] for name in ("data", "level", "noise")
    }

    def level(g: torch.Generator, k: int) -> Tensor:
        shape = (k, config.batch, 1)
        if config.levels == "lognormal":
            return lognormal_levels(torch.randn(shape, generator=g, device=device))
        return karras_sigma(torch.rand(shape, generator=g, device=device), experiment.noise)

    def noise(g: torch.Generator, k: int) -> Tensor:
        return torch.randn((k, config.batch, d), generator=g, device=device)

    data = points(law, config, streams["data"], streams["data"], (config.batch,))
    own = [Source(level, streams["level"]), Source(noise, streams["noise"])]
    return Draws([data, *own], block_steps(config.batch * d))


@torch.no_grad()
def excess_risk(
    denoiser: Denoiser, law: Law, x: Tensor, sigma: Tensor, eps: Tensor, label: Tensor | None = None
) -> Tensor:
    """How much worse than the exact denoiser, relative to the risk nobody can avoid, per member (e,).

        mean w |D - D*|^2 / mean w |x0 - D*|^2,      w = 1/sigma^2 + 1/sigma_data^2

    over x (e, n, d), levels (e, n, 1), eps (e, n, d); with class labels (e, n) both denoisers are told them. 0 is
    exact; 1 doubles the risk. Needs a law with a denoiser (with labels, with one given the class).
    """
    x_sigma, weight = x + sigma * eps, edm_weight(sigma, law.sigma_data)
    best = law.denoise(x_sigma, sigma, label)
    excess = (weight * (conditioned(denoiser, label)(x_sigma, sigma) - best) ** 2).mean(dim=(1, 2))
    return excess / (weight * (x - best) ** 2).mean(dim=(1, 2))
