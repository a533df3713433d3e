"""Runs that come back from where the store is not seen, when somebody wishes to stop. All in one process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import CPU, cut, experiments
from store_made import put

from dmdlab.config import Experiment
from dmdlab.device import stopping
from dmdlab.group import Group
from dmdlab.lab import collect
from dmdlab.lab.collect import Away, Interrupted, Packed, collecting, receive
from dmdlab.lab.engines import At, Lost, Raised
from dmdlab.lab.on_ray import Opened, Terms
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Event, Finished, Work
from dmdlab.records.checksums import NAME, Damaged
from dmdlab.records.record import Record, load_record, load_records
from dmdlab.records.verify import verify
from dmdlab.training.distill import Distillation


def tasks(
    away: Away, groups: Sequence[Group], terms: Terms, opened: Opened
) -> Iterator[tuple[int, Event | Packed | Interrupted]]:
    """As a cluster does them: where one says what it has kept, somebody wished to stop."""
    for index, group in enumerate(groups):
        with opened(group) as (told, parcel):
            yield from ((index, event) for event in told)
            if parcel is None:
                continue
            yield index, At("there", 1)
            for event in away(parcel):
                yield index, event
                if isinstance(event, Interrupted):
                    raise KeyboardInterrupt


def sweep(work: Work, groups: Sequence[Group]) -> tuple[list[Event], list[str] | None]:
    """What happens, and what an interrupt says; None without one."""
    events: list[Event] = []
    try:
        for _, event in collecting(tasks, work, groups, Terms()):
            events.append(event)
    except KeyboardInterrupt as interrupt:
        return events, getattr(interrupt, "__notes__", [])
    return events, None


class Stopped(Work):
    """Publishes what was never made; stopped when two runs are on their way and a third is only finished."""

    def _make(self, group: Group) -> Iterator[Event]:
        for number, e in enumerate(group.members):
            put(self.store.out, e)
            if number == 2:
                stopping.stop(KeyboardInterrupt())
            yield Finished(e, self.store.folder(e), "done")


def test_what_is_finished_comes_home_and_what_is_not_is_said(tmp_path: Path) -> None:
    wanted, store = experiments("seed={start=0, stop=5}"), Store(tmp_path)
    events, said = sweep(Stopped(store, CPU), [Group(tuple(wanted))])
    assert [e.experiment.seed for e in events if isinstance(e, Finished)] == [0, 1, 2]
    assert [e.seed for e in store.missing(wanted)] == [3, 4]
    assert verify(tmp_path).sound
    assert said == ["Dropped: 2 runs that other machines were at; nothing of that came back."]
    assert not (tmp_path / "leases").exists()


def test_a_training_that_is_stopped_comes_home_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group, cycles, plain = (
        Group(tuple(experiments("measure.samples=16", "measure.checkpoints=1"))),
        [0],
        Distillation.cycle,
    )

    def cycle(self: Distillation) -> None:
        cycles[0] += 1
        if cycles[0] == 2:
            stopping.stop(KeyboardInterrupt())
        plain(self)

    straight, home = Store(tmp_path / "straight"), Store(tmp_path / "home")
    assert sweep(Work(straight, CPU, "eager"), [group])[1] is None
    monkeypatch.setattr(Distillation, "cycle", cycle)
    assert sweep(Work(home, CPU, "eager"), [group])[1] == []
    assert (len(home.missing(group.members)), len(list((home.out / "checkpoints").iterdir()))) == (1, 1)
    assert sweep(Work(home, CPU, "eager"), [group])[1] is None
    assert cycles[0] == 4
    assert not list((home.out / "checkpoints").iterdir())
    assert outputs(home) == outputs(straight)


def test_pairs_that_were_cut_short_are_made_anew_elsewhere(tmp_path: Path) -> None:
    """As at home; they come back with the run."""
    group, home = Group(tuple(experiments("measure.samples=16", "measure.checkpoints=1"))), Store(tmp_path)
    assert sweep(Work(home, CPU, "eager"), [group])[1] is None
    before, (pairs,) = outputs(home), (tmp_path / "pairs").iterdir()
    cut(pairs, 200)
    assert len(home.missing(group.members)) == 1
    events, _ = sweep(Work(home, CPU, "eager"), [group])
    assert len([event for event in events if isinstance(event, Finished)]) == 1
    assert not [event for event in events if isinstance(event, Lost | Raised)]
    assert outputs(home) == before
    assert verify(tmp_path).sound


def sent(out: Path, e: Experiment) -> Packed:
    """A run that was published there, on its way."""
    away = Store(out)
    assert put(out, e)
    shared = {path.relative_to(out).as_posix(): path.read_bytes() for path in away.shared_paths(e) if path.is_file()}
    return Packed(e, "done", {path.name: path.read_bytes() for path in away.folder(e).iterdir()}, shared)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


ON_ITS_WAY: dict[str, tuple[Callable[[Packed], Packed], str]] = {
    "a bit of its own": (
        lambda p: replace(p, folder=p.folder | {"student.npy": flipped(p.folder["student.npy"])}),
        "came back damaged .student.npy was changed",
    ),
    "a file of its own": (
        lambda p: replace(p, folder={k: v for k, v in p.folder.items() if k != "curve.csv"}),
        "came back damaged .curve.csv is lost",
    ),
    "a bit of what it shares": (
        lambda p: replace(p, shared={name: flipped(held) for name, held in p.shared.items()}),
        "checksum was made of",
    ),
    "what it shares": (lambda p: replace(p, shared={}), "did not come with it"),
    "a name that leads elsewhere": (lambda p: replace(p, folder=p.folder | {"../x": b""}), "a file of the name"),
    "another kind of file": (
        lambda p: replace(p, folder=p.folder | {NAME: p.folder[NAME].replace(b"teachers/", b"runs/")}),
        "of an unknown kind",
    ),
}


@pytest.mark.parametrize("what", ON_ITS_WAY)
def test_a_run_that_was_damaged_on_its_way_is_not_published(what: str, tmp_path: Path) -> None:
    (e,) = experiments()
    home, (damaged, told) = Store(tmp_path / "home"), ON_ITS_WAY[what]
    packed = sent(tmp_path / "away", e)
    with pytest.raises(Damaged, match=told):
        receive(home, damaged(packed))
    assert not list((home.out / "runs").iterdir())
    assert receive(home, packed).ours
    assert verify(home.out).sound


def test_a_run_that_was_measured_against_other_pairs_is_not_published_and_the_first_pairs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where these came while it was looked into."""
    (e,) = experiments()
    packed, home = sent(tmp_path / "away", e), Store(tmp_path / "home")
    others = {name: array + 1 for name, array in (Store(tmp_path / "away").pairs(e) or {}).items()}
    plain, kept = collect.check_shared, list[bool]()

    def meanwhile(path: Path) -> str:
        if not kept:
            kept.append(home.keep_pairs(e, others))
        return plain(path)

    monkeypatch.setattr(collect, "check_shared", meanwhile)
    for _ in range(2):
        with pytest.raises(Damaged, match="measured against other pairs"):
            receive(home, packed)
    assert kept == [True]
    assert home.missing([e]) == [e]
    assert {name: array.tolist() for name, array in (home.pairs(e) or {}).items()} == {
        name: array.tolist() for name, array in others.items()
    }


@pytest.mark.parametrize("often", [1, 2])
def test_what_came_back_damaged_is_made_again_alone(often: int, tmp_path: Path) -> None:
    """As often as retries allow; then it is told, and all others are there."""
    wanted, store, went = experiments("seed={start=0, stop=4}"), Store(tmp_path), list[list[int]]()

    def losing(
        away: Away, groups: Sequence[Group], terms: Terms, opened: Opened
    ) -> Iterator[tuple[int, Event | Packed | Interrupted]]:
        went.extend([e.seed for e in group.members] for group in groups)
        for place, event in tasks(away, groups, terms, opened):
            bad = isinstance(event, Packed) and event.experiment.seed == 3 and len(went) <= 1 + often
            yield place, ON_ITS_WAY["a bit of its own"][0](event) if bad and isinstance(event, Packed) else event

    groups = [Group(tuple(wanted[:2])), Group(tuple(wanted[2:]))]
    events = list(collecting(losing, Published(store, CPU), groups, Terms(retries=1)))
    assert went == [[0, 1], [2, 3], [3]]
    assert [(index, event.again) for index, event in events if isinstance(event, Lost)] == [(1, 1)]
    raised = [(index, str(event.error)) for index, event in events if isinstance(event, Raised)]
    assert [index for index, _ in raised] == [1] * (often - 1)
    assert all("student.npy was changed or damaged), 2 times; tried no more" in text for _, text in raised)
    assert [e.seed for e in store.missing(wanted)] == [3] * (often - 1)


class Published(Work):
    """Publishes what was never made."""

    def _make(self, group: Group) -> Iterator[Event]:
        for e in group.members:
            put(self.store.out, e)
            yield Finished(e, self.store.folder(e), "done")


def test_what_is_on_its_way_arrives_before_a_wish_to_stop_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, store, plain = experiments("seed=[0, 1]"), Store(tmp_path), collect.receive

    def stopped(store: Store, packed: Packed) -> Finished:
        assert stopping.stop(KeyboardInterrupt())  # which waits
        return plain(store, packed)

    monkeypatch.setattr(collect, "receive", stopped)
    events, said = sweep(Published(store, CPU), [Group(tuple(wanted))])
    assert [e.experiment.seed for e in events if isinstance(e, Finished)] == [0]
    assert [e.seed for e in store.missing(wanted)] == [1]
    assert said == ["Dropped: 1 run that other machines were at; nothing of that came back."]


def test_what_ended_in_an_error_is_not_told_as_dropped(tmp_path: Path) -> None:
    wanted = experiments("seed={start=0, stop=3}")

    def stopped(*given: object) -> Iterator[tuple[int, Event | Packed | Interrupted]]:
        yield 0, At("there", 1)
        yield 0, Raised(ValueError("unlucky"))
        yield 1, At("there", 2)
        raise KeyboardInterrupt

    groups = [Group(tuple(wanted[:2])), Group(tuple(wanted[2:]))]
    with pytest.raises(KeyboardInterrupt) as interrupt:
        list(collecting(stopped, Work(Store(tmp_path), CPU), groups, Terms()))
    assert interrupt.value.__notes__ == ["Dropped: 1 run that other machines were at; nothing of that came back."]


def test_trainings_of_networks_and_fits_travel_and_are_removed_when_they_are_over(tmp_path: Path) -> None:
    (e,) = experiments("student.init=regressed")
    store, group = Store(tmp_path), Group((e,))
    kept = [store.networks_checkpoint([own], CPU) for own in (e.teacher_id, e.fit_id)]
    for one in kept:
        one.save({"place": torch.zeros(1, 2)})
    assert {f"checkpoints/{one.path.name}" for one in kept} == set(collect._files(store, [e]))
    for keep in (store.keep_start, store.keep_fit):
        keep(e, torch.ones(3))
    collect._clear(store, group, CPU)
    assert not any(one.path.exists() for one in kept)


def test_a_run_that_another_published_meanwhile_was_made_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (e,) = experiments()
    packed, home = sent(tmp_path / "away", e), Store(tmp_path / "home")

    def looked_into(folder: Path) -> Record:
        """While what came is looked into, just before it is renamed."""
        assert put(home.out, e)
        return load_record(folder)

    monkeypatch.setattr("dmdlab.lab.collect.load_record", looked_into)
    assert not receive(home, packed).ours


def outputs(store: Store) -> list[object]:
    """What the students give."""
    return [(r.summary["id"], r.student().tolist()) for r in load_records(store.out)]
