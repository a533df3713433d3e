"""The seeds of MNIST beside each other: experiments/mnist.toml, the same once more at a later commit, and new seeds.

`python figures/pictures.py` writes what this file makes: the table of seeds in docs/pictures.md, and mnist-seeds.pdf,
.png and .txt (the caption), from mnist.csv, mnist-again.csv, mnist-new-seeds.csv and mnist-more-seeds.csv.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from dmdlab.pairing import mean_interval
from dmdlab.pairing.statistics import paired_difference
from dmdlab.pairing.words import interval, number, table
from dmdlab.plots.style import GREY, INIT_STYLES, PAPER, Drawing, new_figure
from dmdlab.records.cells import short

HERE = Path(__file__).resolve().parent

AGAIN, NEW_SEEDS, MORE_SEEDS = "mnist-again", "mnist-new-seeds", "mnist-more-seeds"
"""The MNIST sweep's teacher starts once more, at a commit that sums in another order; the sweep with other seeds, and
its teacher starts with still other ones."""


def kept(name: str) -> list[dict[str, str]]:
    """The rows of <name>.csv."""
    with (HERE / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def seeds_table() -> list[str]:
    """The calibrated angle on MNIST by learning rate: of the sweep's seeds, of the same at a later commit, of new ones,
    twice, of all but the first, and of those whose teachers pass their check; differences between two rates, paired
    over seeds; what the students' laws and the angles of rotated starts read."""
    groups = [kept(name) for name in ("mnist", AGAIN, NEW_SEEDS, MORE_SEEDS)]
    groups.append([row for group in groups[1:] for row in group])
    groups.append([row for row in groups[-1] if row["teacher_ok"] == "True"])
    rates = sorted({float(row["student.learning_rate"]) for row in groups[0]})

    def of(rate: float, key: str = "remap_angle") -> list[list[float]]:
        """By group, a value a seed, NaN for one that lacks it, so that differences are of the same seeds."""
        held = [read(group, "teacher", key) for group in groups]
        seeds = [sorted({seed for _, seed in own}) for own in held]
        return [[own.get((rate, s), np.nan) for s in these] for own, these in zip(held, seeds, strict=True)]

    rows = []
    for rate in rates:
        found = [mean_interval(values) for values in of(rate)]
        rows.append([number(rate), *(interval(f.mean, f.low, f.high) for f in found)])
    for a, b in ((rates[1], rates[0]), (rates[2], rates[1]), (rates[2], rates[0])):
        found = [paired_difference(x, y) for x, y in zip(of(a), of(b), strict=True)]
        rows.append([f"{number(a)} less {number(b)}", *(f"{f.mean:.1f} ({f.low:.1f} to {f.high:.1f})" for f in found)])
    for key in ("fidelity", "variance_ratio", "debiased_cost"):
        by_rate = zip(*(of(rate, key) for rate in rates), strict=True)
        rows.append([f"{key}, by rate", *(" / ".join(f"{np.nanmean(x):.2g}" for x in own) for own in by_rate)])
    rotated = [list(read(group, "rotated", "remap_angle").values()) for group in groups]
    rows.append(["rotated starts", *map(least_and_most, rotated)])
    names = [f"{seeds_of(group)}; {' and '.join(commits(group))}" for group in groups[:4]]
    names += ["all but the first column", "of these, teachers that pass their check"]
    return table(["student.learning_rate", *names], rows)


SHOWN = {"remap_angle": "calibrated angle (degrees)", "debiased_cost": "debiased_cost"}
"""What the figure shows, a panel each."""


def seeds_figure() -> Drawing:
    """Angle and law of the twelve seeds of one order of sums against the rate: a line a seed, means, rotated starts."""
    rows = [row for name in (AGAIN, NEW_SEEDS, MORE_SEEDS) for row in kept(name)]
    with new_figure(PAPER.double, 2.5, PAPER) as figure:
        panels = figure.subplots(1, 2)
        for axes, letter, key in zip(panels, "ab", SHOWN, strict=True):
            _draw(axes, rows, key)
            axes.set_title(f"({letter}) {'pairing lost' if key == 'remap_angle' else 'law missed'}", loc="left")
        panels[0].set(ylim=(0, 92), yticks=(0, 30, 60, 90))
        panels[0].legend(loc="lower right", fontsize=PAPER.small)
    return Drawing(figure, _caption(rows))


def _draw(axes: Axes, rows: Sequence[Mapping[str, str]], key: str) -> None:
    """One panel."""
    rates = sorted({float(row["student.learning_rate"]) for row in rows})
    flagged = {row["seed"] for row in rows if row["teacher_ok"] != "True"}
    of_seeds = read(rows, "teacher", key)
    for seed in sorted({seed for _, seed in of_seeds}, key=int):
        line = ":" if seed in flagged else "-"
        axes.plot(rates, [of_seeds.get((r, seed), np.nan) for r in rates], color=GREY, lw=0.6, ls=line, zorder=1)
    for start, aside in (("teacher", 1.0), ("rotated", 1.08))[: 2 if key == "remap_angle" else 1]:
        style, found = INIT_STYLES[start], read(rows, start, key)
        for rate in rates:
            own = mean_interval([value for (r, _), value in found.items() if r == rate])
            ends = np.clip([own.low, own.high], 0.0, 90.0)
            axes.plot([aside * rate] * 2, ends, color=style.colour, zorder=3)
            axes.plot(aside * rate, own.mean, style.marker, color=style.colour, zorder=4)
        axes.plot([], [], style.marker, color=style.colour, label=style.label)
    axes.set_xscale("log")
    axes.set_xticks(rates, [short(rate) for rate in rates])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="student.learning_rate", ylabel=SHOWN[key], ylim=(0, None))


def _caption(rows: Sequence[Mapping[str, str]]) -> str:
    starts = {start: [row for row in rows if row["student.init"] == start] for start in ("teacher", "rotated")}
    seeds, controls = ({row["seed"] for row in own} for own in starts.values())
    flagged = {row["seed"] for row in rows if row["teacher_ok"] != "True"}
    of_rates = {key: {r["student.learning_rate"] for r in starts["rotated"] if r["seed"] == key} for key in controls}
    whole = sum(len(found) > 1 for found in of_rates.values())
    first = rows[0]
    return (
        f"MNIST at side {first['law.side']} (d = {first['law.dim']}), U-Nets, {len(seeds)} seeds: (a) the calibrated "
        "angle, (b) debiased_cost, how far the students' law is from the teacher's (0: equal), against the student's "
        "learning rate. Grey: a seed each; dotted: its teacher failed its own check. Marks: means over seeds with 95 % "
        "t-intervals, within 0 to 90 degrees; at 90 an angle is only a bound. Beside the marks of (a), rotated "
        f"controls of {len(controls)} seeds, {whole} of them at every rate; n = {first['measure.samples']}, "
        f"K = {first['teacher.steps']}; commits {', '.join(commits(rows))}; {first['hardware']}. "
        f"{len(flagged)} of {len(seeds)} teachers failed their check."
    )


def read(rows: Sequence[Mapping[str, str]], start: str, key: str) -> dict[tuple[float, str], float]:
    """A measure by learning rate and seed, of students of this start; NaN where it is unresolved."""
    own = [row for row in rows if row["student.init"] == start]
    return {(float(r["student.learning_rate"]), r["seed"]): float(r[key] or "nan") for r in own}


def seeds_of(rows: Sequence[Mapping[str, str]]) -> str:
    """'seeds 0 to 2'."""
    found = sorted({int(row["seed"]) for row in rows})
    return f"seeds {found[0]} to {found[-1]}"


def commits(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Those that runs were trained at, in seven digits."""
    return sorted({row["commit"][:7] for row in rows})


def least_and_most(values: Sequence[float]) -> str:
    """Both in words, and how many are unresolved."""
    resolved = [value for value in values if not np.isnan(value)]
    lacking = len(values) - len(resolved)
    if not resolved:
        return "not trained"
    return f"{min(resolved):.1f} to {max(resolved):.1f}" + (f", {lacking} unresolved" if lacking else "")
