"""Command `worker`: one of many that drain a sweep into a shared folder, without any server."""

import os
from pathlib import Path
from typing import Annotated

import typer

from dmdlab.cli import show
from dmdlab.cli.engine import report_failures
from dmdlab.cli.follow import follow
from dmdlab.cli.means import Means
from dmdlab.cli.run import Compile, Device, Eager, Memory, Preset, Settings, exit_on_failures, folder_of, split_words
from dmdlab.config import InputError
from dmdlab.trouble import counted

app = typer.Typer()

COUNTS = ("SLURM_ARRAY_TASK_COUNT", "SLURM_NTASKS")
"""Where Slurm says how many do the same."""


@app.command()
def worker(
    words: Settings = None,
    preset: Preset = None,
    out: Annotated[
        Path | None, typer.Option(help="The store that all workers share; default runs/<name of the file>.")
    ] = None,
    of: Annotated[
        int | None, typer.Option(min=1, help="Workers in all, as ensembles are sized; default what Slurm says, else 1.")
    ] = None,
    device: Device = "auto",
    memory: Memory = None,
    eager: Eager = False,
    compile_: Compile = None,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="In the end wait for what others are at, and take over what they leave."),
    ] = True,
) -> None:
    """Do one worker's part of a sweep into a shared folder.

    Start as many as you like, on as many machines, with the same words: each takes what nobody is at, and ends when
    every run is published.
    """
    from dmdlab.experiments import check_apart, load
    from dmdlab.lab.drain import Draining
    from dmdlab.lab.store import Store
    from dmdlab.lab.sweep import EnsemblesFailed, Work, to_the_end
    from dmdlab.records.writing import prepare

    path, overrides = split_words(words, preset, "worker")
    experiments = load(path, preset, overrides).experiments()
    out = folder_of(out, path, preset)
    check_apart(experiments, out)
    store, among = Store(out), of or _of_slurm() or 1
    planned = Means(device, 1, memory, eager, compile_).plan(experiments, among)  # all, so that workers plan alike
    prepare(out)
    show.err().print(f"{counted(len(experiments), 'run')} for {counted(among, 'worker')}, on {planned.device}")
    poor = frozenset(e.id for e in store.missing(experiments)) & store.standing_ids()
    work, groups, failed = Work(store, planned.device, planned.way), [part.group for part in planned.parts], []
    try:
        follow(planned, store, experiments, to_the_end(work, groups, Draining(among, poor), wait))
    except EnsemblesFailed as error:
        failed = error.failed
    left = store.missing(experiments)
    print(f"{len(experiments) - len(left)} of {counted(len(experiments), 'run')} are published in {out}.")
    if failed:
        report_failures(failed, out)
    lacking = {e.id for e in left}
    exit_on_failures([store.record(e) for e in experiments if e.id not in lacking], bool(failed))


def _of_slurm() -> int | None:
    """Workers in all, as Slurm says. Raises `InputError` where it says no number."""
    for name in COUNTS:
        if text := os.environ.get(name):
            if not text.isdecimal() or not int(text):
                raise InputError(f"{name}={text}: expected a number of workers; give --of N")
            return int(text)
    return None
