"""Trainings go on from where they were stopped, to the last bit; a wish to stop waits until they are kept."""

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from small import CPU, TINY, distillation, experiments, group_of, law_of, parameters, results, start_denoiser
from store_made import published
from torch import Tensor

from dmdlab.config import Experiment, InputError, experiment_from
from dmdlab.device import stopping
from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab.start_networks import train_starts
from dmdlab.lab.store import Store
from dmdlab.records.leases import Leases, of_kind
from dmdlab.records.moving import unneeded
from dmdlab.training.distill import Distillation
from dmdlab.training.draws import Foreign
from dmdlab.training.regression import FitPairs, fit
from dmdlab.training.teacher import TeacherUpdate, train_teacher

Command = Callable[..., tuple[int, str, str]]
State = dict[str, Tensor]

STEPS = ("teacher.iterations=200", "student.iterations=200", "fake_score.updates=1", "student.regression=40")
MLP = (*TINY, *STEPS)
UNET = (
    *(word for word in TINY if not word.startswith(("network.", "student.batch", "teacher.batch"))),
    *("law.name=field", "law.side=8", "network.kind=unet", "network.channels=[4]", "network.depths=[1]"),
    *("network.time_features=4", "teacher.batch=2", "student.batch=2", *STEPS),
)
NETWORKS = [
    pytest.param(MLP, id="mlp"),
    pytest.param((*MLP, "teacher.ema=0.9"), id="mlp-ema", marks=pytest.mark.slow),
    pytest.param(UNET, id="unet", marks=pytest.mark.slow),
]


def members(words: Sequence[str]) -> list[Experiment]:
    return load(None, "smoke" if words is not UNET else None, [*words, "seed=[0, 1]"]).experiments()


def copied(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


@pytest.mark.parametrize("words", NETWORKS)
def test_two_hundred_steps_of_a_teacher_are_a_hundred_and_a_hundred_more(words: Sequence[str]) -> None:
    es = members(words)
    ends, states, losses = [], list[State](), list[Tensor]()
    for kept, rows in ((None, [0, 1]), ("first", [0, 1]), ("first", [1])):
        denoiser = start_denoiser([es[i] for i in rows])
        went = {} if kept is None else {name: tensor[rows] for name, tensor in states[0].items()}
        for step in train_teacher(es[0], rows, law_of(es[0]), denoiser, 100, kept=went or None):
            states += [copied(step.state())] if step.iteration == 100 else []
        ends.append(denoiser.network.flat.detach().clone())
        losses.append(step.loss)
    assert all(len(tensor) == 2 for tensor in states[0].values())
    assert len(states) == 1
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(losses[0], losses[1])
    torch.testing.assert_close(ends[2], ends[0][[1]], rtol=1e-3, atol=1e-4)  # to the rounding of a smaller ensemble


@pytest.mark.parametrize("words", NETWORKS[::2])
def test_two_hundred_cycles_of_a_student_are_a_hundred_and_a_hundred_more(words: Sequence[str]) -> None:
    es = members(words)
    straight, resumed = distillation(es), distillation(es)
    assert straight.cycles == 200
    kept = [copied(straight.state()) for _ in straight.run([100])]
    resumed.restore(kept[0])
    assert [*resumed.run([100])] == [200]
    for a, b in zip(parameters(straight), parameters(resumed), strict=True):
        assert torch.equal(a, b)


def test_a_fit_goes_on_bit_for_bit_and_another_trainings_state_is_refused() -> None:
    es = members(MLP)
    pairs = FitPairs(*torch.randn(2, 2, 32, es[0].law.dim))
    one, two = start_denoiser(es), start_denoiser(es)
    kept, _ = [copied(step.state()) for step in fit(es[0], [0, 1], one, pairs, 20)]
    assert [step.iteration for step in fit(es[0], [0, 1], two, pairs, 20, kept=kept)] == [40]
    assert torch.equal(one.network.flat, two.network.flat)
    for name, tensor in (
        ("place", kept["place"] + 40),
        ("total", kept["total"][:1]),
        ("streams", kept["streams"][:, :0]),
    ):
        with pytest.raises(Foreign):
            next(fit(es[0], [0, 1], two, pairs, 20, kept=kept | {name: tensor}))
    with pytest.raises(Foreign):
        next(fit(es[0], [0, 1], two, pairs, 20, kept={k: v for k, v in kept.items() if k != "network.mean"}))


# --- through the lab


def stopping_at(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, at: int, what: Callable[[], object]
) -> list[int]:
    """Call `what` in the call of this number of a method; the list has an entry for every call."""
    seen: list[int] = []
    plain = getattr(owner, name)

    def counted(self: object, *words: object) -> object:
        seen.append(1)
        if len(seen) == at:
            what()
        return plain(self, *words)

    monkeypatch.setattr(owner, name, counted)
    return seen


SEEDS = experiments("seed=[0, 1]", "teacher.kind=network", "teacher.iterations=30", "student.iterations=30")


def finished(es: Sequence[Experiment], out: Path) -> list[tuple[object, ...]]:
    """What the runs of these settings come to, without NaN, which is not equal to itself."""
    return [(r.summary["metrics"], *(w.numpy().tobytes() for w in r.weights.values())) for r in results(es, Store(out))]


def test_a_wish_to_stop_keeps_a_teachers_training_and_a_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = finished(SEEDS[:1], tmp_path / "straight")
    out = tmp_path / "out"
    for owner, name, at in ((TeacherUpdate, "__call__", 11), (Distillation, "cycle", 4)):
        with monkeypatch.context() as patch:
            stopping_at(patch, owner, name, at, lambda: stopping.stop(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                results(SEEDS[:1], Store(out))
        assert not stopping.asked()
        assert len(list((out / "checkpoints").iterdir())) == 1  # what a finished training left is gone
        assert not (out / "leases").exists()
    steps = stopping_at(monkeypatch, TeacherUpdate, "__call__", 0, print)
    cycles = stopping_at(monkeypatch, Distillation, "cycle", 0, print)
    assert finished(SEEDS[:1], out) == straight
    assert (len(steps), len(cycles)) == (0, 2)  # of 30 and of 6


def test_a_stopped_teacher_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(tuple(SEEDS))

    def train() -> list[Tensor]:
        ends: list[Tensor] = []

        def steps() -> Iterator[object]:
            ends.extend((yield from train_starts(group, law_of(SEEDS[0]), Store(tmp_path), CPU)))

        list(steps())
        return ends

    with monkeypatch.context() as patch:
        stopping_at(patch, TeacherUpdate, "__call__", 11, lambda: stopping.stop(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            train()
    seen = stopping_at(monkeypatch, TeacherUpdate, "__call__", 0, print)
    rows = train()
    assert len(seen) == 19
    assert not list((tmp_path / "checkpoints").iterdir())
    for path in (tmp_path / "teachers").iterdir():
        path.unlink()
    assert all(torch.equal(a, b) for a, b in zip(train(), rows, strict=True))


def test_a_start_network_that_another_trains_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not trained twice; where the other dies, this one goes on."""
    store, group, looks = Store(tmp_path), Group(tuple(SEEDS)), list[float]()
    row = start_denoiser(SEEDS).network.flat[0].detach().clone()

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            assert store.keep_start(SEEDS[0], row)
            assert not store.keep_start(SEEDS[0], 2 * row)  # the first stays
            held.close()

    def holding() -> Iterator[None]:
        with Leases(tmp_path).held([of_kind("network", e.teacher_id) for e in SEEDS[:2]]):
            yield

    held = holding()
    next(held)
    monkeypatch.setattr("dmdlab.lab.once.time.sleep", look)
    heard = list(train_starts(group, law_of(SEEDS[0]), store, CPU))
    assert [step is None for step in heard] == [True, True, False]
    assert torch.equal(store.start(SEEDS[0]), row)  # type: ignore[arg-type]


def test_a_checkpoint_that_was_changed_is_passed_over_and_a_foreign_one_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stopping_at(patch, Distillation, "cycle", 4, lambda: stopping.stop(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            results(SEEDS, Store(tmp_path))
    checkpoint = Store(tmp_path).checkpoint(Group(tuple(SEEDS)), CPU)
    kept = checkpoint.load()
    assert kept is not None
    held = bytearray(checkpoint.path.read_bytes())
    held[-9] ^= 1
    checkpoint.path.write_bytes(held)
    assert checkpoint.load() is None
    checkpoint.save(kept | {"student.parameters": kept["student.parameters"][:, :5]})
    with pytest.raises(InputError, match="does not fit it"):
        results(SEEDS, Store(tmp_path))


def test_what_is_kept_of_a_finished_network_is_left_over_and_of_an_unfinished_one_is_not(tmp_path: Path) -> None:
    (e,) = published(tmp_path, "seed=0")
    for ids in ([e.teacher_id], [e.teacher_id, "unfinished"]):
        Store(tmp_path).networks_checkpoint(ids, CPU).save({"place": torch.zeros(len(ids), 2)})
    found, _ = unneeded(tmp_path)
    (path,) = [one.path for one in found]
    assert path == Store(tmp_path).networks_checkpoint([e.teacher_id], CPU).path


def test_what_is_kept_of_a_run_that_has_its_networks_id_is_not_left_over(tmp_path: Path) -> None:
    """Nor does its network's end remove it."""
    e, store = experiment_from({"network.width": 4, "network.depth": 1}), Store(tmp_path)
    assert e.id == e.teacher_id
    published(tmp_path, "seed=0")
    store.keep_start(e, start_denoiser([e]).network.flat[0].detach().clone())
    kept = store.checkpoint(group_of(e), CPU)
    kept.save({"place": torch.zeros(1, 2)})
    store.networks_checkpoint([e.teacher_id], CPU).clear()
    assert kept.load() is not None
    assert kept.path not in [one.path for one in unneeded(tmp_path)[0]]


# --- signals


@pytest.mark.usefixtures("heard")
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signals")
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_waits_for_the_end_of_the_cycle_and_a_second_does_not(
    name: str, status: int, dmdlab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("run", "--preset", "smoke", *TINY, "student.iterations=50", "--device", "cpu", "--out", tmp_path)

    def send(times: int) -> None:
        for _ in range(times):
            signal.raise_signal(getattr(signal, name))

    before = signal.getsignal(getattr(signal, name))
    with monkeypatch.context() as patch:
        seen = stopping_at(patch, Distillation, "cycle", 3, lambda: send(1))
        code, _, err = dmdlab(*words)
        assert (code, len(seen)) == (status, 3)
        assert "Stopping at the end of this training cycle" in err
        assert "0 of 1 runs are finished" in err
        assert "goes on from its last checkpoint" in err
        assert "Go on with: dmdlab run --preset smoke" in err
    (path,) = (tmp_path / "checkpoints").iterdir()
    made = path.stat().st_mtime_ns
    if name == "SIGTERM":
        with monkeypatch.context() as patch:
            seen = stopping_at(patch, Distillation, "cycle", 2, lambda: send(2))
            assert dmdlab(*words)[0] == status
            assert len(seen) == 2
        assert path.stat().st_mtime_ns == made  # nothing was kept
    assert signal.getsignal(getattr(signal, name)) == before
    assert not stopping.asked()
