"""All runs of a store, as a scan of its folders, and those that filters choose."""

import gc
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dmdlab.config import InputError, did_you_mean, word_value
from dmdlab.records.record import Record, check_folder, load_record
from dmdlab.trouble import first_names

_WORD = re.compile(r"\s*([^\s=!<>]+)\s*(<=|>=|!=|==?|<|>)(.*)", re.DOTALL)

ORDERED = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}


@dataclass(frozen=True)
class Unreadable:
    """A folder among the runs that cannot be read as one, and why."""

    folder: Path
    why: str

    @property
    def row(self) -> dict[str, Any]:
        """As a run's row, with what is known of it."""
        return {"id": self.folder.name.rpartition("-")[2], "status": "unreadable", "folder": self.folder.name}


Entry = Record | Unreadable

E = TypeVar("E", Record, Entry)


def runs_folder(store: Path) -> Path:
    """Where a store's runs lie. Raises `InputError` for a folder that is none, and for a file."""
    check_folder(store)
    if not (store / "runs").is_dir():
        one = f"; this is one run of {store.resolve().parent.parent}" if (store / "summary.json").is_file() else ""
        raise InputError(
            f"{store}: no store of runs; expected a folder that `dmdlab sweep` or `dmdlab run` wrote (with a folder "
            f"named runs in it){one}"
        )
    return store / "runs"


def scan(store: Path) -> list[Entry]:
    """Every run, by the name of its folder; what is being written is none, nor is a file. Raises `InputError` for what
    is no store."""
    with os.scandir(runs_folder(store)) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    with uncollected():
        return [_read(store / "runs" / name) for name in names]


def _read(folder: Path) -> Entry:
    try:
        return load_record(folder)
    except InputError as error:
        return Unreadable(folder, str(error))


@contextmanager
def uncollected(for_good: bool = False) -> Iterator[None]:
    """Python looks for circles again and again while thousands of small things are made, of which none is one.
    for_good: nor does it afterwards, as where the process ends soon."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        if before:
            gc.enable()


def row_of(entry: Entry) -> dict[str, Any]:
    """A run's flat row, as `dmdlab table` has it, and the name of its folder."""
    return entry.row | {"folder": entry.folder.name}


@dataclass(frozen=True)
class Filter:
    """One word such as `law.dim>=32`. value: what TOML makes of it, a bare word is a string; a list: any of these."""

    word: str
    key: str
    operator: str
    value: Any

    @staticmethod
    def of(word: str) -> "Filter":
        """Raises `InputError` for a word that is none."""
        found = _WORD.fullmatch(word)
        if not found or not found[3].strip() or found[3][0] in "=<>":  # as in law.dim=>2
            raise InputError(
                f"{word!r}: expected a filter such as law.dim>=32, student.init=rotated or status!=failed (in quotes "
                "where it holds < or >, which a shell reads otherwise)"
            )
        key, operator, text = found[1], found[2].replace("==", "="), found[3].strip()
        value = word_value(text)
        if operator in ORDERED and not _number(value):
            raise InputError(f"{word!r}: {text} is no number, and only numbers are compared by {operator}")
        return Filter(word, key, operator, value)

    def accepts(self, row: dict[str, Any]) -> bool:
        """Whether a row has such a value; where it has no number, it is neither less nor more. A setting that a run
        does not have, and a measure without a value, are `none`."""
        held = row.get(self.key)
        held = "none" if held is None else held
        if self.operator in ORDERED:
            return _number(held) and bool(ORDERED[self.operator](float(held), float(self.value)))
        equal = (
            held in self.value if isinstance(self.value, list) and not isinstance(held, list) else held == self.value
        )
        return equal == (self.operator == "=")


def chosen(entries: Sequence[E], words: Iterable[str]) -> list[E]:
    """Those that every filter accepts. Raises `InputError` for a word that is none, or a key that no run has."""
    filters = [Filter.of(word) for word in words]
    if not filters or not entries:
        return list(entries)
    rows = [row_of(entry) for entry in entries]
    known = set().union(*rows)
    for own in filters:
        if own.key not in known:
            raise InputError(f"{own.word!r}: no run has a key {own.key!r}{did_you_mean(own.key, known)}")
    return [entry for entry, row in zip(entries, rows, strict=True) if all(own.accepts(row) for own in filters)]


def none_chosen(entries: Sequence[E], words: Sequence[str]) -> str:
    """The sentence for filters (`chosen`) that accept none of these: what there is of the first that alone does so."""
    rows = [row_of(entry) for entry in entries]
    said = f"none of the {len(rows)} runs is chosen by {' '.join(words)}"
    for own in map(Filter.of, words):
        if not any(own.accepts(row) for row in rows):
            there = sorted({"none" if row.get(own.key) is None else str(row[own.key]) for row in rows})
            return f"{said}: {own.key} is {first_names(there)}; choose among these"
    return f"{said} together; give fewer, or look at `dmdlab table`"


def entry_named(entries: Sequence[Entry], name: str) -> Entry:
    """The run of this id, of an id that begins so, or of this folder. Raises `InputError` unless there is one."""
    ids = {entry.folder.name: str(entry.row["id"]) for entry in entries}
    found = [e for e in entries if e.folder.name == name or ids[e.folder.name].startswith(name)]
    if len(found) > 1:
        several = first_names([ids[e.folder.name] for e in found])
        raise InputError(
            f"{name}: the ids of {len(found)} runs begin so ({several}); give more of the one that is meant"
        )
    if not found:
        near = did_you_mean(name, ids.values()) if len(ids) <= 20 else ""
        raise InputError(f"{name}: no runs of this id{near}; `dmdlab runs ls` shows them")
    return found[0]


def _number(value: object) -> bool:
    """Whether it is a number that a float can hold, as a whole number of hundreds of digits is not."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**1000)
