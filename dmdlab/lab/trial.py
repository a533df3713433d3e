"""What a run costs, by trying it: its arithmetic and its memory.

`tried` runs every stage of a group once, with its own code: `Operations` counts by torch's own formulas (matrix
products and convolutions, two for a multiply-add; an exact law's own among them) and `LiveBytes` the bytes that are
held at a time. So no formula here knows a network or a law. What is little work is tried as it is. More is tried on
torch's fake tensors, which have shapes and no numbers and give the same counts: there an operator takes a fraction of
a millisecond, whatever its size. What a stage takes grows linearly with the members, so it is tried with one and with
several. Trying a network of many layers takes a minute even so: where no GPU is, one trial of it, alone, stands for all
shapes that have it (`LARGEST`).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from dmdlab.config import FITTED, TURNED, Experiment, InputError
from dmdlab.device.limits import out_of_memory
from dmdlab.diffusion import Denoiser, conditioned
from dmdlab.diffusion.applied import BLOCK_NUMBERS
from dmdlab.group import Group
from dmdlab.lab.calibrate import fresh_multiple
from dmdlab.lab.counting import LiveBytes, Operations, Placed
from dmdlab.lab.evaluate import ASYMMETRY_POINTS
from dmdlab.lab.stages import STAGES, Stage, class_labels, distilling, flow_calls, probing
from dmdlab.lab.steps import REDRAWS
from dmdlab.lab.turns import turn_rows
from dmdlab.laws import Law, make_law
from dmdlab.laws.law import Part
from dmdlab.networks import fresh_networks
from dmdlab.transport.solve import DENSE_LIMIT

SPARE = {"cuda": 1.1, "cpu": 1.4}
"""Margin for what is not seen, such as operators' own buffers and gaps between blocks (ours; glibc leaves more of them
than CUDA's allocator: processes were measured to take up to 1.4 times what is counted)."""

FLOAT = 4
"""Bytes of a float32 number."""

TURNING = 12
"""Arrays of the rows that a turn is fitted to, while one member's is (ours: its teacher's outputs, in float64, too)."""

SEVERAL = 4
"""Members of the second trial of a stage."""

LARGEST = 5e6
"""Parameters of a network from which on, where no GPU is, one trial stands for all shapes of runs that have it (ours:
the paper's U-Net, of 3.1e7, takes most of a minute, by tens of thousands of operations without numbers)."""

LITTLE = 2e11
"""Operations of a trial up to which it is made with numbers (ours: some seconds of a core, which a trial without them
takes, too)."""

LITTLE_BYTES = 2**29
"""Bytes up to which it is: of a calibration's noise, and of the networks' or the law's answers to a block of rows."""


@dataclass(frozen=True)
class Cost:
    """Of one stage: operations, bytes at its peak, and bytes that are still held at its end."""

    flops: int
    peak: int
    held: int


@dataclass(frozen=True)
class Tried:
    """What a group of some shape takes. Operations are one member's (or, of the teacher's, one seed's).

    Attributes:
        teaching_flops: of one iteration of a start network's training.
        flow_flops: of Phi_K at `measure.samples` noises.
        cycle_flops: of one cycle of the distillation.
        stages: by name, (bytes for each member, bytes once) at the stage's peak.
        replayed: tries and tells bytes for each member that a captured cycle takes beyond that, on a GPU: it changes
            nothing in place, and keeps what it takes beside what an eager one does.
        host: bytes for each member, and once, of what lies in RAM whatever the device: arrays and measures.
    """

    teaching_flops: int
    flow_flops: int
    cycle_flops: int
    stages: dict[str, tuple[int, int]]
    replayed: Callable[[], int]
    host: tuple[int, int]

    def bytes(self, members: int, device_type: str) -> int:
        """The peak of an ensemble of so many members, with a margin: of the RAM for 'cpu', of the GPU for 'cuda'."""
        return max(math.ceil(members * each + once) for each, once in self._with_margin(device_type))

    def calibrating(self, device_type: str) -> int:
        """The same of a calibration alone, without what waits for it."""
        (each, once), (_, host) = self.stages["calibrating"], self.host
        return math.ceil(SPARE[device_type] * (each + once + host))

    def most_members(self, memory: int, device_type: str) -> int:
        """The largest ensemble of this shape that `bytes` says is within `memory`; 0 when not even one run fits."""
        room = [(memory - once - 1) / each for each, once in self._with_margin(device_type)]
        return max(0, int(min(room)))

    def _with_margin(self, device_type: str) -> Iterator[tuple[float, float]]:
        """Each stage's bytes for each member and once."""
        spare, (each, once) = SPARE[device_type], self.host if device_type == "cpu" else (0, 0)
        for name, (own_each, own_once) in self.stages.items():
            graph = self.replayed() if device_type == "cuda" and name == "distilling" else 0
            yield spare * (own_each + each + graph), spare * (own_once + once)


KNOWN: dict[tuple[object, ...], Tried] = {}
"""What was tried in this process, by shape."""


def tried(group: Group) -> Tried:
    """What this group's shape takes; each shape is tried once in a process, of those that share a `large` network the
    first that comes. Raises `InputError` for a network that is larger than the memory."""
    inits = {e.student.init for e in group.members}
    rotated, fitted = not inits.isdisjoint(TURNED), not inits.isdisjoint(FITTED)
    shared = large(group)
    shape = (_sizes(group) if shared else group.shape, rotated, fitted)
    lone = shared or len(group) == 1
    key = (*shape, lone and (*shape, False) not in KNOWN)  # a lone run needs no second trial
    if key not in KNOWN:
        try:
            KNOWN[key] = _try(group.shared, rotated, fitted, 1 if key[-1] else SEVERAL)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise InputError(
                f"a network of {_parameters(group.shared):,} parameters is too large to be tried here, and to be "
                "trained; choose a smaller one (network.*)"
            ) from None
    return KNOWN[key]


def large(group: Group) -> bool:
    """Whether this group's network is so large that one trial stands for all shapes that have it."""
    return not torch.cuda.is_available() and _parameters(group.shared) >= LARGEST


def _parameters(e: Experiment) -> int:
    """Of one network: the width of the parameters of none."""
    key = (e.network.model_dump_json(), e.law.dim)
    if key not in _PARAMETERS:
        _PARAMETERS[key] = fresh_networks(e, make_law(e.law.model_dump()), 0).network.flat.shape[1]
    return _PARAMETERS[key]


_PARAMETERS: dict[tuple[str, int], int] = {}


def _sizes(group: Group) -> tuple[tuple[str, str], ...]:
    """The shape of a group but for its law, what its networks are told, and its loss terms."""
    apart = ("law.", "terms.", "teacher.condition")
    return tuple((k, v) for k, v in group.shape if k == "law.dim" or not k.startswith(apart))


def _calibrations_peak(peak: int, e: Experiment) -> int:
    """The peak of a calibration's flow from that of a run's own: blocks of rows, as large or larger, and its arrays."""
    own, rows, most = e.measure.samples, (fresh_multiple(e) - 1) * e.measure.samples, max(1, BLOCK_NUMBERS // e.law.dim)
    return math.ceil(peak * min(rows, most) / min(own, most)) + 2 * FLOAT * rows * e.law.dim


def little(e: Experiment, law: Law, members: int) -> bool:
    """Whether the trial of so many members, and of one, is little work: by what denoisers take for one row more, and by
    the rows of all stages."""
    fresh, block = (fresh_multiple(e) - 1) * e.measure.samples, max(1, BLOCK_NUMBERS // e.law.dim)
    noise = FLOAT * (fresh + e.measure.samples) * e.law.dim
    if _parameters(e) >= LARGEST or noise > LITTLE_BYTES:
        return False
    operations, bytes_ = _each_row(e, law)
    flow = flow_calls(e, 2) * e.measure.samples
    training = 2 * 3 * e.teacher.batch + (5 + 4 * e.fake_score.updates) * e.student.steps * e.student.batch
    work = operations * (flow_calls(e, 2) * fresh + (1 + members) * (flow + training))
    return work <= LITTLE and noise + bytes_ * min(fresh, block) <= LITTLE_BYTES


def _each_row(e: Experiment, law: Law) -> tuple[int, int]:
    """Operations, and bytes at the peak, of one row more for this experiment's network and an exact teacher."""
    found: list[tuple[int, int]] = []
    asked: list[Denoiser] = [fresh_networks(e, law, 1)]
    asked += [law.denoise] if e.teacher.kind == "exact" else []
    for rows in (1, 2):
        z = torch.zeros(1, rows, law.dim)
        with torch.no_grad(), LiveBytes() as seen, Operations() as done:
            for denoiser in asked:
                conditioned(denoiser, class_labels(e, z))(z, e.noise.sigma_max)
        found.append((done.count, seen.peak))
    (one, own), (two, both) = found
    return two - one, both - own


def _try(e: Experiment, rotated: bool, fitted: bool, most: int) -> Tried:
    law = _drawing_for_real(make_law(e.law.model_dump()))
    numbers = little(e, law, most)
    student = e.student.model_copy(update={"init": "rotated" if rotated else "teacher"})
    members = tuple(e.model_copy(update={"seed": seed, "student": student}) for seed in range(most))
    one, several = Group(members[:1]), Group(members)
    costs, stages = dict[str, Cost](), dict[str, tuple[int, int]]()
    for name, stage in STAGES.items():
        if name == "calibrating" and large(one):
            stages[name] = (_calibrations_peak(costs["pairing"].peak, e), 0)
            continue
        costs[name] = _cost(stage, one, law, numbers)
        peak = costs[name].peak
        each = max(0, _cost(stage, several, law, numbers).peak - peak) // (most - 1) if most > 1 else peak
        stages[name] = (each, max(0, peak - each))
    pairs = e.student.pairs if fitted else 0
    each, once = stages["teaching"]
    stages |= {"fitting": (each + 2 * FLOAT * pairs * law.dim, once)} if fitted else {}
    calls, two = flow_calls(e, e.teacher.steps), flow_calls(e, 2)
    jacobian = _cost(probing, one, law, numbers).peak
    stages["probing"] = (jacobian + max(0, e.teacher.steps - 1) * _state(one, law), 0)
    cycle = costs["distilling"]

    @cache
    def replayed() -> int:
        captured = _cost(partial(distilling, in_place=False), one, law, numbers)
        return 2 * captured.peak - captured.held - cycle.peak

    return Tried(
        teaching_flops=costs["teaching"].flops,
        flow_flops=costs["pairing"].flops * calls // two,
        cycle_flops=cycle.flops,
        stages=stages,
        replayed=replayed,
        host=host_bytes(e, pairs),
    )


def _drawing_for_real(law: Law) -> Law:
    """The law, whose samples are real numbers among fake ones: what a sampler holds may depend on what it draws."""

    def for_real(draw: Callable[..., Any]) -> Callable[..., Any]:
        def drawn(n: int, generator: torch.Generator, *part: Part) -> Any:
            with unset_fake_temporarily():
                return draw(n, generator, *part)

        return drawn

    for name in ("sample", "sample_labelled", "draw_labels"):
        setattr(law, name, for_real(getattr(law, name)))
    return law


def _cost(stage: Stage, group: Group, law: Law, numbers: bool) -> Cost:
    """Run a stage, with numbers or on fake tensors."""
    with ExitStack() as held:
        if not numbers:
            held.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            held.enter_context(Placed() if stage is probing else nullcontext())
        seen = held.enter_context(LiveBytes())
        steps = stage(group, law)
        next(steps)
        with Operations() as done:
            kept = next(steps)
        left = seen.live
    del kept
    return Cost(done.count, seen.peak, left)


def _state(group: Group, law: Law) -> int:
    """Bytes of a flow's state where its Jacobian is probed: a further step keeps no more."""
    e = group.shared
    return len(group.seeds) * min(ASYMMETRY_POINTS, e.measure.samples) * law.dim * FLOAT


def host_bytes(e: Experiment, pairs: int) -> tuple[int, int]:
    """Paired arrays and curves of each member; once, matrices of all pairs and a calibration's arrays. pairs: of each
    start that is fitted to some, or 0."""
    n, d, steps = e.measure.samples, e.law.dim, e.student.steps
    turned = turn_rows(e) * d  # numbers of the noise that a turn is fitted to
    more = 2 * (steps - 1) + REDRAWS if steps > 1 else 0  # later noises, twice, and outputs with new ones
    matrices = 4 * min(max(n, pairs), DENSE_LIMIT) ** 2
    own = ((12 + more) * n + 2 * pairs) * d + 3 * turned  # of a turn: a seed's noise, a student's outputs, part of them
    return FLOAT * own, FLOAT * (matrices + 28 * n * d + TURNING * turned) + 2**21
