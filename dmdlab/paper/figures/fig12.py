"""Figure 12: memorisation ratios of the teacher's outputs, for several ages of the teacher."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from dmdlab.config import InputError
from dmdlab.pairing.analysis import MEMORISED_RATIO, Memorisation, memorised
from dmdlab.pairing.words import percent
from dmdlab.paper.figures.chosen import Runs
from dmdlab.plots.style import GREY, PALE, PAPER, Drawing, line_styles, new_figure
from dmdlab.records.further import further
from dmdlab.records.record import Record

BINS = 40


def draw(records: Sequence[Record]) -> Drawing:
    """Histograms, and the share below a third by seed. Raises `InputError`: no distances to a training set are kept."""
    runs = Runs(records)
    law = (runs.laws(pictures=True) or runs.laws())[0]
    teachers = {age: _of_seeds(runs.of("teacher", law, age), "training") for age in runs.ages(law)}
    teachers = {age: own for age, own in teachers.items() if own}
    if not teachers:
        raise InputError(
            f"memorisation: no distances to what the teachers of {law} were trained on are kept; `dmdlab reproduce "
            "fig12` makes them, for laws that are data sets"
        )
    seed, data = next(iter(_of_seeds(runs.of("teacher", law), "training_of_data").items()))
    styles = line_styles("age", list(teachers))
    with new_figure(PAPER.double, 0.42 * PAPER.double, PAPER) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.6, 1.0])
        _histogram(left, [data], {"color": PALE, "fill": True, "label": "data, not trained on"})
        for age, own in teachers.items():
            style = styles[age]
            line = {"color": style.colour, "ls": style.line, "lw": PAPER.line, "label": f"age {age}"}
            _histogram(left, list(own.values()), line)
        _finish(left)
        _shares(right, teachers, data)
        left.set_title(f"(a) memorisation ratio, {law}", loc="left")
        right.set_title("(b) share below 1/3, by seed", loc="left")
    shares = "; ".join(
        f"age {age}: {', '.join(percent(one.share) for one in own.values())}" for age, own in teachers.items()
    )
    return Drawing(
        figure,
        f"Memorisation ratios of the teacher's outputs (law {law}): distance to the nearest training point over that "
        "to the second nearest; below 1/3 a sample counts as memorised. (a) All seeds of an age together; grey: "
        f"data that nobody trained on, of seed {seed}. (b) The share below 1/3 of each seed with Wilson's 95 % "
        "interval over rows; line: these data. By chance it is (1/3)^k for data of k dimensions. Shares: "
        f"{shares}; data {percent(data.share)}. {runs.in_words()}",
    )


def _of_seeds(records: Sequence[Record], name: str) -> dict[int, Memorisation]:
    """By seed, of those that keep distances of this name."""
    kept = {int(record.config["seed"]): (record, further(record).get(name)) for record in records}
    return {
        seed: memorised(near.astype(np.float64), int(record.row["law.dim"]))
        for seed, (record, near) in kept.items()
        if near is not None
    }


def _histogram(axes: Axes, found: Sequence[Memorisation], style: dict[str, Any]) -> None:
    ratios = np.concatenate([one.ratios for one in found])
    counts, edges = np.histogram(ratios, bins=BINS, range=(0.0, 1.0))
    axes.stairs(counts / len(ratios) * BINS, edges, gid="histogram", **style)


def _finish(axes: Axes) -> None:
    axes.axvline(MEMORISED_RATIO, color=GREY, lw=0.6 * PAPER.line, gid="memorised")
    at: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "color": GREY}
    axes.annotate("memorised", (MEMORISED_RATIO, 0.98), (-3, 0), ha="right", va="top", **at)
    axes.set(xlim=(0, 1), ylim=(0, None), xlabel="nearest / second nearest distance", ylabel="density")
    axes.legend(loc="center left", bbox_to_anchor=(MEMORISED_RATIO + 0.02, 0.6))


def _shares(axes: Axes, teachers: dict[int, dict[int, Memorisation]], data: Memorisation) -> None:
    """A mark for each seed of each age."""
    styles = line_styles("age", list(teachers))
    for place, (age, own) in enumerate(teachers.items()):
        for at, one in zip(place + np.linspace(-0.2, 0.2, len(own)), own.values(), strict=True):
            axes.vlines(at, one.low, one.high, color=styles[age].colour, lw=0.9 * PAPER.line, gid="interval")
            axes.plot(at, one.share, styles[age].marker, color=styles[age].colour, clip_on=False, gid="seed")
    axes.axhline(data.share, color=GREY, lw=0.6 * PAPER.line, gid="data")
    axes.set_xticks(range(len(teachers)), [str(age) for age in teachers])
    top = max(0.05, *(one.high for own in teachers.values() for one in own.values()))
    axes.set(xlim=(-0.5, len(teachers) - 0.5), ylim=(0, 1.1 * top), xlabel="teacher age (iterations)")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
