"""Commands on the runs that a folder keeps: `runs ls`, `show`, `verify`, `export`, `rm` and `gc`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmdlab.cli import show
from dmdlab.cli.means import bytes_of
from dmdlab.cli.read import Filters
from dmdlab.config import InputError, did_you_mean
from dmdlab.trouble import counted, printable

if TYPE_CHECKING:
    from dmdlab.records.catalogue import Entry
    from dmdlab.records.verify import Checked

app = typer.Typer(help="Finished runs: list, show, verify, export, remove.", no_args_is_help=True)

StoreFolder = Annotated[Path, typer.Argument(metavar="STORE", help="A folder that sweep or run wrote.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
FORMATS = ("table", "json", "csv", "parquet")
SHOWN = ("law.name", "law.dim", "student.init", "seed")
"""Settings that a list of runs always has."""

FOUND = 3
"""Exit status of `runs verify` where something is wrong."""


def _chosen(store: Path, filters: Sequence[str] | None) -> "list[Entry]":
    from dmdlab.records.catalogue import chosen, scan

    return chosen(scan(store), filters or ())


@app.command("ls")
def ls(
    store: StoreFolder,
    filters: Filters = None,
    format: Annotated[
        str, typer.Option(help="table, json, csv or parquet (dmdlab[tables]); all but table hold every key.")
    ] = "table",
    sql: Annotated[
        str | None,
        typer.Option(metavar="SELECT", help="Ask the table runs in SQL: 'SELECT \"law.dim\", seed FROM runs'."),
    ] = None,
    sql_seconds: Annotated[float, typer.Option(min=0.001, help="Time that a query may take.")] = 60.0,
    sql_memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory that a query may take.")] = "1GB",
) -> None:
    """List runs, by filters on any setting or measure, or by SQL.

    Operators: = != < <= > >=. A list means any of its values. A folder that cannot be read has status=unreadable.
    SQL (dmdlab[tables]) sees the runs that filters choose, and no file.
    """
    from dmdlab.records.catalogue import Filter, row_of, uncollected
    from dmdlab.records.tables import select, write_parquet

    if format not in FORMATS:
        raise InputError(f"--format {format}{did_you_mean(format, FORMATS)}")
    if format == "parquet" and sys.stdout.isatty():
        raise InputError("--format parquet is not for a terminal: send it to a file, as with > runs.parquet")
    with uncollected(for_good=True):
        rows = [row_of(entry) for entry in _chosen(store, filters)]
        if sql is not None:
            rows = select(rows, sql, sql_seconds, bytes_of(sql_memory, "--sql-memory") or 0)
        if format == "json":
            show.print_json(rows)
        elif format == "csv":
            show.csv_table(rows)
        elif format == "parquet":
            write_parquet(rows, sys.stdout.buffer)
        elif sql is not None:
            columns = list(rows[0]) if rows else []
            show.lines_table(columns, [list(row.values()) for row in rows])
        else:
            asked = [Filter.of(word).key for word in filters or ()]
            _table(rows, asked)


def _table(rows: list[dict[str, Any]], asked: Sequence[str]) -> None:
    """What differs among runs, and their main measures."""
    from dmdlab.records.cells import CELL_METRICS, SHORT, differs

    settings = [
        key for key in dict.fromkeys(key for row in rows for key in row) if "." in key or key == "result_version"
    ]
    varying = [key for key in settings if key not in SHOWN and differs(key, rows)]
    columns = list(dict.fromkeys(["id", "status", *SHOWN, *varying, *asked, *CELL_METRICS]))
    show.lines_table([SHORT.get(key, key) for key in columns], [[row.get(key) for key in columns] for row in rows])
    failed = sum(row["status"] == "failed" for row in rows)
    unread = sum(row["status"] == "unreadable" for row in rows)
    more = [f"{failed} failed"] if failed else []
    more += [f"{unread} that cannot be read (`dmdlab runs verify`)"] if unread else []
    show.err().print(", ".join([counted(len(rows), "run"), *more]))


@app.command("show")
def show_run(
    store: StoreFolder,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its id, or the first letters of it, or its folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show all that is kept of one run.

    Settings, measures, what was said of it, and its files.
    """
    from dmdlab.diagnosis import said_of
    from dmdlab.records.catalogue import Unreadable, entry_named, row_of, scan
    from dmdlab.records.checksums import shared_of

    entry = entry_named(scan(store), run)
    if isinstance(entry, Unreadable):
        raise InputError(entry.why)
    files = sorted(path.name for path in entry.folder.iterdir())
    shared = shared_of(entry.folder) or []
    if as_json:
        about = {"folder": str(entry.folder), "files": files, "shared": shared}
        show.print_json({**entry.summary, **about, "config": entry.config, "environment": entry.environment})
        return
    for sentence in [*entry.summary.get("in_words", []), *said_of(entry)]:
        print(f"- {printable(str(sentence))}")
    show.lines_table(["key", "value"], list(row_of(entry).items()))
    print(printable(f"Files in {entry.folder}: {', '.join(files)}"))
    print(printable(f"Shared: {', '.join(shared) or 'not noted by this version'}"))


@app.command()
def verify(
    store: StoreFolder,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Move what is damaged to STORE/damaged, so that the next sweep repeats just that."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Read all files through and name what is not well.

    That is what was cut short, changed or lost, what is foreign, and which runs to
    repeat. Exit status 3 where something is wrong. Nothing is changed without --repair,
    and nothing is ever deleted.
    """
    from dmdlab.records.verify import set_aside
    from dmdlab.records.verify import verify as read_through

    found = read_through(store)
    moved = set_aside(store, found.damaged) if repair else []
    if as_json:
        told = [
            {"path": str(c.path), "state": c.state, "wrong": c.wrong, "notes": c.notes}
            for c in found.runs + found.shared
        ]
        show.print_json(
            {"checked": told, "repeat": [c.path.name for c in found.repeat], "moved": list(map(str, moved))}
        )
    else:
        _say_found(found.runs, found.shared)
        if found.repeat:
            print(f"To be repeated: {counted(len(found.repeat), 'run')}.")
        if moved:
            print(printable(f"Moved to {store / 'damaged'}: {len(moved)}. The sweep's own command repeats just that."))
        elif found.damaged:
            print("`--repair` moves what is damaged aside, and the sweep's own command then repeats just that.")
    if not found.sound:
        raise typer.Exit(FOUND)


def _say_found(runs: "Sequence[Checked]", shared: "Sequence[Checked]") -> None:
    for one in [*runs, *shared]:
        name = f"{one.path.parent.name}/{one.path.name}"
        for line in one.wrong:
            print(printable(f"{one.state}: {name}: {line}"))
        for line in one.notes:
            print(printable(f"{'foreign' if one.state == 'foreign' else 'note'}: {name}: {line}"))
    for many, what in ((runs, "runs"), (shared, "shared files")):
        states = [one.state for one in many]
        counts = [f"{states.count(s)} {s}" for s in ("whole", "unknown", "damaged", "foreign") if states.count(s)]
        print(f"{len(states)} {what}: {', '.join(counts) or 'none'}")
    if any(one.state == "unknown" for one in [*runs, *shared]):
        print("unknown: written by a version without checksums; nothing is seen to be wrong with it")


@app.command()
def export(
    store: StoreFolder,
    to: Annotated[Path, typer.Argument(metavar="TO", help="A new folder, or a new .zip, .tar or .tar.gz.")],
    filters: Filters = None,
) -> None:
    """Copy runs into a new store or an archive of one.

    With what they share.
    """
    from dmdlab.records.moving import export as copy_out

    entries = _chosen(store, filters)
    files = copy_out(store, entries, to)
    print(printable(f"{counted(len(entries), 'run')} in {len(files)} files: {to}"))


@app.command("rm")
def rm(store: StoreFolder, filters: Filters = None, yes: Yes = False) -> None:
    """Remove the runs that filters choose.

    What they share stays until `runs gc`.
    """
    from dmdlab.records.moving import remove

    if not filters:
        raise InputError("runs rm: expected filters that say which runs, as in status=failed or id=1a2b3c4d5e")
    entries = _chosen(store, filters)
    if not entries:
        print("No such run.")
        return
    for entry in entries:
        print(printable(entry.folder.name))
    _ask(f"Remove {counted(len(entries), 'run')}", yes)
    removed = list(remove(entries))
    print(f"Removed {counted(len(removed), 'run')}.")


@app.command()
def gc(store: StoreFolder, yes: Yes = False) -> None:
    """List and remove what no run needs.

    Pairs, calibrations, start networks, checkpoints, half-written files.
    """
    from dmdlab.device.limits import size_text
    from dmdlab.records.moving import clear, unneeded

    found, said = unneeded(store)
    for one in found:
        print(printable(f"{one.path.parent.name}/{one.path.name}  {size_text(one.bytes)}  {one.why}"))
    for sentence in said:
        print(sentence)
    if not found:
        print("Nothing that no run needs.")
        return
    _ask(f"Remove {len(found)} of them, {size_text(sum(one.bytes for one in found))}", yes)
    clear(store, found)
    print(f"Removed {len(found)}.")


def _ask(question: str, yes: bool) -> None:
    """Go on only where that is wanted. Raises `InputError` where nobody can be asked."""
    if yes:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise InputError(f"{question}? Nobody can be asked here; nothing was removed: give --yes")
    if not typer.confirm(f"{question}?"):
        raise typer.Exit(0)
