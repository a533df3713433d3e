"""What a run is measured by: the arrays that students are compared with, the training curve, and the result."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion import Denoiser, flow, karras_grid, path
from dmdlab.diffusion.jacobian import Map, antisymmetric_share
from dmdlab.lab.calibrate import calibration_path
from dmdlab.lab.check import check_teacher, transport_ratio
from dmdlab.lab.store import RunResult
from dmdlab.laws import Law
from dmdlab.pairing import Calibration, measure
from dmdlab.pairing.moments import RowMoments
from dmdlab.randomness import generator, latents
from dmdlab.training.distill import Cycle, Student

ASYMMETRY_POINTS = 128
"""Noise vectors at which the Jacobians of teacher and student are probed (ours)."""

Calibrate = Callable[[Experiment], Calibration | None]
"""Gives the calibration that belongs to an experiment, for remap_angle; None leaves that measure unresolved."""


@torch.no_grad()
def teacher_pairs(
    experiment: Experiment, seeds: Sequence[int], law: Law, teacher: Denoiser, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """What students are measured against, on the CPU, each (s, n, d): noise z, teacher Phi_K(z), one_step Phi_1(z),
    reference Phi_K at fresh noise, data, and a second sample `fresh` of the law."""
    n, d, sigma_max = experiment.measure.samples, law.dim, experiment.noise.sigma_max
    grid = karras_grid(experiment.teacher.steps, experiment.noise)
    z, fresh = (
        torch.stack([latents(s, n, d, sigma_max, name) for s in seeds]).to(device)
        for name in ("latents", "fresh latents")
    )

    def sample(name: str) -> Tensor:
        return torch.stack([law.sample(n, generator(s, name, device=device)) for s in seeds])

    found = {
        "noise": z,
        "teacher": flow(teacher, z, grid, experiment.teacher.solver),
        "one_step": teacher(z, sigma_max),
        "reference": flow(teacher, fresh, grid, experiment.teacher.solver),
        "data": sample("data"),
        "fresh": sample("fresh data"),
    }
    return {name: value.float().cpu() for name, value in found.items()}


@torch.no_grad()
def asymmetries(seeds: Sequence[int], map_: Map, z: Tensor) -> np.ndarray:
    """The antisymmetric share of each map's Jacobian, (e,), at the first `ASYMMETRY_POINTS` rows of z (e, n, d).

    `map_` takes z's shape and device; seeds: each member's own. No graph outside the Jacobian: it would keep all that
    the parameters' gradients need, sixteen times the memory.
    """
    z = z[:, :ASYMMETRY_POINTS]
    own = [torch.randn(2, *z.shape[1:], generator=generator(s, "jacobian")) for s in seeds]  # (2, n, d) each
    return antisymmetric_share(map_, z, torch.stack(own, dim=1).to(z.device)).detach().cpu().numpy()


def flow_map(experiment: Experiment, teacher: Denoiser) -> Map:
    """Phi_K as a differentiable function of the noise."""
    grid = karras_grid(experiment.teacher.steps, experiment.noise)

    def phi(z: Tensor) -> Tensor:
        *_, last = path(teacher, z, grid, experiment.teacher.solver)
        return last

    return phi


@torch.no_grad()
def apply(student: Student, z: Tensor) -> Tensor:
    """G(z) for z (e, n, d) on the CPU."""
    return student(z.to(student.network.flat.device)).float().cpu()


def checkpoints(experiment: Experiment) -> list[int]:
    """Log-spaced iterations of the training curve."""
    last = experiment.student.iterations
    return sorted({round(i) for i in np.geomspace(1, last, experiment.measure.checkpoints)})


COLUMNS = ("dm_loss", "score_loss", "gap", "student_gradient_norm", "score_gradient_norm")


class Curves:
    """The training curves of all members, a row a checkpoint."""

    def __init__(self, members: int, student: Student, pairs: dict[str, Tensor], member: Tensor) -> None:
        self.student, self.noise, self.teacher = (
            student,
            pairs["noise"][member],
            pairs["teacher"][member].numpy(),
        )
        self.rows: list[dict[str, np.ndarray]] = []
        self.members = members

    def add(self, state: Cycle) -> None:
        """Append the losses of `state` and the students' variance_ratio and pair_cosine now."""
        outputs = apply(self.student, self.noise).numpy()
        row = {"iteration": np.full(self.members, state.iteration)}
        row |= {name: getattr(state, name).cpu().numpy() for name in COLUMNS}
        with np.errstate(all="ignore"):  # a failed member's outputs are not finite; its numbers are recorded as such
            totals = [RowMoments.of(p, g).total() for p, g in zip(self.teacher, outputs, strict=True)]
            row["variance_ratio"] = np.array([float(t.variance_ratio) for t in totals])
            row["pair_cosine"] = np.array([float(t.pair_cosine) for t in totals])
        self.rows.append(row)

    def state(self) -> dict[str, Tensor]:
        """All rows so far, each column (e, rows), for a checkpoint."""
        names = list(self.rows[0]) if self.rows else []
        return {f"curve.{name}": torch.from_numpy(np.stack([row[name] for row in self.rows], axis=1)) for name in names}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where `state` was taken."""
        names = ("iteration", *COLUMNS, "variance_ratio", "pair_cosine")  # in the order of `add`
        columns = {name: state[f"curve.{name}"].numpy() for name in names if f"curve.{name}" in state}
        length = min((c.shape[1] for c in columns.values()), default=0)
        self.rows = [{name: column[:, j] for name, column in columns.items()} for j in range(length)]

    def columns(self, i: int) -> dict[str, list[float]]:
        """Member i's curve by column."""
        return {name: [float(row[name][i]) for row in self.rows] for name in self.rows[0]}

    def text(self) -> str:
        """The last row's means in a few words."""
        if not self.rows:
            return ""
        last = self.rows[-1]
        well = np.isfinite(last["variance_ratio"])
        if not well.any():
            return "every member has failed"
        ratio, cosine = (float(last[key][well].mean()) for key in ("variance_ratio", "pair_cosine"))
        return f"variance ratio {ratio:.2f}, cosine {cosine:.2f}"


def result_of(
    experiment: Experiment,
    pairs: dict[str, np.ndarray],
    student: np.ndarray,
    failed_at: int,
    risks: tuple[float, float],
    shares: tuple[float, float],
    curve: dict[str, list[float]],
    weights: dict[str, Tensor],
    calibrate: Calibrate,
) -> RunResult:
    """Measure one run; a failed one has no measurements, arrays or weights.

    pairs: arrays (n, d) as `teacher_pairs` gives them; student: (n, d); failed_at: an iteration, or -1; risks: excess
    risk of the teacher and of the start network; shares: antisymmetric shares of the teacher's and the student's map.
    """
    check = check_teacher(pairs["teacher"], pairs["data"], pairs["fresh"], risks[0])
    check["antisymmetric_share"] = shares[0]
    summary: dict[str, Any] = {"failed_at": None, "teacher": check, "start_excess_risk": risks[1]}
    if failed_at >= 0 or not (np.isfinite(student).all() and np.isfinite(pairs["teacher"]).all()):
        at = failed_at if failed_at >= 0 else experiment.student.iterations
        return RunResult(experiment, summary | {"status": "failed", "failed_at": at}, curve, {}, {})
    arrays = {name: array for name, array in pairs.items() if name != "fresh"} | {"student": student}
    calibration = calibrate(experiment)
    report = measure(arrays["teacher"], student, reference=arrays["reference"], calibration=calibration)
    near = transport_ratio(student, pairs["data"], check["transport_fresh"])
    words = [*report.in_words(), f"Its outputs cost {near:.2g} times as much to match with data as other data does."]
    if not check["ok"]:
        words.append(f"Beware: the teacher failed its own check: {'; '.join(check['reasons'])}.")
    used = None if calibration is None else calibration_path(Path(), experiment).name
    facts = {"transport_ratio": near, "antisymmetric_share": shares[1]}
    summary |= {"status": "done", "calibration": used, "student": facts}
    return RunResult(experiment, summary | report.to_dict() | {"in_words": words}, curve, arrays, weights)
