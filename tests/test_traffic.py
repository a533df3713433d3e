"""Counted bytes against sums done by hand."""

from collections.abc import Callable

import pytest
import torch
from small import CPU, experiment
from torch import Tensor

from benchmarks.operator_kinds import COPIES, ELEMENTWISE, MATRIX, OPTIMISER
from benchmarks.traffic import Traffic, cycle_traffic
from dmdlab.lab.profile import random_start


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
    loop = random_start([e.model_copy(update={"seed": seed}) for seed in range(3)], CPU)
    numbers = next(loop.draws)
    with Traffic() as three:
        loop._cycle(*numbers)
    assert three.operators == one.operators
    assert sum(three.bytes.values()) == pytest.approx(3 * sum(one.bytes.values()), rel=0.03)
