"""What a run is measured by: the arrays that students are compared with, the training curve, checks, and the result.

Is the teacher good enough to judge a student by? A copying claim compares a student with its teacher's outputs
Phi_K(z). If those are not samples of the law, the claim is about an accident. So every record carries two checks of its
teacher, and figures mark the runs that fail one:

- `excess_risk`: how much worse the network denoises than the exact denoiser, relative to the risk nobody can avoid
  (0 for an exact teacher; NaN where the law has no exact denoiser);
- `transport_ratio`: e_ot(Phi_K outputs, fresh data) / e_ot(other fresh data, fresh data), 1 when the outputs are as
  good as data at this n. It sees the error of the flow, too: few steps K cost here even with an exact denoiser. In high
  dimension two samples of one law are far apart, so there it can only see gross errors, and excess_risk decides.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import FITTED, Experiment
from dmdlab.diffusion import Denoiser, conditioned, karras_grid, karras_sigma, steps
from dmdlab.diffusion.applied import applied
from dmdlab.diffusion.jacobian import Map, antisymmetric_share
from dmdlab.group import Group
from dmdlab.lab.store import RunResult
from dmdlab.laws import Law
from dmdlab.laws.law import PARTS, Part
from dmdlab.pairing import Calibration, assignment, measure
from dmdlab.pairing.context_in_words import (
    data_in_words,
    laziness_in_words,
    own_in_words,
    steps_in_words,
    turns_in_words,
    warmup_in_words,
)
from dmdlab.pairing.glossary import MAX_EXCESS_RISK, MAX_TRANSPORT_RATIO
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.own import OwnPairing
from dmdlab.pairing.steps import StepOutputs
from dmdlab.pairing.within import within_classes
from dmdlab.pairing.words import run_in_words
from dmdlab.randomness import generator, latents
from dmdlab.training.teacher import excess_risk

ASYMMETRY_POINTS = 128
"""Noise vectors at which the Jacobians of teacher and student are probed (ours)."""


def flow_steps(experiment: Experiment, teacher: Denoiser, label: Tensor | None = None) -> list[Map]:
    """The steps of Phi_K, differentiable maps of (e, n, d); label: the rows' classes (e, n), or None."""
    return steps(
        conditioned(teacher, label), karras_grid(experiment.teacher.steps, experiment.noise), experiment.teacher.solver
    )


def flow_map(experiment: Experiment, teacher: Denoiser) -> Callable[..., Tensor]:
    """Phi_K as a differentiable function of the noise (e, n, d), and of its class labels `label` (e, n), or None."""

    def phi(z: Tensor, label: Tensor | None = None) -> Tensor:
        x = z
        for step in flow_steps(experiment, teacher, label):
            x = step(x)
        return x

    return phi


@torch.no_grad()
def teacher_pairs(
    group: Group, law: Law, teacher: Denoiser, device: torch.device, known: Mapping[str, np.ndarray] | None = None
) -> dict[str, Tensor]:
    """What students are measured against, on the CPU, each (s, n, d), a row a seed: noise z, teacher Phi_K(z), one_step
    Phi_1(z), reference Phi_K at fresh noise, data, and a second sample `fresh` of the law, of a data set's parts that
    nobody trains on; for conditional members the class labels of noise and fresh noise, label and reference_label, each
    (s, n). known: those but `fresh`, when they are there already."""
    first, d = group.shared, law.dim
    n, sigma_max = first.measure.samples, first.noise.sigma_max

    def sample(name: str, part: Part) -> Tensor:
        own = [law.sample(n, generator(s, name, device=device), part) for s in group.seeds]
        return torch.stack(own).float().cpu()

    if known:
        return {name: torch.from_numpy(array) for name, array in known.items()} | {
            "fresh": sample("fresh data", "measure")
        }
    z, fresh = (
        torch.stack([latents(s, n, d, sigma_max, name) for s in group.seeds]) for name in ("latents", "fresh latents")
    )
    label, fresh_label = (noise_labels(first, law, group.seeds, n, name) for name in ("labels", "fresh labels"))
    phi = flow_map(first, teacher)
    labels = {} if label is None or fresh_label is None else {"label": label, "reference_label": fresh_label}
    return labels | {
        "noise": z,
        "teacher": applied(phi, z, device, label),
        "one_step": applied(lambda part, label=None: conditioned(teacher, label)(part, sigma_max), z, device, label),
        "reference": applied(phi, fresh, device, fresh_label),
        "data": sample("data", "reference"),
        "fresh": sample("fresh data", "measure"),
    }


def noise_labels(experiment: Experiment, law: Law, seeds: Sequence[int], n: int, name: str) -> Tensor | None:
    """Class labels for n rows of each seed's noise (s, n), on the CPU, drawn as the law's come; None where networks
    are told none. name: of the stream."""
    if not experiment.teacher.condition:
        return None
    return torch.stack([law.draw_labels(n, generator(seed, name)) for seed in seeds])


def probed(z: Tensor, label: Tensor | None, device: torch.device | str) -> tuple[Tensor, Tensor | None]:
    """The first `ASYMMETRY_POINTS` rows of z (e, n, d) and of their classes (e, n), if any, on `device`."""
    few = slice(ASYMMETRY_POINTS)
    return z[:, few].to(device), None if label is None else label[:, few].to(device)


@torch.no_grad()
def asymmetries(seeds: Sequence[int], maps: Sequence[Map], z: Tensor) -> np.ndarray:
    """The antisymmetric share of each map's Jacobian, (e,), at the points z (e, n, d) that `probed` gives.

    maps: as for `antisymmetric_share`, on z's device. seeds: each member's own. No graph outside the Jacobian: it would
    keep all that the parameters' gradients need, sixteen times the memory.
    """
    own = [torch.randn(2, *z.shape[1:], generator=generator(s, "jacobian")) for s in seeds]  # (2, n, d) each
    return antisymmetric_share(maps, z, torch.stack(own, dim=1).to(z.device)).detach().cpu().numpy()


@torch.no_grad()
def excess_risks(group: Group, denoiser: Denoiser, law: Law, device: torch.device | str = "cpu") -> np.ndarray:
    """Each seed's excess risk over levels uniform in the Karras index, (s,), on points of what is trained on, which the
    exact denoiser is of; NaN without one (given the class, where networks are told it)."""
    condition, n = group.shared.teacher.condition, group.shared.measure.samples
    if not (law.has_class_denoiser if condition else law.has_denoiser):
        return np.full(len(group.seeds), math.nan)
    streams = [generator(s, "teacher check", device=device) for s in group.seeds]
    label = None
    if condition:
        x, label = (torch.stack(p) for p in zip(*(law.sample_labelled(n, g) for g in streams), strict=True))
    else:
        x = torch.stack([law.sample(n, g) for g in streams])  # (s, n, d)
    u = torch.stack([torch.rand(n, 1, generator=g, device=device) for g in streams])
    eps = torch.stack([torch.randn(n, law.dim, generator=g, device=device) for g in streams])
    return excess_risk(denoiser, law, x, karras_sigma(u, group.shared.noise), eps, label).cpu().numpy()


def transport_ratio(outputs: np.ndarray, data: np.ndarray, floor: float) -> float:
    """e_ot(outputs, data) over `floor`, the cost between two samples of the law: 1 for outputs as good as data.

    A student is judged by it, too (`student_transport_ratio`): it learns the teacher's law by its score, and so can be
    nearer to the data than the flow Phi_K, to which `fidelity` compares it, is with few steps K.
    """
    return assignment(outputs, data).cost / floor if floor > 0 else math.nan


def check_teacher(teacher: np.ndarray, data: np.ndarray, fresh: np.ndarray, excess: float) -> dict[str, Any]:
    """The record's `teacher` section. Arrays (n, d): Phi_K outputs and two independent samples of the law.

    Returns excess_risk, transport (outputs to data), transport_fresh (data to data), transport_ratio, ok, and the
    reasons why not.
    """
    finite, reasons = bool(np.isfinite(teacher).all()), []
    floor = assignment(fresh, data).cost
    ratio = transport_ratio(teacher, data, floor) if finite else math.nan
    if excess > MAX_EXCESS_RISK:
        reasons.append(f"its excess risk is {excess:.3g}, above {MAX_EXCESS_RISK}")
    if ratio > MAX_TRANSPORT_RATIO:
        reasons.append(
            f"its outputs cost {ratio:.3g} times as much to match with data as data does, above {MAX_TRANSPORT_RATIO}"
        )
    if not finite:
        reasons.append("its outputs are not finite")
    return {
        "excess_risk": float(excess),
        "transport": ratio * floor,
        "transport_fresh": floor,
        "transport_ratio": ratio,
        "ok": not reasons,
        "reasons": reasons,
    }


@dataclass(frozen=True)
class Reading:
    """All that one run is judged by.

    Attributes:
        pairs: arrays (n, d) as `teacher_pairs` gives them, of this run's seed.
        student: G(z), (n, d).
        failed_at: the iteration at which training failed, -1 when it did not.
        teacher_risk, start_risk: excess risk of the teacher and of the start network.
        teacher_asymmetry, student_asymmetry: antisymmetric share of either map's Jacobian.
        laziness: `weight_movement` and `kernel_change` of the student (`dmdlab.training.laziness`).
        own: the pairing that the student started with (`dmdlab.lab.own`).
        more: measures that need the maps themselves (`dmdlab.lab.local`).
        turned: `rotation_explained` and the numbers beside it (`dmdlab.lab.turns`), where they were asked for.
        steps: of a student of several steps, its first one and what its later noises decide (`dmdlab.lab.steps`).
    """

    pairs: dict[str, np.ndarray]
    student: np.ndarray
    failed_at: int
    teacher_risk: float
    start_risk: float
    teacher_asymmetry: float
    student_asymmetry: float
    laziness: dict[str, float]
    own: OwnPairing
    more: dict[str, Measured]
    turned: tuple[Measured, dict[str, float]] | None = None
    steps: StepOutputs | None = None

    @property
    def measurable(self) -> bool:
        """Whether there is something to measure: training did not fail, and all outputs are finite."""
        return bool(self.failed_at < 0 and np.isfinite(self.student).all() and np.isfinite(self.pairs["teacher"]).all())


def check_start(experiment: Experiment, reading: Reading) -> dict[str, Any]:
    """The record's `start` section, of a run that failed: whether student and fake score started at something finite,
    and the reasons why not; none where the teacher's own outputs say so."""
    reasons = []
    if np.isfinite(reading.pairs["teacher"]).all():
        if not np.isfinite(reading.own.start).all():
            reasons.append("the student's outputs before its training are not finite")
        elif experiment.teacher.kind == "exact" and not math.isfinite(reading.start_risk):
            reasons.append("its excess risk is not finite")
    return {"ok": not reasons, "reasons": reasons}


def law_facts(law: Law) -> dict[str, Any]:
    """The record's `law_facts` section: what building the law has shown of it.

    Returns sigma_data, intrinsic_dim, shape, classes; of a data set the digest, too, where it comes from a file, and
    how many points each of its parts holds (train_rows, reference_rows, measure_rows); otherwise None.
    """
    return {
        "sigma_data": float(law.sigma_data),
        "intrinsic_dim": law.intrinsic_dim,
        "shape": list(law.shape),
        "classes": law.classes,
        "digest": law.digest,
        **{f"{part}_rows": law.available(part) for part in PARTS},
    }


def _trainings(experiment: Experiment) -> dict[str, tuple[int, int]]:
    """As for `warmup_in_words`; of network and fitted start, which warm up alike, the shorter training."""
    teacher, student = experiment.teacher, experiment.student
    networks = min(teacher.age, student.regression) if student.init in FITTED else teacher.age
    return {"teacher.warmup": (networks, teacher.warmup), "student.warmup": (student.iterations, student.warmup)}


def result_of(
    experiment: Experiment,
    law: Law,
    reading: Reading,
    curve: dict[str, list[float]],
    weights: dict[str, Tensor],
    calibrated: tuple[str, Calibration] | None = None,
) -> RunResult:
    """Measure one run; a failed one has no measurements, student or weights. calibrated: the name of the calibration's
    file and the calibration, for remap_angle."""
    pairs = reading.pairs
    check = check_teacher(pairs["teacher"], pairs["data"], pairs["fresh"], reading.teacher_risk)
    check["antisymmetric_share"] = reading.teacher_asymmetry
    facts = law_facts(law)
    summary: dict[str, Any] = {"failed_at": None, "law_facts": facts, "teacher": check}
    summary["start_excess_risk"] = reading.start_risk
    if not reading.measurable:
        at = reading.failed_at if reading.failed_at >= 0 else experiment.student.iterations
        summary |= {"status": "failed", "failed_at": at, "start": check_start(experiment, reading)}
        return RunResult(experiment, summary, curve, None, {})
    name, calibration = calibrated or (None, None)
    report = measure(pairs["teacher"], reading.student, reference=pairs["reference"], calibration=calibration)
    turns = reading.turned[1] if reading.turned else {}
    report = report.with_measures(reading.more | ({"rotation_explained": reading.turned[0]} if reading.turned else {}))
    near = transport_ratio(reading.student, pairs["data"], check["transport_fresh"])
    words = [*report.in_words(), *run_in_words(near, check["reasons"]), *data_in_words(law.name, facts)]
    words += warmup_in_words(_trainings(experiment))
    own = reading.own.measured(reading.student, calibration)
    words += [*laziness_in_words(reading.laziness), *own_in_words(experiment.student.init, own), *turns_in_words(turns)]
    if "label" in pairs:
        labels = {key: pairs[key] for key in ("label", "reference_label")}
        within = within_classes(pairs["teacher"], reading.student, reference=pairs["reference"], **labels)
        summary["within_classes"] = within.to_dict()
        words += within.in_words()
    student = {"transport_ratio": near, "antisymmetric_share": reading.student_asymmetry, **reading.laziness}
    summary |= {"status": "done", "calibration": name, "student": student, "turns": turns}
    summary["own"] = {key: measured.to_dict() for key, measured in own.items()}
    if reading.steps is not None:
        steps = reading.steps.measured(pairs["teacher"], calibration)
        summary["steps"] = {key: measured.to_dict() for key, measured in steps.items()}
        words += steps_in_words(steps)
    return RunResult(experiment, summary | report.to_dict() | {"in_words": words}, curve, reading.student, weights)
