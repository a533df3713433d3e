"""Kinds of operators, and counted bytes against sums done by hand."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from small import CPU, experiment, law_of
from torch import Tensor

from benchmarks.operator_kinds import (
    ACTIVATION,
    COPIES,
    ELEMENTWISE,
    FUSED,
    MATRIX,
    NAMES,
    NOISE,
    OPTIMISER,
    OVERHEAD,
    UNSORTED,
    kind_of,
)
from benchmarks.traffic import Traffic, cycle_traffic
from dmdlab.config import experiment_from
from dmdlab.group import Group
from dmdlab.lab.profile import watch
from dmdlab.lab.trial import random_start
from dmdlab.laws import LAWS
from dmdlab.networks import NETWORKS, make_denoiser
from dmdlab.training.teacher import train_teacher

# --- kinds


def test_every_name_has_one_kind() -> None:
    names = [name for listed in NAMES.values() for name in listed.split()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::bmm", MATRIX),
        ("aten::addmm_", MATRIX),
        ("aten::silu_backward", ACTIVATION),
        ("aten::_fused_adamw_", OPTIMISER),
        ("aten::_foreach_add_", OPTIMISER),
        ("aten::normal_", NOISE),
        ("aten::_to_copy", COPIES),
        ("aten::__and__", ELEMENTWISE),
        ("aten::view", OVERHEAD),
        ("BaddbmmBackward0", OVERHEAD),
        ("cudaLaunchKernel", OVERHEAD),
        ("triton_poi_fused_add_silu_3", FUSED),
        ("aten::an_operator_of_next_year", UNSORTED),
    ],
)
def test_kinds_of_operators(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind


SETTINGS: list[dict[str, Any]] = [
    *({"law.name": law, "student.init": "rotated"} for law in sorted(set(LAWS) - {"empirical"})),
    *({"network.kind": kind, "teacher.kind": "network"} for kind in NETWORKS),
    {"fake_score.batches": "separate", "student.decay": "cosine", "student.normaliser": "floored"},
    {"student.normaliser": "batch", "student.reduction": "sum", "fake_score.weight": "uniform"},
    {"student.normaliser": "none", "student.clip": 0.0, "fake_score.updates": 1},
    {"teacher.train_samples": 20, "teacher.levels": "lognormal", "teacher.target": "posterior"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_no_operator_of_a_cycle_or_of_the_teachers_training_is_without_a_kind(settings: dict[str, Any]) -> None:
    small = {"law.dim": 3, "student.batch": 8, "teacher.batch": 8}
    e = experiment_from(small | settings)
    law = law_of(e)
    training = train_teacher(e, [0], law, make_denoiser(1, law, e.network), report_every=1)
    steps = [random_start(Group((e,)), CPU).cycle, partial(next, training)]
    names = {event.name for step in steps for event in watch(step, 1, CPU).events()}
    assert {name for name in names if kind_of(name) == UNSORTED} == set()


# --- bytes


def matrices(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.ones(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("work", "kind", "numbers"),
    [
        (lambda a, b, c: torch.mm(a, b), MATRIX, 3 * 4 + 4 * 5 + 3 * 5),
        (lambda a, b, c: a * 2, ELEMENTWISE, 12 + 12),
        (lambda a, b, c: a.mul_(2), ELEMENTWISE, 12 + 12),
        (lambda a, b, c: a.add_(b[:, :1].T), ELEMENTWISE, 12 + 4 + 12),
        (lambda a, b, c: torch.add(a, a, out=c), ELEMENTWISE, 12 + 12 + 12),
        (lambda a, b, c: a.sum(dim=1), ELEMENTWISE, 12 + 3),
        (lambda a, b, c: a[:1].expand(3, 4) + 1, ELEMENTWISE, 4 + 12),
        (lambda a, b, c: torch.cat([a, c]), COPIES, 12 + 12 + 24),
        (lambda a, b, c: c.copy_(a), COPIES, 12 + 12),
    ],
)
def test_an_operator_reads_its_inputs_and_writes_its_outputs(
    work: Callable[..., object], kind: str, numbers: int
) -> None:
    given = matrices((3, 4), (4, 5), (3, 4))
    with Traffic() as found:
        work(*given)
    assert found.bytes == {kind: 4 * numbers}
    assert found.operators == {kind: 1}


def test_adamw_moves_28_bytes_a_parameter() -> None:
    p = torch.ones(1000, requires_grad=True)
    p.grad = torch.ones(1000)
    optimiser = torch.optim.AdamW([p], fused=True)
    optimiser.step()
    with Traffic() as found:
        optimiser.step()
    assert found.bytes[OPTIMISER] == pytest.approx(28 * 1000, abs=100)


def test_members_move_as_much_each_in_as_many_operators() -> None:
    e = experiment(network__width=32)
    one = cycle_traffic(e, CPU)
    loop = random_start(Group(tuple(e.model_copy(update={"seed": seed}) for seed in range(3))), CPU)
    numbers = next(loop.draws)
    with Traffic() as three:
        loop._cycle(*numbers)
    assert three.operators == one.operators
    assert sum(three.bytes.values()) == pytest.approx(3 * sum(one.bytes.values()), rel=0.03)
