"""Command `reproduce`: the paper's figures, its table and its claims, made again."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmdlab.cli import show
from dmdlab.cli.engine import report_failures
from dmdlab.cli.follow import follow
from dmdlab.cli.means import Means
from dmdlab.cli.run import Device, DryRun, Memory, Workers, exit_on_failures
from dmdlab.config import Experiment, InputError, did_you_mean
from dmdlab.trouble import counted

if TYPE_CHECKING:
    from dmdlab.experiments import Sweep
    from dmdlab.group import Group
    from dmdlab.lab.store import Store
    from dmdlab.paper.catalogue import Scale as PaperScale
    from dmdlab.records.record import Record

app = typer.Typer()

What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="fig1...fig12|table|all KEY=VALUE", help="What to make, default all; settings on top of the scale's."
    ),
]
Scale = Annotated[
    str, typer.Option(help="quick: for two CPU cores, --dry-run says how long; paper: the paper's settings, for a GPU.")
]
Data = Annotated[
    Path | None, typer.Option(help="Pictures, an IDX file as MNIST's; default scikit-learn's digits, else a manifold.")
]
Labels = Annotated[Path | None, typer.Option(help="Their classes, an IDX file; default as without --data.")]
Yes = Annotated[bool, typer.Option("--yes", help="Begin without a question, however long it takes.")]


UNLIMITED = "1024TiB"
"""Memory of a machine on which anything would fit."""


@dataclass(frozen=True)
class PictureSettings:
    """What stands for MNIST: settings on top of an experiment's, without and with classes, and what a caption says."""

    plain: tuple[str, ...]
    classes: tuple[str, ...]
    said: str


@app.command()
def reproduce(
    what: What = None,
    scale: Scale = "quick",
    data: Data = None,
    labels: Labels = None,
    out: Annotated[Path | None, typer.Option(help="Folder of runs, default runs/reproduce-SCALE.")] = None,
    device: Device = "auto",
    workers: Workers = None,
    memory: Memory = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Make the paper's figures, its table and its claims again.

    Trains what the folder lacks, says beforehand what that costs, and draws. Interrupt it at any time: the same command
    goes on. all, and table, end with the page of all numbers and claims, OUT/reproduction.md.
    """
    from dmdlab.lab.store import Store
    from dmdlab.paper.catalogue import SCALES, TABLE, experiments_of, targets

    chosen = next((own for own in SCALES if own == scale), None)
    if chosen is None:
        raise InputError(f"--scale {scale}{did_you_mean(scale, SCALES)}; expected one of: {', '.join(SCALES)}")
    words = [word for word in what or [] if "=" in word]
    names = targets([word for word in what or [] if "=" not in word])
    pictures = pictures_of(data, labels, scale)
    out = out or Path("runs") / f"reproduce-{scale}"
    sweeps = {name: sweep_of(name, chosen, pictures, words) for name in experiments_of(names)}
    held = {name: sweep.experiments() for name, sweep in sweeps.items()}
    experiments = list({e.id: e for own in held.values() for e in own}.values())
    store = Store(out)
    failed = _train(experiments, store, Means(device, workers, memory, False, None), scale, dry_run, yes)
    if dry_run:
        return
    _keep_further(experiments, store, device)
    lost = {own for group, _ in failed for own in group.ids}
    records = {e.id: store.record(e) for e in experiments if e.id not in lost or store.finished(e)}
    found = {name: [records[e.id] for e in own if e.id in records] for name, own in held.items()}
    command = shlex.join(["dmdlab", "reproduce", *_said(what or ["all"], scale, data, labels)])
    for name in names:
        if name != TABLE:
            own = [record for key in experiments_of([name]) for record in found[key]]
            _draw(name, own, out / "figures", f"Made by `{command}`; {pictures.said}.")
    if TABLE in names:
        _write_page(found, out, command)
    if failed:
        report_failures(failed, out)
    exit_on_failures(list(records.values()), bool(failed))


def pictures_of(data: Path | None, labels: Path | None, scale: str) -> PictureSettings:
    """What stands for MNIST. Raises `InputError` for a file that is not there, and labels of nothing."""
    for option, path in (("--data", data), ("--labels", labels)):
        if path is not None and not path.is_file():
            raise InputError(f"{option} {path}: no such file; expected an IDX file, as train-images-idx3-ubyte.gz")
    if data is None and labels is not None:
        raise InputError(f"--labels {labels}: classes of nothing; give --data, the pictures that they belong to, too")
    if find_spec("sklearn") is not None:
        own = ("law.name=digits", *(("measure.samples=500",) if scale == "paper" else ()))  # it has 513 to measure with
        without = PictureSettings(own, own, "pictures: scikit-learn's digits")
    else:
        made = ("law.name=manifold", "law.stripes=true")
        without = PictureSettings(made[:1], made, "pictures: a manifold of 16 degrees of freedom")
    if data is None:
        return without
    plain = ("law.name=images", _word("law.path", data))
    if labels is None:
        rest = without.said.removeprefix("pictures: ")
        return PictureSettings(plain, without.classes, f"pictures: {data.name}, with classes {rest}")
    return PictureSettings(plain, (*plain, _word("law.labels", labels)), f"pictures: {data.name}")


def _word(key: str, path: Path) -> str:
    """A setting whose value is a path, whatever characters it has."""
    import json

    return f"{key}={json.dumps(str(path))}"


def sweep_of(name: str, scale: "PaperScale", pictures: PictureSettings, words: Sequence[str]) -> "Sweep":
    """One of our experiments with these pictures, and words on top: ages of a teacher keep their share of
    `teacher.iterations`. Raises `InputError` for several values of what the experiment has one of."""
    from dmdlab.experiments import load
    from dmdlab.paper.catalogue import experiment_file

    path = experiment_file(name, scale)
    found = load(path)
    if found.settings.get("law.name") == "images":
        own = pictures.classes if found.settings.get("teacher.condition") else pictures.plain
        found = load(path, None, own)
        words = [*own, *words]
    changed = load(path, None, words)
    for key, values in changed.axes.items():
        if key not in found.axes and len(values) > 1:
            raise InputError(
                f"{key}={values!r}: several values, and reproduce shows one of '{name}', which varies "
                f"{', '.join(found.axes)} alone: its figures and claims average over seeds; give one value"
            )
    ages, whole = changed.axes.get("teacher.snapshot"), changed.settings.get("teacher.iterations")
    if ages and whole != (before := found.settings.get("teacher.iterations")):
        shared = [max(1, round(age * whole / before)) for age in ages]
        changed = replace(changed, axes={**changed.axes, "teacher.snapshot": shared})
    return changed


def _train(
    experiments: Sequence[Experiment], store: "Store", means: Means, scale: str, dry_run: bool, yes: bool
) -> "list[tuple[Group, Exception]]":
    """Say what the missing runs cost, and train them, unless nobody agrees; returns the ensembles that ended in an
    error, but raises that of an only one."""
    from dmdlab.device.environment import hardware
    from dmdlab.device.limits import size_text
    from dmdlab.lab.costs import measuring_flows
    from dmdlab.lab.plan import TooLarge
    from dmdlab.lab.schedule import makespan
    from dmdlab.lab.sweep import EnsemblesFailed
    from dmdlab.records.writing import prepare

    todo = store.missing(experiments)
    runs = counted(len(experiments), "run")
    show.err().print(f"{runs}, {len(experiments) - len(todo)} already in {store.out}, {len(todo)} to do")
    if not todo:
        return []
    patience = "a minute or two" if scale == "paper" else "a second or two for each shape of runs"
    show.err().print(f"Working out what that costs; {patience}.")
    lacking: InputError | None = None
    try:
        planned = means.plan(todo)
    except TooLarge as error:  # which says what it would take all the same
        planned, lacking = replace(means, workers=1, memory=UNLIMITED).plan(todo), error
    times = planned.seconds(measuring_flows(planned, store))
    took = makespan(times, planned.lanes)
    said = f"about {show.duration(took)} on {hardware(planned.device)} with {counted(planned.processes, 'worker')}"
    said += "" if lacking else f", and up to {size_text(planned.bytes)} of memory"
    for part, seconds in zip(planned.parts, times, strict=True):
        e = part.group.shared
        print(f"  {e.law.name} d={e.law.dim}: {counted(len(part.group), 'run')}, about {show.duration(seconds)}")
    print(f"In all {said}, measuring included.")
    if how := planned.how_timed():
        print(how)
    if lacking:
        raise lacking
    if dry_run:
        return []
    if scale == "paper" and planned.device.type == "cpu" and not yes:
        _ask(said)
    prepare(store.out)
    try:
        follow(planned, store, experiments)
    except EnsemblesFailed as error:
        return error.failed
    return []


def _keep_further(experiments: Sequence[Experiment], store: "Store", device: str) -> None:
    """Arrays that figures and claims need beside those of the runs."""
    from dmdlab.device.environment import choose_device
    from dmdlab.lab.further import keep_further

    for done, total in keep_further(store, experiments, choose_device(device)):
        if done < total and not done % 10:
            show.err().print(f"flows of 32 steps, distances to training data: {done} of {total} teachers")


def _ask(said: str) -> None:
    """Whether to begin with what takes so long. Raises `InputError` where nobody can be asked, and at a no."""
    question = f"--scale paper on a CPU: {said}"
    if not sys.stdin.isatty():
        raise InputError(f"{question}; give --yes to begin all the same, take a GPU (--device cuda), or --scale quick")
    if not typer.confirm(f"{question}. Begin?"):
        raise InputError("not begun; --scale quick makes the same figures small")


def _said(what: Sequence[str], scale: str, data: Path | None, labels: Path | None) -> list[str]:
    """The words of the command that make the same anywhere: of files the names alone."""
    files = [("--data", data), ("--labels", labels)]
    return [*what, "--scale", scale, *(w for option, path in files if path for w in (option, path.name))]


def _draw(name: str, records: "Sequence[Record]", folder: Path, note: str) -> None:
    """One figure with its note, as files; one that cannot be drawn says why."""
    from dmdlab.paper.catalogue import drawing
    from dmdlab.plots.style import save

    try:
        with show.noted():
            drawn = drawing(name, records)
            paths = save(replace(drawn, caption=f"{drawn.caption} {note}"), folder / name)
    except InputError as error:
        show.err().print(f"No {name}: {error}")
        return
    print(f"{name}: {'  '.join(map(str, paths))}")


def _write_page(found: "Mapping[str, Sequence[Record]]", out: Path, command: str) -> None:
    """Keep a summary of every run, make the page of them, and print the paper's numbers beside ours."""
    from dmdlab.paper.kept import keep, read_kept
    from dmdlab.paper.page import numbers_table, page
    from dmdlab.records.writing import write_text

    folder = out / "kept"
    keep(found, folder, command)
    kept = read_kept(folder)
    write_text(out / "reproduction.md", page(kept))
    print(numbers_table(kept))
    print(f"Numbers and claims: {out / 'reproduction.md'}; a summary of every run: {folder}")
