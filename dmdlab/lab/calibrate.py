"""From an experiment to its calibration: what every measure reads on this law, at this n and d, under known truth.

No student is involved, so all runs that share law, noise, teacher, flow and n share one calibration, kept in

    OUT/calibration/<law>-d<dim>-n<samples>-<id>.npz

together with what determines it (`about`, JSON). An exact teacher needs one per law, d and n; a trained teacher is
another map for every seed and needs one for each.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment, InputError, fingerprint, flatten
from dmdlab.device.environment import commit, hardware
from dmdlab.diffusion import Denoiser, flow, karras_grid
from dmdlab.lab.store import read_start, start_path, write_start
from dmdlab.laws import Law, make_law
from dmdlab.pairing import Calibration, calibrate
from dmdlab.pairing.files import read_calibration
from dmdlab.randomness import latents, stream
from dmdlab.training.teacher import denoiser_for, ensemble_of, train_teacher

# 5 degrees: teachers whose map has edges lose pair_cosine linearly from the start. 120 and 180 show the way back.
ANGLES_DEGREES = (0.0, 5.0, 15.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0)
SHARES = (0.5,)
BASES = 4
"""The fewest random bases that give the angle a useful interval (Student's factor is 13 with two, 3.2 with four)."""
FRESH = 1 + BASES
"""Multiples of n of fresh noise: the reference, and as many more as the null has draws, so that these differ."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration with what determines it: the plots' view of one, as a `Record` is of a run.

    Attributes:
        row: flat: 'calibration' (its id), the configuration keys it depends on, 'hardware', 'commit'.
        found: the calibration.
    """

    row: dict[str, Any]
    found: Calibration

    def calibration(self) -> Calibration:
        """The calibration, under the name that a run's record has for its own."""
        return self.found


def depends_on(experiment: Experiment) -> dict[str, Any]:
    """The configuration keys that a calibration depends on, dotted; for a trained teacher its id among them."""
    flat = flatten(experiment)
    keys = ("law.", "noise.", "teacher.kind", "teacher.steps", "teacher.solver", "measure.samples")
    found = {key: value for key, value in flat.items() if key.startswith(keys)}
    if experiment.teacher.kind == "network":
        found |= {"teacher": experiment.teacher_id, "seed": experiment.seed}
    return found


def calibration_id(experiment: Experiment) -> str:
    """Ten hex digits that determine the calibration."""
    settings = {"angles": ANGLES_DEGREES, "shares": SHARES, "bases": BASES, "fresh": FRESH}
    return fingerprint(depends_on(experiment) | {"calibration": settings})


def calibration_path(out: Path, experiment: Experiment) -> Path:
    """Where a sweep into `out` keeps this experiment's calibration."""
    law, n = experiment.law, experiment.measure.samples
    return out / "calibration" / f"{law.name}-d{law.dim}-n{n}-{calibration_id(experiment)}.npz"


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
    return calibrate(
        teacher_map(experiment, device, row),
        latents(seed, n, d, sigma_max, "calibration").numpy(),
        fresh_noise=latents(seed, FRESH * n, d, sigma_max, "fresh calibration").numpy(),
        rng=stream(seed, "calibration", "bases"),
        angles_degrees=ANGLES_DEGREES,
        shares=SHARES,
        bases=BASES,
    )


def teacher_map(
    experiment: Experiment, device: torch.device, row: Tensor | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Phi_K of an experiment's teacher as a function of numpy arrays, (n, d) noise to (n, d) float32 outputs.

    `row` as in `calibrate_experiment`. Raises `InputError` for an unknown law.
    """
    law = make_law(experiment.law.model_dump()).to(device)
    denoiser: Denoiser = law.denoise
    if experiment.teacher.kind == "network":
        denoiser = denoiser_for(1, experiment.network, law, device)
        ensemble_of(denoiser).load_rows((train_row(experiment, law, device) if row is None else row)[None])
    grid = karras_grid(experiment.teacher.steps, experiment.noise)

    def phi(noise: np.ndarray) -> np.ndarray:
        z = torch.from_numpy(np.ascontiguousarray(noise, np.float32)).to(device)[None]  # (1, n, d)
        return flow(denoiser, z, grid, experiment.teacher.solver)[0].float().cpu().numpy()

    return phi


def train_row(experiment: Experiment, law: Law, device: torch.device) -> Tensor:
    """The parameters (P,), on the CPU, of the teacher that a sweep trains for this experiment's seed."""
    denoiser = denoiser_for(1, experiment.network, law, device)
    for _ in train_teacher(experiment, [experiment.seed], law, denoiser):
        pass
    return ensemble_of(denoiser).flat.detach().cpu()[0].clone()


def stored_calibration(out: Path, experiment: Experiment, device: torch.device) -> Calibration:
    """The experiment's calibration from `out`, made and kept there when it is missing.

    A trained teacher is the one in out/teachers, where a sweep keeps it; when that is missing, it is trained and kept.

    Raises:
        InputError: as `calibrate_experiment`, or a damaged file.
    """
    path = calibration_path(out, experiment)
    if path.is_file():
        return load_calibrated(path).found
    row = _teacher_row(out, experiment, device) if experiment.teacher.kind == "network" else None
    found = calibrate_experiment(experiment, device, row)
    about = {
        "calibration": calibration_id(experiment),
        **depends_on(experiment),
        "hardware": hardware(device),
        "commit": commit(),
    }
    _save(path, found, about)
    return found


def load_calibrated(path: Path) -> Calibrated:
    """One stored calibration. Raises `InputError` for a file that is none, or a damaged one."""
    found = read_calibration(path)
    with np.load(path, allow_pickle=False) as stored:
        if "about" not in stored:
            raise InputError(f"{path}: a calibration without its settings; delete it, a sweep makes it anew.")
        return Calibrated(json.loads(str(stored["about"])), found)


def load_calibrations(out: Path) -> list[Calibrated]:
    """Every calibration in out/calibration, by law, dimension and n. Raises `InputError` when there is none."""
    paths = sorted((out / "calibration").glob("*.npz"))
    if not paths:
        raise InputError(f"{out}: no calibration in it; `dmdlab calibrate FILE --out {out}` makes some")
    found = [load_calibrated(path) for path in paths]
    return sorted(found, key=lambda c: (c.row["law.name"], c.row["law.dim"], c.row["measure.samples"]))


def calibrated_once(experiments: Sequence[Experiment]) -> list[Experiment]:
    """One experiment for each calibration that these need, in order of first appearance."""
    return list({calibration_id(e): e for e in reversed(experiments)}.values())[::-1]


def _teacher_row(out: Path, experiment: Experiment, device: torch.device) -> Tensor:
    """The trained teacher's parameters (P,) from out/teachers, trained and kept there when missing."""
    path = start_path(out, experiment)
    if not path.is_file():
        write_start(path, train_row(experiment, make_law(experiment.law.model_dump()).to(device), device))
    return read_start(path)


def _save(path: Path, found: Calibration, about: Mapping[str, Any]) -> None:
    """Write a calibration so that a reader sees a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **found.to_arrays())  # type: ignore[arg-type]
    partial.replace(path)
