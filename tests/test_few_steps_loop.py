"""The loop that trains students of several steps: resumed, beside others, replayed and compiled."""

import pytest
import torch
from recorder import pretend
from terms import ALL, FEW, after, loop_of, members

from dmdlab.device.capture import WARM_UP


@pytest.mark.parametrize("settings", [{"student.steps": 4}, {"student.steps": 2, "student.sampler": "ode"}])
def test_two_halves_are_the_whole_to_the_last_bit(settings: dict[str, object]) -> None:
    es = members(FEW | {"fake_score.updates": 5} | settings)
    straight, first, second = (loop_of(es) for _ in range(3))
    whole = after(straight, 40)[:-1]  # 200 iterations
    after(first, 20)
    second.restore({name: tensor.clone() for name, tensor in first.state().items()})
    halves = after(second, 20)[:-1]
    assert all(torch.equal(a, b) for a, b in zip(whole, halves, strict=True))


def test_members_do_not_notice_each_other() -> None:
    es = members({"student.steps": 4, **FEW}, seeds=(0, 1, 2))
    together = after(loop_of(es), 5)
    for i, e in enumerate(es):
        for found, expected in zip(after(loop_of([e]), 5)[:-1], together[:-1], strict=True):
            torch.testing.assert_close(found[0], expected[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("sampler", "terms"), [("sde", ALL), ("ode", {})])
def test_a_cycle_of_several_steps_can_be_replayed(
    monkeypatch: pytest.MonkeyPatch, sampler: str, terms: dict[str, object]
) -> None:
    graphs = pretend(monkeypatch)
    es = members(terms | FEW | {"student.steps": 3, "student.sampler": sampler})
    eager, graph = loop_of(es, "eager"), loop_of(es, "graph")
    for optimiser in eager.optimisers.values():
        optimiser.in_place = False
    for _ in range(5):
        for a, b in zip(after(graph, 1), after(eager, 1), strict=True):
            assert torch.equal(a, b)
    assert [g.replays for g in graphs] == [5 - WARM_UP]


@pytest.mark.slow
def test_several_steps_compiled_are_several_steps() -> None:
    es = members(FEW | {"student.steps": 4})
    eager, compiled = after(loop_of(es, "eager"), 6), after(loop_of(es, "compiled"), 6)
    for a, b in zip(eager, compiled, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
