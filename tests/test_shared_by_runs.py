"""What runs share in a store: start networks, pairs and calibrations, made once, waited for, and checked before use."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from small import CPU, INITS, STILL, cut, experiments, group_of, outputs, results, start_denoiser

from dmdlab.config import Experiment, InputError, experiment_from
from dmdlab.lab import run as running
from dmdlab.lab.once import Returning, made_once
from dmdlab.lab.run import DISTILLING, Progress, run_group
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Work
from dmdlab.records.leases import Leases, of_kind
from dmdlab.records.record import SHARED


def test_start_networks_in_the_store_are_used_and_new_ones_are_kept(tmp_path: Path) -> None:
    wanted, store = experiments("seed=[0, 1]", *STILL), Store(tmp_path)
    first = results(wanted, store)
    kept = [store.start(e) for e in wanted]
    assert kept[0] is not None
    other = Store(tmp_path / "other")
    other.keep_start(wanted[0], 0 * kept[0])
    spoilt, same = results(wanted, other)
    assert all(w.abs().max() < 1e-20 for w in spoilt.weights.values())
    np.testing.assert_allclose(outputs(same), outputs(first[1]), rtol=1e-4, atol=1e-5)
    row = other.start(wanted[1])
    assert row is not None
    torch.testing.assert_close(row, kept[1], rtol=1e-4, atol=1e-5)


def test_pairs_of_one_teacher_are_stored_once_for_all_students_and_starts_and_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results(experiments(INITS, "student.learning_rate=[1e-3, 1e-4]"), store)
    (path,) = (tmp_path / "pairs").iterdir()
    before = path.stat().st_mtime_ns
    results(experiments("student.iterations=10"), store)  # a run of another shape
    results(experiments("seed=[0, 1]", "student.iterations=15"), store)  # beside a seed whose pairs are new
    assert path.stat().st_mtime_ns == before
    assert len(list((tmp_path / "pairs").iterdir())) == 2


def test_a_run_is_measured_against_the_pairs_in_the_store(tmp_path: Path) -> None:
    """Alone, and beside a seed that has none yet."""
    store, first = Store(tmp_path), experiments()[0]
    results([first], store)
    marked = {name: array + np.float32(0.5) for name, array in (store.pairs(first) or {}).items()}
    next((tmp_path / "pairs").iterdir()).unlink()
    assert store.keep_pairs(first, marked)
    assert not store.keep_pairs(first, {name: array + 1 for name, array in marked.items()})  # the first ones stay
    for wanted in (experiments("student.init=rotated"), experiments("student.iterations=10", "seed=[0, 1]")):
        for result in results(wanted, store):
            store.put(result, {})
        arrays = store.record(wanted[0]).arrays()
        for name, array in marked.items():
            np.testing.assert_array_equal(arrays[name], array)
        ratio = arrays["student"].var(axis=0).sum() / arrays["teacher"].var(axis=0).sum()
        assert store.record(wanted[0]).summary["metrics"]["variance_ratio"]["value"] == pytest.approx(ratio, rel=1e-3)


def test_pairs_that_another_sweep_makes_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not made twice; where the other dies, this one makes them."""
    wanted, store, looks, made = experiments("seed=[0, 1]"), Store(tmp_path), list[float](), list[object]()
    given = {name: np.ones((24, wanted[0].law.dim), np.float32) for name in SHARED}
    plain = running.teacher_pairs

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            assert store.keep_pairs(wanted[0], given)
            other.close()

    def counted(*given: object) -> object:
        made.extend([1] * (len(given) < 5))  # without what is known
        return plain(*given)  # type: ignore[arg-type]

    other = ExitStack()
    other.enter_context(Leases(tmp_path).held([of_kind("pairs", store.pairs_id(e)) for e in wanted]))
    monkeypatch.setattr("dmdlab.lab.once.time.sleep", look)
    monkeypatch.setattr(running, "teacher_pairs", counted)
    said = list[str]()
    for event in run_group(group_of(*wanted), store, CPU):
        assert isinstance(event, Progress)
        said.append(event.text)
        if event.stage == DISTILLING:
            break
    assert said.count("another sweep makes these pairs") == 2
    assert len(made) == 1


def test_what_nobody_makes_is_made_once_and_what_another_makes_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three: another is at one, and has kept one since this one looked."""
    there, asked = dict[str, int](), list[list[str]]()
    other = ExitStack()
    other.enter_context(Leases(tmp_path).held([of_kind("pairs", "a")]))
    plain = Leases.held

    def held(self: Leases, runs: list[str]) -> object:
        there.setdefault("b", 2)
        return plain(self, runs)

    def make(ids: Sequence[str]) -> Iterator[None]:
        asked.append(list(ids))
        there.update(dict.fromkeys(ids, 3))
        yield None

    def look(seconds: float) -> None:
        there["a"] = 1
        other.close()

    monkeypatch.setattr(Leases, "held", held)
    monkeypatch.setattr("dmdlab.lab.once.time.sleep", look)
    found = Returning(made_once(Store(tmp_path), "pairs", "abc", there.get, make))
    assert list(found) == [None, None]
    assert (found.value, asked) == ({"a": 1, "b": 2, "c": 3}, [["c"]])


SHORT = {"teacher.iterations": 2, "network.width": 4, "network.depth": 1}


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        (SHORT, lambda e: e.teacher_id),
        (SHORT | {"student.init": "regressed", "student.pairs": 8, "student.regression": 2}, lambda e: e.fit_id),
        ({"law.dim": 2, "measure.samples": 8, "seed": 3}, lambda e: Store(Path()).pairs_id(e)),
    ],
    ids=["its network", "its start", "its pairs"],
)
def test_a_run_that_has_the_id_of_what_it_shares_does_not_wait_for_itself(
    settings: dict[str, object], shared: Callable[[Experiment], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all have of which no setting of the student is given."""
    e, store, said = experiment_from(settings), Store(tmp_path), list[str]()
    assert shared(e) == e.id
    if "teacher.iterations" not in settings:
        store.keep_start(e, start_denoiser([e]).network.flat[0].detach().clone())
    monkeypatch.setattr("dmdlab.lab.once.time.sleep", lambda seconds: pytest.fail("waits for itself"))
    for event in Work(store, CPU)(group_of(e)):
        if isinstance(event, Progress):
            said.append(event.stage)
            if event.stage == DISTILLING:
                break
    assert said[-1] == DISTILLING
    assert store.checkpoint(group_of(e), CPU).path != store.networks_checkpoint([e.id], CPU).path


def flipped(path: Path) -> None:
    """Damaged within: another byte in its middle."""
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 0xFF
    path.write_bytes(held)


@pytest.mark.parametrize("keep", [0, 100, -10])
@pytest.mark.parametrize("folder", ["teachers", "calibration"])
def test_what_is_shared_and_cut_short_is_a_sentence_before_any_training(folder: str, keep: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    results(experiments(), store)
    (path,) = (tmp_path / folder).iterdir()
    cut(path, keep)
    is_told_before_any_training(path, store)


def test_pairs_that_are_damaged_within_are_a_sentence_before_any_training(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results(experiments(), store)
    (path,) = (tmp_path / "pairs").iterdir()
    flipped(path)
    is_told_before_any_training(path, store)


def is_told_before_any_training(path: Path, store: Store) -> None:
    events, stages = run_group(group_of(*experiments("student.init=rotated")), store, CPU), list[str]()
    with pytest.raises(InputError) as error:
        stages.extend(event.stage for event in events if isinstance(event, Progress))
    assert DISTILLING not in stages
    told = str(error.value)
    assert str(path) in told
    assert "damaged" in told or "an empty file" in told
    assert "delete it" in told
    assert "\n" not in told
