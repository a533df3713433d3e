"""`python -m benchmarks`: measured speed, against the plain loop and the machine's limits."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import suite
from benchmarks.measure import Options
from dmdlab.config import InputError
from dmdlab.device.environment import choose_device

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_show_locals=False, add_completion=False)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; all if none.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Of each process; a sweep's workers have one.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: that everything runs, not how fast.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Run the targets in full instead of extrapolating.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Say what there is, run nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; else benchmarks/results.")] = None,
) -> None:
    """Measure speed; keeps the results as JSON, of which `python -m benchmarks.report` makes tables."""
    if listing:
        for name, what in suite.about().items():
            typer.echo(f"{name:<12}{' '.join(what.split())}")
        return
    options = Options(str(choose_device(device)), threads, quick, full)
    if quick and out is None:
        raise InputError("--quick needs --out FOLDER: its numbers are not to take the place of measured ones")
    for path in suite.run(names or [], options, out or suite.RESULTS):
        typer.echo(path)


def main() -> None:
    """Entry point; exit status 2 and one sentence for bad input."""
    try:
        app(prog_name="python -m benchmarks")
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
