"""Counted bytes against sums done by hand."""

from collections.abc import Callable

import pytest
import torch
from small import CPU, experiment
from torch import Tensor

from benchmarks.counts import MATRIX, REST, Traffic, cycle_traffic
from dmdlab.group import Group
from dmdlab.lab.timing import random_start


@pytest.mark.parametrize(
    ("work", "kind", "numbers"),
    [
        (lambda a, b, c: torch.mm(a, b), MATRIX, 3 * 4 + 4 * 5 + 3 * 5),
        (lambda a, b, c: a * 2, REST, 12 + 12),
        (lambda a, b, c: a.mul_(2), REST, 12 + 12),
        (lambda a, b, c: a.add_(b[:, :1].T), REST, 12 + 4 + 12),
        (lambda a, b, c: torch.add(a, a, out=c), REST, 12 + 12 + 12),
        (lambda a, b, c: a.sum(dim=1), REST, 12 + 3),
        (lambda a, b, c: a[:1].expand(3, 4) + 1, REST, 4 + 12),
        (lambda a, b, c: torch.cat([a, c]), REST, 12 + 12 + 24),
        (lambda a, b, c: c.copy_(a), REST, 12 + 12),
    ],
)
def test_an_operator_reads_its_inputs_and_writes_its_outputs(
    work: Callable[..., object], kind: str, numbers: int
) -> None:
    given: list[Tensor] = [torch.ones(shape) for shape in ((3, 4), (4, 5), (3, 4))]
    with Traffic() as found:
        work(*given)
    assert found.bytes == {kind: 4 * numbers}
    assert found.operators == 1


def test_what_moves_nothing_does_not_count() -> None:
    a = torch.ones(3, 4)
    with Traffic() as found:
        a.view(4, 3).detach().T.reshape(-1)[:2].expand(2, 2)
        torch.empty(3)
        a.new_empty(3)
    assert found.operators == 1  # the copy in `reshape`


def test_members_move_as_much_each_in_as_many_operators() -> None:
    e = experiment(network__width=32)
    one = cycle_traffic(e)
    loop = random_start(Group(tuple(e.model_copy(update={"seed": seed}) for seed in range(3))), CPU, "eager")
    loop.cycle()
    with Traffic() as three:
        loop.cycle()
    assert three.operators == one.operators
    assert sum(three.bytes.values()) == pytest.approx(3 * sum(one.bytes.values()), rel=0.03)
