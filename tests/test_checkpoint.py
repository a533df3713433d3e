"""Interrupted training goes on to the same end, to the last bit, alone or among others."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, cycle, distillation, do, experiment, experiments, parameters
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.group import Group
from dmdlab.lab import checkpoint as module
from dmdlab.lab.checkpoint import Checkpoint
from dmdlab.lab.plan import plan
from dmdlab.lab.run import DISTILLING, Progress, run_group
from dmdlab.lab.store import RunResult, Store
from dmdlab.lab.sweep import sweep
from dmdlab.records.writing import json_text
from dmdlab.training.distill import Distillation

DECAY = {"student__decay": "cosine", "student__iterations": 100, "student__clip": 0.1}


def members() -> list[Experiment]:
    return [
        experiment(seed=0, **DECAY),
        experiment(seed=1, student__init="rotated", **DECAY),
        experiment(seed=2, **(DECAY | {"student__learning_rate": 1e-3})),
    ]


@pytest.mark.parametrize("stop", [1, 7, 13])
@pytest.mark.parametrize("rows", [[0, 1, 2], [2], [2, 0]])
def test_a_restored_loop_goes_on_bit_for_bit(stop: int, rows: list[int]) -> None:
    straight = distillation(members())
    for _ in range(stop):
        straight.cycle()
    kept = {name: tensor.clone() for name, tensor in straight.state().items()}
    assert all(len(tensor) == 3 for tensor in kept.values())
    resumed = distillation([members()[i] for i in rows])
    for _ in range(3):
        resumed.cycle()  # wherever it stands
    resumed.restore({name: tensor[rows] for name, tensor in kept.items()})
    for _ in range(6):
        assert torch.equal(cycle(resumed), cycle(straight)[:, rows])
    for a, b in zip(parameters(resumed), parameters(straight), strict=True):
        assert torch.equal(a, b[rows])
    assert resumed.done == straight.done
    assert [*resumed.run([50, 80])] == [*straight.run([50, 80])]


# --- through the lab

SOME = experiments("seed={start=0, stop=3}", "student.iterations=60")


def results(es: Sequence[Experiment], store: Store) -> list[RunResult]:
    return [event for event in run_group(Group(tuple(es)), store, CPU) if isinstance(event, RunResult)]


def checkpoint(es: Sequence[Experiment], out: Path, device: torch.device = CPU) -> Checkpoint:
    return Store(out).checkpoint(Group(tuple(es)), device)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint at every pulse."""
    monkeypatch.setattr(Checkpoint, "offer", lambda self, state: self.save(state()))


def interrupted(es: Sequence[Experiment], out: Path, after: int) -> None:
    """Leave a training at iteration `after`."""
    for event in run_group(Group(tuple(es)), Store(out), CPU):
        if isinstance(event, Progress) and event.stage == DISTILLING and event.done > after:
            return


def agree(found: Sequence[RunResult], expected: Sequence[RunResult]) -> None:
    """To the last bit."""
    for a, b in zip(found, expected, strict=True):
        assert a.experiment == b.experiment
        assert a.summary == b.summary
        np.testing.assert_array_equal(list(a.curve.values()), list(b.curve.values()))  # NaN where there is none
        assert list(a.curve) == list(b.curve)
        assert all(torch.equal(a.weights[name], b.weights[name]) for name in b.weights)
        assert a.student is not None
        assert np.array_equal(a.student, b.student)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[RunResult]:
    """What they give without an interruption."""
    return results(SOME, Store(tmp_path_factory.mktemp("straight")))


def count_cycles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    plain = Distillation.cycle

    def counted(self: Distillation) -> None:
        seen.append(1)
        plain(self)

    monkeypatch.setattr(Distillation, "cycle", counted)
    return seen


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("after", [5, 30, 55])
def test_a_run_interrupted_in_training_ends_as_if_it_had_not_been(
    after: int, straight: list[RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(SOME, tmp_path, after)
    cycles = count_cycles(monkeypatch)
    agree(results(SOME, Store(tmp_path)), straight)
    assert len(cycles) <= (60 - after) // 5 + 1  # it did not start again


@pytest.mark.usefixtures("eager")
def test_some_runs_of_an_interrupted_ensemble_go_on_too(
    straight: list[RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the rounding of a smaller ensemble."""
    interrupted(SOME, tmp_path, 30)
    cycles = count_cycles(monkeypatch)
    for a, b in zip(results(SOME[1:], Store(tmp_path)), straight[1:], strict=True):
        for name in b.weights:
            torch.testing.assert_close(a.weights[name], b.weights[name], rtol=1e-4, atol=1e-5)
    assert len(cycles) <= 30 // 5 + 1


@pytest.mark.usefixtures("eager")
def test_a_file_that_is_no_checkpoint_is_passed_over(tmp_path: Path) -> None:
    interrupted(SOME, tmp_path, 30)
    (path,) = (tmp_path / "checkpoints").glob("*.safetensors")
    assert Store(tmp_path).has_checkpoints()
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoint(SOME, tmp_path).load() is None
    path.rename(path.with_suffix(".old"))
    assert checkpoint(SOME, tmp_path).load() is None
    assert not Store(tmp_path).has_checkpoints()


@pytest.mark.usefixtures("eager")
def test_other_versions_and_other_devices_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(SOME, tmp_path, 30)
    assert checkpoint(SOME, tmp_path).load() is not None
    assert checkpoint(SOME, tmp_path, torch.device("cuda")).load() is None
    assert checkpoint([*SOME, *experiments("seed=9", "student.iterations=60")], tmp_path).load() is None  # one more run
    monkeypatch.setattr(module, "versions", lambda: {"torch": "0"})
    assert checkpoint(SOME, tmp_path).load() is None


@pytest.mark.chaos
@pytest.mark.usefixtures("eager")
def test_the_furthest_of_several_is_taken_and_all_go_when_their_runs_are_done(tmp_path: Path) -> None:
    interrupted(SOME, tmp_path, 20)
    interrupted(SOME[:2], tmp_path, 40)  # goes on from the first
    places = {len(es): place(checkpoint(es, tmp_path).load()) for es in (SOME, SOME[:2])}
    assert places[2] > places[3] > 0
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    do(SOME[:2], tmp_path)
    assert place(checkpoint(SOME, tmp_path).load()) == places[3]  # the third run still needs it
    do(SOME, tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_the_furthest_that_leaves_something_to_do_is_taken_and_what_others_need_stays(tmp_path: Path) -> None:
    """The short of the test above, of trainings that never were."""
    finished = set[str]()
    both, one = (Checkpoint(tmp_path, ids, CPU, lambda: finished) for ids in ("ab", "a"))
    both.save({"place": torch.full((2, 2), 20)})
    one.save({"place": torch.full((1, 2), 40)})
    for before, expected in ((None, 40), (41, 40), (40, 20), (21, 20), (20, 0)):
        assert place(one.load(before)) == expected
    finished.add("a")
    one.clear()
    assert [path.exists() for path in (both.path, one.path)] == [True, False]
    finished.add("b")
    one.clear()
    assert not both.path.exists()


def place(state: dict[str, Tensor] | None) -> int:
    return 0 if state is None else int(state["place"][0, 0])


@pytest.mark.chaos
@pytest.mark.usefixtures("eager")
def test_an_interrupted_sweep_goes_on_in_mid_training(
    straight: list[RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    for _, event in sweep(plan(SOME, CPU), store):
        if isinstance(event, Progress) and event.stage == DISTILLING and event.done >= 30:
            break
    cycles = count_cycles(monkeypatch)
    do(SOME, tmp_path)
    assert len(cycles) <= 30 // 5 + 1
    for b in straight:
        record = store.record(b.experiment)
        assert {key: record.summary[key] for key in b.summary} == json.loads(json_text(b.summary))
        assert np.array_equal(record.arrays()["student"], b.student)  # type: ignore[arg-type]
        assert record.curve()["dm_loss"].tolist() == b.curve["dm_loss"]
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_digest_knows_names_kinds_and_shapes() -> None:
    zeros = torch.zeros(2, 3)
    states = [{"a": zeros}, {"b": zeros}, {"a": zeros.T}, {"a": zeros.int()}, {"a": zeros[:1], "b": zeros[1:]}]
    assert len({module.digest(state) for state in states}) == len(states)
    assert module.digest({"a": zeros, "b": zeros + 1}) == module.digest({"b": zeros + 1, "a": zeros.clone()})


def test_checkpoints_are_as_rare_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds, and rarer where writing takes long: three seconds are a twentieth of sixty."""
    assert written_at(tmp_path / "quick", 0.0, 60, monkeypatch) == [15.0, 30.0, 45.0, 60.0]
    assert written_at(tmp_path / "slow", 3.0, 200, monkeypatch) == [15.0, 78.0, 141.0]


def written_at(out: Path, takes: float, seconds: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a checkpoint that is offered every second is written, by a clock in the test's hand."""
    now, saved = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    keeper = checkpoint(SOME, out)

    def state() -> dict[str, Tensor]:
        saved.append(now[0])
        now[0] += takes
        return {"place": torch.zeros(len(SOME), 3)}

    while now[0] < seconds:
        now[0] += 1.0
        keeper.offer(state)
    return saved


def test_rows_of_any_length_are_kept_without_what_aligns_them() -> None:
    """1 188 numbers a network here, no multiple of 8; files of earlier versions hold as many."""
    es = [experiment(seed=0, law__dim=4, network__width=16, network__depth=1)]
    one, two = distillation(es), distillation(es)
    size = one.student.network.flat.shape[1]
    assert size % 8
    for _ in range(3):
        one.cycle()
    kept = {name: tensor.clone() for name, tensor in one.state().items()}
    assert kept["student.parameters"].shape == kept["fake.square"].shape == (1, size)
    two.restore(kept)
    for _ in range(3):
        assert torch.equal(cycle(two), cycle(one))
