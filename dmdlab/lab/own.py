"""What every student of a group has as its own pairing, and what its start made of it (`dmdlab.pairing.own`).

- teacher, regressed: Phi_K(z), the teacher's outputs as they are;
- turned, twisted, rotated: Phi_K(R z), R the start's fixed map of the noise;
- other: the flow of the other seed's teacher; beside an exact teacher Phi_K itself;
- transport, random: the start G_0 itself, since no other map of theirs is known.

Later noises of students of several steps are those of the run, held fixed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dmdlab.config import TURNED
from dmdlab.diffusion.applied import applied
from dmdlab.group import Group
from dmdlab.lab.calibrate import ANGLES_DEGREES, numpy_map
from dmdlab.lab.evaluate import flow_map
from dmdlab.laws import Law
from dmdlab.networks import teacher_of
from dmdlab.pairing.own import OwnPairing, planted_curve
from dmdlab.randomness import stream
from dmdlab.training.student import Student, starting_student

RIGHT_ANGLE = 90.0


def own_pairings(
    group: Group,
    law: Law,
    begins: Tensor,
    begun: Student,
    noise: Tensor,
    teacher: Tensor,
    device: torch.device,
    label: Tensor | None = None,
    later: Sequence[Tensor] = (),
) -> list[OwnPairing]:
    """That of each member. begins: what students start at, (e, P). begun: the students at their starts. noise, teacher:
    the run's rows and Phi_K of them, (e, n, d); label: their classes (e, n), or None; later: the students' later noises
    at these rows, held fixed. Noise and outputs on the CPU."""
    first, inits = group.shared, [e.student.init for e in group.members]
    start, outputs = applied(begun, noise, device, label, later), teacher.clone()
    exact = first.teacher.kind == "exact"
    moved = [i for i, init in enumerate(inits) if init in TURNED or (init == "other" and not exact)]
    if moved:
        z = applied(lambda part, label=None: begun.turned(part), noise, device)[moved]
        flowing = teacher_of(first, law, begins[moved], device)
        outputs[moved] = applied(flow_map(first, flowing), z, device, None if label is None else label[moved])
    found = []
    for i, e in enumerate(group.members):
        own, curve = outputs[i], None
        if e.student.init in ("transport", "random"):
            own = start[i]
            one = starting_student(Group((e,)), law, begins[i : i + 1], device)
            alone = numpy_map(one, device, [part[i : i + 1] for part in later])
            curve = planted_curve(
                alone,
                noise[i].numpy(),
                rng=stream(e.seed, "own pairing", "bases"),
                angles_degrees=[a for a in ANGLES_DEGREES if a <= RIGHT_ANGLE],
                bases=e.measure.bases,
                label=None if label is None else label[i].numpy(),
            )
        found.append(OwnPairing(own.numpy(), start[i].numpy(), curve))
    return found
