"""Which settings of a sweep a figure lays along its x axis, its lines and its rows of panels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dmdlab.config import PLACES, InputError, did_you_mean
from dmdlab.records.cells import STARTS, finished, parts, setting, varying
from dmdlab.records.record import INITS, Record

NO_AXES = ("seed", "result_version")
"""Settings that no figure lays along anything by itself: it averages over seeds, and never over versions."""


MOST_LINES = 7
"""Lines that a figure tells apart by their markers."""


@dataclass(frozen=True)
class Layout:
    """A figure's settings: along x, one line each, and one row of panels each (None: one row for all). Along x there
    may be several that change together (`parts`): a place for each combination that there is."""

    x: str
    by: str
    rows: str | None

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them, rows first."""
        return tuple(part for key in (self.rows, self.x, self.by) if key for part in parts(key))

    @property
    def of_dimension(self) -> bool:
        """Whether this is the lab's main figure: starts over dimension."""
        return self == DIMENSION


DIMENSION = Layout("law.dim", "student.init", "law.name")


def layout_of(
    records: Sequence[Record], x: str | None = None, by: str | None = None, rows: str | None = None
) -> Layout:
    """The layout of these runs; what is not given is chosen among the settings that vary.

    x: the dimension, else the numeric one with most values, else the one with most values in words. Lines: the start,
    else the next one; the two are swapped where only that keeps the lines to `MOST_LINES`. Rows: the law, else the next
    one. A setting that follows from those already taken, as law.side does from the dimension, is no axis of its own.
    Where three settings do not tell the runs apart, all that change together stand along x (`_together`).

    Raises `InputError`: no finished run, an unknown setting, or one that is given twice.
    """
    done = finished(records)
    given = {"--x": x, "--by": by, "--panels": rows}
    known = list(dict.fromkeys(key for record in done for key in record.settings))
    asked = [(option, part) for option, key in given.items() if key is not None for part in parts(key)]
    taken = [key for _, key in asked]
    for option, key in asked:
        if key == "seed":
            raise InputError(f"{option} seed: a figure averages over seeds; look at single ones with `dmdlab table`")
        if key not in known and key in PLACES and "law.digest" in known:
            raise InputError(
                f"{option} {key}: where a file lies tells no runs apart; what it holds does: give {option} law.digest"
            )
        if key not in known:
            raise InputError(f"{option} {key}: no setting of these runs{did_you_mean(key, known)}")
        if taken.count(key) > 1:
            raise InputError(f"{option} {key}: given twice among --x, --by and --panels; give each another setting")
    free = [key for key in varying(done) if key not in (*NO_AXES, *taken)]
    if x is None:
        x = _along_x(done, free)
        taken.append(x)
    named = rows or ("law.name" if "law.name" not in taken else None)
    if by is None:
        open_ = [key for key in free if key not in (*taken, named) and _told_apart(done, key, (*taken, named))]
        constant = [key for key in reversed(STARTS) if key not in (*taken, named)]
        by = DIMENSION.by if DIMENSION.by in open_ else [*open_, *constant][0]
        taken.append(by)
    if given["--x"] is None and given["--by"] is None:
        lines, along = (distinct(setting(record, key) for record in done) for key in (by, x))
        x, by = (by, x) if len(lines) > MOST_LINES >= len(along) else (x, by)
    if rows is None and (named is None or named not in free):
        open_ = [key for key in free if key not in taken and _told_apart(done, key, taken)]
        named = next(iter(open_), named)
    layout = Layout(x, by, named)
    if given["--x"] is None and any(_told_apart(done, key, layout.keys) for key in free):
        return _together(done, given["--by"], rows) or layout
    return layout


def _together(records: Sequence[Record], by: str | None, rows: str | None) -> Layout | None:
    """The layout with everything along x but the lines and the rows, which are settings that have each of their values
    with each of every other's: the start (whatever it has), the law and the dimension first. None where nothing else
    tells the runs apart."""
    free = [key for key in varying(records) if key not in NO_AXES]
    alone = [key for key in free if key not in (by, rows) and _crossed(records, key, free)]
    if rows is None:
        rows = next((key for key in (DIMENSION.rows, DIMENSION.x) if key in alone), DIMENSION.rows)
    if by is None:
        few = [key for key in alone if len({repr(setting(r, key)) for r in records}) <= MOST_LINES]
        open_ = ([DIMENSION.by] if DIMENSION.by in free else []) + few + [*reversed(STARTS)]
        by = next(key for key in open_ if key != rows)
    rest = [key for key in free if _told_apart(records, key, (by, rows))]
    return Layout(", ".join(rest), by, rows) if rest else None


def _crossed(records: Sequence[Record], key: str, others: Iterable[str]) -> bool:
    """Whether there are runs of each value of `key` with each of every other setting, but of those that follow it."""
    for other in others:
        pairs = {(repr(setting(record, key)), repr(setting(record, other))) for record in records}
        mine, theirs = (len(set(side)) for side in zip(*pairs, strict=True))
        if len(pairs) not in (mine * theirs, mine):
            return False
    return True


def distinct(values: Iterable[Any]) -> list[Any]:
    """The different values of a setting: numbers ascending, starts as always, others in order of first appearance. Of
    settings that change together: one after the other, of each its usual value first."""
    found = list(dict.fromkeys(values))
    if numeric(found):
        return sorted(found)
    if found and all(isinstance(value, tuple) and len(value) == len(found[0]) for value in found):
        columns = [[*usual(column), *distinct(column)] for column in zip(*found, strict=True)]
        return sorted(found, key=lambda value: [own.index(v) for own, v in zip(columns, value, strict=True)])
    return sorted(found, key=INITS.index) if set(found) <= set(INITS) else found


def usual(values: Sequence[Any]) -> list[Any]:
    """The value that more than half of these are, if there is one."""
    return [value for value in dict.fromkeys(values) if 2 * values.count(value) > len(values)]


def numeric(values: Iterable[Any]) -> bool:
    """Whether all of these are numbers."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _along_x(records: Sequence[Record], free: Sequence[str]) -> str:
    """The setting for the x axis among those that vary; the dimension where nothing else is left."""
    if DIMENSION.x in free:
        return DIMENSION.x
    others = [key for key in free if key != DIMENSION.by]
    values = {key: distinct(setting(record, key) for record in records) for key in others}
    for kind in (True, False):
        found = [key for key, own in values.items() if numeric(own) == kind]
        if found:
            return max(found, key=lambda key: len(values[key]))
    return DIMENSION.x


def _told_apart(records: Sequence[Record], key: str, taken: Sequence[str | None]) -> bool:
    """Whether `key` differs among runs that agree in every setting of `taken`."""
    seen: dict[str, set[str]] = {}
    for record in records:
        place = repr([record.settings.get(other) for other in taken if other])
        seen.setdefault(place, set()).add(repr(record.settings.get(key)))
    return any(len(values) > 1 for values in seen.values())
