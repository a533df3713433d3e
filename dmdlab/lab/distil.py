"""A teacher of one's own: any denoiser, distilled, measured and recorded by the same loop as all others."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dmdlab.config import InputError, NoiseConfig, experiment_from
from dmdlab.diffusion import flow, karras_grid
from dmdlab.experiments import resolve
from dmdlab.group import Group
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Work, to_the_end
from dmdlab.laws import make_law
from dmdlab.laws.registered import Answer, register
from dmdlab.networks import make_denoiser
from dmdlab.records.record import Record
from dmdlab.training.student import later_noises, starting_student

DRAWN = 4096
"""Points that are drawn from the teacher's own flow where no data is given (ours)."""

FLOW_STEPS = 32
"""Steps of that flow (ours)."""

KEPT = ("law.", "teacher.kind")
"""Settings that are this function's own."""


@dataclass(frozen=True)
class Distilled:
    """A student, (n, *shape) noise of standard deviation sigma_max -> (n, *shape), and the run's record. A student of
    several steps takes the later noises of the run's own rows: row i of every call has the same ones."""

    student: Callable[[Tensor], Tensor]
    record: Record


def distil(
    denoiser: Answer,
    shape: tuple[int, ...],
    *,
    data: Tensor | None = None,
    sigma_data: float | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    device: str = "cpu",
) -> Distilled:
    """Distil a teacher of one's own into a student, and measure what it kept of the pairing.

    Args:
        denoiser: D(x_sigma, sigma), the prediction of x0: points (n, *shape) and levels (n, 1, ...), float32 on
            `device` -> (n, *shape). It defines DMD's teacher score and, by its flow from sigma_max, the pairing.
        shape: of one point, as (channels, side, side) or (d,).
        data: (m, *shape) of what it was trained on, for the training of the network that student and fake score start
            at, and for the measures; half of it trains, a quarter each refers and measures. Without it `DRAWN` points
            of the teacher's own flow stand in for data, so that nothing then tells a bad teacher.
        sigma_data: root-mean-square deviation of the data; measured where it is not given.
        settings: dotted keys on top of the defaults, as {"student.learning_rate": 1e-4, "network.kind": "unet"}; those
            of the law and `teacher.kind` are not free.
        out: the folder of runs; a temporary one where none is given.
        device: 'cpu' or 'cuda'.

    Raises:
        InputError: as `register`, for a denoiser whose flow is no map; a setting that is not free, unknown or out of
            range; more `measure.samples` than the data holds.
    """
    where, asked = torch.device(device), dict(settings or {})
    for key in asked:
        if key.startswith(KEPT):
            raise InputError(
                f"settings: {key} is not free here: the teacher is the denoiser that is given, its law that of the "
                "data; leave it out"
            )
    noise = NoiseConfig(**{k.removeprefix("noise."): v for k, v in asked.items() if k.startswith("noise.")})
    points = _drawn(denoiser, shape, noise, where) if data is None else data.to(where)
    spread = float((points.float() - points.float().mean(0)).square().mean().sqrt())
    digest = register(denoiser, tuple(shape), spread if sigma_data is None else sigma_data, points)
    law = {
        "law.name": "registered",
        "law.dim": torch.Size(shape).numel(),
        "law.digest": digest,
        "teacher.kind": "exact",
    }
    experiment = resolve(experiment_from(asked | law))
    store, group = Store(Path(tempfile.mkdtemp() if out is None else out)), Group((experiment,))
    if not store.finished(experiment):
        for _ in to_the_end(Work(store, where, "eager"), [group]):
            pass
    record = store.record(experiment)
    if not record.done:
        advice = "lower student.learning_rate or fake_score.learning_rate"
        if not record.summary.get("start", {}).get("ok", True):
            advice = "its start network had before: lower teacher.learning_rate"
        at = record.summary["failed_at"]
        raise InputError(f"the student diverged at iteration {at} (its record: {record.folder}); {advice}")
    return Distilled(_student(record, group, where), record)


def _drawn(denoiser: Answer, shape: tuple[int, ...], noise: NoiseConfig, device: torch.device) -> Tensor:
    """Points of the denoiser's own flow."""
    g = torch.Generator().manual_seed(0)
    z = noise.sigma_max * torch.randn(DRAWN, *shape, generator=g).to(device)

    def at(x_sigma: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        return denoiser(x_sigma, torch.full((len(x_sigma), *(1 for _ in shape)), float(sigma), device=device))

    return torch.cat([flow(at, part, karras_grid(FLOW_STEPS, noise)) for part in z.split(512)])


def _student(record: Record, group: Group, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The recorded student as a function."""
    first = group.shared
    law = make_law(first.law.model_dump()).to(device)
    held = load_file(record.folder / "student.safetensors")
    names = [name for name, _ in make_denoiser(1, law, first.network).network.named_parameters()]
    row = torch.cat([held[name].flatten() for name in names])[None]
    student = starting_student(group, law, row, device)  # for its shape and its turn of the noise
    student.network.load_rows(row)

    @torch.no_grad()
    def generate(z: Tensor) -> Tensor:
        later = [part.to(device) for part in later_noises(student, [first.seed], law.dim, len(z))]
        out: Tensor = student(z.reshape(1, len(z), -1).to(device), later)
        return out.reshape(z.shape)

    return generate
