"""Interrupted training goes on to the same end, to the last bit, alone or among others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, cycle, distillation, do, experiment, experiments, parameters
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.lab import checkpoint as module
from dmdlab.lab.checkpoint import Checkpoint
from dmdlab.lab.run import Progress, run_ensemble
from dmdlab.lab.store import RunResult
from dmdlab.lab.sweep import sweep

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


def results(es: list[Experiment], checkpoint: Checkpoint | None = None) -> list[RunResult]:
    return [event for event in run_ensemble(es, CPU, checkpoint=checkpoint) if isinstance(event, RunResult)]


def interrupted(es: list[Experiment], out: Path, after: int) -> None:
    """Train with a checkpoint at every pulse and leave at iteration `after`."""
    for event in run_ensemble(es, CPU, checkpoint=Checkpoint(out, es, CPU, every=0)):
        if isinstance(event, Progress) and event.stage == "distilling" and event.done >= after:
            return


def agree(found: list[RunResult], expected: list[RunResult]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.experiment == b.experiment
        assert a.curve == b.curve
        assert all(torch.equal(a.weights[name], b.weights[name]) for name in b.weights)
        assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in b.arrays)
        assert b.arrays


@pytest.fixture(scope="module")
def straight() -> list[RunResult]:
    """What they give without an interruption."""
    return results(SOME)


@pytest.mark.parametrize("after", [5, 30, 60])
def test_a_run_interrupted_in_training_ends_as_if_it_had_not_been(
    after: int, straight: list[RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(SOME, tmp_path, after)
    cycles = count_cycles(monkeypatch)
    agree(results(SOME, Checkpoint(tmp_path, SOME, CPU)), straight)
    assert len(cycles) <= (60 - after) // 5 + 1  # it did not start again
    cycles.clear()
    for a, b in zip(results(SOME[1:], Checkpoint(tmp_path, SOME[1:], CPU)), straight[1:], strict=True):
        for name in b.weights:  # nor do some of its runs, to the rounding of a smaller ensemble
            torch.testing.assert_close(a.weights[name], b.weights[name], rtol=1e-4, atol=1e-5)
    assert len(cycles) <= (60 - after) // 5 + 1


def count_cycles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    from dmdlab.training.distill import Distillation

    seen: list[int] = []
    plain = Distillation.cycle

    def counted(self: Distillation) -> None:
        seen.append(1)
        plain(self)

    monkeypatch.setattr(Distillation, "cycle", counted)
    return seen


def change(name: str) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:100])

    def rename(path: Path) -> None:
        path.rename(path.with_suffix(".old"))

    return {"cut short": cut, "gone": rename}[name]


@pytest.mark.parametrize("how", ["cut short", "gone"])
def test_a_file_that_is_no_checkpoint_is_passed_over(how: str, tmp_path: Path) -> None:
    interrupted(SOME, tmp_path, 30)
    (path,) = (tmp_path / "checkpoints").glob("*.safetensors")
    change(how)(path)
    assert Checkpoint(tmp_path, SOME, CPU).load() is None


def test_other_versions_and_other_devices_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(SOME, tmp_path, 30)
    assert Checkpoint(tmp_path, SOME, CPU).load() is not None
    assert Checkpoint(tmp_path, SOME, torch.device("cuda")).load() is None
    assert Checkpoint(tmp_path, [*SOME, *experiments("seed=9")], CPU).load() is None  # a run it does not have
    monkeypatch.setattr(module, "versions", lambda: {"torch": "0"})
    assert Checkpoint(tmp_path, SOME, CPU).load() is None


def test_the_furthest_of_several_is_taken_and_all_go_when_their_runs_are_done(tmp_path: Path) -> None:
    interrupted(SOME, tmp_path, 20)
    interrupted(SOME[:2], tmp_path, 40)  # goes on from the first
    places = {len(es): place(Checkpoint(tmp_path, es, CPU).load()) for es in (SOME, SOME[:2])}
    assert places[2] > places[3] > 0
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    do(SOME[:2], tmp_path)
    Checkpoint(tmp_path, SOME[:2], CPU).clear()
    assert place(Checkpoint(tmp_path, SOME, CPU).load()) == places[3]  # the third run still needs it
    do(SOME, tmp_path)
    Checkpoint(tmp_path, SOME, CPU).clear()
    assert not list((tmp_path / "checkpoints").iterdir())


def place(state: dict[str, Tensor] | None) -> int:
    return 0 if state is None else int(state["place"][0, 0])


def test_an_interrupted_sweep_goes_on_in_mid_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = do(SOME, tmp_path / "straight")
    monkeypatch.setattr(Checkpoint, "offer", lambda self, state: self.save(state()))
    for _, event in sweep(SOME, tmp_path / "broken", CPU):
        if isinstance(event, Progress) and event.stage == "distilling" and event.done >= 30:
            break
    cycles = count_cycles(monkeypatch)
    resumed = do(SOME, tmp_path / "broken")
    assert len(cycles) <= 30 // 5 + 1
    for a, b in zip(resumed, straight, strict=True):
        assert a.summary == b.summary
        assert (a.folder / "curve.csv").read_text() == (b.folder / "curve.csv").read_text()
    assert not list((tmp_path / "broken" / "checkpoints").iterdir())


def test_checkpoints_are_as_rare_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    keeper, saved = Checkpoint(tmp_path, SOME, CPU, every=10), []
    monkeypatch.setattr(keeper, "save", lambda state: (saved.append(now[0]), setattr(keeper, "last", now[0])))
    for second in range(0, 40, 3):
        now[0] = float(second)
        keeper.offer(dict)
    assert saved == [12.0, 24.0, 36.0]


def test_checkpoints_that_take_long_are_rarer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing takes three seconds here, which is a twentieth of sixty."""
    now, saved = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    keeper = Checkpoint(tmp_path, SOME, CPU)

    def save(state: object) -> None:
        saved.append(now[0])
        now[0] += 3.0
        keeper.last = now[0]

    monkeypatch.setattr(keeper, "save", save)
    while now[0] < 200:
        now[0] += 1.0
        keeper.offer(dict)
    assert saved == [15.0, 78.0, 141.0]
