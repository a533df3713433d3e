"""What a run can add to its report because it has the maps themselves, not only their outputs.

Each function gives, for every member of a group, measures that `PairingReport.with_measures` takes: how alike student
and teacher are nearby, and what a Gaussian of the law's covariance would share with the teacher.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dmdlab.diffusion import conditioned
from dmdlab.diffusion.local import answers, local_agreement
from dmdlab.group import Group
from dmdlab.laws import Gaussian, Law
from dmdlab.pairing import local_measures, pair_cosine_gaussian
from dmdlab.pairing.baselines import ROWS_PER_DIMENSION
from dmdlab.pairing.measured import Measured
from dmdlab.randomness import generator

POINTS, PROBES = 128, 2
"""Noise vectors at which, and directions along which, the maps are compared nearby (ours, as `ASYMMETRY_POINTS`)."""

COVARIANCE_NUMBERS = 1 << 26
"""Beyond so many numbers of a sample for a covariance, there is none (ours: half a gigabyte in float64)."""


def local_readings(
    group: Group,
    student: Callable[..., Tensor],
    teacher: Tensor,
    noise: Tensor,
    label: Tensor | None = None,
    later: Sequence[Tensor] = (),
) -> list[dict[str, Measured]]:
    """local_cosine and local_gain of each member, at the first `POINTS` noise vectors of its seed.

    student: takes (e, n, d), a member each, on noise's device. teacher: `teacher_answers` of the group's seeds. noise:
    (s, n, d). label: its classes (s, n), which the student is told as its `label`, or None. later: the student's later
    noises, (e, n, d) each, told as its `later` and held fixed, if there are any.
    """
    z, probes = _probed(group.seeds, noise)
    place = torch.tensor(group.place, device=z.device)
    own_student = conditioned(student, None if label is None else label[place.cpu(), :POINTS].to(z.device))
    if later:
        own_student = partial(own_student, later=[part[:, :POINTS].to(z.device) for part in later])
    found = local_agreement(answers(own_student, z[place], probes[:, place]), teacher.to(z.device)[:, place])
    return [local_measures(*member) for member in zip(*(x.cpu().numpy() for x in found), strict=True)]


def teacher_answers(
    seeds: Sequence[int], teacher: Callable[..., Tensor], noise: Tensor, label: Tensor | None = None
) -> Tensor:
    """J v of each seed's teacher at the first `POINTS` noise vectors, along directions that are the seed's: (p, s, n,
    d), on noise's device. teacher: Phi_K, takes (s, n, d), a seed each. noise, label: as for `local_readings`."""
    z, probes = _probed(seeds, noise)
    return answers(conditioned(teacher, None if label is None else label[:, :POINTS].to(z.device)), z, probes)


def _probed(seeds: Sequence[int], noise: Tensor) -> tuple[Tensor, Tensor]:
    """Points (s, n, d) and directions (p, s, n, d), which members of one seed share."""
    z = noise[:, :POINTS]
    own = [torch.randn(PROBES, *z.shape[1:], generator=generator(seed, "local")) for seed in seeds]
    return z, torch.stack(own, dim=1).to(z)


def covariance_rows(law: Law) -> int:
    """Rows of a sample that this law's covariance is taken from: 0 where it is known, or where they would not fit."""
    rows = 2 * ROWS_PER_DIMENSION * law.dim  # twice: a sample of few pictures repeats some
    return 0 if isinstance(law, Gaussian) or rows * law.dim > COVARIANCE_NUMBERS else rows


def gaussian_readings(
    group: Group, law: Law, pairs: dict[str, Tensor], device: torch.device
) -> list[dict[str, Measured]]:
    """pair_cosine_gaussian of each seed's teacher; its covariance is the law's, or that of a sample of the law.

    pairs: as `teacher_pairs` gives them, (s, n, d). device: the law's.
    """
    rows = covariance_rows(law)
    if not rows and not isinstance(law, Gaussian):
        reason = f"a covariance in {law.dim} dimensions needs a sample of the law that does not fit"
        return [{"pair_cosine_gaussian": Measured.unresolved(reason)} for _ in group.seeds]
    known: dict[str, Any]
    if isinstance(law, Gaussian):
        known = {"covariance": law.covariance().cpu().numpy()}
    else:
        known = {"rows": law.sample(rows, generator(0, "covariance", device=device)).cpu().numpy()}
    sigma_max = group.shared.noise.sigma_max
    lost = Measured.unresolved("the teacher's outputs are not finite")
    return [
        {
            "pair_cosine_gaussian": pair_cosine_gaussian(z.numpy(), P.numpy(), sigma_max=sigma_max, **known)
            if P.isfinite().all()
            else lost
        }
        for z, P in zip(pairs["noise"], pairs["teacher"], strict=True)
    ]
