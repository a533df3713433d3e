"""`dmdlab bench`: measured speed, against the plain loop and the machine's limits. The benchmarks are in a checkout."""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dmdlab.config import InputError

app = typer.Typer()


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
    """Measure speed, in a checkout only.

    Keeps the results as JSON; `python -m benchmarks.report` makes tables of them.
    """
    suite = _suite()
    if listing:
        for name, what in suite.about().items():
            typer.echo(f"{name:<12}{' '.join(what.split())}")
        return
    from benchmarks.measure import Options
    from dmdlab.device.environment import choose_device

    where = str(choose_device(device))
    options = Options(where, threads, quick, full)
    if quick and out is None:
        raise InputError("--quick needs --out FOLDER: its numbers are not to take the place of measured ones")
    for path in suite.run(names or [], options, out or suite.RESULTS):
        typer.echo(path)


def _suite() -> Any:
    """The checkout's `benchmarks.suite`, which a wheel does not hold."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "suite.py").is_file():
        raise InputError(
            "the benchmarks are not part of the installed package: clone the repository, install it with "
            "pip install --editable . and run dmdlab bench there"
        )
    if str(root) not in sys.path:
        sys.path.append(str(root))
    return importlib.import_module("benchmarks.suite")
