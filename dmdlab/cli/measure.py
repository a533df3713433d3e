"""Commands about the instrument: `measure` for anyone's samples, `resolve` for the choice of n, `calibrate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmdlab.cli import show
from dmdlab.cli.run import AsJson, Device, Preset, Settings, split_words
from dmdlab.config import Experiment, InputError

if TYPE_CHECKING:
    from dmdlab.lab.calibrate import Calibrated
    from dmdlab.pairing import Calibration, PairingReport, Pairs
    from dmdlab.transport.certified import Engine

app = typer.Typer()

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="pairs.npz (teacher, student, and optionally noise, one_step, reference, data), or two npy files, or two "
        "folders of equally named images: teacher, student.",
    ),
]
SLOW = 3e10
"""Numbers compared (n^2 d) from which on `measure` says that it takes a while, and leaves out what multiplies it."""
LARGE = 2**30
"""Bytes of an npz file from which on the arrays for analyses alone stay unread."""
RESAMPLES = 20
"""Random halves behind the intervals of the measures that rest on an assignment."""


@app.command()
def measure(
    paths: Paths,
    reference: Annotated[
        Path | None, typer.Option(help="Teacher outputs at fresh noise, for fidelity: npy file or folder of images.")
    ] = None,
    one_step: Annotated[Path | None, typer.Option(help="The teacher's one-step outputs, likewise.")] = None,
    noise: Annotated[Path | None, typer.Option(help="The noise itself: npy file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Training data: npy file or folder of images.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="A calibration of this teacher (npz), for remap_angle.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write a page with figures.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure how much a student copies its teacher's pairing.

    It reads the outputs of both: row i of every array comes from the same noise; any trailing shape. Ends with a
    reading in plain words and every measure with its interval, chance level and whether this n and d can resolve it.
    """
    from dmdlab.pairing.files import read_pairs
    from dmdlab.pairing.metrics import measure_pairs
    from dmdlab.pairing.words import analyses

    _writable(report)
    found = _calibration(calibration)
    given = {"reference": reference, "one_step": one_step, "noise": noise, "data": data}
    pairs = read_pairs(paths, {name: path for name, path in given.items() if path is not None}, _names(paths))
    slow = pairs.n**2 * pairs.d > SLOW
    if slow:
        show.err().print(f"Measuring {pairs.n} pairs in {pairs.d} dimensions takes a while.")
        show.err().print("Left out at this size: the intervals that need many solves, and the per-sample analyses.")
    measured = measure_pairs(pairs, calibration=found, engine=_engine(device, pairs.n))
    if not slow and pairs.n >= 4:
        measured = _with_intervals(measured, pairs, found)
    numbers, words = ({}, []) if slow else analyses(pairs)
    if report is not None:
        _write_page(report, paths, pairs, measured, words)
    if as_json:
        files = [str(path) for path in paths]
        told = {"in_words": [*measured.in_words(), *words], "analyses": numbers}
        show.print_json({"files": files, **measured.to_dict(), **told})
        return
    _tell(measured, words)
    if report is not None:
        print(f"Report: {report}")


def _engine(device_name: str, n: int) -> "Engine | None":
    """The GPU for the transport of a large sample, where there is one; otherwise numpy."""
    from dmdlab.transport.solve import DENSE_LIMIT

    if device_name == "cpu" or (n <= DENSE_LIMIT and device_name == "auto"):
        return None  # and torch is not even imported
    from dmdlab.device.environment import choose_device
    from dmdlab.transport.on_gpu import torch_engine

    device = choose_device(device_name)
    return torch_engine(device) if device.type == "cuda" else None


def _names(paths: Sequence[Path]) -> Sequence[str]:
    """The arrays of an npz file to read: of a large one, only those that the measures need."""
    from dmdlab.pairing.files import NAMES

    large = any(path.is_file() and path.stat().st_size > LARGE for path in paths)
    return ("teacher", "student", "reference", "one_step") if large else NAMES


def _with_intervals(measured: "PairingReport", pairs: "Pairs", found: "Calibration | None") -> "PairingReport":
    """The report with intervals for the measures that rest on an assignment."""
    import numpy as np

    from dmdlab.pairing.resampling import with_intervals

    return with_intervals(measured, pairs, rng=np.random.default_rng(0), resamples=RESAMPLES, calibration=found)


def _tell(measured: "PairingReport", words: Sequence[str]) -> None:
    """The reading, the notes and the table."""
    notes = [f"Note: {note}" for note in measured.notes]
    for sentence in [*measured.in_words(), measured.resolution_in_words(), *words, *notes]:
        print(f"- {sentence}")
    rows = [(line.key, line.value, line.interval, line.chance, line.best, line.verdict) for line in measured.lines()]
    show.plain_table(["measure", "value", "95 % interval", "random pairing", "perfect copy", "verdict"], rows)


def _write_page(
    path: Path, sources: Sequence[Path], pairs: "Pairs", measured: "PairingReport", words: Sequence[str]
) -> None:
    """The page of --report, written whole or not at all."""
    from dmdlab.pages.report import page

    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(page(", ".join(map(str, sources)), pairs, measured, words), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"--report {path}: cannot write there ({error.strerror}); choose a folder you own") from None


def _writable(path: Path | None) -> None:
    """Raises InputError, before anything is computed, where a report cannot be written."""
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--report {path}: expected a name that ends in .html")
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--report {path}: expected a file in an existing folder")


def _calibration(path: Path | None) -> "Calibration | None":
    if path is None:
        return None
    from dmdlab.pairing.files import read_calibration

    return read_calibration(path)


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
    from dmdlab.pairing.thresholds import angle_degrees

    if not theory:
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
        lowest, highest = window.from_chance, window.from_copy
        if lowest != lowest or highest != highest:
            rows.append((window.key, "nothing", "nothing", "nothing"))
            continue
        angles = f"{angle_degrees(highest):.0f} to {angle_degrees(lowest):.0f}"
        rows.append((window.key, f"{lowest:.3g}", f"{highest:.3g}", angles))
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
    from dmdlab.experiments import load
    from dmdlab.lab.store import prepare

    path, overrides = split_words(words, preset, "calibrate")
    chosen = choose_device(device)
    experiments = load(path, preset, overrides).experiments()
    out = prepare(out or Path("runs") / (path.stem if path else str(preset)))
    found = _calibrations(experiments, out, chosen)
    if as_json:
        show.print_json([{"settings": c.row, "calibration": c.found.to_dict()} for c in found])
        return
    _table(found)
    for law in dict.fromkeys(c.row["law.name"] for c in found):
        _figure([c for c in found if c.row["law.name"] == law], out / "figures" / f"calibration-{law}")


def _calibrations(experiments: Sequence[Experiment], out: Path, device: Any) -> "list[Calibrated]":
    """Make what `out` lacks, behind a bar; the calibrations of all these experiments."""
    from dmdlab.lab.calibrate import calibrated_once, calibration_path, load_calibrated, stored_calibration

    wanted = calibrated_once(experiments)
    with show.bars() as bars:
        task = bars.add_task("calibrations", total=len(wanted), text="")
        for e in wanted:
            bars.update(task, text=f"{e.law.name}, d = {e.law.dim}")
            stored_calibration(out, e, device)
            bars.advance(task)
    return [load_calibrated(calibration_path(out, e)) for e in wanted]


def _table(found: "Sequence[Calibrated]") -> None:
    """delta_e, pair_cosine and copy_index under planted angles, a row a calibration."""
    angles, keys = (15, 30, 60, 90), ("delta_e", "pair_cosine")
    columns = ["law", "d", "n", *[f"{key} at {angle}°" for key in keys for angle in angles], "delta_e, no memory"]
    rows = []
    for c in found:
        values = [c.found.at(key, angle) for key in keys for angle in angles]
        null = float(c.found.null["delta_e"].mean())
        rows.append((c.row["law.name"], c.row["law.dim"], c.found.n, *values, null))
    show.plain_table(columns, rows)


def _figure(found: "Sequence[Calibrated]", path: Path) -> None:
    """Draw one law's calibration; a figure that cannot be drawn says why."""
    from dmdlab.lab.store import prepare, write_atomically
    from dmdlab.plots.calibration import calibration_figure
    from dmdlab.plots.style import save

    try:
        drawing = calibration_figure(found)
    except InputError as error:
        show.err().print(f"No calibration figure: {error}")
        return
    prepare(path.parent)
    write_atomically(path.with_suffix(".txt"), drawing.caption + "\n")
    print(f"Figure: {'  '.join(str(p) for p in save(drawing.figure, path))}")
