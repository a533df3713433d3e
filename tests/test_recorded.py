"""Steps that a CPU records: to the last bit what they are operator by operator, or not recorded at all."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small import experiment, law_of
from terms import ALL, FEW, ON, PICTURES, after, loop_of, members
from test_capture import CASES, ON_CPU
from test_capture import members as cases_of
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

from dmdlab.device import repeated
from dmdlab.device.compiling import RECORD_FROM, way_on
from dmdlab.device.recorded import NotRecordableError, recorded
from dmdlab.device.repeated import Repeated
from dmdlab.networks import make_denoiser
from dmdlab.training.teacher import train_teacher

CPU = torch.device("cpu")
TOLD = {"teacher.condition": True, "teacher.kind": "network"}
LOOPS: dict[str, dict[str, object]] = {
    **{name: settings | FEW for name, settings in ON.items()},
    "all terms": ALL | FEW,
    "pictures": PICTURES,
    "a GAN on pictures": PICTURES | ON["gan of the teacher"],
    "several steps": FEW | {"student.steps": 3},
    "several steps, each the noise's own": FEW | {"student.steps": 3, "student.sampler": "ode"},
    "told the class": FEW | TOLD,
    "a law that picks rows by number": FEW | {"law.name": "chessboard", "law.components": None},
    "separate batches": FEW | {"fake_score.batches": "separate"},
    "bfloat16": FEW | {"network.precision": "bf16"},
}


def held_against_each_other(es: Sequence[Any], cycles: int = 6) -> Any:
    """A loop of each way, cycle by cycle; the recorded one."""
    plain, other = loop_of(es, "eager"), loop_of(es, "recorded")
    for count in range(cycles):
        for a, b in zip(after(plain, 1), after(other, 1), strict=True):
            assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)), count
    return other


@pytest.mark.parametrize("name", LOOPS)
def test_a_recorded_cycle_is_the_cycle_to_the_last_bit(name: str) -> None:
    assert held_against_each_other(members(LOOPS[name])).way == "recorded"


@pytest.mark.parametrize("case", ON_CPU)
def test_so_is_that_of_every_kind_of_member(case: str) -> None:
    """Through the end of a warm-up and several blocks of random numbers."""
    assert held_against_each_other(cases_of(**CASES[case]), 20).way == "recorded"


@pytest.mark.parametrize("target", ["data", "posterior"])
def test_a_recorded_teacher_is_the_teacher(target: str) -> None:
    e = experiment(teacher__iterations=70, teacher__batch=16, teacher__target=target, teacher__warmup=20)
    ends, steps = [], []
    for way in ("eager", "recorded"):
        denoiser = make_denoiser(2, law_of(e), e.network)
        steps.append(list(train_teacher(e, [0, 1], law_of(e), denoiser, report_every=30, way=way)))
        ends.append(denoiser.network.flat.detach())
    assert torch.equal(*ends)
    assert all(torch.equal(a.loss, b.loss) for a, b in zip(*steps, strict=True))
    assert [step.way for step in steps[1]] == ["recorded"] * 3


def test_a_recorded_training_goes_on_where_another_stopped_whatever_way_that_went() -> None:
    es = members(FEW)
    whole = loop_of(es, "eager")
    expected = after(whole, 9)
    for first, second in (("recorded", "eager"), ("eager", "recorded"), ("recorded", "recorded")):
        one, other = loop_of(es, first), loop_of(es, second)
        after(one, 4)
        other.restore({key: value.clone() for key, value in one.state().items()})
        assert all(map(torch.equal, after(other, 5)[:-1], expected[:-1]))


def test_a_failure_long_after_the_recording_is_dated_and_stays_with_its_member() -> None:
    loops = [loop_of(members(FEW, seeds=(0, 1, 2)), way) for way in ("eager", "recorded")]
    for count in range(1, 9):
        for loop in loops:
            if count == 5:
                loop.trained["student"].parameters[1, 0] = torch.nan
            loop.cycle()
    assert loops[1].way == "recorded"
    first = 5 * loops[0].score.updates
    assert [loop.failed_at.tolist() for loop in loops] == [[-1, first, -1]] * 2
    for a, b in zip(*(after(loop, 1) for loop in loops), strict=True):
        assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


def test_a_cpu_records_long_trainings_and_short_ones_go_operator_by_operator() -> None:
    assert way_on(CPU, RECORD_FROM - 1) == "eager"
    assert way_on(CPU, RECORD_FROM) == "recorded"
    assert way_on(CPU, RECORD_FROM, "eager") == "eager"
    assert way_on(torch.device("cuda"), RECORD_FROM) == "graph"


# --- what is recorded


def twice(step: Callable[..., Any], state: Tensor, numbers: Sequence[Tensor]) -> tuple[Repeated[Any], list[Tensor]]:
    """A step of a state repeated, and the state after each call."""
    loop = Repeated(step, (state,), (), "recorded")
    found = []
    for number in numbers:
        loop(number)
        found.append(loop.state[0].clone())
    return loop, found


NUMBERS = [torch.full((2,), x) for x in (1.0, 2.0, -3.0, 4.0)]
OUTSIDE = torch.tensor([10.0, 20.0])
UPPER, LOWER = torch.tensor([1.0, 2.0, 3.0, 4.0]).split(2)


def of_parts(state: Any, fixed: Any, number: Tensor) -> Any:
    """Lists of tensors, numbers among them, a constant from outside, types, in-place sums and a gradient."""
    x = (state[0] + number).requires_grad_()
    first, second = x.clone().split([1, 1])
    y = torch.cat([second, first]).to(torch.float64).mul_(2).add_(OUTSIDE)[torch.argsort(number)]
    y = y * UPPER.view(-1) + LOWER  # a second object of memory from outside, of which a view was made
    (g,) = torch.autograd.grad(y.square().sum(), x)
    return (torch.stack([g, g.new_full((2,), 3.0)]).sum(dim=0).clamp(min=-5.0, max=900.0),)


def test_every_kind_of_argument_is_recorded() -> None:
    loop, found = twice(of_parts, torch.ones(2), NUMBERS)
    assert loop.way == "recorded"
    expected = (torch.ones(2),)
    for number, one in zip(NUMBERS, found, strict=True):
        expected = of_parts(expected, (), number)
        assert torch.equal(one, expected[0])


def asks(state: Any, fixed: Any, number: Tensor) -> Any:
    """Asks a tensor for its value, after it changed its state."""
    state[0].add_(number)
    return (state[0] * 2 if number.sum().item() > 0 else state[0],)


def draws(state: Any, fixed: Any, number: Tensor) -> Any:
    return (state[0].add_(number) + 0 * torch.rand(2),)


def picks(state: Any, fixed: Any, number: Tensor) -> Any:
    state[0].add_(number)
    return (state[0] + number[number > 1].sum(),)


def branches(state: Any, fixed: Any, number: Tensor) -> Any:
    state[0].add_(number)
    return (state[0] * (2 if bool((number > 0).all()) else 1),)


def asks_quietly(state: Any, fixed: Any, number: Tensor) -> Any:
    try:
        factor = float(number.sum())
    except Exception:
        factor = 0.0
    return (state[0].add_(number) * factor,)


def looks(state: Any, fixed: Any, number: Tensor) -> Any:
    """At numbers without an operator, and does another thing when it has long been trusted."""
    return (state[0] + number * (2 if max(number.tolist()) > 3 else 1),)


def looks_by_numpy(state: Any, fixed: Any, number: Tensor) -> Any:
    return (state[0] + number * (2 if np.asarray(number).max() > 3 else 1),)


def writes_into_its_numbers(state: Any, fixed: Any, number: Tensor) -> Any:
    return (state[0].add_(number.mul_(2)),)


@torch.jit.script
def by_size(x: Tensor) -> Tensor:
    if bool(x.max() > 3):
        return 2 * x
    return x


def asks_within_a_script(state: Any, fixed: Any, number: Tensor) -> Any:
    return (state[0].add_(by_size(number)),)


REFUSED = [asks, draws, picks, branches, asks_quietly, looks, looks_by_numpy]
REFUSED += [writes_into_its_numbers, asks_within_a_script]


@pytest.mark.parametrize("step", REFUSED)
def test_what_cannot_be_recorded_goes_on_operator_by_operator(step: Callable[..., Any]) -> None:
    loop, found = twice(step, torch.ones(2), [number.clone() for number in NUMBERS])
    assert loop.way == "eager"
    expected = (torch.ones(2),)
    for number, one in zip(NUMBERS, found, strict=True):
        expected = step(expected, (), number.clone())
        assert torch.equal(one, expected[0])


def test_what_writes_into_a_tensor_from_outside_writes_once_a_call() -> None:
    """As a network's running mean would be: seen before it is written to."""
    outside = torch.zeros(2)
    loop, found = twice(lambda state, fixed, number: (state[0] + outside.add_(1),), torch.zeros(2), NUMBERS)
    assert loop.way == "eager"
    assert [int(one[0]) for one in found] == [1, 3, 6, 10]


def test_tensors_of_a_state_that_share_memory_go_on_sharing_it() -> None:
    both = torch.ones(2)
    for second in (both, both[:]):
        loop = Repeated(lambda state, fixed, number: (state[0].add_(number), state[1]), (both, second), (), "recorded")
        for number in NUMBERS[:2]:
            loop(number)
            assert torch.equal(*loop.state)
        assert loop.way == "eager"


def test_what_fails_while_it_is_recorded_goes_on_and_what_fails_by_itself_says_so() -> None:
    def shy(state: Any, fixed: Any, number: Tensor) -> Any:
        if _get_current_dispatch_mode() is not None:
            raise ValueError("not while somebody looks")
        return (state[0] + number,)

    loop, found = twice(shy, torch.ones(2), NUMBERS)
    assert (loop.way, [int(one[0]) for one in found]) == ("eager", [2, 4, 1, 5])
    with pytest.raises(RuntimeError, match="size"):
        twice(lambda state, fixed, number: (state[0] + number[:, None].expand(2, 3),), torch.ones(2), NUMBERS)


def test_a_recording_that_makes_another_thing_is_dropped_at_the_second_call() -> None:
    changes = [1]

    def by_python(state: Any, fixed: Any, number: Tensor) -> Any:
        """As a step must not."""
        return (state[0].add_(number) * changes[0],)

    loop, found = Repeated(by_python, (torch.ones(2),), (), "recorded"), []
    for changes[0], number in enumerate(NUMBERS, 1):
        loop(number)
        found.append(int(loop.state[0][0]))
    assert loop.way == "eager"
    assert found == [2, 8, 15, 76]  # (1 + 1) 1, (2 + 2) 2, (8 - 3) 3, (15 + 4) 4


def test_zeros_of_another_sign_are_another_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(function: Any, arguments: Sequence[Tensor], changed: int) -> Any:
        return function(*arguments), lambda *given: [-made for made in function(*given)]

    monkeypatch.setattr(repeated, "recorded", other)
    loop, _ = twice(lambda state, fixed, number: (0 * number.abs(),), torch.ones(2), NUMBERS)
    assert loop.way == "eager"


def test_a_second_object_of_a_tensor_is_no_constant() -> None:
    def hides(x: Tensor) -> list[Tensor]:
        made = x * 2
        with _disable_current_modes():  # as no function does
            hidden = made.view(-1)
        return [hidden + 1]

    with pytest.raises(NotRecordableError, match="second object"):
        recorded(hides, [torch.ones(2)])


def test_a_graph_is_made_once_the_arrays_of_a_step_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them its nodes would keep freed memory apart: a large ensemble would take twice as much."""
    made, alive = [], []

    def step(x: Tensor) -> list[Tensor]:
        array = x * 2
        alive.append(weakref.ref(array))
        return [array + 1]

    graph = torch._C.Graph

    def begun() -> Any:
        made.append(alive[0]() is None)
        return graph()

    monkeypatch.setattr(torch._C, "Graph", begun)
    recorded(step, [torch.ones(2)])
    assert made == [True]


def test_a_recording_that_torch_cannot_run_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: Any, arguments: Sequence[Tensor], changed: int) -> Any:
        def fails(*given: Tensor) -> Any:
            raise RuntimeError("an operator that is gone")

        return function(*arguments), fails

    monkeypatch.setattr(repeated, "recorded", broken)
    loop, found = twice(of_parts, torch.ones(2), NUMBERS)
    assert loop.way == "eager"
    assert torch.equal(found[1], of_parts((of_parts((torch.ones(2),), (), NUMBERS[0])[0],), (), NUMBERS[1])[0])


def test_without_torchs_interpreter_there_is_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_create_function_from_graph")
    with pytest.raises(NotRecordableError, match="_create_function_from_graph"):
        recorded(lambda x: [x + 1], [torch.ones(2)])
