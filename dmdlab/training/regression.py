"""A student's start that is fitted to pairs: the regression of DMD (arXiv 2311.18828) as a training of its own.

From the teacher's parameters, each member minimises

    mean over its pairs (z, x) and coordinates of  |G(z) - x|^2 / sigma_data^2,    G(z) = D(z, sigma_max),

or the first step of a student that starts at another level, by AdamW. What it arrives at is the mean of x given z:
pairs that no map makes leave a start that has shrunk.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.device import stopping
from dmdlab.device.compiling import Way, way_on
from dmdlab.device.precision import precision_on
from dmdlab.device.repeated import Repeated
from dmdlab.networks import EDMDenoiser
from dmdlab.randomness import generator
from dmdlab.training.draws import Draws, block_steps, going_on, picked
from dmdlab.training.levels import levels_of, scaled
from dmdlab.training.optimiser import EnsembleAdamW, Trained, gradient
from dmdlab.training.teacher import denoising_loss


class FitPairs(NamedTuple):
    """Noise z and data x, (e, n, d) each, and the classes of both, (e, n), where networks are told some."""

    z: Tensor
    x: Tensor
    label: Tensor | None = None


@dataclass(frozen=True)
class FitStep:
    """After `iteration` iterations: each member's error (e,), averaged since the last report; how they were run; the
    state to go on from, as of `TeacherStep`."""

    iteration: int
    error: Tensor
    way: Way
    state: Callable[[], dict[str, Tensor]]


def fit(
    experiment: Experiment,
    seeds: Sequence[int],
    denoiser: EDMDenoiser,
    pairs: FitPairs,
    report_every: int = 200,
    way: Way | None = None,
    kept: Mapping[str, Tensor] | None = None,
) -> Iterator[FitStep]:
    """Fit `denoiser` in place from where it stands, member i on its own pairs, a batch of them drawn by the stream of
    seeds[i] at a time; yields progress, and at the end, in between which its parameters are those of the last progress.

    Everything but seeds and pairs comes from `experiment`. Device: that of denoiser and pairs. way: as for
    `Distillation`. kept: the `FitStep.state` to go on from; raises `Foreign` as there.
    """
    config, total, network = experiment.teacher, experiment.student.regression, denoiser.network
    device = network.flat.device
    optimiser = EnsembleAdamW(
        network, [config.learning_rate] * len(seeds), total=total, clip=1.0, warmup=config.warmup, decay="cosine"
    )
    step = FitUpdate(denoiser, levels_of(experiment)[0], experiment.noise.sigma_max, optimiser)
    way = way_on(device, total, way, network.gains_by_compiling)
    optimiser.in_place = way == "eager" and device.type == "cpu"
    start = FitState(optimiser.start(), torch.zeros(len(seeds), device=device))
    repeated = Repeated(step, start, (), way, precision_on(device, experiment.network.precision))
    draws = _batches(pairs, config.batch, [generator(s, "regression", device=device) for s in seeds])
    reported = 0
    if kept is not None:
        with going_on():
            repeated.put(FitState(Trained.of("network", kept), kept["total"]))
            reported = draws.put(kept, total)
    for i in range(reported + 1, total + 1):
        repeated((*next(draws), optimiser.sizes(i - 1, 1)))
        if i % report_every == 0 or i == total or stopping.asked():
            now, size = repeated.state, network.flat.shape[1]
            network.load_rows(now.trained.parameters)
            error, reported = now.total / (i - reported), i
            now.total.zero_()
            yield FitStep(i, error, repeated.way, partial(_kept, repeated, draws, i, size))


def _kept(repeated: "Repeated[FitState]", draws: Draws, done: int, size: int) -> dict[str, Tensor]:
    """The state after `done` iterations of networks of `size` parameters."""
    now = repeated.state
    return {"total": now.total} | now.trained.rows("network", size) | draws.kept(done)


class FitState(NamedTuple):
    """Networks in training and the sum of their errors (e,) since the last report."""

    trained: Trained
    total: Tensor


class FitUpdate:
    """One iteration as a pure function: from a state and (z (e, b, d), x (e, b, d), for a conditional network class
    labels (e, b), the step's size (e, 1, 4)) to the state after it."""

    def __init__(self, denoiser: EDMDenoiser, level: float, sigma_max: float, optimiser: EnsembleAdamW) -> None:
        self.denoiser, self.level, self.sigma_max, self.optimiser = denoiser, level, sigma_max, optimiser
        self.weight = denoiser.sigma_data**-2

    def __call__(self, state: FitState, fixed: object, numbers: tuple[Tensor, ...]) -> FitState:
        """The state after a step."""
        z, x, *labels, size = numbers
        level = z.new_full((len(z), 1, 1), self.level)
        z = scaled(z, self.level, self.sigma_max)
        with self.denoiser.network.holding(state.trained.parameters, trained=True) as leaves:
            error = denoising_loss(self.denoiser, z, x, level, self.weight, labels[0] if labels else None)
            g = gradient(error, leaves)
        trained, _ = self.optimiser.step(state.trained, g, size[:, 0])
        return FitState(trained, state.total + error.detach())


def _batches(pairs: FitPairs, batch: int, generators: Sequence[torch.Generator]) -> Draws:
    """Endless (z (e, b, d), x (e, b, d), where there are some the labels (e, b)): each member's rows, drawn anew."""
    parts = [part for part in pairs if part is not None]
    own = [[part[i] for part in parts] for i in range(len(generators))]
    return Draws([picked(own, (batch,), generators)], block_steps(batch * pairs.z.shape[2]))
