"""What a page that runs a student's maps needs besides its record: the exact law in the plane, the turn of the noise
that the student stands behind, and answers of the maps here to compare the page's with; of pictures, a path between two
noises.

All of it follows from the record's configuration and weights: nothing is trained.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment, InputError, experiment_from
from dmdlab.diffusion import Denoiser
from dmdlab.experiments import resolve
from dmdlab.group import Group
from dmdlab.lab.evaluate import flow_map
from dmdlab.lab.store import Store
from dmdlab.laws import Law, make_law
from dmdlab.laws.plane import in_the_plane
from dmdlab.networks import fresh_networks, network_settings, networks_of, teacher_of
from dmdlab.randomness import generator
from dmdlab.records.kept_weights import in_order
from dmdlab.records.record import Record
from dmdlab.training.levels import levels_of
from dmdlab.training.planes import PlanarTurn
from dmdlab.training.student import later_noises, student_of, turn_of

RUNS_IN_PAGES = ("residual", "mlp", "linear")
"""Kinds of networks that a page can compute."""

LEVELS = (0.1, 0.5, 2.0)
"""Noise levels of the answers to compare with, in units of the law's sigma_data."""

ROWS = 32
"""Points at each of them."""

STEPS = 9
"""Places along the path between two noises."""


def maps_for(record: Record) -> dict[str, Any]:
    """What is known of a finished run's maps.

    Returns `law`: name, dim, sigma_data, shape, exact (`in_the_plane`); `network`: kind and settings of one that runs
    in a page, or None with the sentence `why`; `order`: its parameters' names and shapes in their order; `turn`;
    `level`, at which the student is called first; `teacher`: a trained teacher's parameters by name, or None for an
    exact one; `checks`: "fake", a list of sigma, x and answer (m, 2); `slice` of pictures, or None.

    Raises `InputError` for a configuration that no law, network or start of today has, or weights that are lost.
    """
    e = _experiment(record)
    law = make_law(e.law.model_dump())
    found: dict[str, Any] = {
        "law": {"name": law.name, "dim": law.dim, "sigma_data": float(law.sigma_data), "shape": list(law.shape)},
        "network": None,
        "teacher": None,
        "turn": None,
        "level": levels_of(e)[0],
        "checks": {"fake": []},
        "slice": None,
    }
    found["law"]["exact"] = in_the_plane(law)
    if (why := _why_not(record, e, law)) is not None:
        found["why"] = why
        if len(law.shape) == 3:
            found["slice"] = _slice(record, e, law)
        return found
    settings = network_settings(e.network).model_dump()
    network = fresh_networks(e, law, 1).network
    shapes = {name: list(p.shape[1:]) for name, p in network.named_parameters()}
    found |= {"why": None, "network": {"kind": e.network.kind, **settings}, "order": shapes, "turn": _turn(e)}
    if e.teacher.kind == "network":
        trained = network.load_rows(_start(record, e)[None]).member_state(0)
        found["teacher"] = {name: value.numpy() for name, value in trained.items()}
    moments = record.moments()
    fake = {name.removeprefix("fake."): value[-1] for name, value in moments.items() if name.startswith("fake.")}
    if fake:
        denoiser = networks_of(e, law, _row(fake, shapes)[None])
        found["checks"]["fake"] = _answers(denoiser, torch.from_numpy(record.student()[:ROWS]), law.sigma_data)
    return found


def _experiment(record: Record) -> Experiment:
    """What the record's configuration says, as today's code has it."""
    return resolve(experiment_from(record.config, str(record.folder)), str(record.folder))


def _why_not(record: Record, e: Experiment, law: Law) -> str | None:
    """Why this run's networks cannot run in a page; None where they can."""
    if law.dim != 2:
        return f"its law has {law.dim} dimensions, and only maps of the plane run in a page"
    if e.network.kind not in RUNS_IN_PAGES:
        return f"a network of the kind {e.network.kind!r} does not run in a page"
    if e.student.steps > 1:
        return f"its student takes {e.student.steps} steps, and a page runs students of one step alone"
    if e.teacher.condition:
        return "its networks are told a class"
    if not (record.folder / "student.safetensors").is_file():
        return "the record has no weights"
    if e.teacher.kind == "exact" and in_the_plane(law) is None:
        return f"the law {law.name!r} has no exact denoiser that a page knows"
    if e.teacher.kind == "network" and Store(record.out).start(e) is None:
        return "its teacher's network is not in the folder of the sweep"
    return None


def _start(record: Record, e: Experiment) -> Tensor:
    """The parameters (P,) of the run's trained teacher. Raises `InputError` where they are lost."""
    row = Store(record.out).start(e)
    if row is None:
        raise InputError(f"{record.folder}: its teacher's network is not in the folder of the sweep; copy it whole")
    return row


def _turn(e: Experiment) -> dict[str, Any] | None:
    """The map of the noise before the student's network, for rows z: a matrix, or a twist."""
    if (turn := turn_of(Group((e,)), 2)) is None:
        return None
    if e.student.init != "twisted":
        return {"kind": "matrix", "matrix": turn(torch.eye(2)[None])[0].tolist()}
    side = float(torch.linalg.det(PlanarTurn([e], 2).basis.coordinates(torch.eye(2)[None])[0]).sign())
    angle = math.radians(e.student.turn_degrees)
    return {"kind": "twist", "angle": angle, "side": side, "sigma_max": e.noise.sigma_max}


def _row(weights: Mapping[str, np.ndarray], shapes: Mapping[str, Sequence[int]]) -> Tensor:
    """Parameters by name as one row (P,). Raises `InputError` where one is missing or of another shape."""
    return torch.from_numpy(in_order(weights, shapes)).float()


@torch.no_grad()
def _answers(denoiser: Denoiser, points: Tensor, sigma_data: float) -> list[dict[str, Any]]:
    """What a denoiser answers to `points` (m, 2) noised to `LEVELS`."""
    g, found = generator(0, "answers"), []
    for level in LEVELS:
        sigma = level * sigma_data
        x = points + sigma * torch.randn(points.shape, generator=g)
        found.append({"sigma": sigma, "x": x.numpy(), "answer": denoiser(x[None], sigma)[0].numpy()})
    return found


@torch.no_grad()
def _slice(record: Record, e: Experiment, law: Law) -> dict[str, Any] | None:
    """Teacher and student along the arc between the run's first two noises, which keeps their norm: `t` in 0..1 and
    `teacher`, `student` (STEPS, d); None where a network is lost."""
    try:
        shapes = {name: list(p.shape[1:]) for name, p in fresh_networks(e, law, 1).network.named_parameters()}
        rows = {"student": _row(record.weights(), shapes)}
        rows["teacher"] = rows["student"] if e.teacher.kind == "exact" else _start(record, e)
    except InputError:
        return None
    arrays, t = record.arrays(), np.linspace(0, 1, STEPS, dtype=np.float32)
    first, second = (torch.from_numpy(arrays["noise"][i]) for i in (0, 1))
    angle = torch.from_numpy(t)[:, None] * (math.pi / 2)
    z = (angle.cos() * first + angle.sin() * second)[None]  # (1, STEPS, d)
    label = torch.from_numpy(arrays["label"][:1]).expand(1, STEPS) if "label" in arrays else None
    student = student_of(Group((e,)), networks_of(e, law, rows["student"][None]), law.dim)
    later = [one[:, :1].expand(1, STEPS, -1) for one in later_noises(student, [e.seed], law.dim, 1)]
    teacher = flow_map(e, teacher_of(e, law, rows["teacher"][None]))
    found = {"teacher": teacher(z, label)[0].numpy(), "student": student(z, later, label)[0].numpy()}
    return {"t": t.tolist(), **found}
