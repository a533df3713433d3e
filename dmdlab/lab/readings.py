"""What the runs of a group are judged by: a `Reading` for each, taken of all members together once they are trained."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dmdlab.diffusion import Denoiser
from dmdlab.diffusion.applied import applied
from dmdlab.group import Group
from dmdlab.lab.calibrate import teacher_map
from dmdlab.lab.evaluate import Reading, asymmetries, probed
from dmdlab.lab.local import gaussian_readings, local_readings
from dmdlab.lab.nearby import teachers_nearby
from dmdlab.lab.once import Returning
from dmdlab.lab.own import own_pairings
from dmdlab.lab.steps import step_outputs
from dmdlab.lab.store import Store
from dmdlab.lab.turns import Turned, turn_readings
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser
from dmdlab.pairing.own import OwnPairing
from dmdlab.training.laziness import laziness
from dmdlab.training.student import Student, later_noises, starting_student


@dataclass(frozen=True)
class MemberRows:
    """What each member is measured at: rows of its seed, on the CPU.

    Attributes:
        seeds: of the members.
        noise, teacher, reference: (e, n, d), as of `teacher_pairs`.
        label: their classes (e, n), or None.
        later: the student's later noises, (e, n, d) each, held fixed; none for a student of one step.
    """

    seeds: list[int]
    noise: Tensor
    teacher: Tensor
    reference: Tensor
    label: Tensor | None
    later: list[Tensor]

    @classmethod
    def of(cls, group: Group, pairs: dict[str, Tensor], student: Student) -> "MemberRows":
        """pairs: of the group's origins, as `teacher_pairs` gives them. student: that of the members."""
        place, label = torch.tensor(group.place), pairs.get("label")
        noise, teacher, reference = (pairs[name][place] for name in ("noise", "teacher", "reference"))
        seeds, (_, n, d) = [e.seed for e in group.members], noise.shape
        later = later_noises(student, seeds, d, n)
        return cls(seeds, noise, teacher, reference, None if label is None else label[place], later)


@dataclass(frozen=True)
class TrainedGroup:
    """A group at the end of its training.

    Attributes:
        start: the start network of each origin, (s, n, d).
        teacher: the denoiser that students were distilled from: `start`, or the exact one.
        risks: excess risk of the start networks, (s,).
        begins: the parameters (e, P) that students began at.
        student: that of the members, (e, n, d).
        failed_at: iterations at which the members' trainings failed, -1 for those that did not.
    """

    start: EDMDenoiser
    teacher: Denoiser
    risks: np.ndarray
    begins: Tensor
    student: Student
    failed_at: list[int]


def group_readings(
    group: Group,
    law: Law,
    trained: TrainedGroup,
    pairs: dict[str, Tensor],
    rows: MemberRows,
    store: Store,
    device: torch.device,
) -> Generator[str, None, list[Reading]]:
    """A reading for each member, in order. Yields what comes next, in words, and while another process looks at the
    teacher.

    pairs: of the group's origins, as `teacher_pairs` gives them. rows: the members' part of them. Raises `InputError`
    for a damaged file of the store.
    """
    student, label = trained.student, pairs.get("label")
    yield "outputs and Jacobians of the students"
    outputs = applied(student, rows.noise, device, rows.label, rows.later).numpy()
    z, few = probed(rows.noise, rows.label, device)
    few_later = [part[:, : z.shape[1]].to(device) for part in rows.later]
    student_shares = asymmetries(rows.seeds, student.maps(few_later, few), z)
    yield "tangent kernels, and the pairings that students started at"
    lazy, own = _since_start(group, law, trained, rows, (z, few, few_later))
    yield "Jacobian of the teacher's flow"
    looking = Returning(teachers_nearby(group, trained.teacher, pairs["noise"], label, store, device))
    for _ in looking:
        yield "another process looks at the teacher"
    yield "students beside the teacher, point by point"
    nearby = looking.value
    local = local_readings(group, student, nearby.answers, pairs["noise"].to(device), label, rows.later)
    steps = step_outputs(student, rows.seeds, rows.noise, device, rows.label)
    gaussian = gaussian_readings(group, law, pairs, device)
    turned = _turned(group, trained, rows.seeds, pairs["noise"], device)
    exact = group.shared.teacher.kind == "exact"
    return [
        Reading(
            pairs={name: array[at].numpy() for name, array in pairs.items()},
            student=outputs[i],
            failed_at=trained.failed_at[i],
            teacher_risk=0.0 if exact else float(trained.risks[at]),
            start_risk=float(trained.risks[at]),
            teacher_asymmetry=float(nearby.asymmetry[at]),
            student_asymmetry=float(student_shares[i]),
            laziness={name: float(of_all[i]) for name, of_all in lazy.items()},
            own=own[i],
            more=local[i] | gaussian[at],
            turned=turned[i],
            steps=steps[i],
        )
        for i, at in enumerate(group.place)
    ]


def _since_start(
    group: Group, law: Law, trained: TrainedGroup, rows: MemberRows, probes: tuple[Tensor, Tensor | None, list[Tensor]]
) -> tuple[dict[str, Tensor], list[OwnPairing]]:
    """How far each student went from its start, and the pairing it had there. probes: a few rows of noise, their
    classes and later noises, on the device. The students at their starts take memory only in here."""
    z, few, few_later = probes
    begun = starting_student(group, law, trained.begins, z.device)
    at_once = group.shared.student.batch  # as training, which holds the graph of one step, too
    lazy = laziness(rows.seeds, begun, trained.student, z, few, at_once, few_later)
    at = rows.noise, rows.teacher, z.device, rows.label, rows.later
    return lazy, own_pairings(group, law, trained.begins, begun, *at)


def _turned(
    group: Group, trained: TrainedGroup, seeds: list[int], noise: Tensor, device: torch.device
) -> Sequence[Turned | None]:
    """What one turn of the noise explains of each student, where it was asked for. noise: of the pairs, (s, n, d)."""
    if not group.shared.measure.turns:
        return [None] * len(group)
    networks = None if group.shared.teacher.kind == "exact" else trained.start.network.flat.detach().cpu()
    maps = [teacher_map(e, device, None if networks is None else networks[i]) for i, e in enumerate(group.origins)]
    later = partial(later_noises, trained.student, seeds, noise.shape[2])
    return turn_readings(group, trained.student, maps, noise, device, later)
