"""What a run does at one time, in two steps each, with its own code: what a trial of its cost goes through."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion import Denoiser
from dmdlab.diffusion.applied import applied
from dmdlab.diffusion.jacobian import antisymmetric_share
from dmdlab.group import Group
from dmdlab.lab.calibrate import fresh_multiple
from dmdlab.lab.evaluate import ASYMMETRY_POINTS, flow_map, flow_steps
from dmdlab.lab.local import covariance_rows
from dmdlab.laws import Law
from dmdlab.networks import EDMDenoiser, fresh_networks
from dmdlab.training.distill import distillation_from
from dmdlab.training.teacher import train_teacher

RESTING = 3
"""Copies of a member's parameters that are there while runs are measured: start network, student, and one to spare."""

Stage = Callable[[Group, Law], Iterator[object]]
"""What a run does at one time, in two steps: what it needs first, and what its operations are counted for. The second
yields all that is still held at its end."""


def class_labels(e: Experiment, z: Tensor) -> Tensor | None:
    """Class labels for the rows of z (e, n, d), where this experiment's networks are told some."""
    return torch.zeros(z.shape[:2], dtype=torch.int64, device=z.device) if e.teacher.condition else None


def flow_calls(e: Experiment, steps: int) -> int:
    """Denoiser calls of a flow of so many steps."""
    return 2 * steps - 1 if e.teacher.solver == "heun" else steps


def teaching(group: Group, law: Law) -> Iterator[object]:
    """An iteration of the training of networks beside those that it is for, after one that draws numbers for many."""
    start, fresh = (fresh_networks(group.shared, law, len(group.seeds)) for _ in range(2))
    two = with_teacher(group.shared, iterations=max(2, group.shared.teacher.iterations))
    training = train_teacher(two, group.seeds, law, fresh, report_every=1, way="eager")
    yield next(training)
    yield start, fresh, next(training), training


def pairing(group: Group, law: Law) -> Iterator[object]:
    """Samples of the law, and two steps of the flow."""
    e, start = group.shared, fresh_networks(group.shared, law, len(group.seeds))
    z = torch.zeros(len(group.seeds), e.measure.samples, law.dim)
    yield torch.stack([law.sample(e.measure.samples, torch.Generator()) for _ in group.seeds])
    yield start, z, applied(_two_steps(e, law, start), z, "cpu", class_labels(e, z))


def distilling(group: Group, law: Law, in_place: bool = True) -> Iterator[object]:
    """All that a distillation holds, and one cycle; in_place: as on a CPU, and not as a captured one does."""
    start = fresh_networks(group.shared, law, len(group.seeds))
    rows = start.network.flat[torch.tensor(group.place)]
    loop = distillation_from(group, law, rows, way="eager")
    for optimiser in loop.optimisers.values():
        optimiser.in_place = in_place
    yield loop
    loop.cycle()
    yield start, rows, loop


def calibrating(group: Group, law: Law) -> Iterator[object]:
    """Networks at rest, and two steps of the flow of a calibration's fresh noise, for one seed."""
    e, one = group.shared, fresh_networks(group.shared, law, 1)
    rest = one.network.flat.new_empty(len(group), RESTING, one.network.flat.shape[1])
    z = torch.zeros(1, (fresh_multiple(e) - 1) * e.measure.samples, law.dim)
    yield z
    yield rest, z, applied(_two_steps(e, law, one), z, "cpu", class_labels(e, z))


def sampling(group: Group, law: Law) -> Iterator[object]:
    """The sample that a law's covariance is taken from, and beside it the runs' arrays."""
    one = fresh_networks(group.shared, law, 1)
    rest = one.network.flat.new_empty(len(group), RESTING, one.network.flat.shape[1])
    yield rest
    yield rest, law.sample(covariance_rows(law), torch.Generator())


def _two_steps(e: Experiment, law: Law, network: EDMDenoiser) -> Callable[..., Tensor]:
    """This experiment's flow, cut to two steps, from which a trial counts all of them."""
    return flow_map(with_teacher(e, steps=2), law.denoise if e.teacher.kind == "exact" else network)


def probing(group: Group, law: Law) -> Iterator[object]:
    """The Jacobian of a flow's first step, the dearest, along one direction: others follow one after the other."""
    e, network = group.shared, fresh_networks(group.shared, law, len(group.seeds))
    z = torch.zeros(len(group.seeds), min(ASYMMETRY_POINTS, e.measure.samples), law.dim)
    teacher: Denoiser = law.denoise if e.teacher.kind == "exact" else network
    maps = flow_steps(with_teacher(e, steps=2), teacher, class_labels(e, z))[:1]
    yield z, network
    with torch.no_grad():
        yield antisymmetric_share(maps, z, torch.zeros(1, *z.shape))


def with_teacher(e: Experiment, **settings: int) -> Experiment:
    """The same with these settings of its teacher."""
    return e.model_copy(update={"teacher": e.teacher.model_copy(update=settings)})


STAGES: dict[str, Stage] = {
    "teaching": teaching,
    "pairing": pairing,
    "distilling": distilling,
    "calibrating": calibrating,
    "sampling": sampling,
}
