"""The figures of docs/healthy-runs.md: curves of healthy and sick runs side by side, and the stability map."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from healthy_kept import KINDS, MAP_KEYS, Kept
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from dmdlab.diagnosis import BOUNDS, evidence, judge
from dmdlab.plots.style import BLUE, GREEN, GREY, PAPER, VERMILLION, Drawing, new_figure

ROWS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("losses", ("dm_loss", "score_loss"), ""),
    ("gradient\nnorms", ("student_gradient_norm", "score_gradient_norm"), ""),
    ("excess risk", ("score_excess",), "score_excess"),
    ("student's\nstep", ("student_step",), "student_step"),
    ("fidelity", ("fidelity",), "fidelity"),
    ("variance,\ncoverage", ("variance_ratio", "coverage"), ""),
    ("angle", ("angle",), ""),
)
"""What is drawn below each other: the name, the columns, and the bound that a diagnosis uses, if any."""

FIRST, SECOND, ALONE = (BLUE, "-"), (VERMILLION, (0, (4, 1.2))), (GREEN, "-")
STYLES = {"dm_loss": FIRST, "student_gradient_norm": FIRST, "variance_ratio": FIRST}
STYLES |= {"score_loss": SECOND, "score_gradient_norm": SECOND, "coverage": SECOND}
LEAST = {"losses": 1e-2, "gradient\nnorms": 3e-2, "student's\nstep": 1e-5}
"""Where these rows end; the teacher's own start, and the end of a falling rate, go on below."""

SMALL = {"score_excess": 1e-2, "coverage": 2e-3}
"""Values below these, 0 and less among them, are drawn at them."""

GANS = {0.0: "no GAN", 3e-3: "GAN weight 0.003", 10.0: "GAN weight 10"}


def curves_figure(runs: Sequence[Kept]) -> Drawing:
    """A column for each kind of run, a row for each quantity, a line for each seed."""
    kinds = [kind for kind in KINDS if any(run.kind == kind for run in runs)]
    with new_figure(PAPER.double, 7.6, PAPER) as figure:
        grid = figure.subplots(len(ROWS), len(kinds), sharex="col", sharey="row", squeeze=False)
        for column, kind in zip(grid.T, kinds, strict=True):
            column[0].set_title(KINDS[kind].replace(" ", "\n", 1), fontsize=PAPER.small)
            for axes, (_, names, bound) in zip(column, ROWS, strict=True):
                own = [run for run in runs if run.kind == kind]
                for run in own:
                    _lines(axes, run, names)
                for value in {BOUNDS[bound].at(evidence(run.curve)) for run in own} if bound else ():
                    axes.axhline(value, color=GREY, lw=0.6, ls=(0, (1, 1)))
        for axes, (name, names, _) in zip(grid[:, 0], ROWS, strict=True):
            axes.set_ylabel(name, fontsize=PAPER.small)
            if names == ("angle",):
                axes.set(ylim=(0, 95), yticks=(0, 45, 90))
            else:
                axes.set_yscale("log")
                axes.set_ylim(bottom=LEAST.get(name))
        for axes in grid[-1]:
            axes.set_xscale("log")
            axes.set_xticks((1, 100), ("1", "100"))
            axes.minorticks_off()
        figure.supxlabel("iteration (updates of the fake score)", fontsize=PAPER.font)
    return Drawing(figure, _curves_caption(runs))


def _lines(axes: Axes, run: Kept, names: Sequence[str]) -> None:
    columns = run.curve.columns
    for name in names:
        if name in columns:
            values = np.maximum(columns[name], SMALL.get(name, 0))
            colour, line = STYLES.get(name, ALONE)
            axes.plot(columns["iteration"], values, color=colour, ls=line, lw=0.7)


def _curves_caption(runs: Sequence[Kept]) -> str:
    seeds = sorted({run.seed for run in runs})
    files = dict.fromkeys(f"experiments/healthy/{run.experiment}.toml" for run in runs)
    return (
        f"Curves of runs of {' and '.join(files)}, a line for each of seeds {seeds[0]} to "
        f"{seeds[-1]}, a column for each kind of run. Losses, gradient norms: blue the student's (matching), "
        "vermillion and dashed the fake score's. Variance, coverage: blue variance_ratio, vermillion and dashed "
        "coverage. Grey and dotted: the bound that `dmdlab diagnose` uses; of fidelity where equal laws fall, by each "
        "run's calibration. "
        f"Excess risks below {SMALL['score_excess']:g} and coverages below "
        f"{SMALL['coverage']:g} are drawn there. Angle: calibrated, degrees; 90 stands for 90 and more, "
        "a gap for a value that the calibration cannot resolve."
    )


def map_figure(rows: Sequence[Mapping[str, float]]) -> Drawing:
    """A panel for each GAN weight: fidelity over learning rate and updates of the fake score, and how many seeds are
    healthy."""
    gans = sorted({row["terms.gan.weight"] for row in rows})
    rates = sorted({row["student.learning_rate"] for row in rows})
    ratios = sorted({row["fake_score.updates"] for row in rows})
    with new_figure(PAPER.double, 2.2, PAPER) as figure:
        panels = figure.subplots(1, len(gans), sharey=True, squeeze=False)[0]
        for axes, gan in zip(panels, gans, strict=True):
            cells = np.array([[_fidelity(cell_of(rows, rate, k, gan)) for rate in rates] for k in ratios])
            image = axes.imshow(cells, origin="lower", aspect="auto", cmap="viridis_r", norm=LogNorm(1, 20))
            for i, k in enumerate(ratios):
                for j, rate in enumerate(rates):
                    own = cell_of(rows, rate, k, gan)
                    dark = cells[i, j] > 4 or math.isnan(cells[i, j])
                    text = f"{healthy(own)}/{len(own)}"
                    axes.text(j, i, text, ha="center", va="center", color="white" if dark else "black")
            axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
            axes.set_yticks(range(len(ratios)), [f"{k:g}" for k in ratios])
            axes.set_title(GANS.get(gan, f"GAN weight {gan:g}"))
            axes.set_xlabel("learning rate")
        panels[0].set_ylabel("fake-score updates")
        figure.colorbar(image, ax=list(panels), label="fidelity")
    return Drawing(figure, _map_caption(rows))


def cell_of(rows: Sequence[Mapping[str, float]], rate: float, k: float, gan: float) -> list[Mapping[str, float]]:
    """The runs of one cell, a seed each."""
    return [row for row in rows if tuple(row[key] for key in MAP_KEYS) == (rate, k, gan)]


def verdicts(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """What a diagnosis says of each."""
    found = []
    for row in rows:
        broke = row["broke"]
        at = {name: x for name, x in row.items() if x == x and name not in (*MAP_KEYS, "seed", "broke", "remap_angle")}
        found.append(judge(at, None if math.isnan(broke) else broke).verdict)
    return found


def healthy(rows: Sequence[Mapping[str, float]]) -> int:
    """How many of these runs a diagnosis calls healthy."""
    return verdicts(rows).count("healthy")


def _fidelity(rows: Sequence[Mapping[str, float]]) -> float:
    """Their geometric mean; NaN for runs that broke."""
    values = [row["fidelity"] for row in rows]
    return float(np.exp(np.mean(np.log(values)))) if values and min(values) > 0 else math.nan


def _map_caption(rows: Sequence[Mapping[str, float]]) -> str:
    seeds = sorted({int(row["seed"]) for row in rows})
    return (
        "Stability map of experiments/healthy/stability.toml (a mixture of four in the plane, small residual MLPs, 300 "
        "updates of the student): colour, fidelity late in training (1 is the teacher's law; geometric mean over seeds "
        f"{seeds[0]} to {seeds[-1]}; above 20 as 20); numbers, how many of the seeds `dmdlab diagnose` calls healthy."
    )
