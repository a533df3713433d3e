"""From an experiment to its calibration: what every measure reads on this law, at this n and d, under known truth.

No student is involved, so all runs that share law, noise, teacher, flow and n share one calibration, kept in the store
together with what determines it. An exact teacher needs one for each law, d and n; a trained teacher is another map for
every seed and needs one for each. Where the teacher is told a class, a row keeps its class under every planted turn,
and fresh noise has classes of its own.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment, InputError, fingerprint, map_keys, without_places
from dmdlab.device.environment import commit, hardware
from dmdlab.diffusion import Denoiser, conditioned
from dmdlab.diffusion.applied import applied
from dmdlab.experiments import spelled_out
from dmdlab.group import Group
from dmdlab.lab.evaluate import flow_map, noise_labels
from dmdlab.lab.once import Returning, made_once
from dmdlab.lab.start_networks import train_starts
from dmdlab.lab.store import Store
from dmdlab.laws import Law, make_law
from dmdlab.networks import fresh_networks, networks_of
from dmdlab.pairing import Calibration, calibrate
from dmdlab.pairing.local import Answers, NumpyMap
from dmdlab.pairing.planted import turned_maps
from dmdlab.randomness import latents, stream
from dmdlab.records.record import Calibrated
from dmdlab.training.teacher import train_teacher

# 5 degrees: teachers whose map has edges lose pair_cosine linearly from the start. 120 and 180 show the way back.
ANGLES_DEGREES = (0.0, 5.0, 15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0)
SHARES = (0.5,)
LOCAL_SHARE, LOCAL_POINTS = 16, 64
"""local_cosine and local_gain are calibrated at n / 16 points, at most 64 (ours): exact answers to changes of the noise
cost as much as three to six flows, and with all angles so a tenth of a calibration's 35 flows of n rows."""

VERSION = 3
"""Of what a calibration holds: 2 knows what independent samples of the teacher's law read against each other, 3 what
local_cosine and local_gain read under turns."""


def about(experiment: Experiment, device: torch.device) -> dict[str, Any]:
    """What a calibration's row says of it: its id, the configuration keys that it depends on, where it was made."""
    keys = ("law.", "noise.", "teacher.kind", "teacher.steps", "teacher.solver", "teacher.condition")
    trained = experiment.teacher.kind == "network"
    keys = (*keys, "measure.samples", "measure.bases", *(("teacher.", "network.") if trained else ()))
    found = {key: value for key, value in without_places(spelled_out(experiment)).items() if key.startswith(keys)}
    if trained:
        found |= {"teacher": experiment.teacher_id, "seed": experiment.seed}
    place = {"hardware": hardware(device), "commit": commit()}
    return {"calibration": calibration_id(experiment), **found, **place}


def fresh_multiple(experiment: Experiment) -> int:
    """Multiples of n of fresh noise: the reference, and one for each draw of the null, so that these share no rows."""
    return 1 + experiment.measure.bases


def calibration_rows(experiment: Experiment) -> int:
    """Noises that Phi_K is asked at for a calibration, but for those of local_cosine."""
    turned = turned_maps(ANGLES_DEGREES, experiment.measure.bases, experiment.law.dim)
    return experiment.measure.samples * (1 + turned + fresh_multiple(experiment))


def calibration_id(experiment: Experiment) -> str:
    """Ten hex digits that determine the calibration."""
    settings = {"angles": ANGLES_DEGREES, "shares": SHARES, "version": VERSION}
    settings |= {"bases": experiment.measure.bases, "fresh": fresh_multiple(experiment)}
    return fingerprint({**map_keys(experiment), "measure.samples": experiment.measure.samples, "calibration": settings})


def calibrate_experiment(experiment: Experiment, device: torch.device, row: Tensor | None = None) -> Calibration:
    """The calibration of an experiment's teacher map Phi_K at its own n and d.

    Args:
        experiment: sections law, noise, teacher and measure count, and for a trained teacher network and seed.
        device: where the flow runs; the measures are numpy's.
        row: the trained teacher's parameters (P,), trained here where it is missing; unused by an exact teacher.

    Raises:
        InputError: an unknown law, or a teacher whose outputs are not finite.
    """
    seed = experiment.seed if experiment.teacher.kind == "network" else 0
    n, d, sigma_max = experiment.measure.samples, experiment.law.dim, experiment.noise.sigma_max
    bases, fresh = experiment.measure.bases, fresh_multiple(experiment) * n
    law = make_law(experiment.law.model_dump()).to(device)
    phi = flow_map(experiment, own_denoiser(experiment, law, device, row))
    rows = {"labels": (n, "calibration labels"), "fresh_labels": (fresh, "fresh calibration labels")}
    labels = {key: noise_labels(experiment, law, [seed], *of) for key, of in rows.items()}
    return calibrate(
        numpy_map(phi, device),
        latents(seed, n, d, sigma_max, "calibration").numpy(),
        fresh_noise=latents(seed, fresh, d, sigma_max, "fresh calibration").numpy(),
        rng=stream(seed, "calibration", "bases"),
        angles_degrees=ANGLES_DEGREES,
        shares=SHARES,
        bases=bases,
        local_points=min(LOCAL_POINTS, max(bases, n // LOCAL_SHARE)),
        local_answers=_numpy_answers(phi, device),
        **{key: None if own is None else own[0].numpy() for key, own in labels.items()},
    )


def teacher_map(experiment: Experiment, device: torch.device, row: Tensor | None = None) -> NumpyMap:
    """Phi_K of an experiment's teacher as a function of numpy arrays, (n, d) noise to (n, d) float32 outputs; with a
    second argument, class labels (n,), of a conditional one.

    `row` as in `calibrate_experiment`. Raises `InputError` for an unknown law.
    """
    law = make_law(experiment.law.model_dump()).to(device)
    return numpy_map(flow_map(experiment, own_denoiser(experiment, law, device, row)), device)


def own_denoiser(experiment: Experiment, law: Law, device: torch.device, row: Tensor | None) -> Denoiser:
    """The teacher's; arguments as for `teacher_map`."""
    if experiment.teacher.kind == "exact":
        return law.denoise
    own = train_row(experiment, law, device) if row is None else row
    return networks_of(experiment, law, own[None], device)


def numpy_map(phi: Callable[..., Tensor], device: torch.device, later: Sequence[Tensor] = ()) -> NumpyMap:
    """A map of tensors (1, n, d), and labels (1, n), as `teacher_map` is one; later: its noises, as of `applied`."""

    def of_arrays(noise: np.ndarray, label: np.ndarray | None = None) -> np.ndarray:
        z = torch.from_numpy(np.ascontiguousarray(noise, np.float32))[None]  # (1, n, d)
        return applied(phi, z, device, _in_one(label), later)[0].numpy()

    return of_arrays


def _in_one(label: np.ndarray | None) -> Tensor | None:
    """Labels (n,) as those of one member, (1, n)."""
    return None if label is None else torch.from_numpy(label)[None]


def _numpy_answers(phi: Callable[..., Tensor], device: torch.device) -> Answers:
    """J v of a map of tensors (1, n, d), and labels (1, n), in forward mode, as a function of numpy arrays z and v (n,
    d), and labels (n,)."""

    def answers(noise: np.ndarray, directions: np.ndarray, label: np.ndarray | None = None) -> np.ndarray:
        both = torch.from_numpy(np.concatenate([noise, directions], axis=1).astype(np.float32))[None]  # (1, n, 2 d)

        def changed(part: Tensor, label: Tensor | None = None) -> Tensor:
            z, v = (half.contiguous() for half in part.chunk(2, dim=-1))  # forward mode writes into z
            return torch.func.jvp(conditioned(phi, label), (z,), (v,))[1]

        return applied(changed, both, device, _in_one(label))[0].numpy()

    return answers


def train_row(experiment: Experiment, law: Law, device: torch.device) -> Tensor:
    """The parameters (P,), on the CPU, of the teacher that a sweep trains for this experiment's seed."""
    denoiser = fresh_networks(experiment, law, 1, device)
    for _ in train_teacher(experiment, [experiment.seed], law, denoiser, ages=[experiment.teacher.age]):
        pass
    return denoiser.network.flat.detach().cpu()[0].clone()


def stored_calibrated(store: Store, experiment: Experiment, device: torch.device) -> Calibrated:
    """The experiment's calibration in the store, made and kept there when it is missing, with what determines it.

    A trained teacher is the one that the store has; when that is missing, it is trained and kept as a sweep does it.

    Raises:
        InputError: as `calibrate_experiment`, or a damaged file.
    """
    making = Returning(calibrating_once(store, experiment, device))
    for _ in making:
        pass
    return making.value


def calibrating_once(store: Store, experiment: Experiment, device: torch.device) -> Generator[object, None, Calibrated]:
    """The same, which yields while another process makes it, and while its teacher is trained."""
    own = calibration_id(experiment)

    def make(_: Sequence[str]) -> Iterator[object]:
        row = None
        if experiment.teacher.kind == "network":
            plain = experiment.model_copy(update={"student": experiment.student.model_copy(update={"init": "teacher"})})
            law = make_law(experiment.law.model_dump()).to(device)
            (row,) = yield from train_starts(Group((plain,)), law, store, device)
        if row is not None and not row.isfinite().all():
            raise InputError(
                f"{experiment.law.name}, d = {experiment.law.dim}, seed {experiment.seed}: its trained teacher is not "
                "finite, so nothing can be calibrated; lower teacher.learning_rate"
            )
        found = Calibrated(about(experiment, device), calibrate_experiment(experiment, device, row))
        store.keep_calibration(experiment, own, found)

    return (yield from made_once(store, "calibration", [own], lambda _: store.calibrated(experiment, own), make))[own]


def check_calibrations(store: Store, experiments: Sequence[Experiment]) -> None:
    """Read those that the store has of these experiments' calibrations. Raises `InputError` for a damaged one."""
    for e in calibrated_once(experiments):
        store.calibrated(e, calibration_id(e))


def calibrated_once(experiments: Sequence[Experiment]) -> list[Experiment]:
    """One experiment for each calibration that these need, in order of first appearance."""
    return list({calibration_id(e): e for e in reversed(experiments)}.values())[::-1]
