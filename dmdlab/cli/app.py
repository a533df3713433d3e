"""`dmdlab`: the application and how it ends.

Exit status: 0 done; 1 unexpected error; 2 bad input, or a system that refuses (one sentence on stderr; what is finished
is kept); 3 some runs failed (the others are kept), or `runs verify` found something wrong; 129 hung up, 130
interrupted, 143 terminated (finished runs are kept, trainings go on from where they stopped); 141 nobody reads the
output any more, as after `| head`.
"""

import gc
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

from dmdlab.cli import ending
from dmdlab.cli.bench import app as timing
from dmdlab.cli.diagnose import app as diagnosing
from dmdlab.cli.explore import app as exploring
from dmdlab.cli.machine import app as machine
from dmdlab.cli.measure import app as measuring
from dmdlab.cli.plan import app as planning
from dmdlab.cli.read import app as reading
from dmdlab.cli.reproduce import app as reproducing
from dmdlab.cli.run import app as running
from dmdlab.cli.runs import app as keeping
from dmdlab.cli.worker import app as draining
from dmdlab.config import InputError

app = typer.Typer(
    help="Do few-step diffusion students copy their teacher's noise-data pairing? Train, measure, plot.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.registered_commands += [
    c
    for part in (running, draining, planning, reproducing, reading, measuring, diagnosing, exploring, machine, timing)
    for c in part.registered_commands
]
app.registered_groups += reading.registered_groups
app.add_typer(keeping, name="runs")


def _version(wanted: bool) -> None:
    if wanted:
        from dmdlab import __version__

        typer.echo(f"dmdlab {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the `dmdlab` command."""
    status = ending.status_of(_called)
    gc.freeze()  # nothing is looked through for garbage any more, which takes half a second where torch is there
    sys.exit(status)


def _called() -> None:
    """The application; a transport problem that was not solved ends like bad input, in its own sentence."""
    _check_no_word_is_empty(sys.argv)
    try:
        app(args=[_at_home(word) for word in sys.argv[1:]])
    except RuntimeError as error:
        from dmdlab.transport import TransportError  # numpy: not for `--help`

        if isinstance(error, TransportError):
            raise InputError(str(error)) from error
        raise


def _at_home(word: str) -> str:
    """`--out=~/runs` with the home directory in it, which a shell puts only at the beginning of a word."""
    name, equals, value = word.partition("=")
    return f"{name}={os.path.expanduser(value)}" if equals and name.startswith("--") and value[:2] == "~/" else word


def _check_no_word_is_empty(words: Sequence[str]) -> None:
    """Raise `InputError` for one of nothing, as a script makes of a variable that nobody has set: as a path it would be
    the folder where one stands."""
    for before, word in pairwise(words):
        option = word.startswith("--") and word.find("=") == len(word) - 1
        if not word or option:
            what = f"{word} has no value" if word else f"the word after {before!r} is empty"
            raise InputError(f"{what}, as where a script's variable is not set; give it one, or leave it out")
