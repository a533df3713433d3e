"""`dmdlab diagnose`: what a training curve resembles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdlab.cli import show
from dmdlab.cli.run import AsJson
from dmdlab.config import InputError
from dmdlab.trouble import printable

if TYPE_CHECKING:
    from dmdlab.diagnosis import Curve

app = typer.Typer()

Source = Annotated[Path, typer.Argument(metavar="RUN|CSV", help="A run's folder, or a csv file with a header.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns", metavar="KNOWN=NAME", help="What a known column is called in the file, as dm_loss=loss_dm; repeat."
    ),
]


@app.command()
def diagnose(source: Source, columns: Columns = None, as_json: AsJson = False) -> None:
    """Say what a training curve resembles, and why.

    A healthy run, one of several sick ones, or nothing that can be told. Any csv will do that has a column `iteration`
    and some of those in docs/healthy-runs.md.
    """
    from dmdlab.diagnosis import diagnose as found_in

    curve = _curve(source, _mapping(columns or ()))
    found = found_in(curve)
    if as_json:
        told = {"reasons": found.reasons, "lacking": found.lacking, "numbers": dict(found.numbers)}
        show.print_json({"source": str(source), "verdict": found.verdict, **told})
        return
    for sentence in found.in_words():
        print(f"- {printable(sentence)}")


def _curve(source: Path, mapping: dict[str, str]) -> "Curve":
    from dmdlab.diagnosis import curve_of

    if (source / "runs").is_dir():
        raise InputError(
            f"{source}: a folder of runs; name one of those in {source / 'runs'} (`dmdlab runs ls {source}`)"
        )
    return curve_of(source, mapping)


def _mapping(words: "list[str] | tuple[()]") -> dict[str, str]:
    """KNOWN=NAME words, each perhaps several with commas between. Raises `InputError` for a word that is none."""
    found: dict[str, str] = {}
    for word in (part for words_ in words for part in words_.split(",")):
        known, equals, name = (part.strip() for part in word.partition("="))
        if not (known and equals and name):
            raise InputError(f"--columns {word!r}: expected KNOWN=NAME, as dm_loss=loss_dm")
        found[known] = name
    return found
