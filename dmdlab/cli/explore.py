"""`dmdlab explore`: finished runs as one page for a class."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdlab.cli import show
from dmdlab.config import InputError
from dmdlab.trouble import printable

if TYPE_CHECKING:
    from dmdlab.records.record import Record

app = typer.Typer()


@app.command()
def explore(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUNS...",
            help="Folders of sweeps or of single runs; then which: 'law.dim>=8' student.init=teacher, as for table.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page.")] = Path("explorer.html"),
    rows: Annotated[int, typer.Option(min=8, max=2000, help="Rows of each run, at most.")] = 300,
    title: Annotated[str, typer.Option(help="Of the page.")] = "Does the student copy its teacher?",
) -> None:
    """Make one HTML page of finished runs, for a class, offline.

    For runs in the plane the networks are in it. experiments/explorer.toml makes runs for it.
    """
    from dmdlab import __version__
    from dmdlab.lab.for_pages import maps_for
    from dmdlab.pages.explorer.assemble import page, page_bytes
    from dmdlab.pages.explorer.payload import Contents, payload
    from dmdlab.records.writing import write_text

    _check(out)
    records, notes = _records(runs)
    command = shlex.join(["dmdlab", *sys.argv[1:]])
    contents = Contents(records, maps_for, title, command, __version__, rows, taken=page_bytes(), notes=notes)
    with show.noted():
        found = payload(contents)
    write_text(out, page(found))
    for sentence in found["left_out"]:
        show.err().print(f"Note: {printable(sentence)}", soft_wrap=True)
    print(out)


def _check(out: Path) -> None:
    """Raises `InputError` before anything is read where the page cannot be written."""
    if out.is_dir():
        raise InputError(f"--out {out}: this is a folder; expected a file's name, as in {out / 'explorer.html'}")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}; make it, or name another place")


def _records(words: list[str]) -> "tuple[list[Record], list[str]]":
    """The runs that folders and filters name, and what is odd about the folders."""
    from dmdlab.records.catalogue import chosen, none_chosen
    from dmdlab.records.record import load_records

    places = [Path(word) for word in words if Path(word).exists() or not set(word) & set("=<>")]
    filters = [word for word in words if Path(word) not in places]
    if not places:
        raise InputError("explore: name the folder of a sweep or of a run first, as in runs/quickstart law.dim=2")
    found: dict[str, Record] = {}
    notes = []
    with show.noted():
        for place in places:
            found |= {record.summary["id"]: record for record in load_records(place)}
            if any((place / name).is_dir() and any((place / name).iterdir()) for name in ("leases", "checkpoints")):
                notes.append(
                    f"{place}: a sweep is still at it, or was interrupted: runs that are not finished are not here; "
                    "finish it with the same `dmdlab sweep` command, then make the page again"
                )
    kept = chosen(list(found.values()), filters)
    if not kept:
        raise InputError(none_chosen(list(found.values()), filters))
    return kept, notes
