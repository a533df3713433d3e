"""Figure 4: the DM loss over training for several ages of the teacher, with a zoom; beside it what the loss hides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dmdlab.paper.figures.chosen import Runs
from dmdlab.paper.figures.marks import draw_cells
from dmdlab.plots.axes import degree_axis
from dmdlab.plots.style import GREY, INIT_STYLES, PALE, PAPER, Drawing, LineStyle, Size, line_styles, new_figure
from dmdlab.records.record import Record

ZOOM = 1.6
"""The zoom ends at so many times the iteration of the latest maximum."""


def draw(records: Sequence[Record], scale: Size = PAPER) -> Drawing:
    """Loss, zoom, and the calibrated angle at the end. Raises `InputError`: no finished teacher start."""
    runs = Runs(records)
    law = (runs.laws(pictures=True) or runs.laws())[0]
    runs.needed(law)
    ages = [age for age in runs.ages(law) if runs.of("teacher", law, age)]
    styles = line_styles("teacher age", ages)
    with new_figure(scale.double, 0.4 * scale.double, scale) as figure:
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
        draw_cells(angle, runs, law, ages, "remap_angle", scale)
        degree_axis(angle)
        angle.set(xlabel="teacher age (iterations)", ylabel="remap angle (degrees)")
        for axes, title in ((whole, "(a) DM loss"), (zoom, "(b) zoom"), (angle, "(c) what is lost")):
            axes.set_title(title, loc="left")
        handles = [Line2D([], [], color=styles[age].colour, ls=styles[age].line, label=f"age {age}") for age in ages]
        handles += [
            Line2D([], [], color=style.colour, marker=style.marker, ls="none", label=style.label)
            for style in (INIT_STYLES[init] for init in runs.starts())
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.1)
    control = "; the rotated start is the control" if "rotated" in runs.starts() else ""
    return Drawing(
        figure,
        f"Distribution-matching loss over training for teachers of several ages (law {law}), teacher starts: (a) "
        "whole, (b) the shaded beginning. Lines: mean over seeds; bands: lowest to highest seed; each value is the "
        "average since the checkpoint before. The loss rises while the fake score leaves the teacher's and catches up "
        "with the student, and falls after; it measures neither quality nor copying. (c) Beyond the paper's panels, "
        "the calibrated angle at the end (90: nothing is left): mean with 95 % interval, dots: seeds, hollow: the "
        f"student's law can be told from its teacher's{control}. {runs.in_words()}",
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
