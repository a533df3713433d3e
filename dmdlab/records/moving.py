"""Runs that leave a store: copied out with what they share, removed, and what no run needs any more.

Only plain files directly in the folders of a store travel: no link is followed, no name leads elsewhere.
"""

import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmdlab.config import InputError
from dmdlab.records.catalogue import Entry, runs_folder, scan
from dmdlab.records.checksums import shared_of
from dmdlab.records.kept_json import MOST_BYTES, check_depth, is_plain
from dmdlab.records.leases import Leases, of_kind
from dmdlab.records.record import Record
from dmdlab.records.verify import OF_PAIRS, SHARED
from dmdlab.records.writing import replacing, set_away
from dmdlab.trouble import unreadable, writing

ARCHIVES = {".zip": "zip", ".tar": "tar", ".tgz": "tar", ".tar.gz": "tar"}
UNMADE = (".gz", ".bz2", ".xz", ".zst", ".rar", ".7z")
"""Names of archives that are not made: a folder of such a name would be taken for one."""


def export(store: Path, entries: Sequence[Entry], to: Path) -> list[str]:
    """Copy runs, and what they share, into a new store: a folder that is not there yet, or a .zip, .tar or .tar.gz.

    Returns the paths of its files, as they lie in a store. Raises `InputError`: a place inside the store or that is
    taken, another archive's name, a run that cannot be read or holds links or folders, a lost file; `Unwritable`.
    """
    if to.resolve().is_relative_to(store.resolve()):
        raise InputError(f"{to}: inside the store {store}; choose a place outside of it")
    if to.exists() or to.is_symlink():
        raise InputError(f"{to}: there already; choose a new name, nothing is written over")
    if not entries:
        raise InputError(f"{store}: no run is chosen; `dmdlab runs ls {store}` shows them all")
    files = sorted({name for entry in entries for name in _files(store, entry)})
    called = to.name.lower()
    archive = next((kind for suffix, kind in ARCHIVES.items() if called.endswith(suffix)), None)
    if archive is None and to.suffix.lower() in UNMADE:
        raise InputError(f"{to}: not an archive that is made; expected a folder, or {', '.join(ARCHIVES)}")
    with writing(to):
        to.parent.mkdir(parents=True, exist_ok=True)
    with replacing(to, Path.exists) as partial:
        if archive == "zip":
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as packed:
                for name in files:
                    packed.write(store / name, name)
        elif archive == "tar":
            with tarfile.open(partial, "w:gz" if called.endswith("gz") else "w") as packing:
                for name in files:
                    packing.add(store / name, name, recursive=False, filter=_nobodys)
        else:
            for name in files:
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(store / name, partial / name, follow_symlinks=False)
    return files


def remove(entries: Iterable[Entry]) -> Iterator[Path]:
    """Remove runs' folders, each whole, one after the other. Raises `Unwritable`."""
    for entry in entries:
        set_away(entry.folder)
        yield entry.folder


@dataclass(frozen=True)
class Unneeded:
    """Something in a store that no run needs. why: it is not; bytes: what it takes."""

    path: Path
    why: str
    bytes: int


def unneeded(store: Path) -> tuple[list[Unneeded], list[str]]:
    """What no run in this store needs, and sentences on what is kept since that cannot be told.

    Raises `InputError` while a sweep is at work in it, or may be.
    """
    runs_folder(store)
    if busy := Leases(store).at_work():
        who, path = busy[0]
        raise InputError(
            f"{store}: {who} is at work here ({path.name}), and what it needs is not known; wait for it, or where "
            f"that machine is gone, delete {path}"
        )
    entries = scan(store)
    broken = [entry for entry in entries if not isinstance(entry, Record)]
    needed, untold = set[str](), False
    for entry in entries:
        if isinstance(entry, Record):
            kept = shared_of(entry.folder)
            untold = untold or kept is None
            needed |= {*(kept or ()), *(f"{kind}/{entry.summary.get('pairs')}" for kind in OF_PAIRS)}
            needed.add(f"calibration/{entry.summary.get('calibration')}")
    said = []
    if broken:
        said.append(f"{len(broken)} folders cannot be read as runs; what they need is not known, so shared files stay.")
    elif untold:
        said.append("Some runs are of a version that did not note their start networks, so these stay.")
    kinds = [] if broken else [kind for kind in SHARED if kind != "teachers" or not untold]
    paths = [(path, "no run needs it") for kind in kinds for path in _in(store / kind)]
    found = [(path, why) for path, why in paths if f"{path.parent.name}/{path.name}" not in needed]
    ids = {str(entry.row["id"]) for entry in entries if isinstance(entry, Record)}
    ids |= {of_kind("network", path.stem) for path in _in(store / "teachers")}
    found += [(p, "all its runs are finished") for p in _in(store / "checkpoints") if _over(p, ids)]
    found += [(path, "left by somebody who was killed in writing") for path in _half_written(store)]
    found += [(path, "a lease that is over") for path in _in(store / "leases")]
    return [Unneeded(path, why, _size(path)) for path, why in found], said


def clear(store: Path, found: Iterable[Unneeded]) -> None:
    """Remove these. Raises `Unwritable`."""
    for one in found:
        set_away(one.path)
    for name in ("leases", "checkpoints"):
        if (store / name).is_dir() and not os.listdir(store / name):
            (store / name).rmdir()


def _files(store: Path, entry: Entry) -> Iterator[str]:
    """The files of one run and of what it shares, as paths in the store."""
    if not isinstance(entry, Record):
        raise InputError(f"{entry.why}; `dmdlab runs verify {store}` looks closer, nothing was copied")
    for path in sorted(entry.folder.iterdir()):
        yield _plain(store, f"runs/{entry.folder.name}/{path.name}")
    names = shared_of(entry.folder) or []
    own = [entry.summary["pairs"]] if entry.done and entry.summary["format"] > 1 else []
    names += [f"{kind}/{name}" for name in own for kind in OF_PAIRS]
    names += [f"calibration/{name}" for name in [entry.summary.get("calibration")] if name]
    for name in dict.fromkeys(names):
        if name.startswith("pairs/") or (store / name).exists():  # others can be made anew
            yield _plain(store, name)


def _plain(store: Path, name: str) -> str:
    """This path in the store, a plain file through plain folders. Raises `InputError`."""
    path = store
    for part in name.split("/"):
        path = path / part
        if not is_plain(part) or path.is_symlink():
            raise InputError(f"{path}: a link, or a name that leads elsewhere; only plain files are copied")
    if not path.is_file():
        raise InputError(f"{path}: lost, or no plain file; `dmdlab runs verify {store}` looks closer")
    return name


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names of whoever made the archive."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*")) if folder.is_dir() else []


def _half_written(store: Path) -> list[Path]:
    """What has the name of something that is being made, here where nobody is at work."""
    folders = [store / kind for kind in ("runs", *SHARED, "checkpoints")]
    return sorted(path for folder in folders for path in folder.glob(".?*.?*-?*"))


def _over(path: Path, finished: set[str]) -> bool:
    """Whether a checkpoint is of finished runs only; False where it cannot be read as one."""
    try:
        with path.open("rb") as file:
            head = file.read(min(int.from_bytes(file.read(8), "little"), MOST_BYTES))
        check_depth(head)
        ids = json.loads(json.loads(head)["__metadata__"]["ids"])
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(ids, list) and bool(ids) and all(isinstance(own, str) and own in finished for own in ids)


def _size(path: Path) -> int:
    """Bytes of a file or a folder; a link counts as nothing."""
    if path.is_symlink():
        return 0
    return sum(map(_size, path.iterdir())) if path.is_dir() else path.stat().st_size
