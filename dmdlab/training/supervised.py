"""Networks that are trained on what does not move: teachers on a law, starts on pairs. One loop, whatever the update.

A student and its fake score, which learn from each other, have a loop of their own (`dmdlab.training.distill`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from dmdlab.device import stopping
from dmdlab.device.compiling import Way, changes_in_place
from dmdlab.device.precision import Precision
from dmdlab.device.repeated import Repeated
from dmdlab.networks import EDMDenoiser
from dmdlab.training.draws import Draws, going_on
from dmdlab.training.optimiser import EnsembleAdamW, Trained, aligned


class Learning(NamedTuple):
    """Networks in training, the sum of their losses (e,) since the last report, and, where it is asked for, the running
    average of their parameters."""

    trained: Trained
    total: Tensor
    average: tuple[Tensor, ...] = ()


Update = Callable[[Learning, object, tuple[Tensor, ...]], Learning]
"""One iteration as a pure function: from a state, nothing that is fixed, and its numbers, the step's size (e, 1, 4)
last, to the state after it."""


@dataclass(frozen=True)
class Step:
    """After `iteration` iterations: each member's loss (e,), averaged since the last report; how they were run.

    state: all that a later call needs to go on to the same end (`_kept`), each tensor with the members first; the next
    iteration may change them.
    """

    iteration: int
    loss: Tensor
    way: Way
    state: Callable[[], dict[str, Tensor]]


def supervised(
    denoiser: EDMDenoiser,
    update: Update,
    optimiser: EnsembleAdamW,
    draws: Draws,
    last: int,
    way: Way,
    precision: Precision,
    report_every: int,
    stops: Sequence[int] = (),
    averaged: bool = False,
    kept: Mapping[str, Tensor] | None = None,
) -> Iterator[Step]:
    """Train `denoiser` in place to iteration `last`; yields progress, also at each of `stops`, at the last, and where
    somebody wishes to stop (`dmdlab.device.stopping`). In between its parameters are those of the last progress: the
    trained ones, or, if they are `averaged`, their running average.

    optimiser: of its network, which stands where it begins. kept: the `Step.state` to go on from. Raises `Foreign`
    where that is of another training.
    """
    network = denoiser.network
    device = network.flat.device
    optimiser.in_place = changes_in_place(way, device)
    trained, reported = optimiser.start(), 0
    averages: tuple[Tensor, ...] = (trained.parameters.clone(),) if averaged else ()
    start = Learning(trained, torch.zeros(network.members, device=device), averages)
    repeated = Repeated(update, start, (), way, precision)
    if kept is not None:
        with going_on():
            averages = tuple(aligned(kept["average"]) for _ in averages)
            repeated.put(Learning(Trained.of("network", kept), kept["total"], averages))
            reported = draws.put(kept, last)
    lost = False
    for i in range(reported + 1, last + 1):
        if not lost:
            repeated((*next(draws), optimiser.sizes(i - 1, 1)))
        if i % report_every == 0 or i == last or i in stops or stopping.asked():
            now, size = repeated.state, network.flat.shape[1]
            network.load_rows(now.average[0] if averaged else now.trained.parameters)
            lost = bool(now.total.isnan().all()) and not any(
                rows[:, :size].isfinite().any() for rows in (now.trained.parameters, *now.average)
            )
            loss, reported = now.total / (i - reported), i
            now.total.fill_(math.nan if lost else 0.0)  # nothing finite is left: no iteration would change that
            yield Step(i, loss, repeated.way, partial(_kept, repeated, draws, i, size))


def _kept(repeated: "Repeated[Learning]", draws: Draws, done: int, size: int) -> dict[str, Tensor]:
    """The state after `done` iterations of networks of `size` parameters."""
    now = repeated.state
    averages = [("average", average[:, :size]) for average in now.average]
    return {"total": now.total} | dict(averages) | now.trained.rows("network", size) | draws.kept(done)
