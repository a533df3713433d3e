"""What one orthogonal turn of the noise explains of the students of a group, where a run is asked for it
(`measure.turns`): `rotation_explained`, and what an exactly turned teacher reads at the same fit.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment, InputError
from dmdlab.diffusion.applied import applied
from dmdlab.diffusion.jacobian import Map
from dmdlab.group import Group
from dmdlab.pairing import planted_turns, rotation_explained
from dmdlab.pairing.measured import Measured
from dmdlab.pairing.rotation import ROWS_PER_DIMENSION, Explained
from dmdlab.randomness import latents, stream
from dmdlab.training.student import LATER

NUMBERS = 1 << 22
"""Beyond so many numbers in 50 d fitting rows, so above d = 289, nothing is fitted (ours: members hold them twice)."""

ANGLES_DEGREES = (45.0, 90.0)
"""Planted turns of the teacher that a student's is read against, in one random basis for each seed."""


def turn_rows(e: Experiment) -> int:
    """Rows of noise that a turn is fitted to; 0 where this run has none fitted."""
    return _rows(e.law.dim) if e.measure.turns and not e.teacher.condition else 0


def _rows(d: int) -> int:
    """Those of a turn in d dimensions; 0 where there are too many."""
    return ROWS_PER_DIMENSION * d if ROWS_PER_DIMENSION * d * d <= NUMBERS else 0


def turn_flows(group: Group) -> float:
    """Flows of `measure.samples` rows that `turn_readings` takes: one for each member, four for each seed."""
    rows, n = turn_rows(group.shared), group.shared.measure.samples
    return (len(group) + 4 * len(group.origins)) * (rows + 2 * n) / n if rows else 0.0


Turned = tuple[Measured, dict[str, float]]
"""`rotation_explained`, and the numbers beside it."""


def turn_readings(
    group: Group,
    student: Map,
    teachers: Sequence[Callable[[np.ndarray], np.ndarray]],
    noise: Tensor,
    device: torch.device,
    later: Callable[[int, str], Sequence[Tensor]] = lambda n, name: (),
) -> list[Turned]:
    """`rotation_explained` of each member; and beside it pair_cosine without the turn and with it (`plain`,
    `recovered`), and `rotation_explained` of the teacher turned by 45 and 90 degrees (`planted_45`, `planted_90`).

    The teacher flows about 50 d + 2 n rows for each member, and four times as many for each seed.

    Args:
        group: the members.
        student: takes (e, n, d), a member each.
        teachers: Phi_K of each of the group's origins as a numpy function, as `calibrate.teacher_map` gives it.
        noise: (s, n, d), on the CPU, the held-out rows.
        device: of the student.
        later: its later noises at so many rows, of streams of this name.
    """
    s, _, d = noise.shape
    if group.shared.teacher.condition:
        return [_missing("a turn is fitted to maps of the noise alone, and these are told a class")] * len(group)
    rows = _rows(d)
    if not rows:
        reason = (
            f"a turn in {d} dimensions needs {ROWS_PER_DIMENSION * d} rows for its fit, which is too many for a run"
        )
        return [_missing(reason)] * len(group)
    sigma_max, place = group.shared.noise.sigma_max, group.place
    fit = torch.stack([latents(seed, rows, d, sigma_max, "turn latents") for seed in group.seeds])  # (s, 50 d, d)
    held, fitted = (
        applied(student, z[place], device, None, later(z.shape[1], name)).numpy()
        for z, name in ((noise, LATER), (fit, f"turn {LATER}"))
    )
    planted = [_planted(teachers[i], noise[i].numpy(), fit[i].numpy(), group.seeds[i]) for i in range(s)]
    found = []
    for i, at in enumerate(place):
        if planted[at] is None or not (np.isfinite(held[i]).all() and np.isfinite(fitted[i]).all()):
            found.append(_missing("outputs of the teacher or the student are not finite"))
            continue
        own = rotation_explained(
            teachers[at], noise[at].numpy(), held[i], fit_noise=fit[at].numpy(), fit_student=fitted[i]
        )
        found.append((own.share, _beside(own, planted[at])))
    return found


def _planted(
    teacher: Callable[[np.ndarray], np.ndarray], noise: np.ndarray, fit: np.ndarray, seed: int
) -> np.ndarray | None:
    """What the teacher reads after `ANGLES_DEGREES`; None where its outputs are no pairs, being not finite."""
    rng = stream(seed, "turns", "bases")
    try:
        return planted_turns(teacher, noise, fit_noise=fit, rng=rng, angles_degrees=ANGLES_DEGREES, bases=1)[:, 0]
    except InputError:
        return None


def _beside(own: Explained | None, planted: np.ndarray | None) -> dict[str, float]:
    """The numbers beside `rotation_explained`, NaN where there are none."""
    values = [np.nan] * len(ANGLES_DEGREES) if planted is None else planted.tolist()
    found = {f"planted_{angle:.0f}": value for angle, value in zip(ANGLES_DEGREES, values, strict=True)}
    plain, recovered = (np.nan, np.nan) if own is None else (own.plain.value, own.recovered.value)
    return {"plain": plain, "recovered": recovered, **found}


def _missing(reason: str) -> Turned:
    return Measured.unresolved(reason), _beside(None, None)
