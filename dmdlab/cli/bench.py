"""`dmdlab bench` of version 0.1 says what took its place."""

from typing import Annotated

import typer

from dmdlab.config import InputError

app = typer.Typer()


@app.command(hidden=True, context_settings={"ignore_unknown_options": True})
def bench(words: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None) -> None:
    """Say what took the place of this command."""
    raise InputError(
        "the benchmarks are no longer a command of dmdlab: in a checkout of the repository, "
        "python -m benchmarks runs them, and python -m benchmarks --list says which there are"
    )
