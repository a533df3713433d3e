"""From a group to results: its runs trained and measured together.

`run_group` is a generator: it yields `Progress` while it works and one `RunResult` per member at the end, so that bars,
logs and early stopping belong to the caller. What it needs that exists already it takes from the store, and keeps there
what it makes on the way.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dmdlab.device import stopping
from dmdlab.device.compiling import Way
from dmdlab.device.limits import release_memory
from dmdlab.diffusion import Denoiser
from dmdlab.diffusion.applied import applied
from dmdlab.group import Group
from dmdlab.lab.calibrate import calibrating_once, calibration_id, check_calibrations, teacher_map
from dmdlab.lab.curves import Curves, curve_iterations
from dmdlab.lab.evaluate import Reading, asymmetries, excess_risks, probed, result_of, teacher_pairs
from dmdlab.lab.local import gaussian_readings, local_readings
from dmdlab.lab.moments import Moments, kept_iterations
from dmdlab.lab.nearby import teachers_nearby
from dmdlab.lab.once import Returning, made_once
from dmdlab.lab.own import own_pairings
from dmdlab.lab.start_networks import train_starts
from dmdlab.lab.starts import fit_starts
from dmdlab.lab.steps import step_outputs
from dmdlab.lab.store import RunResult, Store
from dmdlab.lab.turns import Turned, turn_readings
from dmdlab.laws import Law, make_law
from dmdlab.networks import EDMDenoiser, classes_told, make_denoiser
from dmdlab.pairing import Calibration
from dmdlab.records.record import shared_arrays
from dmdlab.training.distill import Distillation, distillation_from
from dmdlab.training.laziness import laziness
from dmdlab.training.student import later_noises, starting_student

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
    exact = first.teacher.kind == "exact"
    place = torch.tensor(group.place)

    start = make_denoiser(len(group.seeds), law, first.network, device, classes_told(first, law))
    clock.ways |= start.network.ways()
    begins = yield from _train_starts(group, law, start, store, way, clock)
    risks = excess_risks(group, start, law, device)
    clock.lap("teacher")

    yield Progress(PAIRING, 0, 1)
    map_denoiser: Denoiser = law.denoise if exact else start
    pairs = yield from _pairs(group, law, map_denoiser, store, device)
    label = pairs.get("label")
    own_label = None if label is None else label[place]
    clock.lap("flow")

    rows = start.network.flat[place.to(device)]
    distillation = distillation_from(group, law, rows, device, way, begins)
    seeds = [e.seed for e in group.members]
    own_later = partial(later_noises, distillation.student, seeds, law.dim)
    later = own_later(first.measure.samples)
    noise, teacher, reference = (pairs[name][place] for name in ("noise", "teacher", "reference"))
    curves = Curves(distillation, seeds, noise, teacher, reference, own_label, later)
    moments = Moments(kept_iterations(first, curve_iterations(first)))
    yield from _distil(group, distillation, curves, moments, store, device)
    student, failed_at = distillation.student, distillation.failed_at.tolist()
    clock.ways["distillation"] = distillation.way
    del distillation, rows
    release_memory(device)  # of optimisers and random numbers, which measuring does without
    clock.lap("distillation")

    yield Progress(MEASURING, 0, len(group))
    outputs = applied(student, noise, device, own_label, later).numpy()
    z, few = probed(noise, own_label, device)
    few_later = [part[:, : z.shape[1]].to(device) for part in later]
    student_shares = asymmetries(seeds, student.maps(few_later, few), z)
    begun = starting_student(group, law, begins, device)
    at_once = first.student.batch  # as training, which holds the graph of one step, too
    lazy = laziness(seeds, begun, student, z, few, at_once, few_later)
    own = own_pairings(group, law, begins, begun, noise, teacher, device, own_label, later)
    del begun
    looking = Returning(teachers_nearby(group, map_denoiser, pairs["noise"], label, store, device))
    for _ in looking:
        yield Progress(MEASURING, 0, len(group), "another process looks at the teacher")
    nearby = looking.value
    local = local_readings(group, student, nearby.answers, pairs["noise"].to(device), label, later)
    steps = step_outputs(student, seeds, noise, device, own_label)
    gaussian = gaussian_readings(group, law, pairs, device)
    turned: list[Turned | None] = [None] * len(group)
    if first.measure.turns:
        trained = None if exact else start.network.flat.detach().cpu()
        maps = [teacher_map(e, device, None if trained is None else trained[i]) for i, e in enumerate(group.origins)]
        turned[:] = turn_readings(group, student, maps, pairs["noise"], device, own_later)
    clock.lap("measures")
    for i, experiment in enumerate(group.members):
        if i:
            yield Progress(MEASURING, i, len(group))
        at = group.place[i]
        reading = Reading(
            pairs={name: array[at].numpy() for name, array in pairs.items()},
            student=outputs[i],
            failed_at=failed_at[i],
            teacher_risk=0.0 if exact else float(risks[at]),
            start_risk=float(risks[at]),
            teacher_asymmetry=float(nearby.asymmetry[at]),
            student_asymmetry=float(student_shares[i]),
            laziness={name: float(of_all[i]) for name, of_all in lazy.items()},
            own=own[i],
            more=local[i] | gaussian[at],
            turned=turned[i],
            steps=steps[i],
        )
        calibrated: tuple[str, Calibration] | None = None
        if reading.measurable:
            calibrating = Returning(calibrating_once(store, experiment, device))
            for _ in calibrating:
                yield Progress(MEASURING, i, len(group), "another process calibrates")
            file = store.calibration_path(experiment, calibration_id(experiment)).name
            calibrated = file, calibrating.value.found
        result = result_of(experiment, law, reading, curves.columns(i), student.network.member_state(i), calibrated)
        if reading.measurable:
            result = replace(result, moments=moments.of(i, student.network))
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
