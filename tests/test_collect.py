"""Runs that come back from where the store is not seen, when somebody wishes to stop. All in one process."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from small import CPU, cut, experiments
from store_made import put

from dmdlab.device import stopping
from dmdlab.group import Group
from dmdlab.lab.collect import Away, Interrupted, Packed, collecting, receive
from dmdlab.lab.engines import At, Lost, Raised
from dmdlab.lab.on_ray import Opened, Terms
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Event, Finished, Work
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


def test_a_run_that_another_published_meanwhile_was_made_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (e,) = experiments()
    home, away = Store(tmp_path / "home"), Store(tmp_path / "away")
    assert put(away.out, e)
    shared = {
        path.relative_to(away.out).as_posix(): path.read_bytes() for path in away.shared_paths(e) if path.is_file()
    }
    files = {path.name: path.read_bytes() for path in away.folder(e).iterdir()}

    def looked_into(folder: Path) -> Record:
        """While what came is looked into, just before it is renamed."""
        assert put(home.out, e)
        return load_record(folder)

    monkeypatch.setattr("dmdlab.lab.collect.load_record", looked_into)
    assert not receive(home, Packed(e, "done", files, shared)).ours


def outputs(store: Store) -> list[object]:
    """What the students give."""
    return [(r.summary["id"], r.student().tolist()) for r in load_records(store.out)]
