"""What is wrong in a store: files that were cut short, changed or lost, and what does not belong there.

A run is to be repeated when a file of its own is lost or damaged, or the pairs that it was measured against are, or are
others than it was measured against. A damaged calibration or start network is made anew by the next sweep that needs
it. Nothing is deleted: `set_aside` moves what is damaged out of the way, and the next sweep repeats just that.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dmdlab.config import InputError
from dmdlab.records import checksums
from dmdlab.records.catalogue import runs_folder
from dmdlab.records.checksums import Damaged
from dmdlab.records.record import ASIDE, Record, load_record
from dmdlab.trouble import writing

OF_PAIRS = ("pairs", "nearby", "further")
"""Folders of a store whose files have the name of the pairs that runs were measured against."""

SHARED = (*OF_PAIRS, "calibration", "teachers")
"""Folders of a store that hold what runs share."""

DRAWN = (".pdf", ".png", ".txt")
"""What `dmdlab run` draws into a run's folder, with a caption beside it."""


@dataclass
class Checked:
    """A run's folder or a shared file.

    Attributes:
        path: of it.
        state: 'whole' as its checksums say; 'unknown', an older one without checksums in which nothing is seen to be
            wrong; 'damaged'; or 'foreign', nothing that a sweep wrote.
        wrong: what is damaged, a line each. notes: what else is odd.
    """

    path: Path
    state: Literal["whole", "unknown", "damaged", "foreign"] = "whole"
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verified:
    """What was found in a store. runs: every entry of its folder of runs; shared: every file beside."""

    runs: list[Checked]
    shared: list[Checked]

    @property
    def repeat(self) -> list[Checked]:
        """Runs to be repeated."""
        return [run for run in self.runs if run.state == "damaged"]

    @property
    def damaged(self) -> list[Checked]:
        """Everything that is damaged."""
        return self.repeat + [one for one in self.shared if one.state == "damaged"]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged and nothing foreign."""
        return not any(one.state in ("damaged", "foreign") or one.notes for one in self.runs + self.shared)


def verify(store: Path) -> Verified:
    """Read all files of a store through. Raises `InputError` for what is no store, or cannot be read."""
    runs = runs_folder(store)
    shared: dict[str, Checked] = {}
    for kind in SHARED:
        for path in sorted((store / kind).glob("[!.]*")):
            shared[f"{kind}/{path.name}"] = _check_shared(path)
    checked = [_check_run(store, runs / name, shared) for name in sorted(os.listdir(runs)) if not name.startswith(".")]
    return Verified(checked, list(shared.values()))


def set_aside(store: Path, found: Sequence[Checked]) -> list[Path]:
    """Move these to `ASIDE` in the store, where no reader looks; returns where they lie now."""
    moved = []
    for one in found:
        folder = store / ASIDE / one.path.parent.name
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            place, number = folder / one.path.name, 1
            while place.exists():
                place, number = folder / f"{one.path.name}.{number}", number + 1
            one.path.rename(place)
        moved.append(place)
    return moved


def _check_shared(path: Path) -> Checked:
    if path.suffix not in (".npz", ".safetensors") or path.is_symlink() or not path.is_file():
        return Checked(path, "foreign", notes=["nothing that a sweep wrote"])
    try:
        return Checked(path, checksums.check_shared(path))
    except Damaged as error:
        again = "; runs that were measured against it are repeated" if path.parent.name == "pairs" else ""
        return Checked(path, "damaged", [f"{error}{again or '; what needs it makes it anew'}"])


def _check_run(store: Path, folder: Path, shared: dict[str, Checked]) -> Checked:
    if folder.is_symlink() or not folder.is_dir():
        return Checked(folder, "foreign", notes=["no run's folder"])
    try:
        record = load_record(folder)
    except InputError as error:
        told = str(error).removeprefix(f"{folder}: ")
        if "another version" in told:
            return Checked(folder, "foreign", notes=[told])
        return Checked(folder, "damaged", [told])
    if folder.name.rpartition("-")[2] != record.summary["id"]:
        return Checked(folder, "foreign", notes=[f"it holds run {record.summary['id']}, as a copy of its folder does"])
    found = Checked(folder)
    try:
        _check_files(record, found)
        _check_pairs(record, shared, found)
    except Damaged as error:
        found.wrong.append(str(error))
    except InputError as error:
        found.wrong.append(str(error).removeprefix(f"{folder}/"))
    name = f"calibration/{record.summary.get('calibration')}"
    if record.summary.get("calibration") and name not in shared:
        found.notes.append(f"{name} is lost; `dmdlab calibrate` with the sweep's settings makes it anew")
    if found.wrong:
        found.state = "damaged"
    return found


def _check_files(record: Record, found: Checked) -> None:
    """The files of a run's own folder."""
    folder, layout = record.folder, record.summary["format"]
    if layout > 2:
        found.wrong += checksums.check_files(folder)
        own = {*checksums.read_checksums(folder)[0], checksums.NAME}
        odd = [
            p.name for p in sorted(folder.iterdir()) if p.name not in own and (p.is_symlink() or p.suffix not in DRAWN)
        ]
        if odd:
            found.notes.append(f"holds what is not its own: {', '.join(odd)}")
        return
    found.state = "unknown"
    record.curve()
    if layout == 1 and record.done:
        checksums.check_shared(folder / "pairs.npz")
    elif record.done:
        record.student()


def _check_pairs(record: Record, shared: dict[str, Checked], found: Checked) -> None:
    """What a run was measured against."""
    if not record.done or record.summary["format"] == 1:
        return
    name = f"pairs/{record.summary['pairs']}"
    pairs = shared.get(name)
    if pairs is None:
        found.wrong.append(f"{name} is lost")
    elif pairs.state not in ("whole", "unknown"):
        found.wrong.append(f"{name} is {pairs.state}")
    elif record.summary["format"] > 2:
        known = checksums.read_checksums(record.folder)[1].get(name)
        if known is not None and known != checksums.kept_in_npz(pairs.path):
            found.wrong.append(f"{name} is another than it was measured against")
