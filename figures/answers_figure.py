"""The figure of docs/answers.md: what the angle grows with, theory, starts and dimension, a panel each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from answers_numbers import Powers, near, predicted, share_lost
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from dmdlab.pairing.law import CONVENTION
from dmdlab.plots.style import GREY, INIT_STYLES, PAPER, Drawing, LineStyle, line_styles, new_figure
from dmdlab.records.cells import Cell, short
from dmdlab.records.record import INITS

Cells = Mapping[str, Sequence[Cell]]
"""By experiment."""

PICTURES = {
    "pictures unet": LineStyle("manifold, U-Net", "#0072B2", "P", "-"),
    "pictures residual": LineStyle("manifold, MLP", "#E69F00", "X", "-"),
    "digits unet": LineStyle("digits, U-Net", "#CC79A7", "*", "-"),
}
LINEAR = {
    "linear-exact": LineStyle("exact scores", "#0072B2", "o", "-"),
    "linear-trained": LineStyle("trained score, SGD", "#D55E00", "s", "-"),
    "linear-adam": LineStyle("trained score, AdamW", "#009E73", "^", "-"),
}
LIMITS = {key: f"{low:g} to {high:g}" for key, (low, high) in CONVENTION.items()}
TITLES = (
    "one training variable?",
    "linear students: AdamW's lose more than predicted",
    "where it starts",
    "dimension",
)
SPREAD = 0.12
"""Between the two sides of a category."""


def answers_figure(found: Cells, powers: Powers | None) -> Drawing:
    """Draw what there is; a panel without its experiment says which one is missing."""
    with new_figure(PAPER.double, 2 * 2.35, PAPER) as figure:
        panels = list(figure.subplots(2, 2).flat)
        _variable(panels[0], found, powers)
        _theory(panels[1], found)
        _starts(panels[2], found)
        _dimension(panels[3], found)
        for axes, letter, title in zip(panels, "abcd", TITLES, strict=True):
            axes.set_title(f"({letter}) {title}", loc="left")
    return Drawing(figure, CAPTION)


CAPTION = (
    "How much of its pairing a one-step DMD student lost, as the planted turn of the noise that does the same "
    "(calibrated angle; 90 degrees: nothing is left). Marks: means over seeds with 95 % t-intervals, ends within 0 to "
    f"90 degrees; hollow: fidelity outside {LIMITS['fidelity']} or variance ratio outside {LIMITS['variance_ratio']}. "
    "(a) AdamW, teacher starts, against the product of powers of learning rate eta, student updates T and batch b that "
    "was fitted to the mixture's filled marks, one set for all dimensions; line: one constant for all of them; "
    "pictures at side 8 were not fitted. (b) Linear students of N(0, 1): Lambda = -ln mean pair_cosine against what "
    "docs/theory.md says without a fitted number; line: equality; intervals reach down to a tenth of their mean at "
    "most, and cells that lost nothing, or all, have no place here. (c) The angle to the pairing that each start has "
    "as its own, for two learning rates (mixture, d = 8; left and right) and for digits (stars). (d) The angle at "
    "equal training against dimension d of the mixture, a line for each learning rate (T = 2000, b = 64), and against "
    "the degrees of freedom k of a manifold of pictures at side 8 (crosses). Seeds, n, K, hardware and commits: "
    "docs/answers-cells.md."
)


def _mark(axes: Axes, x: float, cell: Cell, key: str, style: LineStyle, **more: Any) -> None:
    """A cell: its mean, and its interval within 0 to 90 degrees."""
    own = cell.interval(key)
    if not math.isfinite(own.mean):
        return
    low, high = (min(90.0, max(0.0, end)) if math.isfinite(end) else own.mean for end in (own.low, own.high))
    face = style.colour if near(cell) else "none"
    axes.plot([x, x], [low, high], color=style.colour, lw=0.8, zorder=2)
    axes.plot(x, own.mean, style.marker, color=style.colour, mfc=face, zorder=3, **more)


def _variable(axes: Axes, found: Cells, powers: Powers | None) -> None:
    mixture = [cell for cell in found.get("rate-length-batch", ()) if cell.init == "teacher"]
    if powers is None or not mixture:
        return _missing(axes, "rate-length-batch")
    styles = line_styles("law.dim", sorted({cell.dim for cell in mixture}))
    for cell in mixture:
        _mark(axes, powers.variable(cell.records[0]), cell, "remap_angle", styles[cell.dim])
    for name in ("pictures", "digits"):
        for cell in found.get(name, ()):
            if cell.init == "teacher":
                style = PICTURES[f"{name} {cell.records[0].config['network.kind']}"]
                _mark(axes, powers.variable(cell.records[0]), cell, "remap_angle", style)
    _plain_log(axes)
    low, high = (f(powers.variable(cell.records[0]) for cell in mixture) for f in (min, max))
    x = np.geomspace(low, high, 100)
    axes.plot(x, [powers.angle(float(value)) for value in x], color=GREY, zorder=1)
    a, t, b = (f"{p.mean:.2f}" for p in powers.powers)
    axes.set_xlabel(rf"$\eta^{{{a}}}\,T^{{{t}}}\,b^{{{b}}}$ (1 at $3\cdot 10^{{-4}}$, 2000, 64)")
    _degrees(axes)
    for style in (*styles.values(), *PICTURES.values()):
        axes.plot([], [], style.marker, color=style.colour, label=style.label)
    axes.plot([], [], "o", color=GREY, mfc="none", label="another law")
    axes.set_ylim(0, 120)  # room for the legend above what can be reached
    axes.legend(fontsize=PAPER.small, ncols=4, handletextpad=0.1, columnspacing=0.6, loc="upper left", borderpad=0.0)
    return None


def _theory(axes: Axes, found: Cells) -> None:
    if not any(name in found for name in LINEAR):
        return _missing(axes, "linear-exact")
    for name, style in LINEAR.items():
        for cell in found.get(name, ()):
            own, x = share_lost(cell), predicted(cell.records[0])
            if not (own.mean > 0 and x > 0):
                continue  # nothing is left, or nothing was lost: no place on these axes
            axes.plot([x, x], [max(own.low, own.mean / 10), own.high], color=style.colour, lw=0.8)
            axes.plot(x, own.mean, style.marker, color=style.colour, mfc=style.colour if near(cell) else "none")
        axes.plot([], [], style.marker, color=style.colour, label=style.label)
    axes.set(xscale="log", yscale="log", xlabel=r"$\Lambda$ predicted", ylabel=r"$\Lambda$ measured")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    ends = [min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])]
    axes.plot(ends, ends, color=GREY, zorder=1)
    axes.legend(fontsize=PAPER.small, handletextpad=0.2)
    return None


def _starts(axes: Axes, found: Cells) -> None:
    cells = [*found.get("starts", ()), *(c for c in found.get("digits", ()) if _base(c))]
    if not cells:
        return _missing(axes, "starts")
    inits = [init for init in INITS if any(cell.init == init for cell in cells)]
    rates = sorted({cell.records[0].config["student.learning_rate"] for cell in found.get("starts", ())})
    for cell in cells:
        rate, style = cell.records[0].config["student.learning_rate"], INIT_STYLES[cell.init]
        if cell.law == "images":
            place, style = 2.2 * SPREAD, LineStyle(style.label, style.colour, "*", "-")
        else:
            place = SPREAD * (2 * rates.index(rate) - 1)
        _mark(axes, inits.index(cell.init) + place, cell, "own_angle", style)
    axes.set_xticks(range(len(inits)), inits, rotation=30, ha="right", rotation_mode="anchor")
    _degrees(axes, "angle to its own pairing")
    sides = [f"{side} rate {short(rate)}" for side, rate in zip(("left:", "right:"), rates, strict=False)]
    told = "\n".join([*(f"mixture, {side}" for side in sides), "stars: digits, rate 5e-4"])
    axes.text(0.02, 0.97, told, transform=axes.transAxes, va="top", fontsize=PAPER.small, color=GREY)
    return None


def _base(cell: Cell) -> bool:
    """Of the digits' cells those that differ in their start alone."""
    c = cell.records[0].config
    return bool(c["student.learning_rate"] == 5e-4 and c["student.iterations"] == 1000)


def _dimension(axes: Axes, found: Cells) -> None:
    mixture = [
        cell
        for cell in found.get("rate-length-batch", ())
        if cell.init == "teacher"
        and (cell.records[0].config["student.iterations"], cell.records[0].config["student.batch"]) == (4000, 64)
    ]
    if not mixture:
        return _missing(axes, "rate-length-batch")
    rates = sorted({cell.records[0].config["student.learning_rate"] for cell in mixture})
    styles = line_styles("student.learning_rate", rates)
    lines = {rate: [c for c in mixture if c.records[0].config["student.learning_rate"] == rate] for rate in rates}
    for rate, cells in lines.items():
        _line(axes, [(cell.dim, cell) for cell in cells], styles[rate], f"mixture, rate {short(rate)}")
    manifold = [cell for cell in found.get("pictures", ()) if cell.init == "teacher" and _unet(cell)]
    manifold = [*found.get("intrinsic", ()), *(cell for cell in manifold if _base(cell))]
    own = sorted((int(cell.records[0].config["law.intrinsic"]), i) for i, cell in enumerate(manifold))
    if own:
        style = LineStyle("", GREY, "X", ":")
        _line(axes, [(k, manifold[i]) for k, i in own], style, "manifold, k, rate 5e-4")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("dimension $d$ of the mixture, or $k$ of the manifold")
    _degrees(axes)
    axes.legend(fontsize=PAPER.small, handletextpad=0.4)
    return None


def _plain_log(axes: Axes) -> None:
    """A logarithmic axis x with ticks that are read at once: 0.5, 1, 2, 5."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _line(axes: Axes, points: Sequence[tuple[float, Cell]], style: LineStyle, label: str) -> None:
    ordered = sorted(points, key=lambda point: point[0])
    means = [cell.interval("remap_angle").mean for _, cell in ordered]
    axes.plot([x for x, _ in ordered], means, ls=style.line, marker=style.marker, color=style.colour, label=label, ms=0)
    for x, cell in ordered:
        _mark(axes, x, cell, "remap_angle", style)


def _unet(cell: Cell) -> bool:
    return bool(cell.records[0].config["network.kind"] == "unet")


def _degrees(axes: Axes, name: str = "calibrated angle") -> None:
    axes.set(ylim=(0, 92), yticks=(0, 30, 60, 90), ylabel=f"{name} (degrees)")


def _missing(axes: Axes, name: str) -> None:
    axes.set(xticks=(), yticks=())
    axes.text(0.5, 0.5, f"experiments/answers/{name}.toml\nis not run", ha="center", va="center", color=GREY)
