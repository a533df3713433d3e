"""Commands that compute: `run` and `sweep`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmdlab.cli import show
from dmdlab.config import Experiment, InputError, flatten

if TYPE_CHECKING:
    from dmdlab.lab.files import Sweep
    from dmdlab.lab.store import Record

app = typer.Typer()

Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE KEY=VALUE", help="An experiment file, and settings on top of it."),
]
Preset = Annotated[str | None, typer.Option(help="Start from a preset of the package: quickstart, paper, smoke.")]
Device = Annotated[str, typer.Option(help="auto (CUDA when present), cpu, cuda or cuda:N.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run, and run nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def split_words(words: Sequence[str] | None) -> tuple[Path | None, list[str]]:
    """The file, if the first word is one, and the `key=value` words."""
    words = list(words or [])
    path = Path(words.pop(0)) if words and "=" not in words[0] else None
    return path, words


@app.command()
def run(
    words: Settings = None,
    preset: Preset = None,
    out: Annotated[Path, typer.Option(help="Folder for the run's folder.")] = Path("runs/single"),
    device: Device = "auto",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train and measure one experiment; ends with its reading in words and its figure.

    The axes of a file's [sweep] take their first value unless key=value sets them.
    """
    from dmdlab.lab.files import load

    path, overrides = split_words(words)
    found = load(path, preset, overrides)
    if found.axes:
        first = {key: values[0] for key, values in found.axes.items()}
        show.err().print(f"One run of the sweep: {', '.join(f'{k}={v}' for k, v in first.items())}")
        found = type(found)(found.source, found.question, found.settings | first)
    records = _compute(found, out, device, dry_run, as_json)
    if not records:
        return
    record = records[0]
    if as_json:
        show.print_json({**record.summary, "folder": str(record.folder), "config": record.config})
    else:
        for sentence in record.summary.get("in_words", [f"The run failed at iteration {record.summary['failed_at']}."]):
            print(f"- {sentence}")
        print(f"Record: {record.folder}")
        if record.summary["status"] == "done":
            _draw(["panels", "curve"], [record], record.folder)
    _exit_on_failures(records)


@app.command()
def sweep(
    words: Settings = None,
    preset: Preset = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep; default runs/<name of the file>.")] = None,
    device: Device = "auto",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run every experiment of a sweep that the folder does not hold yet; ends with a table and figures.

    Interrupt it at any time: finished runs are kept, and the same command goes on.
    """
    from dmdlab.lab.files import load

    path, overrides = split_words(words)
    if path is None and preset is None:
        raise InputError("dmdlab sweep: expected an experiment file (TOML) or --preset NAME, got neither")
    found = load(path, preset, overrides)
    out = out or Path("runs") / (path.stem if path else str(preset))
    records = _compute(found, out, device, dry_run, as_json)
    if not records:
        return
    if as_json:
        show.print_json([r.row for r in records])
    else:
        from dmdlab.lab.summary import cells

        show.cell_table(cells(records), found.question or f"{len(records)} runs")
        print("Mean ± half the 95 % interval over seeds. ceiling: the delta_e of a student that pairs at random.")
        many = len({r.config["law.dim"] for r in records}) > 1
        _draw(["dimension", "curve"] if many else ["panels", "curve"], records, out / "figures")
    _exit_on_failures(records)


def _compute(found: "Sweep", out: Path, device_name: str, dry_run: bool, as_json: bool) -> "list[Record]":
    """Run what is missing of `found`; the records of all its experiments that stand in `out`."""
    from dmdlab.lab.environment import choose_device, tune_allocator
    from dmdlab.lab.store import folder_name, load_record, prepare
    from dmdlab.lab.sweep import missing

    experiments = found.experiments()
    device = choose_device(device_name)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: this is a file; expected a folder (it is made when missing)")
    todo = missing(experiments, out)
    if dry_run:
        _explain(experiments, todo, out, as_json)
        return []
    prepare(out)
    tune_allocator()
    show.err().print(
        f"{len(experiments)} runs, {len(experiments) - len(todo)} already in {out}, {len(todo)} to do on {device}"
    )
    _follow(experiments, out, device)
    return [load_record(out / "runs" / folder_name(e)) for e in experiments]


def _explain(experiments: Sequence[Experiment], todo: Sequence[Experiment], out: Path, as_json: bool) -> None:
    """What --dry-run says."""
    from dmdlab.lab.plan import ensembles
    from dmdlab.lab.store import folder_name

    if as_json:
        show.print_json([{"id": e.id, "done": e not in todo, **flatten(e)} for e in experiments])
        return
    print(f"{len(experiments)} runs, {len(experiments) - len(todo)} already in {out}, {len(todo)} to do:")
    for group in ensembles(todo):
        print(f"  an ensemble of {len(group)}:")
        for e in group:
            print(f"    {folder_name(e)}")


def _follow(experiments: Sequence[Experiment], out: Path, device: Any) -> None:
    """Drive the sweep behind progress bars; Ctrl-C says what is kept and how to go on."""
    from dmdlab.lab.sweep import Finished, Started, missing
    from dmdlab.lab.sweep import sweep as sweeping

    total = len(missing(experiments, out))
    try:
        with show.bars() as bars:
            runs = bars.add_task("runs", total=total, text="")
            stage = bars.add_task("", total=None, visible=False, text="")
            for event in sweeping(experiments, out, device):
                if isinstance(event, Started):
                    law = event.experiments[0].law
                    bars.console.print(f"{law.name}, d = {law.dim}: {len(event.experiments)} students as one ensemble")
                elif isinstance(event, Finished):
                    bars.advance(runs)
                    if event.status == "failed":
                        bars.console.print(f"failed: {event.folder.name}")
                else:
                    bars.update(
                        stage,
                        description=event.stage,
                        completed=event.done,
                        total=event.total,
                        text=event.text,
                        visible=True,
                    )
            bars.update(stage, visible=False)
    except KeyboardInterrupt:
        kept = len(experiments) - len(missing(experiments, out))
        again = shlex.join(["dmdlab", *sys.argv[1:]])
        show.err().print(f"Interrupted: {kept} of {len(experiments)} runs are finished and kept in {out}.")
        show.err().print(f"Go on with: {again}", soft_wrap=True)
        raise typer.Exit(130) from None


def _draw(names: Sequence[str], records: "Sequence[Record]", folder: Path) -> None:
    """Draw figures into `folder` and say where they lie; a figure that cannot be drawn says why."""
    for name in names:
        try:
            paths = save_plot(name, records, folder / name)
        except InputError as error:
            show.err().print(f"No {name} figure: {error}")
            continue
        print(f"Figure: {'  '.join(str(p) for p in paths)}")


def save_plot(name: str, records: "Sequence[Record]", path: Path, size: str = "paper") -> list[Path]:
    """Draw one figure to `path` with the suffixes .pdf and .png, and its caption to .txt."""
    from dmdlab.lab.store import prepare, write_atomically
    from dmdlab.plots import draw
    from dmdlab.plots.style import save

    drawing = draw(name, records, size=size)
    prepare(path.parent)
    write_atomically(path.with_suffix(".txt"), drawing.caption + "\n")
    return [*save(drawing.figure, path), path.with_suffix(".txt")]


def _exit_on_failures(records: "Sequence[Record]") -> None:
    failed = [r for r in records if r.summary["status"] == "failed"]
    if failed:
        for r in failed:
            show.err().print(f"failed at iteration {r.summary['failed_at']}: {r.folder}")
        show.err().print(f"{len(failed)} of {len(records)} runs failed; the others are kept")
        raise typer.Exit(3)
