"""Commands that compute: `run` and `sweep`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdlab.cli import show
from dmdlab.cli.engine import Address, Collect, Engine, GpuShare, Retries, Where, report_failures
from dmdlab.cli.means import Means
from dmdlab.config import Experiment, InputError
from dmdlab.trouble import counted

if TYPE_CHECKING:
    from dmdlab.experiments import Sweep
    from dmdlab.group import Group
    from dmdlab.lab.plan import Plan
    from dmdlab.records.record import Record

app = typer.Typer()

Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE KEY=VALUE", help="An experiment file, and settings on top of it."),
]
PRESETS = "quickstart, paper, smoke; with pictures manifold, mnist, digits."
Preset = Annotated[str | None, typer.Option(help=f"Start from a preset of the package: {PRESETS}")]
Device = Annotated[str, typer.Option(help="auto (CUDA when present), cpu, cuda or cuda:N.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Processes; default one a core; up to three on a GPU, so that one trains while others measure."
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory for all processes together, as in 8GiB; default: what the device can spare.", metavar="SIZE"
    ),
]
Eager = Annotated[
    bool,
    typer.Option("--eager", help="Train operator by operator (no recording, no CUDA graph): to find an error."),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile", help="Compile the training, or not; default: where it is long enough to save time."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run, and run nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


OPTIONS = ("preset", "out", "device", "workers", "memory", "engine", "address", "retries")
"""Options that one may take for settings."""


def split_words(
    words: Sequence[str] | None, preset: str | None = None, command: str = ""
) -> tuple[Path | None, list[str]]:
    """The file, if the first word is one, and the `key=value` words.

    command: the one that does not go by defaults alone. Raises `InputError` when it has neither a file nor a preset,
    and for an option that is given as a setting.
    """
    words = list(words or [])
    for key, equals, value in (word.partition("=") for word in words):
        if equals and key in OPTIONS:
            raise InputError(f"{key}={value}: {key} is no setting but an option; expected --{key} {value or 'VALUE'}")
    path = Path(words.pop(0)) if words and "=" not in words[0] else None
    if command and path is None and preset is None:
        raise InputError(f"dmdlab {command}: expected an experiment file (TOML) or --preset NAME, got neither")
    return path, words


def folder_of(out: Path | None, path: Path | None, preset: str | None) -> Path:
    """`out`, or the folder that is named after what is run, where none was given."""
    return out or Path("runs") / (path.stem if path else str(preset))


def first_of(found: "Sweep") -> "Sweep":
    """The one experiment at the first value of every axis."""
    return replace(found, settings=found.at([values[0] for values in found.axes.values()]), axes={})


@app.command()
def run(
    words: Settings = None,
    preset: Preset = None,
    out: Annotated[Path, typer.Option(help="Folder for the run's folder.")] = Path("runs/single"),
    device: Device = "auto",
    memory: Memory = None,
    eager: Eager = False,
    compile_: Compile = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train and measure one experiment.

    Ends with its reading in words and its figures. The axes of a file's [sweep] take their first value unless key=value
    sets them.
    """
    from dmdlab.experiments import load
    from dmdlab.plots.endings import figures_of_run
    from dmdlab.records.kept_summary import failure_in_words

    path, overrides = split_words(words)
    found = load(path, preset, overrides)
    if found.axes:
        show.err().print(f"One run of the sweep: {', '.join(f'{k}={v[0]}' for k, v in found.axes.items())}")
    means = Means(device, 1, memory, eager, compile_)
    records, _ = _compute(first_of(found), out, means, Where(), dry_run, as_json)
    if not records:
        return
    record = records[0]
    if as_json:
        show.print_json({**record.summary, "folder": str(record.folder), "config": record.config})
    else:
        for sentence in record.summary.get("in_words") or failure_in_words(record.summary):
            print(f"- {sentence}")
        print(f"Record: {record.folder}")
        if record.summary["status"] == "done":
            draw_figures(figures_of_run([record]), [record], record.folder)
    exit_on_failures(records)


@app.command()
def sweep(
    words: Settings = None,
    preset: Preset = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep; default runs/<name of the file>.")] = None,
    device: Device = "auto",
    workers: Workers = None,
    memory: Memory = None,
    eager: Eager = False,
    compile_: Compile = None,
    engine: Engine = "local",
    address: Address = None,
    collect: Collect = False,
    gpu_share: GpuShare = None,
    retries: Retries = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run every experiment of a sweep that its folder lacks.

    Ends with a table and figures. Interrupt it at any time: finished runs are kept, and the same command goes on.
    """
    from dmdlab.experiments import load

    where = Where(engine, address, collect, gpu_share, retries)
    path, overrides = split_words(words, preset, "sweep")
    found = load(path, preset, overrides)
    out = folder_of(out, path, preset)
    means = Means(device, workers, memory, eager, compile_)
    records, failed = _compute(found, out, means, where, dry_run, as_json)
    if as_json and records:
        show.print_json([r.row for r in records])
    elif records:
        _report(found.question, records, out)
    if failed:
        report_failures(failed, out)
    exit_on_failures(records, bool(failed))


def _compute(
    found: "Sweep", out: Path, means: Means, where: Where, dry_run: bool, as_json: bool
) -> "tuple[list[Record], list[tuple[Group, Exception]]]":
    """Run what is missing of `found`; the records of all its experiments that stand in `out`, and the ensembles that
    ended in an error."""
    from dmdlab.experiments import check_apart
    from dmdlab.lab.store import Store
    from dmdlab.records.writing import prepare

    experiments, store = found.experiments(), Store(out)
    check_apart(experiments, out)
    todo = store.missing(experiments)
    if dry_run:
        _explain(experiments, todo, means.plan(todo), out, as_json)
        return [], []

    def begin(place: str) -> None:
        prepare(out)
        show.err().print(f"{_state(experiments, todo, out)} on {place}", soft_wrap=True)

    failed = where.do(todo, store, experiments, means, begin)
    lost = {own for group, _ in failed for own in group.ids}
    return [store.record(e) for e in experiments if e.id not in lost or store.finished(e)], failed


def _state(experiments: Sequence[Experiment], todo: Sequence[Experiment], out: Path) -> str:
    """'4 runs, 1 already in runs/mine, 3 to do'."""
    runs = counted(len(experiments), "run")
    return f"{runs}, {len(experiments) - len(todo)} already in {out}, {len(todo)} to do"


def _explain(
    experiments: Sequence[Experiment], todo: Sequence[Experiment], planned: "Plan", out: Path, as_json: bool
) -> None:
    """What --dry-run says."""
    from dmdlab.experiments import spelled_out
    from dmdlab.records.record import folder_name

    if as_json:
        missing = {e.id for e in todo}
        show.print_json([{"id": e.id, "done": e.id not in missing, **spelled_out(e)} for e in experiments])
        return
    print(f"{_state(experiments, todo, out)}{':' if todo else '.'}")
    for part in planned.parts:
        print(f"  an ensemble of {len(part.group)}:")
        for e in part.group.members:
            print(f"    {folder_name(e)}")
    for sentence in planned.decisions if todo else []:
        print(f"- {sentence}")


def _report(question: str, records: "Sequence[Record]", out: Path) -> None:
    """The table and figures that a sweep ends with."""
    from dmdlab.pairing.words import interval
    from dmdlab.plots.endings import figures_of_sweep
    from dmdlab.records.cells import cells, legend, paired_differences

    found = cells(records)
    show.cell_table(found, question or counted(len(records), "run"))
    print(*legend(found), sep="\n")
    differences = paired_differences(records, "student.init", "teacher", "rotated", "pair_cosine")
    if differences:
        told = [f"{name}: {interval(i.mean, i.low, i.high)}" for name, i in differences]
        print(f"pair_cosine, teacher start less rotated start, paired over seeds: {'; '.join(told)}.")
    draw_figures(figures_of_sweep(records), records, out / "figures")


def draw_figures(names: Sequence[str], records: "Sequence[Record]", folder: Path) -> None:
    """Draw figures into `folder` and say where they lie; a figure that cannot be drawn says why."""
    from dmdlab.plots import save_plot

    for name in names:
        try:
            with show.noted():
                paths = save_plot(name, records, folder / name)
        except InputError as error:
            show.err().print(f"No {name} figure: {error}")
            continue
        print(f"Figure: {'  '.join(str(p) for p in paths)}")


def exit_on_failures(records: "Sequence[Record]", others: bool = False) -> None:
    """Name the runs that failed, and leave with status 3 where there are some, or others that are named already."""
    from dmdlab.records.kept_summary import failure_in_words

    failed = [r for r in records if r.summary["status"] == "failed"]
    if failed:
        for r in failed:
            _, *before = failure_in_words(r.summary)
            show.err().print(" ".join([f"failed at iteration {r.summary['failed_at']}: {r.folder}", *before]))
        show.err().print(f"{len(failed)} of {len(records)} runs failed; the others are kept")
    if failed or others:
        raise typer.Exit(3)
