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

from dmdlab.pairing import Interval, mean_interval
from dmdlab.pairing.statistics import paired_difference, pearson
from dmdlab.pairing.words import interval, table
from dmdlab.plots.style import GREY, INIT_STYLES, PAPER, Drawing, LineStyle, new_figure

HERE = Path(__file__).resolve().parent

AGAIN, NEW_SEEDS, MORE_SEEDS = "mnist-again", "mnist-new-seeds", "mnist-more-seeds"
"""The MNIST sweep's teacher starts once more, at a commit that sums in another order; the sweep with other seeds, and
its teacher starts with still other ones."""


def kept(name: str) -> list[dict[str, str]]:
    """The rows of <name>.csv."""
    with (HERE / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


LAW = ("fidelity", "variance_ratio", "debiased_cost")
"""What tells a student's law from its teacher's."""

OWN = {"teacher": "remap_angle", "rotated": "own_angle"}
"""The angle that a student of this start has lost of the pairing that it started with."""

PAIRS = ((1, 0), (2, 1), (2, 0))
"""The rates that are compared, by their order."""


def seeds_table() -> list[str]:
    """MNIST by learning rate, teacher starts: of the sweep's seeds, of the same at a later commit, of new ones, twice,
    and of several of these together. Angles and laws, means and differences paired over seeds, with 95 % intervals;
    '≥' where a bound is among the angles; and what rotated starts read against the teacher, and lose of their own."""
    first, again, new, more = (kept(name) for name in ("mnist", AGAIN, NEW_SEEDS, MORE_SEEDS))
    all_of = [*again, *new, *more]
    groups = {f"{seeds_of(group)}; {' and '.join(commits(group))}": group for group in (first, again, new, more)}
    groups |= {"seeds 100 to 108": [*new, *more], "seeds 0 to 2 (again) and 100 to 108": all_of}
    groups["of these, teachers that pass their check"] = [row for row in all_of if row["teacher_ok"] == "True"]
    rates, rows = rates_of(first), []
    read_of = [*(("teacher", key) for key in ("remap_angle", *LAW)), ("rotated", "own_angle"), ("rotated", LAW[-1])]
    for start, key in read_of:
        held = [by_rate(group, key, start) for group in groups.values()]
        name, angle = key if start == "teacher" else f"{key}, {start} starts", key.endswith("angle")
        for place, rate in enumerate(rates):
            rows.append([name, in_words(rate), *(_mean(own[place]) for own in held)])
        for a, b in PAIRS if angle else [pair for pair in PAIRS if pair[1] == 0]:
            rows.append([name, less(rates, a, b), *(_difference(own[a], own[b], 1 if angle else 3) for own in held)])
    rows += _starts_beside_each_other(list(groups.values()), rates)
    rotated = [list(read(group, "rotated", "remap_angle").values()) for group in groups.values()]
    rows.append(["remap_angle, rotated starts", "all", *map(least_and_most, rotated)])
    return table(["measure", "rate", *groups], rows)


def _starts_beside_each_other(groups: Sequence[Sequence[Mapping[str, str]]], rates: Sequence[float]) -> list[list[str]]:
    """At each rate, of the two starts of a seed, what each loses of its own pairing: difference and correlation."""
    held, rows = [[by_rate(group, key, start) for start, key in OWN.items()] for group in groups], []
    for place, rate in enumerate(rates):
        pairs = [(without_bounds(rotated[place]), without_bounds(teacher[place])) for teacher, rotated in held]
        name = f"own pairing at {in_words(rate)}"
        rows.append([name, "rotated less teacher's starts", *(_difference(a, b, 1) for a, b in pairs)])
        rows.append([name, "their correlation", *(_correlation(a, b) for a, b in pairs)])
    return rows


NONE = "–"
"""In the table: nobody measured it."""


def _mean(values: Sequence[float]) -> str:
    if not np.isfinite(values).any():
        return NONE
    found = mean_interval(values)
    return _bound(values) + interval(found.mean, found.low, found.high)


def _difference(a: Sequence[float], b: Sequence[float], digits: int) -> str:
    """Of a - b, paired over seeds; '≥' where a bound is among a, and there must be none among b."""
    assert not _bound(b)
    if np.isfinite(np.subtract(a, b)).sum() < 2:
        return NONE
    found = paired_difference(a, b)
    return f"{_bound(a)}{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _correlation(a: Sequence[float], b: Sequence[float]) -> str:
    """Pearson's over the seeds that have both, with its interval."""
    both = np.array([a, b])
    known = both[:, np.isfinite(both).all(axis=0)]
    if known.shape[1] < 4:
        return NONE
    found = pearson(*known)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def without_bounds(angles: Sequence[float]) -> list[float]:
    """NaN for 90, which stands for 90 or more and so is no side of a difference."""
    return [angle if angle < 90.0 else np.nan for angle in angles]


def _bound(values: Sequence[float]) -> str:
    """A mean over angles of which one is only a bound is one, too."""
    return "≥ " if any(value >= 90.0 for value in values) else ""


def rates_of(rows: Sequence[Mapping[str, str]]) -> list[float]:
    """The learning rates, ascending."""
    return sorted({float(row["student.learning_rate"]) for row in rows})


def in_words(rate: float) -> str:
    """'2e-4'."""
    return f"{rate:.0e}".replace("e-0", "e-")


def less(rates: Sequence[float], a: int, b: int) -> str:
    """'5e-4 less 2e-4'."""
    return f"{in_words(rates[a])} less {in_words(rates[b])}"


def by_rate(rows: Sequence[Mapping[str, str]], key: str, start: str) -> list[list[float]]:
    """By rate, the values of students of this start, all seeds of the rows each: NaN where one lacks it."""
    found, seeds = read(rows, start, key), sorted({row["seed"] for row in rows}, key=int)
    return [[found.get((rate, seed), np.nan) for seed in seeds] for rate in rates_of(rows)]


def seeds_figure() -> Drawing:
    """The twelve seeds of one order of sums: angle and law against the rate, and the angle's differences."""
    rows = [row for name in (AGAIN, NEW_SEEDS, MORE_SEEDS) for row in kept(name)]
    with new_figure(PAPER.double, 2.4, PAPER) as figure:
        angle, differences, law = figure.subplots(1, 3)
        _against_rate(angle, rows, "remap_angle", ("teacher", "rotated"))
        angle.set(ylabel="calibrated angle (degrees)", ylim=(0, 92), yticks=(0, 30, 60, 90))
        angle.legend(loc="lower right", fontsize=PAPER.small, handletextpad=0.2)
        _differences(differences, rows)
        _against_rate(law, rows, "debiased_cost", ("teacher",))
        law.set(ylabel="debiased cost (0: the teacher's law)", ylim=(0, None))
        for axes, title in zip(
            (angle, differences, law), ("(a) angle", "(b) paired over seeds", "(c) law"), strict=True
        ):
            axes.set_title(title, loc="left")
    return Drawing(figure, _caption(rows))


def _against_rate(axes: Axes, rows: Sequence[Mapping[str, str]], key: str, starts: Sequence[str]) -> None:
    """A line for each seed of the teacher starts, and the means of `starts`."""
    rates = rates_of(rows)
    flagged = {row["seed"] for row in rows if row["teacher_ok"] != "True"}
    of_seeds = read(rows, "teacher", key)
    for seed in sorted({seed for _, seed in of_seeds}, key=int):
        line = ":" if seed in flagged else "-"
        axes.plot(rates, [of_seeds.get((r, seed), np.nan) for r in rates], color=GREY, lw=0.5, ls=line, zorder=1)
    for order, start in enumerate(starts):
        style, found = INIT_STYLES[start], read(rows, start, key)
        for rate in rates:
            own = [value for (r, _), value in found.items() if r == rate]
            _mark(axes, rate * (1 + 0.12 * order), mean_interval(own), style, (0.0, 90.0))
        axes.plot([], [], style.marker, color=style.colour, mfc="white", label=style.label)
    axes.set_xscale("log")
    axes.set_xticks(rates, [in_words(rate) for rate in rates])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("student.learning_rate")


def _differences(axes: Axes, rows: Sequence[Mapping[str, str]]) -> None:
    """Each seed's difference, between two rates, of what a start's pairing lost, and their mean."""
    rates = rates_of(rows)
    for order, (start, key) in enumerate(OWN.items()):
        values = by_rate(rows, key, start)
        for place, (a, b) in enumerate(PAIRS):
            x, own = place + 0.36 * order - 0.2, np.subtract(values[a], values[b])
            axes.plot(np.full(len(own), x + 0.12), own, ".", color=GREY, ms=3, zorder=1)
            _mark(axes, x, paired_difference(values[a], values[b]), INIT_STYLES[start])
    axes.axhline(0, color=GREY, lw=0.8, zorder=0)
    axes.set_xticks(range(len(PAIRS)), [less(rates, a, b).replace(" less ", "\nless ") for a, b in PAIRS])
    axes.set(xlim=(-0.4, len(PAIRS) - 0.5), ylabel="more degrees lost")


def _mark(axes: Axes, x: float, own: Interval, style: LineStyle, within: tuple[float, float] | None = None) -> None:
    """A hollow mark, as of students whose law is told from their teacher's or not known to be it."""
    ends = np.clip([own.low, own.high], *within) if within else [own.low, own.high]
    axes.plot([x, x], ends, color=style.colour, zorder=3)
    axes.plot(x, own.mean, style.marker, color=style.colour, mfc="white", zorder=4)


def _caption(rows: Sequence[Mapping[str, str]]) -> str:
    starts = {start: [row for row in rows if row["student.init"] == start] for start in ("teacher", "rotated")}
    flagged = {row["seed"] for row in rows if row["teacher_ok"] != "True"}
    seeds = {row["seed"] for row in rows}
    bounds = sum(float(row["remap_angle"] or "nan") >= 90.0 for row in starts["teacher"])
    counts = []
    for rate in rates_of(rows):
        own = [row["remap_angle"] for row in starts["rotated"] if float(row["student.learning_rate"]) == rate]
        lacking = f", {own.count('')} unresolved" if "" in own else ""
        counts.append(f"{len(own)} at {in_words(rate)}{lacking}")
    known = [angle for angle in read(rows, "rotated", OWN["rotated"]).values() if np.isfinite(angle)]
    cut, first = sum(angle >= 90.0 for angle in known), rows[0]
    return (
        f"MNIST at side {first['law.side']} (d = {first['law.dim']}), U-Nets, {len(seeds)} seeds. (a) The calibrated "
        "angle against the student's learning rate, at one length of training. Grey: a seed each; dotted: its teacher "
        f"failed its own check ({len(flagged)}). Marks: means over seeds with 95 % t-intervals, ends within 0 to 90 "
        f"degrees; {bounds} of {len(starts['teacher'])} angles is 90, a bound; beside them rotated controls "
        f"({'; '.join(counts)}). (b) What students lose of their start's own pairing, the teacher's or a rotated one, "
        f"more at one rate than at another ({cut} of {len(known)} angles of rotated starts is 90, a bound): each "
        "seed's difference, and their mean. (c) "
        "debiased_cost, how far the students' law is from the teacher's. Hollow: another law than the teacher's, or "
        f"unknown. n = {first['measure.samples']}, K = {first['teacher.steps']}; commits {', '.join(commits(rows))}; "
        f"{first['hardware']}."
    )


def read(rows: Sequence[Mapping[str, str]], start: str, key: str) -> dict[tuple[float, str], float]:
    """A measure by learning rate and seed, of students of this start; NaN where it is unresolved."""
    own = [row for row in rows if row["student.init"] == start]
    return {(float(r["student.learning_rate"]), r["seed"]): float(r.get(key) or "nan") for r in own}


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
