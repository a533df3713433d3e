"""Figure 4: the DM loss over training for several ages of the teacher, with a zoom; beside it what the loss hides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dmdlab.pairing import METRICS
from dmdlab.paper.figures.chosen import STARTS, Runs
from dmdlab.plots.axes import degree_axis
from dmdlab.plots.style import GREY, INIT_STYLES, PALE, PAPER, Drawing, LineStyle, line_styles, new_figure
from dmdlab.records.cells import cells
from dmdlab.records.record import Record

ZOOM = 1.6
"""The zoom ends at so many times the iteration of the latest maximum."""


def draw(records: Sequence[Record]) -> Drawing:
    """Loss, zoom, and the calibrated angle at the end. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    law = (runs.laws(pictures=True) or runs.laws())[0]
    runs.needed(law)
    ages = [age for age in runs.ages(law) if runs.of("teacher", law, age)]
    styles = line_styles("teacher age", ages)
    with new_figure(PAPER.double, 0.4 * PAPER.double, PAPER) as figure:
        whole, zoom, angle = figure.subplots(1, 3, width_ratios=[1.15, 1.0, 0.85])
        curves = {age: _curve(runs.of("teacher", law, age)) for age in ages}
        for axes in (whole, zoom):
            for age, own in curves.items():
                _draw_curve(axes, own, styles[age])
            axes.set_xlabel("iteration (fake-score updates)")
        last = max(own[0][-1] for own in curves.values())
        end = min(last, ZOOM * max(own[0][own[1].argmax()] for own in curves.values()))
        shown = [own[1:, own[0] <= end] for own in curves.values()]
        low, high = min(float(own.min()) for own in shown), max(float(own.max()) for own in shown)
        margin = 0.06 * (high - low)
        zoom.set(xlim=(0, end), ylim=(low - margin, high + margin))
        whole.axvspan(0, end, color=PALE, alpha=0.5, lw=0, zorder=0, gid="zoomed")
        whole.set(xlim=(0, last), ylabel="DM loss")
        _draw_cells(angle, runs, law, ages, "remap_angle")
        degree_axis(angle)
        angle.set(xlabel="teacher age (iterations)", ylabel="remap angle (degrees)")
        for axes, title in ((whole, "(a) DM loss"), (zoom, "(b) zoom"), (angle, "(c) what is lost")):
            axes.set_title(title, loc="left")
        handles = [Line2D([], [], color=styles[age].colour, ls=styles[age].line, label=f"age {age}") for age in ages]
        handles += [
            Line2D([], [], color=style.colour, marker=style.marker, ls="none", label=style.label)
            for style in (INIT_STYLES[init] for init in runs.starts())
        ]
        if any(str(line.get_gid()).endswith("hollow") for line in angle.lines):
            handles.append(Line2D([], [], color="black", marker="o", mfc="white", ls="none", label="another law"))
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.1)
    control = "; the rotated start is the control" if "rotated" in runs.starts() else ""
    return Drawing(
        figure,
        f"Distribution-matching loss over training for teachers of several ages (law {law}), teacher starts: (a) "
        "whole, (b) the shaded beginning. Lines: mean over seeds; bands: lowest to highest seed; each value is the "
        "average since the checkpoint before. The loss rises while the fake score leaves the teacher's and catches up "
        "with the student, and falls after; it measures neither quality nor copying. (c) Beyond the paper's panels, "
        "the calibrated angle at the end (90: nothing is left): mean with 95 % interval, dots: seeds, hollow: the "
        f"student's law can be told from its teacher's, or this n cannot tell{control}. {runs.in_words()}",
    )


def _curve(records: Sequence[Record]) -> np.ndarray:
    """Iteration, and the mean, lowest and highest DM loss over seeds, (4, checkpoints)."""
    tables = [record.curve() for record in records]
    losses = np.array([table["dm_loss"] for table in tables])  # (seeds, checkpoints)
    return np.array([tables[0]["iteration"], losses.mean(axis=0), losses.min(axis=0), losses.max(axis=0)])


def _draw_curve(axes: Axes, own: np.ndarray, style: LineStyle) -> None:
    line: dict[str, Any] = {"color": style.colour, "ls": style.line}
    axes.plot(own[0], own[1], gid=f"{style.label} line", **line)
    axes.fill_between(own[0], own[2], own[3], color=style.colour, alpha=0.15, linewidth=0, gid="band")
    axes.grid(axis="y", color=GREY, alpha=0.15, lw=0.4)


def _draw_cells(axes: Axes, runs: Runs, law: str, ages: Sequence[int], key: str) -> None:
    """The cells of both starts, at places 0, 1, 2 ... for the ages; an interval ends at the measure's range."""
    low, high = METRICS[key].bounds
    for init, aside in zip(STARTS, (-0.13, 0.13), strict=True):
        style, at, means = INIT_STYLES[init], list[float](), list[float]()
        for place, age in enumerate(ages):
            found = runs.of(init, law, age)
            if not found:
                continue
            (cell,) = cells(found)
            own, x = cell.interval(key), place + aside
            if not own.n:
                continue
            here: dict[str, Any] = {"color": style.colour, "clip_on": False}
            seeds = cell.column(key)
            axes.plot(
                np.full(len(seeds), x + 0.6 * aside), seeds, "o", ms=0.42 * PAPER.marker, mew=0, gid="seeds", **here
            )
            axes.vlines(x, *np.clip([own.low, own.high], low, high), lw=0.9 * PAPER.line, gid="interval", **here)
            mark: dict[str, Any] = {"mfc": "white" if cell.poor else style.colour, "mew": 0.8 * PAPER.line, "zorder": 4}
            axes.plot(x, own.mean, style.marker, gid=f"{init} {'hollow' if cell.poor else 'solid'}", **here | mark)
            at, means = [*at, x], [*means, own.mean]
        axes.plot(at, means, ls=style.line, color=style.colour, lw=0.7 * PAPER.line, gid=f"{init} line")
    axes.set_xticks(range(len(ages)), [str(age) for age in ages])
    axes.set_xlim(-0.5, len(ages) - 0.5)
