"""A student's start that is fitted to pairs: the regression of DMD (arXiv 2311.18828) as a training of its own.

From the teacher's parameters, each member minimises

    mean over its pairs (z, x) and coordinates of  |G(z) - x|^2 / sigma_data^2,    G(z) = D(z, sigma_max),

or the first step of a student that starts at another level, by AdamW. What it arrives at is the mean of x given z:
pairs that no map makes leave a start that has shrunk.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.device.compiling import Way, way_on
from dmdlab.device.precision import precision_on
from dmdlab.networks import EDMDenoiser
from dmdlab.randomness import generator
from dmdlab.training.draws import Draws, block_steps, picked
from dmdlab.training.levels import levels_of, scaled
from dmdlab.training.optimiser import EnsembleAdamW, gradient
from dmdlab.training.supervised import Learning, Step, supervised
from dmdlab.training.teacher import denoising_loss


class FitPairs(NamedTuple):
    """Noise z and data x, (e, n, d) each, and the classes of both, (e, n), where networks are told some."""

    z: Tensor
    x: Tensor
    label: Tensor | None = None


def fit(
    experiment: Experiment,
    seeds: Sequence[int],
    denoiser: EDMDenoiser,
    pairs: FitPairs,
    report_every: int = 200,
    way: Way | None = None,
    kept: Mapping[str, Tensor] | None = None,
) -> Iterator[Step]:
    """Fit `denoiser` in place from where it stands, member i on its own pairs, a batch of them drawn by the stream of
    seeds[i] at a time; yields progress as `supervised` does.

    Everything but seeds and pairs comes from `experiment`. Device: that of denoiser and pairs. way: as for
    `Distillation`. kept: the `Step.state` to go on from; raises `Foreign` as there.
    """
    config, total, network = experiment.teacher, experiment.student.regression, denoiser.network
    device = network.flat.device
    optimiser = EnsembleAdamW(
        network, [config.learning_rate] * len(seeds), total=total, clip=1.0, warmup=config.warmup, decay="cosine"
    )
    yield from supervised(
        denoiser,
        FitUpdate(denoiser, levels_of(experiment)[0], experiment.noise.sigma_max, optimiser),
        optimiser,
        _batches(pairs, config.batch, [generator(s, "regression", device=device) for s in seeds]),
        total,
        way_on(device, total, way, network.gains_by_compiling),
        precision_on(device, experiment.network.precision),
        report_every,
        kept=kept,
    )


class FitUpdate:
    """One iteration as a pure function: from a state and (z (e, b, d), x (e, b, d), for a conditional network class
    labels (e, b), the step's size (e, 1, 4)) to the state after it."""

    def __init__(self, denoiser: EDMDenoiser, level: float, sigma_max: float, optimiser: EnsembleAdamW) -> None:
        self.denoiser, self.level, self.sigma_max, self.optimiser = denoiser, level, sigma_max, optimiser
        self.weight = denoiser.sigma_data**-2

    def __call__(self, state: Learning, fixed: object, numbers: tuple[Tensor, ...]) -> Learning:
        """The state after a step."""
        z, x, *labels, size = numbers
        level = z.new_full((len(z), 1, 1), self.level)
        z = scaled(z, self.level, self.sigma_max)
        with self.denoiser.network.holding(state.trained.parameters, trained=True) as leaves:
            error = denoising_loss(self.denoiser, z, x, level, self.weight, labels[0] if labels else None)
            g = gradient(error, leaves)
        trained, _ = self.optimiser.step(state.trained, g, size[:, 0])
        return Learning(trained, state.total + error.detach())


def _batches(pairs: FitPairs, batch: int, generators: Sequence[torch.Generator]) -> Draws:
    """Endless (z (e, b, d), x (e, b, d), where there are some the labels (e, b)): each member's rows, drawn anew."""
    parts = [part for part in pairs if part is not None]
    own = [[part[i] for part in parts] for i in range(len(generators))]
    return Draws([picked(own, (batch,), generators)], block_steps(batch * pairs.z.shape[2]))
