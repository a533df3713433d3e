"""From a group to results: its runs trained and measured together.

`run_group` is a generator: it yields `Progress` while it works and one `RunResult` per member at the end, so that bars,
logs and early stopping belong to the caller. What it needs that exists already it takes from the store, and keeps there
what it makes on the way.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dmdlab.device import stopping
from dmdlab.device.compiling import Way
from dmdlab.device.limits import release_memory
from dmdlab.diffusion import Denoiser
from dmdlab.group import Group
from dmdlab.lab.calibrate import calibrating_once, calibration_id, check_calibrations
from dmdlab.lab.curves import Curves, curve_iterations
from dmdlab.lab.evaluate import excess_risks, result_of, teacher_pairs
from dmdlab.lab.moments import Moments, kept_iterations
from dmdlab.lab.once import Returning, made_once
from dmdlab.lab.readings import MemberRows, TrainedGroup, group_readings
from dmdlab.lab.start_networks import train_starts
from dmdlab.lab.starts import fit_starts
from dmdlab.lab.store import RunResult, Store
from dmdlab.laws import Law, make_law
from dmdlab.networks import EDMDenoiser, fresh_networks
from dmdlab.pairing import Calibration
from dmdlab.records.record import shared_arrays
from dmdlab.training.distill import Distillation, distillation_from

PULSES = 200
"""How often a training shows progress and may be kept, at least."""

START_NETWORKS, PAIRING, DISTILLING, MEASURING = (
    "training start networks",
    "pairing noise with data",
    "distilling",
    "measuring",
)
"""The stages of a run, in their order."""


@dataclass(frozen=True)
class Progress:
    """Where an ensemble stands: `done` of `total` steps of `stage`, with a line on how it goes."""

    stage: str
    done: int
    total: int
    text: str = ""


class Clock:
    """Seconds by stage since it was made; `lap` books the time since the last lap, for all members together or as one's
    own. `ways`: how each was trained."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.own: dict[str, float] = {}
        self.ways: dict[str, str] = {}
        self.last = time.perf_counter()

    def lap(self, stage: str, own: bool = False) -> None:
        """Book the time since the last lap under `stage`. own: for the member that it was spent on, alone."""
        now = time.perf_counter()
        if own:
            self.own = {stage: now - self.last}
        else:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now

    def share(self, members: int) -> dict[str, float]:
        """Seconds by stage of the last member: its part of what so many spent together, and what was spent on it
        alone."""
        stages = dict.fromkeys([*self.seconds, *self.own])
        return {stage: self.seconds.get(stage, 0.0) / members + self.own.get(stage, 0.0) for stage in stages}


def run_group(
    group: Group, store: Store, device: torch.device, way: Way | None = None, clock: Clock | None = None
) -> Iterator[Progress | RunResult]:
    """Train and measure the members of a group. way: as for `Distillation`. clock: is told the time and the way of each
    stage.

    Yields `Progress`, and at the end a `RunResult` for each member, in order. Raises `InputError`, before any training,
    for a damaged calibration in the store.
    """
    check_calibrations(store, group.members)
    clock, first = clock or Clock(), group.shared
    law = make_law(first.law.model_dump()).to(device)

    start = fresh_networks(first, law, len(group.seeds), device)
    clock.ways |= start.network.ways()
    begins = yield from _train_starts(group, law, start, store, way, clock)
    risks = excess_risks(group, start, law, device)
    clock.lap("teacher")

    yield Progress(PAIRING, 0, 1)
    teacher: Denoiser = law.denoise if first.teacher.kind == "exact" else start
    pairs = yield from _pairs(group, law, teacher, store, device)
    clock.lap("flow")

    networks = start.network.flat[torch.tensor(group.place, device=device)]
    distillation = distillation_from(group, law, networks, device, way, begins)
    rows = MemberRows.of(group, pairs, distillation.student)
    curves = Curves(distillation, rows.seeds, rows.noise, rows.teacher, rows.reference, rows.label, rows.later)
    moments = Moments(kept_iterations(first, curve_iterations(first)))
    yield from _distil(group, distillation, curves, moments, store, device)
    trained = TrainedGroup(start, teacher, risks, begins, distillation.student, distillation.failed_at.tolist())
    clock.ways["distillation"] = distillation.way
    del distillation, networks
    release_memory(device)  # of optimisers and random numbers, which measuring does without
    clock.lap("distillation")

    reading_all = Returning(group_readings(group, law, trained, pairs, rows, store, device))
    for text in reading_all:
        yield Progress(MEASURING, 0, len(group), text)
    clock.lap("measures")
    network = trained.student.network
    for i, (experiment, reading) in enumerate(zip(group.members, reading_all.value, strict=True)):
        yield Progress(MEASURING, i, len(group), "calibration" if reading.measurable else "")
        calibrated = (yield from _calibrated(group, i, store, device)) if reading.measurable else None
        result = result_of(experiment, law, reading, curves.columns(i), network.member_state(i), calibrated)
        if reading.measurable:
            result = replace(result, moments=moments.of(i, network))
        clock.lap("measures", own=True)
        yield result


def _distil(
    group: Group, distillation: Distillation, curves: Curves, moments: Moments, store: Store, device: torch.device
) -> Iterator[Progress]:
    """Train to the end, from where the store's checkpoint stands if it holds these runs; fills `curves`, `moments`."""
    checkpoint, k = store.checkpoint(group, device), group.shared.fake_score.updates
    if kept := checkpoint.load():
        with checkpoint.going_on():
            distillation.restore(kept)
            curves.restore(kept)
            moments.restore(kept)
    else:
        moments.add(0, distillation)
        curves.look(distillation)
    last = distillation.cycles * k
    yield Progress(DISTILLING, distillation.done * k, last)
    pulses = [last * i // PULSES for i in range(1, PULSES + 1)]
    due = [at for at in curve_iterations(group.shared) if at > distillation.done * k]
    with stopping.until_kept():
        for iteration in distillation.run(sorted({*due, *(at - k for at in due if at > k), *pulses})):
            if (due and iteration >= due[0]) or iteration == last:
                curves.add(distillation)
                moments.add(iteration, distillation)
                due = [at for at in due if at > iteration]
            if iteration + k >= (due or [last])[0]:
                curves.look(distillation)
            yield Progress(DISTILLING, iteration, last, curves.text())
            checkpoint.offer(lambda: distillation.state() | curves.state() | moments.state())


def _train_starts(
    group: Group, law: Law, start: EDMDenoiser, store: Store, way: Way | None, clock: Clock
) -> Generator[Progress, None, Tensor]:
    """Fill `start` with the trained network of each origin, training and keeping the networks that the store lacks, and
    then the starts that are fitted; returns the parameters (e, P), on the CPU, that students start at."""
    device, first = start.network.flat.device, group.shared
    to_fit, last, waiting = first.student.regression if group.fits else 0, 0, "another sweep trains them"
    training = Returning(train_starts(group, law, store, device, way))
    for step in training:
        if step is not None:
            clock.ways["teacher"], last = step.way, max(e.teacher.age for e in group.networks)
            yield Progress(START_NETWORKS, step.iteration, last + to_fit, f"loss {step.loss.mean():.3f}")
        else:
            yield Progress(START_NETWORKS, 0, max(e.teacher.age for e in group.networks) + to_fit, waiting)
    rows = torch.stack(training.value)
    start.network.load_rows(rows[: len(group.origins)])
    fitting = Returning(fit_starts(group, law, rows, store, device, way))
    for fitted in fitting:
        if fitted is not None:
            clock.ways["regression"] = fitted.way
            text = f"regression error {fitted.loss.mean():.3f}"
            yield Progress(START_NETWORKS, last + fitted.iteration, last + to_fit, text)
        else:
            yield Progress(START_NETWORKS, last, last + to_fit, waiting)
    return fitting.value


def _pairs(
    group: Group, law: Law, denoiser: Denoiser, store: Store, device: torch.device
) -> Generator[Progress, None, dict[str, Tensor]]:
    """`teacher_pairs`, but for fresh data those in the store; what it lacks is made and kept there, by one sweep at a
    time."""
    own, names = {store.pairs_id(e): e for e in group.origins}, shared_arrays(group.shared.teacher.condition)

    def make(ids: Sequence[str]) -> Iterator[None]:
        made = teacher_pairs(group, law, denoiser, device)
        for i, e in enumerate(group.origins):
            if store.pairs_id(e) in ids:
                store.keep_pairs(e, {name: made[name][i].numpy() for name in names})
        yield from ()

    pairing = Returning(made_once(store, "pairs", list(own), lambda id: store.pairs(own[id]), make))
    for _ in pairing:
        yield Progress(PAIRING, 0, 1, "another sweep makes these pairs")
    known = {name: np.stack([pairing.value[store.pairs_id(e)][name] for e in group.origins]) for name in names}
    return teacher_pairs(group, law, denoiser, device, known)


def _calibrated(
    group: Group, i: int, store: Store, device: torch.device
) -> Generator[Progress, None, tuple[str, Calibration]]:
    """The calibration of member i and the name of its file, made here or waited for where the store lacks it."""
    experiment = group.members[i]
    calibrating = Returning(calibrating_once(store, experiment, device))
    for _ in calibrating:
        yield Progress(MEASURING, i, len(group), "another process calibrates")
    return store.calibration_path(experiment, calibration_id(experiment)).name, calibrating.value.found
