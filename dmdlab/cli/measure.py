"""Commands about the instrument: `measure` for anyone's samples, `resolve` for the choice of n, `calibrate`."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmdlab.cli import show
from dmdlab.cli.run import AsJson, Device, Preset, Settings, folder_of, split_words
from dmdlab.config import Experiment, InputError
from dmdlab.trouble import Unwritable, explained

if TYPE_CHECKING:
    from dmdlab.pages.measurement import Measurement
    from dmdlab.pairing import Pairs
    from dmdlab.records.record import Calibrated
    from dmdlab.transport import Engine

app = typer.Typer()

ANNOUNCED = 10.0
"""Seconds from which on it is said before how long a measurement takes (ours)."""

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="pairs.npz (teacher, student, and optionally the arrays of the options below), or two npy files, or two "
        "folders of equally named images: teacher, student.",
    ),
]


@app.command()
def measure(
    paths: Paths,
    reference: Annotated[
        Path | None, typer.Option(help="Teacher outputs at fresh noise, for fidelity: npy file or folder of images.")
    ] = None,
    one_step: Annotated[Path | None, typer.Option(help="The teacher's one-step outputs, likewise.")] = None,
    noise: Annotated[Path | None, typer.Option(help="The noise itself: npy file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training data: npy file or folder of images.")] = None,
    other_teacher: Annotated[
        Path | None, typer.Option(help="Another teacher's outputs at the same noise: npy file or folder of images.")
    ] = None,
    teacher_differences: Annotated[
        Path | None, typer.Option(help="How the teacher's outputs change when the noise changes a little: npy file.")
    ] = None,
    student_differences: Annotated[
        Path | None, typer.Option(help="The student's, under the same changes, for local_cosine and local_gain.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="A calibration of this teacher (npz), for remap_angle.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write a page with figures.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the intervals that need the assignment solved many times.")
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure how much a student copies its teacher's pairing.

    It reads the outputs of both: row i of every array comes from the same noise; any trailing shape. Ends with a
    reading in plain words and every measure with its interval, chance level and whether this n and d can resolve it.
    """
    from dmdlab.pages.measurement import calibration_of, measure_all, read
    from dmdlab.pairing.files import read_calibration

    if report is not None:
        _writable(report)
    held = read_calibration(calibration) if calibration else calibration_of(paths)
    more = {"reference": reference, "one_step": one_step, "noise": noise, "data": data, "other_teacher": other_teacher}
    more |= {"teacher_differences": teacher_differences, "student_differences": student_differences}
    pairs = read(paths, {name: path for name, path in more.items() if path is not None})
    watch = partial(show.watched, what="intervals, by halves of the rows") if _announced(pairs, quick) else iter
    names = [str(path) for path in paths]
    source = ", ".join(os.fsencode(name).decode(errors="replace") for name in names)  # a name may be no text
    found = measure_all(source, pairs, calibration=held, engine=_engine(device, pairs.n), quick=quick, watch=watch)
    if report is not None:
        _write_page(report, found)
    if as_json:
        show.print_json({"files": names, **found.to_dict()})
        return
    for sentence in [*found.in_words(), *(f"Note: {note}" for note in found.report.notes)]:
        print(f"- {sentence}")
    rows = [(x.key, x.value, x.interval, x.chance, x.best, x.verdict) for x in found.report.lines()]
    show.plain_table(["measure", "value", "95 % interval", "random pairing", "perfect copy", "verdict"], rows)
    if report is not None:
        print(f"Report: {report}")


def _announced(pairs: "Pairs", quick: bool) -> bool:
    """Say what will be solved, and how long that takes, where that is long; whether it is."""
    from dmdlab.pages.measurement import effort, slow

    found = effort(pairs, quick)
    if not slow(pairs) and found.seconds < ANNOUNCED:
        return False
    takes = f"about {show.duration(found.seconds)}" if found.seconds else "a while"
    solves = f"{found.whole} assignments of all rows" if found.whole > 1 else "one assignment of all rows"
    if found.halves:
        solves += f" and {found.halves} of half of them, for the intervals, which --quick leaves out"
    show.err().print(f"Measuring {pairs.n} pairs in {pairs.d} dimensions takes {takes}: {solves}.", soft_wrap=True)
    if slow(pairs):
        show.err().print("Left out at this size: the intervals that need many solves, and the per-sample analyses.")
    return True


def _engine(device_name: str, n: int) -> "Engine | None":
    """The GPU for the transport of a large sample, where there is one; otherwise numpy."""
    from dmdlab.transport import DENSE_LIMIT

    if device_name == "cpu" or (n <= DENSE_LIMIT and device_name == "auto"):
        return None  # and torch is not even imported
    from dmdlab.device.environment import choose_device
    from dmdlab.transport.on_gpu import torch_engine

    device = choose_device(device_name)
    return torch_engine(device) if device.type == "cuda" else None


def _write_page(path: Path, found: "Measurement") -> None:
    """The page of --report, written whole or not at all."""
    from dmdlab.pages.report import page
    from dmdlab.records.writing import write_text

    try:
        write_text(path, page(found))
    except Unwritable as error:
        raise InputError(f"--report {error}") from None


def _writable(path: Path) -> None:
    """Raises InputError, before anything is computed, where a report cannot be written."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--report {path}: expected a name that ends in .html")
    try:
        misplaced = path.is_dir() or not path.parent.is_dir()
    except OSError as error:
        raise InputError(f"--report {path}: {explained(error)}") from None
    if misplaced:
        raise InputError(f"--report {path}: expected a file in an existing folder")


@app.command()
def resolve(
    n: Annotated[int, typer.Option("--n", help="Number of pairs.")],
    dim: Annotated[int, typer.Option("--dim", help="Dimension, or the number of directions of about equal variance.")],
    draws: Annotated[int, typer.Option(help="Simulated samples at each correlation.")] = 6,
    theory: Annotated[bool, typer.Option("--theory", help="Thresholds only, no simulation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what each measure can tell from so many samples.

    Gives the correlations and angles that each tells from chance and from a copy, before any GPU hour is spent.
    """
    import numpy as np

    from dmdlab.pairing.resolution import CORRELATIONS, resolvable

    if not theory and n >= 2 and dim >= 1 and draws >= 2:  # else it is refused
        show.err().print(f"Simulating {draws * (len(CORRELATIONS) + 1)} samples of {n} pairs; --theory leaves it out.")
    found = resolvable(n, dim, rng=None if theory else np.random.default_rng(0), draws=draws)
    if as_json:
        show.print_json(found.to_dict())
        return
    print(found.in_words()[0])
    if theory:
        return
    rows = []
    for window in found.windows.values():
        low, high = window.angles_degrees
        told = (f"{window.from_chance:.3g}", f"{window.from_copy:.3g}", f"{low:.0f} to {high:.0f}")
        rows.append((window.key, *(told if low <= high else ["nothing"] * 3)))  # NaN is no less
    show.plain_table(["measure", "told from chance from", "told from a copy up to", "angles (degrees)"], rows)
    print("Correlations of Gaussian pairs, in 19 of 20 runs; an angle is that of a linear teacher.")


@app.command()
def calibrate(
    words: Settings = None,
    preset: Preset = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder; default that of the sweep, runs/<name of the file>.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find what each measure reads when the remapping is known.

    It covers the laws and dimensions of an experiment and trains no student. Kept in OUT/calibration, where a sweep
    finds it; ends with a table and the calibration figure of each law.
    """
    from dmdlab.device.environment import choose_device
    from dmdlab.experiments import check_apart, load
    from dmdlab.records.writing import prepare

    path, overrides = split_words(words, preset, "calibrate")
    chosen = choose_device(device)
    experiments = load(path, preset, overrides).experiments()
    out = folder_of(out, path, preset)
    check_apart(experiments, out)
    prepare(out)
    found = _calibrations(experiments, out, chosen)
    if as_json:
        show.print_json([{"settings": c.row, "calibration": c.found.to_dict()} for c in found])
        return
    _table(found)
    for law in dict.fromkeys(c.row["law.name"] for c in found):
        _figure([c for c in found if c.row["law.name"] == law], out / "figures" / f"calibration-{law}")


def _calibrations(experiments: Sequence[Experiment], out: Path, device: Any) -> "list[Calibrated]":
    """The calibrations of all these experiments; what `out` lacks is made, behind a bar."""
    from dmdlab.lab.calibrate import calibrated_once, stored_calibrated
    from dmdlab.lab.store import Store

    wanted, store, found = calibrated_once(experiments), Store(out), []
    try:
        with show.bars() as bars:
            task = bars.add_task("calibrations", total=len(wanted), text="")
            for e in wanted:
                bars.update(task, text=f"{e.law.name}, d = {e.law.dim}")
                found.append(stored_calibrated(store, e, device))
                bars.advance(task)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(_kept(len(found), len(wanted), out))
        raise
    except Unwritable as error:
        raise InputError(f"{error}. {_kept(len(found), len(wanted), out)}") from error
    return found


def _kept(made: int, wanted: int, out: Path) -> str:
    return f"{made} of {wanted} calibrations are kept in {out}; the same command goes on."


def _table(found: "Sequence[Calibrated]") -> None:
    """delta_e and pair_cosine under planted angles, a row a calibration."""
    at = [(key, angle) for key in ("delta_e", "pair_cosine") for angle in (15, 30, 60, 90)]
    columns = ["law", "d", "n", *(f"{key} at {angle}°" for key, angle in at), "delta_e, no memory"]
    rows = []
    for c in found:
        planted, null = [c.found.at(key, angle) for key, angle in at], float(c.found.null["delta_e"].mean())
        rows.append((c.row["law.name"], c.row["law.dim"], c.found.n, *planted, null))
    show.plain_table(columns, rows)


def _figure(found: "Sequence[Calibrated]", path: Path) -> None:
    """Draw one law's calibration; a figure that cannot be drawn says why."""
    from dmdlab.plots import save
    from dmdlab.plots.calibration import calibration_figure

    try:
        paths = save(calibration_figure(found), path)
    except InputError as error:
        show.err().print(f"No calibration figure: {error}")
        return
    print(f"Figure: {'  '.join(map(str, paths))}")
