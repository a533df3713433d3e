"""Finished runs brought back from machines that do not see the store: as files, checked, published by renaming.

A group goes out with what the store has that its runs share (pairs, calibrations, start networks) and go on from
(checkpoints). Elsewhere its runs are made and published in a store of their own, in a folder for a while. Each comes
back as the files of its folder and of what it shares; here they are written under a name that no reader takes for a
run, checked by the checksums that came with them, and renamed. Of pairs the first ones stay; a run that was measured
against others is made again. Where somebody wishes to stop, checkpoints come back, too.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from dmdlab.config import Experiment, InputError
from dmdlab.device import stopping
from dmdlab.device.compiling import Way
from dmdlab.group import Group
from dmdlab.lab.calibrate import calibration_id
from dmdlab.lab.checkpoint import checkpoints_of
from dmdlab.lab.engines import At, Lost, Raised
from dmdlab.lab.on_ray import Opened, Terms
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import Elsewhere, Event, Finished, Work
from dmdlab.records.checksums import Damaged, check_files, check_shared, kept_in_npz, read_checksums
from dmdlab.records.kept_arrays import npz_opens
from dmdlab.records.kept_json import is_plain
from dmdlab.records.leases import Leases, of_kind
from dmdlab.records.record import load_record
from dmdlab.records.verify import SHARED
from dmdlab.records.writing import replacing_in
from dmdlab.trouble import counted

MOST = 2**28
"""Bytes of a checkpoint that travels (ours: as much as the object store of a cluster that we start holds)."""

Files = dict[str, bytes]
"""What files hold, by their path in a store."""


@dataclass(frozen=True)
class Parcel:
    """A group on its way to where it is made, with what the store has for it."""

    group: Group
    files: Files


@dataclass(frozen=True)
class Packed:
    """A finished run on its way back: its folder's files by name, and those that it shares and that were not sent."""

    experiment: Experiment
    status: str
    folder: Files
    shared: Files


@dataclass(frozen=True)
class Interrupted:
    """What a group's training had come to where it was stopped: its checkpoints, none where nothing is kept."""

    files: Files


@dataclass(frozen=True)
class Away:
    """Work on parcels, in a folder of its own. make: the kind of work that makes the runs there."""

    device: torch.device
    way: Way | None = None
    make: type[Work] = Work

    def __call__(self, parcel: Parcel) -> Iterator[Event | Packed | Interrupted]:
        """What happens, as it does; `Packed` for `Finished`. Interrupted, what is finished and not yet on its way, and
        `Interrupted`."""
        known, away = set(parcel.files), {e.id: e for e in parcel.group.members}
        with tempfile.TemporaryDirectory(prefix="dmdlab-") as place:
            store = Store(Path(place))

            def packed(e: Experiment, status: str) -> Packed:
                folder = store.folder(e)
                shared = {name: (store.out / name).read_bytes() for name in read_checksums(folder)[1]}
                new = {name: content for name, content in shared.items() if name not in known}
                files = {path.name: path.read_bytes() for path in folder.iterdir()}
                known.update(new)
                del away[e.id]
                return Packed(e, status, files, new)

            try:
                for name, content in parcel.files.items():
                    path = store.out / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                for event in self.make(store, self.device, self.way)(parcel.group):
                    with stopping.until_kept():  # what is on its way arrives
                        yield packed(event.experiment, event.status) if isinstance(event, Finished) else event
            except KeyboardInterrupt:
                for e in [e for e in away.values() if store.finished(e)]:
                    yield packed(e, store.record(e).summary["status"])
                yield Interrupted(_checkpoints(store, parcel.group))


Tasks = Callable[[Away, Sequence[Group], Terms, Opened], Iterator[tuple[int, Event | Packed | Interrupted]]]


def collecting(tasks: Tasks, work: Work, groups: Sequence[Group], terms: Terms) -> Iterator[tuple[int, Event]]:
    """An engine whose groups are made where the store is not seen: `tasks` does them there.

    A wish to stop that it raises says how many runs were at work there of which nothing came back.
    """
    store, todo, at_work = work.store, list(enumerate(groups)), set[int]()

    @contextmanager
    def opened(group: Group) -> Iterator[tuple[list[Event], Parcel | None]]:
        with Leases(store.out).held(group.ids) as ours:
            free = [e for e in group.members if e.id in ours]
            left = store.missing(free)
            held = tuple(e for e in group.members if e not in free)
            done = tuple(e for e in free if e not in left)
            told: list[Event] = [Elsewhere(done, held)] if held or done else []
            yield told, Parcel(Group(tuple(left)), _files(store, left)) if left else None
            if left:
                _clear(store, Group(tuple(left)), work.device)

    try:
        for again in range(terms.retries + 1):
            refused: dict[int, list[Experiment]] = {}
            why, away = "", Away(work.device, work.way, type(work))
            for place, event in tasks(away, [group for _, group in todo], terms, opened):
                index = todo[place][0]
                if isinstance(event, Interrupted):
                    if _receive_interrupted(store, event):
                        at_work.discard(index)
                elif isinstance(event, Packed):
                    try:
                        yield index, receive(store, event)
                    except Damaged as error:
                        why = f"{store.folder(event.experiment).name}: {error}"
                        refused.setdefault(index, []).append(event.experiment)
                        if again == terms.retries:
                            yield index, Raised(InputError(f"{why}, {again + 1} times; tried no more"))
                else:
                    if isinstance(event, At):
                        at_work.add(index)
                    elif isinstance(event, Lost | Raised):
                        at_work.discard(index)
                    yield index, event
            if not refused or again == terms.retries:
                return
            todo = [(index, Group(tuple(members))) for index, members in refused.items()]
            for index in refused:
                yield index, Lost(why, again + 1, terms.retries)
    except KeyboardInterrupt as interrupt:
        if dropped := sum(len(store.missing(groups[index].members)) for index in at_work):
            interrupt.add_note(
                f"Dropped: {counted(dropped, 'run')} that other machines were at; nothing of that came back."
            )
        raise


def receive(store: Store, packed: Packed) -> Finished:
    """Publish a run that came back. Raises `Damaged` where it did not come whole, or was measured against other pairs
    than stand here; `Unwritable`."""
    folder, e = store.folder(packed.experiment), packed.experiment
    if store.finished(e):
        return Finished(e, folder, packed.status, ours=False)
    with replacing_in(folder, lambda old: store.finished(e)) as partial:
        partial.mkdir()
        made = partial.stat()
        for name, content in packed.folder.items():
            (partial / _plain(name)).write_bytes(content)
        wrong = check_files(partial)
        if wrong or not _is(partial, e):
            raise Damaged(f"came back damaged ({'; '.join(wrong) or 'another run'})")
        for name, sha in read_checksums(partial)[1].items():
            _receive_shared(store, name, sha, packed.shared.get(name))
    return Finished(e, folder, packed.status, ours=os.path.samestat(made, folder.stat()))


def _is(folder: Path, experiment: Experiment) -> bool:
    """Whether a folder holds this run."""
    try:
        return bool(load_record(folder).summary["id"] == experiment.id)
    except InputError:
        return False


def _receive_shared(store: Store, name: str, sha: str | None, content: bytes | None) -> None:
    kind, _, own = name.partition("/")
    if kind not in SHARED:
        raise Damaged(f"shares a file of an unknown kind ({name})")
    path = store.out / kind / _plain(own)
    if content is not None and not _stands(path):
        with replacing_in(path, _stands) as partial:
            partial.write_bytes(content)
            check_shared(partial)
    if not path.is_file():
        raise Damaged(f"{name} did not come with it")
    if kind == "pairs" and sha is not None and kept_in_npz(path) != sha:
        raise Damaged("measured against other pairs than stand here")


def _stands(path: Path) -> bool:
    """Whether a file that runs share is there; pairs that were cut short are as good as lost, and made anew."""
    return path.is_file() and (path.parent.name != "pairs" or npz_opens(path, ()))


def _plain(name: str) -> str:
    """A file's name. Raises `Damaged` for one that leads elsewhere."""
    if not is_plain(name):
        raise Damaged(f"holds a file of the name {name!r}")
    return name


def _files(store: Store, experiments: Sequence[Experiment]) -> Files:
    """What the store has that these runs share, and go on from."""
    paths = {path for e in experiments for path in store.shared_paths(e)}
    paths |= {store.calibration_path(e, calibration_id(e)) for e in experiments}
    shared = {path.relative_to(store.out).as_posix(): path.read_bytes() for path in sorted(paths) if _stands(path)}
    return shared | _checkpoints(store, Group(tuple(experiments)))


def _checkpoints(store: Store, group: Group) -> Files:
    """Those of this group's trainings, of its start networks and fits, too, that are small enough to travel."""
    networks = [of_kind("network", id) for id in _networks(group)]
    paths = [path for path in checkpoints_of(store.out, {*group.ids, *networks}) if path.stat().st_size <= MOST]
    return {path.relative_to(store.out).as_posix(): path.read_bytes() for path in paths}


def _receive_interrupted(store: Store, interrupted: Interrupted) -> bool:
    """Keep checkpoints that came back; whether there are any. A checkpoint says itself whether it is whole."""
    for name, content in interrupted.files.items():
        with replacing_in(store.out / "checkpoints" / _plain(name.removeprefix("checkpoints/"))) as partial:
            partial.write_bytes(content)
    return bool(interrupted.files)


def _clear(store: Store, group: Group, device: torch.device) -> None:
    """Remove the checkpoints of this group that are needed no more."""
    store.checkpoint(group, device).clear()
    store.networks_checkpoint(_networks(group), device).clear()


def _networks(group: Group) -> list[str]:
    """The ids of its start networks and of its starts that are fitted."""
    return [e.teacher_id for e in group.networks] + [e.fit_id for e in group.fits]
